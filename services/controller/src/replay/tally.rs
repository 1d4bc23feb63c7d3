//! Counting what happens in one course of things: the recorded one, or a policy's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use units::{
    BreakerEntry, ContainerRecord, ContainerState, EventKind, Forecast, NodeId, Phase, Plan,
    PlanEntry, PlanId, ServiceId, Severity, Signal, SignalId, SignalKind, SignalPhase, Timestamp,
};

use super::report::{Figures, PlanLine, Risk, RiskKind, ServiceFigures, Source};
use crate::config::Config;

const MINUTE_MS: i64 = 60_000;
const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_SECONDS: f64 = 3_600.0;

/// What risky moments are measured against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    service_hourly: u32,
    global_hourly: u32,
    hold: Duration,
    forgotten: Duration,
}

impl Limits {
    /// Budgets of the configuration in question. The hold is the present one's, so that a shorter one shows; and so is the time after
    /// which a silent node is gone, so that all count the same replicas.
    pub(super) fn new(config: &Config, present: &Config) -> Self {
        Limits {
            service_hourly: config.budget.service_hourly,
            global_hourly: config.budget.global_hourly,
            hold: present.people.hold.get(),
            forgotten: present.breaker.node_forgotten.get(),
        }
    }
}

/// Serves or is about to, as the core counts replicas.
pub(super) fn counts(record: &ContainerRecord) -> bool {
    match record.state {
        ContainerState::Running => !record.is_isolated(),
        ContainerState::Paused => true,
        ContainerState::Created => record.made_by.is_some(),
        ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => false,
    }
}

/// Somebody did this to the container; it does not do it to itself.
pub(super) fn is_by_somebody(kind: &EventKind) -> bool {
    match kind {
        EventKind::Created
        | EventKind::Stopping { .. }
        | EventKind::Paused
        | EventKind::Unpaused
        | EventKind::Updated
        | EventKind::Renamed { .. }
        | EventKind::Removed => true,
        EventKind::Started
        | EventKind::Died { .. }
        | EventKind::OutOfMemory
        | EventKind::Health { .. }
        | EventKind::Gap => false,
    }
}

/// Replicas of every service, by node.
#[derive(Debug, Default)]
pub(super) struct Census {
    nodes: BTreeMap<NodeId, (Timestamp, BTreeMap<ServiceId, u32>)>,
    /// Longest silent first.
    by_age: BTreeSet<(Timestamp, NodeId)>,
    total: BTreeMap<ServiceId, u32>,
}

impl Census {
    /// Takes what a node holds; returns the services whose number changed.
    fn take(&mut self, now: Timestamp, node: &NodeId, held: &[ContainerRecord]) -> Vec<ServiceId> {
        let mut holds: BTreeMap<ServiceId, u32> = BTreeMap::new();
        for record in held.iter().filter(|record| counts(record)) {
            *holds.entry(record.service.clone()).or_default() += 1;
        }
        self.by_age.insert((now, node.clone()));
        let before = self.nodes.insert(node.clone(), (now, holds.clone()));
        let before = before.map(|(at, held)| {
            if at != now {
                self.by_age.remove(&(at, node.clone()));
            }
            held
        });
        self.replace(&before.unwrap_or_default(), &holds)
    }

    /// Takes away the node that has been silent longest, when it has been so since before `before`; returns since when, and the
    /// services whose number changed.
    fn gone(&mut self, before: Timestamp) -> Option<(Timestamp, Vec<ServiceId>)> {
        let (at, node) = self.by_age.first().filter(|(at, _)| *at < before)?.clone();
        self.by_age.pop_first();
        let (_, held) = self.nodes.remove(&node)?;
        Some((at, self.replace(&held, &BTreeMap::new())))
    }

    fn replace(
        &mut self,
        before: &BTreeMap<ServiceId, u32>,
        after: &BTreeMap<ServiceId, u32>,
    ) -> Vec<ServiceId> {
        let services: BTreeSet<&ServiceId> = before.keys().chain(after.keys()).collect();
        let mut changed = Vec::new();
        for service in services {
            let [was, is] = [before, after].map(|held| held.get(service).copied().unwrap_or(0));
            if was != is {
                let total = self.total.entry(service.clone()).or_default();
                *total = (*total + is).saturating_sub(was);
                changed.push(service.clone());
            }
        }
        changed
    }

    pub(super) fn of(&self, service: &ServiceId) -> u32 {
        self.total.get(service).copied().unwrap_or(0)
    }
}

/// One service as it stands, and what it summed up to.
#[derive(Debug, Default)]
struct Standing {
    since: Timestamp,
    /// Open signals of severity warning or above.
    open: BTreeMap<SignalId, SignalKind>,
    replicas: u32,
    /// The load and what one replica carries, both in millicores.
    load: f64,
    capacity: f64,
    slo_ms: u64,
    overload_ms: u64,
    over_ms: u64,
    replica_ms: u64,
    actions: u64,
    touched: Option<Timestamp>,
    /// When plans were carried out in the last hour, and their steps.
    lately: VecDeque<(Timestamp, u32)>,
    first_difference: Option<Timestamp>,
}

impl Standing {
    fn settle(&mut self, now: Timestamp) {
        let passed_ms = now.since(self.since).as_millis() as u64;
        self.since = self.since.max(now);
        if !self.open.is_empty() {
            self.slo_ms += passed_ms;
        }
        if self.open.values().any(|kind| *kind == SignalKind::Overload) {
            self.overload_ms += passed_ms;
        }
        // Where no replica is known of, nothing is known of what they carry.
        let carried = self.capacity * f64::from(self.replicas);
        if carried > 0.0 && self.load > carried {
            self.over_ms += passed_ms;
        }
        self.replica_ms += passed_ms * u64::from(self.replicas);
    }
}

/// The counts of one course of things.
#[derive(Debug)]
pub(super) struct Tally {
    limits: Limits,
    begun: Option<Timestamp>,
    services: BTreeMap<ServiceId, Standing>,
    census: Census,
    breaker_since: Option<Timestamp>,
    breaker_ms: u64,
    lately: VecDeque<(Timestamp, u32)>,
    plans: Vec<PlanLine>,
    places: BTreeMap<PlanId, usize>,
    risky: Vec<Risk>,
    first_difference: Option<(Timestamp, String)>,
}

impl Tally {
    pub(super) fn new(limits: Limits) -> Self {
        Tally {
            limits,
            begun: None,
            services: BTreeMap::new(),
            census: Census::default(),
            breaker_since: None,
            breaker_ms: 0,
            lately: VecDeque::new(),
            plans: Vec::new(),
            places: BTreeMap::new(),
            risky: Vec::new(),
            first_difference: None,
        }
    }

    /// Counting begins; how things stand was told before.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.forget(now);
        self.begun = Some(now);
        self.breaker_since = self.breaker_since.map(|_| now);
        for standing in self.services.values_mut() {
            standing.since = now;
        }
    }

    fn standing(&mut self, service: &ServiceId, now: Timestamp) -> &mut Standing {
        let begun = self.begun;
        let standing = self
            .services
            .entry(service.clone())
            .or_insert_with(|| Standing {
                since: now,
                ..Standing::default()
            });
        match begun {
            Some(_) => standing.settle(now),
            None => standing.since = now,
        }
        standing
    }

    pub(super) fn signal(&mut self, now: Timestamp, signal: &Signal) {
        let Some(service) = &signal.subject.service else {
            return;
        };
        let is_open = signal.phase != SignalPhase::Resolve && signal.severity >= Severity::Warning;
        let standing = self.standing(service, now);
        match is_open {
            true => standing.open.insert(signal.id.clone(), signal.kind),
            false => standing.open.remove(&signal.id),
        };
    }

    pub(super) fn forecast(&mut self, now: Timestamp, forecast: &Forecast) {
        let standing = self.standing(&forecast.service, now);
        standing.load = forecast.observed;
        standing.capacity = forecast.replica_capacity.0 as f64;
    }

    pub(super) fn inventory(&mut self, now: Timestamp, node: &NodeId, held: &[ContainerRecord]) {
        self.forget(now);
        let changed = self.census.take(now, node, held);
        self.recount(now, changed);
    }

    /// Replicas on nodes that have been silent for long are gone with them.
    fn forget(&mut self, now: Timestamp) {
        let forgotten = self.limits.forgotten;
        while let Some((at, changed)) = self.census.gone(now - forgotten) {
            self.recount(at + forgotten, changed);
        }
    }

    fn recount(&mut self, at: Timestamp, changed: Vec<ServiceId>) {
        for service in changed {
            let replicas = self.census.of(&service);
            self.standing(&service, at).replicas = replicas;
        }
    }

    pub(super) fn replicas(&self, service: &ServiceId) -> u32 {
        self.census.of(service)
    }

    /// Somebody changed a service.
    pub(super) fn touched(&mut self, now: Timestamp, service: &ServiceId, at: Timestamp) {
        let standing = self.standing(service, now);
        standing.touched = standing.touched.max(Some(at));
    }

    pub(super) fn breaker(&mut self, now: Timestamp, entry: &BreakerEntry) {
        match (entry.open_until, self.breaker_since) {
            (Some(_), None) => {
                self.breaker_since = Some(now);
                if self.begun.is_some() {
                    self.risk(now, RiskKind::BreakerOpened, None, entry.reason.clone());
                }
            }
            (None, Some(since)) => {
                self.breaker_since = None;
                if self.begun.is_some() {
                    self.breaker_ms += now.since(since).as_millis() as u64;
                }
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    pub(super) fn refused(&mut self, now: Timestamp, service: &ServiceId, what: String) {
        self.risk(now, RiskKind::Refused, Some(service.clone()), what);
    }

    fn risk(&mut self, at: Timestamp, kind: RiskKind, service: Option<ServiceId>, what: String) {
        self.risky.push(Risk {
            at,
            kind,
            service,
            what,
        });
    }

    /// An action that the recording does not hold, or holds and this course does not.
    pub(super) fn differs(&mut self, at: Timestamp, service: &ServiceId, what: &str) {
        let first = &mut self
            .services
            .entry(service.clone())
            .or_default()
            .first_difference;
        *first = Some(first.map_or(at, |first| first.min(at)));
        if self
            .first_difference
            .as_ref()
            .is_none_or(|(first, _)| at < *first)
        {
            self.first_difference = Some((at, what.to_owned()));
        }
    }

    /// A state of a plan. Of one from before counting began nothing is told.
    pub(super) fn plan(&mut self, now: Timestamp, entry: &PlanEntry, outcome: Source) {
        let plan = &entry.plan;
        if self.begun.is_none_or(|begun| plan.created_at < begun) {
            return;
        }
        if let Some(line) = self
            .places
            .get(&plan.id)
            .and_then(|at| self.plans.get_mut(*at))
        {
            line.phase = entry.phase;
            line.verdict = entry.verdict.as_ref().map(|verdict| verdict.kind);
            return;
        }
        self.places.insert(plan.id.clone(), self.plans.len());
        self.plans.push(PlanLine {
            at: plan.created_at,
            id: plan.id.clone(),
            service: plan.service.clone(),
            kind: plan.kind.as_str(),
            steps: plan
                .steps
                .iter()
                .map(|step| step.action.to_string())
                .collect(),
            reason: plan.cause.reason.clone(),
            expected: plan.expected.text.clone(),
            phase: entry.phase,
            outcome,
            verdict: entry.verdict.as_ref().map(|verdict| verdict.kind),
        });
        let is_sent = entry.phase != Phase::Suggested && outcome != Source::None;
        if is_sent {
            self.acted(now, plan);
        }
    }

    /// A plan is carried out: is the moment risky?
    fn acted(&mut self, now: Timestamp, plan: &Plan) {
        let at = plan.created_at;
        let service = plan.service.clone();
        let limits = self.limits;
        let steps = u32::try_from(plan.steps.len()).unwrap_or(u32::MAX);
        let standing = self.standing(&service, now);
        standing.actions += 1;
        let same = standing
            .lately
            .iter()
            .filter(|(other, _)| other.as_millis() / MINUTE_MS == at.as_millis() / MINUTE_MS)
            .count();
        let touched = standing
            .touched
            .filter(|touched| *touched + limits.hold > at);
        let of_service = remember(&mut standing.lately, at, steps);
        let of_all = remember(&mut self.lately, at, steps);
        let mut risk = |kind, what| self.risk(at, kind, Some(service.clone()), what);
        if same > 0 {
            let what = format!("{} plans for {service} within one minute", same + 1);
            risk(RiskKind::SameMinute, what);
        }
        if let Some(touched) = touched {
            let ago_s = at.since(touched).as_secs();
            let what = format!(
                "somebody changed {service} {ago_s} s before; the present hold is {} s",
                limits.hold.as_secs()
            );
            risk(RiskKind::DuringHold, what);
        }
        for (sum, most, whose) in [
            (of_service, limits.service_hourly, service.as_str()),
            (of_all, limits.global_hourly, "all services"),
        ] {
            if sum >= most {
                let what =
                    format!("the hour's budget of {whose} is used up: {sum} of {most} steps");
                risk(RiskKind::BudgetSpent, what);
            }
        }
    }

    /// Everything counted until `end`.
    pub(super) fn figures(mut self, end: Timestamp) -> Figures {
        self.forget(end);
        let mut figures = Figures::default();
        let mut differing = (0, 0.0);
        for (service, mut standing) in std::mem::take(&mut self.services) {
            if self.begun.is_some() {
                standing.settle(end);
            }
            if let Some(first) = standing.first_difference {
                differing = (differing.0 + 1, differing.1 + seconds(end.since(first)));
            }
            let of_service = ServiceFigures {
                slo_seconds: standing.slo_ms as f64 / 1e3,
                overload_seconds: standing.overload_ms as f64 / 1e3,
                over_capacity_seconds: standing.over_ms as f64 / 1e3,
                replica_hours: standing.replica_ms as f64 / 1e3 / HOUR_SECONDS,
                actions: standing.actions,
            };
            figures.slo_seconds += of_service.slo_seconds;
            figures.overload_seconds += of_service.overload_seconds;
            figures.over_capacity_seconds += of_service.over_capacity_seconds;
            figures.replica_hours += of_service.replica_hours;
            if of_service != ServiceFigures::default() {
                figures.services.insert(service, of_service);
            }
        }
        if let (Some(since), Some(_)) = (self.breaker_since, self.begun) {
            self.breaker_ms += end.since(since).as_millis() as u64;
        }
        figures.breaker_open_seconds = self.breaker_ms as f64 / 1e3;
        for line in &self.plans {
            let by_kind = match (line.phase, line.outcome) {
                (Phase::Suggested, _) => &mut figures.suggestions,
                (_, Source::None) => continue,
                (_, Source::Recorded | Source::Assumed) => &mut figures.actions,
            };
            *by_kind.entry(line.kind).or_default() += 1;
        }
        self.risky
            .sort_by(|a, b| (a.at, a.kind, &a.service).cmp(&(b.at, b.kind, &b.service)));
        figures.differs_from = self
            .first_difference
            .map(|(at, what)| super::report::Difference {
                at,
                what,
                services: differing.0,
                seconds: differing.1,
            });
        figures.plans = self.plans;
        figures.risky = self.risky;
        figures
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}

/// Adds steps to those of the last hour, and sums them up.
fn remember(lately: &mut VecDeque<(Timestamp, u32)>, at: Timestamp, steps: u32) -> u32 {
    while lately.front().is_some_and(|(other, _)| *other + HOUR <= at) {
        lately.pop_front();
    }
    lately.push_back((at, steps));
    lately
        .iter()
        .fold(0, |sum, (_, steps)| sum.saturating_add(*steps))
}
