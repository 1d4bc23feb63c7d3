//! How long replicas of a service take until they serve.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many of the last starts are remembered; the longest of them counts.
const KEPT: usize = 8;
/// A container that serves when it is first seen may have done so for long: it tells something only when it is so young.
const YOUNG: Duration = Duration::from_secs(60);
/// A start that took longer is that of a container that was sick first.
const LONGEST: Duration = Duration::from_secs(3_600);
/// From the decision until the engine starts the process.
const ORDER_S: u32 = 5;
/// What is planned with, in seconds: the least of these that is enough. Few, because what was learnt for another one is of no use.
const PLANNED_S: [u32; 10] = [10, 20, 30, 60, 120, 180, 300, 600, 1_200, 3_600];
/// Until a start was seen.
const ASSUMED_S: u32 = 30;

/// The last starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Startups {
    took_s: VecDeque<u32>,
}

impl Startups {
    /// A container that was seen to start serves, so long after its process began.
    pub(super) fn seen(&mut self, took: Duration) {
        if took > LONGEST {
            return;
        }
        if self.took_s.len() == KEPT {
            self.took_s.pop_front();
        }
        let whole_s = took.as_millis().div_ceil(1_000);
        self.took_s
            .push_back(u32::try_from(whole_s).unwrap_or(u32::MAX));
    }

    /// A container was serving when it was first seen.
    pub(super) fn first_seen(&mut self, took: Duration) {
        if took <= YOUNG {
            self.seen(took);
        }
    }

    /// From the decision until a replica serves, as the slowest of the last ones took.
    pub(super) fn longest_s(&self) -> Option<u32> {
        let longest = self.took_s.iter().max()?;
        Some(longest + ORDER_S)
    }

    /// What to plan with.
    pub(super) fn planned_s(&self) -> u32 {
        let needed = self.longest_s().unwrap_or(ASSUMED_S);
        let enough = PLANNED_S.into_iter().find(|planned| *planned >= needed);
        enough.unwrap_or(PLANNED_S[PLANNED_S.len() - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_the_last_starts_is_planned_with() {
        let mut startups = Startups::default();
        assert_eq!((startups.longest_s(), startups.planned_s()), (None, 30));
        startups.first_seen(Duration::from_secs(61));
        startups.seen(Duration::from_secs(3_601));
        assert_eq!(startups.longest_s(), None, "neither was a start");
        startups.seen(Duration::from_millis(40_001));
        assert_eq!((startups.longest_s(), startups.planned_s()), (Some(46), 60));
        for _ in 0..KEPT {
            startups.first_seen(Duration::from_secs(2));
        }
        assert_eq!((startups.longest_s(), startups.planned_s()), (Some(7), 10));
        startups.seen(LONGEST);
        assert_eq!(startups.planned_s(), 3_600);
    }
}
