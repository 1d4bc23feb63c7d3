//! Which containers serve a service, in which state, and where each is reached. Pure.
//!
//! What load balancers and other tools are told is at the side of care: what is not known to serve is not said to, and what is not
//! known to be gone is not said to be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Action, ActionKind, CommandId, ContainerId, ContainerName, ContainerRecord, ContainerState,
    HealthState, NodeId, NodeInventory, Phase, PlanEntry, PlanId, ServiceId, Timestamp,
};

use crate::View;
use crate::endpoints::{self, Endpoint};

/// How long an action may still be at work after its deadline and what it waits for, when nothing was heard of its end. After that
/// the container's own state is what counts: a plan whose end nobody told must not keep it out of service for good.
const WORKS_FOR: Duration = Duration::from_secs(30);

/// A collector knows this long after an action what it did to the container: the engine tells of it, and is asked for the rest.
const SEEN_AFTER: Duration = Duration::from_secs(1);

/// `GET /members`: one of the services with its containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceMembers {
    /// Its name.
    pub service: ServiceId,
    /// Its containers, by node and name.
    pub members: Vec<Member>,
}

/// A container of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Where it is.
    pub node: NodeId,
    /// The engine's id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Whether it serves.
    pub state: MemberState,
    /// Why it does not; absent where the state says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Its own addresses in the networks of its engine, while it runs. Mostly only containers of the same host reach them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Every way to it, while it runs: ports of its node first, then its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// The port in the container that balancers are told of: that of its label `io.homeostat.port`, or the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The way to it that balancers are told, as `ADDRESS:PORT`. Absent where none is known, and while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is not known of where it is reached, and what to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Whether a container serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It runs, and passes its health check where it has one.
    Serving,
    /// It will, as far as is known: it has not passed its health check yet, or is being started.
    Starting,
    /// It runs and is not fit to serve: its health check fails, it is paused, or it is out of its networks.
    Unhealthy,
    /// A plan that takes it away, for good or for a moment, is decided and not known to have ended.
    Leaving,
    /// It does not run.
    Gone,
    /// Its node is not heard: it may serve or not.
    Unknown,
}

impl MemberState {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberState::Serving => "serving",
            MemberState::Starting => "starting",
            MemberState::Unhealthy => "unhealthy",
            MemberState::Leaving => "leaving",
            MemberState::Gone => "gone",
            MemberState::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for MemberState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl View {
    /// Every service with its containers, by name; `heard` are the nodes that are not silent.
    pub fn members(&self, heard: &BTreeSet<NodeId>, now: Timestamp) -> Vec<ServiceMembers> {
        let leaving = Leaving::of(self.plans(), now);
        let mut services: BTreeMap<&ServiceId, Vec<Member>> = BTreeMap::new();
        for node in self.nodes() {
            let hearing = match heard.contains(&node.node) {
                true => Hearing::Speaks,
                false => Hearing::Silent,
            };
            for record in &node.containers {
                let member = member(node, record, hearing, &leaving);
                services.entry(&record.service).or_default().push(member);
            }
        }
        let services = services.into_iter();
        services
            .map(|(service, mut members)| {
                members.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
                ServiceMembers {
                    service: service.clone(),
                    members,
                }
            })
            .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Speaks,
    Silent,
}

fn member(
    node: &NodeInventory,
    record: &ContainerRecord,
    hearing: Hearing,
    leaving: &Leaving<'_>,
) -> Member {
    let (state, why) = match hearing {
        Hearing::Silent => {
            let why = format!("node {} is silent", node.node);
            (MemberState::Unknown, Some(why))
        }
        Hearing::Speaks => match leaving.find(node, record) {
            Some(departure) => departure.state_of(record),
            None => own_state(record),
        },
    };
    let ways = endpoints::of(node, record);
    Member {
        node: node.node.clone(),
        id: record.id.clone(),
        name: record.name.clone(),
        state,
        why,
        addresses: ways.addresses,
        endpoints: ways.endpoints,
        port: ways.port,
        target: ways.target,
        notes: ways.notes,
    }
}

/// What its engine says of it.
fn own_state(record: &ContainerRecord) -> (MemberState, Option<String>) {
    let because = |why: &str| Some(why.to_owned());
    match (record.state, record.health) {
        (ContainerState::Running, _) if record.is_isolated() => {
            (MemberState::Unhealthy, because("it is out of its networks"))
        }
        (ContainerState::Running, HealthState::None | HealthState::Healthy) => {
            (MemberState::Serving, None)
        }
        (ContainerState::Running, HealthState::Starting) => {
            let why = "it has not passed its health check yet";
            (MemberState::Starting, because(why))
        }
        (ContainerState::Running, HealthState::Unhealthy) => {
            (MemberState::Unhealthy, because("its health check fails"))
        }
        (ContainerState::Paused, _) => (MemberState::Unhealthy, because("it is paused")),
        (ContainerState::Restarting, _) => {
            let why = "its engine is to start it again";
            (MemberState::Starting, because(why))
        }
        // What Homeostat makes it also starts; what a person only made may stay so.
        (ContainerState::Created, _) if record.made_by.is_some() => {
            (MemberState::Starting, because("it has just been made"))
        }
        (ContainerState::Created, _) => (MemberState::Gone, because("it was never started")),
        (ContainerState::Exited | ContainerState::Dead, _) => (MemberState::Gone, None),
    }
}

/// A container that a plan takes away.
#[derive(Debug, Clone, Copy)]
struct Departure<'a> {
    plan: &'a PlanId,
    action: &'a Action,
    /// When its end was told, by its node's clock. Absent while it is not known to have ended.
    ended_at: Option<Timestamp>,
}

impl Departure<'_> {
    fn state_of(&self, record: &ContainerRecord) -> (MemberState, Option<String>) {
        let runs = match record.state {
            ContainerState::Running | ContainerState::Paused => true,
            ContainerState::Created
            | ContainerState::Restarting
            | ContainerState::Exited
            | ContainerState::Dead => false,
        };
        // One that is restarted is stopped on the way, or was before: what is ahead of it is a start.
        let state = match self.action.kind() == ActionKind::Restart && !runs {
            true => MemberState::Starting,
            false => MemberState::Leaving,
        };
        let why = format!("{} by {}", self.action.kind(), self.plan);
        (state, Some(why))
    }
}

/// The containers that plans take away, by node and container.
struct Leaving<'a>(BTreeMap<(&'a NodeId, &'a ContainerId), Departure<'a>>);

impl<'a> Leaving<'a> {
    fn of(plans: impl Iterator<Item = &'a PlanEntry>, now: Timestamp) -> Self {
        let mut leaving = BTreeMap::new();
        for entry in plans.filter(|entry| entry.phase != Phase::Suggested) {
            for (index, step) in entry.plan.steps.iter().enumerate() {
                let Some(grace) = takes_away(&step.action) else {
                    continue;
                };
                let command = CommandId::of(&entry.plan.id, index);
                let outcome = entry.outcomes.iter().find(|it| it.command == command);
                if outcome.is_none() && entry.plan.deadline + grace + WORKS_FOR < now {
                    continue;
                }
                let departure = Departure {
                    plan: &entry.plan.id,
                    action: &step.action,
                    ended_at: outcome.map(|outcome| outcome.at),
                };
                let key = (&step.node, step.action.target());
                leaving
                    .entry(key)
                    .and_modify(|known: &mut Departure<'a>| {
                        if later(departure.ended_at, known.ended_at) {
                            *known = departure;
                        }
                    })
                    .or_insert(departure);
            }
        }
        Leaving(leaving)
    }

    /// The plan that takes a container away, until its node has told what came of it: both times are its node's own.
    fn find<'b>(
        &'b self,
        node: &'b NodeInventory,
        record: &'b ContainerRecord,
    ) -> Option<&'b Departure<'b>> {
        let departure = self.0.get(&(&node.node, &record.id))?;
        let is_seen = departure
            .ended_at
            .is_some_and(|at| node.at > at + SEEN_AFTER);
        (!is_seen).then_some(departure)
    }
}

/// Whether one end is after another; what has not ended is after all.
fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => one > other,
    }
}

/// How long a container that an action takes away may take to stop; nothing for an action that leaves it serving.
fn takes_away(action: &Action) -> Option<Duration> {
    match action {
        Action::Restart { grace, .. }
        | Action::Recreate { grace, .. }
        | Action::Stop { grace, .. }
        | Action::RemoveReplica { grace, .. } => Some(*grace),
        Action::Isolate { .. } => Some(Duration::ZERO),
        Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::Export { .. }
        | Action::Rejoin { .. }
        | Action::PullImage { .. } => None,
    }
}
