//! What each kind of signal says about causes.

use units::{Basis, Resource, Signal, SignalKind};

/// The share of time spent waiting for I/O, as `io_anomaly` leads with it where no bytes stray.
pub(crate) const WAITING: &str = "io_waiting_share";

/// How much a kind says of what broke, from 0 to 1. Kinds that name a mechanism explain; those that say that something is not as usual
/// are symptoms as often as not.
pub(crate) const fn specificity(kind: SignalKind) -> f64 {
    match kind {
        SignalKind::CrashLoop
        | SignalKind::MemoryRunaway
        | SignalKind::Hang
        | SignalKind::NodePressure => 1.0,
        SignalKind::Throttling | SignalKind::LimitNear => 0.9,
        SignalKind::NetworkDelay | SignalKind::TelemetryMissing => 0.8,
        SignalKind::Unhealthy | SignalKind::OddReplica | SignalKind::Standstill => 0.6,
        SignalKind::CpuAnomaly
        | SignalKind::MemoryAnomaly
        | SignalKind::IoAnomaly
        | SignalKind::LogStorm
        | SignalKind::LogNovelty
        | SignalKind::LogSilence
        | SignalKind::AppAnomaly
        | SignalKind::RequestAnomaly => 0.5,
        SignalKind::Overload
        | SignalKind::NetworkAnomaly
        | SignalKind::ErrorLogs
        | SignalKind::UnusualPattern => 0.3,
        SignalKind::TelemetryLost => 0.1,
    }
}

/// Whether a shortage of the host can show itself like this. The rest needs another relation than a node to be joined.
pub(crate) const fn feels_host(kind: SignalKind) -> bool {
    match kind {
        SignalKind::Overload
        | SignalKind::Unhealthy
        | SignalKind::Hang
        | SignalKind::Throttling
        | SignalKind::CpuAnomaly
        | SignalKind::MemoryAnomaly
        | SignalKind::IoAnomaly
        | SignalKind::LogSilence
        | SignalKind::OddReplica
        | SignalKind::NetworkDelay
        | SignalKind::NodePressure
        | SignalKind::UnusualPattern
        | SignalKind::Standstill
        | SignalKind::AppAnomaly
        | SignalKind::RequestAnomaly
        // Of several containers at once the node's collector is what they have in common.
        | SignalKind::TelemetryMissing => true,
        // What it keeps and what it says is its own doing, however the host stands.
        SignalKind::CrashLoop
        | SignalKind::MemoryRunaway
        | SignalKind::NetworkAnomaly
        | SignalKind::ErrorLogs
        | SignalKind::LogStorm
        | SignalKind::LogNovelty
        | SignalKind::LimitNear
        | SignalKind::TelemetryLost => false,
    }
}

/// What the subject takes more of than it did; nothing where its numbers do not say that it is more.
pub(crate) fn consumes(signal: &Signal) -> Option<Resource> {
    let kind = signal.kind;
    if waits_for_disk(signal) {
        return None;
    }
    if kind == SignalKind::LogStorm {
        return Some(Resource::Disk);
    }
    let rose = signal
        .evidence
        .first()
        .is_some_and(|lead| lead.observed > lead.expected_high);
    let takes = kind == SignalKind::MemoryRunaway || (kind.basis() == Basis::Deviation && rose);
    // Of a node's network nobody is known to have gone short.
    let resource = kind.resource().filter(|it| *it != Resource::Network);
    takes.then_some(resource)?
}

/// Whether it waits for the disk, and nothing says that it takes more of it: it may keep the disk busy without its bytes being
/// counted, or suffer from whoever does.
pub(crate) fn waits_for_disk(signal: &Signal) -> bool {
    let lead = signal.evidence.first();
    signal.kind == SignalKind::IoAnomaly && lead.is_some_and(|lead| lead.feature == WAITING)
}

/// What a node is short of, by the name of the feature its signal leads with; nothing where that does not say.
pub(crate) fn short_of(signal: &Signal) -> Option<Resource> {
    let feature = signal.evidence.first()?.feature.to_ascii_lowercase();
    let named = |words: &[&str]| feature.split('_').any(|word| words.contains(&word));
    if named(&["memory", "swap", "oom"]) {
        Some(Resource::Memory)
    } else if named(&["cpu", "load", "steal"]) {
        Some(Resource::Cpu)
    } else if named(&["disk", "io", "filesystem"]) {
        Some(Resource::Disk)
    } else {
        None
    }
}

/// The kind as what the subject does.
pub(crate) const fn phrase(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Overload => "is too busy for its load",
        SignalKind::Unhealthy => "fails its health check",
        SignalKind::CrashLoop => "keeps ending and being started again",
        SignalKind::Hang => "gets requests and does no work",
        SignalKind::MemoryRunaway => "fills its memory towards the limit",
        SignalKind::Throttling => "waits for its CPU limit",
        SignalKind::CpuAnomaly => "uses CPU as it never did",
        SignalKind::MemoryAnomaly => "uses memory as it never did",
        SignalKind::NetworkAnomaly => "has traffic as it never had",
        SignalKind::IoAnomaly => "uses the disk, or waits for it, as it never did",
        SignalKind::ErrorLogs => "logs errors",
        SignalKind::LogStorm => "logs far more than it used to",
        SignalKind::LogNovelty => "logs what it never logged before",
        SignalKind::LogSilence => "stopped logging",
        SignalKind::OddReplica => "does not behave as its fellow replicas do",
        SignalKind::NetworkDelay => "has slow connections",
        SignalKind::NodePressure => "is short of what its containers share",
        SignalKind::UnusualPattern => "behaves as a whole as it never did",
        SignalKind::TelemetryMissing => "tells nothing any more",
        SignalKind::TelemetryLost => "lost some of its telemetry on the way",
        SignalKind::Standstill => "stands still where it always moved",
        SignalKind::LimitNear => "nears the number of tasks it may have",
        SignalKind::AppAnomaly => "counts errors, or takes its time, as it never did",
        SignalKind::RequestAnomaly => {
            "fails requests, or takes its time, as its fellow replicas do not"
        }
    }
}
