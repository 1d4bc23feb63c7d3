//! What is going to happen, in order of time.

use std::collections::BTreeMap;

use units::{CommandId, ContainerId, Timestamp};

use super::faults::Lasting;
use super::log::Topic;

/// Everything that can happen in the world. Numbers are places of nodes, services and controllers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Happening {
    /// A node's processes go on, and its collector looks.
    Node(usize),
    /// Analytics looks at what came.
    Analyse,
    /// Something goes wrong.
    Fault,
    /// It is over.
    Over(Lasting),
    /// A controller reads, or its deadline has come.
    Controller(usize),
    /// A controller's record is acknowledged.
    Written(usize, u64),
    /// A controller is started and claims to lead.
    Claim,
    /// An actuator reads the commands.
    Commands(usize),
    /// A command goes on, in this life of its actuator.
    Act(usize, u32, CommandId),
    /// An engine is done with an operation, in this boot of its node.
    Done(usize, u32, u64),
    /// An actuator starts.
    Actuator(usize),
    /// A record is written again.
    Echo(Topic, usize),
    /// The next container of a service that people deploy is replaced.
    Deploy(usize, u32),
    /// The queue of a service's workers turns empty, or fills.
    Jobs(usize),
    /// Somebody orders another image, of this service or of any.
    Order(Option<usize>),
    /// A node's actuator says that it is there, or looks whether its lease is over.
    Beat(usize),
    /// A heartbeat that was made long ago comes into the log.
    LateBeat(usize),
    /// An engine has stopped a container for want of a lease, in this boot of its node.
    Fenced(usize, u32, ContainerId),
    /// Hosts are lost.
    Loss,
    /// Something else begins to take much of a node.
    Crowded(usize),
}

/// The agenda.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeMap<(Timestamp, u64), Happening>,
    count: u64,
}

impl Agenda {
    /// What is due at the same time happens in the order of being noted.
    pub(super) fn note(&mut self, at: Timestamp, happening: Happening) {
        self.count += 1;
        self.due.insert((at, self.count), happening);
    }

    pub(super) fn next(&mut self) -> Option<(Timestamp, Happening)> {
        let ((at, _), happening) = self.due.pop_first()?;
        Some((at, happening))
    }
}
