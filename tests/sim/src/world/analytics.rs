//! A stand-in for the detectors: it sees what a collector could measure, and says what the real ones would, sooner and plainer. The
//! forecasts are the real ones.

use std::collections::BTreeMap;
use std::time::Duration;

use forecast::{Forecaster, Load, UsageTracker};
use units::{
    Confidence, ContainerId, ContainerState, HealthState, Millicores, Ratio, ScalePolicy,
    ScaleTarget, Severity, Signal, SignalId, SignalKind, SignalPhase, Sizing, Subject, Timestamp,
};

use super::World;
use super::agenda::Happening;
use super::container::{Container, Ill, LOOP_WITHIN};
use super::log::{Author, Topic};

/// How often it looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// An open signal is told again this often.
const AGAIN: Duration = Duration::from_secs(30);
/// A node silent for this long is missed.
const MISSED_AFTER: Duration = Duration::from_secs(15);
const CRASHES: usize = 3;
const DAYS: Duration = Duration::from_secs(2 * 24 * 3_600);
/// Use of capacity, and time spent waiting for it, from which a service is overloaded.
const OVERLOADED: f64 = 0.9;
const THROTTLED: f64 = 0.2;

pub(super) type Key = (SignalKind, String);

/// What it remembers.
#[derive(Debug, Default)]
pub(super) struct Analytics {
    pub(super) away_until: Timestamp,
    /// A container it takes for hung although it works, until then.
    pub(super) mistaken: Option<(ContainerId, Timestamp)>,
    watches: BTreeMap<Key, Watch>,
    forecasters: BTreeMap<usize, (Forecaster, UsageTracker)>,
}

#[derive(Debug, Default)]
struct Watch {
    node: Option<usize>,
    container: Option<ContainerId>,
    since: Option<Timestamp>,
    calm_since: Option<Timestamp>,
    signal: Option<Signal>,
    told_at: Timestamp,
}

/// One thing looked at.
pub(super) struct Case {
    pub(super) kind: SignalKind,
    /// How bad, if it is so.
    bad: Option<Severity>,
    opens_after: Duration,
    clears_after: Duration,
}

pub(super) const fn case(
    kind: SignalKind,
    bad: Option<Severity>,
    opens_s: u64,
    clears_s: u64,
) -> Case {
    Case {
        kind,
        bad,
        opens_after: Duration::from_secs(opens_s),
        clears_after: Duration::from_secs(clears_s),
    }
}

fn cases(container: &Container, mistaken: bool, now: Timestamp) -> [Case; 4] {
    let critical = |is: bool| is.then_some(Severity::Critical);
    let runs = container.state == ContainerState::Running;
    let hung = runs
        && container.ready_at <= now
        && (mistaken || matches!(container.ill, Some((Ill::Hung, _))));
    let unhealthy = runs && container.health == HealthState::Unhealthy;
    let leaks = matches!(container.ill, Some((Ill::Leaking(_), _))) && runs;
    let memory = match container.memory {
        share if leaks && share > 0.8 => Some(Severity::Critical),
        share if leaks && share > 0.5 => Some(Severity::Warning),
        share if leaks && share > 0.4 => Some(Severity::Info),
        _ => None,
    };
    let looping = container.ends_since(now - LOOP_WITHIN) >= CRASHES;
    [
        case(SignalKind::Unhealthy, critical(unhealthy), 5, 0),
        case(SignalKind::Hang, critical(hung), 10, 5),
        case(SignalKind::MemoryRunaway, memory, 10, 10),
        case(SignalKind::CrashLoop, critical(looping), 0, 30),
    ]
}

impl World {
    /// Looks at every node that reaches the log.
    pub(super) fn analyse(&mut self) {
        let now = self.now;
        self.agenda.note(now + LOOK_EVERY, Happening::Analyse);
        if self.analytics.away_until > now {
            return;
        }
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if node.up && node.connected {
                self.look_at_containers(at);
                self.look_at_node(at);
            }
            let node = &self.nodes[at];
            let here = node.up && node.connected;
            let missed = (!here).then_some(Severity::Warning);
            let subject = Subject::node(node.id.clone());
            let missing = Case {
                opens_after: MISSED_AFTER,
                ..case(SignalKind::TelemetryMissing, missed, 0, 0)
            };
            let key = (missing.kind, node.id.to_string());
            self.weigh(key, None, subject, missing, now);
        }
        for service in 0..self.services.len() {
            self.look_at_load(service);
            self.look_at_jobs(service);
        }
    }

    fn look_at_containers(&mut self, at: usize) {
        let now = self.now;
        let clock = self.nodes[at].clock(now);
        let mistaken = self.analytics.mistaken.clone();
        let mut seen = Vec::new();
        for container in self.nodes[at].containers.values() {
            let wrong = mistaken
                .as_ref()
                .is_some_and(|(id, until)| *id == container.id && *until > now);
            for case in cases(container, wrong, now) {
                let key = (case.kind, container.id.to_string());
                if case.bad.is_some() || self.analytics.watches.contains_key(&key) {
                    let subject = Subject::container(
                        self.services[container.service].id.clone(),
                        self.nodes[at].id.clone(),
                        container.id.clone(),
                        container.name.clone(),
                    );
                    seen.push((key, container.id.clone(), subject, case));
                }
            }
        }
        for (key, container, subject, case) in seen {
            self.weigh(key, Some((at, container)), subject, case, clock);
        }
        let node = &self.nodes[at];
        let gone: Vec<Key> = self
            .analytics
            .watches
            .iter()
            .filter(|(_, watch)| watch.node == Some(at))
            .filter(|(_, watch)| {
                let known = watch.container.as_ref();
                known.is_some_and(|id| !node.containers.contains_key(id))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(signal) = self.analytics.watches.remove(&key).and_then(|it| it.signal) {
                self.say_signal(signal, SignalPhase::Resolve, clock);
            }
        }
    }

    /// Opens, tells again or resolves.
    pub(super) fn weigh(
        &mut self,
        key: Key,
        place: Option<(usize, ContainerId)>,
        subject: Subject,
        case: Case,
        clock: Timestamp,
    ) {
        let now = self.now;
        if case.bad.is_none() && !self.analytics.watches.contains_key(&key) {
            return;
        }
        let watch = self.analytics.watches.entry(key.clone()).or_default();
        (watch.node, watch.container) = match place {
            Some((node, container)) => (Some(node), Some(container)),
            None => (None, None),
        };
        let told = match case.bad {
            Some(severity) => {
                watch.calm_since = None;
                let since = *watch.since.get_or_insert(now);
                match &mut watch.signal {
                    None if now.since(since) >= case.opens_after => {
                        let signal = open(case.kind, subject, severity, clock);
                        watch.signal = Some(signal.clone());
                        Some((signal, SignalPhase::Open))
                    }
                    Some(signal) if signal.severity < severity || watch.told_at + AGAIN <= now => {
                        signal.severity = signal.severity.max(severity);
                        Some((signal.clone(), SignalPhase::Update))
                    }
                    Some(_) | None => None,
                }
            }
            None => {
                watch.since = None;
                let calm = *watch.calm_since.get_or_insert(now);
                let over = now.since(calm) >= case.clears_after || watch.signal.is_none();
                let signal = over.then(|| self.analytics.watches.remove(&key)).flatten();
                signal
                    .and_then(|watch| watch.signal)
                    .map(|signal| (signal, SignalPhase::Resolve))
            }
        };
        if let Some((signal, phase)) = told {
            if let Some(watch) = self.analytics.watches.get_mut(&key) {
                watch.told_at = now;
            }
            self.say_signal(signal, phase, clock);
        }
    }

    fn say_signal(&mut self, signal: Signal, phase: SignalPhase, clock: Timestamp) {
        // A clock that was set back does not make a later word an earlier one.
        let at = clock.max(signal.opened_at);
        let signal = Signal {
            phase,
            at,
            ..signal
        };
        if phase != SignalPhase::Update {
            self.note(|_| format!("{} {phase:?}, opened {}", signal.reason, signal.opened_at));
        }
        self.send(Topic::Signals, &signal, None, Author::Role);
    }

    fn look_at_load(&mut self, of: usize) {
        if self.services[of].scale.is_none() {
            return;
        }
        let now = self.now;
        let (mut busiest, mut fullest) = (0.0_f64, None);
        let mut load = Load {
            at: Timestamp::EPOCH,
            cpu_millicores: 0.0,
            replicas: 0,
            replica_capacity: Millicores(0),
            throttled: 0.0,
        };
        for node in self.nodes.iter().filter(|node| node.up && node.connected) {
            for container in node.containers.values() {
                if container.service == of && container.state == ContainerState::Running {
                    load.at = load.at.max(node.clock(now));
                    load.cpu_millicores += container.use_millicores;
                    load.replicas += 1;
                    load.replica_capacity = container.limits.cpu.unwrap_or(Millicores::CORE);
                    load.throttled = load.throttled.max(container.throttled);
                    busiest = busiest.max(container.use_millicores);
                    fullest = fullest.max(container.held());
                }
            }
        }
        if load.replicas == 0 {
            return;
        }
        let service = self.services[of].id.clone();
        let carries = f64::from(load.replicas) * load.replica_capacity.0 as f64;
        let over = load.cpu_millicores > carries * OVERLOADED || load.throttled > THROTTLED;
        let (forecaster, tracker) = self.analytics.forecasters.entry(of).or_default();
        let forecast = forecaster.observe(&service, &load);
        let held = fullest.map(|held: units::Bytes| held.0 as f64);
        let usage = watched_for_days(tracker.observe(load.at, busiest, held));
        // Codecs need not keep the last bit of a number, and readers all read the same.
        let forecast = units::Forecast {
            observed: forecast.observed.round(),
            recent_peak: forecast.recent_peak.round(),
            throttled: (forecast.throttled * 1_000.0).round() / 1_000.0,
            points: forecast.points.into_iter().map(rounded).collect(),
            startup_s: u32::try_from(self.services[of].startup.as_secs() + 1).ok(),
            sizing: sized(self.services[of].scale.as_ref(), &load),
            usage: Some(usage),
            loads: Vec::new(),
            ..forecast
        };
        self.send(Topic::Forecasts, &forecast, None, Author::Role);
        let bad = over.then_some(Severity::Critical);
        let case = case(SignalKind::Overload, bad, 10, 10);
        let key = (case.kind, service.to_string());
        self.weigh(key, None, Subject::service(service), case, load.at);
    }

    /// Signals that are open, and that something could be done about.
    pub(super) fn open_signals(&self) -> Vec<String> {
        let watches = self.analytics.watches.values();
        let open = watches.filter_map(|watch| watch.signal.as_ref());
        let open = open.filter(|signal| {
            let is_short = signal.kind == SignalKind::NodePressure;
            let node = signal.subject.node.as_ref();
            let at = self.nodes.iter().position(|it| Some(&it.id) == node);
            !is_short || at.is_some_and(|at| self.can_be_relieved(at))
        });
        open.map(|signal| signal.reason.clone()).collect()
    }
}

/// Stands in for the sizing, which learns over days: the replicas that the load of now needs, and a tenth of it more.
fn sized(scale: Option<&ScalePolicy>, load: &Load) -> Option<Sizing> {
    let scale = scale?;
    let ScaleTarget::Slo(slo) = scale.target else {
        return None;
    };
    let expected = load.cpu_millicores / (1.0 - load.throttled.clamp(0.0, 0.5));
    let full = load.replica_capacity.0 as f64 * OVERLOADED;
    let replicas = (expected * 1.1 / full).ceil() as u32;
    Some(Sizing {
        replicas: replicas.clamp(scale.min, scale.max),
        expected: expected.round(),
        spread: (expected / 10.0).round(),
        price: 100.0,
        slo,
        broken: Ratio::saturating(0.0),
    })
}

/// A seed lasts an hour, and limits are lowered after a day of history: what is seen here counts as if it had been so for days.
fn watched_for_days(mut usage: units::Usage) -> units::Usage {
    usage.history += DAYS;
    usage.cpu.upper = usage.cpu.target.max(usage.cpu.recent_peak);
    if let Some(memory) = &mut usage.memory {
        memory.upper = memory.target.max(memory.recent_peak);
    }
    usage
}

pub(super) fn rounded(point: units::ForecastPoint) -> units::ForecastPoint {
    units::ForecastPoint {
        ahead: point.ahead,
        expected: point.expected.round(),
        low: point.low.round(),
        high: point.high.round(),
    }
}

fn open(kind: SignalKind, subject: Subject, severity: Severity, clock: Timestamp) -> Signal {
    let fingerprint = subject.fingerprint(kind);
    Signal {
        id: SignalId::of(&fingerprint, clock),
        fingerprint,
        phase: SignalPhase::Open,
        kind,
        reason: format!("{subject} has {kind}"),
        subject,
        severity,
        score: Ratio::saturating(0.99),
        confidence: Confidence::High,
        opened_at: clock,
        at: clock,
        evidence: Vec::new(),
        traceparent: None,
    }
}
