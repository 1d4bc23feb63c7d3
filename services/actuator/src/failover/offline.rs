//! Healing while this node is cut off from the log: unhealthy containers are restarted by the last policy it was given, within its
//! budgets, and told once the log hears this node again.
//!
//! The controller knows more than a node that is alone: what people do, what depends on what, what all nodes show at once. So this begins
//! late, does the one thing that cures most, one container at a time, and leaves everything else as it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bus::{From, Tailed};
use kit::backoff::{Backoff, seed_of};
use tokio::time::MissedTickBehavior;
use units::{
    Action, ActionKind, Cause, Check, ContainerId, ContainerName, Expectation, Mode, NodeId,
    OutcomeResult, Phase, Plan, PlanEntry, PlanId, Policy, ServiceId, StandingPolicy, Steady, Step,
    Timestamp,
};

use super::events::{HealedAlone, NotHealed, PolicyTaken};
use super::{Failover, is_singleton};
use crate::handler::Handler;
use crate::ledger::{LedgerError, Restarted, ended};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A node is on its own once its lease has been over for so many of its lengths: another leader, or a broker that comes back, is sooner.
const LEASES_AWAY: u32 = 9;
/// A restart that has not begun by then is given up.
const DEADLINE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);
/// After this the waits between restarts double no more.
const DOUBLINGS_MAX: u32 = 10;
/// What was done is told with each heartbeat until this node has been heard for so long: whoever leads by then has read it.
const TOLD_FOR: Duration = Duration::from_secs(300);
/// Of more than this the newest are remembered, and told.
const TOLD_MAX: usize = 32;
/// First and longest wait before the policy is asked for again.
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(30);

/// The label that says how far to go with a container.
const LABEL_MODE: &str = "io.homeostat.mode";

/// What a node needs to know when it is alone.
#[derive(Debug)]
pub(super) struct Offline(Mutex<Known>);

#[derive(Debug)]
struct Known {
    policy: Option<StandingPolicy>,
    healed: Vec<PlanEntry>,
}

impl Offline {
    pub(super) fn new(policy: Option<StandingPolicy>, healed: Vec<PlanEntry>) -> Self {
        Offline(Mutex::new(Known { policy, healed }))
    }

    /// What was done, as heartbeats carry it.
    pub(super) fn told(&self) -> Vec<PlanEntry> {
        self.with(|known| {
            let ended = known.healed.iter().filter(|it| !is_open(it));
            ended.cloned().collect()
        })
    }

    /// Takes what was begun, and gives what is to be forgotten for it: a node may be alone for weeks.
    fn begun(&self, entry: PlanEntry) -> Vec<PlanId> {
        self.with(|known| {
            known.healed.push(entry);
            let too_many = known.healed.len().saturating_sub(TOLD_MAX);
            let oldest = known.healed.drain(..too_many);
            oldest.map(|it| it.plan.id).collect()
        })
    }

    fn ended(&self, entry: PlanEntry) {
        self.with(|known| {
            let mut healed = known.healed.iter_mut();
            if let Some(begun) = healed.find(|it| it.plan.id == entry.plan.id) {
                *begun = entry;
            }
        });
    }

    fn has_open(&self) -> bool {
        self.with(|known| known.healed.iter().any(is_open))
    }

    fn policy(&self) -> Option<StandingPolicy> {
        self.with(|known| known.policy.clone())
    }

    /// Takes a policy unless a newer leader's is known. True when it was news.
    fn take(&self, policy: &StandingPolicy) -> bool {
        self.with(|known| {
            let newest = known.policy.as_ref().map(|it| (it.generation, it.at));
            let is_news = newest.is_none_or(|it| it < (policy.generation, policy.at));
            if is_news {
                known.policy = Some(policy.clone());
            }
            is_news
        })
    }

    fn has_healed(&self) -> bool {
        self.with(|known| !known.healed.is_empty())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What became of it is yet to be known.
fn is_open(entry: &PlanEntry) -> bool {
    entry.phase == Phase::Decided
}

/// Keeps the newest policy at hand, until the shutdown.
pub(super) async fn follow(handler: Arc<Handler>) {
    let Some(failover) = &handler.failover else {
        return;
    };
    let follows = async {
        let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(handler.node.as_str()));
        loop {
            // A topic that is not there, and a log that is away, are asked again; the log's own health tells what is wrong with it.
            let _ = followed(&handler, failover).await;
            tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
        }
    };
    handler.shutdown.run_until_cancelled(follows).await;
}

async fn followed(handler: &Handler, failover: &Failover) -> Result<(), bus::BusError> {
    let mut tail = handler
        .bus
        .tail(wire::topic::POLICY, From::Beginning)
        .await?;
    loop {
        let Tailed::Record(record) = tail.next().await? else {
            continue;
        };
        let Ok(policy) = wire::decode::<StandingPolicy>(&record) else {
            continue;
        };
        if failover.offline.take(&policy) {
            PolicyTaken { policy: &policy }.emit();
            written(handler, handler.ledger.put_policy(&policy).await);
        }
    }
}

/// Heals while the node is alone, until the shutdown.
pub(super) async fn heal(handler: Arc<Handler>) {
    if handler.failover.is_none() {
        return;
    }
    let shutdown = handler.shutdown.clone();
    let rounds = async {
        let mut alone = Alone::default();
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            alone.round(&handler).await;
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}

/// What is seen while the node is alone.
#[derive(Default)]
struct Alone {
    unhealthy_since: BTreeMap<ContainerId, Steady>,
    heard_since: Option<Steady>,
}

/// A container that is sick, and what it is.
struct Sick {
    container: ContainerId,
    name: ContainerName,
    service: ServiceId,
    since: Steady,
}

impl Alone {
    async fn round(&mut self, handler: &Handler) {
        let Some(failover) = &handler.failover else {
            return;
        };
        // Begun by a process before this one.
        if failover.offline.has_open()
            && let Some(healed) = written(handler, handler.ledger.healed().await)
        {
            failover.offline.with(|known| known.healed = healed);
        }
        let now = kit::steady();
        let away = failover.over_for(now);
        if away < failover.length * LEASES_AWAY {
            self.unhealthy_since.clear();
            self.told(handler, failover, away, now).await;
            return;
        }
        self.heard_since = None;
        let policy = failover.offline.policy();
        let Some(policy) = policy.filter(|it| it.max_mode >= Mode::Act) else {
            return;
        };
        // The engine tells its health itself what is wrong with it.
        let Ok(found) = handler.engine.labelled(LABEL_MODE).await else {
            return;
        };
        let sick = self.sick(&found, policy.backoff, now);
        if sick.is_empty() {
            return;
        }
        let at = kit::now();
        let restarts = handler.ledger.restarts_since(at - HOUR).await;
        let Some(restarts) = written(handler, restarts) else {
            return;
        };
        let mut allowed = sick
            .into_iter()
            .filter(|it| within(&policy, &restarts, it, at));
        if let Some(sick) = allowed.next() {
            self.unhealthy_since.remove(&sick.container);
            restart(handler, failover, &policy, &sick, (now, away)).await;
        }
    }

    /// What was done is forgotten once this node has been heard for long enough.
    async fn told(&mut self, handler: &Handler, failover: &Failover, away: Duration, now: Steady) {
        if !away.is_zero() || !failover.offline.has_healed() {
            self.heard_since = None;
            return;
        }
        let since = *self.heard_since.get_or_insert(now);
        if now.since(since) >= TOLD_FOR
            && written(handler, handler.ledger.drop_healed().await).is_some()
        {
            failover.offline.with(|known| known.healed.clear());
        }
    }

    /// Containers that have been unhealthy for so long, the longest first, and may be restarted by their labels. Their engine waited for
    /// several failed checks before it said so.
    fn sick(&mut self, found: &[ContainerSummary], least: Duration, now: Steady) -> Vec<Sick> {
        let mut sick: Vec<Sick> = found.iter().filter_map(unhealthy).collect();
        let still = |id: &ContainerId| sick.iter().any(|it| it.container == *id);
        self.unhealthy_since.retain(|id, _| still(id));
        for it in &mut sick {
            it.since = *self
                .unhealthy_since
                .entry(it.container.clone())
                .or_insert(now);
        }
        sick.retain(|it| now.since(it.since) >= least);
        sick.sort_by_key(|it| it.since);
        sick
    }
}

/// A container whose health check fails, where its labels let it be restarted.
fn unhealthy(found: &ContainerSummary) -> Option<Sick> {
    let labels = found.labels.clone().unwrap_or_default();
    let labels: BTreeMap<String, String> = labels.into_iter().collect();
    let (policy, _) = Policy::from_labels(&labels);
    let runs = found.state == Some(ContainerSummaryStateEnum::RUNNING);
    let status = found.status.as_deref().unwrap_or_default();
    let may = policy.mode == Mode::Act && policy.heal && !is_singleton(&policy);
    if !(runs && may && status.contains("(unhealthy)")) {
        return None;
    }
    let name = found.names.as_ref()?.first()?.trim_start_matches('/');
    let name = ContainerName::from(name);
    Some(Sick {
        container: ContainerId::from(found.id.as_deref()?),
        service: ServiceId::from_labels(&labels, &name),
        name,
        since: Steady::from_millis(0),
    })
}

/// Whether the budgets of a container and its service allow one more restart.
fn within(policy: &StandingPolicy, restarts: &[Restarted], sick: &Sick, now: Timestamp) -> bool {
    let own = restarts.iter().filter(|it| it.container == sick.container);
    let own: Vec<Timestamp> = own.map(|it| it.at).collect();
    let of_service = restarts.iter().filter(|it| it.service == sick.service);
    let (times, of_service) = (own.len(), of_service.count());
    if times >= policy.hourly as usize || of_service >= policy.service_hourly as usize {
        return false;
    }
    let doublings = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = policy
        .backoff
        .saturating_mul(1 << doublings.min(DOUBLINGS_MAX));
    own.into_iter()
        .max()
        .is_none_or(|last| now.since(last) >= wait)
}

/// Restarts one as a controller would have it done, and writes down what came of it.
async fn restart(
    handler: &Handler,
    failover: &Failover,
    policy: &StandingPolicy,
    sick: &Sick,
    (now, away): (Steady, Duration),
) {
    let durations = (now.since(sick.since), away);
    let plan = plan(&handler.node, policy, sick, durations, kit::now());
    let Some(command) = plan.commands().next() else {
        return;
    };
    let begun = PlanEntry {
        at: plan.created_at,
        plan,
        phase: Phase::Decided,
        outcomes: Vec::new(),
        verdict: None,
    };
    // What is not written down first is not done: nobody would be told.
    if written(handler, handler.ledger.put_healed(&begun).await).is_none() {
        return;
    }
    for plan in failover.offline.begun(begun.clone()) {
        written(handler, handler.ledger.forget_healed(plan).await);
    }
    let Some(outcome) = Box::pin(handler.outcome_of(&command)).await else {
        return;
    };
    let entry = ended(begun.plan, outcome);
    let name = &sick.name;
    match entry.outcomes.first().map(|it| &it.result) {
        Some(OutcomeResult::Succeeded { .. }) => {
            HealedAlone { plan: &entry.plan }.emit(&failover.meters);
        }
        Some(OutcomeResult::Refused { reason, .. } | OutcomeResult::Failed { error: reason }) => {
            NotHealed { name, reason }.emit();
        }
        Some(OutcomeResult::Vanished) => {
            let reason = "it was gone by then";
            NotHealed { name, reason }.emit();
        }
        Some(OutcomeResult::Interrupted) | None => {
            let reason = "nobody knows whether it was restarted: the engine or this actuator ended in the middle";
            NotHealed { name, reason }.emit();
        }
    }
    written(handler, handler.ledger.put_healed(&entry).await);
    failover.offline.ended(entry);
}

fn plan(
    node: &NodeId,
    policy: &StandingPolicy,
    sick: &Sick,
    (sick_for, away): (Duration, Duration),
    created_at: Timestamp,
) -> Plan {
    let Sick {
        container,
        name,
        service,
        ..
    } = sick;
    Plan {
        id: PlanId::of(service, &format!("restart_on_{node}"), created_at),
        generation: policy.generation,
        service: service.clone(),
        kind: ActionKind::Restart,
        mode: Mode::Act,
        created_at,
        deadline: created_at + DEADLINE,
        cause: Cause {
            signals: Vec::new(),
            reason: format!(
                "{name} had been unhealthy for {} s and node {node} cut off for {} s: its own actuator restarted it",
                sick_for.as_secs(),
                away.as_secs()
            ),
        },
        steps: vec![Step {
            node: node.clone(),
            action: Action::Restart {
                container: container.clone(),
                name: name.clone(),
                grace: policy.grace,
            },
        }],
        expected: Expectation {
            text: format!("{name} is healthy again"),
            check: Check::SignalsResolve {
                signals: Vec::new(),
            },
            within: Duration::ZERO,
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: None,
        relocation: None,
        preemption: None,
        traceparent: None,
    }
}

/// What the ledger gave, or that it is not well.
fn written<T>(handler: &Handler, answer: Result<T, LedgerError>) -> Option<T> {
    match answer {
        Ok(answer) => {
            handler.ledger_health.up();
            Some(answer)
        }
        Err(error) => {
            handler.ledger_health.down(error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use units::Generation;

    use super::*;

    const POLICY: StandingPolicy = StandingPolicy {
        generation: Generation(7),
        at: Timestamp::EPOCH,
        max_mode: Mode::Act,
        grace: Duration::from_secs(10),
        backoff: Duration::from_secs(30),
        hourly: 3,
        service_hourly: 5,
    };

    fn sick(container: &str) -> Sick {
        Sick {
            container: ContainerId::from(container),
            name: ContainerName::from("web-1"),
            service: ServiceId::from("web"),
            since: Steady::from_millis(0),
        }
    }

    fn restarted(container: &str, at_s: i64) -> Restarted {
        Restarted {
            service: ServiceId::from("web"),
            container: ContainerId::from(container),
            at: Timestamp::from_millis(at_s * 1_000),
        }
    }

    fn allowed(restarts: &[Restarted], at_s: i64) -> bool {
        let now = Timestamp::from_millis(at_s * 1_000);
        within(&POLICY, restarts, &sick("a"), now)
    }

    #[test]
    fn the_wait_doubles_and_an_hours_restarts_are_counted() {
        assert!(allowed(&[], 0));
        let one = [restarted("a", 100)];
        assert!(!allowed(&one, 129));
        assert!(allowed(&one, 130));
        let two = [restarted("a", 100), restarted("a", 130)];
        assert!(!allowed(&two, 189));
        assert!(allowed(&two, 190));
        let three = [
            restarted("a", 100),
            restarted("a", 130),
            restarted("a", 190),
        ];
        assert!(!allowed(&three, 3_000));
        // Those of others count for the service alone.
        let others: Vec<Restarted> = (0..4).map(|at| restarted("b", at)).collect();
        assert!(allowed(&others, 4));
        let others: Vec<Restarted> = (0..5).map(|at| restarted("b", at)).collect();
        assert!(!allowed(&others, 4_000));
    }

    #[test]
    fn the_newest_leaders_policy_counts() {
        let offline = Offline::new(None, Vec::new());
        let of = |generation, max_mode| StandingPolicy {
            generation: Generation(generation),
            max_mode,
            ..POLICY
        };
        assert!(offline.take(&of(7, Mode::Act)));
        assert!(!offline.take(&of(6, Mode::Observe)));
        assert!(!offline.take(&of(7, Mode::Act)), "it is known");
        assert!(offline.take(&of(8, Mode::Observe)));
        assert_eq!(offline.policy().map(|it| it.max_mode), Some(Mode::Observe));
    }

    fn summary(status: &str, labels: &[(&str, &str)]) -> ContainerSummary {
        ContainerSummary {
            id: Some("a".to_owned()),
            names: Some(vec!["/web-1".to_owned()]),
            state: Some(ContainerSummaryStateEnum::RUNNING),
            status: Some(status.to_owned()),
            labels: Some(
                labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            ),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn only_what_is_unhealthy_and_opted_in_is_healed() {
        let act = ("io.homeostat.mode", "act");
        let heal = ("io.homeostat.heal", "true");
        let sick = "Up 3 minutes (unhealthy)";
        let found = unhealthy(&summary(sick, &[act, heal])).expect("it is sick");
        assert_eq!(found.service, ServiceId::from("web-1"));
        let singleton = ("io.homeostat.singleton", "true");
        let moves = ("io.homeostat.move", "true");
        for (status, labels) in [
            ("Up 3 minutes (healthy)", vec![act, heal]),
            ("Up 3 minutes (health: starting)", vec![act, heal]),
            ("Up 3 minutes", vec![act, heal]),
            (sick, vec![heal]),
            (sick, vec![("io.homeostat.mode", "suggest"), heal]),
            (sick, vec![act, ("io.homeostat.heal", "false")]),
            (sick, vec![act, heal, singleton, moves]),
        ] {
            let found = unhealthy(&summary(status, &labels));
            assert!(found.is_none(), "{status} {labels:?}");
        }
        let mut paused = summary(sick, &[act, heal]);
        paused.state = Some(ContainerSummaryStateEnum::PAUSED);
        assert!(unhealthy(&paused).is_none());
    }

    #[test]
    fn a_node_that_is_alone_for_weeks_remembers_the_newest() {
        let offline = Offline::new(None, Vec::new());
        let mut forgotten = Vec::new();
        for number in 0..40 {
            let at = Timestamp::from_millis(number);
            let of = (Duration::ZERO, Duration::ZERO);
            let plan = plan(&NodeId::from("a"), &POLICY, &sick("a"), of, at);
            forgotten.extend(offline.begun(PlanEntry {
                at,
                plan,
                phase: Phase::Decided,
                outcomes: Vec::new(),
                verdict: None,
            }));
        }
        assert_eq!(forgotten.len(), 40 - TOLD_MAX);
        assert!(forgotten[0].as_str().ends_with("-0"), "{forgotten:?}");
        assert_eq!(offline.told(), [], "nobody knows yet what became of them");
        assert!(offline.has_open());
    }
}
