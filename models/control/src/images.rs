//! Which image each container ran before the present one, and how well: what a roll back would go back to.
//!
//! Inventories tell it, as they pass by. Their topic keeps only the newest of each node, so a controller that has just started knows
//! of no earlier image, and of no time in which one served: what changed before it began to read is forgotten, and nothing is rolled
//! back on its account. Only containers whose label allows a roll back are remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{ContainerId, ContainerName, Image, NodeId, Timestamp};

use crate::fleet::{Fleet, Replica};

/// Names remembered for one node; those beyond are not rolled back.
const PER_NODE_MAX: usize = 512;
/// A name that no container has had for so long is forgotten.
const KEPT: Duration = Duration::from_secs(2 * 3_600);
/// Two inventories further apart than this leave out whether it served in between.
const GAP_MAX: Duration = Duration::from_secs(60);

/// Images by node and name of a container: the name stays when people put a new container in the place of an old one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Images(BTreeMap<NodeId, BTreeMap<ContainerName, Track>>);

#[derive(Debug, Clone)]
struct Track {
    container: ContainerId,
    image: Image,
    serving_since: Option<Timestamp>,
    served: Duration,
    seen_at: Timestamp,
    before: Option<Before>,
}

/// The image before the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) image: Image,
    /// The container that ran it last.
    pub(crate) container: ContainerId,
    /// The longest time in which it was seen to serve without a break.
    pub(crate) served: Duration,
    /// When the container of the present one was made, by the clock of this side.
    pub(crate) changed_at: Timestamp,
}

/// The image a container runs, where its node tells it.
pub(crate) fn image_of(replica: &Replica<'_>) -> Option<Image> {
    let id = &replica.record.spec.as_ref()?.image_digest;
    (!id.is_empty()).then(|| Image {
        reference: replica.record.image.clone(),
        id: id.clone(),
    })
}

impl Images {
    /// Looks at what a node holds now.
    pub(crate) fn look(&mut self, fleet: &Fleet, node: &NodeId) {
        for replica in fleet.on_node(node) {
            if !replica.record.policy.recreate {
                continue;
            }
            let Some(image) = image_of(&replica) else {
                continue;
            };
            let tracks = self.0.entry(node.clone()).or_default();
            if let Some(track) = tracks.get_mut(&replica.record.name) {
                track.goes_on(fleet, &replica, image);
            } else if tracks.len() < PER_NODE_MAX {
                let track = Track::begins(&replica, image);
                tracks.insert(replica.record.name.clone(), track);
            }
        }
    }

    /// The image before that of the container under this name, when it was seen to change.
    pub(crate) fn before(&self, replica: &Replica<'_>) -> Option<&Before> {
        let track = self.0.get(replica.node)?.get(&replica.record.name)?;
        let before = track.before.as_ref();
        before.filter(|_| track.container == replica.record.id)
    }

    /// Forgets names that are gone.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, tracks| {
            tracks.retain(|_, track| now.since(track.seen_at) <= KEPT);
            !tracks.is_empty()
        });
    }
}

impl Track {
    fn begins(replica: &Replica<'_>, image: Image) -> Track {
        Track {
            container: replica.record.id.clone(),
            image,
            serving_since: replica.record.is_serving().then_some(replica.seen_at),
            served: Duration::ZERO,
            seen_at: replica.seen_at,
            before: None,
        }
    }

    fn goes_on(&mut self, fleet: &Fleet, replica: &Replica<'_>, image: Image) {
        let seen_at = replica.seen_at.max(self.seen_at);
        if image.id != self.image.id {
            let made = replica.record.created_at;
            let made = made.map(|at| fleet.here(replica.node, at));
            let made = made.map_or(seen_at, |at| at.min(seen_at));
            let before = Before {
                image: self.image.clone(),
                container: self.container.clone(),
                served: self.served,
                changed_at: made,
            };
            *self = Track::begins(replica, image);
            self.before = Some(before);
            return;
        }
        self.container = replica.record.id.clone();
        self.image = image;
        if !replica.record.is_serving() || seen_at.since(self.seen_at) > GAP_MAX {
            self.serving_since = None;
        }
        if replica.record.is_serving() {
            let since = *self.serving_since.get_or_insert(seen_at);
            self.served = self.served.max(seen_at.since(since));
        }
        self.seen_at = seen_at;
    }
}
