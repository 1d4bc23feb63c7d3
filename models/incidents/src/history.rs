//! What was done to containers, and what Homeostat did.

use std::collections::BTreeMap;

use units::{
    ContainerEvent, ContainerId, ContainerName, ContainerRecord, EventKind, JournalEntry, NodeId,
    NodeInventory, OutcomeResult, Phase, PlanEntry, PlanId, ServiceId, SignalId, Timestamp,
};

use crate::weights::{
    CHANGE_WINDOW, IMAGES_MAX, KEPT, NEWS_MAX, PLANS_MAX, SERVICES_MAX, STORIES_MAX,
};

/// The recent past of the fleet.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) stories: BTreeMap<ContainerId, Story>,
    pub(crate) plans: BTreeMap<PlanId, Acted>,
    /// Of each service, oldest first.
    pub(crate) images: BTreeMap<ServiceId, Vec<ImageSeen>>,
}

/// The recent past of one container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Story {
    pub(crate) service: ServiceId,
    pub(crate) node: NodeId,
    pub(crate) name: ContainerName,
    /// When it was made, if that is recent.
    pub(crate) created: Option<Timestamp>,
    /// Content address of its image; empty while no inventory told it.
    pub(crate) digest: String,
    /// The plan that made it.
    pub(crate) made_by: Option<PlanId>,
    /// What people or programs did to it, oldest first.
    pub(crate) touched: Vec<(Timestamp, Touch)>,
    /// How its process ended, oldest first.
    pub(crate) ends: Vec<(Timestamp, End)>,
}

/// What is done to a container from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touch {
    Updated,
    Stopped,
    Paused,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Died { exit_code: Option<i64> },
    OutOfMemory,
}

/// An image a service ran.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageSeen {
    /// When the first container known of it was made.
    pub(crate) first: Timestamp,
    pub(crate) digest: String,
    pub(crate) reference: String,
}

/// A plan that was carried out, at least in part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Acted {
    /// When its first command began.
    pub(crate) at: Timestamp,
    pub(crate) newest: PlanEntry,
}

impl History {
    /// Takes what a heartbeat says of containers; whether it says anything new.
    pub(crate) fn inventory(&mut self, now: Timestamp, inventory: &NodeInventory) -> bool {
        let mut changed = false;
        for record in &inventory.containers {
            changed |= self.container(now, &inventory.node, record);
        }
        self.trim_stories();
        changed
    }

    fn container(&mut self, now: Timestamp, node: &NodeId, record: &ContainerRecord) -> bool {
        let Some(created) = record.created_at else {
            return false;
        };
        let digest = record
            .spec
            .as_ref()
            .map_or("", |spec| &spec.image_digest)
            .to_owned();
        let mut changed = self.image(&record.service, created, &digest, &record.image);
        if is_old(now, created) && !self.stories.contains_key(&record.id) {
            return changed;
        }
        let story = self.story(&record.id, || Story {
            service: record.service.clone(),
            node: node.clone(),
            name: record.name.clone(),
            created: None,
            digest: String::new(),
            made_by: None,
            touched: Vec::new(),
            ends: Vec::new(),
        });
        let earliest = story.created.map_or(created, |known| known.min(created));
        changed |= story.created != Some(earliest)
            || (story.digest.is_empty() && !digest.is_empty())
            || (story.made_by.is_none() && record.made_by.is_some());
        story.created = Some(earliest);
        if story.digest.is_empty() {
            story.digest = digest;
        }
        if story.made_by.is_none() {
            story.made_by.clone_from(&record.made_by);
        }
        changed
    }

    fn image(
        &mut self,
        service: &ServiceId,
        created: Timestamp,
        digest: &str,
        reference: &str,
    ) -> bool {
        let is_full = self.images.len() >= SERVICES_MAX;
        if digest.is_empty() || (is_full && !self.images.contains_key(service)) {
            return false;
        }
        let images = self.images.entry(service.clone()).or_default();
        let known = images.iter_mut().find(|image| image.digest == digest);
        match known {
            Some(image) if image.first <= created => return false,
            Some(image) => image.first = created,
            None => images.push(ImageSeen {
                first: created,
                digest: digest.to_owned(),
                reference: reference.to_owned(),
            }),
        }
        images.sort();
        let extra = images.len().saturating_sub(IMAGES_MAX);
        images.drain(..extra);
        true
    }

    /// Takes an event; whether it says anything new.
    pub(crate) fn event(&mut self, now: Timestamp, event: &ContainerEvent) -> bool {
        if is_old(now, event.at) {
            return false;
        }
        let news = match &event.kind {
            EventKind::Created => News::Created,
            EventKind::Updated => News::Touched(Touch::Updated),
            EventKind::Stopping { .. } => News::Touched(Touch::Stopped),
            EventKind::Paused => News::Touched(Touch::Paused),
            EventKind::Died { exit_code } => News::Ended(End::Died {
                exit_code: *exit_code,
            }),
            EventKind::OutOfMemory => News::Ended(End::OutOfMemory),
            EventKind::Started
            | EventKind::Health { .. }
            | EventKind::Unpaused
            | EventKind::Renamed { .. }
            | EventKind::Removed
            | EventKind::Gap => return false,
        };
        let story = self.story(&event.container, || Story {
            service: event.service.clone(),
            node: event.node.clone(),
            name: event.name.clone(),
            created: None,
            digest: String::new(),
            made_by: None,
            touched: Vec::new(),
            ends: Vec::new(),
        });
        let changed = match news {
            News::Created => {
                let earliest = story.created.map_or(event.at, |known| known.min(event.at));
                let changed = story.created != Some(earliest);
                story.created = Some(earliest);
                changed
            }
            News::Touched(touch) => keep_newest(&mut story.touched, (event.at, touch)),
            News::Ended(end) => keep_newest(&mut story.ends, (event.at, end)),
        };
        self.trim_stories();
        changed
    }

    /// Takes a record of the journal; whether it says anything new. A plan that was only said, or refused, did nothing.
    pub(crate) fn journal(&mut self, now: Timestamp, entry: &JournalEntry) -> bool {
        let JournalEntry::Plan(entry) = entry else {
            return false;
        };
        let began = entry
            .outcomes
            .iter()
            .filter(|outcome| did_something(&outcome.result))
            .map(|outcome| outcome.began_at)
            .min();
        let Some(at) = began.filter(|at| entry.phase != Phase::Suggested && !is_old(now, *at))
        else {
            return false;
        };
        let newest = PlanEntry::clone(entry);
        match self.plans.get_mut(&entry.plan.id) {
            Some(known) if known.newest.at >= entry.at && known.at <= at => return false,
            Some(known) => {
                known.at = known.at.min(at);
                if entry.at > known.newest.at {
                    known.newest = newest;
                }
            }
            None => {
                self.plans
                    .insert(entry.plan.id.clone(), Acted { at, newest });
            }
        }
        while self.plans.len() > PLANS_MAX {
            let oldest = self.plans.iter().min_by_key(|(_, acted)| acted.at);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            self.plans.remove(&oldest);
        }
        true
    }

    fn story(&mut self, id: &ContainerId, new: impl FnOnce() -> Story) -> &mut Story {
        self.stories.entry(id.clone()).or_insert_with(new)
    }

    fn trim_stories(&mut self) {
        if self.stories.len() <= STORIES_MAX {
            return;
        }
        let mut newest: Vec<Timestamp> = self.stories.values().map(Story::newest).collect();
        newest.sort_unstable();
        // A tenth goes at once, so that this is rare.
        let kept_from = newest[newest.len() - STORIES_MAX + STORIES_MAX / 10];
        self.stories.retain(|_, story| story.newest() >= kept_from);
        while self.stories.len() > STORIES_MAX {
            // All are of one time: there is no oldest.
            self.stories.pop_last();
        }
    }

    /// Forgets what is old; whether anything was.
    pub(crate) fn forget(&mut self, now: Timestamp) -> bool {
        let before = self.stories.len() + self.plans.len();
        self.stories.retain(|_, story| !is_old(now, story.newest()));
        self.plans.retain(|_, acted| !is_old(now, acted.at));
        self.stories.len() + self.plans.len() != before
    }

    /// How much is remembered: containers, plans and services with images.
    pub(crate) fn size(&self) -> usize {
        self.stories.len() + self.plans.len() + self.images.len()
    }
}

enum News {
    Created,
    Touched(Touch),
    Ended(End),
}

impl Story {
    fn newest(&self) -> Timestamp {
        let touched = self.touched.last().map(|(at, _)| *at);
        let ended = self.ends.last().map(|(at, _)| *at);
        self.created
            .max(touched)
            .max(ended)
            .unwrap_or(Timestamp::EPOCH)
    }
}

impl Acted {
    /// The signals it answered.
    pub(crate) fn answers(&self, signal: &SignalId) -> bool {
        self.newest.plan.cause.signals.contains(signal)
    }

    /// The containers it worked on or made.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &ContainerId> {
        let made = self
            .newest
            .outcomes
            .iter()
            .filter_map(|outcome| match &outcome.result {
                OutcomeResult::Succeeded { created, .. } => created.as_ref(),
                OutcomeResult::Refused { .. }
                | OutcomeResult::Failed { .. }
                | OutcomeResult::Vanished
                | OutcomeResult::Interrupted => None,
            });
        let steps = self.newest.plan.steps.iter();
        steps.map(|step| step.action.target()).chain(made)
    }
}

fn did_something(result: &OutcomeResult) -> bool {
    match result {
        OutcomeResult::Succeeded { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Interrupted => true,
        OutcomeResult::Refused { .. } | OutcomeResult::Vanished => false,
    }
}

/// Too old to have caused anything that is still kept.
fn is_old(now: Timestamp, at: Timestamp) -> bool {
    now.since(at) > KEPT + CHANGE_WINDOW
}

fn keep_newest<T: Ord + Copy>(news: &mut Vec<(Timestamp, T)>, new: (Timestamp, T)) -> bool {
    if news.contains(&new) {
        return false;
    }
    news.push(new);
    news.sort_unstable();
    let extra = news.len().saturating_sub(NEWS_MAX);
    news.drain(..extra);
    true
}
