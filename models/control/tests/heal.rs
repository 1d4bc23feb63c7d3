//! Restarts: when, when not, and what is said of them.
#![allow(clippy::unwrap_used)]

mod world;

use control::Event;
use units::{
    ActionKind, BreakerEntry, ContainerState, EventKind, HealthState, JournalEntry, Mode, Outcome,
    OutcomeResult, Phase, Refusal, ServiceId, Severity, Signal, SignalKind, SignalPhase,
    VerdictKind,
};
use world::{World, acting, policy, secs};

fn single() -> World {
    World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .leading()
}

#[test]
fn nothing_is_decided_before_the_history_is_read_and_the_election_won() {
    let mut world = World::new(acting()).with("a", "web-1", "web", policy(None));
    world.tell_inventory();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert_eq!(world.core.deadline(), None);
    world.tell(Event::Recovered);
    world.pass(secs(5));
    assert!(world.commands.is_empty(), "it does not lead");
    world.tell(Event::Leading(units::Generation(1)));
    assert_eq!(world.sent(), ["restart web-1"]);
    world.tell(Event::Following);
    assert_eq!(world.core.deadline(), None);
}

#[test]
fn a_hang_is_answered_with_one_restart_that_is_judged_to_have_helped() {
    let mut world = single();
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert_eq!(world.sent(), ["restart web-1"]);
    let decided = world.last().clone();
    assert_eq!(decided.phase, Phase::Decided);
    assert_eq!(decided.plan.cause.signals, std::slice::from_ref(&hang.id));
    assert_eq!(decided.plan.alternatives.len(), 2);
    world.pass(secs(2));
    world.actuate();
    assert_eq!(world.last().phase, Phase::Executed);
    world.pass(secs(3));
    world.resolve(&hang);
    world.pass(secs(56));
    assert_eq!(
        world.last().phase,
        Phase::Executed,
        "not before its time: it may open again"
    );
    world.pass(secs(2));
    let verdict = world.last().verdict.clone().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Helped, "{}", verdict.reason);
    assert_eq!(world.commands.len(), 1);
}

/// A container of which people want to be asked, that hangs.
fn asking() -> World {
    let policy = units::Policy {
        mode: Mode::Suggest,
        ..policy(None)
    };
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy)
        .leading();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(5));
    assert!(world.commands.is_empty());
    world
}

#[test]
fn what_a_person_approves_is_done_once_and_judged() {
    let mut world = asking();
    let suggested = world.in_phase(Phase::Suggested)[0].plan.id.clone();
    world.approve(&suggested);
    assert_eq!(world.sent(), ["restart web-1"]);
    let command = world.commands[0].clone();
    assert_eq!(command.approval.unwrap().plan, suggested);
    assert_eq!(world.last().plan.mode, Mode::Act);
    world.approve(&suggested);
    world.actuate();
    world.take_over();
    world.pass(secs(90));
    assert_eq!(world.commands.len(), 1, "once");
    assert_eq!(world.last().phase, Phase::Judged);
    world.approve(&suggested);
    world.pass(secs(30));
    assert_eq!(world.commands.len(), 1, "it was used up");
}

#[test]
fn an_approval_opens_nothing_but_the_mode() {
    let mut world = asking();
    let suggested = world.in_phase(Phase::Suggested)[0].plan.id.clone();
    world.happen("web-1", EventKind::Updated);
    world.approve(&suggested);
    assert!(world.commands.is_empty(), "people are at work");
    world.pass(secs(50));
    assert!(world.commands.is_empty());
    world.pass(secs(20));
    assert_eq!(world.commands.len(), 1);

    let mut world = asking();
    let suggested = world.in_phase(Phase::Suggested)[0].plan.id.clone();
    world.container("web-1").policy.mode = Mode::Observe;
    world.pass(secs(1));
    world.approve(&suggested);
    world.pass(secs(30));
    assert!(world.commands.is_empty(), "the label was changed");

    let mut world = asking();
    world.approve(&units::PlanId::from("web-restart-1"));
    world.pass(secs(30));
    assert!(world.commands.is_empty(), "another plan");
}

#[test]
fn an_approval_of_long_ago_is_none() {
    let mut world = asking();
    let suggested = world.in_phase(Phase::Suggested)[0].plan.id.clone();
    world.happen("web-1", EventKind::Updated);
    world.approve(&suggested);
    for _ in 0..12 {
        world.pass(secs(55));
        world.happen("web-1", EventKind::Updated);
    }
    world.pass(secs(120));
    assert!(world.commands.is_empty());
}

#[test]
fn without_opt_in_nothing_is_done_and_suggest_says_it_once() {
    for (mode, ceiling, said) in [
        (Mode::Observe, Mode::Act, 0),
        (Mode::Act, Mode::Observe, 0),
        (Mode::Suggest, Mode::Act, 1),
        (Mode::Act, Mode::Suggest, 1),
    ] {
        let config = control::Config {
            max_mode: ceiling,
            ..acting()
        };
        let policy = units::Policy {
            mode,
            ..policy(None)
        };
        let mut world = World::new(config)
            .with("a", "web-1", "web", policy)
            .leading();
        let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
        world.pass(secs(120));
        world.say(units::Signal {
            phase: units::SignalPhase::Update,
            at: world.now,
            ..hang
        });
        world.take_over();
        world.pass(secs(120));
        assert!(world.commands.is_empty());
        assert_eq!(
            world.in_phase(Phase::Suggested).len(),
            said,
            "{mode} under {ceiling}"
        );
    }
}

#[test]
fn restarts_back_off_and_then_are_left_to_people() {
    let mut config = acting();
    config.ledger.losses = 100;
    let mut world = World::new(config)
        .with("a", "web-1", "web", policy(None))
        .leading();
    for _ in 0..3_000 {
        let open = world
            .signals
            .last()
            .is_none_or(|signal| signal.phase == units::SignalPhase::Resolve);
        if open {
            world.open(SignalKind::Hang, "web-1", Severity::Critical);
        }
        if !world.actuate().is_empty() {
            let hang = world.signals.last().unwrap().clone();
            world.pass(secs(2));
            world.resolve(&hang);
            world.pass(secs(8));
        }
        world.pass(secs(1));
    }
    let times: Vec<units::Timestamp> = world
        .commands
        .iter()
        .map(|command| command.issued_at)
        .collect();
    let gaps: Vec<u64> = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs())
        .collect();
    assert_eq!(times.len(), 5, "five an hour, {gaps:?}");
    assert!(
        gaps.windows(2).all(|pair| pair[1] > pair[0]),
        "waits grow: {gaps:?}"
    );
    assert!(gaps[0] >= 30 && gaps[3] >= 240, "{gaps:?}");
    let said = world.in_phase(Phase::Suggested);
    assert!(
        said.last()
            .unwrap()
            .plan
            .cause
            .reason
            .contains("restarted 5 times in the last hour")
    );
}

#[test]
fn what_opens_again_did_not_help_and_three_such_are_enough() {
    let mut world = single();
    let mut opened = 0;
    while world.in_phase(Phase::Judged).len() < 3 {
        world.pass(secs(300));
        let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
        opened += 1;
        world.pass(secs(1));
        world.actuate();
        assert!(opened < 10);
        if world.last().phase == Phase::Executed {
            world.resolve(&hang);
            world.pass(secs(10));
            let again = world.open(SignalKind::Hang, "web-1", Severity::Critical);
            assert_eq!(
                world
                    .in_phase(Phase::Judged)
                    .last()
                    .unwrap()
                    .verdict
                    .as_ref()
                    .unwrap()
                    .kind,
                VerdictKind::NoEffect
            );
            world.pass(secs(1));
            world.actuate();
            world.resolve(&again);
        }
    }
    let judged = world.in_phase(Phase::Judged);
    let last = &judged.last().unwrap().verdict.as_ref().unwrap().reason;
    assert!(
        last.contains("restart did not help web 3 times in a row"),
        "{last}"
    );
}

#[test]
fn a_crash_loop_is_said_once_and_not_restarted() {
    let mut world = single();
    world.container("web-1").state = ContainerState::Restarting;
    world.open(SignalKind::CrashLoop, "web-1", Severity::Critical);
    world.container("web-1").state = ContainerState::Running;
    world.open(SignalKind::Unhealthy, "web-1", Severity::Critical);
    world.pass(secs(300));
    world.take_over();
    world.pass(secs(300));
    assert!(world.commands.is_empty());
    let said = world.in_phase(Phase::Suggested);
    assert_eq!(said.len(), 1);
    assert!(said[0].plan.steps.is_empty());
    assert!(said[0].plan.cause.reason.contains("left to people"));
}

#[test]
fn replicas_of_a_service_are_restarted_one_after_the_other() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .with("b", "web-2", "web", policy(None))
        .with("c", "db-1", "db", policy(None))
        .leading();
    let first = world.open(SignalKind::Unhealthy, "web-1", Severity::Critical);
    world.open(SignalKind::Unhealthy, "web-2", Severity::Critical);
    world.pass(secs(1));
    assert_eq!(world.sent(), ["restart web-1"]);
    world.actuate();
    world.resolve(&first);
    world.pass(secs(30));
    assert_eq!(
        world.sent(),
        ["restart web-1"],
        "the first has not been judged"
    );
    world.pass(secs(31));
    assert_eq!(world.sent(), ["restart web-1", "restart web-2"]);
}

#[test]
fn a_memory_runaway_waits_for_confirmation_unless_critical() {
    let mut world = single();
    world.open(SignalKind::MemoryRunaway, "web-1", Severity::Warning);
    world.pass(secs(29));
    assert!(world.commands.is_empty());
    world.pass(secs(2));
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn memory_that_climbs_far_from_any_limit_is_no_reason_to_restart() {
    let mut world = single();
    world.open(SignalKind::MemoryRunaway, "web-1", Severity::Info);
    world.pass(secs(900));
    assert!(world.commands.is_empty());
}

#[test]
fn the_last_serving_replica_with_a_runaway_waits_for_the_one_that_starts() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .with("b", "web-2", "web", policy(None))
        .leading();
    world.container("web-2").health = HealthState::Starting;
    world.tell_inventory();
    world.open(SignalKind::MemoryRunaway, "web-1", Severity::Critical);
    world.pass(secs(10));
    assert!(world.commands.is_empty());
    world.container("web-2").health = HealthState::Healthy;
    world.pass(secs(2));
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn paused_stopped_and_silent_containers_are_left_alone() {
    let mut world = single();
    world.container("web-1").state = ContainerState::Paused;
    world.tell_inventory();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(100));
    assert!(world.commands.is_empty());
}

#[test]
fn while_somebody_is_at_it_the_loop_waits_but_not_for_its_own_doing() {
    let mut world = single();
    world.happen("web-1", EventKind::Updated);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(59));
    assert!(world.commands.is_empty());
    world.pass(secs(2));
    assert_eq!(world.sent(), ["restart web-1"]);
    // The engine tells of the restart; that is no person's work.
    world.happen(
        "web-1",
        EventKind::Stopping {
            signal: Some("15".to_owned()),
        },
    );
    world.happen(
        "web-1",
        EventKind::Died {
            exit_code: Some(137),
        },
    );
    world.actuate();
    world.happen("web-1", EventKind::Started);
    let old = world.signals.last().unwrap().clone();
    world.resolve(&old);
    world.pass(secs(65));
    world.open(SignalKind::Unhealthy, "web-1", Severity::Critical);
    world.pass(secs(1));
    assert_eq!(world.commands.len(), 2);
}

#[test]
fn evidence_from_before_the_last_start_is_no_reason() {
    let mut world = single();
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(1));
    world.actuate();
    world.pass(secs(200));
    assert_eq!(world.commands.len(), 1, "nothing new was told of it");
    world.say(units::Signal {
        phase: units::SignalPhase::Update,
        at: world.now,
        ..hang
    });
    world.pass(secs(1));
    assert_eq!(world.commands.len(), 2);
}

#[test]
fn many_sick_at_once_stop_the_loop_until_it_is_calm() {
    let mut world = World::new(acting());
    for service in ["web", "db", "queue", "mail"] {
        world = world.with("a", &format!("{service}-1"), service, policy(None));
    }
    let mut world = world.leading();
    world.container("mail-1").policy.mode = Mode::Observe;
    world.tell_inventory();
    let mut open = Vec::new();
    for name in ["mail-1", "db-1", "queue-1"] {
        open.push(world.open(SignalKind::Hang, name, Severity::Critical));
    }
    assert_eq!(
        world.sent(),
        ["restart db-1"],
        "the third is what makes it many"
    );
    let opened: Vec<&BreakerEntry> = breakers(&world);
    assert_eq!(opened.len(), 1);
    assert!(opened[0].open_until.is_some());
    assert_eq!(opened[0].services.len(), 3);
    world.actuate();
    assert_eq!(world.last().phase, Phase::Executed, "what runs is finished");
    world.pass(secs(121));
    assert_eq!(
        breakers(&world).len(),
        2,
        "it is not calm: once more as long"
    );
    for signal in &open[..2] {
        world.resolve(signal);
    }
    world.take_over();
    world.pass(secs(121));
    let said = breakers(&world);
    assert_eq!(said.len(), 3);
    assert_eq!(said[2].open_until, None);
    assert_eq!(world.sent(), ["restart db-1", "restart queue-1"]);
}

#[test]
fn what_becomes_critical_after_its_clock_was_set_back_counts_among_the_many() {
    let mut world = World::new(acting());
    for service in ["web", "db", "queue", "mail"] {
        world = world.with("a", &format!("{service}-1"), service, policy(None));
    }
    let mut world = world.leading();
    let web = world.open(SignalKind::MemoryRunaway, "web-1", Severity::Info);
    world.pass(secs(5));
    for at in [web.at, web.at - secs(60)] {
        world.say(Signal {
            phase: SignalPhase::Update,
            severity: Severity::Warning,
            at,
            ..web.clone()
        });
    }
    world.say(Signal {
        phase: SignalPhase::Update,
        severity: Severity::Critical,
        at: web.at - secs(60),
        ..web.clone()
    });
    // Written once more, it is less than what is known.
    world.say(web);
    world.open(SignalKind::Hang, "mail-1", Severity::Critical);
    assert_eq!(breakers(&world).len(), 0);
    world.open(SignalKind::Hang, "queue-1", Severity::Critical);
    assert_eq!(breakers(&world).len(), 1);
}

#[test]
fn a_replica_waits_while_the_restart_of_another_may_go_on() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .with("b", "web-2", "web", policy(None))
        .with("c", "db-1", "db", policy(None))
        .leading();
    world.open(SignalKind::Unhealthy, "web-1", Severity::Critical);
    world.open(SignalKind::Unhealthy, "web-2", Severity::Critical);
    world.pass(secs(1));
    assert_eq!(world.sent(), ["restart web-1"]);
    let mut outcomes = world.engine();
    outcomes[0].result = OutcomeResult::Interrupted;
    world.answer(outcomes.remove(0));
    world.pass(secs(38));
    let second = "restart web-2".to_owned();
    assert!(!world.sent().contains(&second), "{:?}", world.sent());
    let reasons = world
        .core
        .why_not(&ServiceId::from("web"), world.now)
        .unwrap();
    assert!(
        reasons
            .iter()
            .any(|it| it.text.contains("may still be going down"))
    );
    world.pass(secs(3));
    assert!(world.sent().contains(&second), "{:?}", world.sent());
}

#[test]
fn what_stays_sick_after_a_common_cause_is_healed_one_by_one() {
    let mut world = World::new(acting());
    for service in ["web", "db", "queue", "mail"] {
        world = world.with("a", &format!("{service}-1"), service, policy(None));
    }
    let mut world = world.leading();
    for name in ["mail-1", "db-1", "queue-1", "web-1"] {
        world.open(SignalKind::Unhealthy, name, Severity::Critical);
    }
    let sent = world.commands.len();
    world.pass(secs(500));
    assert!(world.core.status().breaker_open);
    assert_eq!(world.commands.len(), sent);
    for _ in 0..40 {
        if world.core.status().breaker_open {
            world.pass(secs(10));
        }
    }
    let said = &breakers(&world).last().unwrap().reason;
    assert!(said.contains("looked at one by one"), "{said}");
    assert_eq!(
        world.commands.len(),
        sent + 2,
        "two plans at once on a node, and no more"
    );
}

/// A node whose clock is off speaks every five seconds, with the steady clock that its time of day cannot change.
struct Skewed {
    steady_ms: u64,
    behind: std::time::Duration,
}

impl Skewed {
    fn speak(&mut self, world: &mut World) {
        world.now = world.now + secs(5);
        self.steady_ms += 5_000;
        let inventory = units::NodeInventory {
            node: "a".into(),
            at: world.now - self.behind,
            steady: Some(units::Steady::from_millis(self.steady_ms)),
            capacity: units::NodeCapacity::default(),
            engine: units::EngineInfo::default(),
            facts: units::NodeFacts::default(),
            containers: world.nodes[&units::NodeId::from("a")].clone(),
        };
        world
            .inventories
            .insert(inventory.node.clone(), inventory.clone());
        world.auditor.observe_inventory(&inventory);
        world.tell(Event::Inventory(Box::new(inventory)));
    }

    fn happen(&self, world: &mut World, name: &str, kind: EventKind) {
        let (node, record) = world.place(name);
        let event = units::ContainerEvent {
            at: world.now - self.behind,
            at_unix_ns: None,
            node,
            service: record.service,
            container: record.id,
            name: record.name,
            kind,
        };
        world.events.push(event.clone());
        world.tell(Event::Container(Box::new(event)));
    }
}

fn skewed() -> (World, Skewed) {
    let world = World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .leading();
    let node = Skewed {
        steady_ms: 500_000,
        behind: secs(300),
    };
    (world, node)
}

#[test]
fn people_are_left_alone_on_a_node_whose_clock_is_off() {
    let (mut world, mut node) = skewed();
    // The clock was set back; the node speaks on.
    for _ in 0..120 {
        node.speak(&mut world);
    }
    node.happen(&mut world, "web-1", EventKind::Updated);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    for _ in 0..10 {
        node.speak(&mut world);
    }
    assert!(world.commands.is_empty(), "50 s after the change");
    for _ in 0..4 {
        node.speak(&mut world);
    }
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn people_are_left_alone_as_long_when_the_clock_is_set_after_they_were_there() {
    let (mut world, mut node) = skewed();
    for _ in 0..120 {
        node.speak(&mut world);
    }
    node.happen(&mut world, "web-1", EventKind::Updated);
    node.speak(&mut world);
    // By the clock as it goes now the change was five minutes ago.
    node.behind = secs(0);
    for _ in 0..3 {
        node.speak(&mut world);
    }
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    for _ in 0..6 {
        node.speak(&mut world);
    }
    assert!(world.commands.is_empty(), "50 s after the change");
    for _ in 0..4 {
        node.speak(&mut world);
    }
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn a_new_leader_that_does_not_know_yet_how_far_a_clock_is_off_leaves_people_alone_too() {
    let (mut world, mut node) = skewed();
    for _ in 0..120 {
        node.speak(&mut world);
    }
    node.happen(&mut world, "web-1", EventKind::Updated);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    for _ in 0..2 {
        node.speak(&mut world);
    }
    world.take_over();
    for _ in 0..9 {
        node.speak(&mut world);
    }
    assert!(world.commands.is_empty(), "55 s after the change");
    for _ in 0..3 {
        node.speak(&mut world);
    }
    assert_eq!(
        world.sent(),
        ["restart web-1"],
        "as late as by a leader that knew it all along"
    );
}

#[test]
fn a_clock_that_was_set_after_a_plan_does_not_make_a_later_change_the_plans_own() {
    let (mut world, mut node) = skewed();
    node.behind = secs(0);
    for _ in 0..120 {
        node.speak(&mut world);
    }
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.actuate();
    world.resolve(&hang);
    for _ in 0..48 {
        node.speak(&mut world);
    }
    // By the clock as it goes now the plan ended four minutes after it did.
    node.behind = secs(240);
    for _ in 0..2 {
        node.speak(&mut world);
    }
    node.happen(&mut world, "web-1", EventKind::Updated);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    for _ in 0..11 {
        node.speak(&mut world);
    }
    assert_eq!(world.sent(), ["restart web-1"], "55 s after the change");
    for _ in 0..2 {
        node.speak(&mut world);
    }
    assert_eq!(world.sent(), ["restart web-1", "restart web-1"]);
}

#[test]
fn a_node_that_died_with_its_clock_ahead_is_not_acted_on_by_the_next_leader() {
    let (mut world, mut node) = skewed();
    for _ in 0..3 {
        node.speak(&mut world);
    }
    let last = world.inventories.get_mut(&units::NodeId::from("a"));
    last.unwrap().at = world.now + secs(200);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert_eq!(world.sent(), Vec::<String>::new());
    world.now = world.now + secs(198);
    world.take_over();
    for _ in 0..30 {
        world.now = world.now + secs(1);
        world.tell(Event::Tick);
    }
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    let said = world.in_phase(Phase::Suggested);
    assert!(
        said.last()
            .unwrap()
            .plan
            .cause
            .reason
            .contains("when node a last spoke is not known"),
        "{said:?}"
    );
}

fn breakers(world: &World) -> Vec<&BreakerEntry> {
    let entries = world.journal.iter().filter_map(|entry| match entry {
        JournalEntry::Breaker(entry) => Some(entry),
        JournalEntry::Plan(_)
        | JournalEntry::Approval(_)
        | JournalEntry::Update(_)
        | JournalEntry::Node(_) => None,
    });
    entries.collect()
}

#[test]
fn silent_nodes_stop_the_loop() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .with("b", "db-1", "db", policy(None))
        .leading();
    world.pass(secs(30));
    world.now = world.now + secs(12);
    world.tell(Event::Tick);
    let opened = breakers(&world);
    assert_eq!(opened.len(), 1);
    assert!(
        opened[0]
            .reason
            .contains("2 of 2 nodes have said nothing for 10 s"),
        "{}",
        opened[0].reason
    );
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert!(world.commands.is_empty());
    world.pass(secs(125));
    assert_eq!(breakers(&world).len(), 2);
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn budgets_hold_and_are_said_once() {
    let mut config = acting();
    config.budget.global_hourly = 1;
    let mut world = World::new(config)
        .with("a", "web-1", "web", policy(None))
        .with("b", "db-1", "db", policy(None))
        .leading();
    let first = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.actuate();
    world.resolve(&first);
    world.open(SignalKind::Hang, "db-1", Severity::Critical);
    world.pass(secs(1_000));
    assert_eq!(world.sent(), ["restart web-1"]);
    let said = world.in_phase(Phase::Suggested);
    assert_eq!(said.len(), 1);
    assert!(
        said[0]
            .plan
            .cause
            .reason
            .contains("1 of 1 steps in the last hour")
    );
    world.pass(secs(2_700));
    assert_eq!(world.sent(), ["restart web-1", "restart db-1"]);
}

#[test]
fn a_new_leader_sends_again_what_has_no_outcome_under_its_own_generation() {
    let mut world = single();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    let first = world.commands[0].clone();
    world.pass(secs(5));
    world.take_over();
    assert_eq!(world.commands.len(), 2);
    let again = &world.commands[1];
    assert_eq!(
        (&again.id, again.generation.0),
        (&first.id, first.generation.0 + 1)
    );
    world.actuate();
    assert_eq!(world.done.len(), 1, "one command, however often it is sent");
    world.take_over();
    assert_eq!(world.commands.len(), 2, "it has its outcome");
    assert_eq!(world.last().phase, Phase::Executed);
}

#[test]
fn a_plan_past_its_deadline_without_an_outcome_failed() {
    let mut world = single();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.now = world.now + secs(61);
    world.take_over();
    assert_eq!(world.commands.len(), 1, "too late to send it again");
    assert_eq!(world.in_phase(Phase::Failed).len(), 1);
}

#[test]
fn duplicates_and_old_news_change_nothing() {
    let mut world = single();
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    let outcomes = world.actuate();
    world.resolve(&hang);
    let written = world.journal.len();
    for _ in 0..3 {
        world.tell(Event::Signal(Box::new(hang.clone())));
        world.tell(Event::Outcome(Box::new(outcomes[0].clone())));
        for entry in world.journal.clone() {
            world.tell(Event::Journal(Box::new(entry)));
        }
    }
    assert_eq!(world.journal.len(), written);
    assert_eq!(world.commands.len(), 1);
}

#[test]
fn a_refusal_that_will_not_change_ends_the_trying() {
    let mut world = single();
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    let command = world.commands[0].clone();
    world.answer(Outcome {
        command: command.id,
        plan: command.plan,
        node: command.node,
        began_at: world.now,
        at: world.now,
        result: OutcomeResult::Refused {
            refusal: Refusal::NotOptedIn,
            reason: "ceiling".to_owned(),
        },
        traceparent: None,
        note: None,
    });
    assert_eq!(world.last().phase, Phase::Failed);
    world.resolve(&hang);
    world.pass(secs(1_000));
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(10));
    assert_eq!(world.count(ActionKind::Restart), 1);
    assert!(
        world
            .last()
            .plan
            .cause
            .reason
            .contains("is left alone until")
    );
}

#[test]
fn where_nothing_is_done_nothing_is_stopped_either() {
    let mut world = World::new(control::Config::default());
    for service in ["web", "db", "queue"] {
        world = world.with("a", &format!("{service}-1"), service, policy(None));
    }
    let mut world = world.leading();
    for name in ["web-1", "db-1", "queue-1"] {
        world.open(SignalKind::Hang, name, Severity::Critical);
    }
    world.pass(secs(300));
    assert!(world.journal.is_empty());
}
