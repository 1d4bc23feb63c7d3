//! What a replay found, for programs and for whoever shows it to people.

use std::collections::BTreeMap;

use serde::Serialize;
use units::{Phase, PlanId, ServiceId, Timestamp, VerdictKind};

/// What nobody can know from a recording, and how this replay treats it. Part of every report.
pub const CANNOT_KNOW: [&str; 7] = [
    "The telemetry is that of the world in which it was recorded. After the first action that differs, what followed is what followed in that world, not what would have followed under this policy.",
    "A plan counts as the recorded one when service, kind and containers are the same (for a new replica: their number) and it was made within 30 s of it; its outcome is then the recorded one.",
    "An action that the recording does not hold is taken as done after 1 s and as having the effect its plan expects, for the rest of that episode: the signals that led to it are over until they open anew, and replicas are there, or gone, from then on. Whether it would have helped, nobody can say: seconds gained so are told apart.",
    "With other replicas than recorded, the recorded load is spread over them; time spent waiting for a CPU limit is not counted where there are more than recorded, and a load that would only then have been asked for is not seen.",
    "A recorded action that the policy does not take is left out, its replicas too; where it ended a signal, the policy has the benefit of it.",
    "An actuator may refuse what a controller decides, and engines fail: only recorded outcomes tell of it.",
    "Node-local clocks, delays of reading and of the network are those of the recording; the time is that at which each record was written to the log.",
];

/// Records that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutAside {
    /// Their topic.
    pub topic: String,
    /// What they say of their schema and version.
    pub schema: String,
    /// Why: `no_schema`, `unknown_version` or `malformed`.
    pub reason: &'static str,
    /// How many.
    pub records: u64,
}

/// What was replayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// When deciding and counting began: at the first record of the time asked for.
    pub from: Timestamp,
    /// When it ended: at the last record.
    pub to: Timestamp,
    /// Records by topic, those that only tell how things stood at the beginning included.
    pub records: BTreeMap<String, u64>,
    /// Records that could not be read and are left out.
    pub put_aside: Vec<PutAside>,
    /// Node-seconds for which the inventory was gone from the log and its state before, or else after, was put in its place.
    pub inventory_filled_seconds: f64,
    /// Nodes of which the inventory tells.
    pub nodes: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was replayed.
    pub input: Input,
    /// What cannot be known, and how it is treated.
    pub cannot_know: [&'static str; 7],
    /// What happened.
    pub recorded: Figures,
    /// What the present configuration makes of it.
    pub present: Figures,
    /// What the candidate makes of it, when there is one.
    pub candidate: Option<Figures>,
}

/// The figures of one course of things.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Figures {
    /// Seconds in which a signal of severity warning or above was open on a service, summed over services. Signals about nodes do
    /// not count.
    pub slo_seconds: f64,
    /// Of the recorded ones, those missing here only because an action is taken to have had the effect it was to have.
    pub slo_seconds_assumed_away: f64,
    /// Seconds in which a signal of overload was open on a service, summed over services.
    pub overload_seconds: f64,
    /// Seconds in which the recorded load of a service was more than its replicas carry at 100 %, summed over services.
    pub over_capacity_seconds: f64,
    /// Containers that served or were about to, over time, in hours. A node silent for long counts no more.
    pub replica_hours: f64,
    /// Seconds in which the common-cause breaker was open.
    pub breaker_open_seconds: f64,
    /// Plans carried out, by kind of action.
    pub actions: BTreeMap<&'static str, u64>,
    /// Plans only said, by kind of action.
    pub suggestions: BTreeMap<&'static str, u64>,
    /// By service, those in which anything is not zero.
    pub services: BTreeMap<ServiceId, ServiceFigures>,
    /// Every plan, in the order they were made.
    pub plans: Vec<PlanLine>,
    /// Moments a person should look at, in order of time.
    pub risky: Vec<Risk>,
    /// The first action that differs from what was recorded, and where.
    pub differs_from: Option<Difference>,
    /// SHA-256 of everything that was decided, each plan's state and command as JSON on a line. Empty for what was recorded.
    pub digest: String,
}

/// The figures of one service.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ServiceFigures {
    /// As [`Figures::slo_seconds`].
    pub slo_seconds: f64,
    /// As [`Figures::overload_seconds`].
    pub overload_seconds: f64,
    /// As [`Figures::over_capacity_seconds`].
    pub over_capacity_seconds: f64,
    /// As [`Figures::replica_hours`].
    pub replica_hours: f64,
    /// Plans carried out.
    pub actions: u64,
}

/// Where a plan's outcome comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It was recorded.
    Recorded,
    /// It is assumed.
    Assumed,
    /// There is none: the plan was only said, or refused.
    None,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanLine {
    /// When it was made.
    pub at: Timestamp,
    /// Its id.
    pub id: PlanId,
    /// For which service.
    pub service: ServiceId,
    /// The kind of its steps.
    pub kind: &'static str,
    /// What, in words, in order.
    pub steps: Vec<String>,
    /// Why.
    pub reason: String,
    /// What is expected of it.
    pub expected: String,
    /// How far it came.
    pub phase: Phase,
    /// Where its outcome comes from.
    pub outcome: Source,
    /// The verdict, where there is one. After an assumed outcome it judges recorded telemetry, and says little.
    pub verdict: Option<VerdictKind>,
}

/// What makes a moment risky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskKind {
    /// Several plans for one service in one minute.
    SameMinute,
    /// A budget of the hour is used up with this plan.
    BudgetSpent,
    /// Many services sick at once, or most nodes silent: the common-cause breaker opened.
    BreakerOpened,
    /// People had just changed the service.
    DuringHold,
    /// A plan broke an invariant and was not sent: a defect, to be reported.
    Refused,
}

impl RiskKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            RiskKind::SameMinute => "same_minute",
            RiskKind::BudgetSpent => "budget_spent",
            RiskKind::BreakerOpened => "breaker_opened",
            RiskKind::DuringHold => "during_hold",
            RiskKind::Refused => "refused",
        }
    }
}

/// One risky moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Risk {
    /// When.
    pub at: Timestamp,
    /// What it is.
    pub kind: RiskKind,
    /// About which service; absent when about all.
    pub service: Option<ServiceId>,
    /// In words, with the numbers.
    pub what: String,
}

/// Since when a course of things is not the recorded one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The first action that differs.
    pub at: Timestamp,
    /// In words.
    pub what: String,
    /// Services with an action that differs.
    pub services: usize,
    /// Seconds from each such service's first differing action to the end, summed over services: what is told of them is conjecture.
    pub seconds: f64,
}
