//! What is worth telling: each event is one struct that emits its log line and its metric.

use audit::Violation;
use bus::BusError;
use control::Status;
use kit::metrics::{Counters, Gauges, Histograms, MetricName, Metrics};
use units::{
    ActionKind, Command, Generation, JournalEntry, Phase, Plan, Signal, Timestamp, VerdictKind,
};

/// The metrics of this role.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    consumed: Counters,
    produced: Counters,
    failed: Counters,
    undecodable: Counters,
    delay: Histograms,
    leader: Gauges,
    generation: Gauges,
    plans: Counters,
    verdicts: Counters,
    violations: Counters,
    breaker: Gauges,
    budget: Gauges,
    replicas: Gauges,
    desired: Gauges,
    nodes: Gauges,
    containers: Gauges,
    last_seen: Gauges,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let meters = Meters {
            consumed: metrics.counter(MetricName::RecordsConsumed),
            produced: metrics.counter(MetricName::RecordsProduced),
            failed: metrics.counter(MetricName::RecordsFailed),
            undecodable: metrics.counter(MetricName::DecodeFailures),
            delay: metrics.histogram(MetricName::PipelineDelay),
            leader: metrics.gauge(MetricName::Leader),
            generation: metrics.gauge(MetricName::Generation),
            plans: metrics.counter(MetricName::Plans),
            verdicts: metrics.counter(MetricName::Verdicts),
            violations: metrics.counter(MetricName::PlanViolations),
            breaker: metrics.gauge(MetricName::BreakerOpen),
            budget: metrics.gauge(MetricName::BudgetRemaining),
            replicas: metrics.gauge(MetricName::ServiceReplicas),
            desired: metrics.gauge(MetricName::ServiceReplicasDesired),
            nodes: metrics.gauge(MetricName::Nodes),
            containers: metrics.gauge(MetricName::Containers),
            last_seen: metrics.gauge(MetricName::NodeLastSeenTimestamp),
        };
        meters.begin();
        meters
    }

    /// Begins every series at zero: the first plan counts only against what was there before it.
    fn begin(&self) {
        for action in ActionKind::ALL {
            let action = ("action", action.as_str());
            for phase in Phase::ALL {
                self.plans.with(&[action, ("phase", phase.as_str())]);
            }
            for verdict in VerdictKind::ALL {
                self.verdicts.with(&[action, ("verdict", verdict.as_str())]);
            }
        }
    }

    /// Sets the gauges afresh. Services and nodes that are gone lose theirs.
    pub(crate) fn show(&self, status: &Status) {
        let open = if status.breaker_open { 1.0 } else { 0.0 };
        self.breaker.with(&[]).set(open);
        let left = f64::from(status.global_left);
        self.budget.with(&[("scope", "global")]).set(left);
        self.hide();
        for count in &status.services {
            let labels = [("service", count.service.as_str())];
            self.replicas.with(&labels).set(f64::from(count.current));
            self.desired.with(&labels).set(f64::from(count.desired));
        }
        let fleet = &status.fleet;
        for (state, nodes) in [
            ("up", fleet.up),
            ("silent", fleet.silent),
            ("gone", fleet.gone),
        ] {
            self.nodes.with(&[("state", state)]).set(nodes as f64);
        }
        for (state, containers) in &fleet.containers {
            let labels = [("state", state.as_str())];
            self.containers.with(&labels).set(f64::from(*containers));
        }
        for (node, at) in &fleet.last_seen {
            let seconds = at.as_millis() as f64 / 1_000.0;
            self.last_seen.with(&[("node", node.as_str())]).set(seconds);
        }
    }

    /// Ends the series that only a leader knows.
    fn hide(&self) {
        for family in [
            &self.replicas,
            &self.desired,
            &self.nodes,
            &self.containers,
            &self.last_seen,
        ] {
            family.clear();
        }
    }
}

/// A record was read.
pub(crate) struct RecordRead {
    pub(crate) topic: &'static str,
}

impl RecordRead {
    pub(crate) fn emit(self, meters: &Meters) {
        meters.consumed.with(&[("topic", self.topic)]).inc();
    }
}

/// A record could not be read and is put aside.
pub(crate) struct RecordUnreadable<'a> {
    pub(crate) topic: &'static str,
    pub(crate) error: &'a wire::DecodeError,
    pub(crate) news: News,
}

/// Whether something like it was said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    First,
    Again,
}

impl RecordUnreadable<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let labels = [
            ("topic", self.topic),
            ("reason", self.error.problem.reason()),
        ];
        meters.undecodable.with(&labels).inc();
        match self.news {
            News::First => tracing::warn!(error = %self.error, "put aside an unreadable record"),
            News::Again => tracing::debug!(error = %self.error, "put aside an unreadable record"),
        }
    }
}

/// This controller holds the election and reads what its predecessor left.
pub(crate) struct Elected {
    pub(crate) generation: Generation,
}

impl Elected {
    pub(crate) fn emit(self) {
        tracing::info!(generation = %self.generation, "elected; reading the topics before deciding");
    }
}

/// The journal knows a newer generation than the claim gives.
pub(crate) struct ElectionRestarted {
    pub(crate) claim: Generation,
    pub(crate) generation: Generation,
}

impl ElectionRestarted {
    pub(crate) fn emit(self) {
        let ElectionRestarted { claim, generation } = self;
        tracing::warn!(%claim, %generation, "the election topic was made anew; going on from the journal's newest generation");
    }
}

/// This controller leads.
pub(crate) struct Leading {
    pub(crate) generation: Generation,
}

impl Leading {
    pub(crate) fn emit(self, meters: &Meters) {
        meters.leader.with(&[]).set(1.0);
        meters.generation.with(&[]).set(self.generation.0 as f64);
        tracing::info!(generation = %self.generation, "leading");
    }
}

/// This controller does not lead, or no longer.
pub(crate) struct Following<'a> {
    pub(crate) why: &'a str,
}

impl Following<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters.leader.with(&[]).set(0.0);
        meters.hide();
        tracing::info!(why = self.why, "following");
    }
}

/// A signal reached the core.
pub(crate) struct SignalHeard<'a> {
    pub(crate) signal: &'a Signal,
    pub(crate) now: Timestamp,
}

impl SignalHeard<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let delay = self.now.since(self.signal.at).as_secs_f64();
        meters.delay.with(&[("stage", "controller")]).observe(delay);
        tracing::debug!(signal = %self.signal.id, phase = self.signal.phase.as_str(), "{}", self.signal.reason);
    }
}

/// An entry is in the journal.
pub(crate) struct Journaled<'a> {
    pub(crate) entry: &'a JournalEntry,
}

impl Journaled<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters
            .produced
            .with(&[("topic", wire::topic::JOURNAL)])
            .inc();
        match self.entry {
            JournalEntry::Plan(entry) => {
                let plan = &entry.plan;
                let action = plan.kind.as_str();
                let phase = entry.phase.as_str();
                meters
                    .plans
                    .with(&[("action", action), ("phase", phase)])
                    .inc();
                if let (Phase::Judged, Some(verdict)) = (entry.phase, &entry.verdict) {
                    let labels = [("action", action), ("verdict", verdict.kind.as_str())];
                    meters.verdicts.with(&labels).inc();
                }
                let reason = entry
                    .verdict
                    .as_ref()
                    .map_or(&plan.cause.reason, |verdict| &verdict.reason);
                tracing::info!(plan = %plan.id, service = %plan.service, action, phase, "{reason}");
            }
            JournalEntry::Breaker(entry) if entry.open_until.is_some() => {
                tracing::warn!("acting stopped: {}", entry.reason);
            }
            JournalEntry::Breaker(entry) => tracing::info!("acting again: {}", entry.reason),
            JournalEntry::Approval(approval) => tracing::info!("{approval}"),
            JournalEntry::Update(update) => tracing::info!("{update}"),
            JournalEntry::Node(order) => tracing::info!("{order}"),
        }
    }
}

/// A command is on its way.
pub(crate) struct CommandSent<'a> {
    pub(crate) command: &'a Command,
}

impl CommandSent<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters
            .produced
            .with(&[("topic", wire::topic::COMMANDS)])
            .inc();
        let Command {
            id, node, action, ..
        } = self.command;
        tracing::info!(command = %id, node = %node, "{action}");
    }
}

/// The log did not take a record; it is tried again.
pub(crate) struct WriteFailed<'a> {
    pub(crate) topic: &'static str,
    pub(crate) error: &'a BusError,
    pub(crate) queued: usize,
}

impl WriteFailed<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters
            .failed
            .with(&[("topic", self.topic), ("reason", "not_taken")])
            .inc();
        tracing::warn!(topic = self.topic, queued = self.queued, error = %kit::boot::chain(self.error), "cannot write; trying again");
    }
}

/// The log did not take how far actuators may go; it is tried again.
pub(crate) struct PolicyUntold<'a> {
    pub(crate) error: &'a BusError,
}

impl PolicyUntold<'_> {
    pub(crate) fn emit(self) {
        tracing::warn!(
            error = %kit::boot::chain(self.error),
            "cannot tell how far actuators may heal while they are cut off; trying again"
        );
    }
}

/// A plan breaks an invariant: a defect of the core. It is not carried out.
pub(crate) struct PlanRefused<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) violations: &'a [Violation],
}

impl PlanRefused<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        for violation in self.violations {
            meters
                .violations
                .with(&[("violation", violation.as_str())])
                .inc();
            tracing::error!(plan = %self.plan.id, %violation, "a plan breaks an invariant and is not carried out; please report this");
        }
    }
}

/// A command breaks an invariant: a defect of the core. It is not sent.
pub(crate) struct CommandRefused<'a> {
    pub(crate) command: &'a Command,
    pub(crate) violations: &'a [Violation],
}

impl CommandRefused<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        for violation in self.violations {
            meters
                .violations
                .with(&[("violation", violation.as_str())])
                .inc();
            tracing::error!(command = %self.command.id, %violation, "a command breaks an invariant and is not sent; please report this");
        }
    }
}
