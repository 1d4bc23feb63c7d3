//! The topics. Names, keys and retention are the same on every back end.

use std::time::Duration;

use bus::{Retention, TopicSpec};

/// Keyed by service; Arrow IPC: one batch of samples for each partition and tick, and beside them batches of application and
/// node series and of links between services.
pub const SAMPLES: &str = "homeostat.samples";
/// Keyed by service; Arrow IPC.
pub const LOGS: &str = "homeostat.logs";
/// Keyed by container; JSON.
pub const EVENTS: &str = "homeostat.events";
/// Keyed by node; JSON, whole node state, also the node's heartbeat.
pub const INVENTORY: &str = "homeostat.inventory";
/// Keyed by fingerprint; JSON.
pub const SIGNALS: &str = "homeostat.signals";
/// Keyed by fingerprint; JSON, what people said of signals. Each dismissal counts, so they are kept by age and not compacted; their
/// effect has worn off well before they go.
pub const FEEDBACK: &str = "homeostat.feedback";
/// Keyed by service; JSON.
pub const FORECASTS: &str = "homeostat.forecasts";
/// Keyed by node; JSON, one step of a plan.
pub const COMMANDS: &str = "homeostat.commands";
/// Keyed by node; JSON.
pub const OUTCOMES: &str = "homeostat.outcomes";
/// Keyed by node; JSON, that its actuator is there. Whoever reads the beat of one node has read all that others sent before, since there
/// is one partition.
pub const HEARTBEATS: &str = "homeostat.heartbeats";
/// Keyed by container; JSON, how it is made, sealed, in case its node is lost.
pub const EXPORTS: &str = "homeostat.exports";
/// One key; JSON, how far actuators may heal by themselves while they are cut off.
pub const POLICY: &str = "homeostat.policy";
/// Keyed by plan; JSON.
pub const JOURNAL: &str = "homeostat.journal";
/// Keyed by partition of the samples; binary detector state.
pub const CHECKPOINTS: &str = "homeostat.checkpoints";
/// Keyed by service; JSON, the model trained on its history.
pub const MODELS: &str = "homeostat.models";
/// One partition: who is assigned it leads the controllers, and the offset of the claim it writes is the generation.
pub const ELECTION: &str = "homeostat.election";

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GIB: u64 = 1024 * 1024 * 1024;

/// The topics with `partitions` for those that scale with the number of services. Commands, outcomes, heartbeats and the journal
/// have one each: their order is worth more than their rate.
pub fn all(partitions: u32) -> Vec<TopicSpec> {
    let delete = |name, partitions, days: u32, max_bytes| TopicSpec {
        name,
        partitions,
        retention: Retention::Delete {
            max_age: DAY * days,
            max_bytes,
        },
    };
    let compact = |name| TopicSpec {
        name,
        partitions: 1,
        retention: Retention::Compact,
    };
    vec![
        delete(SAMPLES, partitions, 1, 4 * GIB),
        delete(LOGS, partitions, 1, 4 * GIB),
        delete(EVENTS, 1, 7, GIB),
        compact(INVENTORY),
        delete(SIGNALS, 1, 7, GIB),
        delete(FEEDBACK, 1, 30, GIB),
        delete(FORECASTS, 1, 1, GIB),
        delete(COMMANDS, 1, 7, GIB),
        delete(OUTCOMES, 1, 7, GIB),
        TopicSpec {
            name: HEARTBEATS,
            partitions: 1,
            retention: Retention::Delete {
                max_age: HOUR,
                max_bytes: GIB / 4,
            },
        },
        compact(EXPORTS),
        compact(POLICY),
        delete(JOURNAL, 1, 30, GIB),
        compact(CHECKPOINTS),
        compact(MODELS),
        delete(ELECTION, 1, 30, GIB),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_logs_have_the_same_partitions_so_one_reader_meets_both() {
        let topics = all(12);
        let partitions = |name: &str| {
            topics
                .iter()
                .find(|spec| spec.name == name)
                .unwrap()
                .partitions
        };
        assert_eq!(partitions(SAMPLES), 12);
        assert_eq!(partitions(LOGS), 12);
        assert_eq!(partitions(ELECTION), 1);
    }
}
