//! What the journal says of the newest order of a service: everything that is known of how far it has come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    ActionKind, Image, ImageChange, NodeId, OutcomeResult, Phase, PlanEntry, PlanId, ServiceId,
    Timestamp, Update,
};

use crate::came::{Came, came, settles_at, void};
use crate::fleet::Replica;
use crate::images::image_of;
use crate::ledger::doubled;
use crate::plans::outcome_of;
use crate::state::State;

/// Steps in a row that came to nothing, and were no failure either, before the order is given up.
const VOIDS_MAX: usize = 5;

/// The newest order of a service, and its plans.
pub(crate) struct Course<'a> {
    pub(crate) order: &'a Update,
    /// What was done for it, earliest first.
    pub(crate) own: Vec<&'a PlanEntry>,
    /// The same, after what was done for the orders it took the place of before they were over.
    pub(crate) chain: Vec<&'a PlanEntry>,
    /// The word that it is over.
    pub(crate) over: Option<&'a PlanEntry>,
}

/// Why an order goes back, and the plan that showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) plan: Option<PlanId>,
    pub(crate) why: String,
}

impl<'a> Course<'a> {
    pub(crate) fn of(state: &'a State, service: &ServiceId) -> Option<Self> {
        let order = state.orders.get(service)?;
        let mut entries: Vec<(&Update, &PlanEntry)> = state
            .plans
            .of_service(service)
            .filter_map(|entry| Some((entry.plan.update.as_ref()?, entry)))
            .filter(|(of, _)| (of.at, &of.id) <= (order.at, &order.id))
            .collect();
        entries.sort_by(|(a, x), (b, y)| {
            let key = |of: &'a Update, it: &'a PlanEntry| {
                (of.at, &of.id, it.plan.created_at, &it.plan.id)
            };
            key(a, x).cmp(&key(b, y))
        });
        let ended = entries
            .iter()
            .rev()
            .find(|(of, entry)| of.id != order.id && is_end(entry));
        let after = ended.map(|(of, _)| (of.at, of.id.clone()));
        let mut course = Course {
            order,
            own: Vec::new(),
            chain: Vec::new(),
            over: None,
        };
        for (of, entry) in entries {
            if entry.phase == Phase::Suggested {
                if of.id == order.id && is_end(entry) {
                    course.over = course.over.or(Some(entry));
                }
                continue;
            }
            if after
                .as_ref()
                .is_some_and(|it| (of.at, &of.id) <= (it.0, &it.1))
            {
                continue;
            }
            if of.id == order.id {
                course.own.push(entry);
            }
            course.chain.push(entry);
        }
        Some(course)
    }

    /// Which image each node that pulled it calls by the order's name. What came after its plan was given up does not count: not all who
    /// read the journal can know of it.
    pub(crate) fn pulled(&self) -> BTreeMap<&'a NodeId, &'a Image> {
        let judged = self.own.iter().filter(|it| it.phase == Phase::Judged);
        let outcomes = judged.flat_map(|entry| &entry.outcomes);
        outcomes
            .filter_map(|outcome| match &outcome.result {
                OutcomeResult::Succeeded { image, .. } => Some((&outcome.node, image.as_ref()?)),
                OutcomeResult::Refused { .. }
                | OutcomeResult::Failed { .. }
                | OutcomeResult::Vanished
                | OutcomeResult::Interrupted => None,
            })
            .collect()
    }

    /// The plans that put another image in the place of one, forward.
    pub(crate) fn changes(&self) -> impl DoubleEndedIterator<Item = &'a PlanEntry> {
        let forward = self.chain.iter().copied();
        forward.filter(|entry| is_forward(entry) && change_of(entry).is_some())
    }

    /// One of them was found good for this order.
    pub(crate) fn is_proven(&self) -> bool {
        let mut changes = self.changes().filter(|it| is_of(it, self.order));
        changes.any(|entry| came(entry) == Came::Good)
    }

    /// Ids of the images that were put anywhere, or are to be.
    pub(crate) fn put(&self) -> BTreeSet<&'a str> {
        let put = self.changes().filter_map(change_of);
        let put = put.map(|change| change.to.id.as_str());
        let target = self.pulled();
        put.chain(target.values().map(|it| it.id.as_str()))
            .collect()
    }

    /// The image that everything ran before.
    pub(crate) fn base(&self) -> Option<&'a Image> {
        self.changes()
            .find_map(change_of)
            .map(|change| &change.from)
    }

    /// What this container is to go back to: the image of the one in whose place it was put, where that is not one that was put there
    /// either.
    pub(crate) fn home(&self, replica: &Replica<'_>) -> Option<&'a Image> {
        let change = self.changed(replica).and_then(change_of);
        let put = self.put();
        change
            .map(|change| &change.from)
            .filter(|image| !put.contains(image.id.as_str()))
            .or_else(|| self.base())
    }

    /// The last change that was meant for this container. A container keeps its name when another takes its place.
    pub(crate) fn changed(&self, replica: &Replica<'_>) -> Option<&'a PlanEntry> {
        let record = replica.record;
        let meant = |entry: &&PlanEntry| match entry.plan.steps.first() {
            None => false,
            Some(_) if entry.plan.kind == ActionKind::CreateReplica => {
                record.made_by.as_ref() == Some(&entry.plan.id)
            }
            Some(step) => step.node == *replica.node && *step.action.name() == record.name,
        };
        self.changes().rev().find(meant)
    }

    /// It runs what was put there, or was made since from one that does.
    pub(crate) fn is_ours(&self, state: &State, replica: &Replica<'_>) -> bool {
        let put = self.put();
        let image = image_of(replica);
        if !image.is_some_and(|it| put.contains(it.id.as_str())) {
            return false;
        }
        let first = self.changes().next().map(|it| it.plan.created_at);
        let made = replica.record.made_by.as_ref();
        let made = made.and_then(|id| state.plans.get(id));
        self.changed(replica).is_some()
            || made.is_some_and(|it| first.is_some_and(|first| it.plan.created_at >= first))
    }

    /// It was made beside the others.
    pub(crate) fn is_surge(&self, made_by: Option<&PlanId>) -> bool {
        let mut made = self.changes();
        made.any(|it| it.plan.kind == ActionKind::CreateReplica && Some(&it.plan.id) == made_by)
    }

    /// Why it goes back, as the journal alone tells.
    pub(crate) fn fault(&self, now: Timestamp) -> Option<Fault> {
        // What began to go back goes back, whatever else has come to be.
        let mut back = self.own.iter().filter(|entry| !is_forward(entry));
        if let Some(entry) = back.next() {
            let (plan, why) = (entry.plan.undo_of.clone(), entry.plan.cause.reason.clone());
            return Some(Fault { plan, why });
        }
        let mut voids = 0;
        for entry in self.own.iter().filter(|it| !is_removal(it)) {
            let plan = Some(entry.plan.id.clone());
            match came(entry) {
                Came::Open => {}
                Came::Good => voids = 0,
                Came::Bad(why) => return Some(Fault { plan, why }),
                Came::Void => {
                    voids += 1;
                    if voids > VOIDS_MAX {
                        let kind = entry.plan.kind;
                        let told = void(entry).map(|it| format!("; the last time {it}"));
                        let told = told.unwrap_or_default();
                        let why = format!("{kind} came to nothing {voids} times in a row{told}");
                        return Some(Fault { plan, why });
                    }
                }
            }
        }
        if let Some(why) = self.disagreement() {
            return Some(Fault { plan: None, why });
        }
        let hours = Update::VALID.as_secs() / 3_600;
        (now >= self.order.at + Update::VALID).then(|| Fault {
            plan: None,
            why: format!("it was not finished within {hours} h"),
        })
    }

    fn disagreement(&self) -> Option<String> {
        let pulled = self.pulled();
        let mut pulled = pulled.into_iter();
        let (node, image) = pulled.next()?;
        let (other, another) = pulled.find(|(_, it)| it.id != image.id)?;
        Some(format!(
            "{} is {} on node {node} and {} on node {other}; order it by its digest",
            self.order.image, image.id, another.id
        ))
    }

    /// When the next try may be made after those of these that came to nothing last.
    pub(crate) fn retry_at(
        &self,
        which: impl Fn(&PlanEntry) -> bool,
        wait: Duration,
    ) -> Option<Timestamp> {
        let tried = self.own.iter().rev().filter(|entry| which(entry));
        let failed: Vec<&&PlanEntry> = tried
            .take_while(|entry| match came(entry) {
                Came::Bad(_) | Came::Void => true,
                Came::Open | Came::Good => false,
            })
            .collect();
        let last = failed.first()?;
        let doublings = u32::try_from(failed.len() - 1).unwrap_or(u32::MAX);
        Some(last.at + doubled(wait, doublings))
    }

    /// A step that nobody answered for may still come about, and until when.
    pub(crate) fn settling(&self, now: Timestamp) -> Option<(&'a PlanEntry, Timestamp)> {
        let mut unanswered = self
            .chain
            .iter()
            .copied()
            .filter_map(|entry| Some((entry, settles_at(entry)?)));
        unanswered.find(|(_, until)| *until > now)
    }

    /// Nodes with a step that nobody answered for yet.
    pub(crate) fn unanswered(&self) -> BTreeSet<&'a NodeId> {
        let failed = self.chain.iter().filter(|it| it.phase == Phase::Failed);
        let failed = failed.filter(|it| it.plan.kind.touches_containers());
        let steps = failed.flat_map(|entry| {
            let steps = entry.plan.steps.iter().enumerate();
            steps.filter(|(index, _)| outcome_of(entry, *index).is_none())
        });
        steps.map(|(_, step)| &step.node).collect()
    }
}

/// The word that an order is over: nothing is left to be done, so it has no steps.
fn is_end(entry: &PlanEntry) -> bool {
    entry.phase == Phase::Suggested && entry.plan.steps.is_empty()
}

fn is_of(entry: &PlanEntry, order: &Update) -> bool {
    let of = entry.plan.update.as_ref();
    of.is_some_and(|of| of.id == order.id)
}

fn is_forward(entry: &PlanEntry) -> bool {
    entry.plan.undo_of.is_none()
}

/// That a container too many stays for a while longer is no reason to go back.
fn is_removal(entry: &PlanEntry) -> bool {
    entry.plan.kind == ActionKind::RemoveReplica
}

/// The change of image of a plan, if it is one.
pub(crate) fn change_of(entry: &PlanEntry) -> Option<&ImageChange> {
    let mut steps = entry.plan.steps.iter();
    steps.find_map(|step| step.action.image_change())
}
