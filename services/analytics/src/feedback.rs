//! What people said of signals, kept for partitions that are taken over later: unlike heartbeats it is not said again.

use std::collections::VecDeque;
use std::sync::Arc;

use units::{Feedback, Opinion};

/// Dismissals kept; beyond it the oldest goes, and a partition taken over later has that one only from its checkpoint.
const KEPT_MAX: usize = 2_000;

/// The dismissals read since the topic was opened, in their order.
#[derive(Debug, Default)]
pub(crate) struct Heard(VecDeque<Arc<Feedback>>);

impl Heard {
    /// Takes what was read. Acknowledgements change nothing here.
    pub(crate) fn push(&mut self, feedback: &Arc<Feedback>) {
        match feedback.opinion {
            Opinion::Acknowledged => {}
            Opinion::Dismissed => {
                if self.0.len() == KEPT_MAX {
                    self.0.pop_front();
                }
                self.0.push_back(Arc::clone(feedback));
            }
        }
    }

    /// All of it, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Arc<Feedback>> + '_ {
        self.0.iter().cloned()
    }
}
