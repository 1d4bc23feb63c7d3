//! What was stopped because the lease was over, in memory and on disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use units::{ContainerId, Fenced, Timestamp};

use crate::handler::Handler;

/// More singletons than any host runs. Beyond it they are stopped all the same, and people start them.
const FENCED_MAX: usize = 256;

/// What was stopped and was not started since.
#[derive(Debug)]
pub(super) struct Fences(Mutex<Listed>);

#[derive(Debug)]
struct Listed {
    at: BTreeMap<ContainerId, Timestamp>,
    disk: Disk,
}

/// Whether the ledger has the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    HasIt,
    LacksIt,
}

impl Fences {
    pub(super) fn new(at: BTreeMap<ContainerId, Timestamp>) -> Self {
        let disk = Disk::HasIt;
        Fences(Mutex::new(Listed { at, disk }))
    }

    pub(super) fn has(&self, container: &ContainerId) -> bool {
        self.with(|listed| listed.at.contains_key(container))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.with(|listed| listed.at.is_empty() && listed.disk == Disk::HasIt)
    }

    /// The list as heartbeats carry it.
    pub(super) fn told(&self) -> Vec<Fenced> {
        self.with(|listed| {
            let listed = listed.at.iter();
            let fenced = listed.map(|(container, at)| Fenced {
                container: container.clone(),
                at: *at,
            });
            fenced.collect()
        })
    }

    /// A container is about to be stopped.
    pub(super) fn add(&self, container: &ContainerId, at: Timestamp) {
        self.with(|listed| {
            if listed.at.len() < FENCED_MAX || listed.at.contains_key(container) {
                listed.at.insert(container.clone(), at);
                listed.disk = Disk::LacksIt;
            }
        });
    }

    /// Keeps those that are stopped still.
    pub(super) fn retain(&self, is_stopped: impl Fn(&ContainerId) -> bool) {
        self.with(|listed| {
            let before = listed.at.len();
            listed.at.retain(|container, _| is_stopped(container));
            if listed.at.len() != before {
                listed.disk = Disk::LacksIt;
            }
        });
    }

    /// Writes the list down, if the ledger has not got it. With a ledger that cannot be written it is kept in memory and tried again:
    /// that nothing runs twice is worth more.
    pub(super) async fn save(&self, handler: &Handler) {
        let listed = self.with(|listed| match listed.disk {
            Disk::HasIt => None,
            Disk::LacksIt => {
                listed.disk = Disk::HasIt;
                Some(listed.at.clone())
            }
        });
        let Some(listed) = listed else {
            return;
        };
        match handler.ledger.put_fenced(listed).await {
            Ok(()) => handler.ledger_health.up(),
            Err(error) => {
                handler.ledger_health.down(error);
                self.with(|listed| listed.disk = Disk::LacksIt);
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Listed) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
