//! Faults put into a stack on a live engine: what each does, whom it befalls, and what ought to be said of it.
//!
//! Each befalls a service of its own, so that one leaves nothing behind for the next. None of it tells Homeostat anything.

pub mod cause;
mod delay;
pub mod stack;

use units::{Signal, SignalKind, Subject};

use self::delay::Delay;
pub use self::stack::FaultStack;

/// Round-trip time on top, as between continents.
const DELAY_MS: u32 = 100;
/// What is left of a service's processor time: less than half of what it uses.
const LOWERED_CPUS: &str = "0.03";
/// As the stack gives it.
const USUAL_CPUS: &str = "0.25";

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process begins to burn most of a core.
    CpuHog,
    /// A process keeps a megabyte more each second.
    MemoryLeak,
    /// A container's CPU limit is set too low.
    Throttling,
    /// A process begins to write as fast as the disk takes it.
    DiskHog,
    /// The way to a container becomes long.
    NetworkDelay,
    /// A container that others depend on stops in its tracks.
    PeerHangs,
    /// A process logs errors.
    ErrorLogs,
    /// A process logs harmless lines by the hundred.
    LogStorm,
    /// A process fails, is started again, and fails again.
    CrashLoop,
    /// One replica of five needs many times the processor time for a request.
    SlowReplica,
    /// A container without a limit takes more processors than the host has.
    NoisyNeighbour,
}

impl Fault {
    /// Every fault, in the order they are injected.
    pub const ALL: [Fault; 11] = [
        Fault::CpuHog,
        Fault::MemoryLeak,
        Fault::Throttling,
        Fault::DiskHog,
        Fault::NetworkDelay,
        Fault::PeerHangs,
        Fault::ErrorLogs,
        Fault::LogStorm,
        Fault::CrashLoop,
        Fault::SlowReplica,
        Fault::NoisyNeighbour,
    ];

    /// Its word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::CpuHog => "cpu-hog",
            Fault::MemoryLeak => "memory-leak",
            Fault::Throttling => "throttling",
            Fault::DiskHog => "disk-hog",
            Fault::NetworkDelay => "network-delay",
            Fault::PeerHangs => "peer-hangs",
            Fault::ErrorLogs => "error-logs",
            Fault::LogStorm => "log-storm",
            Fault::CrashLoop => "crash-loop",
            Fault::SlowReplica => "slow-replica",
            Fault::NoisyNeighbour => "noisy-neighbour",
        }
    }

    /// The one with this word.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// The service whose fault it is.
    pub const fn service(self) -> &'static str {
        match self {
            Fault::CpuHog => "report",
            Fault::MemoryLeak => "cache",
            Fault::Throttling => "web",
            Fault::DiskHog => "archive",
            Fault::NetworkDelay | Fault::PeerHangs => "store",
            Fault::ErrorLogs => "orders",
            Fault::LogStorm => "chat",
            Fault::CrashLoop => "importer",
            Fault::SlowReplica => "pool",
            Fault::NoisyNeighbour => "neighbour",
        }
    }

    /// Services that suffer with it by their dependency on it. Those of a noisy neighbour are all of its node.
    pub const fn downstream(self) -> &'static [&'static str] {
        match self {
            Fault::NetworkDelay | Fault::PeerHangs => &["shop", "desk"],
            Fault::CpuHog
            | Fault::MemoryLeak
            | Fault::Throttling
            | Fault::DiskHog
            | Fault::ErrorLogs
            | Fault::LogStorm
            | Fault::CrashLoop
            | Fault::SlowReplica => &["traffic"],
            Fault::NoisyNeighbour => &[],
        }
    }

    /// Signals any of which says what it is.
    pub const fn kinds(self) -> &'static [SignalKind] {
        match self {
            Fault::CpuHog => &[SignalKind::CpuAnomaly],
            Fault::MemoryLeak => &[SignalKind::MemoryRunaway, SignalKind::MemoryAnomaly],
            // A service all of whose replicas wait for their limits is told as overloaded, and why.
            Fault::Throttling => &[SignalKind::Throttling, SignalKind::Overload],
            Fault::DiskHog => &[SignalKind::IoAnomaly],
            Fault::NetworkDelay => &[SignalKind::NetworkDelay],
            Fault::PeerHangs => &[SignalKind::Hang],
            Fault::ErrorLogs => &[SignalKind::ErrorLogs],
            Fault::LogStorm => &[SignalKind::LogStorm],
            Fault::CrashLoop => &[SignalKind::CrashLoop],
            Fault::SlowReplica => &[SignalKind::OddReplica],
            Fault::NoisyNeighbour => &[SignalKind::NodePressure, SignalKind::CpuAnomaly],
        }
    }

    /// Does a signal find this fault: the right kind, about whom it befell?
    pub fn is_found_by(self, signal: &Signal, stack: &FaultStack) -> bool {
        let of_node = signal.kind == SignalKind::NodePressure && signal.subject.service.is_none();
        let of_way = signal.kind == SignalKind::NetworkDelay && self.suffers(&signal.subject);
        self.kinds().contains(&signal.kind)
            && (self.is_cause(&signal.subject, stack) || of_node || of_way)
    }

    /// Is this what is at fault: the service, and where only one replica is, that replica?
    pub fn is_cause(self, subject: &Subject, stack: &FaultStack) -> bool {
        let of_service = subject
            .service
            .as_ref()
            .is_some_and(|service| service.as_str() == self.service());
        let of_replica = subject
            .name
            .as_ref()
            .is_some_and(|name| name.as_str() == stack.container(self.service(), 0));
        of_service && (self != Fault::SlowReplica || of_replica)
    }

    /// May a signal about this subject be due to the fault? One that may not is a false one.
    pub fn accounts_for(self, subject: &Subject) -> bool {
        let of_service = subject
            .service
            .as_ref()
            .is_some_and(|service| service.as_str() == self.service());
        let of_node = subject.service.is_none()
            && matches!(self, Fault::NoisyNeighbour | Fault::DiskHog | Fault::CpuHog);
        of_service || of_node || self == Fault::NoisyNeighbour || self.suffers(subject)
    }

    fn suffers(self, subject: &Subject) -> bool {
        subject
            .service
            .as_ref()
            .is_some_and(|service| self.downstream().contains(&service.as_str()))
    }

    /// Lets it happen.
    pub async fn inject(self, stack: &FaultStack) -> Injected<'_> {
        let mut delay = None;
        match self {
            Fault::CpuHog => stack.tell(self.service(), "burn?millicores=800").await,
            Fault::MemoryLeak => stack.tell(self.service(), "leak?mb_per_s=1").await,
            Fault::Throttling => stack.limit_cpus(self.service(), LOWERED_CPUS),
            Fault::DiskHog => stack.tell(self.service(), "write?mb_per_s=60").await,
            Fault::NetworkDelay => {
                delay = Some(Delay::of(&stack.container(self.service(), 0), DELAY_MS));
            }
            Fault::PeerHangs => stack.signal(self.service(), rustix::process::Signal::STOP),
            Fault::ErrorLogs => stack.tell(self.service(), "errors?per_s=20").await,
            Fault::LogStorm => stack.tell(self.service(), "lines?per_s=500").await,
            Fault::CrashLoop => stack.mark(self.service()),
            Fault::SlowReplica => stack.tell(self.service(), "slow?ms=20").await,
            Fault::NoisyNeighbour => stack.tell(self.service(), "burn?millicores=6000").await,
        }
        Injected {
            fault: self,
            stack,
            delay,
        }
    }
}

/// A fault that is happening.
pub struct Injected<'a> {
    fault: Fault,
    stack: &'a FaultStack,
    delay: Option<Delay>,
}

impl Injected<'_> {
    /// How the way was made longer, for a network delay.
    pub fn way(&self) -> Option<&'static str> {
        self.delay.as_ref().map(Delay::way)
    }

    /// Ends it, as whoever mends it would.
    pub async fn remove(self) {
        let (stack, service) = (self.stack, self.fault.service());
        match self.fault {
            Fault::CpuHog | Fault::NoisyNeighbour => stack.tell(service, "burn/stop").await,
            Fault::MemoryLeak => stack.restart(service).await,
            Fault::Throttling => stack.limit_cpus(service, USUAL_CPUS),
            Fault::DiskHog => stack.tell(service, "write/stop").await,
            Fault::NetworkDelay => drop(self.delay),
            Fault::PeerHangs => stack.signal(service, rustix::process::Signal::CONT),
            Fault::ErrorLogs => stack.tell(service, "errors/stop").await,
            Fault::LogStorm => stack.tell(service, "lines/stop").await,
            Fault::CrashLoop => stack.unmark(service),
            Fault::SlowReplica => stack.tell(service, "slow/stop").await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named_and_befalls_a_service_of_the_stack() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert!(stack::SERVICES.contains(&fault.service()), "{fault:?}");
            assert!(!fault.kinds().is_empty());
        }
        assert_eq!(Fault::named("earthquake"), None);
    }
}
