//! What waits for one sink, and what that sink has been told.
//!
//! A lane is first in, first out with one delivery at a time, so a resolve never overtakes its trigger. What is
//! overtaken by events while it waits is merged: a newer state of a condition replaces the older one, and a
//! condition that opened and ended untold is not told at all. A resolve whose trigger was never delivered is
//! dropped with it. All of that is counted by the caller.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bus::TopicPartition;
use units::{Severity, Timestamp};

use crate::notice::{Change, ConditionId, Notice};
use crate::progress::Ticket;

/// So many notices wait for a sink. At the bound one makes room: the oldest plan, else the oldest opening or
/// change, else the oldest resolve, since a lost resolve leaves an incident open.
pub(crate) const LANE_BOUND: usize = 256;
/// When so many wait, a sink that takes digests gets several in one message.
pub(crate) const DIGEST_FROM: usize = 5;
/// A digest holds at most so many.
pub(crate) const MAX_DIGEST: usize = 20;
/// So many conditions are remembered as told; beyond it the oldest is forgotten, and its resolve is told by its
/// severity alone.
const MAX_STANDINGS: usize = 20_000;

/// Which notices a sink wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Conditions below it are not told.
    pub(crate) min_severity: Severity,
    /// Whether ends of conditions are told.
    pub(crate) resolved: Wanted,
    /// Whether plans and their verdicts are told.
    pub(crate) plans: Wanted,
}

/// Told or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    No,
}

/// Why a notice was not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suppression {
    /// Below the sink's severity, or a kind it does not want.
    NotWanted,
    /// A newer state took its place while it waited.
    Superseded,
    /// It opened and ended while it waited.
    EndedUntold,
    /// Its trigger was never delivered.
    TriggerUndelivered,
    /// The lane was full.
    Overflow,
}

impl Suppression {
    /// A word for metrics.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Suppression::NotWanted => "not_wanted",
            Suppression::Superseded => "superseded",
            Suppression::EndedUntold => "ended_untold",
            Suppression::TriggerUndelivered => "trigger_undelivered",
            Suppression::Overflow => "overflow",
        }
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The sink took it.
    Delivered,
    /// Given up, and some attempt may have arrived all the same.
    MayHaveArrived,
    /// Given up, and no attempt arrived.
    NeverArrived,
}

/// Where a notice comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Its record was written since this process reads the partition: nobody else has told it.
    Fresh,
    /// Its record was there before: a process that was killed may have told it without saying so. Such an opening is
    /// never taken for untold, or its incident would stay open for good.
    Replayed,
}

/// What is known of a condition that is not told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recalled {
    /// People were told.
    Told,
    /// Nobody was, and it is too old to begin.
    Untold,
}

/// A notice on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) notice: Notice,
    pub(crate) queued: Instant,
    pub(crate) queued_at: Timestamp,
    origin: Origin,
    tickets: Vec<Ticket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its opening waits or is being delivered; goes to `Told` or `Untold`.
    Waiting,
    /// The sink knows of it.
    Told,
    /// The sink does not: the delivery was given up. Goes to `Waiting` with the next change.
    Untold,
}

/// The state of one sink.
#[derive(Debug)]
pub(crate) struct Lane {
    rules: Rules,
    queue: VecDeque<Entry>,
    standings: HashMap<ConditionId, (Standing, TopicPartition)>,
    order: VecDeque<ConditionId>,
}

impl Lane {
    pub(crate) fn new(rules: Rules) -> Self {
        Lane {
            rules,
            queue: VecDeque::new(),
            standings: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes a notice in, and says what is not going to be told because of it.
    pub(crate) fn offer(
        &mut self,
        notice: Notice,
        ticket: Ticket,
        origin: Origin,
        now: (Instant, Timestamp),
    ) -> Vec<Suppression> {
        let entry = Entry {
            notice,
            queued: now.0,
            queued_at: now.1,
            origin,
            tickets: vec![ticket],
        };
        let change = match &entry.notice {
            Notice::Condition { change, .. } => Some(*change),
            Notice::Plan(_) | Notice::Test { .. } => None,
        };
        match change {
            None if self.rules.plans == Wanted::No => suppress(entry, Suppression::NotWanted),
            None => self.push(entry),
            Some(Change::Opened | Change::Changed) => self.offer_state(entry),
            Some(Change::Resolved) => self.offer_resolve(entry),
        }
    }

    /// Notes a condition from before: that an earlier run, or another member, has told, or that is too old to tell.
    pub(crate) fn recall(&mut self, notice: &Notice, home: &TopicPartition, recalled: Recalled) {
        let Notice::Condition { change, condition } = notice else {
            return;
        };
        let id = condition.id();
        match change {
            Change::Opened | Change::Changed => {
                let standing = match recalled {
                    Recalled::Told => Standing::Told,
                    Recalled::Untold => Standing::Untold,
                };
                if condition.severity() >= self.rules.min_severity {
                    self.stand(id, standing, home.clone());
                }
            }
            Change::Resolved => {
                self.standings.remove(&id);
            }
        }
    }

    /// The next notice to deliver. Whoever takes it calls [`Lane::settle`] for it before the next delivery.
    pub(crate) fn take(&mut self) -> (Option<Entry>, Vec<Suppression>) {
        let mut suppressed = Vec::new();
        while let Some(mut entry) = self.queue.pop_front() {
            let standing = self.standing_of(&entry);
            if let Notice::Condition { change, condition } = &mut entry.notice {
                match (*change, standing) {
                    (Change::Resolved, Some(Standing::Untold)) => {
                        self.standings.remove(&condition.id());
                        suppressed.extend(suppress(entry, Suppression::TriggerUndelivered));
                        continue;
                    }
                    (Change::Changed, Some(Standing::Untold) | None) => {
                        *change = Change::Opened;
                        let (id, home) = (condition.id(), entry.tickets.first().map(Ticket::home));
                        if let Some(home) = home {
                            self.stand(id, Standing::Waiting, home);
                        }
                    }
                    (Change::Opened | Change::Changed | Change::Resolved, _) => {}
                }
            }
            return (Some(entry), suppressed);
        }
        (None, suppressed)
    }

    /// As [`Lane::take`], and when at least [`DIGEST_FROM`] wait, up to [`MAX_DIGEST`] at once.
    pub(crate) fn take_digest(&mut self) -> (Vec<Entry>, Vec<Suppression>) {
        let most = match self.queue.len() {
            0..DIGEST_FROM => 1,
            _ => MAX_DIGEST,
        };
        let mut entries = Vec::new();
        let mut suppressed = Vec::new();
        while entries.len() < most {
            let (entry, more) = self.take();
            suppressed.extend(more);
            let Some(entry) = entry else { break };
            entries.push(entry);
        }
        (entries, suppressed)
    }

    /// Notes how a delivery ended.
    pub(crate) fn settle(&mut self, entry: Entry, settlement: Settlement) {
        if let Notice::Condition { change, condition } = &entry.notice {
            let id = condition.id();
            match (change, settlement) {
                (Change::Resolved, _) => {
                    self.standings.remove(&id);
                }
                (Change::Opened, Settlement::NeverArrived) => {
                    self.restand(&id, undelivered(entry.origin));
                }
                (Change::Opened, Settlement::Delivered | Settlement::MayHaveArrived) => {
                    self.restand(&id, Standing::Told);
                }
                (Change::Changed, _) => {}
            }
        }
        for ticket in entry.tickets {
            ticket.settle();
        }
    }

    /// Forgets what came from partitions that went to another member.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition]) {
        self.queue.retain(|entry| {
            entry
                .tickets
                .iter()
                .all(|it| !partitions.contains(&it.home()))
        });
        self.standings
            .retain(|_, (_, home)| !partitions.contains(home));
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Since when the oldest waits.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.queue.front().map(|entry| entry.queued_at)
    }

    fn offer_state(&mut self, mut entry: Entry) -> Vec<Suppression> {
        let Notice::Condition { change, condition } = &mut entry.notice else {
            return Vec::new();
        };
        let id = condition.id();
        match self.standings.get(&id).map(|(standing, _)| *standing) {
            Some(Standing::Waiting | Standing::Told) => {
                *change = Change::Changed;
                self.merge_or_push(&id, entry)
            }
            Some(Standing::Untold) | None if condition.severity() < self.rules.min_severity => {
                suppress(entry, Suppression::NotWanted)
            }
            Some(Standing::Untold) | None => {
                *change = Change::Opened;
                if let Some(home) = entry.tickets.first().map(Ticket::home) {
                    self.stand(id, Standing::Waiting, home);
                }
                self.push(entry)
            }
        }
    }

    /// The newest state takes the place of one that waits, and that one's place in the line.
    fn merge_or_push(&mut self, id: &ConditionId, entry: Entry) -> Vec<Suppression> {
        let waiting = self
            .queue
            .iter_mut()
            .rev()
            .find(|other| condition_id(other).as_ref() == Some(id));
        match waiting {
            Some(waiting) if change_of(waiting) != Some(Change::Resolved) => {
                if let (
                    Notice::Condition { condition, .. },
                    Notice::Condition {
                        condition: newer, ..
                    },
                ) = (&mut waiting.notice, entry.notice)
                {
                    *condition = newer;
                }
                waiting.tickets.extend(entry.tickets);
                vec![Suppression::Superseded]
            }
            Some(_) | None => self.push(entry),
        }
    }

    fn offer_resolve(&mut self, entry: Entry) -> Vec<Suppression> {
        let Notice::Condition { condition, .. } = &entry.notice else {
            return Vec::new();
        };
        let id = condition.id();
        let mut suppressed = Vec::new();
        // Nothing about it needs saying any more but that it is over; unless it may have been told before.
        let overtaken = |other: &Entry| {
            let may_be_told =
                change_of(other) == Some(Change::Opened) && other.origin == Origin::Replayed;
            condition_id(other).as_ref() == Some(&id) && !may_be_told
        };
        let (overtaken, kept): (VecDeque<_>, VecDeque<_>) =
            self.queue.drain(..).partition(overtaken);
        self.queue = kept;
        let mut untold = false;
        for other in overtaken {
            untold |= change_of(&other) == Some(Change::Opened);
            suppressed.extend(suppress(other, Suppression::Superseded));
        }
        let standing = self.standings.get(&id).map(|(standing, _)| *standing);
        let why_not = match standing {
            Some(Standing::Waiting) if untold => Some(Suppression::EndedUntold),
            Some(Standing::Untold) => Some(Suppression::TriggerUndelivered),
            None if condition.severity() < self.rules.min_severity => Some(Suppression::NotWanted),
            Some(Standing::Waiting | Standing::Told) | None => match self.rules.resolved {
                Wanted::Yes => None,
                Wanted::No => Some(Suppression::NotWanted),
            },
        };
        match why_not {
            Some(reason) => {
                self.standings.remove(&id);
                suppressed.extend(suppress(entry, reason));
            }
            None => suppressed.extend(self.push(entry)),
        }
        suppressed
    }

    fn push(&mut self, entry: Entry) -> Vec<Suppression> {
        let mut suppressed = Vec::new();
        if self.queue.len() >= LANE_BOUND
            && let Some(victim) = self.victim().and_then(|index| self.queue.remove(index))
        {
            if let (Some(Change::Opened), Some(id)) = (change_of(&victim), condition_id(&victim)) {
                self.restand(&id, undelivered(victim.origin));
            }
            suppressed.extend(suppress(victim, Suppression::Overflow));
        }
        self.queue.push_back(entry);
        suppressed
    }

    fn victim(&self) -> Option<usize> {
        let oldest = |wanted: fn(Option<Change>) -> bool| {
            self.queue.iter().position(|entry| wanted(change_of(entry)))
        };
        oldest(|change| change.is_none())
            .or_else(|| oldest(|change| change != Some(Change::Resolved)))
            .or_else(|| oldest(|_| true))
    }

    fn standing_of(&self, entry: &Entry) -> Option<Standing> {
        let id = condition_id(entry)?;
        self.standings.get(&id).map(|(standing, _)| *standing)
    }

    fn restand(&mut self, id: &ConditionId, standing: Standing) {
        if let Some((now, _)) = self.standings.get_mut(id) {
            *now = standing;
        }
    }

    fn stand(&mut self, id: ConditionId, standing: Standing, home: TopicPartition) {
        if self
            .standings
            .insert(id.clone(), (standing, home))
            .is_none()
        {
            self.order.push_back(id);
        }
        while self.standings.len() > MAX_STANDINGS
            && let Some(oldest) = self.order.pop_front()
        {
            self.standings.remove(&oldest);
        }
        if self.order.len() > 2 * MAX_STANDINGS {
            self.order.retain(|id| self.standings.contains_key(id));
        }
    }
}

/// What an opening that was not delivered leaves behind.
const fn undelivered(origin: Origin) -> Standing {
    match origin {
        Origin::Fresh => Standing::Untold,
        Origin::Replayed => Standing::Told,
    }
}

fn suppress(entry: Entry, why: Suppression) -> Vec<Suppression> {
    for ticket in entry.tickets {
        ticket.settle();
    }
    vec![why]
}

fn condition_id(entry: &Entry) -> Option<ConditionId> {
    match &entry.notice {
        Notice::Condition { condition, .. } => Some(condition.id()),
        Notice::Plan(_) | Notice::Test { .. } => None,
    }
}

fn change_of(entry: &Entry) -> Option<Change> {
    match &entry.notice {
        Notice::Condition { change, .. } => Some(*change),
        Notice::Plan(_) | Notice::Test { .. } => None,
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
