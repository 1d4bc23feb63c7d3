//! `homeostat node cordon`, `drain`, `uncordon` and `remove`.

use clap::{Args, Subcommand};
use console::api::{NodeRemoved, OrderNode, RemoveNode};
use units::{NodeOrder, NodeWanted};

use crate::ask::{post, show};
use crate::cli::Ask;
use crate::exit::Failure;

/// What is wanted of a node.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Let nothing new be made on it or moved to it; what runs there stays.
    Cordon(Which),
    /// Cordon it, and move off it what may be moved: containers labelled io.homeostat.move=true, within all budgets, the new one first.
    Drain(Which),
    /// Open it again. What was moved stays where it is.
    Uncordon(Which),
    /// Take out a node that is there no more: it is neither waited for nor counted. What ran there is gone with it; drain it first.
    Remove(Which),
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The node's name, as `homeostat nodes` lists it.
    node: String,
    /// Who orders it; kept in the journal.
    #[arg(long, value_name = "NAME", env = "USER")]
    by: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Orders it.
pub(crate) fn order(node: &Node) -> Result<(), Failure> {
    let (which, wanted) = match node {
        Node::Remove(which) => return remove(which),
        Node::Cordon(which) => (which, NodeWanted::Cordoned),
        Node::Drain(which) => (which, NodeWanted::Drained),
        Node::Uncordon(which) => (which, NodeWanted::Open),
    };
    let order = OrderNode {
        wanted,
        by: which.by.clone(),
    };
    let path = format!("nodes/{}/orders", which.node);
    let ordered: NodeOrder = post(&which.ask, &path, &order)?;
    show(&which.ask, &ordered, told)
}

fn remove(which: &Which) -> Result<(), Failure> {
    let by = which.by.clone();
    let path = format!("nodes/{}/removal", which.node);
    let removed: NodeRemoved = post(&which.ask, &path, &RemoveNode { by })?;
    show(&which.ask, &removed, |it| {
        format!(
            "node {} is removed, with {} containers it told of last; it is back once its collector tells of it again",
            it.node, it.containers
        )
    })
}

fn told(order: &NodeOrder) -> String {
    let next = match order.wanted {
        NodeWanted::Open => "it takes what is made or moved again",
        NodeWanted::Cordoned => "nothing new comes to it; what runs there stays",
        NodeWanted::Drained => {
            "what may be moved goes, a few at a time; `homeostat nodes` says what is left, `homeostat actions` what is done"
        }
    };
    format!("{order}: {next}")
}
