//! When the inventory is sent: changes at once, a few in a row, and then not more often than they can be told apart. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Changes beyond a burst are told together, this far apart.
const SPACING: Duration = Duration::from_millis(200);
/// Inventories that may follow each other at once: what a start or an end brings with it.
const BURST_MAX: u32 = 5;

/// Keeps count of inventories.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// Time between two when nothing changes.
    interval: Duration,
    sent: Option<Instant>,
    /// Inventories that may be sent at once, and since when this is counted.
    credit: u32,
    since: Instant,
    changed: Changed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

impl Pacing {
    pub(crate) fn new(interval: Duration, now: Instant) -> Pacing {
        Pacing {
            interval,
            sent: None,
            credit: BURST_MAX,
            since: now,
            changed: Changed::Yes,
        }
    }

    /// There is something to tell.
    pub(crate) fn changed(&mut self) {
        self.changed = Changed::Yes;
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Instant {
        match (self.changed, self.sent) {
            (_, None) => self.since,
            (Changed::Yes, Some(_)) if self.credit > 0 => self.since,
            (Changed::Yes, Some(_)) => self.since + SPACING,
            (Changed::No, Some(sent)) => sent + self.interval,
        }
    }

    /// One was sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        let spacings = now.duration_since(self.since).as_nanos() / SPACING.as_nanos();
        let earned = u32::try_from(spacings).unwrap_or(BURST_MAX);
        let credit = self.credit.saturating_add(earned).min(BURST_MAX);
        if earned > 0 || credit == BURST_MAX {
            self.since = now;
        }
        self.credit = credit.saturating_sub(1);
        self.sent = Some(now);
        self.changed = Changed::No;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_changes_are_told_at_once_and_many_together() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Duration::from_secs(2), now);
        for _ in 0..BURST_MAX {
            assert!(pacing.due() <= now);
            pacing.sent(now);
            pacing.changed();
        }
        assert_eq!(pacing.due(), now + SPACING);
        let later = now + SPACING;
        pacing.sent(later);
        pacing.changed();
        assert_eq!(pacing.due(), later + SPACING);
        let calm = later + SPACING * 20;
        pacing.sent(calm);
        pacing.changed();
        assert!(pacing.due() <= calm, "the burst is earned again");
    }

    #[test]
    fn without_a_change_it_is_a_heartbeat() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Duration::from_secs(2), now);
        pacing.sent(now);
        assert_eq!(pacing.due(), now + Duration::from_secs(2));
    }
}
