//! Whom a container needs: the services its compose file names in `depends_on`, and the container whose network it shares.
//!
//! A container that is sick because of what it needs is not cured by a restart, and one that is restarted before it comes up against
//! the same. So what is needed is healed first, and only what is still sick once that has served again for [`SETTLES`] is healed too.
//! Who waits for one that waits for itself would wait for ever: such an edge holds nobody back, and no edge does for longer than
//! [`WAIT_MAX`].

use std::collections::BTreeSet;
use std::time::Duration;

use units::{
    ActionKind, ContainerId, ContainerState, HealthState, Phase, ServiceId, Severity, Timestamp,
};

use crate::fleet::{Fleet, Replica};
use crate::heal::is_ours;
use crate::idle;
use crate::state::State;

/// What was needed serves again: whoever needs it has so long to find back by itself.
const SETTLES: Duration = Duration::from_secs(30);
/// A signal waits no longer than this for what its container needs: people may leave that as it is, or it may only look sick.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// What is needed is looked at this often meanwhile.
const RECHECK: Duration = Duration::from_secs(1);
/// Services named by one container; further ones are not waited for.
const NEEDED_MAX: usize = 64;
/// Containers looked at to find whether a need leads back; with more, it is taken not to, and [`WAIT_MAX`] ends the wait.
const REACHED_MAX: usize = 256;
/// How a container says that it shares the network of another.
const SHARES: &str = "container:";

/// Something a container needs: any one of these serves.
pub(crate) struct Need<'a>(Vec<Replica<'a>>);

/// What one container needs, as far as it is known anywhere.
pub(crate) fn needs<'a>(fleet: &'a Fleet, replica: &Replica<'a>) -> Vec<Need<'a>> {
    let mut found: Vec<Need<'a>> = Vec::new();
    found.extend(owner(fleet, replica).map(|owner| Need(vec![owner])));
    let spec = replica.record.spec.as_deref();
    let Some(compose) = spec.and_then(|spec| spec.compose.as_ref()) else {
        return found;
    };
    for service in compose.depends_on.iter().take(NEEDED_MAX) {
        let mut members = members(fleet, &compose.project, service);
        members.retain(|member| member.record.id != replica.record.id);
        if !members.is_empty() {
            found.push(Need(members));
        }
    }
    found
}

fn members<'a>(fleet: &'a Fleet, project: &str, service: &str) -> Vec<Replica<'a>> {
    let is_member = |replica: &Replica<'_>| {
        let spec = replica.record.spec.as_deref();
        let compose = spec.and_then(|spec| spec.compose.as_ref());
        compose.is_some_and(|compose| compose.project == project && compose.service == service)
    };
    // Its name in compose, unless a label gave it another.
    let usual = ServiceId::new(format!("{project}/{service}"));
    let mut found = fleet.replicas(&usual);
    found.retain(is_member);
    if found.is_empty() {
        found.extend(fleet.everywhere().filter(is_member));
    }
    found
}

/// The container whose network this one shares, when its node holds it.
pub(crate) fn owner<'a>(fleet: &'a Fleet, replica: &Replica<'a>) -> Option<Replica<'a>> {
    let spec = replica.record.spec.as_deref()?;
    let named = spec.network_mode.strip_prefix(SHARES)?;
    let mut beside = fleet.on_node(replica.node);
    beside.find(|other| {
        let record = other.record;
        let is_named = record.id.as_str() == named || record.name.as_str() == named;
        is_named && record.id != replica.record.id
    })
}

/// The containers that share the network of this one.
pub(crate) fn sharers<'a>(fleet: &'a Fleet, replica: &Replica<'a>) -> Vec<Replica<'a>> {
    let mut beside: Vec<Replica<'a>> = fleet.on_node(replica.node).collect();
    beside.retain(|other| {
        let owner = owner(fleet, other);
        owner.is_some_and(|owner| owner.record.id == replica.record.id)
    });
    beside
}

/// What a container that has been sick since `opened` is to wait for, in words, and when to look again.
pub(crate) fn waits_for(
    state: &State,
    replica: &Replica<'_>,
    opened: Timestamp,
    now: Timestamp,
) -> Option<(String, Timestamp)> {
    let end = opened + WAIT_MAX;
    if now >= end {
        return None;
    }
    let mut held: Option<(String, Timestamp)> = None;
    for need in needs(&state.fleet, replica) {
        let why = match standing(state, &need, now) {
            Standing::Serves => continue,
            Standing::Settles { since, until } => {
                let name = since.record.name.as_str();
                let text = format!(
                    "{name}, which it needs, serves again, and it has {} s to find back by itself",
                    SETTLES.as_secs()
                );
                (text, until.min(end))
            }
            Standing::Sick(why) => {
                let text = format!(
                    "{why}, and it needs that: what is needed comes first, for {} min at the most",
                    WAIT_MAX.as_secs() / 60
                );
                (text, (now + RECHECK).min(end))
            }
        };
        if leads_back(&state.fleet, &need, &replica.record.id) {
            continue;
        }
        held = held.or(Some(why));
    }
    held
}

/// Whether what is needed needs, itself or through others, the container that needs it.
fn leads_back(fleet: &Fleet, need: &Need<'_>, to: &ContainerId) -> bool {
    let mut seen: BTreeSet<&ContainerId> = BTreeSet::new();
    let mut ahead: Vec<Replica<'_>> = need.0.clone();
    while let Some(next) = ahead.pop() {
        if next.record.id == *to {
            return true;
        }
        if seen.len() >= REACHED_MAX {
            return false;
        }
        if seen.insert(&next.record.id) {
            let further = needs(fleet, &next);
            ahead.extend(further.into_iter().flat_map(|need| need.0));
        }
    }
    false
}

enum Standing<'a> {
    Serves,
    /// It came to serve a moment ago.
    Settles {
        since: Replica<'a>,
        until: Timestamp,
    },
    /// In words.
    Sick(String),
}

/// How what is needed stands: as well as the best of its containers.
fn standing<'a>(state: &State, need: &Need<'a>, now: Timestamp) -> Standing<'a> {
    let mut best: Option<Standing<'a>> = None;
    for replica in &need.0 {
        let one = match sickness(state, replica) {
            Some(why) => Standing::Sick(why),
            None => match serves_since(state, replica).map(|since| since + SETTLES) {
                Some(until) if until > now => Standing::Settles {
                    since: *replica,
                    until,
                },
                Some(_) | None => return Standing::Serves,
            },
        };
        best = match (best, one) {
            (None, one) => Some(one),
            (Some(Standing::Settles { since, until }), Standing::Settles { until: other, .. })
                if until <= other =>
            {
                Some(Standing::Settles { since, until })
            }
            (Some(Standing::Sick(_)), one @ Standing::Settles { .. }) => Some(one),
            (Some(Standing::Sick(why)), Standing::Sick(_)) => Some(Standing::Sick(why)),
            (Some(known), Standing::Sick(_)) => Some(known),
            (Some(_), one) => Some(one),
        };
    }
    best.unwrap_or(Standing::Serves)
}

/// What is wrong with a container that others need, in words; nothing when it serves or has done its work.
pub(crate) fn sickness(state: &State, replica: &Replica<'_>) -> Option<String> {
    let record = replica.record;
    let name = &record.name;
    let healed = state.plans.active().any(|entry| {
        let heals = match entry.plan.kind {
            ActionKind::Restart | ActionKind::Recreate => true,
            ActionKind::UpdateLimits
            | ActionKind::CreateReplica
            | ActionKind::RemoveReplica
            | ActionKind::PullImage
            | ActionKind::Stop
            | ActionKind::Export
            | ActionKind::Isolate
            | ActionKind::Rejoin => false,
        };
        let mut steps = entry.plan.steps.iter();
        heals
            && entry.phase == Phase::Decided
            && steps.any(|step| *step.action.target() == record.id)
    });
    if healed {
        return Some(format!("{name} is being healed"));
    }
    match record.state {
        ContainerState::Running => {}
        // A job that others wait for, such as a migration, has done its work.
        ContainerState::Exited if record.exit_code == Some(0) => return None,
        // Nobody asks for it; it starts when somebody does.
        ContainerState::Exited if idle::rests(state, replica).is_some() => return None,
        ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Restarting
        | ContainerState::Exited
        | ContainerState::Dead => return Some(format!("{name} is {}", record.state)),
    }
    if record.is_isolated() {
        return Some(format!("{name} is isolated"));
    }
    match record.health {
        HealthState::None | HealthState::Healthy => {}
        HealthState::Starting | HealthState::Unhealthy => {
            return Some(format!("{name} is {}", record.health));
        }
    }
    let open = state.signals.open(&record.service);
    let signal = open.iter().find(|signal| {
        signal.subject.container.as_ref() == Some(&record.id)
            && is_ours(signal.kind)
            && signal.severity != Severity::Info
    });
    signal.map(|signal| format!("{} of {name} is open", signal.kind))
}

/// Since when a container that is not sick serves: its start, or the end of its last sickness.
fn serves_since(state: &State, replica: &Replica<'_>) -> Option<Timestamp> {
    let record = replica.record;
    let started = record.started_at;
    let started = started.map(|at| state.fleet.here(replica.node, at));
    let over = state
        .signals
        .last_over(&record.service, &record.id, |signal| is_ours(signal.kind));
    started.max(over)
}
