//! Where containers of lost nodes could go.

use std::collections::{BTreeMap, BTreeSet};

use units::{ContainerId, NodeId, Phase, Timestamp};

use super::picture::Picture;
use super::{Hearing, advice, tied};
use crate::fleet::Replica;
use crate::moves::roomiest;
use crate::place::{ContainerIndex, HostIndex, Intake};
use crate::state::State;

/// A container of a lost node.
pub(crate) struct Stranger<'a> {
    pub(crate) replica: Replica<'a>,
    /// A node where it has been tried for nothing.
    pub(crate) avoid: Option<&'a NodeId>,
}

/// A node for each, in their order, those before it being where they were found a place; or why there is none. Only nodes that speak, and
/// whose actuators do, are asked, and of which all is known. One that is short of something is asked last: there it runs at least.
pub(crate) fn refuges(
    state: &State,
    strangers: &[Stranger<'_>],
    now: Timestamp,
) -> Vec<Result<NodeId, String>> {
    let mut picture = Picture::of(state, now);
    advice::distrust(&mut picture);
    close_silent(&mut picture, state, now);
    let is_open = |host: &HostIndex| picture.hosts.host(*host).intake == Intake::Open;
    let open: BTreeSet<HostIndex> = picture.hosts.indices().filter(is_open).collect();
    let short = advice::close_short(&mut picture, state).into_iter();
    let short: Vec<HostIndex> = short
        .map(|(host, _)| host)
        .filter(|it| open.contains(it))
        .collect();
    let held = picture.held.iter().enumerate();
    let by_id: BTreeMap<ContainerId, ContainerIndex> = held
        .map(|(at, held)| (held.replica.record.id.clone(), ContainerIndex(at)))
        .collect();
    under_way(&mut picture, state, &by_id);
    let places = strangers.iter().map(|it| {
        let index = by_id.get(&it.replica.record.id);
        let index = index.ok_or("its node is taken as gone")?;
        refuge(&mut picture, it, *index, &short)
    });
    places.collect()
}

fn refuge(
    picture: &mut Picture<'_>,
    stranger: &Stranger<'_>,
    index: ContainerIndex,
    short: &[HostIndex],
) -> Result<NodeId, String> {
    let held = &picture.held[index.0];
    // That its node is silent is why it goes.
    if let Some(why) = tied::stays(held.replica.record, held.known, Hearing::Speaks) {
        return Err(why);
    }
    let from = picture.hosts.container(index).map(|(_, on)| on);
    let from = from.ok_or("it is on its way already")?;
    let avoided = stranger.avoid.and_then(|node| picture.host_of(node));
    let was = avoided.map(|host| (host, close(picture, host)));
    let to = roomiest(&picture.hosts, index, from).or_else(|| {
        set_all(picture, short, Intake::Open);
        let found = roomiest(&picture.hosts, index, from);
        set_all(picture, short, Intake::Closed);
        found
    });
    if let Some((host, intake)) = was {
        picture.hosts.set_intake(host, intake);
    }
    let to = to.ok_or("no other node that speaks has room for it")?;
    picture.hosts.relocate(index, to);
    Ok(picture.nodes[to.0].node.clone())
}

fn set_all(picture: &mut Picture<'_>, hosts: &[HostIndex], intake: Intake) {
    for host in hosts {
        picture.hosts.set_intake(*host, intake);
    }
}

fn close(picture: &mut Picture<'_>, host: HostIndex) -> Intake {
    let was = picture.hosts.host(host).intake;
    picture.hosts.set_intake(host, Intake::Closed);
    was
}

/// A node whose actuator is not heard would carry nothing out, and of one whose collector is not it is not known what runs there.
fn close_silent(picture: &mut Picture<'_>, state: &State, now: Timestamp) {
    for host in picture.hosts.indices() {
        let node = picture.nodes[host.0].node;
        let beat = state.beats.of(node);
        let is_heard = beat.is_some_and(|it| it.read_at + it.lease / 2 >= now);
        if !is_heard || !state.hears(node, now) {
            picture.hosts.set_intake(host, Intake::Closed);
        }
    }
}

/// What is being made in the place of others takes its room already.
fn under_way(
    picture: &mut Picture<'_>,
    state: &State,
    by_id: &BTreeMap<ContainerId, ContainerIndex>,
) {
    let made = state.plans.active().filter(|it| it.phase == Phase::Decided);
    let moves = made.filter_map(|it| it.plan.relocation.as_ref().filter(|it| it.lost));
    for relocation in moves {
        let to = picture.host_of(&relocation.to);
        if let (Some(index), Some(to)) = (by_id.get(&relocation.container), to) {
            picture.hosts.relocate(*index, to);
        }
    }
}
