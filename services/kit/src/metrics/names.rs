//! Every metric of the product, in one table. Adding a metric is adding a row.

/// What a metric counts in; the base units of the Prometheus naming guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    None,
    /// Seconds; the name ends in `_seconds`.
    Seconds,
    /// Bytes; the name ends in `_bytes`.
    Bytes,
    /// A share between zero and one; the name ends in `_ratio`.
    Ratio,
}

impl Unit {
    /// The word that ends the name of a metric in this unit.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Unit::None => None,
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            Unit::Ratio => Some("ratio"),
        }
    }
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only rises, and starts again from zero with the process. Samples carry the suffix `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Bounds for a delay through the pipeline: from one tick's fraction to minutes of lag.
pub const DELAY_BUCKETS_SECONDS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Bounds for one piece of work inside a process: from half a millisecond to the ten seconds of a tick.
pub const WORK_BUCKETS_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Bounds for an action on the engine: from a quick restart to a slow pull.
pub const ACTION_BUCKETS_SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// Turns the table into [`MetricName`]. A row is
/// `Variant: Kind "family name without _total" [label, ...] Unit, "help without a full stop";`
macro_rules! metric_names {
    ($($variant:ident: $kind:expr, $name:literal [$($label:ident),*] $unit:ident, $help:literal;)*) => {
        /// Every metric of the product.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MetricName {
            $(#[doc = concat!("`", $name, "`: ", $help, ".")] $variant,)*
        }

        impl MetricName {
            /// Every metric, in the order of the table.
            pub const ALL: &'static [MetricName] = &[$(MetricName::$variant),*];

            /// The family's name, without the suffix `_total` of a counter's samples.
            pub fn name(self) -> &'static str {
                match self { $(MetricName::$variant => $name,)* }
            }

            /// What it measures, in words.
            pub fn help(self) -> &'static str {
                match self { $(MetricName::$variant => $help,)* }
            }

            /// What it counts in.
            pub fn unit(self) -> Unit {
                match self { $(MetricName::$variant => Unit::$unit,)* }
            }

            /// How it behaves.
            pub fn kind(self) -> Kind {
                #[allow(clippy::enum_glob_use)]
                use Kind::*;
                match self { $(MetricName::$variant => $kind,)* }
            }

            /// The names of its labels; every series has them all.
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(MetricName::$variant => &[$(stringify!($label)),*],)* }
            }
        }
    };
}

metric_names! {
    // The pipeline: what goes through the log, for every role.
    RecordsProduced: Counter, "homeostat_records_produced" [topic] None, "Records whose write the log confirmed";
    RecordsConsumed: Counter, "homeostat_records_consumed" [topic] None, "Records read from the log";
    RecordsFailed: Counter, "homeostat_records_failed" [topic, reason] None, "Records whose write the log did not confirm";
    DecodeFailures: Counter, "homeostat_decode_failures" [topic, reason] None, "Records put aside because they could not be read";
    RecordsPassedOver: Counter, "homeostat_records_passed_over" [topic, schema] None, "Records that were read and hold nothing for this role";
    PipelineDelay: Histogram(DELAY_BUCKETS_SECONDS), "homeostat_pipeline_delay_seconds" [stage] Seconds, "Time from the measurement to the end of this stage";
    TraceparentsMalformed: Counter, "homeostat_traceparents_malformed" [] None, "Trace headers that were ignored because they are not W3C trace context";

    // The collector.
    Samples: Counter, "homeostat_samples" [] None, "Rows of container measurements taken";
    SamplesLost: Counter, "homeostat_samples_lost" [] None, "Rows of container measurements dropped because the log did not take them";
    CollectorContainers: Gauge, "homeostat_collector_containers" [state] None, "Containers this collector sees, by state";
    TickDuration: Histogram(WORK_BUCKETS_SECONDS), "homeostat_tick_duration_seconds" [] Seconds, "Time to read all containers once";
    TickOverruns: Counter, "homeostat_tick_overruns" [] None, "Ticks that were skipped because the one before had not ended";
    LogLines: Counter, "homeostat_log_lines" [] None, "Container log lines read";
    LogBytes: Counter, "homeostat_log_bytes" [] Bytes, "Container log bytes read";
    LogLostLines: Counter, "homeostat_log_lost_lines" [reason] None, "Container log lines known to be lost";
    Scrapes: Counter, "homeostat_scrapes" [result] None, "Pages of metrics asked of containers, by what came of it";
    ScrapedSeries: Counter, "homeostat_scraped_series" [] None, "Series taken from pages of containers";
    ScrapedSeriesLost: Counter, "homeostat_scraped_series_lost" [] None, "Series of containers' pages left for their number or form";

    // Analytics.
    Series: Gauge, "homeostat_series" [] None, "Series whose behaviour is being followed";
    SignalsOpen: Gauge, "homeostat_signals_open" [kind, severity] None, "Signals open now";
    Signals: Counter, "homeostat_signals" [kind, phase] None, "Signals published, by phase";
    BarsRaised: Gauge, "homeostat_signal_bars_raised" [] None, "Kinds of signals of which a subject must show more because somebody dismissed one";
    Forecasts: Counter, "homeostat_forecasts" [] None, "Forecasts published";
    UntrackedContainers: Gauge, "homeostat_untracked_containers" [] None, "Containers given up or not taken in for want of room, since the state began";
    LogTemplates: Gauge, "homeostat_log_templates" [] None, "Templates of log lines that are known, of all services";
    LogTemplatesForgotten: Gauge, "homeostat_log_templates_forgotten" [] None, "Templates of log lines forgotten for want of room, by the services there are";
    Models: Gauge, "homeostat_models" [] None, "Services whose containers a trained model scores";
    ModelsLeftOut: Gauge, "homeostat_models_left_out" [] None, "Trained models that are not used for want of room";
    Trainings: Counter, "homeostat_trainings" [result] None, "Trainings of models, by what came of them";
    TrainingCpu: Histogram(WORK_BUCKETS_SECONDS), "homeostat_training_cpu_seconds" [] Seconds, "Processor time that a training of a model took";
    TrainingRows: Gauge, "homeostat_training_rows" [] None, "Rows of history held for the next trainings";
    TrainingRowsForgotten: Gauge, "homeostat_training_rows_forgotten" [] None, "Rows of history given up for want of room, since the process began";
    CheckpointTimestamp: Gauge, "homeostat_checkpoint_timestamp_seconds" [] Seconds, "When the state of the detectors was last written to the log";
    CheckpointSize: Gauge, "homeostat_checkpoint_size_bytes" [] Bytes, "Size of the states written with the last checkpoint";

    // The controller.
    Leader: Gauge, "homeostat_leader" [] None, "One when this controller leads, else zero";
    Generation: Gauge, "homeostat_generation" [] None, "The generation this controller knows to lead; it only rises";
    Plans: Counter, "homeostat_plans" [action, phase] None, "Plans, by what they do and the phase they reached";
    Verdicts: Counter, "homeostat_verdicts" [action, verdict] None, "Plans judged, by whether they helped";
    PlanViolations: Counter, "homeostat_plan_violations" [violation] None, "Plans and commands held back because they break an invariant";
    BreakerOpen: Gauge, "homeostat_breaker_open" [] None, "One when acting is stopped because too much turned sick at once";
    BudgetRemaining: Gauge, "homeostat_budget_remaining" [scope] None, "Actions that may still be taken in this hour";
    ServiceReplicas: Gauge, "homeostat_service_replicas" [service] None, "Replicas that run";
    ServiceReplicasDesired: Gauge, "homeostat_service_replicas_desired" [service] None, "Replicas the policy and the forecast ask for";

    // The actuator.
    Commands: Counter, "homeostat_commands" [action, result] None, "Commands answered, by result";
    CommandDuration: Histogram(ACTION_BUCKETS_SECONDS), "homeostat_command_duration_seconds" [action] Seconds, "Time to carry out a command";
    Lease: Gauge, "homeostat_lease_seconds" [] Seconds, "What is left of this node's lease: at zero it stops its singletons";
    Fenced: Counter, "homeostat_fenced" [] None, "Containers stopped because the lease of their node was over";
    HealedAlone: Counter, "homeostat_healed_alone" [] None, "Containers an actuator restarted by itself while its node was cut off";
    StandingExports: Gauge, "homeostat_standing_exports" [] None, "Containers of this node whose making is told in case it is lost";

    // The notifier.
    Deliveries: Counter, "homeostat_deliveries" [sink, result] None, "Notifications handed to a sink, by result";
    DeliveryFailures: Counter, "homeostat_delivery_failures" [sink, reason] None, "Attempts to deliver that failed";
    DeliveryQueue: Gauge, "homeostat_delivery_queue" [sink] None, "Notifications waiting for a sink";
    DeliveriesSuppressed: Counter, "homeostat_deliveries_suppressed" [sink, reason] None, "Notifications that were not sent on purpose, by reason";
    DeliveryOldestTimestamp: Gauge, "homeostat_delivery_oldest_timestamp_seconds" [sink] Seconds, "Since when the oldest notification waits for a sink; zero when none waits";
    LastSuccessTimestamp: Gauge, "homeostat_last_success_timestamp_seconds" [sink] Seconds, "When a sink last took a notification";

    // The fleet.
    Nodes: Gauge, "homeostat_nodes" [state] None, "Nodes known, by state";
    Containers: Gauge, "homeostat_containers" [state] None, "Containers known on all nodes, by state";
    NodesWithoutSpare: Gauge, "homeostat_nodes_without_spare" [survives] None, "Nodes whose loss the others could not absorb, survives=no, or of which that is not known";
    NodeLastSeenTimestamp: Gauge, "homeostat_node_last_seen_timestamp_seconds" [node] Seconds, "When a node was last heard of";

    // The process.
    BuildInfo: Gauge, "homeostat_build_info" [role, version] None, "Always one; its labels say what runs";
    ProcessResidentMemory: Gauge, "process_resident_memory_bytes" [] Bytes, "Resident memory of this process";
    ProcessCpu: Counter, "process_cpu_seconds" [] Seconds, "Processor time this process has used, user and system";
}

impl MetricName {
    /// The names under which its samples are scraped: a counter's has `_total`, a histogram has three.
    pub fn sample_names(self) -> Vec<String> {
        let name = self.name();
        match self.kind() {
            Kind::Counter => vec![format!("{name}_total")],
            Kind::Gauge => vec![name.to_owned()],
            Kind::Histogram(_) => ["bucket", "count", "sum"]
                .map(|part| format!("{name}_{part}"))
                .to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_naming_guide() {
        let mut seen = BTreeSet::new();
        for metric in MetricName::ALL {
            let name = metric.name();
            assert!(seen.insert(name), "{name} stands twice in the table");
            assert!(
                name.starts_with("homeostat_") || name.starts_with("process_"),
                "{name} has no prefix of ours"
            );
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name} is not lower case with underscores"
            );
            assert!(
                !name.ends_with("_total"),
                "{name}: _total is added to samples"
            );
            for unit in [Unit::Seconds, Unit::Bytes, Unit::Ratio] {
                let suffix = unit.suffix().unwrap();
                assert_eq!(
                    name.ends_with(&format!("_{suffix}")),
                    metric.unit() == unit,
                    "{name} and its unit {:?} disagree",
                    metric.unit()
                );
            }
            assert!(
                !metric.help().ends_with('.'),
                "{name}: the full stop is added"
            );
        }
    }

    #[test]
    fn labels_are_bounded_kinds_of_things_and_not_part_of_the_name() {
        for metric in MetricName::ALL {
            for label in metric.labels() {
                assert!(
                    !["container", "id", "le", "fingerprint", "plan"].contains(label),
                    "{} must not have the unbounded label {label}",
                    metric.name()
                );
            }
        }
    }

    #[test]
    fn buckets_rise() {
        for metric in MetricName::ALL {
            if let Kind::Histogram(bounds) = metric.kind() {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name());
            }
        }
    }
}
