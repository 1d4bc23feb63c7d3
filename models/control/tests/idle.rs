//! Scale to none: what nobody asks for is stopped, and started once somebody does; what people stopped is theirs.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use proptest::prelude::*;
use units::{
    ActionKind, ComposeSpec, ContainerSpec, ContainerState, EventKind, HealthState, Mode, Outcome,
    OutcomeResult, Phase, Policy, ServiceId, Severity, SignalKind, Timestamp, VerdictKind,
};
use world::{World, acting, counted_by, secs};

const WAITING: &str = "metric@queue:jobs_waiting=100";

fn may_rest() -> Policy {
    Policy {
        heal: false,
        ..counted_by(WAITING, 0, 8)
    }
}

/// One worker that may come to none, and a queue that tells how many jobs wait.
fn working() -> World {
    World::new(acting())
        .with("a", "worker-1", "worker", may_rest())
        .with("b", "queue-1", "queue", world::policy(None))
        .leading()
}

/// Pages are read every five seconds.
fn waiting(world: &mut World, jobs: f64, readings: u32) {
    for _ in 0..readings {
        world.pass(secs(5));
        world.load_told("queue", "jobs_waiting", jobs, (1, 1));
    }
}

/// Stopped, with the plan judged.
fn resting() -> World {
    let mut world = working();
    waiting(&mut world, 0.0, 122);
    world.actuate();
    waiting(&mut world, 0.0, 30);
    assert_eq!(world.sent(), ["stop worker-1"]);
    world
}

fn why_not(world: &World, kind: ActionKind) -> String {
    let reasons = world
        .core
        .why_not(&ServiceId::from("worker"), world.now)
        .unwrap();
    let of = reasons.into_iter().filter(|it| it.action == Some(kind));
    of.map(|it| it.text).collect::<Vec<_>>().join("; ")
}

fn verdict(world: &World) -> (VerdictKind, String) {
    let verdict = world.last().verdict.clone().unwrap();
    (verdict.kind, verdict.reason)
}

#[test]
fn what_nobody_asks_for_is_stopped_and_started_at_the_first_job() {
    let mut world = working();
    waiting(&mut world, 0.0, 119);
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    let said = why_not(&world, ActionKind::Stop);
    assert!(said.contains("stopped after 600 s of that"), "{said}");
    waiting(&mut world, 0.0, 3);
    assert_eq!(world.sent(), ["stop worker-1"]);
    let plan = world.last().plan.clone();
    let reason = &plan.cause.reason;
    assert!(
        reason.contains("jobs_waiting of queue has been 0 for 600 s without a break"),
        "{reason}"
    );
    assert_eq!(plan.alternatives.len(), 2);
    world.actuate();
    waiting(&mut world, 0.0, 30);
    let (kind, reason) = verdict(&world);
    assert_eq!(kind, VerdictKind::Helped, "{reason}");
    let said = why_not(&world, ActionKind::Restart);
    assert!(
        said.contains("it is idle and stopped since 2023-"),
        "{said}"
    );
    assert!(
        said.contains("it starts when jobs_waiting of queue is above 0, and it is 0"),
        "{said}"
    );
    waiting(&mut world, 3.0, 1);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
    let plan = world.last().plan.clone();
    let reason = &plan.cause.reason;
    assert!(
        reason.contains("jobs_waiting of queue is 3, and nothing of worker runs"),
        "{reason}"
    );
    world.actuate();
    waiting(&mut world, 3.0, 2);
    let (kind, reason) = verdict(&world);
    assert_eq!(kind, VerdictKind::Helped, "{reason}");
    assert!(reason.contains("worker-1 serves"), "{reason}");
    // And grows from there as any other does.
    waiting(&mut world, 190.0, 3);
    assert_eq!(world.sent()[2..], ["add replica worker-1-r1"]);
}

#[test]
fn load_that_comes_right_after_the_stop_is_another_load() {
    let mut world = working();
    waiting(&mut world, 0.0, 122);
    world.actuate();
    waiting(&mut world, 40.0, 1);
    let judged = world.in_phase(Phase::Judged);
    let first = judged[0].verdict.clone().unwrap();
    assert_eq!(first.kind, VerdictKind::Unknown, "{}", first.reason);
    assert!(first.reason.contains("another load"), "{}", first.reason);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
    world.actuate();
    // Not before the whole time has passed again, although the load went at once.
    waiting(&mut world, 0.0, 119);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
    waiting(&mut world, 0.0, 4);
    assert_eq!(world.count(ActionKind::Stop), 2);
}

#[test]
fn it_shrinks_to_one_first_and_never_loses_the_last_to_a_removal() {
    let mut world = working();
    waiting(&mut world, 190.0, 3);
    world.actuate();
    waiting(&mut world, 190.0, 4);
    assert_eq!(world.replicas("worker"), 2);
    for _ in 0..300 {
        waiting(&mut world, 0.0, 1);
        world.actuate();
    }
    assert_eq!(
        world.sent(),
        [
            "add replica worker-1-r1",
            "remove replica worker-1-r1",
            "stop worker-1"
        ]
    );
}

#[test]
fn a_made_replica_alone_is_stopped_and_not_removed() {
    let mut world = working();
    world.container("worker-1").made_by = Some(units::PlanId::from("earlier"));
    for _ in 0..150 {
        waiting(&mut world, 0.0, 1);
        world.actuate();
    }
    assert_eq!(world.sent(), ["stop worker-1"]);
}

#[test]
fn a_missing_number_is_no_zero_and_a_gap_begins_anew() {
    let mut world = working();
    waiting(&mut world, 0.0, 100);
    world.pass(secs(5));
    world.load_told("queue", "jobs_waiting", 0.0, (1, 2));
    waiting(&mut world, 0.0, 100);
    assert!(world.commands.is_empty(), "one did not tell in between");
    world.pass(secs(120));
    waiting(&mut world, 0.0, 100);
    assert!(world.commands.is_empty(), "nobody told for two minutes");
    world.pass(secs(300));
    assert!(world.commands.is_empty(), "what is old is no ground");
    let mut silent = working();
    silent.pass(secs(3_600));
    assert!(silent.commands.is_empty());
}

#[test]
fn what_does_not_serve_is_overloaded_or_gives_others_their_network_is_not_stopped() {
    let mut world = working();
    world.container("worker-1").health = HealthState::Unhealthy;
    waiting(&mut world, 0.0, 200);
    assert!(world.commands.is_empty());
    let said = why_not(&world, ActionKind::Stop);
    assert!(said.contains("does not serve"), "{said}");
    world.container("worker-1").health = HealthState::Healthy;
    let subject = units::Subject::service(ServiceId::from("worker"));
    let overload = world.open_about(SignalKind::Overload, subject, Severity::Critical);
    waiting(&mut world, 0.0, 200);
    assert!(world.commands.is_empty());
    let mut world = world.with("a", "sidecar-1", "sidecar", world::policy(None));
    let shares = |network_mode: &str| {
        let spec = ContainerSpec {
            network_mode: network_mode.to_owned(),
            ..ContainerSpec::default()
        };
        Some(Arc::new(spec))
    };
    world.container("sidecar-1").spec = shares("container:worker-1");
    world.pass(secs(1));
    world.resolve(&overload);
    waiting(&mut world, 0.0, 2);
    assert!(world.commands.is_empty());
    let said = why_not(&world, ActionKind::Stop);
    assert!(said.contains("sidecar-1 shares the network"), "{said}");
    world.container("sidecar-1").spec = shares("bridge");
    waiting(&mut world, 0.0, 2);
    assert_eq!(world.sent(), ["stop worker-1"]);
}

/// A container that needs it is healed as if it were there: it is no fault that it is not.
#[test]
fn whoever_depends_on_what_rests_does_not_wait_for_it() {
    let mut world = working().with("a", "web-1", "shop/web", world::policy(None));
    let of = |service: &str, depends_on: &[&str]| {
        let compose = ComposeSpec {
            project: "shop".to_owned(),
            service: service.to_owned(),
            depends_on: depends_on.iter().map(|it| (*it).to_owned()).collect(),
        };
        Some(Arc::new(ContainerSpec {
            compose: Some(compose),
            ..ContainerSpec::default()
        }))
    };
    world.container("worker-1").spec = of("worker", &[]);
    world.container("web-1").spec = of("web", &["worker"]);
    waiting(&mut world, 0.0, 122);
    world.actuate();
    waiting(&mut world, 0.0, 30);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(2));
    assert_eq!(world.sent(), ["stop worker-1", "restart web-1"]);
}

#[test]
fn what_a_person_stopped_is_never_started() {
    let mut world = working();
    waiting(&mut world, 0.0, 10);
    let now = world.now;
    let record = world.container("worker-1");
    record.state = ContainerState::Exited;
    record.finished_at = Some(now);
    waiting(&mut world, 50.0, 200);
    assert!(world.commands.is_empty());
    let said = why_not(&world, ActionKind::Restart);
    assert!(said.contains("somebody stopped it"), "{said}");
}

/// The engine answers well to a stop of what a person stopped a moment before it was asked.
#[test]
fn what_a_person_stopped_just_before_is_theirs() {
    let mut world = working();
    waiting(&mut world, 0.0, 122);
    assert_eq!(world.sent(), ["stop worker-1"]);
    let before = world.now;
    world.pass(secs(1));
    world.actuate();
    world.container("worker-1").finished_at = Some(before);
    waiting(&mut world, 50.0, 200);
    assert_eq!(world.sent(), ["stop worker-1"]);
}

#[test]
fn what_a_person_ran_since_is_theirs() {
    let mut world = resting();
    let started = world.now;
    let record = world.container("worker-1");
    record.state = ContainerState::Running;
    record.started_at = Some(started);
    waiting(&mut world, 0.0, 4);
    let ended = world.now;
    let record = world.container("worker-1");
    record.state = ContainerState::Exited;
    record.finished_at = Some(ended);
    waiting(&mut world, 50.0, 200);
    assert_eq!(world.sent(), ["stop worker-1"]);
}

#[test]
fn people_at_work_hold_both_ways_up() {
    let mut world = working();
    waiting(&mut world, 0.0, 118);
    let stopping = EventKind::Stopping {
        signal: Some("15".to_owned()),
    };
    world.happen("worker-1", stopping);
    waiting(&mut world, 0.0, 6);
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    waiting(&mut world, 0.0, 10);
    assert_eq!(world.sent(), ["stop worker-1"]);
    world.actuate();
    waiting(&mut world, 0.0, 30);
    world.happen("worker-1", EventKind::Updated);
    waiting(&mut world, 5.0, 6);
    assert_eq!(world.commands.len(), 1);
    waiting(&mut world, 5.0, 10);
    assert_eq!(world.sent()[1..], ["restart worker-1"]);
}

/// Whoever leads next knows it from the journal, days later too: the plan is told again, and kept for as long as its container stands.
#[test]
fn a_leader_that_takes_over_days_later_starts_it() {
    let mut world = resting();
    let told = |world: &World| world.in_phase(Phase::Judged).len();
    let before = told(&world);
    for _ in 0..26 {
        world.pass(secs(3_600));
        waiting(&mut world, 0.0, 1);
    }
    assert_eq!(told(&world), before + 2, "every twelve hours");
    let journal = std::mem::take(&mut world.journal);
    // What is older than a day is not read back.
    world.journal = journal[journal.len() - 1..].to_vec();
    world.outcomes.clear();
    world.forecasts.clear();
    world.take_over();
    world.pass(secs(120));
    waiting(&mut world, 7.0, 1);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
}

#[test]
fn nothing_is_stopped_that_could_not_be_started_again() {
    let mut config = acting();
    config.budget.service_hourly = 3;
    let mut world = World::new(config)
        .with("a", "worker-1", "worker", may_rest())
        .with("b", "queue-1", "queue", world::policy(None))
        .leading();
    let round = |world: &mut World| {
        for jobs in [0.0; 130].into_iter().chain([7.0; 3]) {
            waiting(world, jobs, 1);
            world.actuate();
        }
    };
    round(&mut world);
    let both = ["stop worker-1", "restart worker-1"];
    assert_eq!(world.sent(), both);
    waiting(&mut world, 0.0, 200);
    assert_eq!(world.sent(), both, "one step is left of the hour");
    let said = why_not(&world, ActionKind::Stop);
    assert!(said.contains("leaves 1 steps of this hour"), "{said}");
    // Until the hour of the first round is over.
    for _ in 0..600 {
        waiting(&mut world, 0.0, 1);
        world.actuate();
    }
    assert_eq!(world.count(ActionKind::Stop), 2);
}

/// Three starts fail; then a person runs it, and it is not taken down while no start would be made.
#[test]
fn what_could_not_be_started_lately_is_not_stopped() {
    let mut world = resting();
    for _ in 0..60 {
        waiting(&mut world, 9.0, 1);
        for outcome in world.engine() {
            world.answer(Outcome {
                result: OutcomeResult::Failed {
                    error: "no such network".to_owned(),
                },
                ..outcome
            });
        }
        let record = world.container("worker-1");
        record.state = ContainerState::Exited;
    }
    assert_eq!(world.count(ActionKind::Restart), 3);
    let now = world.now;
    let record = world.container("worker-1");
    (record.state, record.started_at) = (ContainerState::Running, Some(now));
    waiting(&mut world, 0.0, 300);
    assert_eq!(world.count(ActionKind::Stop), 1);
    let said = why_not(&world, ActionKind::Stop);
    assert!(
        said.contains("the last starts of it did not help"),
        "{said}"
    );
    for _ in 0..500 {
        waiting(&mut world, 0.0, 1);
        world.actuate();
    }
    assert_eq!(world.count(ActionKind::Stop), 2, "after the quarantine");
}

/// Restarts that did not heal say nothing of a start.
#[test]
fn what_restarts_did_not_heal_is_started_all_the_same() {
    let mut policy = may_rest();
    policy.heal = true;
    let mut world = World::new(acting())
        .with("a", "worker-1", "worker", policy)
        .with("b", "queue-1", "queue", world::policy(None))
        .leading();
    for _ in 0..3 {
        waiting(&mut world, 0.0, 20);
        let hang = world.open(SignalKind::Hang, "worker-1", Severity::Critical);
        waiting(&mut world, 0.0, 1);
        world.actuate();
        waiting(&mut world, 0.0, 15);
        world.resolve(&hang);
    }
    for _ in 0..130 {
        waiting(&mut world, 0.0, 1);
        world.actuate();
    }
    assert_eq!(world.count(ActionKind::Restart), 3);
    assert_eq!(world.count(ActionKind::Stop), 1);
    waiting(&mut world, 5.0, 1);
    assert_eq!(world.count(ActionKind::Restart), 4);
}

/// A clock that was ahead when it told of none, and was set back: what it tells since is believed.
#[test]
fn a_clock_that_was_ahead_hides_nothing() {
    let mut world = working();
    waiting(&mut world, 0.0, 100);
    let told = world.forecasts.last().unwrap().clone();
    for ahead in 0..60 {
        world.pass(secs(5));
        let mut told = told.clone();
        told.at = world.now + secs(300);
        told.loads[0].at = told.at;
        world.tell(control::Event::Forecast(Box::new(told)));
        assert!(world.commands.is_empty(), "{ahead}: {:?}", world.sent());
    }
    waiting(&mut world, 190.0, 3);
    assert_eq!(world.sent(), ["add replica worker-1-r1"]);
}

/// A clock that is always ahead tells each reading several times, as any other: none begins anew for that.
#[test]
fn a_clock_that_stays_ahead_is_followed() {
    let mut world = working();
    waiting(&mut world, 40.0, 1);
    let told = world.forecasts.last().unwrap().clone();
    for reading in 0..8_u32 {
        let at = world.now + secs(20);
        for _ in 0..5 {
            world.pass(secs(1));
            let mut told = told.clone();
            told.loads[0].total = if reading < 6 { 40.0 } else { 190.0 };
            (told.at, told.loads[0].at) = (at, at);
            world.tell(control::Event::Forecast(Box::new(told)));
        }
    }
    assert_eq!(world.sent(), ["add replica worker-1-r1"]);
}

#[test]
fn an_answer_that_comes_when_the_plan_was_given_up_counts() {
    let mut world = working();
    waiting(&mut world, 0.0, 122);
    let outcomes: Vec<Outcome> = world.engine();
    waiting(&mut world, 0.0, 30);
    assert_eq!(world.last().phase, Phase::Failed);
    waiting(&mut world, 9.0, 2);
    assert_eq!(world.commands.len(), 1, "nobody knows who stopped it");
    for outcome in outcomes {
        world.answer(outcome);
    }
    waiting(&mut world, 9.0, 1);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
}

/// The node's clock was 300 s ahead, and was set right between the stop and its answer.
#[test]
fn what_was_stopped_while_the_clock_was_set_back_is_started_all_the_same() {
    let mut world = working();
    waiting(&mut world, 0.0, 122);
    let outcomes = world.engine();
    let ahead = world.now + secs(300);
    for record in world.nodes.values_mut().flatten() {
        if record.name.as_str() == "worker-1" {
            record.finished_at = Some(ahead);
        }
    }
    for outcome in outcomes {
        world.answer(Outcome {
            began_at: ahead,
            at: world.now + secs(1),
            ..outcome
        });
    }
    waiting(&mut world, 0.0, 2);
    waiting(&mut world, 9.0, 1);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
}

/// The engine stopped it and said that it failed: nobody else would start it.
#[test]
fn what_a_stop_that_failed_has_stopped_is_started_all_the_same() {
    let mut world = working();
    waiting(&mut world, 0.0, 122);
    let outcomes = world.engine();
    let failed = OutcomeResult::Failed {
        error: "the engine did half of it".to_owned(),
    };
    for outcome in outcomes {
        world.answer(Outcome {
            result: failed.clone(),
            ..outcome
        });
    }
    waiting(&mut world, 0.0, 2);
    assert_eq!(world.last().phase, Phase::Failed);
    waiting(&mut world, 9.0, 1);
    assert_eq!(world.sent(), ["stop worker-1", "restart worker-1"]);
}

#[test]
fn a_start_that_does_not_serve_is_worse_and_tried_again_later() {
    let mut world = resting();
    waiting(&mut world, 9.0, 1);
    world.engine_and_answers(&[], &|record| {
        if record.name.as_str() == "worker-1" {
            record.health = HealthState::Unhealthy;
        }
    });
    waiting(&mut world, 9.0, 30);
    let (kind, reason) = verdict(&world);
    assert_eq!(kind, VerdictKind::Worse, "{reason}");
    assert!(reason.contains("does not serve"), "{reason}");
    let mut world = resting();
    waiting(&mut world, 9.0, 1);
    let command = world.commands.last().unwrap().clone();
    let failed = Outcome {
        command: command.id.clone(),
        plan: command.plan.clone(),
        node: command.node.clone(),
        began_at: world.now,
        at: world.now,
        result: OutcomeResult::Failed {
            error: "no such network".to_owned(),
        },
        traceparent: None,
        note: None,
    };
    world.done.insert(command.id, failed.clone());
    world.answer(failed);
    waiting(&mut world, 9.0, 2);
    assert_eq!(world.count(ActionKind::Restart), 1, "not at once");
    waiting(&mut world, 9.0, 6);
    assert_eq!(world.count(ActionKind::Restart), 2);
}

#[test]
fn where_it_is_only_suggested_both_are_said_and_wait_for_a_person() {
    let mut world = World::new(acting())
        .with(
            "a",
            "worker-1",
            "worker",
            Policy {
                mode: Mode::Suggest,
                ..may_rest()
            },
        )
        .with("b", "queue-1", "queue", world::policy(None))
        .leading();
    waiting(&mut world, 0.0, 130);
    assert!(world.commands.is_empty());
    let said = world.in_phase(Phase::Suggested);
    assert_eq!((said.len(), said[0].plan.kind), (1, ActionKind::Stop));
    let plan = said[0].plan.id.clone();
    world.approve(&plan);
    waiting(&mut world, 0.0, 1);
    assert_eq!(world.sent(), ["stop worker-1"]);
    world.actuate();
    waiting(&mut world, 0.0, 30);
    waiting(&mut world, 5.0, 3);
    assert_eq!(world.commands.len(), 1);
    let plan = world.last().plan.clone();
    assert_eq!(
        (world.last().phase, plan.kind),
        (Phase::Suggested, ActionKind::Restart)
    );
    world.approve(&plan.id);
    waiting(&mut world, 5.0, 1);
    assert_eq!(world.sent()[1..], ["restart worker-1"]);
}

#[test]
fn a_label_that_keeps_one_keeps_one() {
    let mut world = World::new(acting())
        .with("a", "worker-1", "worker", counted_by(WAITING, 1, 8))
        .with("b", "queue-1", "queue", world::policy(None))
        .leading();
    waiting(&mut world, 0.0, 400);
    assert!(world.commands.is_empty());
    assert_eq!(why_not(&world, ActionKind::Stop), "");
}

#[test]
fn an_update_waits_until_it_runs_again() {
    let mut world = resting();
    world.order("worker", "worker:2");
    let status = world.core.update_status(&ServiceId::from("worker"));
    let reason = status.unwrap().reason;
    assert!(
        reason.contains("label it io.homeostat.update=true"),
        "what is not allowed is refused at once: {reason}"
    );
    let record = world.container("worker-1");
    record.policy.update = true;
    record.spec = Some(Arc::new(ContainerSpec {
        image_digest: "sha256:1".to_owned(),
        ..ContainerSpec::default()
    }));
    waiting(&mut world, 0.0, 1);
    world.order("worker", "worker:3");
    waiting(&mut world, 0.0, 30);
    assert_eq!(world.sent(), ["stop worker-1"]);
    let status = world
        .core
        .update_status(&ServiceId::from("worker"))
        .unwrap();
    assert!(
        status
            .reason
            .contains("the update goes on once it runs again"),
        "{status:?}"
    );
    waiting(&mut world, 2.0, 1);
    assert_eq!(world.sent()[1..], ["restart worker-1"]);
    world.actuate();
    waiting(&mut world, 2.0, 3);
    assert_eq!(world.sent()[2..], ["pull worker:3 for worker-1"]);
}

/// What happens in five seconds.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Told(f64),
    Lacking,
    Untold,
    PersonStops,
    PersonStarts,
    Restarted,
    TakenOver,
}

fn turns() -> impl Strategy<Value = Vec<(Turn, u32)>> {
    let turn = prop_oneof![
        6 => Just(Turn::Told(0.0)),
        2 => (1.0f64..300.0).prop_map(Turn::Told),
        1 => Just(Turn::Lacking),
        1 => Just(Turn::Untold),
        1 => Just(Turn::PersonStops),
        1 => Just(Turn::PersonStarts),
        1 => Just(Turn::Restarted),
        1 => Just(Turn::TakenOver),
    ];
    proptest::collection::vec((turn, 1u32..30), 1..24)
}

/// What must hold of what was sent since `before`, where no load was seen, nor any of it missing, since `idle_since`, and the first
/// worker stands still as a person left it or not.
fn check(
    world: &World,
    before: usize,
    idle_since: Option<Timestamp>,
    theirs: bool,
) -> Result<(), TestCaseError> {
    let idle_after = world.config.scale.idle_after;
    for command in &world.commands[before..] {
        match command.action.kind() {
            ActionKind::Stop => {
                let idle = idle_since.is_some_and(|since| world.now >= since + idle_after);
                prop_assert!(idle, "{}: idle since {idle_since:?}", world.now);
            }
            ActionKind::Restart => {
                let is_theirs = theirs && command.action.name().as_str() == "worker-1";
                prop_assert!(!is_theirs, "a person stopped it");
            }
            ActionKind::Recreate
            | ActionKind::UpdateLimits
            | ActionKind::CreateReplica
            | ActionKind::RemoveReplica
            | ActionKind::PullImage
            | ActionKind::Export
            | ActionKind::Isolate
            | ActionKind::Rejoin => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Never stopped while any load, or a part of it that is missing, was seen within the time; never started what a person stopped;
    /// and whoever asks is served in the end, whatever was spent of the budget.
    #[test]
    fn never_stopped_while_asked_for_and_never_started_what_people_stopped(turns in turns()) {
        let mut config = acting();
        config.scale.idle_after = secs(60);
        config.scale.down_window = secs(30);
        let mut world = World::new(config)
            .with("a", "worker-1", "worker", may_rest())
            .with("b", "queue-1", "queue", world::policy(None))
            .leading();
        let (mut idle_since, mut theirs) = (None, false);
        for (turn, times) in turns {
            for _ in 0..times {
                let mut before = world.commands.len();
                let now = world.now;
                match turn {
                    Turn::Told(jobs) => {
                        world.pass(secs(5));
                        check(&world, before, idle_since, theirs)?;
                        before = world.commands.len();
                        idle_since = match jobs == 0.0 {
                            true => idle_since.or(Some(world.now)),
                            false => None,
                        };
                        world.load_told("queue", "jobs_waiting", jobs, (1, 1));
                    }
                    Turn::Lacking => {
                        world.pass(secs(5));
                        check(&world, before, idle_since, theirs)?;
                        before = world.commands.len();
                        idle_since = None;
                        world.load_told("queue", "jobs_waiting", 0.0, (1, 2));
                    }
                    Turn::Untold => world.pass(secs(40)),
                    Turn::PersonStops => {
                        let record = world.container("worker-1");
                        if record.state == ContainerState::Running {
                            record.state = ContainerState::Exited;
                            record.finished_at = Some(now);
                            theirs = true;
                            world.happen("worker-1", EventKind::Stopping { signal: None });
                        }
                        world.pass(secs(5));
                    }
                    Turn::PersonStarts => {
                        let record = world.container("worker-1");
                        if record.state == ContainerState::Exited {
                            record.state = ContainerState::Running;
                            record.started_at = Some(now);
                            theirs = false;
                        }
                        world.pass(secs(5));
                    }
                    Turn::Restarted => {
                        world.container("worker-1").started_at = Some(now);
                        world.pass(secs(1));
                    }
                    Turn::TakenOver => world.take_over(),
                }
                check(&world, before, idle_since, theirs)?;
                world.actuate();
                let up = world.nodes.values().flatten().filter(|record| {
                    record.service.as_str() == "worker" && record.state == ContainerState::Running
                });
                prop_assert!(up.count() <= 8);
            }
        }
        // And in the end whoever asks is served, unless a person keeps it down.
        for _ in 0..40 {
            waiting(&mut world, 50.0, 1);
            world.actuate();
        }
        let mut workers = world.nodes.values().flatten().filter(|record| {
            record.service.as_str() == "worker" && record.state == ContainerState::Running
        });
        prop_assert!(theirs || workers.next().is_some(), "{:?}", world.sent());
    }
}
