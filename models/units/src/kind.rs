//! What kinds of signals have in common, said once. What to make of a kind is the policy of whoever reads it, and stands there.

use crate::SignalKind;

/// What containers of a node share, and can lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Time on the cores.
    Cpu,
    /// Memory.
    Memory,
    /// Space on disks, and reading and writing.
    Disk,
    /// Connections and traffic.
    Network,
}

impl Resource {
    /// Its word in a sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Resource::Cpu => "CPU",
            Resource::Memory => "memory",
            Resource::Disk => "disk",
            Resource::Network => "network",
        }
    }
}

/// What a kind of signal rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// It happened, or somebody else says so: the engine, a health check, a counter of what was lost.
    Fact,
    /// It is a judgement against what was usual, or against a bound.
    Judgement,
    /// It is a judgement against what was usual for one series, and says that this changed, not what is wrong.
    Deviation,
}

impl SignalKind {
    /// The resource that it is about by its kind alone; none where that depends on the signal, or there is none.
    pub const fn resource(self) -> Option<Resource> {
        match self {
            SignalKind::Overload | SignalKind::Throttling | SignalKind::CpuAnomaly => {
                Some(Resource::Cpu)
            }
            SignalKind::MemoryRunaway | SignalKind::MemoryAnomaly => Some(Resource::Memory),
            SignalKind::IoAnomaly => Some(Resource::Disk),
            SignalKind::NetworkAnomaly | SignalKind::NetworkDelay => Some(Resource::Network),
            SignalKind::Unhealthy
            | SignalKind::CrashLoop
            | SignalKind::Hang
            | SignalKind::ErrorLogs
            | SignalKind::LogStorm
            | SignalKind::LogNovelty
            | SignalKind::LogSilence
            | SignalKind::OddReplica
            | SignalKind::NodePressure
            | SignalKind::UnusualPattern
            | SignalKind::TelemetryMissing
            | SignalKind::TelemetryLost
            | SignalKind::Standstill
            | SignalKind::LimitNear
            | SignalKind::AppAnomaly
            | SignalKind::RequestAnomaly => None,
        }
    }

    /// What it rests on.
    pub const fn basis(self) -> Basis {
        match self {
            SignalKind::Unhealthy
            | SignalKind::CrashLoop
            | SignalKind::TelemetryMissing
            | SignalKind::TelemetryLost => Basis::Fact,
            SignalKind::CpuAnomaly
            | SignalKind::MemoryAnomaly
            | SignalKind::NetworkAnomaly
            | SignalKind::IoAnomaly => Basis::Deviation,
            SignalKind::Overload
            | SignalKind::Hang
            | SignalKind::MemoryRunaway
            | SignalKind::Throttling
            | SignalKind::ErrorLogs
            | SignalKind::LogStorm
            | SignalKind::LogNovelty
            | SignalKind::LogSilence
            | SignalKind::OddReplica
            | SignalKind::NetworkDelay
            | SignalKind::NodePressure
            | SignalKind::UnusualPattern
            | SignalKind::Standstill
            | SignalKind::LimitNear
            | SignalKind::AppAnomaly
            | SignalKind::RequestAnomaly => Basis::Judgement,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_is_of_one_resource_and_a_fact_of_none() {
        for kind in SignalKind::ALL {
            match kind.basis() {
                Basis::Deviation => assert!(kind.resource().is_some(), "{kind}"),
                Basis::Fact => assert_eq!(kind.resource(), None, "{kind}"),
                Basis::Judgement => {}
            }
        }
    }
}
