//! Whose replica would have to go so that a more important container finds room ([`crate::preempt`]).

use std::cmp::Reverse;
use std::sync::Arc;

use units::{ContainerId, NodeId, NodeWanted, ServiceId};

use super::advice::{self, Short};
use super::picture::{Picture, priority_of, takes_room};
use super::tied::{self, Known};
use super::{Advice, AdviceKind, Hearing};
use crate::fleet::Replica;
use crate::moves::{going, roomiest, share_of};
use crate::place::preempt::{preempt, preempt_on};
use crate::place::{
    Container, ContainerIndex, Host, HostIndex, Hosts, Movable, Needs, Resources, obstacle,
};
use crate::preempt::{Claim, Surplus};
use crate::state::State;

/// Containers without room that are looked at in one look: each takes a look at what could go on many nodes.
const WAITING_MAX: usize = 16;

/// The replica that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) service: ServiceId,
    pub(crate) container: ContainerId,
    pub(crate) node: NodeId,
    pub(crate) frees: Resources,
}

/// Room for a container that is to leave its node, and who goes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomToMove {
    pub(crate) service: ServiceId,
    pub(crate) container: ContainerId,
    pub(crate) victim: Victim,
}

/// What is known of room that is made.
pub(crate) struct Making<'a> {
    /// Whether a container may be moved now for the sake of this.
    pub(crate) may: &'a dyn Fn(&Replica<'_>, AdviceKind) -> bool,
    pub(crate) surplus: Surplus<'a>,
    /// Room that was made, or is being made, for containers that still wait to move there.
    pub(crate) claims: Vec<Claim<'a>>,
}

/// Who has room made for it moves first, for nobody else is to take that; in the picture, and as advice.
pub(super) fn claimed(
    picture: &mut Picture<'_>,
    state: &State,
    making: &Making<'_>,
) -> Vec<Advice> {
    let mut advice = Vec::new();
    for claim in making.claims.iter().filter(|it| !it.is_pending(state)) {
        let Some((index, from)) = waits_in(picture, claim) else {
            continue;
        };
        let Some(to) = picture.host_of(claim.node()) else {
            continue;
        };
        let stays = picture.held[index.0].stays.is_some() || state.is_pressed(claim.node());
        let container = picture.hosts.container(index).map(|(it, _)| it);
        let fits = container.is_some_and(|it| obstacle(&picture.hosts, it, to).is_none());
        if stays || from == to || !fits {
            continue;
        }
        let moves: Vec<_> = picture.hosts.relocate(index, to).into_iter().collect();
        let node = picture.nodes[from.0].node;
        let kind = match picture.nodes[from.0].wanted {
            NodeWanted::Drained => AdviceKind::Drain,
            NodeWanted::Open | NodeWanted::Cordoned => AdviceKind::Relieve,
        };
        advice.push(Advice {
            kind,
            node: node.clone(),
            benefit: format!("{node} is short, and room was made on {}", claim.node()),
            moves: advice::suggested(picture, &moves),
        });
    }
    advice
}

fn waits_in(picture: &Picture<'_>, claim: &Claim<'_>) -> Option<(ContainerIndex, HostIndex)> {
    let container = claim.preemption.container.as_ref()?;
    let at = picture.held.iter().position(|it| {
        let record = it.replica.record;
        record.id == *container && record.service == claim.preemption.service
    })?;
    let index = ContainerIndex(at);
    let (_, from) = picture.hosts.container(index)?;
    Some((index, from))
}

/// The first replica that goes so that one of the containers without room finds it; the most important of these that can be helped. In the
/// picture all is moved that can be without that.
pub(super) fn for_a_move(
    picture: &Picture<'_>,
    short: &[(HostIndex, Short)],
    state: &State,
    making: &mut Making<'_>,
) -> Option<RoomToMove> {
    for (index, kind) in waiting(picture, short).into_iter().take(WAITING_MAX) {
        let replica = &picture.held[index.0].replica;
        let record = replica.record;
        let (service, id) = (&record.service, &record.id);
        let mut mine = making.claims.iter();
        let made = mine.find(|it| it.preemption.container.as_ref() == Some(id));
        let is_pending = made.is_some_and(|it| it.is_pending(state));
        if is_pending || !(making.may)(replica, kind) {
            continue;
        }
        let there = made.and_then(|it| picture.host_of(it.node()));
        let (container, _) = picture.hosts.container(index)?;
        let below = state.fleet.priority_least(service);
        let mut spare = |other: ContainerIndex, _: &Container| {
            let held = &picture.held[other.0];
            match held.known {
                Known::All => making.surplus.of(&held.replica, below),
                Known::Part => 0,
            }
        };
        // What was begun on one node goes on there.
        let found = there
            .and_then(|on| preempt_on(&picture.hosts, container, on, &mut spare))
            .or_else(|| preempt(&picture.hosts, container, &mut spare));
        if let Some(first) = found.and_then(|plan| plan.out.first().copied()) {
            return Some(RoomToMove {
                service: service.clone(),
                container: id.clone(),
                victim: victim(&picture.hosts, &picture.held[first.0].replica, first)?,
            });
        }
    }
    None
}

fn victim(hosts: &Hosts, replica: &Replica<'_>, index: ContainerIndex) -> Option<Victim> {
    Some(Victim {
        service: replica.record.service.clone(),
        container: replica.record.id.clone(),
        node: replica.node.clone(),
        frees: hosts.container(index)?.0.asks,
    })
}

/// Containers that are to leave their nodes and have no room elsewhere, the most important first.
fn waiting(
    picture: &Picture<'_>,
    short: &[(HostIndex, Short)],
) -> Vec<(ContainerIndex, AdviceKind)> {
    let hosts = &picture.hosts;
    let drained = hosts.indices().filter(|host| {
        let node = &picture.nodes[host.0];
        node.wanted == NodeWanted::Drained && node.hearing == Hearing::Speaks
    });
    let drained = drained
        .flat_map(|host| hosts.on(host))
        .map(|(index, _)| (index, AdviceKind::Drain));
    let pressed = short
        .iter()
        .flat_map(|(host, of)| relieving(hosts, *host, *of));
    let pressed = pressed.map(|index| (index, AdviceKind::Relieve));
    let mut waiting: Vec<_> = drained
        .chain(pressed)
        .filter(|(index, _)| {
            let found = hosts.container(*index);
            found.is_some_and(|(it, from)| {
                it.movable == Movable::Yes
                    && roomiest(hosts, *index, from).is_none()
                    && advice::caution(picture, *index).is_none()
            })
        })
        .collect();
    let priority = |index: ContainerIndex| hosts.container(index).map(|(it, _)| it.priority);
    waiting.sort_by_key(|(index, _)| Reverse(priority(*index)));
    waiting
}

/// What would relieve a node by leaving it alone.
fn relieving(hosts: &Hosts, host: HostIndex, of: Short) -> Vec<ContainerIndex> {
    let used = hosts.used_on(host);
    let capacity = hosts.host(host).capacity;
    let most = share_of(hosts, host, advice::relieved_to(hosts, host));
    let excess = used.minus(most);
    let mut going = going(hosts, host, excess);
    going.retain(|index| {
        hosts.container(*index).is_some_and(|(it, _)| {
            let left = used.minus(it.asks).shares(capacity);
            excess.fits(it.asks) && of.is_worth(used.shares(capacity), left)
        })
    });
    going
}

/// A node that is short, on which a replica could be made from a container, and what was made free there for it.
pub(crate) struct Site<'a> {
    pub(crate) template: &'a Replica<'a>,
    pub(crate) made: Resources,
}

/// What there is for a replica more on nodes that are short.
pub(crate) enum Beside {
    /// Enough was made free on this one.
    Room(NodeId),
    /// This one goes first.
    Out(Victim),
    /// Nobody can.
    Nobody,
}

/// Whether enough was made free for a replica on one of these nodes, and else who is to go. A node that is short has no room but what
/// was made on it, whatever its containers are granted. The sites must not be empty.
pub(crate) fn beside(state: &State, sites: &[Site<'_>], surplus: &mut Surplus<'_>) -> Beside {
    let mut hosts = Hosts::default();
    let mut held: Vec<(Replica<'_>, Known)> = Vec::new();
    for site in sites {
        let node = site.template.node;
        let on_it = state.fleet.on_node(node).filter(takes_room);
        let on_it: Vec<_> = on_it.map(|it| (it, tied::asks_of(state, &it))).collect();
        let used = on_it.iter().map(|(_, (asks, _))| *asks);
        let used = used.fold(Resources::default(), Resources::plus);
        let on = hosts.add_host(Host::plain(node.clone(), used.plus(site.made)));
        for (replica, (asks, known)) in on_it {
            hosts.add(plain(&replica, asks), on);
            held.push((replica, known));
        }
    }
    let Some(template) = sites.first().map(|it| it.template) else {
        return Beside::Nobody;
    };
    let (asks, known) = tied::asks_of(state, template);
    if known == Known::Part || asks == Resources::default() {
        return Beside::Nobody;
    }
    if let Some(on) = hosts.indices().find(|on| asks.fits(hosts.free(*on))) {
        return Beside::Room(hosts.host(on).id.clone());
    }
    let below = state.fleet.priority_least(&template.record.service);
    let spare = |index: ContainerIndex, _: &Container| {
        let (replica, known) = &held[index.0];
        match known {
            Known::All => surplus.of(replica, below),
            Known::Part => 0,
        }
    };
    let first = preempt(&hosts, &plain(template, asks), spare);
    let first = first.and_then(|plan| plan.out.first().copied());
    first
        .and_then(|index| victim(&hosts, &held[index.0].0, index))
        .map_or(Beside::Nobody, Beside::Out)
}

/// A container that is where it may be.
fn plain(replica: &Replica<'_>, asks: Resources) -> Container {
    Container {
        id: replica.record.id.clone(),
        service: replica.record.service.clone(),
        asks,
        needs: Arc::new(Needs::default()),
        priority: priority_of(replica.record),
        movable: Movable::No,
    }
}

/// Whether a container like this one fits on a node by what is granted there. Where that is not known it is taken to.
pub(crate) fn fits(state: &State, node: &NodeId, like: &Replica<'_>) -> bool {
    let (asks, _) = tied::asks_of(state, like);
    let has = state.fleet.capacity(node);
    let whole = Resources::new(has.cpu, has.memory);
    let mut used = Resources::default();
    for replica in state.fleet.on_node(node).filter(takes_room) {
        let (asks, known) = tied::asks_of(state, &replica);
        if known == Known::Part {
            return true;
        }
        used = used.plus(asks);
    }
    whole == Resources::default() || asks.plus(used).fits(whole)
}
