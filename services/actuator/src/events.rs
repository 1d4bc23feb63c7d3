//! What is worth telling: each event is one struct that emits its log line and its metric.

use std::time::Duration;

use kit::metrics::{Counters, Histograms, MetricName, Metrics};
use units::{ActionKind, Command, Generation, Outcome, OutcomeResult};

/// The metrics of this role.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    commands: Counters,
    duration: Histograms,
    consumed: Counters,
    pub(crate) produced: Counters,
    pub(crate) failed: Counters,
    undecodable: Counters,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let meters = Meters {
            commands: metrics.counter(MetricName::Commands),
            duration: metrics.histogram(MetricName::CommandDuration),
            consumed: metrics.counter(MetricName::RecordsConsumed),
            produced: metrics.counter(MetricName::RecordsProduced),
            failed: metrics.counter(MetricName::RecordsFailed),
            undecodable: metrics.counter(MetricName::DecodeFailures),
        };
        meters.begin();
        meters
    }

    /// Begins every series at zero: the first command counts only against what was there before it.
    fn begin(&self) {
        for action in ActionKind::ALL {
            let action = ("action", action.as_str());
            self.duration.with(&[action]);
            for result in OutcomeResult::WORDS {
                self.commands.with(&[action, ("result", result)]);
            }
        }
    }
}

/// A command record was read, for this node or another.
pub(crate) struct CommandRead;

impl CommandRead {
    pub(crate) fn emit(self, meters: &Meters) {
        let labels = [("topic", wire::topic::COMMANDS)];
        meters.consumed.with(&labels).inc();
    }
}

/// A record could not be read and is put aside.
pub(crate) struct CommandUnreadable<'a> {
    pub(crate) error: &'a wire::DecodeError,
    pub(crate) news: News,
}

/// Whether something like it was said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    First,
    Again,
}

impl CommandUnreadable<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let labels = [
            ("topic", wire::topic::COMMANDS),
            ("reason", self.error.problem.reason()),
        ];
        meters.undecodable.with(&labels).inc();
        match self.news {
            News::First => tracing::warn!(error = %self.error, "put aside an unreadable command"),
            News::Again => tracing::debug!(error = %self.error, "put aside an unreadable command"),
        }
    }
}

/// A registry did not give an image, and one of that name was there.
pub(crate) struct PullRefused<'a> {
    pub(crate) reference: &'a str,
    pub(crate) reason: &'a str,
}

impl PullRefused<'_> {
    pub(crate) fn emit(self) {
        let PullRefused { reference, reason } = self;
        tracing::warn!(
            reference,
            reason,
            "not pulled; the image of that name that is here is used"
        );
    }
}

/// The engine is asked now.
pub(crate) struct CommandBegun<'a> {
    pub(crate) command: &'a Command,
}

impl CommandBegun<'_> {
    pub(crate) fn emit(self) {
        let Command {
            id, action, plan, ..
        } = self.command;
        tracing::info!(command = %id, plan = %plan, "{action}");
    }
}

/// A command has its answer.
pub(crate) struct CommandAnswered<'a> {
    pub(crate) command: &'a Command,
    pub(crate) outcome: &'a Outcome,
}

impl CommandAnswered<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let Command { id, action, .. } = self.command;
        let kind = action.kind().as_str();
        let result = self.outcome.result.as_str();
        meters
            .commands
            .with(&[("action", kind), ("result", result)])
            .inc();
        let took = self.outcome.at.since(self.outcome.began_at);
        match &self.outcome.result {
            OutcomeResult::Succeeded { .. } => {
                observe(meters, kind, took);
                tracing::info!(command = %id, took_ms = took.as_millis(), "{action}: succeeded");
            }
            OutcomeResult::Refused { refusal, reason } => {
                let refusal = refusal.as_str();
                tracing::warn!(command = %id, refusal, reason, "{action}: refused");
            }
            OutcomeResult::Failed { error } => {
                observe(meters, kind, took);
                tracing::error!(command = %id, error, "{action}: failed");
            }
            OutcomeResult::Vanished => {
                tracing::warn!(command = %id, "{action}: the container is gone");
            }
            OutcomeResult::Interrupted => tracing::error!(
                command = %id,
                "{action}: interrupted, and the engine does not tell whether it was done; look at the container"
            ),
        }
    }
}

fn observe(meters: &Meters, kind: &'static str, took: Duration) {
    let series = meters.duration.with(&[("action", kind)]);
    series.observe(took.as_secs_f64());
}

/// A command that was answered is answered again with the same.
pub(crate) struct CommandRepeated<'a> {
    pub(crate) command: &'a Command,
}

impl CommandRepeated<'_> {
    pub(crate) fn emit(self) {
        tracing::info!(command = %self.command.id, "known command: its outcome is told again");
    }
}

/// What an earlier run began was looked into.
pub(crate) struct CommandSettled<'a> {
    pub(crate) command: &'a Command,
    pub(crate) outcome: &'a Outcome,
}

impl CommandSettled<'_> {
    pub(crate) fn emit(self) {
        let (id, action) = (&self.command.id, &self.command.action);
        let result = self.outcome.result.as_str();
        tracing::warn!(command = %id, result, "{action}: was under way when the actuator ended");
    }
}

/// The answer was lost on its way, so the engine's state is watched.
pub(crate) struct AnswerLost<'a> {
    pub(crate) command: &'a Command,
    pub(crate) error: &'a dyn std::error::Error,
}

impl AnswerLost<'_> {
    pub(crate) fn emit(self) {
        let (id, error) = (&self.command.id, self.error);
        tracing::warn!(command = %id, %error, "the engine's answer was lost, finding out what happened");
    }
}

/// Another leader speaks.
pub(crate) struct LeaderChanged {
    pub(crate) generation: Generation,
}

impl LeaderChanged {
    pub(crate) fn emit(self) {
        tracing::info!(generation = %self.generation, "following a newer leader");
    }
}

/// An outcome is in the log.
pub(crate) struct OutcomeProduced;

impl OutcomeProduced {
    pub(crate) fn emit(self, meters: &Meters) {
        let labels = [("topic", wire::topic::OUTCOMES)];
        meters.produced.with(&labels).inc();
    }
}

/// The log did not take an outcome; it is tried again.
pub(crate) struct OutcomeUndelivered<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) error: &'a bus::BusError,
}

impl OutcomeUndelivered<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let labels = [("topic", wire::topic::OUTCOMES), ("reason", "produce")];
        meters.failed.with(&labels).inc();
        let (id, error) = (&self.outcome.command, self.error);
        tracing::warn!(command = %id, %error, "the outcome is not in the log yet");
    }
}

/// The commands could not be read, or not be noted as read; it is tried again.
pub(crate) struct LogTrouble<'a> {
    pub(crate) doing: &'static str,
    pub(crate) error: &'a bus::BusError,
}

impl LogTrouble<'_> {
    pub(crate) fn emit(self) {
        tracing::warn!(error = %self.error, "cannot {} for now, trying again", self.doing);
    }
}
