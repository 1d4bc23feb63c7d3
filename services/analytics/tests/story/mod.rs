//! The life of a service whose metrics go together: its CPU time, traffic and connections follow its load, its memory and tasks go
//! their own way. Told by samples every five seconds; the same in every run.

use units::{
    ContainerId, ContainerName, ContainerState, HealthState, Metric, MetricRow, NodeId, Sample,
    ServiceId, Steady, Timestamp,
};

pub(crate) const SERVICE: &str = "shop/web";
/// Seconds from one sample to the next.
pub(crate) const STEP_S: i64 = 5;
const CONTAINERS: [&str; 2] = ["shop-web-1", "shop-web-2"];

/// What the first container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As ever.
    Ordinary,
    /// Much comes in and little is worked: each within what it is at times, but never together.
    Idle,
}

/// Two containers, and the time.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    second: i64,
    lots: u64,
    replicas: [Replica; 2],
}

#[derive(Debug, Clone, Default)]
struct Replica {
    load: f64,
    memory: f64,
    totals: MetricRow,
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
}

impl Life {
    pub(crate) fn new(seed: u64) -> Self {
        Life {
            second: 0,
            lots: seed,
            replicas: Default::default(),
        }
    }

    /// The next samples.
    pub(crate) fn step(&mut self, mood: Mood) -> Vec<Sample> {
        self.second += STEP_S;
        let samples = CONTAINERS.iter().enumerate().map(|(place, name)| {
            let mood = if place == 0 { mood } else { Mood::Ordinary };
            self.sample(place, name, mood)
        });
        samples.collect()
    }

    /// When the newest samples were taken.
    pub(crate) fn now(&self) -> Timestamp {
        at(self.second)
    }

    fn sample(&mut self, place: usize, name: &str, mood: Mood) -> Sample {
        // A load that wanders within minutes, between minus two and two.
        let load = (0.97 * self.replicas[place].load + 0.24 * self.normal()).clamp(-2.0, 2.0);
        let memory = 0.97 * self.replicas[place].memory + 0.24 * self.normal();
        let [wobble, packets, tasks, connections] = [(); 4].map(|()| self.normal());
        let (second, step) = (self.second, STEP_S as f64);
        let replica = &mut self.replicas[place];
        (replica.load, replica.memory) = (load, memory);
        let (asked, worked) = match mood {
            Mood::Ordinary => (load, load),
            Mood::Idle => (1.3 + 0.1 * wobble, -1.3 + 0.1 * packets),
        };
        let cores = 0.5 + 0.1 * worked + 0.005 * wobble;
        let requests = 100.0 + 20.0 * asked + 0.5 * packets;
        for (metric, rate) in [
            (Metric::CpuUsage, cores),
            (Metric::NetRxPackets, 6.0 * requests),
            (Metric::NetTxPackets, 5.0 * requests),
            (Metric::NetRxBytes, 900.0 * requests),
            (Metric::NetTxBytes, 4_000.0 * requests),
        ] {
            let total = replica.totals.get(metric).unwrap_or(0.0) + rate * step;
            replica.totals.set(metric, total);
        }
        let mut metrics = replica.totals.clone();
        metrics.set(Metric::MemoryRss, 2e8 + 4e6 * memory);
        metrics.set(Metric::Pids, (12.0 + tasks).round());
        metrics.set(
            Metric::TcpEstablished,
            (40.0 + 8.0 * asked + connections).round(),
        );
        metrics.set(Metric::Uptime, 10_000.0 + second as f64);
        metrics.set(Metric::Restarts, 0.0);
        Sample {
            at: at(second),
            steady: Steady::from_time_of_day(at(second)),
            node: NodeId::from("node-a"),
            service: ServiceId::from(SERVICE),
            container: ContainerId::new(format!("id-of-{name}")),
            name: ContainerName::from(name),
            state: ContainerState::Running,
            health: HealthState::None,
            metrics,
        }
    }

    /// Twelve uniform numbers less six, of SplitMix64.
    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.uniform()).sum();
        sum - 6.0
    }

    fn uniform(&mut self) -> f64 {
        self.lots = self.lots.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.lots;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
