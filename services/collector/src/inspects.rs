//! Which containers are to be inspected. An inspect waits for as long as its container is being started, so several are under
//! way at once and events are not kept waiting. Pure.

use std::collections::{BTreeMap, BTreeSet};

use units::ContainerId;

/// Containers that wait to be inspected or are being inspected; each at most once.
#[derive(Debug, Default)]
pub(crate) struct Inspects {
    wanted: BTreeSet<ContainerId>,
    under_way: BTreeMap<ContainerId, Answer>,
}

/// What is done with the answer to an inspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is believed.
    Take,
    /// The container was removed, or has changed, since it was asked about.
    Drop,
}

impl Inspects {
    /// The container may have changed: what is under way may not show it yet, so it is inspected after that again.
    pub(crate) fn want(&mut self, id: &ContainerId) {
        self.wanted.insert(id.clone());
    }

    /// An event has said something newer than the answer that is awaited, if one is, which would undo it. Says whether one is.
    pub(crate) fn overtaken(&mut self, id: &ContainerId) -> bool {
        match self.under_way.get_mut(id) {
            Some(answer) => {
                *answer = Answer::Drop;
                true
            }
            None => false,
        }
    }

    /// The container is gone.
    pub(crate) fn removed(&mut self, id: &ContainerId) {
        self.wanted.remove(id);
        if let Some(answer) = self.under_way.get_mut(id) {
            *answer = Answer::Drop;
        }
    }

    /// The next container to inspect, when fewer than `parallel` are under way.
    pub(crate) fn start(&mut self, parallel: usize) -> Option<ContainerId> {
        if self.under_way.len() >= parallel {
            return None;
        }
        let mut idle = self
            .wanted
            .iter()
            .filter(|id| !self.under_way.contains_key(*id));
        let id = idle.next()?.clone();
        self.wanted.remove(&id);
        self.under_way.insert(id.clone(), Answer::Take);
        Some(id)
    }

    /// The answer is there.
    pub(crate) fn done(&mut self, id: &ContainerId) -> Answer {
        self.under_way.remove(id).unwrap_or(Answer::Drop)
    }

    /// The connection is gone, and every answer with it.
    pub(crate) fn clear(&mut self) {
        self.wanted.clear();
        self.under_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_changes_while_it_is_inspected_is_inspected_again_after() {
        let id = ContainerId::from("a");
        let mut inspects = Inspects::default();
        inspects.want(&id);
        inspects.want(&id);
        assert_eq!(inspects.start(4), Some(id.clone()));
        assert!(inspects.overtaken(&id));
        inspects.want(&id);
        assert_eq!(inspects.start(4), None, "one at a time");
        assert_eq!(inspects.done(&id), Answer::Drop);
        assert_eq!(inspects.start(4), Some(id));
    }

    #[test]
    fn an_answer_about_a_container_removed_meanwhile_is_dropped() {
        let id = ContainerId::from("a");
        let mut inspects = Inspects::default();
        inspects.want(&id);
        inspects.start(4);
        inspects.removed(&id);
        assert_eq!(inspects.done(&id), Answer::Drop);
        assert_eq!(inspects.start(4), None);
    }

    #[test]
    fn so_many_at_once_and_no_more() {
        let mut inspects = Inspects::default();
        for id in ["a", "b", "c"] {
            inspects.want(&ContainerId::from(id));
        }
        assert_eq!(std::iter::from_fn(|| inspects.start(2)).count(), 2);
        inspects.done(&ContainerId::from("a"));
        assert_eq!(inspects.start(2), Some(ContainerId::from("c")));
    }
}
