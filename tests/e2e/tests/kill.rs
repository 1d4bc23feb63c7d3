//! Every role a process of its own over Apache Kafka, killed with -9 at random moments: the loop goes on, nothing is done twice,
//! and no open signal is lost.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use bus::testing::KafkaBroker;
use bus::{Bus, From, Tailed};
use e2e::homeostat::Homeostat;
use e2e::stack::Stack;
use e2e::wait::until;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use units::{JournalEntry, Outcome, OutcomeResult, Signal, SignalKind, SignalPhase};
use wire::{Json, topic};

const ROLES: [&str; 6] = [
    "collector",
    "analytics",
    "controller",
    "actuator",
    "notifier",
    "console",
];
/// Two roles die in each, so each of them twice.
const ROUNDS: usize = 6;
/// A kill falls somewhere between the start of a hang and well after its restart.
const KILL_WITHIN_MS: u64 = 12_000;
const REACTION: Duration = Duration::from_secs(120);
const STACK: &str = "e2e-kill";
/// Printed, so that a failing run can be repeated with the same moments.
const SEED: u64 = 20_261_123;

fn start(role: &str, dir: &Path, brokers: &str) -> Homeostat {
    Homeostat::start(
        &[role],
        dir,
        &[
            ("node", "node-a"),
            ("partitions", "2"),
            ("bus.backend", "kafka"),
            ("bus.kafka.brokers", brokers),
            ("controller.max_mode", "act"),
            ("actuator.max_mode", "act"),
            ("controller.heal.backoff", "1s"),
            ("controller.heal.backoff_reset", "2s"),
            ("controller.heal.verdict_within", "5s"),
            ("controller.heal.hourly", "100"),
            ("controller.budget.service_hourly", "200"),
            ("controller.budget.global_hourly", "500"),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_the_loop_goes_on_and_does_nothing_twice() {
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let engine = EngineEvents::record();
    let stack = Stack::up(STACK);
    let mut roles: BTreeMap<&str, Homeostat> = ROLES
        .iter()
        .map(|role| (*role, start(role, dir.path(), broker.brokers())))
        .collect();
    for process in roles.values() {
        process.ready().await;
    }
    let bus = Bus::kafka(&broker.config()).unwrap();
    baseline(&bus).await;

    println!("seed {SEED}");
    let mut random = StdRng::seed_from_u64(SEED);
    for round in 0..ROUNDS {
        let hangs_before = hangs(&read::<Signal>(&bus).await).len();
        stack.patient("hang").await;
        let began = Instant::now();
        let mut moments = [0, ROLES.len() / 2].map(|further| {
            let victim = ROLES[(round + further) % ROLES.len()];
            (random.random_range(0..KILL_WITHIN_MS), victim)
        });
        moments.sort_unstable();
        for (moment_ms, victim) in moments {
            println!("round {round}: {victim} dies {moment_ms} ms after the hang");
            tokio::time::sleep_until(began + Duration::from_millis(moment_ms)).await;
            roles.get_mut(victim).unwrap().restart();
        }
        until(
            &format!("round {round}: patient answers again"),
            REACTION,
            || async { stack.patient_answers().await.then_some(()) },
        )
        .await;
        until(
            &format!("round {round}: the hang is signalled and resolved"),
            REACTION,
            || async {
                let hangs = hangs(&read::<Signal>(&bus).await);
                let over = hangs.values().all(|phase| *phase == SignalPhase::Resolve);
                (hangs.len() > hangs_before && over).then_some(())
            },
        )
        .await;
        for process in roles.values() {
            process.ready().await;
        }
        settled(&bus).await;
    }
    everything_resolves(&bus).await;
    nothing_was_done_twice(&bus, &engine).await;
}

/// Waits until the detectors know the patient well enough to see a hang.
async fn baseline(bus: &Bus) {
    let learnt = 30;
    until("thirty forecasts of the patient", REACTION, || async {
        let forecasts = read::<units::Forecast>(bus).await;
        let patient = forecasts
            .iter()
            .filter(|forecast| forecast.service.as_str() == "patient")
            .count();
        (patient >= learnt).then_some(())
    })
    .await;
}

/// Waits until no plan is under way, so that the next round begins from rest, and the patient has worked for a while.
async fn settled(bus: &Bus) {
    until("every plan has ended", REACTION, || async {
        let journal = read::<JournalEntry>(bus).await;
        let mut phases = BTreeMap::new();
        for entry in journal {
            if let JournalEntry::Plan(entry) = entry {
                phases.insert(entry.plan.id.clone(), entry.phase);
            }
        }
        phases.values().all(|phase| phase.is_final()).then_some(())
    })
    .await;
    let count = read::<units::Forecast>(bus).await.len();
    let more = 60;
    until("the loop goes on", REACTION, || async {
        (read::<units::Forecast>(bus).await.len() >= count + more).then_some(())
    })
    .await;
}

/// The newest phase of each hang of the patient.
fn hangs(signals: &[Signal]) -> BTreeMap<units::SignalId, SignalPhase> {
    let of_patient = signals.iter().filter(|signal| {
        signal.kind == SignalKind::Hang
            && signal
                .subject
                .service
                .as_ref()
                .is_some_and(|service| service.as_str() == "patient")
    });
    of_patient
        .map(|signal| (signal.id.clone(), signal.phase))
        .collect()
}

async fn everything_resolves(bus: &Bus) {
    until("no hang is left open", REACTION, || async {
        let hangs = hangs(&read::<Signal>(bus).await);
        hangs
            .values()
            .all(|phase| *phase == SignalPhase::Resolve)
            .then_some(())
    })
    .await;
    // Two openings of one fingerprint at the same time would be one of them lost.
    let mut open: BTreeMap<units::Fingerprint, units::SignalId> = BTreeMap::new();
    let mut over: BTreeSet<units::SignalId> = BTreeSet::new();
    for signal in read::<Signal>(bus).await {
        match signal.phase {
            SignalPhase::Resolve => {
                open.remove(&signal.fingerprint);
                over.insert(signal.id);
            }
            SignalPhase::Open | SignalPhase::Update if over.contains(&signal.id) => {}
            SignalPhase::Open | SignalPhase::Update => {
                let before = open.insert(signal.fingerprint, signal.id.clone());
                assert!(
                    before.is_none_or(|id| id == signal.id),
                    "{:?} was lost",
                    signal.id
                );
            }
        }
    }
}

/// The engine itself is asked: it restarted the patient once for each restart that was carried out.
async fn nothing_was_done_twice(bus: &Bus, engine: &EngineEvents) {
    let mut commands: BTreeMap<units::CommandId, OutcomeResult> = BTreeMap::new();
    for outcome in read::<Outcome>(bus).await {
        if let Some(before) = commands.insert(outcome.command.clone(), outcome.result.clone()) {
            assert_eq!(
                before, outcome.result,
                "{:?} has two outcomes",
                outcome.command
            );
        }
    }
    let carried_out = commands
        .iter()
        .filter(|(id, _)| id.as_str().starts_with("patient-"))
        .filter(|(_, result)| {
            matches!(
                result,
                OutcomeResult::Succeeded { .. } | OutcomeResult::Interrupted
            )
        })
        .count();
    println!("the commands and what became of them: {commands:#?}");
    let restarts = engine.restarts(&format!("{STACK}-patient"));
    let interrupted = commands
        .values()
        .filter(|result| matches!(result, OutcomeResult::Interrupted))
        .count();
    assert!(
        restarts <= carried_out,
        "{restarts} restarts for {carried_out} commands"
    );
    assert!(
        restarts + interrupted >= carried_out,
        "{restarts} restarts for {carried_out} commands"
    );
    assert!(restarts >= ROUNDS, "{restarts} restarts for {ROUNDS} hangs");
    let made = engine.commands_that_created();
    let unique: BTreeSet<&String> = made.iter().collect();
    assert_eq!(
        made.len(),
        unique.len(),
        "a command made two containers: {made:?}"
    );
}

/// What the engine says it did to the stack's containers, from now on. The engine itself forgets all but its last 256 events.
struct EngineEvents {
    reader: Child,
    file: tempfile::NamedTempFile,
}

impl EngineEvents {
    fn record() -> EngineEvents {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reader = Command::new("docker")
            .args([
                "events",
                "--format",
                "{{json .}}",
                "--filter",
                "event=restart",
                "--filter",
                "event=create",
            ])
            .args(["--filter", &format!("label=io.homeostat.demo={STACK}")])
            .stdout(file.reopen().unwrap())
            .spawn()
            .unwrap();
        EngineEvents { reader, file }
    }

    fn seen(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.file.path()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn restarts(&self, container: &str) -> usize {
        let seen = self.seen();
        seen.iter()
            .filter(|event| {
                event["Action"] == "restart" && event["Actor"]["Attributes"]["name"] == container
            })
            .count()
    }

    /// The command behind each container the loop made.
    fn commands_that_created(&self) -> Vec<String> {
        let seen = self.seen();
        let created = seen.iter().filter(|event| event["Action"] == "create");
        created
            .filter_map(|event| {
                event["Actor"]["Attributes"]["io.homeostat.command"]
                    .as_str()
                    .map(ToOwned::to_owned)
            })
            .collect()
    }
}

impl Drop for EngineEvents {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
    }
}

/// Everything on a topic, in order.
async fn read<T: Json>(bus: &Bus) -> Vec<T> {
    assert_ne!(T::TOPIC, topic::SAMPLES);
    let mut values = Vec::new();
    let mut tail = bus.tail(T::TOPIC, From::Beginning).await.unwrap();
    loop {
        match tail.next().await.unwrap() {
            Tailed::Record(record) => values.push(wire::decode(&record).unwrap()),
            Tailed::CaughtUp => return values,
        }
    }
}
