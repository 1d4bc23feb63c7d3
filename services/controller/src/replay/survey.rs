//! The first reading of a recording: what was done, and where the inventory has holes.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::Record;
use control::Event;
use units::{
    Action, ContainerEvent, ContainerId, JournalEntry, NodeId, NodeInventory, Outcome,
    OutcomeResult, Phase, Plan, PlanEntry, PlanId, ServiceId, Timestamp,
};
use wire::topic;

use super::groups::Groups;
use super::{Part, report::PutAside};
use crate::sources::{Source, Told};

/// Plans of the recording that are remembered. Later ones are taken as things that happened by themselves, and counted.
const PLANS_MAX: usize = 200_000;
/// Holes of the inventory that are filled. Later ones stay: nothing is decided about what nobody tells of.
const FILLS_MAX: usize = 200_000;
/// Schemas that are told apart among what was put aside; of more, only how many records.
const ASIDE_MAX: usize = 64;
/// A node that was not heard for longer than this was silent, or what it told is gone.
const HEARD: Duration = Duration::from_secs(8);
/// The clocks of a node and of the controller may differ by this much.
const SLACK: Duration = Duration::from_secs(5);
/// A step that began just before its deadline may take this long.
const LATE: Duration = Duration::from_secs(30);

/// A plan that was carried out, as recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recorded {
    pub(super) plan: Plan,
    /// What became of its steps, and when that was heard.
    pub(super) outcomes: Vec<(Timestamp, Outcome)>,
}

/// A time in which a node's state was told, and is not in the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) node: NodeId,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// What the whole recording holds.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Plans made within it that were carried out.
    pub(super) plans: BTreeMap<PlanId, Recorded>,
    by_service: BTreeMap<ServiceId, Vec<PlanId>>,
    /// Which plan removed a container.
    removals: BTreeMap<ContainerId, PlanId>,
    pub(super) fills: Vec<Fill>,
    /// What nodes told first, of those that told nothing before the recording began.
    pub(super) first: BTreeMap<NodeId, NodeInventory>,
    /// When the first record within the recording came, and the last.
    pub(super) heard: Option<(Timestamp, Timestamp)>,
    pub(super) records: BTreeMap<String, u64>,
    pub(super) put_aside: Vec<PutAside>,
    heartbeats: BTreeMap<NodeId, Timestamp>,
    holes: Holes,
}

/// Where offsets of the inventory are missing: compaction took those records away.
#[derive(Debug, Default)]
struct Holes {
    next_offset: BTreeMap<u32, u64>,
    /// The time of the last record before which one is missing.
    last: Option<Timestamp>,
}

impl Survey {
    pub(super) fn take<E>(
        mut groups: Groups<impl Iterator<Item = Result<Record, E>>>,
        sources: &[Source],
        from: Timestamp,
    ) -> Result<Survey, E> {
        let mut survey = Survey::default();
        while let Some((now, group)) = groups.next()? {
            if now >= from {
                let first = survey.heard.map_or(now, |(first, _)| first);
                survey.heard = Some((first, now));
            }
            for record in group {
                survey.record(&record, sources, from, now);
            }
        }
        for (topic, count) in groups.counts {
            survey.records.insert(topic.to_string(), count);
        }
        survey.index();
        Ok(survey)
    }

    fn record(&mut self, record: &Record, sources: &[Source], from: Timestamp, now: Timestamp) {
        if &*record.position.topic == topic::INVENTORY {
            self.holes.see(record, now);
        }
        let Some(source) = sources
            .iter()
            .find(|source| source.topic == &*record.position.topic)
        else {
            return;
        };
        match source.decode(record) {
            Ok(Told::Event(Event::Journal(entry))) => self.entry(*entry, from, now),
            Ok(Told::Event(Event::Outcome(outcome))) => self.outcome(*outcome, now),
            Ok(Told::Event(Event::Inventory(inventory))) => self.inventory(*inventory, from, now),
            Ok(Told::Event(
                Event::Signal(_)
                | Event::Forecast(_)
                | Event::Container(_)
                | Event::Heartbeat(_)
                | Event::Export(_)
                | Event::ExportGone(_)
                | Event::NodeRemoved(_)
                | Event::Recovered
                | Event::Leading(_)
                | Event::Following
                | Event::Tick,
            ))
            | Ok(Told::Claim(_) | Told::Nothing) => {}
            Err(error) => self.aside(&error),
        }
    }

    fn aside(&mut self, error: &wire::DecodeError) {
        let reason = error.problem.reason();
        let known = self
            .put_aside
            .iter()
            .position(|it| (it.schema.as_str(), it.reason) == (&error.schema, reason));
        if let Some(known) = known {
            self.put_aside[known].records += 1;
            return;
        }
        let (schema, reason) = match self.put_aside.len() < ASIDE_MAX {
            true => (error.schema.clone(), reason),
            false => ("others".to_owned(), "more schemas than are told apart"),
        };
        self.put_aside.push(PutAside {
            topic: error.topic.clone(),
            schema,
            reason,
            records: 1,
        });
    }

    fn entry(&mut self, entry: JournalEntry, from: Timestamp, now: Timestamp) {
        let JournalEntry::Plan(entry) = entry else {
            return;
        };
        let PlanEntry {
            plan,
            phase,
            outcomes,
            ..
        } = *entry;
        if phase == Phase::Suggested || plan.created_at < from {
            return;
        }
        if self.plans.len() >= PLANS_MAX && !self.plans.contains_key(&plan.id) {
            return;
        }
        let id = plan.id.clone();
        self.plans.entry(id).or_insert_with(|| Recorded {
            plan,
            outcomes: Vec::new(),
        });
        for outcome in outcomes {
            self.outcome(outcome, now);
        }
    }

    fn outcome(&mut self, outcome: Outcome, now: Timestamp) {
        if let Some(recorded) = self.plans.get_mut(&outcome.plan)
            && recorded
                .outcomes
                .iter()
                .all(|(_, known)| known.command != outcome.command)
        {
            recorded.outcomes.push((now, outcome));
        }
    }

    fn inventory(&mut self, inventory: NodeInventory, from: Timestamp, now: Timestamp) {
        let node = &inventory.node;
        let before = self.heartbeats.insert(node.clone(), now);
        let since = before.unwrap_or(from).max(from);
        let gone = self
            .holes
            .last
            .is_some_and(|hole| hole > since || before.is_none());
        if before.is_none() {
            self.first.insert(node.clone(), inventory.clone());
        }
        if gone && since + HEARD < now && self.fills.len() < FILLS_MAX {
            self.fills.push(Fill {
                node: node.clone(),
                from: since,
                to: now,
            });
        }
    }

    fn index(&mut self) {
        for (id, recorded) in &self.plans {
            self.by_service
                .entry(recorded.plan.service.clone())
                .or_default()
                .push(id.clone());
            for step in &recorded.plan.steps {
                if let Action::RemoveReplica { container, .. } = &step.action {
                    self.removals.insert(container.clone(), id.clone());
                }
            }
        }
        if let Some((first, _)) = self.heard {
            for fill in &mut self.fills {
                fill.from = fill.from.max(first);
            }
        }
    }

    /// Nodes that told what they hold.
    pub(super) fn nodes(&self) -> usize {
        self.heartbeats.len()
    }

    /// The plans recorded for a service, by id.
    pub(super) fn of_service(&self, service: &ServiceId) -> impl Iterator<Item = &Recorded> {
        let ids = self.by_service.get(service).into_iter().flatten();
        ids.filter_map(|id| self.plans.get(id))
    }

    /// The recorded plan that removed a container.
    pub(super) fn remover(&self, container: &ContainerId) -> Option<&PlanId> {
        self.removals.get(container)
    }

    /// Whether an event came of a recorded plan and not of somebody else.
    pub(super) fn explains(&self, event: &ContainerEvent) -> bool {
        self.of_service(&event.service).any(|recorded| {
            let Recorded { plan, outcomes } = recorded;
            let last = outcomes.iter().map(|(_, outcome)| outcome.at).max();
            let end = match last {
                Some(at) if outcomes.len() >= plan.steps.len() => at.max(plan.created_at),
                Some(_) | None => plan.deadline + LATE,
            };
            let in_time = event.at + SLACK >= plan.created_at && event.at <= end + SLACK;
            let by_step = plan.steps.iter().any(|step| match &step.action {
                Action::CreateReplica { name, .. } => *name == event.name,
                Action::PullImage { .. } | Action::Export { .. } => false,
                Action::Recreate {
                    container, name, ..
                } => *container == event.container || *name == event.name,
                Action::Restart { container, .. }
                | Action::UpdateLimits { container, .. }
                | Action::RemoveReplica { container, .. }
                | Action::Stop { container, .. }
                | Action::Isolate { container, .. }
                | Action::Rejoin { container, .. } => *container == event.container,
            });
            in_time && (by_step || made(outcomes).any(|id| *id == event.container))
        })
    }

    /// Which part of the recording a time belongs to.
    pub(super) fn part(&self, now: Timestamp) -> Part {
        match self.heard {
            Some((first, _)) if now >= first => Part::Within,
            Some(_) | None => Part::Before,
        }
    }
}

/// The containers these outcomes tell of as made.
fn made(outcomes: &[(Timestamp, Outcome)]) -> impl Iterator<Item = &ContainerId> {
    let made = outcomes.iter().map(|(_, outcome)| &outcome.result);
    made.filter_map(|result| match result {
        OutcomeResult::Succeeded { created, .. } => created.as_ref(),
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => None,
    })
}

impl Holes {
    fn see(&mut self, record: &Record, now: Timestamp) {
        let position = &record.position;
        let next = self
            .next_offset
            .insert(position.partition, position.offset + 1);
        if position.offset > next.unwrap_or(0) {
            self.last = Some(now);
        }
    }
}
