//! Limits in place: raised where a container waits for its CPU limit or its memory limit is too low, lowered where it is far above
//! what is used.
//!
//! A limit raised in place takes effect at once and disturbs nobody, so it comes before a replica more, wherever it is enough. What
//! is needed comes from signals and forecasts where something is wrong, else from the decaying histograms of
//! [`units::Usage`]; the figures are those of the Kubernetes Vertical Pod Autoscaler, but that a limit is changed in the running
//! container, which that one evicts. Nothing is changed without `io.homeostat.limits`, beyond its ranges, or where no limit was set.

mod cpu;
mod judge;
mod lower;
mod memory;
mod restore;

use std::time::Duration;

use units::{
    Action, ActionKind, ContainerState, Limits, Millicores, Mode, Phase, Plan, ServiceId, Signal,
    SignalId, Step, Timestamp,
};

use crate::draft::{Decision, Draft, admit};
use crate::fleet::Replica;
use crate::ledger;
use crate::relocate;
use crate::scale::Group;
use crate::state::State;
use crate::update;

pub(crate) use judge::judged;
pub(crate) use restore::restore;

/// CPU limits are set in whole steps of this many millicores.
const CPU_STEP: u64 = 10;
const MIB: u64 = 1024 * 1024;

/// What is to be done about the limits of a service.
pub(crate) struct Resize {
    /// At most one is acted on.
    pub(crate) decisions: Vec<Decision>,
    pub(crate) load: Load,
}

/// What a change of limits means for the number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// The load is not answered by it.
    Open,
    /// Limits that are raised, or would be, answer it: no replica is needed for it.
    Answered,
}

/// What is found of one way to change limits.
pub(crate) enum Finding {
    /// It is not called for, or cannot be done: why.
    No(String),
    /// Not yet: why, and when.
    Until(String, Timestamp),
    Yes(Box<Draft>),
}

/// Which way limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// The containers of a service whose limits may be changed now.
pub(crate) struct Labelled<'a> {
    pub(crate) service: &'a ServiceId,
    /// Running, heard of lately, and labelled; oldest first.
    pub(crate) replicas: Vec<Replica<'a>>,
    /// Replicas there are, labelled or not.
    pub(crate) count: usize,
    /// The most careful of its containers' modes.
    pub(crate) mode: Mode,
}

impl<'a> Labelled<'a> {
    pub(crate) fn of(state: &'a State, service: &'a ServiceId, now: Timestamp) -> Option<Self> {
        let mut replicas = state.fleet.replicas(service);
        replicas.retain(Replica::counts);
        replicas.sort_by(|a, b| {
            (a.record.created_at, &a.record.name).cmp(&(b.record.created_at, &b.record.name))
        });
        let mode = replicas.iter().map(|it| it.record.policy.mode).min()?;
        let count = replicas.len();
        replicas.retain(|replica| {
            replica.record.state == ContainerState::Running
                && replica.record.policy.limits.is_some()
                && state.is_fresh(replica, now)
        });
        (!replicas.is_empty()).then_some(Labelled {
            service,
            replicas,
            count,
            mode,
        })
    }

    /// The share of its CPU limit a replica is to use: the label's target where it is lower than ours.
    pub(crate) fn headroom(&self, state: &State, now: Timestamp) -> f64 {
        let ours = state.config.resize.headroom;
        Group::of(state, self.service, now).map_or(ours, |group| group.target().min(ours))
    }
}

/// What to do about the limits of a service: memory first, since what lacks it is killed, then CPU; lowered only where neither is
/// wanted.
pub(crate) fn decide(state: &State, service: &ServiceId, now: Timestamp) -> Resize {
    let mut resize = Resize {
        decisions: Vec::new(),
        load: Load::Open,
    };
    let Some(labelled) = Labelled::of(state, service, now) else {
        return resize;
    };
    let allowed = labelled.mode.min(state.config.max_mode);
    // What a new image needs is not known before it has been rolled out.
    if allowed == Mode::Observe
        || update::is_running(state, service)
        || relocate::is_running(state, service, now)
    {
        return resize;
    }
    if let Some(blocked) = blocked(state, service, Way::Up, now) {
        resize.decisions.push(blocked);
        return resize;
    }
    if let Finding::Yes(draft) = memory::raise(state, &labelled, now) {
        let decision = admit(state, *draft, labelled.mode, now);
        let acted = matches!(decision, Decision::Act(_));
        resize.decisions.push(decision);
        if acted {
            return resize;
        }
    }
    if let Finding::Yes(draft) = cpu::raise(state, &labelled, now) {
        let decision = admit(state, *draft, labelled.mode, now);
        // What is not done for want of budget, or because it did not help, leaves the load to replicas.
        let by_cpu = Group::of(state, service, now).is_none_or(|group| group.metric().is_none());
        if by_cpu && (allowed == Mode::Suggest || matches!(decision, Decision::Act(_))) {
            resize.load = Load::Answered;
        }
        resize.decisions.push(decision);
    }
    if resize.decisions.is_empty() {
        resize.decisions.push(less(state, &labelled, now));
    }
    resize
}

fn less(state: &State, labelled: &Labelled<'_>, now: Timestamp) -> Decision {
    if let Some(blocked) = blocked(state, labelled.service, Way::Down, now) {
        return blocked;
    }
    match lower::lower(state, labelled, now) {
        Finding::No(_) => Decision::Nothing,
        Finding::Until(_, until) => Decision::Wait(until),
        Finding::Yes(draft) => admit(state, *draft, labelled.mode, now),
    }
}

/// What is found of each way, for whoever asks why nothing is done.
pub(crate) fn findings(state: &State, labelled: &Labelled<'_>, now: Timestamp) -> [Finding; 3] {
    [
        memory::raise(state, labelled, now),
        cpu::raise(state, labelled, now),
        lower::lower(state, labelled, now),
    ]
}

/// Whether a plan changes a CPU limit.
pub(crate) fn changes_cpu(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match &step.action {
        Action::UpdateLimits { limits, .. } => limits.cpu.is_some(),
        Action::Restart { .. }
        | Action::Recreate { .. }
        | Action::CreateReplica { .. }
        | Action::RemoveReplica { .. }
        | Action::PullImage { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => false,
    })
}

/// People, a plan of the service, or what was lost before, forbid a change of limits.
fn blocked(state: &State, service: &ServiceId, way: Way, now: Timestamp) -> Option<Decision> {
    let hold = state.hold_end(service);
    if hold > now {
        return Some(Decision::Wait(hold));
    }
    let mut active = state
        .plans
        .active()
        .filter(|entry| entry.plan.service == *service);
    let busy = active.any(|entry| {
        let restarting = entry.plan.kind == ActionKind::Restart;
        entry.phase == Phase::Decided || !restarting || way == Way::Down
    });
    if busy {
        return Some(Decision::Nothing);
    }
    let kind = ActionKind::UpdateLimits;
    let retry = ledger::retry_at(&state.plans, &state.config.ledger, service, kind);
    (retry > now).then_some(Decision::Wait(retry))
}

/// The step that gives a container these limits; absent ones stay.
fn step(replica: &Replica<'_>, limits: Limits) -> Step {
    Step {
        node: replica.node.clone(),
        action: Action::UpdateLimits {
            container: replica.record.id.clone(),
            name: replica.record.name.clone(),
            limits,
        },
    }
}

/// Up to the next whole step.
fn whole_millicores(millicores: f64) -> Millicores {
    let steps = (millicores / CPU_STEP as f64).ceil().clamp(0.0, 1e12);
    Millicores(steps as u64 * CPU_STEP)
}

/// Up to the next whole mebibyte.
fn whole_mib(bytes: f64) -> units::Bytes {
    let mib = (bytes / MIB as f64).ceil().clamp(0.0, 1e12);
    units::Bytes(mib as u64 * MIB)
}

fn ids(signals: &[&Signal]) -> Vec<SignalId> {
    signals.iter().map(|signal| signal.id.clone()).collect()
}

fn within(duration: Duration) -> String {
    format!("judged within {} s", duration.as_secs())
}
