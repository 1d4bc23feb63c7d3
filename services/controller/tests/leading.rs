//! Controllers over one log: who leads, what is written in which order, and what a killed one leaves to the next.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use bus::{Bus, From, NewRecord, Tailed};
use bytes::Bytes;
use controller::Config;
use kit::Context;
use kit::config::HumanDuration;
use tokio::task::JoinHandle;
use units::{
    Command, Confidence, ContainerId, ContainerName, ContainerRecord, ContainerState, EngineInfo,
    HealthState, JournalEntry, Limits, Mode, NodeCapacity, NodeFacts, NodeId, NodeInventory,
    Outcome, OutcomeResult, Phase, Policy, Ratio, ServiceId, Severity, Signal, SignalId,
    SignalKind, SignalPhase, Subject, Timestamp,
};
use wire::{Json, Meta, topic};

/// Generous: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn acting() -> Config {
    let mut config = Config {
        max_mode: Mode::Act,
        ..Config::default()
    };
    config.heal.verdict_within = HumanDuration::from_secs(1);
    config
}

struct Running {
    context: Context,
    task: JoinHandle<Result<(), controller::Error>>,
}

impl Running {
    fn start(bus: &Bus, name: &str) -> Running {
        let context = Context::new(bus.clone(), "controller", name);
        let task = tokio::spawn(controller::run(acting(), context.clone()));
        Running { context, task }
    }

    fn leads(&self) -> bool {
        self.context.metrics.encode().contains("homeostat_leader 1")
    }

    /// Ends it between any two of its steps, as a kill would.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn log() -> Bus {
    let bus = Bus::memory();
    bus.ensure_topics(&topic::all(1)).await.unwrap();
    bus
}

async fn write<T: Json>(bus: &Bus, value: &T) {
    bus.produce(wire::encode(value, &Meta::new("test")))
        .await
        .unwrap();
}

async fn read<T: Json>(bus: &Bus) -> Vec<(T, u64)> {
    let mut tail = bus.tail(T::TOPIC, From::Beginning).await.unwrap();
    let mut values = Vec::new();
    while let Tailed::Record(record) = tail.next().await.unwrap() {
        if let Ok(value) = wire::decode(&record) {
            values.push((value, record.position.offset));
        }
    }
    values
}

async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for: {what}");
}

fn container(name: &str) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::new(format!("id-{name}")),
        name: ContainerName::from(name),
        service: ServiceId::from(name),
        image: "image:1".to_owned(),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: Some(Timestamp::EPOCH),
        started_at: Some(Timestamp::EPOCH),
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            mode: Mode::Act,
            heal: true,
            ..Policy::default()
        },
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: None,
    }
}

async fn heartbeat(bus: &Bus) {
    let inventory = NodeInventory {
        node: NodeId::from("a"),
        at: kit::now(),
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: ["web", "db", "api", "mail", "queue"]
            .map(container)
            .to_vec(),
    };
    write(bus, &inventory).await;
}

/// A node that speaks until the guard is dropped.
struct Node(JoinHandle<()>);

impl Node {
    async fn start(bus: &Bus) -> Node {
        heartbeat(bus).await;
        let bus = bus.clone();
        Node(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                heartbeat(&bus).await;
            }
        }))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn hang(name: &str) -> Signal {
    let record = container(name);
    let subject = Subject::container(record.service, NodeId::from("a"), record.id, record.name);
    let fingerprint = subject.fingerprint(SignalKind::Hang);
    let now = kit::now();
    Signal {
        id: SignalId::of(&fingerprint, now),
        fingerprint,
        phase: SignalPhase::Open,
        kind: SignalKind::Hang,
        subject,
        severity: Severity::Critical,
        score: Ratio::saturating(0.999),
        confidence: Confidence::High,
        opened_at: now,
        at: now,
        reason: format!("{name} gets requests and does no work"),
        evidence: Vec::new(),
        traceparent: None,
    }
}

fn done(command: &Command) -> Outcome {
    Outcome {
        command: command.id.clone(),
        plan: command.plan.clone(),
        node: command.node.clone(),
        began_at: kit::now(),
        at: kit::now(),
        result: OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image: None,
        },
        traceparent: None,
        note: None,
    }
}

async fn commands(bus: &Bus) -> Vec<Command> {
    read::<Command>(bus)
        .await
        .into_iter()
        .map(|(command, _)| command)
        .collect()
}

async fn phases(bus: &Bus) -> Vec<Phase> {
    let entries = read::<JournalEntry>(bus).await.into_iter();
    entries
        .filter_map(|(entry, _)| match entry {
            JournalEntry::Plan(entry) => Some(entry.phase),
            JournalEntry::Breaker(_)
            | JournalEntry::Approval(_)
            | JournalEntry::Update(_)
            | JournalEntry::Node(_) => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_becomes_a_journaled_command_and_a_verdict() {
    let bus = log().await;
    let _node = Node::start(&bus).await;
    let controller = Running::start(&bus, "one");
    until("a leader", async || controller.leads()).await;
    let signal = hang("web");
    write(&bus, &signal).await;
    until("a command", async || !commands(&bus).await.is_empty()).await;
    let command = commands(&bus).await.remove(0);
    assert_eq!(command.generation.0, 1, "the first claim has offset zero");
    assert_eq!(command.action.to_string(), "restart web");
    assert_eq!(phases(&bus).await, [Phase::Decided]);
    write(&bus, &done(&command)).await;
    let resolved = Signal {
        phase: SignalPhase::Resolve,
        at: kit::now(),
        ..signal
    };
    write(&bus, &resolved).await;
    until("a verdict", async || {
        phases(&bus).await.contains(&Phase::Judged)
    })
    .await;
    assert_eq!(
        phases(&bus).await,
        [Phase::Decided, Phase::Executed, Phase::Judged]
    );
    let metrics = controller.context.metrics.encode();
    assert!(
        metrics.contains(r#"homeostat_verdicts_total{action="restart",verdict="helped"} 1"#),
        "{metrics}"
    );
    controller.context.shutdown.cancel();
    controller.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_leads_and_the_other_takes_over_what_it_left() {
    let bus = log().await;
    let _node = Node::start(&bus).await;
    let first = Running::start(&bus, "one");
    until("a leader", async || first.leads()).await;
    let second = Running::start(&bus, "two");
    until("one leader of two", async || {
        first.leads() != second.leads()
    })
    .await;
    write(&bus, &hang("web")).await;
    until("a command", async || !commands(&bus).await.is_empty()).await;
    let before = commands(&bus).await;
    let (leader, other) = if first.leads() {
        (first, second)
    } else {
        (second, first)
    };
    leader.kill().await;
    until("a new leader", async || other.leads()).await;
    until("the command again", async || {
        commands(&bus).await.len() > before.len()
    })
    .await;
    let after = commands(&bus).await;
    let ids: BTreeSet<_> = after.iter().map(|command| command.id.clone()).collect();
    assert_eq!(ids.len(), 1, "the same step");
    assert!(after.last().unwrap().generation > before[0].generation);
    let decided = phases(&bus)
        .await
        .into_iter()
        .filter(|phase| *phase == Phase::Decided);
    assert_eq!(decided.count(), 1, "no second plan");
    write(&bus, &done(&after[0])).await;
    until("its execution", async || {
        phases(&bus).await.contains(&Phase::Executed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_decides_once_and_loses_nothing() {
    let bus = log().await;
    let _node = Node::start(&bus).await;
    write(&bus, &hang("web")).await;
    write(&bus, &hang("db")).await;
    for round in 0..25_u32 {
        let controller = Running::start(&bus, &format!("controller-{round}"));
        // Rounds end at ever later steps of the work; how far each comes does not matter.
        for _ in 0..round * 8 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 150)).await;
        controller.kill().await;
    }
    let last = Running::start(&bus, "last");
    until("both commands", async || {
        let commands = commands(&bus).await;
        commands
            .iter()
            .map(|command| command.id.clone())
            .collect::<BTreeSet<_>>()
            .len()
            == 2
    })
    .await;
    let sent = commands(&bus).await;
    let generations: Vec<u64> = sent.iter().map(|command| command.generation.0).collect();
    assert!(generations.is_sorted(), "{generations:?}");
    for command in &sent {
        write(&bus, &done(command)).await;
    }
    until("both executed", async || {
        phases(&bus)
            .await
            .iter()
            .filter(|phase| **phase == Phase::Executed)
            .count()
            >= 2
    })
    .await;
    let decided = phases(&bus)
        .await
        .into_iter()
        .filter(|phase| *phase == Phase::Decided);
    assert_eq!(decided.count(), 2, "one plan for each");
    last.context.shutdown.cancel();
    last.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_waits_in_order_and_is_said() {
    let bus = Bus::memory();
    let all = topic::all(1);
    let without: Vec<_> = all
        .iter()
        .copied()
        .filter(|spec| spec.name != topic::COMMANDS)
        .collect();
    bus.ensure_topics(&without).await.unwrap();
    let _node = Node::start(&bus).await;
    let controller = Running::start(&bus, "one");
    until("a leader", async || controller.leads()).await;
    write(&bus, &hang("web")).await;
    until("the journal entry", async || {
        phases(&bus).await == [Phase::Decided]
    })
    .await;
    let health = &controller.context.health;
    until("the trouble to be told", async || {
        let told = health.ready().into_iter().find(|it| &*it.name == "log");
        told.is_some_and(|it| {
            it.reason
                .is_some_and(|reason| reason.contains("homeostat.commands"))
        })
    })
    .await;
    bus.ensure_topics(&all).await.unwrap();
    until("the command", async || commands(&bus).await.len() == 1).await;
    until("the log to be well", async || health.is_ready()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_cannot_read_is_counted_and_passed_over() {
    let bus = log().await;
    let _node = Node::start(&bus).await;
    let controller = Running::start(&bus, "one");
    until("a leader", async || controller.leads()).await;
    bus.produce(NewRecord {
        topic: topic::SIGNALS.into(),
        key: Bytes::from_static(b"x"),
        value: Bytes::from_static(b"not ours"),
        headers: Vec::new(),
        partition: None,
    })
    .await
    .unwrap();
    write(&bus, &hang("web")).await;
    until("a command all the same", async || {
        commands(&bus).await.len() == 1
    })
    .await;
    let metrics = controller.context.metrics.encode();
    let counted =
        r#"homeostat_decode_failures_total{topic="homeostat.signals",reason="no_schema"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_claim_ends_a_leadership() {
    let bus = log().await;
    let _node = Node::start(&bus).await;
    let controller = Running::start(&bus, "one");
    until("a leader", async || controller.leads()).await;
    write(
        &bus,
        &wire::Claim {
            candidate: "another".to_owned(),
            at: kit::now(),
        },
    )
    .await;
    until("it to step down", async || !controller.leads()).await;
    write(&bus, &hang("web")).await;
    controller.context.shutdown.cancel();
    controller.task.await.unwrap().unwrap();
    assert!(commands(&bus).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_topic_made_anew_does_not_take_the_generation_back() {
    let bus = log().await;
    let _node = Node::start(&bus).await;
    let first = Running::start(&bus, "one");
    until("a leader", async || first.leads()).await;
    write(&bus, &hang("web")).await;
    until("a command", async || !commands(&bus).await.is_empty()).await;
    let (entry, _) = read::<JournalEntry>(&bus).await.remove(0);
    let JournalEntry::Plan(mut entry) = entry else {
        panic!("no plan was journaled");
    };
    first.kill().await;
    entry.plan.id = units::PlanId::from("from-long-ago");
    entry.plan.generation = units::Generation(41);
    entry.phase = Phase::Failed;
    write(&bus, &JournalEntry::Plan(entry)).await;
    let second = Running::start(&bus, "two");
    until("the command again", async || commands(&bus).await.len() > 1).await;
    assert_eq!(commands(&bus).await[1].generation.0, 42);
    second.kill().await;
}
