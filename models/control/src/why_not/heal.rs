//! Why no container of a service is restarted.

use units::{ActionKind, ContainerState, ServiceId, SignalKind, Timestamp};

use crate::escalate::{self, Rung};
use crate::fleet::Replica;
use crate::further;
use crate::heal::{Obstacle, actionable, is_ours, obstacle};
use crate::reattach;
use crate::state::State;

use super::Reason;

pub(super) fn reasons(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let open = state.signals.open(service);
    let mut reasons = cut_off(state, service, now);
    reasons.extend(isolated(state, service));
    if open.is_empty() && reasons.is_empty() {
        let text = "no signal about it is open";
        return vec![Reason::of(ActionKind::Restart, text)];
    }
    for signal in open.iter().filter(|signal| !is_ours(signal.kind)) {
        let text = format!(
            "{} is open, and no restart answers that: {}",
            signal.kind, signal.reason
        );
        reasons.push(Reason::of(ActionKind::Restart, text));
    }
    for replica in state.fleet.replicas(service) {
        let signals: Vec<_> = open
            .iter()
            .copied()
            .filter(|signal| is_ours(signal.kind))
            .filter(|signal| signal.subject.container.as_ref() == Some(&replica.record.id))
            .collect();
        if signals.is_empty() || replica.record.is_isolated() {
            continue;
        }
        if let Some((action, text, until)) = about(state, service, &replica, &signals, now) {
            reasons.push(Reason {
                action: Some(action),
                container: Some(replica.record.name.clone()),
                text,
                until,
            });
        }
    }
    reasons
}

/// Containers that lost the network they share, and why they are not restarted for it.
fn cut_off(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for replica in state.fleet.replicas(service) {
        let Some(owner) = reattach::cut_off(state, &replica) else {
            continue;
        };
        let (text, until) = if replica.record.policy.heal {
            match reattach::hindrance(state, service, &replica, &owner, now) {
                Obstacle::None | Obstacle::Busy => continue,
                Obstacle::Until(until) => {
                    let text = "it lost its network, and it or its owner changed a short time ago";
                    (text.to_owned(), Some(until))
                }
                Obstacle::Waits(text, until) | Obstacle::Said(text, until) => (text, Some(until)),
            }
        } else {
            let text = "it lost its network, and its label io.homeostat.heal is not true";
            (text.to_owned(), None)
        };
        reasons.push(Reason {
            action: Some(ActionKind::Restart),
            container: Some(replica.record.name.clone()),
            text,
            until,
        });
    }
    reasons
}

/// Containers that are in none of their networks: they are people's, and how they are put back.
fn isolated(state: &State, service: &ServiceId) -> Vec<Reason> {
    let replicas = state.fleet.replicas(service).into_iter();
    let isolated = replicas.filter(|it| it.record.is_isolated());
    isolated
        .map(|replica| {
            let name = &replica.record.name;
            Reason {
                container: Some(name.clone()),
                ..Reason::of_all(format!(
                    "{name} is in none of its networks, and nothing is done about it: look at it, then put it back with `docker network connect NETWORK {name}`, or recreate or remove it"
                ))
            }
        })
        .collect()
}

type Held = (ActionKind, String, Option<Timestamp>);

/// The kinds of these signals, for people.
fn named(signals: &[&units::Signal]) -> String {
    let kinds: Vec<&str> = signals.iter().map(|signal| signal.kind.as_str()).collect();
    kinds.join(" and ")
}

fn about(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&units::Signal],
    now: Timestamp,
) -> Option<Held> {
    let kinds = named(signals);
    let restart = ActionKind::Restart;
    let for_good = |text: &str| Some((restart, format!("{kinds}: {text}"), None));
    let looping: Vec<&units::Signal> = signals
        .iter()
        .copied()
        .filter(|it| it.kind == SignalKind::CrashLoop)
        .collect();
    let policy = &replica.record.policy;
    if !policy.heal {
        return for_good("its label io.homeostat.heal is not true");
    }
    if let (Some(first), true) = (looping.first(), policy.recreate) {
        return further(state, service, replica, &[*first], now);
    }
    if !looping.is_empty() {
        return for_good(
            "the engine restarts it already; it is left to people, as its label io.homeostat.heal does not say recreate",
        );
    }
    if replica.record.state != ContainerState::Running {
        return for_good(&format!("it is {}, not running", replica.record.state));
    }
    let (ready, later) = actionable(state, replica, signals, now);
    if ready.is_empty() {
        return match later {
            Some(until) => Some((restart, format!("{kinds}: not confirmed yet"), Some(until))),
            None => for_good(
                "not grave enough for a restart, or told of a process that was replaced since",
            ),
        };
    }
    if policy.recreate && escalate::rung(state, service, replica, &ready, now) != Rung::Restart {
        return further(state, service, replica, &ready, now);
    }
    let obstacle = obstacle(state, service, replica, &ready, now);
    held(restart, &kinds, obstacle)
}

/// Why more than a restart is not done, where restarts do not help.
fn further(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&units::Signal],
    now: Timestamp,
) -> Option<Held> {
    let kinds = named(signals);
    let action = ActionKind::Recreate;
    match escalate::rung(state, service, replica, signals, now) {
        Rung::Restart => None,
        Rung::People(why) => {
            let tried = escalate::told(state, service, replica, now);
            let text = format!("{kinds}: {why}; it is left to people{tried}");
            Some((action, text, None))
        }
        Rung::RollBack(..) | Rung::Recreate(_) => {
            let obstacle = escalate::hindrance(state, service, replica, signals, now);
            held(action, &kinds, obstacle)
        }
        Rung::Move(_) => {
            let kind = ActionKind::Export;
            let obstacle = further::hindrance(state, service, replica, signals, kind, now);
            held(kind, &kinds, obstacle)
        }
        Rung::Isolate(_) => {
            let kind = ActionKind::Isolate;
            let obstacle = further::hindrance(state, service, replica, signals, kind, now);
            held(kind, &kinds, obstacle)
        }
    }
}

fn held(action: ActionKind, kinds: &str, obstacle: Obstacle) -> Option<Held> {
    match obstacle {
        // Plans of the service that run are a reason of their own.
        Obstacle::None | Obstacle::Busy => None,
        Obstacle::Until(until) => Some((
            action,
            format!("{kinds}: it, or what is beside it, changed a short time ago"),
            Some(until),
        )),
        Obstacle::Waits(why, until) | Obstacle::Said(why, until) => {
            Some((action, format!("{kinds}: {why}"), Some(until)))
        }
    }
}
