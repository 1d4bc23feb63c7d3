//! The vocabulary every part of Homeostat shares: quantities, identities and the records that travel
//! between roles.
//!
//! Types here are values. They validate in their constructors, carry their units, and read nothing: no
//! clock, file, socket or environment. How a record becomes bytes on a topic is `services/wire`'s business;
//! what to do about one is that of the other crates under `models/`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod action;
mod alias;
mod balance;
mod copying;
mod even;
mod event;
mod feedback;
mod forecast;
mod heartbeat;
mod id;
mod inventory;
mod journal;
mod kind;
mod log;
mod metric;
mod outcome;
mod outlook;
mod plan;
mod point;
mod policy;
mod preemption;
mod quantity;
mod ranges;
mod sample;
mod selector;
mod signal;
mod spec;
mod target;
mod time;
mod traffic;

pub use action::{Action, ActionKind, Attachment, Image, ImageChange, Origin, Relocation};
pub use alias::NetworkAlias;
pub use balance::HaproxyBackend;
pub use copying::{CopyTemplate, is_fixed_port};
pub use even::EvenClock;
pub use event::{ContainerEvent, EventKind};
pub use feedback::{Feedback, Opinion};
pub use forecast::{
    Forecast, ForecastPoint, LoadMetric, LoadUnit, MetricLoad, Need, Sizing, Usage,
};
pub use heartbeat::{Fenced, Heartbeat, ImageSource, StandingExport, StandingPolicy};
pub use id::{
    CommandId, ContainerId, ContainerName, Fingerprint, Generation, NodeId, PlanId, ServiceId,
    SignalId, UpdateId,
};
pub use inventory::{
    ContainerRecord, ContainerState, EngineInfo, HealthState, Limits, NodeCapacity, NodeFacts,
    NodeInventory,
};
pub use journal::{
    Approval, BreakerEntry, JournalEntry, NodeOrder, NodeWanted, Phase, PlanEntry, Update, Verdict,
    VerdictKind,
};
pub use kind::{Basis, Resource};
pub use log::{LogLine, LogStream, Severity as LogSeverity};
pub use metric::{Metric, MetricKind};
pub use outcome::{Outcome, OutcomeResult, Refusal};
pub use outlook::{Coming, Expected, Outlook};
pub use plan::{Cause, Check, Command, Expectation, Plan, Step};
pub use point::{NodeMetric, Point, SeriesKind};
pub use policy::{
    LABEL_COMMAND, LABEL_DNS, LABEL_HAPROXY, LABEL_PLAN, LABEL_PREFIX, LABEL_REPLICA_OF,
    LabelProblem, Mode, Policy, ScalePolicy,
};
pub use preemption::Preemption;
pub use quantity::{Bytes, Millicores, QuantityError, Ratio};
pub use ranges::{LimitRange, LimitsPolicy};
pub use sample::{MetricRow, Sample};
pub use selector::{NotASelector, SeriesSelector};
pub use signal::{Confidence, Evidence, Severity, Signal, SignalKind, SignalPhase, Subject};
pub use spec::{
    ComposeSpec, ContainerSpec, HealthSpec, MountKind, MountSpec, NetworkSpec, PortSpec,
    RestartSpec,
};
pub use target::{MetricTarget, ScaleTarget};
pub use time::{Steady, Timestamp, duration_ms};
pub use traffic::{Direction, Link};
