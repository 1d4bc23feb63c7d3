//! The role over a log in memory learns by itself: a model comes about, what breaks its pattern is told, and who takes over goes on.
#![allow(clippy::unwrap_used)]

mod story;

use std::time::Duration;

use analytics::{Config, Training};
use bus::{Bus, From, Record, Tail, Tailed};
use kit::Context;
use kit::config::HumanDuration;
use story::{Life, Mood, SERVICE, STEP_S, at};
use units::{Signal, SignalKind, SignalPhase};
use wire::{Meta, TrainedModel, topic};

const PARTITIONS: u32 = 2;
const HOUR_S: i64 = 3_600;
const LEARNT_S: i64 = 4 * HOUR_S;
const DEADLINE: Duration = Duration::from_secs(120);

fn config() -> Config {
    Config {
        checkpoint_every: HumanDuration::from_millis(20),
        training: Training {
            every: HumanDuration::from_secs(2),
            // What is told is read as fast as it can be: the first training is to meet all of it.
            history_min: HumanDuration::from_secs(LEARNT_S as u64 - 60),
            cpu_percent: 100,
            ..Training::default()
        },
        ..Config::default()
    }
}

struct Role {
    context: Context,
    task: tokio::task::JoinHandle<Result<(), analytics::Error>>,
}

impl Role {
    fn start(bus: &Bus) -> Self {
        let context = Context::new(bus.clone(), "analytics", "test");
        Role {
            task: tokio::spawn(analytics::run(config(), context.clone())),
            context,
        }
    }

    async fn counts(&self, line: &str) {
        let wait = async {
            while !self.context.metrics.encode().contains(line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let counted = tokio::time::timeout(DEADLINE, wait).await;
        assert!(
            counted.is_ok(),
            "{line} not in {}",
            self.context.metrics.encode()
        );
    }

    async fn end(self) {
        self.context.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn tell(bus: &Bus, life: &mut Life, seconds: i64, mood: Mood) {
    let partition = bus::partition_of(SERVICE.as_bytes(), PARTITIONS);
    let meta = Meta::new("test");
    for _ in 0..seconds / STEP_S {
        let record = wire::encode_samples(&life.step(mood), partition, &meta).unwrap();
        bus.produce(record).await.unwrap();
    }
}

async fn next(tail: &mut Tail) -> Record {
    let next = async {
        loop {
            if let Tailed::Record(record) = tail.next().await.unwrap() {
                return record;
            }
        }
    };
    tokio::time::timeout(DEADLINE, next).await.unwrap()
}

/// The next signal of the kind.
async fn next_signal(tail: &mut Tail, phase: SignalPhase) -> Signal {
    loop {
        let signal: Signal = wire::decode(&next(tail).await).unwrap();
        if signal.kind == SignalKind::UnusualPattern && signal.phase != SignalPhase::Update {
            assert_eq!(signal.phase, phase, "{signal:#?}");
            return signal;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_learnt_and_what_breaks_its_pattern_is_told() {
    let bus = Bus::memory();
    bus.ensure_topics(&topic::all(PARTITIONS)).await.unwrap();
    let mut models = bus.tail(topic::MODELS, From::Beginning).await.unwrap();
    let mut signals = bus.tail(topic::SIGNALS, From::Beginning).await.unwrap();
    let mut life = Life::new(7);
    tell(&bus, &mut life, LEARNT_S, Mood::Ordinary).await;

    let role = Role::start(&bus);
    let model: TrainedModel = wire::decode(&next(&mut models).await).unwrap();
    assert_eq!(model.service.as_str(), SERVICE);
    let artefact = train::Artefact::from_json(model.artefact.to_string().as_bytes()).unwrap();
    let provenance = &artefact.content().provenance;
    assert_eq!((provenance.subjects, &provenance.previous), (2, &None));
    assert_eq!(provenance.held_back.objection(), None);
    assert_eq!(provenance.from, at(0));
    role.counts("homeostat_models 1.0\n").await;
    role.counts("homeostat_trainings_total{result=\"taken\"}")
        .await;

    // Had an hour of ordinary life told anything, it would come before what the broken pattern tells.
    tell(&bus, &mut life, HOUR_S, Mood::Ordinary).await;
    let broken_at = life.now();
    tell(&bus, &mut life, 300, Mood::Idle).await;
    let open = next_signal(&mut signals, SignalPhase::Open).await;
    assert!(open.opened_at > broken_at, "{open:#?}");
    assert_eq!(open.subject.to_string(), "shop-web-1");
    role.end().await;

    // The next one has the model from its topic and the rest from the checkpoint.
    let role = Role::start(&bus);
    role.counts("homeostat_models 1.0\n").await;
    tell(&bus, &mut life, 600, Mood::Ordinary).await;
    let resolve = next_signal(&mut signals, SignalPhase::Resolve).await;
    assert_eq!(resolve.id, open.id);
    role.counts("homeostat_signals_open{kind=\"unusual_pattern\",severity=\"info\"} 0.0\n")
        .await;
    role.end().await;
}
