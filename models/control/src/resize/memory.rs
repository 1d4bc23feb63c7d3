//! Memory limits that are too low: something in the container was killed for want of memory, or its memory runs towards the limit.
//!
//! A limit that is raised for memory that runs away buys time, and shows whether it is a leak: it is done once for each run of the
//! process. What goes on growing then is left to a restart. Each kill calls for one raise of its own, up to the label's most.

use std::time::Duration;

use units::{
    ActionKind, Bytes, Check, Expectation, Limits, Severity, Signal, SignalKind, Timestamp,
};

use super::{Finding, Labelled, ids, step, whole_mib, within};
use crate::draft::Draft;
use crate::fleet::Replica;
use crate::state::State;

/// Clocks of nodes agree with that of this side to within so much: a kill is not answered twice for less.
const SLACK: Duration = Duration::from_secs(5);

/// Why a container gets more memory.
enum Cause<'a> {
    /// It was killed then; what is open about it may come of that.
    Killed(Timestamp, Vec<&'a Signal>),
    Growing(&'a Signal),
}

struct Raise<'a> {
    replica: &'a Replica<'a>,
    cause: Cause<'a>,
    from: Bytes,
    to: Bytes,
}

/// What raises the memory limits that are too low.
pub(super) fn raise(state: &State, labelled: &Labelled<'_>, now: Timestamp) -> Finding {
    let mut raises = Vec::new();
    let mut why = None;
    for replica in &labelled.replicas {
        let Some(cause) = cause(state, labelled, replica, now) else {
            continue;
        };
        match raised(state, replica, cause) {
            Ok(raise) => raises.push(raise),
            Err(because) => why = Some(because),
        }
    }
    if raises.is_empty() {
        let calm = "none of its containers nears its memory limit or was killed for want of memory, or its limit was raised for that already";
        return Finding::No(why.unwrap_or_else(|| calm.to_owned()));
    }
    Finding::Yes(Box::new(draft(state, labelled, &raises, now)))
}

fn cause<'a>(
    state: &'a State,
    labelled: &Labelled<'_>,
    replica: &Replica<'_>,
    now: Timestamp,
) -> Option<Cause<'a>> {
    let id = &replica.record.id;
    let open = || {
        let open = state.signals.open(labelled.service).into_iter();
        open.filter(|signal| signal.subject.container.as_ref() == Some(id))
    };
    let killed = state.ooms.last(&state.fleet, labelled.service, id);
    if let Some(at) = killed
        && at + state.config.resize.oom_within > now
        && !is_raised_since(state, labelled, replica, at)
    {
        let come_of_it = |signal: &&Signal| {
            matches!(
                signal.kind,
                SignalKind::CrashLoop | SignalKind::MemoryRunaway
            )
        };
        return Some(Cause::Killed(at, open().filter(come_of_it).collect()));
    }
    let started = replica.record.started_at;
    let growing = open().find(|signal| {
        signal.kind == SignalKind::MemoryRunaway
            // A climb far from any limit is none of its business.
            && signal.severity != Severity::Info
            && started.is_none_or(|at| at <= signal.at)
    })?;
    let run = started.map_or(Timestamp::EPOCH, |at| state.fleet.here(replica.node, at));
    (!is_raised_since(state, labelled, replica, run)).then_some(Cause::Growing(growing))
}

/// Its memory limit was changed by a plan made at or after `since`.
fn is_raised_since(
    state: &State,
    labelled: &Labelled<'_>,
    replica: &Replica<'_>,
    since: Timestamp,
) -> bool {
    let acted = state.plans.acted(labelled.service);
    let mut later = acted.filter(|entry| {
        entry.plan.kind == ActionKind::UpdateLimits && entry.plan.created_at + SLACK >= since
    });
    later.any(|entry| {
        entry.plan.steps.iter().any(|step| match &step.action {
            units::Action::UpdateLimits {
                container, limits, ..
            } => *container == replica.record.id && limits.memory.is_some(),
            units::Action::Restart { .. }
            | units::Action::Recreate { .. }
            | units::Action::CreateReplica { .. }
            | units::Action::RemoveReplica { .. }
            | units::Action::PullImage { .. }
            | units::Action::Stop { .. }
            | units::Action::Export { .. }
            | units::Action::Isolate { .. }
            | units::Action::Rejoin { .. } => false,
        })
    })
}

fn raised<'a>(
    state: &State,
    replica: &'a Replica<'a>,
    cause: Cause<'a>,
) -> Result<Raise<'a>, String> {
    let config = &state.config.resize;
    let name = &replica.record.name;
    let range = replica.record.policy.limits.and_then(|it| it.memory);
    let (Some(from), Some(range)) = (replica.record.limits.memory, range) else {
        return Err(format!(
            "{name} has no memory limit, or no range for it in its label"
        ));
    };
    let now = from.0 as f64;
    let share = now * (1.0 + config.oom_share);
    let most = match state.fleet.capacity(replica.node).memory.0 {
        0 => range.max,
        node => range.max.min(Bytes(node)),
    };
    let to = whole_mib(share.max(now + config.oom_least.0 as f64));
    let to = to.max(range.min).min(most);
    if (to.0 as f64) < now * (1.0 + config.step_least) {
        return Err(format!(
            "the memory limit of {name}, {from}, is as high as its label and its node allow"
        ));
    }
    Ok(Raise {
        replica,
        cause,
        from,
        to,
    })
}

fn draft(state: &State, labelled: &Labelled<'_>, raises: &[Raise<'_>], now: Timestamp) -> Draft {
    let config = &state.config.resize;
    let mut signals: Vec<&Signal> = Vec::new();
    let (mut reasons, mut words) = (Vec::new(), Vec::new());
    let mut killed = false;
    for raise in raises {
        let name = &raise.replica.record.name;
        match &raise.cause {
            Cause::Killed(at, open) => {
                killed = true;
                reasons.push(format!(
                    "{name} was killed for want of memory {} s ago, under a limit of {}",
                    now.since(*at).as_secs(),
                    raise.from
                ));
                signals.extend(open);
            }
            Cause::Growing(signal) => {
                reasons.push(signal.reason.clone());
                signals.push(signal);
            }
        }
        words.push(format!(
            "{name} may hold {} instead of {}",
            raise.to, raise.from
        ));
    }
    let check = match killed {
        true => Check::LimitsHold,
        false => Check::SignalsResolve {
            signals: ids(&signals),
        },
    };
    let name = &raises[0].replica.record.name;
    Draft {
        relocation: None,
        preemption: None,
        service: labelled.service.clone(),
        kind: ActionKind::UpdateLimits,
        signals: ids(&signals),
        reason: reasons.join("; "),
        steps: raises.iter().map(raise_step).collect(),
        expected: Expectation {
            text: format!(
                "{}, at once and without a restart; it is not killed for want of memory. That is done once: memory that goes on growing is a leak, and only a restart answers that; {}",
                words.join(", "),
                within(config.verdict_within)
            ),
            check,
            within: config.verdict_within,
        },
        alternatives: vec![
            format!(
                "restart {name}: it loses what it works on, and comes back under the same limit"
            ),
            format!("add a replica: it takes load, and none of the memory {name} holds"),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: signals.iter().find_map(|it| it.traceparent.clone()),
    }
}

fn raise_step(raise: &Raise<'_>) -> units::Step {
    let limits = Limits {
        cpu: None,
        memory: Some(raise.to),
    };
    step(raise.replica, limits)
}
