//! One suite that every back end of the log passes: memory, local disk, and Apache Kafka.

#![allow(clippy::unwrap_used)]

mod suite;

use bus::testing::KafkaBroker;
use bus::{Bus, LocalConfig};

/// A log and what has to live as long as it does.
struct Fixture {
    bus: Bus,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Fixture {
    Fixture {
        bus: Bus::memory(),
        _dir: None,
    }
}

fn local() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let config = LocalConfig {
        dir: dir.path().to_owned(),
        linger_ms: 1,
        ..LocalConfig::default()
    };
    Fixture {
        bus: Bus::local(&config).unwrap(),
        _dir: Some(dir),
    }
}

fn kafka() -> Fixture {
    Fixture {
        bus: Bus::kafka(&KafkaBroker::shared().config()).unwrap(),
        _dir: None,
    }
}

macro_rules! conformance {
    ($($case:ident),+ $(,)?) => {
        conformance!(@backend memory: $($case),+);
        conformance!(@backend local: $($case),+);
        conformance!(@backend kafka: $($case),+);
    };
    (@backend $backend:ident: $($case:ident),+) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    // Starting a broker blocks.
                    let fixture = tokio::task::spawn_blocking(super::$backend).await.unwrap();
                    super::suite::$case(&fixture.bus).await;
                    fixture.bus.close().await;
                }
            )+
        }
    };
}

conformance!(
    keeps_order_per_key_and_agrees_on_partitions,
    concurrent_producers_get_rising_offsets,
    carries_bytes_and_headers_unchanged,
    carries_large_records,
    tails_from_the_beginning_the_end_and_a_time,
    an_empty_topic_is_caught_up_at_once_and_wakes_up,
    read_latest_gives_the_newest_of_each_key,
    ensure_topics_is_idempotent_and_never_destroys,
    what_does_not_exist_is_an_error_that_names_it,
    a_dropped_call_of_tail_next_loses_nothing,
    a_closed_log_says_so,
    a_group_starts_at_its_commit_and_groups_are_independent,
    an_empty_poll_waits_and_wakes_up,
    members_share_co_partitioned_topics,
    a_standby_is_told_and_takes_over_when_the_holder_leaves,
    what_is_committed_on_giving_back_does_not_come_again,
    commits_of_partitions_given_away_are_left_out,
    is_recorded_in_the_order_of_time,
);
