//! A token bucket of one token: so many messages a second, evenly.

use std::time::{Duration, Instant};

/// Slack takes one message a second and channel.
pub(crate) const SLACK_INTERVAL: Duration = Duration::from_secs(1);
/// PagerDuty takes 120 events a minute and key, over a sliding window: two a second without bursts.
pub(crate) const PAGERDUTY_INTERVAL: Duration = Duration::from_millis(500);
/// A receiver of one's own is not told more than twenty things a second.
pub(crate) const WEBHOOK_INTERVAL: Duration = Duration::from_millis(50);

/// When the next message may go.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    free_at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(interval: Duration) -> Self {
        Bucket {
            interval,
            free_at: None,
        }
    }

    /// Takes the next token and says how long to wait for it.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        let at = self.free_at.map_or(now, |free| free.max(now));
        self.free_at = Some(at + self.interval);
        at.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_at_once_and_the_rest_at_the_interval() {
        let mut bucket = Bucket::new(SLACK_INTERVAL);
        let start = Instant::now();
        assert_eq!(bucket.take(start), Duration::ZERO);
        assert_eq!(bucket.take(start), Duration::from_secs(1));
        assert_eq!(bucket.take(start), Duration::from_secs(2));
        assert_eq!(bucket.take(start + Duration::from_secs(60)), Duration::ZERO);
    }
}
