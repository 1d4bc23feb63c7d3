//! The containers of a service, as an update sees them.

use std::collections::BTreeSet;

use units::{ContainerState, Image, ServiceId, Timestamp};

use crate::fleet::Replica;
use crate::images::image_of;
use crate::scale::returns;
use crate::state::State;

use super::course::Course;

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) replica: Replica<'a>,
    pub(crate) image: Option<Image>,
    /// It was made beside the others and goes in the end.
    pub(crate) is_surge: bool,
}

impl Member<'_> {
    pub(crate) fn runs(&self, image: &Image) -> bool {
        self.image.as_ref().is_some_and(|it| it.id == image.id)
    }

    pub(crate) fn runs_one_of(&self, ids: &BTreeSet<&str>) -> bool {
        let image = self.image.as_ref();
        image.is_some_and(|it| ids.contains(it.id.as_str()))
    }

    pub(crate) fn serves(&self) -> bool {
        self.replica.record.is_serving()
    }

    /// It runs, or is about to: one that people stopped is theirs.
    pub(crate) fn is_up(&self) -> bool {
        match self.replica.record.state {
            ContainerState::Running | ContainerState::Restarting => true,
            ContainerState::Created
            | ContainerState::Paused
            | ContainerState::Exited
            | ContainerState::Dead => false,
        }
    }

    pub(crate) fn name(&self) -> &units::ContainerName {
        &self.replica.record.name
    }
}

/// All of a service that run or are meant to, oldest first.
pub(crate) struct Members<'a>(pub(crate) Vec<Member<'a>>);

impl<'a> Members<'a> {
    pub(crate) fn of(state: &'a State, course: &Course<'_>) -> Self {
        let mut found = Vec::new();
        for replica in state.fleet.replicas(&course.order.service) {
            // Another was made in its place when its node was lost.
            if replica.is_replaced {
                continue;
            }
            let record = replica.record;
            let is_surge = course.is_surge(record.made_by.as_ref());
            let is_meant = replica.counts()
                || record.state == ContainerState::Restarting
                || (record.state == ContainerState::Running && record.is_isolated());
            if is_meant || is_surge || course.changed(&replica).is_some() {
                found.push(Member {
                    replica,
                    image: image_of(&replica),
                    is_surge,
                });
            }
        }
        found.sort_by(|a, b| {
            let key = |it: &Member<'a>| (it.replica.record.created_at, &it.replica.record.name);
            key(a).cmp(&key(b))
        });
        Members(found)
    }

    /// Those that stay.
    pub(crate) fn regular(&self) -> impl DoubleEndedIterator<Item = &Member<'a>> + Clone {
        self.0.iter().filter(|it| !it.is_surge)
    }

    /// Those made beside them.
    pub(crate) fn surge(&self) -> impl Iterator<Item = &Member<'a>> + Clone {
        self.0.iter().filter(|it| it.is_surge)
    }

    /// How many others serve, as their nodes said a short time ago.
    pub(crate) fn others(&self, state: &State, beside: &Member<'_>, now: Timestamp) -> u32 {
        let id = &beside.replica.record.id;
        let others = self.0.iter().filter(|it| it.replica.record.id != *id);
        let serve = others.filter(|it| it.serves() && state.is_fresh(&it.replica, now));
        u32::try_from(serve.count()).unwrap_or(u32::MAX)
    }

    /// The fewest that must serve, by the label.
    pub(crate) fn promised(&self) -> Option<u32> {
        let scales = self
            .0
            .iter()
            .filter_map(|it| it.replica.record.policy.scale.as_ref());
        scales.map(|it| it.min).min()
    }
}

/// A container of the service ended a short time ago, and is likely to be started again.
pub(crate) fn returning<'a>(
    state: &'a State,
    service: &ServiceId,
    now: Timestamp,
) -> Option<Replica<'a>> {
    let mut replicas = state.fleet.replicas(service).into_iter();
    replicas.find(|it| it.record.state == ContainerState::Exited && returns(state, it, now))
}
