//! What people, deploys and other tools do to containers: while they are at it, the loop keeps its hands off.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use units::{
    Action, ContainerEvent, ContainerId, ContainerName, EventKind, NodeId, OutcomeResult,
    PlanEntry, ServiceId, Timestamp,
};

use crate::failover::Beats;
use crate::fleet::Fleet;
use crate::plans::{Plans, is_answered};

/// Changes remembered for one service; more at once only prove the same.
const TOUCHES_MAX: usize = 64;
/// The clocks of a node and of the controller may differ by this much, and an engine may tell of its work this much later.
const SLACK: Duration = Duration::from_secs(5);

/// Changes by service.
#[derive(Debug, Clone, Default)]
pub(crate) struct People(BTreeMap<ServiceId, VecDeque<Touch>>);

#[derive(Debug, Clone)]
struct Touch {
    /// By the clock of its node, which may be off.
    at: Timestamp,
    /// By the clock of this side: it was not later.
    read_at: Timestamp,
    /// When it was by the clock of this side, as far as that was known when it was read. The clock of its node may be set afterwards.
    known: Option<Timestamp>,
    node: NodeId,
    container: ContainerId,
    name: ContainerName,
}

impl Touch {
    /// When it was, by the clock of this side; the latest it can have been while nothing is known of the clock of its node.
    fn here(&self, fleet: &Fleet) -> Timestamp {
        let latest = fleet.latest_here(&self.node, self.at, self.read_at);
        self.known.map_or(latest, |known| latest.max(known))
    }

    fn is_same(&self, other: &Touch) -> bool {
        (self.at, &self.node, &self.container, &self.name)
            == (other.at, &other.node, &other.container, &other.name)
    }
}

/// A container does not do this to itself: somebody did.
fn is_touch(kind: &EventKind) -> bool {
    match kind {
        EventKind::Created
        | EventKind::Stopping { .. }
        | EventKind::Paused
        | EventKind::Unpaused
        | EventKind::Updated
        | EventKind::Renamed { .. }
        | EventKind::Removed => true,
        EventKind::Started
        | EventKind::Died { .. }
        | EventKind::OutOfMemory
        | EventKind::Health { .. }
        | EventKind::Gap => false,
    }
}

impl People {
    /// Remembers a change. Whether it was ours is asked later, because the journal may be read after the events.
    pub(crate) fn apply(
        &mut self,
        fleet: &Fleet,
        event: ContainerEvent,
        now: Timestamp,
    ) -> Option<ServiceId> {
        if !is_touch(&event.kind) {
            return None;
        }
        let touches = self.0.entry(event.service.clone()).or_default();
        let touch = Touch {
            known: fleet.known_here(&event.node, event.at, now),
            at: event.at,
            read_at: now,
            node: event.node,
            container: event.container,
            name: event.name,
        };
        if touches.iter().any(|known| known.is_same(&touch)) {
            return None;
        }
        let place = touches.partition_point(|known| known.at <= touch.at);
        touches.insert(place, touch);
        if touches.len() > TOUCHES_MAX {
            touches.pop_front();
        }
        Some(event.service)
    }

    /// When somebody else last changed something about a service, by the clock of this side.
    pub(crate) fn last(
        &self,
        plans: &Plans,
        fleet: &Fleet,
        beats: &Beats,
        service: &ServiceId,
    ) -> Option<Timestamp> {
        let touches = self.0.get(service)?;
        let theirs = touches.iter().filter(|touch| {
            let mut acted = plans.acted(service);
            !acted.any(|entry| explains(entry, touch, fleet)) && !is_fence(beats, touch)
        });
        theirs.map(|touch| touch.here(fleet)).max()
    }

    /// Forgets what no longer holds anything back.
    pub(crate) fn prune(&mut self, fleet: &Fleet, now: Timestamp, hold: Duration) {
        let before = now - (hold * 2).max(Duration::from_secs(600));
        self.0.retain(|_, touches| {
            touches.retain(|touch| touch.here(fleet) >= before);
            !touches.is_empty()
        });
    }
}

/// Its own actuator stopped it, as its node was cut off.
fn is_fence(beats: &Beats, touch: &Touch) -> bool {
    let fenced = beats.fenced_at(&touch.node, &touch.container);
    // Both are told by the clock of the node.
    fenced.is_some_and(|at| (at - SLACK..=at + LATE).contains(&touch.at))
}

/// The change came of this plan: its container, in its time.
fn explains(entry: &PlanEntry, touch: &Touch, fleet: &Fleet) -> bool {
    let plan = &entry.plan;
    let touched_at = fleet.here(&touch.node, touch.at);
    let ended = entry.outcomes.iter();
    let last = ended
        .map(|outcome| fleet.here(&outcome.node, outcome.at))
        .max();
    // A clock that was set since makes every time told before it another one: none ends later than it could.
    let latest = plan.deadline + LATE;
    let end = match last {
        Some(at) if is_answered(entry) => at.max(plan.created_at).min(latest),
        Some(_) | None => latest,
    };
    if touched_at + SLACK < plan.created_at || touched_at > end + SLACK {
        return false;
    }
    let by_step = plan.steps.iter().any(|step| match &step.action {
        Action::Restart { container, .. }
        | Action::UpdateLimits { container, .. }
        | Action::RemoveReplica { container, .. }
        | Action::Stop { container, .. }
        | Action::Isolate { container, .. }
        | Action::Rejoin { container, .. } => *container == touch.container,
        Action::CreateReplica { name, .. } => *name == touch.name,
        Action::PullImage { .. } | Action::Export { .. } => false,
        // The new one has the name of the old.
        Action::Recreate {
            container, name, ..
        } => *container == touch.container || *name == touch.name,
    });
    by_step
        || entry.outcomes.iter().any(|outcome| match &outcome.result {
            OutcomeResult::Succeeded { created, .. } => created.as_ref() == Some(&touch.container),
            OutcomeResult::Refused { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => false,
        })
}

/// A step that began just before its deadline may take this long.
pub(crate) const LATE: Duration = Duration::from_secs(30);
