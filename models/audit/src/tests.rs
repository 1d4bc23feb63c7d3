use std::time::Duration;

use units::{
    Action, ActionKind, Approval, BreakerEntry, Bytes, Cause, Check, ContainerId, ContainerName,
    ContainerRecord, ContainerState, EngineInfo, Expectation, Generation, HealthState,
    JournalEntry, LimitRange, Limits, LimitsPolicy, Millicores, Mode, NodeCapacity, NodeFacts,
    NodeId, NodeInventory, Phase, Plan, PlanEntry, PlanId, Policy, Ratio, ScalePolicy, ScaleTarget,
    ServiceId, SignalId, Step, Timestamp,
};

use crate::{Auditor, Bounds, Violation};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn bounds() -> Bounds {
    Bounds {
        max_mode: Mode::Act,
        node_concurrent: 1,
        global_concurrent: 2,
        service_hourly: 3,
        global_hourly: 4,
    }
}

fn container(name: &str) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from(name),
        name: ContainerName::from(name),
        service: ServiceId::from("web"),
        image: "web:1".to_owned(),
        state: ContainerState::Running,
        health: HealthState::Healthy,
        restarts: 0,
        created_at: Some(Timestamp::EPOCH),
        started_at: Some(Timestamp::EPOCH),
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            mode: Mode::Act,
            heal: true,
            scale: Some(ScalePolicy {
                min: 2,
                max: 3,
                target: ScaleTarget::Cpu(Ratio::saturating(0.7)),
            }),
            ..Policy::default()
        },
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: None,
    }
}

fn ours(name: &str) -> ContainerRecord {
    ContainerRecord {
        made_by: Some(PlanId::from("earlier")),
        ..container(name)
    }
}

fn auditor(containers: Vec<ContainerRecord>) -> Auditor {
    let mut auditor = Auditor::new(bounds());
    auditor.observe_inventory(&NodeInventory {
        node: NodeId::from("a"),
        at: NOW,
        steady: None,
        capacity: NodeCapacity {
            cpu: Millicores(4_000),
            memory: Bytes::from_mib(8_192),
        },
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers,
    });
    auditor
}

fn plan(id: &str, actions: Vec<Action>) -> Plan {
    Plan {
        id: PlanId::from(id),
        generation: Generation(1),
        service: ServiceId::from("web"),
        kind: actions.first().map_or(ActionKind::Restart, Action::kind),
        mode: Mode::Act,
        created_at: NOW,
        deadline: NOW + Duration::from_secs(30),
        cause: Cause {
            signals: vec![SignalId::from("s")],
            reason: "it hangs".to_owned(),
        },
        steps: actions
            .into_iter()
            .map(|action| Step {
                node: NodeId::from("a"),
                action,
            })
            .collect(),
        expected: Expectation {
            text: String::new(),
            check: Check::NoOverload,
            within: Duration::from_secs(60),
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    }
}

fn restart(name: &str) -> Action {
    Action::Restart {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        grace: Duration::from_secs(10),
    }
}

fn create(template: &str, name: &str) -> Action {
    Action::CreateReplica {
        template: ContainerId::from(template),
        name: ContainerName::from(name),
        image: None,
    }
}

fn remove(name: &str) -> Action {
    Action::RemoveReplica {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        grace: Duration::from_secs(10),
    }
}

fn entry(plan: &Plan, phase: Phase) -> JournalEntry {
    JournalEntry::Plan(Box::new(PlanEntry {
        at: NOW,
        plan: plan.clone(),
        phase,
        outcomes: Vec::new(),
        verdict: None,
    }))
}

/// The words of what is wrong.
fn words(found: &[Violation]) -> Vec<&'static str> {
    found.iter().map(Violation::as_str).collect()
}

#[test]
fn a_plan_within_the_rules_passes() {
    let auditor = auditor(vec![container("web-1"), container("web-2")]);
    assert_eq!(
        auditor.check(&plan("p", vec![restart("web-1")]), NOW),
        Vec::new()
    );
    assert_eq!(
        auditor.check(&plan("p", vec![create("web-1", "web-1-r1")]), NOW),
        Vec::new()
    );
}

#[test]
fn nothing_is_touched_without_opt_in() {
    let mut shy = container("web-1");
    shy.policy.mode = Mode::Suggest;
    let mut unhealable = container("web-2");
    unhealable.policy.heal = false;
    let auditor = auditor(vec![shy, unhealable]);
    for name in ["web-1", "web-2"] {
        assert_eq!(
            words(&auditor.check(&plan("p", vec![restart(name)]), NOW)),
            ["not_opted_in"]
        );
    }
}

#[test]
fn a_ceiling_below_act_stops_everything() {
    let mut auditor = auditor(vec![container("web-1")]);
    auditor.bounds.max_mode = Mode::Suggest;
    assert_eq!(
        words(&auditor.check(&plan("p", vec![restart("web-1")]), NOW)),
        ["not_opted_in"]
    );
}

#[test]
fn suggestions_empty_and_mixed_plans_are_not_carried_out() {
    let auditor = auditor(vec![container("web-1")]);
    let mut suggestion = plan("p", vec![restart("web-1")]);
    suggestion.mode = Mode::Suggest;
    assert_eq!(
        words(&auditor.check(&suggestion, NOW)),
        ["not_to_be_carried_out"]
    );
    assert_eq!(
        words(&auditor.check(&plan("p", Vec::new()), NOW)),
        ["empty"]
    );
    let mixed = plan("p", vec![restart("web-1"), create("web-1", "web-1-r1")]);
    assert_eq!(
        words(&auditor.check(&mixed, NOW)),
        ["mixed_kinds", "twice"][..1]
    );
}

#[test]
fn deadlines_lie_ahead() {
    let auditor = auditor(vec![container("web-1")]);
    let late = auditor.check(
        &plan("p", vec![restart("web-1")]),
        NOW + Duration::from_secs(30),
    );
    assert_eq!(words(&late), ["deadline"]);
}

#[test]
fn one_plan_of_a_service_runs_and_budgets_hold() {
    let mut auditor = auditor(vec![container("web-1"), container("web-2")]);
    let first = plan("first", vec![restart("web-1")]);
    auditor.observe_entry(&entry(&first, Phase::Decided));
    let found = words(&auditor.check(&plan("second", vec![restart("web-2")]), NOW));
    assert_eq!(found, ["in_flight", "concurrency"]);
    auditor.observe_entry(&entry(&first, Phase::Failed));
    assert_eq!(
        auditor.check(&plan("second", vec![restart("web-2")]), NOW),
        Vec::new()
    );
    for id in ["second", "third"] {
        auditor.observe_entry(&entry(&plan(id, vec![restart("web-2")]), Phase::Failed));
    }
    assert_eq!(
        words(&auditor.check(&plan("fourth", vec![restart("web-2")]), NOW)),
        ["hourly_budget"]
    );
    let later = NOW + Duration::from_secs(3_600);
    let mut fourth = plan("fourth", vec![restart("web-2")]);
    fourth.deadline = later + Duration::from_secs(30);
    assert_eq!(auditor.check(&fourth, later), Vec::new());
}

#[test]
fn capacity_stays_within_what_the_policy_promises() {
    let auditor = auditor(vec![container("web-1"), ours("web-1-r1")]);
    let found = words(&auditor.check(&plan("p", vec![remove("web-1-r1")]), NOW));
    assert_eq!(found, ["below_floor"]);
    let found = words(&auditor.check(&plan("p", vec![remove("web-1")]), NOW));
    assert_eq!(found, ["not_ours", "below_floor"]);
    let found = words(&auditor.check(
        &plan("p", vec![create("web-1", "x"), create("web-1", "y")]),
        NOW,
    ));
    assert_eq!(found, ["above_most"]);
    let found = words(&auditor.check(&plan("p", vec![create("web-1", "web-1-r1")]), NOW));
    assert_eq!(found, ["twice"]);
}

#[test]
fn what_does_not_serve_may_go() {
    let mut broken = ours("web-1-r1");
    broken.state = ContainerState::Exited;
    let auditor = auditor(vec![container("web-1"), broken]);
    assert_eq!(
        auditor.check(&plan("p", vec![remove("web-1-r1")]), NOW),
        Vec::new()
    );
}

#[test]
fn paused_containers_are_left_alone() {
    let mut paused = ours("web-1");
    paused.state = ContainerState::Paused;
    let auditor = auditor(vec![paused]);
    assert_eq!(
        words(&auditor.check(&plan("p", vec![restart("web-1")]), NOW)),
        ["not_running"]
    );
    assert_eq!(
        words(&auditor.check(&plan("p", vec![remove("web-1")]), NOW)),
        ["not_running"]
    );
}

#[test]
fn replicas_go_down_one_at_a_time_and_for_a_reason() {
    let auditor = auditor(vec![container("web-1"), container("web-2")]);
    let found = words(&auditor.check(&plan("p", vec![restart("web-1"), restart("web-2")]), NOW));
    assert_eq!(found, ["together_down"]);
    let mut groundless = plan("p", vec![restart("web-1")]);
    groundless.cause.signals.clear();
    assert_eq!(words(&auditor.check(&groundless, NOW)), ["no_cause"]);
}

#[test]
fn what_was_only_suggested_needs_an_approval_that_the_log_knows_of() {
    let mut willing = container("web-1");
    willing.policy.mode = Mode::Suggest;
    let mut auditor = auditor(vec![willing]);
    let suggested = plan("s", vec![restart("web-1")]);
    auditor.observe_entry(&entry(&suggested, Phase::Suggested));
    let approval = Approval {
        plan: suggested.id.clone(),
        at: NOW,
        by: None,
    };
    let approved = |at: Timestamp| Plan {
        approval: Some(Approval {
            at,
            ..approval.clone()
        }),
        ..plan("p", vec![restart("web-1")])
    };
    assert_eq!(words(&auditor.check(&approved(NOW), NOW)), ["not_opted_in"]);
    auditor.observe_entry(&JournalEntry::Approval(approval.clone()));
    assert_eq!(auditor.check(&approved(NOW), NOW), Vec::new());
    let another = Plan {
        approval: Some(approval.clone()),
        ..plan("p", vec![remove("web-1")])
    };
    assert!(words(&auditor.check(&another, NOW)).contains(&"not_opted_in"));
    let forged = approved(NOW - Duration::from_secs(1));
    assert_eq!(words(&auditor.check(&forged, NOW)), ["not_opted_in"]);
    let late = Plan {
        created_at: NOW + Approval::VALID,
        deadline: NOW + Approval::VALID * 2,
        ..approved(NOW)
    };
    assert_eq!(words(&auditor.check(&late, NOW)), ["not_opted_in"]);
    auditor.observe_entry(&entry(&approved(NOW), Phase::Decided));
    let mut command = approved(NOW).commands().next().unwrap();
    command.approval = None;
    assert_eq!(words(&auditor.check_command(&command, NOW)), ["no_plan"]);
}

#[test]
fn an_open_breaker_stops_plans() {
    let mut auditor = auditor(vec![container("web-1")]);
    let breaker = |open_until| {
        JournalEntry::Breaker(BreakerEntry {
            at: NOW,
            generation: Generation(1),
            open_until,
            reason: String::new(),
            services: Vec::new(),
        })
    };
    auditor.observe_entry(&breaker(Some(NOW + Duration::from_secs(60))));
    assert_eq!(
        words(&auditor.check(&plan("p", vec![restart("web-1")]), NOW)),
        ["breaker_open"]
    );
    auditor.observe_entry(&breaker(None));
    assert_eq!(
        auditor.check(&plan("p", vec![restart("web-1")]), NOW),
        Vec::new()
    );
}

#[test]
fn commands_follow_from_decided_plans_once_and_generations_only_rise() {
    let mut auditor = auditor(vec![container("web-1")]);
    let plan = plan("p", vec![restart("web-1")]);
    let mut command = plan.commands().next().unwrap();
    assert_eq!(words(&auditor.check_command(&command, NOW)), ["no_plan"]);
    auditor.observe_entry(&entry(&plan, Phase::Decided));
    assert_eq!(auditor.check_command(&command, NOW), Vec::new());
    assert_eq!(words(&auditor.check_command(&command, NOW)), ["sent_twice"]);
    command.generation = Generation(2);
    assert_eq!(
        auditor.check_command(&command, NOW),
        Vec::new(),
        "a new leader sends it again"
    );
    command.generation = Generation(1);
    let found = words(&auditor.check_command(&command, NOW));
    assert_eq!(found, ["stale_generation", "sent_twice"]);
    let stale = auditor.check(&super::tests::plan("later", vec![restart("web-1")]), NOW);
    assert!(words(&stale).contains(&"stale_generation"));
}

#[test]
fn limits_are_changed_only_within_the_label_and_only_of_what_runs() {
    let update = |cpu: Option<u64>, memory_mib: Option<u64>| Action::UpdateLimits {
        container: ContainerId::from("web-1"),
        name: ContainerName::from("web-1"),
        limits: Limits {
            cpu: cpu.map(Millicores),
            memory: memory_mib.map(Bytes::from_mib),
        },
    };
    let mut labelled = container("web-1");
    labelled.policy.limits = Some(LimitsPolicy {
        cpu: Some(LimitRange {
            min: Millicores(100),
            max: Millicores(2_000),
        }),
        memory: None,
    });
    let found = |record: &ContainerRecord, action: Action| {
        let auditor = auditor(vec![record.clone()]);
        words(&auditor.check(&plan("p", vec![action]), NOW))
    };
    for (cpu, memory, expected) in [
        (Some(100), None, vec![]),
        (Some(2_000), None, vec![]),
        (Some(99), None, vec!["outside_range"]),
        (Some(2_001), None, vec!["outside_range"]),
        (Some(500), Some(64), vec!["outside_range"]),
        (None, None, vec!["no_limit"]),
    ] {
        assert_eq!(found(&labelled, update(cpu, memory)), expected);
    }
    let without = container("web-1");
    let words = found(&without, update(Some(500), None));
    assert_eq!(words, ["not_opted_in", "outside_range"]);
    labelled.state = ContainerState::Exited;
    let words = found(&labelled, update(Some(500), None));
    assert_eq!(words, ["not_running"]);
}

#[test]
fn containers_of_other_services_and_nodes_are_not_known() {
    let auditor = auditor(vec![container("web-1")]);
    assert_eq!(
        words(&auditor.check(&plan("p", vec![restart("db-1")]), NOW)),
        ["unknown_container"]
    );
    let mut elsewhere = plan("p", vec![restart("web-1")]);
    elsewhere.steps[0].node = NodeId::from("b");
    assert_eq!(
        words(&auditor.check(&elsewhere, NOW)),
        ["unknown_container"]
    );
}

fn recreate(name: &str, from: Option<&str>) -> Action {
    let image = |id: &str| units::Image {
        reference: "shop/web:1".to_owned(),
        id: id.to_owned(),
    };
    Action::Recreate {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        grace: Duration::from_secs(10),
        image: from.map(|from| units::ImageChange {
            from: image(from),
            to: image("sha256:1"),
        }),
    }
}

fn recreatable(name: &str) -> ContainerRecord {
    let mut record = container(name);
    record.policy.recreate = true;
    record.spec = Some(std::sync::Arc::new(units::ContainerSpec {
        image_digest: "sha256:2".to_owned(),
        ..units::ContainerSpec::default()
    }));
    record
}

#[test]
fn only_what_says_so_is_recreated_and_only_the_image_a_plan_names_is_taken_away() {
    let mut looping = recreatable("web-2");
    looping.state = ContainerState::Restarting;
    let mut stopped = recreatable("web-3");
    stopped.state = ContainerState::Exited;
    let auditor = auditor(vec![container("web-1"), looping, stopped]);
    let check = |steps| words(&auditor.check(&plan("p", steps), NOW));
    assert_eq!(check(vec![recreate("web-1", None)]), ["not_opted_in"]);
    assert!(check(vec![recreate("web-2", None)]).is_empty());
    assert!(check(vec![recreate("web-2", Some("sha256:2"))]).is_empty());
    assert_eq!(
        check(vec![recreate("web-2", Some("sha256:3"))]),
        ["other_image"]
    );
    assert_eq!(check(vec![recreate("web-3", None)]), ["not_running"]);
    assert_eq!(
        check(vec![recreate("web-2", None), recreate("web-3", None)]),
        ["not_running", "together_down"]
    );
}

#[test]
fn a_restart_without_a_signal_has_its_cause_in_a_lost_network() {
    let after = |name: &str, seconds: i64, mode: &str| {
        let mut record = container(name);
        record.started_at = Some(Timestamp::from_millis(seconds * 1_000));
        record.spec = Some(std::sync::Arc::new(units::ContainerSpec {
            network_mode: mode.to_owned(),
            ..units::ContainerSpec::default()
        }));
        record
    };
    for (owner_s, expected) in [(20, vec![]), (5, vec!["no_cause"])] {
        let auditor = auditor(vec![
            after("web-1", 10, "container:web-2"),
            after("web-2", owner_s, "bridge"),
        ]);
        let mut plan = plan("p", vec![restart("web-1")]);
        plan.cause.signals.clear();
        assert_eq!(words(&auditor.check(&plan, NOW)), expected);
    }
}
