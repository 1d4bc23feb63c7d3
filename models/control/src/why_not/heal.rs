//! Why no container of a service is restarted.

use units::{ActionKind, ContainerState, ServiceId, SignalKind, Timestamp};

use crate::fleet::Replica;
use crate::heal::{Obstacle, actionable, is_ours, obstacle};
use crate::state::State;

use super::Reason;

pub(super) fn reasons(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let open = state.signals.open(service);
    if open.is_empty() {
        let text = "no signal about it is open";
        return vec![Reason::of(ActionKind::Restart, text)];
    }
    let mut reasons = Vec::new();
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
        if signals.is_empty() {
            continue;
        }
        if let Some((text, until)) = about(state, service, &replica, &signals, now) {
            reasons.push(Reason {
                action: Some(ActionKind::Restart),
                container: Some(replica.record.name.clone()),
                text,
                until,
            });
        }
    }
    reasons
}

type Held = (String, Option<Timestamp>);

fn about(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&units::Signal],
    now: Timestamp,
) -> Option<Held> {
    let kinds: Vec<&str> = signals.iter().map(|signal| signal.kind.as_str()).collect();
    let kinds = kinds.join(" and ");
    let for_good = |text: &str| Some((format!("{kinds}: {text}"), None));
    if !replica.record.policy.heal {
        return for_good("its label io.homeostat.heal is not true");
    }
    if signals.iter().any(|it| it.kind == SignalKind::CrashLoop) {
        return for_good("the engine restarts it already; it is left to people");
    }
    if replica.record.state != ContainerState::Running {
        return for_good(&format!("it is {}, not running", replica.record.state));
    }
    let (ready, later) = actionable(state, replica, signals, now);
    if ready.is_empty() {
        return match later {
            Some(until) => Some((format!("{kinds}: not confirmed yet"), Some(until))),
            None => for_good(
                "not grave enough for a restart, or told of a process that was replaced since",
            ),
        };
    }
    match obstacle(state, service, replica, &ready, now) {
        // Plans of the service that run are a reason of their own.
        Obstacle::None | Obstacle::Busy => None,
        Obstacle::Until(until) => Some((
            format!("{kinds}: it, or what is beside it, changed a short time ago"),
            Some(until),
        )),
        Obstacle::Said(why, until) => Some((format!("{kinds}: {why}"), Some(until))),
    }
}
