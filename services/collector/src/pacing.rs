//! When the inventory is sent: changes at once, a few in a row, and then not more often than they can be told apart. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Changes beyond a burst are told together, this far apart, and further where inventories are large.
const SPACING: Duration = Duration::from_millis(50);
/// Bytes of inventories a second, at most: those of a thousand containers are told four times a second.
const BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;
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
    spacing: Duration,
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
            spacing: SPACING,
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
            (Changed::Yes, Some(_)) => self.since + self.spacing,
            (Changed::No, Some(sent)) => sent + self.interval,
        }
    }

    /// One of so many bytes was sent.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) {
        let spacings = now.duration_since(self.since).as_nanos() / self.spacing.as_nanos();
        let bytes_ms = bytes as u64 * 1_000 / BYTES_PER_SECOND;
        self.spacing = SPACING.max(Duration::from_millis(bytes_ms));
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
            pacing.sent(now, 1);
            pacing.changed();
        }
        assert_eq!(pacing.due(), now + SPACING);
        let later = now + SPACING;
        pacing.sent(later, 1);
        pacing.changed();
        assert_eq!(pacing.due(), later + SPACING);
        let calm = later + SPACING * 20;
        pacing.sent(calm, 1);
        pacing.changed();
        assert!(pacing.due() <= calm, "the burst is earned again");
    }

    #[test]
    fn large_ones_are_told_less_often() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Duration::from_secs(2), now);
        for _ in 0..BURST_MAX {
            pacing.sent(now, BYTES_PER_SECOND as usize / 4);
            pacing.changed();
        }
        assert_eq!(pacing.due(), now + Duration::from_millis(250));
    }

    #[test]
    fn without_a_change_it_is_a_heartbeat() {
        let now = Instant::now();
        let mut pacing = Pacing::new(Duration::from_secs(2), now);
        pacing.sent(now, 1);
        assert_eq!(pacing.due(), now + Duration::from_secs(2));
    }
}
