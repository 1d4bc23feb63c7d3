//! What is worth telling: each event is one struct that emits its log line and its metric.

use std::time::Duration;

use bus::BusError;
use kit::boot::chain;
use kit::metrics::{Counters, Gauges, Histograms, MetricName, Metrics};
use train::ArtefactError;
use units::{Feedback, ServiceId, Severity, Signal, SignalKind, SignalPhase, Timestamp};

use crate::checkpoint::Unreadable;
use crate::core::Counts;
use crate::learning::{Done, Outcome};

/// The metrics of this role.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    consumed: Counters,
    produced: Counters,
    failed: Counters,
    undecodable: Counters,
    passed_over: Counters,
    delay: Histograms,
    series: Gauges,
    untracked: Gauges,
    templates: Gauges,
    templates_forgotten: Gauges,
    open: Gauges,
    bars: Gauges,
    signals: Counters,
    forecasts: Counters,
    models: Gauges,
    models_left_out: Gauges,
    trainings: Counters,
    training_cpu: Histograms,
    training_rows: Gauges,
    training_rows_forgotten: Gauges,
    checkpoint_at: Gauges,
    checkpoint_size: Gauges,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let meters = Meters {
            consumed: metrics.counter(MetricName::RecordsConsumed),
            produced: metrics.counter(MetricName::RecordsProduced),
            failed: metrics.counter(MetricName::RecordsFailed),
            undecodable: metrics.counter(MetricName::DecodeFailures),
            passed_over: metrics.counter(MetricName::RecordsPassedOver),
            delay: metrics.histogram(MetricName::PipelineDelay),
            series: metrics.gauge(MetricName::Series),
            untracked: metrics.gauge(MetricName::UntrackedContainers),
            templates: metrics.gauge(MetricName::LogTemplates),
            templates_forgotten: metrics.gauge(MetricName::LogTemplatesForgotten),
            open: metrics.gauge(MetricName::SignalsOpen),
            bars: metrics.gauge(MetricName::BarsRaised),
            signals: metrics.counter(MetricName::Signals),
            forecasts: metrics.counter(MetricName::Forecasts),
            models: metrics.gauge(MetricName::Models),
            models_left_out: metrics.gauge(MetricName::ModelsLeftOut),
            trainings: metrics.counter(MetricName::Trainings),
            training_cpu: metrics.histogram(MetricName::TrainingCpu),
            training_rows: metrics.gauge(MetricName::TrainingRows),
            training_rows_forgotten: metrics.gauge(MetricName::TrainingRowsForgotten),
            checkpoint_at: metrics.gauge(MetricName::CheckpointTimestamp),
            checkpoint_size: metrics.gauge(MetricName::CheckpointSize),
        };
        meters.begin();
        meters
    }

    /// Begins every series at zero: the first signal counts only against what was there before it.
    fn begin(&self) {
        for kind in SignalKind::ALL {
            for phase in SignalPhase::ALL {
                let labels = [("kind", kind.as_str()), ("phase", phase.as_str())];
                self.signals.with(&labels);
            }
        }
        for result in ["taken", "kept", "failed"] {
            self.trainings.with(&[("result", result)]);
        }
    }
}

/// Whether something like it was said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    First,
    Again,
}

/// A record was read.
pub(crate) struct RecordRead<'a> {
    pub(crate) topic: &'a str,
}

impl RecordRead<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters.consumed.with(&[("topic", self.topic)]).inc();
    }
}

/// A record could not be read and is put aside.
pub(crate) struct RecordUnreadable<'a> {
    pub(crate) error: &'a wire::DecodeError,
    pub(crate) news: News,
}

impl RecordUnreadable<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let reason = self.error.problem.reason();
        let labels = [("topic", self.error.topic.as_str()), ("reason", reason)];
        meters.undecodable.with(&labels).inc();
        match self.news {
            News::First => tracing::warn!(
                error = %self.error,
                "a record is put aside; further ones of this kind are only counted"
            ),
            News::Again => tracing::debug!(error = %self.error, "a record is put aside"),
        }
    }
}

/// A record holds nothing that this role follows.
pub(crate) struct RecordPassedOver {
    pub(crate) topic: &'static str,
    pub(crate) schema: &'static str,
}

impl RecordPassedOver {
    pub(crate) fn emit(self, meters: &Meters) {
        let labels = [("topic", self.topic), ("schema", self.schema)];
        meters.passed_over.with(&labels).inc();
    }
}

/// The log has a record of ours.
pub(crate) struct RecordWritten<'a> {
    pub(crate) topic: &'a str,
}

impl RecordWritten<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters.produced.with(&[("topic", self.topic)]).inc();
    }
}

/// The log did not take a record; it is tried again.
pub(crate) struct WriteFailed<'a> {
    pub(crate) topic: &'a str,
    pub(crate) error: &'a BusError,
}

impl WriteFailed<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters
            .failed
            .with(&[("topic", self.topic), ("reason", "unavailable")])
            .inc();
        tracing::warn!(topic = self.topic, error = %chain(self.error), "a record is tried again");
    }
}

/// The log will never take a record; it is dropped.
pub(crate) struct RecordRefused<'a> {
    pub(crate) topic: &'a str,
    pub(crate) error: &'a BusError,
}

impl RecordRefused<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        meters
            .failed
            .with(&[("topic", self.topic), ("reason", "too_large")])
            .inc();
        tracing::error!(topic = self.topic, error = %chain(self.error), "a record is dropped");
    }
}

/// Samples were handled to the end.
pub(crate) struct SamplesHandled {
    pub(crate) read_at: Timestamp,
    pub(crate) now: Timestamp,
}

impl SamplesHandled {
    pub(crate) fn emit(self, meters: &Meters) {
        let delay = self.now.since(self.read_at).as_secs_f64();
        meters.delay.with(&[("stage", "analytics")]).observe(delay);
    }
}

/// A signal is told.
pub(crate) struct SignalTold<'a> {
    pub(crate) signal: &'a Signal,
}

impl SignalTold<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let signal = self.signal;
        let labels = [
            ("kind", signal.kind.as_str()),
            ("phase", signal.phase.as_str()),
        ];
        meters.signals.with(&labels).inc();
        match signal.phase {
            SignalPhase::Open | SignalPhase::Resolve => tracing::info!(
                signal = %signal.id,
                kind = %signal.kind,
                phase = signal.phase.as_str(),
                severity = %signal.severity,
                subject = %signal.subject,
                reason = %signal.reason,
                "signal"
            ),
            SignalPhase::Update => {
                tracing::debug!(signal = %signal.id, reason = %signal.reason, "signal goes on");
            }
        }
    }
}

/// A forecast is told.
pub(crate) struct ForecastTold;

impl ForecastTold {
    pub(crate) fn emit(self, meters: &Meters) {
        meters.forecasts.with(&[]).inc();
    }
}

/// What all partitions of this instance hold was counted.
pub(crate) struct Counted {
    pub(crate) counts: Vec<Counts>,
    /// Rows held for trainings, and those given up.
    pub(crate) rows: (usize, u64),
}

impl Counted {
    pub(crate) fn emit(self, meters: &Meters) {
        let detectors = || self.counts.iter().map(|counts| &counts.detector);
        let series: usize = detectors().map(|counts| counts.series).sum();
        meters.series.with(&[]).set(series as f64);
        let evicted: u64 = detectors().map(|counts| counts.evicted).sum();
        meters.untracked.with(&[]).set(evicted as f64);
        let raised = |counts: &detect::Counts| counts.bars + counts.node_bars;
        let bars: usize = detectors().map(raised).sum();
        meters.bars.with(&[]).set(bars as f64);
        let catalogs = || self.counts.iter().map(|counts| &counts.templates);
        let templates: usize = catalogs().map(|counts| counts.templates).sum();
        meters.templates.with(&[]).set(templates as f64);
        let forgotten: u64 = catalogs().map(|counts| counts.evicted).sum();
        meters.templates_forgotten.with(&[]).set(forgotten as f64);
        self.emit_models(meters);
        for kind in SignalKind::ALL {
            for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
                let of = |counts: &detect::Counts| counts.open.get(&(kind, severity)).copied();
                let open: usize = detectors().filter_map(of).sum();
                let labels = [("kind", kind.as_str()), ("severity", severity.as_str())];
                meters.open.with(&labels).set(open as f64);
            }
        }
    }
}

impl Counted {
    fn emit_models(&self, meters: &Meters) {
        let patterns = || self.counts.iter().map(|counts| counts.patterns);
        let models: usize = patterns().map(|counts| counts.models).sum();
        meters.models.with(&[]).set(models as f64);
        let left_out: u64 = patterns().map(|counts| counts.left_out).sum();
        meters.models_left_out.with(&[]).set(left_out as f64);
        let (held, forgotten) = self.rows;
        meters.training_rows.with(&[]).set(held as f64);
        let forgotten_rows = meters.training_rows_forgotten.with(&[]);
        forgotten_rows.set(forgotten as f64);
    }
}

/// A training ended.
pub(crate) struct Trained<'a> {
    pub(crate) done: &'a Done,
}

impl Trained<'_> {
    pub(crate) fn emit(self, meters: &Meters) {
        let Done {
            service,
            outcome,
            cpu,
        } = self.done;
        meters.training_cpu.with(&[]).observe(cpu.as_secs_f64());
        let result = match outcome {
            Outcome::Taken(model) => {
                tracing::info!(%service, digest = %model.digest, ?cpu, "a model was trained, and is to be used");
                "taken"
            }
            Outcome::Kept(why) => {
                tracing::info!(%service, %why, ?cpu, "a model was trained, and is not used");
                "kept"
            }
            Outcome::Failed(error) => {
                tracing::info!(%service, error = %chain(error), ?cpu, "no model could be trained");
                "failed"
            }
        };
        meters.trainings.with(&[("result", result)]).inc();
    }
}

/// A model in the log is none that this version can use.
pub(crate) struct ModelUnreadable<'a> {
    pub(crate) service: &'a ServiceId,
    pub(crate) error: &'a ArtefactError,
}

impl ModelUnreadable<'_> {
    pub(crate) fn emit(self) {
        tracing::warn!(service = %self.service, error = %self.error, "a model is not used");
    }
}

/// Somebody said something of a signal. All of it is read again after each start.
pub(crate) struct FeedbackHeard<'a> {
    pub(crate) feedback: &'a Feedback,
}

impl FeedbackHeard<'_> {
    pub(crate) fn emit(self) {
        let feedback = self.feedback;
        tracing::debug!(
            signal = %feedback.signal,
            kind = %feedback.kind,
            subject = %feedback.subject,
            opinion = %feedback.opinion,
            "feedback"
        );
    }
}

/// Partitions were taken over.
pub(crate) struct PartitionsAssigned {
    pub(crate) partitions: Vec<u32>,
}

impl PartitionsAssigned {
    pub(crate) fn emit(self) {
        tracing::info!(partitions = ?self.partitions, "partitions assigned");
    }
}

/// Partitions went to another instance.
pub(crate) struct PartitionsRevoked {
    pub(crate) partitions: Vec<u32>,
}

impl PartitionsRevoked {
    pub(crate) fn emit(self) {
        tracing::info!(partitions = ?self.partitions, "partitions revoked");
    }
}

/// A partition goes on from its checkpoint.
pub(crate) struct Resumed {
    pub(crate) partition: u32,
    pub(crate) counts: Counts,
}

impl Resumed {
    pub(crate) fn emit(self) {
        tracing::info!(
            partition = self.partition,
            containers = self.counts.detector.containers,
            open_signals = self.counts.detector.open.values().sum::<usize>(),
            "resumed from the checkpoint"
        );
    }
}

/// A partition has a checkpoint that cannot be used, and starts without it.
pub(crate) struct CheckpointUnreadable<'a> {
    pub(crate) partition: u32,
    pub(crate) error: &'a Unreadable,
}

impl CheckpointUnreadable<'_> {
    pub(crate) fn emit(self) {
        tracing::warn!(
            partition = self.partition,
            error = %self.error,
            "starting without the checkpoint; what is usual is learnt anew, and signals open before are not resolved"
        );
    }
}

/// Checkpoints and positions are in the log.
pub(crate) struct CheckpointWritten {
    pub(crate) at: Timestamp,
    pub(crate) bytes: usize,
    pub(crate) took: Duration,
}

impl CheckpointWritten {
    pub(crate) fn emit(self, meters: &Meters) {
        meters
            .checkpoint_at
            .with(&[])
            .set(self.at.as_millis() as f64 / 1_000.0);
        meters.checkpoint_size.with(&[]).set(self.bytes as f64);
        tracing::debug!(bytes = self.bytes, took = ?self.took, "checkpoint written");
    }
}

/// Reading, committing or opening the log failed; it is tried again.
pub(crate) struct LogTrouble<'a> {
    pub(crate) doing: &'static str,
    pub(crate) error: &'a BusError,
}

impl LogTrouble<'_> {
    pub(crate) fn emit(self, log: &kit::health::Dependency) {
        let error = chain(self.error);
        tracing::warn!(error = %error, "cannot {}, trying again", self.doing);
        log.down(error);
    }
}
