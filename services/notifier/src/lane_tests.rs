use std::sync::Arc;

use bus::Position;
use units::{Signal, SignalId, SignalPhase};

use super::*;
use crate::examples;
use crate::notice::Condition;
use crate::progress::Settled;

const RULES: Rules = Rules {
    min_severity: Severity::Warning,
    resolved: Wanted::Yes,
    plans: Wanted::Yes,
};

struct Bench {
    lane: Lane,
    settled: Settled,
    offset: u64,
}

impl Bench {
    fn new(rules: Rules) -> Self {
        Bench {
            lane: Lane::new(rules),
            settled: Settled::default(),
            offset: 0,
        }
    }

    fn offer(&mut self, notice: Notice) -> Vec<Suppression> {
        self.offer_from(notice, Origin::Fresh)
    }

    fn offer_from(&mut self, notice: Notice, origin: Origin) -> Vec<Suppression> {
        self.offset += 1;
        let position = Position {
            topic: "t".into(),
            partition: 0,
            offset: self.offset,
        };
        let ticket = Ticket::new(position, 1, &self.settled);
        self.lane
            .offer(notice, ticket, origin, (Instant::now(), Timestamp::EPOCH))
    }

    fn deliver(&mut self, settlement: Settlement) -> Option<&'static str> {
        let (entry, _) = self.lane.take();
        let entry = entry?;
        let event = entry.notice.event_type();
        self.lane.settle(entry, settlement);
        Some(event)
    }
}

fn opening(id: &str, severity: Severity) -> Notice {
    let signal = Signal {
        id: SignalId::from(id),
        severity,
        ..examples::signal()
    };
    Notice::Condition {
        change: Change::Opened,
        condition: Condition::Signal(Arc::new(signal)),
    }
}

fn resolve(id: &str) -> Notice {
    let signal = Signal {
        id: SignalId::from(id),
        phase: SignalPhase::Resolve,
        ..examples::signal()
    };
    Notice::Condition {
        change: Change::Resolved,
        condition: Condition::Signal(Arc::new(signal)),
    }
}

#[test]
fn a_trigger_goes_before_its_resolve() {
    let mut bench = Bench::new(RULES);
    assert_eq!(bench.offer(opening("a", Severity::Critical)), []);
    let (entry, _) = bench.lane.take();
    assert_eq!(bench.offer(resolve("a")), []);
    bench.lane.settle(entry.unwrap(), Settlement::Delivered);
    assert_eq!(
        bench.deliver(Settlement::Delivered),
        Some("signal.resolved")
    );
    assert_eq!(bench.deliver(Settlement::Delivered), None);
}

#[test]
fn what_opened_and_ended_while_it_waited_is_not_told() {
    let mut bench = Bench::new(RULES);
    bench.offer(opening("a", Severity::Critical));
    let suppressed = bench.offer(resolve("a"));
    assert_eq!(
        suppressed,
        [Suppression::Superseded, Suppression::EndedUntold]
    );
    assert_eq!(bench.deliver(Settlement::Delivered), None);
}

#[test]
fn a_resolve_does_not_outlive_a_trigger_that_never_arrived() {
    let mut bench = Bench::new(RULES);
    bench.offer(opening("a", Severity::Critical));
    let (entry, _) = bench.lane.take();
    bench.offer(resolve("a"));
    bench.lane.settle(entry.unwrap(), Settlement::NeverArrived);
    let (entry, suppressed) = bench.lane.take();
    assert!(entry.is_none());
    assert_eq!(suppressed, [Suppression::TriggerUndelivered]);
}

#[test]
fn a_trigger_that_may_have_arrived_is_resolved() {
    let mut bench = Bench::new(RULES);
    bench.offer(opening("a", Severity::Critical));
    bench.deliver(Settlement::MayHaveArrived);
    assert_eq!(bench.offer(resolve("a")), []);
    assert_eq!(
        bench.deliver(Settlement::Delivered),
        Some("signal.resolved")
    );
}

#[test]
fn a_change_of_what_never_arrived_is_told_as_an_opening() {
    let mut bench = Bench::new(RULES);
    bench.offer(opening("a", Severity::Warning));
    bench.deliver(Settlement::NeverArrived);
    bench.offer(opening("a", Severity::Critical));
    assert_eq!(bench.deliver(Settlement::Delivered), Some("signal.opened"));
}

#[test]
fn below_the_severity_nothing_is_told_not_even_the_end() {
    let mut bench = Bench::new(Rules {
        min_severity: Severity::Critical,
        ..RULES
    });
    assert_eq!(
        bench.offer(opening("a", Severity::Warning)),
        [Suppression::NotWanted]
    );
    let mut end = resolve("a");
    if let Notice::Condition {
        condition: Condition::Signal(signal),
        ..
    } = &mut end
    {
        Arc::make_mut(signal).severity = Severity::Warning;
    }
    assert_eq!(bench.offer(end), [Suppression::NotWanted]);
}

#[test]
fn what_became_severe_enough_is_opened_then_and_told_when_it_eases() {
    let mut bench = Bench::new(Rules {
        min_severity: Severity::Critical,
        ..RULES
    });
    bench.offer(opening("a", Severity::Warning));
    bench.offer(opening("a", Severity::Critical));
    assert_eq!(bench.deliver(Settlement::Delivered), Some("signal.opened"));
    bench.offer(opening("a", Severity::Info));
    assert_eq!(bench.deliver(Settlement::Delivered), Some("signal.changed"));
}

#[test]
fn newer_states_take_the_place_of_those_that_wait() {
    let mut bench = Bench::new(RULES);
    bench.offer(opening("a", Severity::Warning));
    bench.offer(opening("b", Severity::Warning));
    assert_eq!(
        bench.offer(opening("a", Severity::Critical)),
        [Suppression::Superseded]
    );
    let (entry, _) = bench.lane.take();
    let entry = entry.unwrap();
    assert_eq!(entry.notice.event_type(), "signal.opened");
    assert!(matches!(&entry.notice, Notice::Condition { condition, .. }
        if &*condition.id() == "a" && condition.severity() == Severity::Critical));
    assert_eq!(entry.tickets.len(), 2, "both records are done with it");
}

#[test]
fn recalled_conditions_are_resolved_and_not_opened_again() {
    let mut bench = Bench::new(RULES);
    let home = TopicPartition {
        topic: "t".into(),
        partition: 0,
    };
    bench
        .lane
        .recall(&opening("a", Severity::Critical), &home, Recalled::Told);
    bench.offer(opening("a", Severity::Warning));
    assert_eq!(bench.deliver(Settlement::Delivered), Some("signal.changed"));
    bench.offer(resolve("a"));
    assert_eq!(
        bench.deliver(Settlement::Delivered),
        Some("signal.resolved")
    );
}

#[test]
fn at_the_bound_plans_make_room_first_and_resolves_last() {
    let mut bench = Bench::new(RULES);
    let home = TopicPartition {
        topic: "t".into(),
        partition: 0,
    };
    bench
        .lane
        .recall(&opening("told", Severity::Critical), &home, Recalled::Told);
    bench.offer(resolve("told"));
    bench.offer(opening("first", Severity::Critical));
    bench.offer(examples::decided());
    for index in bench.lane.len()..LANE_BOUND {
        assert_eq!(
            bench.offer(opening(&index.to_string(), Severity::Critical)),
            []
        );
    }
    assert_eq!(
        bench.offer(opening("x", Severity::Critical)),
        [Suppression::Overflow]
    );
    assert_eq!(
        bench.offer(opening("y", Severity::Critical)),
        [Suppression::Overflow]
    );
    assert_eq!(bench.lane.len(), LANE_BOUND);
    assert_eq!(
        bench.deliver(Settlement::Delivered),
        Some("signal.resolved")
    );
    assert_eq!(
        bench.offer(resolve("first")),
        [Suppression::TriggerUndelivered]
    );
}

#[test]
fn a_revoked_partition_leaves_nothing_behind() {
    let mut bench = Bench::new(RULES);
    bench.offer(opening("a", Severity::Critical));
    bench.lane.revoke(&[TopicPartition {
        topic: "t".into(),
        partition: 0,
    }]);
    assert_eq!(bench.lane.len(), 0);
    assert_eq!(bench.deliver(Settlement::Delivered), None);
}

#[test]
fn a_sink_without_resolves_or_plans_gets_none() {
    let mut bench = Bench::new(Rules {
        resolved: Wanted::No,
        plans: Wanted::No,
        ..RULES
    });
    bench.offer(opening("a", Severity::Critical));
    bench.deliver(Settlement::Delivered);
    assert_eq!(bench.offer(resolve("a")), [Suppression::NotWanted]);
    assert_eq!(bench.offer(examples::decided()), [Suppression::NotWanted]);
}

#[test]
fn an_opening_that_a_killed_process_may_have_told_is_told_again_and_then_resolved() {
    let mut bench = Bench::new(RULES);
    bench.offer_from(opening("a", Severity::Critical), Origin::Replayed);
    assert_eq!(bench.offer_from(resolve("a"), Origin::Replayed), []);
    assert_eq!(
        bench.deliver(Settlement::NeverArrived),
        Some("signal.opened")
    );
    assert_eq!(
        bench.deliver(Settlement::Delivered),
        Some("signal.resolved")
    );
}

#[test]
fn a_breaker_that_opens_again_before_its_end_was_told_is_told_as_opened() {
    let mut bench = Bench::new(RULES);
    let closed = |change| {
        let entry = Arc::new(examples::breaker_entry());
        Notice::Condition {
            change,
            condition: Condition::Breaker(entry),
        }
    };
    bench.offer(closed(Change::Opened));
    bench.deliver(Settlement::Delivered);
    bench.offer(closed(Change::Resolved));
    bench.offer(closed(Change::Opened));
    assert_eq!(bench.deliver(Settlement::Delivered), Some("breaker.closed"));
    assert_eq!(bench.deliver(Settlement::Delivered), Some("breaker.opened"));
}
