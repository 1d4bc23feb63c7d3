//! What containers ask for and hosts have.

use units::{Bytes, Millicores};

/// CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// CPU.
    pub cpu: Millicores,
    /// Memory.
    pub memory: Bytes,
}

impl Resources {
    /// So much CPU and memory.
    pub const fn new(cpu: Millicores, memory: Bytes) -> Self {
        Resources { cpu, memory }
    }

    /// Whether all of it is within `room`.
    pub fn fits(self, room: Resources) -> bool {
        self.cpu <= room.cpu && self.memory <= room.memory
    }

    /// Both together.
    pub fn plus(self, other: Resources) -> Self {
        Resources {
            cpu: Millicores(self.cpu.0.saturating_add(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
        }
    }

    /// What remains of it without `other`; nothing where `other` is more.
    pub fn minus(self, other: Resources) -> Self {
        Resources {
            cpu: Millicores(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
        }
    }

    /// The larger of each.
    pub fn or_more(self, other: Resources) -> Self {
        Resources {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
        }
    }

    /// CPU and memory as shares of those of `whole`; of nothing it is none.
    pub fn shares(self, whole: Resources) -> [f64; 2] {
        let share = |part: u64, whole: u64| match whole {
            0 => 0.0,
            _ => part as f64 / whole as f64,
        };
        [
            share(self.cpu.0, whole.cpu.0),
            share(self.memory.0, whole.memory.0),
        ]
    }

    /// The sum of its shares of `whole`: one number to order by.
    pub fn size(self, whole: Resources) -> f64 {
        let [cpu, memory] = self.shares(whole);
        cpu + memory
    }
}
