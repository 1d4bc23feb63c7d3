//! Where one container could go, whatever it is to leave its node for.

use units::{ContainerId, NodeId, ServiceId, Timestamp};

use super::advice;
use super::picture::Picture;
use crate::moves::roomiest;
use crate::place::ContainerIndex;
use crate::state::State;

/// The node with the most room of those that would take a container; or why it stays where it is. Nodes that are short or silent, or of
/// which not all is known, take nothing. The whole fleet is looked at: of n containers it costs about n log n.
pub(crate) fn elsewhere(
    state: &State,
    service: &ServiceId,
    container: &ContainerId,
    now: Timestamp,
) -> Result<NodeId, String> {
    let mut picture = Picture::of(state, now);
    advice::distrust(&mut picture);
    advice::close_short(&mut picture, state);
    let mut held = picture.held.iter();
    let at = held.position(|it| {
        let record = it.replica.record;
        record.id == *container && record.service == *service
    });
    let at = at.ok_or("its node is taken as gone")?;
    if let Some(why) = &picture.held[at].stays {
        return Err(why.clone());
    }
    let index = ContainerIndex(at);
    if let Some(why) = advice::caution(&picture, index) {
        return Err(why);
    }
    let from = picture.hosts.container(index).map(|(_, on)| on);
    let to = from.and_then(|from| roomiest(&picture.hosts, index, from));
    let to = to.ok_or("no other node that speaks, and is short of nothing, has room for it")?;
    Ok(picture.nodes[to.0].node.clone())
}
