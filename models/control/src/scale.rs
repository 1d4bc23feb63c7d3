//! How many replicas a service needs, and the plan that gives or takes some.
//!
//! The need follows from the service's whole load, not from a share per replica, so replicas that a deploy adds for a while, or that
//! do not serve yet, do not look like load. The rule is that of the Kubernetes Horizontal Pod Autoscaler (ceil(load / target), with a
//! tolerance) with two additions: the load is the one expected when a new replica would serve, never less than the one seen; and time
//! spent waiting for a CPU limit proves that the load seen is capped.
//!
//! Where an operator promises a share of seconds instead, the number comes with the forecast: found by [`crate::sizing`] where the
//! load of every second is seen.

use std::time::Duration;

use units::{
    ActionKind, ContainerState, Forecast, Millicores, Mode, Phase, ScalePolicy, ScaleTarget,
    ServiceId, Signal, SignalKind, Sizing, Timestamp,
};

use crate::config;
use crate::draft::Decision;
use crate::fleet::Replica;
use crate::grow::grow;
use crate::idle;
use crate::ledger;
use crate::loads::{Load, load_ahead, startup};
use crate::resize::changes_cpu;
use crate::shrink::{Less, shrink, wants_less};
use crate::state::State;

/// A service that may be scaled, as it stands.
pub(crate) struct Group<'a> {
    pub(crate) service: &'a ServiceId,
    pub(crate) replicas: Vec<Replica<'a>>,
    pub(crate) policy: &'a ScalePolicy,
    /// The most careful of its containers' modes.
    pub(crate) mode: Mode,
    /// Replicas that serve or will.
    pub(crate) current: u32,
    /// Replicas that ended and are likely to be started again: they make no room below the most that is allowed.
    pub(crate) returning: u32,
    /// How long a replica of it takes to serve, where a forecast does not say.
    pub(crate) startup: Duration,
}

/// An engine starts what ended again within so much, if it does; people take about as long.
const RETURNS_WITHIN: Duration = Duration::from_secs(60);

/// Where a share of seconds was promised, replicas are to be used by this share at the most; until it is known how many keep the
/// promise, by no more either.
const SLO_TARGET: f64 = 0.7;

/// How many replicas are wanted, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) current: u32,
    pub(crate) desired: u32,
}

impl<'a> Group<'a> {
    /// The service, when its oldest running container says how far it may be scaled.
    pub(crate) fn of(state: &'a State, service: &'a ServiceId, now: Timestamp) -> Option<Self> {
        let mut replicas: Vec<Replica<'a>> = state.fleet.replicas(service);
        replicas.sort_by(|a, b| {
            (a.record.created_at, &a.record.name).cmp(&(b.record.created_at, &b.record.name))
        });
        let counted: Vec<&Replica<'a>> =
            replicas.iter().filter(|replica| replica.counts()).collect();
        let policy = counted
            .iter()
            .filter(|replica| replica.record.state == ContainerState::Running)
            .find_map(|replica| replica.record.policy.scale.as_ref())?;
        let mode = counted
            .iter()
            .map(|replica| replica.record.policy.mode)
            .min()?;
        let current = u32::try_from(counted.len()).unwrap_or(u32::MAX);
        let returning = replicas.iter().filter(|it| returns(state, it, now)).count();
        Some(Group {
            service,
            replicas,
            policy,
            mode,
            current,
            returning: u32::try_from(returning).unwrap_or(u32::MAX),
            startup: state
                .loads
                .get(service)
                .and_then(Load::newest)
                .map_or(state.config.scale.startup, |forecast| {
                    startup(forecast, state.config.scale.startup)
                }),
        })
    }

    /// The most there may be of those that serve or will, while others are likely to return.
    pub(crate) fn most(&self) -> u32 {
        self.policy.max.saturating_sub(self.returning)
    }

    /// The share of their capacity that replicas are to be used by.
    pub(crate) fn target(&self) -> f64 {
        match &self.policy.target {
            ScaleTarget::Cpu(ratio) => ratio.get().max(0.01),
            ScaleTarget::Slo(_) => SLO_TARGET,
            // The label says itself what a replica is to carry.
            ScaleTarget::Metric(_) => 1.0,
        }
    }

    /// How many replicas keep what was promised, where a share of seconds was promised and enough is known to say.
    pub(crate) fn sizing(&self, forecast: &Forecast) -> Option<Sizing> {
        match &self.policy.target {
            ScaleTarget::Cpu(_) | ScaleTarget::Metric(_) => None,
            ScaleTarget::Slo(_) => forecast.sizing,
        }
    }

    /// Containers that run and are in no network: they give samples, and are no capacity.
    pub(crate) fn isolated(&self) -> u32 {
        let isolated = self
            .replicas
            .iter()
            .filter(|it| it.record.state == ContainerState::Running && it.record.is_isolated());
        u32::try_from(isolated.count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn all_serve(&self) -> bool {
        let counted = self.replicas.iter().filter(|replica| replica.counts());
        counted
            .into_iter()
            .all(|replica| replica.record.is_serving())
    }

    /// What one replica carries at the target, in millicores or in what its series is measured.
    pub(crate) fn carries(&self, capacity: Millicores) -> f64 {
        match self.metric() {
            Some(target) => target.per_replica,
            None => capacity.0 as f64 * self.target(),
        }
    }
}

pub(crate) fn returns(state: &State, replica: &Replica<'_>, now: Timestamp) -> bool {
    let record = replica.record;
    if record.is_isolated() {
        return false;
    }
    match record.state {
        ContainerState::Restarting => true,
        ContainerState::Exited => {
            let lately = record
                .finished_at
                .is_some_and(|at| state.fleet.here(replica.node, at) + RETURNS_WITHIN > now);
            // Nobody knows whether it was started since its node was last heard.
            let forgotten = replica.seen_at + state.config.breaker.node_forgotten <= now;
            lately || (!state.is_fresh(replica, now) && !forgotten)
        }
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Dead => false,
    }
}

fn replicas_for(load: f64, carries: f64) -> u32 {
    ((load / carries).ceil().clamp(1.0, 1_000_000.0)) as u32
}

/// The load seen is all that the CPU limits let through.
pub(crate) fn is_capped(forecast: &Forecast, group: &Group<'_>, config: &config::Scale) -> bool {
    let seen = forecast.replicas.saturating_sub(group.isolated());
    let carried = f64::from(seen) * group.carries(forecast.replica_capacity);
    forecast.throttled >= config.throttled && carried > 0.0 && forecast.observed >= carried
}

/// Replicas this forecast asks for. Never more than twice those there are: the next step is taken with what this one teaches.
pub(crate) fn need(forecast: &Forecast, group: &Group<'_>, config: &config::Scale) -> u32 {
    let carries = group.carries(forecast.replica_capacity);
    let mut desired = match group.sizing(forecast) {
        Some(sizing) => sizing.replicas,
        None => {
            let load = load_ahead(forecast, group.startup);
            let ratio = load / (f64::from(group.current.max(1)) * carries);
            match (ratio - 1.0).abs() <= config.tolerance {
                true => group.current,
                false => replicas_for(load, carries),
            }
        }
    };
    // Replicas to come have shown nothing yet: only when all carry load is more than they can carry being asked for.
    if group.sizing(forecast).is_none()
        && is_capped(forecast, group, config)
        && forecast.replicas.saturating_sub(group.isolated()) >= group.current
        && group.all_serve()
    {
        let demand = forecast.observed / (1.0 - forecast.throttled.clamp(0.0, 0.5));
        desired = desired
            .max(replicas_for(demand, carries))
            .max(group.current.saturating_add(1));
    }
    let most = group
        .current
        .saturating_mul(2)
        .max(group.current.saturating_add(1));
    // None is no matter of how much is asked for: an idle service is stopped, and started again, by `idle`.
    desired
        .min(most)
        .clamp(group.policy.least(), group.policy.max)
}

/// The number of replicas that enough forecasts in a row ask for, when it is more than there are.
pub(crate) fn wants_more(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    now: Timestamp,
) -> Option<u32> {
    let config = &state.config.scale;
    // Some give samples that no inventory has told of yet.
    let seen = load.newest().map_or(0, |forecast| group.seen(forecast));
    let known = group.current.saturating_add(group.returning);
    if seen > known.saturating_add(group.isolated()) {
        return None;
    }
    if group.current < group.policy.min {
        let most = group.most().min(group.policy.min);
        return (most > group.current).then_some(most);
    }
    let overloaded = !overloads(state, group.service).is_empty();
    let required = if overloaded {
        1
    } else {
        config.up_confirmations.max(1)
    };
    // What was measured while people changed the service says nothing about its load.
    let since = state.hold_end(group.service).min(now);
    let confirming = load.last(required, since);
    if confirming.len() < required as usize {
        return None;
    }
    let least = confirming
        .iter()
        .map(|forecast| need(forecast, group, config))
        .min()?
        .min(group.most());
    (least > group.current).then_some(least)
}

/// Open overload signals of a service.
pub(crate) fn overloads<'a>(state: &'a State, service: &ServiceId) -> Vec<&'a Signal> {
    let open = state.signals.open(service).into_iter();
    open.filter(|signal| signal.kind == SignalKind::Overload)
        .collect()
}

/// What to do about the number of replicas of a service.
pub(crate) fn decide(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> (Option<Wanted>, Decision) {
    let Some(group) = Group::of(state, service, now) else {
        return idle::start(state, service, now);
    };
    let Some(load) = group.load(state) else {
        return (None, Decision::Nothing);
    };
    let Some(forecast) = load.newest() else {
        return (None, Decision::Nothing);
    };
    let wanted = |desired| {
        Some(Wanted {
            current: group.current,
            desired,
        })
    };
    if forecast.at + group.stale(state) < now {
        return (wanted(group.current), Decision::Nothing);
    }
    if let Some(desired) = wants_more(state, &group, load, now) {
        return (wanted(desired), grow(state, &group, forecast, desired, now));
    }
    match wants_less(state, &group, load, forecast) {
        Less::No => match idle::stop(state, &group, load, forecast, now) {
            stop @ (Decision::Act(_) | Decision::Say(..)) => (wanted(group.current - 1), stop),
            other @ (Decision::Nothing | Decision::Wait(_)) => (wanted(group.current), other),
        },
        Less::Until(until) => (wanted(group.current), Decision::Wait(until)),
        Less::Yes { peak } => (
            wanted(group.current - 1),
            shrink(state, &group, forecast, peak, now),
        ),
    }
}

/// A plan of the service, or people, forbid a change of replicas.
pub(crate) fn is_blocked(
    state: &State,
    group: &Group<'_>,
    kind: ActionKind,
    now: Timestamp,
) -> Option<Decision> {
    let hold = state.hold_end(group.service);
    if hold > now {
        return Some(Decision::Wait(hold));
    }
    let mut active = state
        .plans
        .active()
        .filter(|entry| entry.plan.service == *group.service);
    let busy = active.any(|entry| {
        let is_beside = match entry.plan.kind {
            ActionKind::Restart | ActionKind::PullImage | ActionKind::Export => true,
            // What more CPU does for the load is waited for; more memory does nothing for it.
            ActionKind::UpdateLimits => !changes_cpu(&entry.plan),
            ActionKind::Recreate
            | ActionKind::CreateReplica
            | ActionKind::RemoveReplica
            | ActionKind::Stop
            | ActionKind::Isolate
            | ActionKind::Rejoin => false,
        };
        // The containers of an update are watched while the load goes its way.
        let is_beside = is_beside || entry.plan.update.is_some();
        let is_out = entry.phase == Phase::Decided && entry.plan.kind.touches_containers();
        let is_less = matches!(kind, ActionKind::RemoveReplica | ActionKind::Stop);
        is_out || !is_beside || is_less
    });
    if busy {
        return Some(Decision::Nothing);
    }
    let retry = ledger::retry_at(&state.plans, &state.config.ledger, group.service, kind);
    (retry > now).then_some(Decision::Wait(retry))
}
