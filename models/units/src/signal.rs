//! Signals: something is wrong with a subject, why we think so, and until when.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ContainerId, ContainerName, Fingerprint, Metric, NodeId, Ratio, ServiceId, SignalId, Timestamp,
};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// A service's replicas are too busy to carry its load.
    Overload,
    /// A health check fails.
    Unhealthy,
    /// It keeps ending and being started again.
    CrashLoop,
    /// It gets requests and does no work.
    Hang,
    /// Its memory grows towards its limit without falling back.
    MemoryRunaway,
    /// It waits for its CPU limit.
    Throttling,
    /// Its CPU use is not what it was.
    CpuAnomaly,
    /// Its memory use is not what it was.
    MemoryAnomaly,
    /// Its traffic is not what it was.
    NetworkAnomaly,
    /// Its disk use is not what it was.
    IoAnomaly,
    /// It logs errors at an unusual rate.
    ErrorLogs,
    /// It logs far more than it used to.
    LogStorm,
    /// It logs a kind of line, again and again, that it never logged before.
    LogNovelty,
    /// It stopped logging.
    LogSilence,
    /// It does not behave as the other replicas of its service do.
    OddReplica,
    /// Its connections became slow.
    NetworkDelay,
    /// The node itself is short of CPU, memory or disk.
    NodePressure,
    /// Its metrics do not go together as they used to, whatever each of them is.
    UnusualPattern,
    /// Its telemetry stopped.
    TelemetryMissing,
    /// Some of its telemetry was lost: samples or log lines that never arrived.
    TelemetryLost,
    /// What always moved stands exactly still while it runs: its CPU time, or what it sends or receives.
    Standstill,
    /// It nears a bound that nothing goes beyond, other than that of memory: its number of tasks.
    LimitNear,
    /// What it tells of itself is not what it was: the errors it counts, or how long its calls take.
    AppAnomaly,
    /// Of the requests that a balancer sends it more fail, or they take longer, than at the other replicas of its service.
    RequestAnomaly,
}

impl SignalKind {
    /// Every kind.
    pub const ALL: [SignalKind; 24] = [
        SignalKind::Overload,
        SignalKind::Unhealthy,
        SignalKind::CrashLoop,
        SignalKind::Hang,
        SignalKind::MemoryRunaway,
        SignalKind::Throttling,
        SignalKind::CpuAnomaly,
        SignalKind::MemoryAnomaly,
        SignalKind::NetworkAnomaly,
        SignalKind::IoAnomaly,
        SignalKind::ErrorLogs,
        SignalKind::LogStorm,
        SignalKind::LogNovelty,
        SignalKind::LogSilence,
        SignalKind::OddReplica,
        SignalKind::NetworkDelay,
        SignalKind::NodePressure,
        SignalKind::UnusualPattern,
        SignalKind::TelemetryMissing,
        SignalKind::TelemetryLost,
        SignalKind::Standstill,
        SignalKind::LimitNear,
        SignalKind::AppAnomaly,
        SignalKind::RequestAnomaly,
    ];

    /// The word on the wire, in metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignalKind::Overload => "overload",
            SignalKind::Unhealthy => "unhealthy",
            SignalKind::CrashLoop => "crash_loop",
            SignalKind::Hang => "hang",
            SignalKind::MemoryRunaway => "memory_runaway",
            SignalKind::Throttling => "throttling",
            SignalKind::CpuAnomaly => "cpu_anomaly",
            SignalKind::MemoryAnomaly => "memory_anomaly",
            SignalKind::NetworkAnomaly => "network_anomaly",
            SignalKind::IoAnomaly => "io_anomaly",
            SignalKind::ErrorLogs => "error_logs",
            SignalKind::LogStorm => "log_storm",
            SignalKind::LogNovelty => "log_novelty",
            SignalKind::LogSilence => "log_silence",
            SignalKind::OddReplica => "odd_replica",
            SignalKind::NetworkDelay => "network_delay",
            SignalKind::NodePressure => "node_pressure",
            SignalKind::UnusualPattern => "unusual_pattern",
            SignalKind::TelemetryMissing => "telemetry_missing",
            SignalKind::TelemetryLost => "telemetry_lost",
            SignalKind::Standstill => "standstill",
            SignalKind::LimitNear => "limit_near",
            SignalKind::AppAnomaly => "app_anomaly",
            SignalKind::RequestAnomaly => "request_anomaly",
        }
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Users notice, or soon will.
    Critical,
}

impl Severity {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a signal is about: a container, a service, or a node, by which fields are there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// The service; absent when it is about a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The node; absent when it is about a service as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The container; absent when it is about a service or node as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// The container's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ContainerName>,
}

impl Subject {
    /// A service as a whole.
    pub fn service(service: ServiceId) -> Self {
        Subject {
            service: Some(service),
            node: None,
            container: None,
            name: None,
        }
    }

    /// A node as a whole.
    pub fn node(node: NodeId) -> Self {
        Subject {
            service: None,
            node: Some(node),
            container: None,
            name: None,
        }
    }

    /// One container.
    pub fn container(
        service: ServiceId,
        node: NodeId,
        container: ContainerId,
        name: ContainerName,
    ) -> Self {
        Subject {
            service: Some(service),
            node: Some(node),
            container: Some(container),
            name: Some(name),
        }
    }

    /// The fingerprint of a signal of this kind about this subject.
    pub fn fingerprint(&self, kind: SignalKind) -> Fingerprint {
        fn part<T>(id: &Option<T>, text: impl Fn(&T) -> &str) -> &str {
            id.as_ref().map_or("", text)
        }
        Fingerprint::of(&[
            kind.as_str(),
            part(&self.service, ServiceId::as_str),
            part(&self.node, NodeId::as_str),
            part(&self.container, ContainerId::as_str),
        ])
    }
}

/// The narrowest thing known: container, else service, else node.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.service, &self.node) {
            (Some(name), _, _) => write!(f, "{name}"),
            (None, Some(service), _) => write!(f, "{service}"),
            (None, None, Some(node)) => write!(f, "node {node}"),
            (None, None, None) => f.write_str("everything"),
        }
    }
}

/// One number that speaks for a signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked at: a metric's column, or a derived name such as `error_lines_per_second`.
    pub feature: String,
    /// The metric behind it, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The unit of the numbers, such as `cores`, `bytes`, `bytes/s`, `lines/s`.
    pub unit: String,
    /// What was seen.
    pub observed: f64,
    /// The least that was expected.
    pub expected_low: f64,
    /// The most that was expected.
    pub expected_high: f64,
    /// Since when it is so.
    pub since: Timestamp,
}

/// Open, still so, or over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalPhase {
    /// It opened.
    Open,
    /// It goes on, with newer evidence.
    Update,
    /// It is over.
    Resolve,
}

impl SignalPhase {
    /// Every phase.
    pub const ALL: [SignalPhase; 3] =
        [SignalPhase::Open, SignalPhase::Update, SignalPhase::Resolve];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignalPhase::Open => "open",
            SignalPhase::Update => "update",
            SignalPhase::Resolve => "resolve",
        }
    }
}

/// How much history stands behind the judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Minutes of history, or a known bound alone.
    Low,
    /// An hour or more.
    Medium,
    /// A day or more, or a fact such as a failed health check.
    High,
}

impl Confidence {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// One state of one opening of a signal. Each record is complete: the newest of an id says all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// This opening.
    pub id: SignalId,
    /// The same for each opening of the same kind and subject.
    pub fingerprint: Fingerprint,
    /// Open, update or resolve.
    pub phase: SignalPhase,
    /// What is wrong.
    pub kind: SignalKind,
    /// With what.
    pub subject: Subject,
    /// How much it matters.
    pub severity: Severity,
    /// How unusual, calibrated: 0.99 means one in a hundred everywhere.
    pub score: Ratio,
    /// How much history stands behind it.
    pub confidence: Confidence,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When this state was told.
    pub at: Timestamp,
    /// One plain sentence of why.
    pub reason: String,
    /// The numbers, most telling first.
    pub evidence: Vec<Evidence>,
    /// W3C trace context of the sample that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_follows_kind_and_subject() {
        let web = Subject::service(ServiceId::from("web"));
        let node = Subject::node(NodeId::from("web"));
        assert_ne!(
            web.fingerprint(SignalKind::Hang),
            node.fingerprint(SignalKind::Hang)
        );
        assert_ne!(
            web.fingerprint(SignalKind::Hang),
            web.fingerprint(SignalKind::Overload)
        );
    }

    #[test]
    fn the_words_of_kinds_are_those_of_the_wire() {
        for kind in SignalKind::ALL {
            let wire = serde_json::to_string(&kind).unwrap();
            assert_eq!(wire, format!("\"{}\"", kind.as_str()));
        }
    }
}
