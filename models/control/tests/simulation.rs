//! Anything may happen in any order: signals come and go, outcomes are lost, doubled and late, people step in, nodes fall silent, the
//! controller is killed and begins again from the topics. After every step the auditor finds nothing (the world asks it of every plan and
//! command), no command runs twice, and once the faults stop the loop comes to rest with what is sick healed.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::Event;
use proptest::prelude::*;
use units::{
    Bytes, ContainerSpec, EventKind, HealthState, JournalEntry, LimitRange, Limits, LimitsPolicy,
    Millicores, Mode, Need, Outcome, Phase, PlanId, Policy, Severity, Signal, SignalKind,
    SignalPhase, Subject, Usage, VerdictKind,
};
use world::{World, acting, policy, secs};

const NAMES: [&str; 6] = ["web-1", "web-2", "web-3", "db-1", "api-1", "shy-1"];

#[derive(Debug, Clone)]
enum Op {
    Pass(u64),
    Open(usize, u8, bool),
    Resolve(usize),
    Repeat(usize),
    Load(f64, f64),
    Overload,
    Throttled(usize),
    Killed(usize),
    Needs(u64, u64),
    Sicken(usize),
    Person(usize, u8),
    /// Every actuator works; these answers are lost for now.
    Work {
        lose: u8,
    },
    Late,
    Doubled(usize),
    Kill,
    KillMidway,
    SlowEngine,
    Echo,
    Order(u8),
    /// Both nodes of a service are short.
    Crowd,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1_u64..40).prop_map(Op::Pass),
        4 => (0..NAMES.len(), 0_u8..4, any::<bool>()).prop_map(|(name, kind, critical)| Op::Open(name, kind, critical)),
        4 => (0_usize..64).prop_map(Op::Resolve),
        1 => (0_usize..64).prop_map(Op::Repeat),
        6 => (0.0..900.0_f64, 0.0..0.6_f64).prop_map(|(load, throttled)| Op::Load(load, throttled)),
        1 => Just(Op::Overload),
        1 => (0..NAMES.len()).prop_map(Op::Throttled),
        1 => (0..NAMES.len()).prop_map(Op::Killed),
        1 => (10_u64..400, 10_u64..400).prop_map(|(cpu, memory)| Op::Needs(cpu, memory)),
        1 => (0..NAMES.len()).prop_map(Op::Sicken),
        1 => (0..NAMES.len(), 0_u8..5).prop_map(|(name, kind)| Op::Person(name, kind)),
        5 => (0_u8..4).prop_map(|lose| Op::Work { lose }),
        2 => Just(Op::Late),
        1 => (0_usize..64).prop_map(Op::Doubled),
        1 => Just(Op::Kill),
        1 => Just(Op::KillMidway),
        1 => Just(Op::SlowEngine),
        1 => Just(Op::Echo),
        1 => (0_u8..3).prop_map(Op::Order),
        2 => Just(Op::Crowd),
    ]
}

struct Simulation {
    world: World,
    lost: Vec<Outcome>,
}

fn begin() -> Simulation {
    let mut config = acting();
    config.scale.down_window = secs(30);
    config.scale.verdict_within = secs(30);
    config.heal.verdict_within = secs(20);
    config.people_hold = secs(20);
    config.breaker.hold = secs(20);
    let recreated = units::Policy {
        recreate: true,
        ..policy(Some((1, 3)))
    };
    let mut shy = policy(Some((1, 3)));
    shy.mode = Mode::Observe;
    config.resize.lower_every = secs(60);
    let mut world = World::new(config)
        .with("a", "web-1", "web", resizable(Some((2, 5))))
        .with("a", "web-2", "web", resizable(Some((2, 5))))
        .with("b", "web-3", "web", resizable(Some((2, 5))))
        .with("b", "db-1", "db", resizable(None))
        .with("c", "api-1", "api", recreated)
        .with("c", "shy-1", "shy", shy);
    // These may go for others, where they are more than is promised.
    let bulk = Policy {
        priority: 50,
        ..policy(Some((1, 4)))
    };
    world = world.with("b", "bulk-1", "bulk", bulk.clone());
    for name in ["bulk-1-r1", "bulk-1-r2"] {
        world = world.with("b", name, "bulk", bulk.clone());
        world.container(name).made_by = Some(PlanId::from("earlier"));
    }
    for record in world.nodes.values_mut().flatten() {
        record.limits = Limits {
            cpu: Some(Millicores(250)),
            memory: Some(Bytes::from_mib(256)),
        };
    }
    for record in world.nodes.values_mut().flatten() {
        record.spec = Some(Arc::new(ContainerSpec {
            image_digest: "sha256:image:1".to_owned(),
            ..ContainerSpec::default()
        }));
    }
    Simulation {
        world: world.leading(),
        lost: Vec::new(),
    }
}

fn resizable(scale: Option<(u32, u32)>) -> Policy {
    Policy {
        limits: Some(LimitsPolicy {
            cpu: Some(LimitRange {
                min: Millicores(100),
                max: Millicores(500),
            }),
            memory: Some(LimitRange {
                min: Bytes::from_mib(64),
                max: Bytes::from_mib(512),
            }),
        }),
        update: true,
        ..policy(scale)
    }
}

/// What needs so much, by a week of history.
fn needs(cpu: u64, memory_mib: u64) -> Usage {
    Usage {
        history: secs(7 * 86_400),
        cpu: Need {
            lower: Millicores(cpu),
            target: Millicores(cpu),
            upper: Millicores(cpu),
            recent_peak: Millicores(cpu),
        },
        memory: Some(Need {
            lower: Bytes::from_mib(memory_mib),
            target: Bytes::from_mib(memory_mib),
            upper: Bytes::from_mib(memory_mib),
            recent_peak: Bytes::from_mib(memory_mib),
        }),
    }
}

impl Simulation {
    fn step(&mut self, op: &Op) {
        let world = &mut self.world;
        match op {
            Op::Pass(seconds) => world.pass(secs(*seconds)),
            Op::Open(name, kind, critical) => {
                let kind = [
                    SignalKind::Hang,
                    SignalKind::Unhealthy,
                    SignalKind::MemoryRunaway,
                    SignalKind::CrashLoop,
                ][usize::from(*kind)];
                let severity = if *critical {
                    Severity::Critical
                } else {
                    Severity::Warning
                };
                world.open(kind, NAMES[*name], severity);
            }
            Op::Resolve(index) => {
                if let Some(signal) = pick(&world.signals, *index) {
                    world.resolve(&signal);
                }
            }
            Op::Repeat(index) => {
                if let Some(signal) = pick(&world.signals, *index) {
                    world.tell(Event::Signal(Box::new(signal)));
                }
            }
            Op::Load(load, throttled) => {
                for service in ["web", "api", "shy"] {
                    world.carry(service, *load, *throttled, 2);
                }
            }
            Op::Overload => {
                world.open_about(
                    SignalKind::Overload,
                    Subject::service("web".into()),
                    Severity::Critical,
                );
            }
            Op::Throttled(name) => {
                world.open(SignalKind::Throttling, NAMES[*name], Severity::Info);
            }
            Op::Killed(name) => world.happen(NAMES[*name], EventKind::OutOfMemory),
            Op::Needs(cpu, memory) => world.usage = Some(needs(*cpu, *memory)),
            Op::Sicken(name) => {
                world.container(NAMES[*name]).health = HealthState::Unhealthy;
                world.tell_inventory();
            }
            Op::Person(name, kind) => {
                let kind = match kind {
                    0 => EventKind::Created,
                    1 => EventKind::Stopping { signal: None },
                    2 => EventKind::Paused,
                    3 => EventKind::Updated,
                    _ => EventKind::Renamed { from: "x".into() },
                };
                world.happen(NAMES[*name], kind);
            }
            Op::Work { lose } => {
                let outcomes = world.engine();
                for (index, outcome) in outcomes.into_iter().enumerate() {
                    if index < usize::from(*lose) {
                        self.lost.push(outcome);
                    } else {
                        world.answer(outcome);
                    }
                }
                world.tell_inventory();
            }
            Op::Late => {
                while let Some(outcome) = self.lost.pop() {
                    world.answer(outcome);
                }
            }
            Op::Doubled(index) => {
                if let Some(outcome) = pick(&world.outcomes, *index) {
                    world.tell(Event::Outcome(Box::new(outcome)));
                }
            }
            Op::Kill => world.take_over(),
            Op::KillMidway => {
                // The last command never went out: the leader died after the journal took the plan.
                let last = world.commands.pop();
                world.take_over();
                if let Some(command) = last
                    && !world.commands.iter().any(|sent| sent.id == command.id)
                {
                    // The new leader did not send it again, so it had gone out after all.
                    world.commands.push(command);
                }
            }
            Op::SlowEngine => {
                world.now = world.now + secs(12);
                world.tell(Event::Tick);
            }
            Op::Order(image) => {
                world.order("web", &format!("image:{image}"));
            }
            Op::Crowd => {
                for node in ["a", "b"] {
                    let subject = Subject::node(node.into());
                    world.open_about(SignalKind::NodePressure, subject, Severity::Warning);
                }
            }
            Op::Echo => {
                for entry in world.journal.clone() {
                    let effects = world.tell(Event::Journal(Box::new(entry)));
                    assert_eq!(effects, Vec::new(), "its own entries are no news");
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let world = &self.world;
        let mut commands = BTreeSet::new();
        for entry in world.entries() {
            match entry.phase {
                Phase::Suggested => assert_eq!(entry.plan.mode, Mode::Suggest),
                Phase::Decided | Phase::Executed | Phase::Failed | Phase::Judged => {
                    assert_eq!(entry.plan.mode, Mode::Act);
                    assert_ne!(entry.plan.service.as_str(), "shy", "it did not opt in");
                }
            }
            if entry.phase == Phase::Decided {
                for command in entry.plan.commands() {
                    assert!(commands.insert(command.id), "one id, one step");
                }
            }
            assert_eq!(entry.phase == Phase::Judged, entry.verdict.is_some());
        }
        for name in NAMES {
            world.place(name);
        }
    }

    /// Plans that are not over, as the journal tells them last.
    fn unfinished(&self) -> Vec<(PlanId, Phase)> {
        let newest: BTreeMap<_, _> = self
            .world
            .entries()
            .map(|entry| (entry.plan.id.clone(), entry.phase))
            .collect();
        newest
            .into_iter()
            .filter(|(_, phase)| !phase.is_final())
            .collect()
    }

    /// No more faults: whatever is sick is healed by a restart, everything answers, and the load is what the replicas carry.
    fn converge(&mut self) {
        while let Some(outcome) = self.lost.pop() {
            self.world.answer(outcome);
        }
        // Nothing tells of these, so nobody would ever heal them.
        for record in self.world.nodes.values_mut().flatten() {
            if record.health == HealthState::Unhealthy {
                record.health = HealthState::Healthy;
            }
        }
        // What people ordered may wait for budgets, and those for the hour to pass.
        for round in 0..3_000 {
            let orders = self.world.core.updates();
            let over = orders.iter().all(|it| it.phase.is_final());
            if round >= 300 && over && self.unfinished().is_empty() {
                break;
            }
            self.world.pass(secs(5));
            for service in ["web", "api", "shy"] {
                self.world.load(service, 120.0, 0.0);
            }
            self.world.actuate();
            for signal in open_signals(&self.world) {
                self.world.resolve(&signal);
            }
            self.check();
        }
        assert_eq!(self.unfinished(), Vec::new(), "every plan comes to its end");
        assert!(!self.world.core.status().breaker_open);
        for order in self.world.core.updates() {
            assert!(order.phase.is_final(), "{order:?}");
        }
        // And it still acts: a new hang is answered.
        let before = self.world.commands.len();
        self.world.pass(secs(3_700));
        self.world
            .open(SignalKind::Hang, "db-1", Severity::Critical);
        self.world.pass(secs(2));
        assert_eq!(
            self.world.commands.len(),
            before + 1,
            "{:#?}",
            self.world.entries().last()
        );
    }
}

fn pick<T: Clone>(from: &[T], index: usize) -> Option<T> {
    if from.is_empty() {
        None
    } else {
        from.get(index % from.len()).cloned()
    }
}

fn open_signals(world: &World) -> Vec<Signal> {
    let mut newest = std::collections::BTreeMap::new();
    for signal in &world.signals {
        let known: Option<&Signal> = newest.get(&signal.id).copied();
        if known.is_none_or(|known| known.phase != SignalPhase::Resolve) {
            newest.insert(signal.id.clone(), signal);
        }
    }
    newest
        .into_values()
        .filter(|signal| signal.phase != SignalPhase::Resolve)
        .cloned()
        .collect()
}

/// Few enough to wait for; `PROPTEST_CASES`, which proptest reads, asks for more.
fn cases() -> u32 {
    (ProptestConfig::default().cases / 8).max(1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_whatever_happens(ops in prop::collection::vec(op(), 1..120)) {
        let mut simulation = begin();
        for op in &ops {
            simulation.step(op);
        }
        simulation.converge();
    }

    /// Killing the controller at any one moment changes nothing that it does: state is what the topics say.
    #[test]
    fn a_restarted_controller_decides_the_same(ops in prop::collection::vec(op(), 1..60), kill in 0_usize..60) {
        let mut steady = begin();
        let mut killed = begin();
        for (index, op) in ops.iter().filter(|op| !matches!(op, Op::Kill | Op::KillMidway)).enumerate() {
            steady.step(op);
            killed.step(op);
            if index == kill {
                killed.world.take_over();
            }
        }
        let plans = |simulation: &Simulation| -> Vec<(String, &'static str, Option<VerdictKind>)> {
            let entries = simulation.world.journal.iter().map(|entry| match entry {
                JournalEntry::Plan(entry) => (entry.plan.id.to_string(), entry.phase.as_str(), entry.verdict.as_ref().map(|it| it.kind)),
                JournalEntry::Breaker(entry) => (entry.at.to_string(), "breaker", None),
                JournalEntry::Approval(entry) => (entry.at.to_string(), "approval", None),
                JournalEntry::Update(update) => (update.id.to_string(), "update", None),
                JournalEntry::Node(order) => (order.at.to_string(), "node", None),
            });
            entries.collect()
        };
        prop_assert_eq!(plans(&steady), plans(&killed));
    }
}
