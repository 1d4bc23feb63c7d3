//! How long this node may run what no two nodes may run at once.

use std::time::Duration;

use units::Steady;

/// It lasts for its length after the last heartbeat that the log acknowledged was sent. Counted from before it was sent, so that whoever
/// reads that heartbeat, and waits for as long, waits longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    length: Duration,
    over_at: Steady,
}

impl Lease {
    /// One that begins now: a process that starts has so long to be acknowledged.
    pub(crate) fn beginning(length: Duration, now: Steady) -> Self {
        Lease {
            length,
            over_at: now + length,
        }
    }

    /// The log has a heartbeat that was sent then. One that comes late, or after a later one, shortens nothing and gives no more.
    pub(crate) fn acknowledged(&mut self, sent: Steady) {
        self.over_at = self.over_at.max(sent + self.length);
    }

    /// For how long it has been over.
    pub(crate) fn over_for(&self, now: Steady) -> Duration {
        now.since(self.over_at)
    }

    /// What is left of it; zero when it is over.
    pub(crate) fn left(&self, now: Steady) -> Duration {
        self.over_at.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(6);

    fn at(ms: u64) -> Steady {
        Steady::from_millis(ms)
    }

    fn beginning() -> Lease {
        Lease::beginning(LENGTH, at(1_000))
    }

    #[test]
    fn a_fresh_one_lasts_for_its_length_and_no_longer() {
        let lease = beginning();
        assert_eq!(lease.left(at(1_000)), LENGTH);
        assert_eq!(lease.left(at(6_999)), Duration::from_millis(1));
        assert_eq!(lease.left(at(7_000)), Duration::ZERO);
        assert_eq!(lease.left(at(90_000)), Duration::ZERO);
    }

    #[test]
    fn it_counts_from_when_a_heartbeat_was_sent_and_not_from_its_answer() {
        let mut lease = beginning();
        // Sent at 3 s and answered at 6.5 s.
        lease.acknowledged(at(3_000));
        assert_eq!(lease.left(at(6_500)), Duration::from_millis(2_500));
        // Sent before that and answered after it: the later one holds.
        lease.acknowledged(at(2_000));
        assert_eq!(lease.left(at(6_500)), Duration::from_millis(2_500));
    }

    #[test]
    fn an_answer_that_comes_after_a_length_opens_nothing() {
        let mut lease = beginning();
        lease.acknowledged(at(3_000));
        assert_eq!(lease.left(at(9_000)), Duration::ZERO);
        lease.acknowledged(at(3_500));
        assert_eq!(lease.left(at(9_600)), Duration::ZERO);
        lease.acknowledged(at(9_500));
        assert_eq!(lease.left(at(9_600)), LENGTH - Duration::from_millis(100));
    }

    proptest::proptest! {
        #[test]
        fn whatever_order_answers_come_in_it_ends_a_length_after_the_last_that_was_sent(
            sent in proptest::collection::vec(1_000_u64..60_000, 1..20)
        ) {
            let mut lease = beginning();
            for sent in &sent {
                lease.acknowledged(at(*sent));
            }
            let last = sent.iter().max().copied().unwrap_or_default();
            proptest::prop_assert!(!lease.left(at(last + 5_999)).is_zero());
            proptest::prop_assert!(lease.left(at(last + 6_000)).is_zero());
        }
    }
}
