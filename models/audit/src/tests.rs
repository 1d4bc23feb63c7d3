//! The rules, one by one.

mod moves;
mod preemption;

use std::time::Duration;

use units::{
    Action, ActionKind, Approval, BreakerEntry, Bytes, Cause, Check, CommandId, ContainerId,
    ContainerName, ContainerRecord, ContainerSpec, ContainerState, EngineInfo, Expectation,
    Generation, HealthState, Image, ImageChange, JournalEntry, LimitRange, Limits, LimitsPolicy,
    MetricTarget, Millicores, Mode, NodeCapacity, NodeFacts, NodeId, NodeInventory, Outcome,
    OutcomeResult, Phase, Plan, PlanEntry, PlanId, Policy, Ratio, ScalePolicy, ScaleTarget,
    SeriesSelector, ServiceId, SignalId, Step, Timestamp, Update, UpdateId,
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
        relocation: None,
        preemption: None,
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
        origin: None,
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

/// One that may come to none, by what another service tells.
fn idle(name: &str) -> ContainerRecord {
    let mut record = container(name);
    record.policy.heal = false;
    record.policy.scale = Some(ScalePolicy {
        min: 0,
        max: 3,
        target: ScaleTarget::Metric(Box::new(MetricTarget {
            service: Some(ServiceId::from("queue")),
            metric: SeriesSelector::parse("jobs_waiting").unwrap(),
            per_replica: 100.0,
        })),
    });
    record
}

fn stop(name: &str) -> Action {
    Action::Stop {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        grace: Duration::from_secs(10),
    }
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

fn image(tag: &str) -> Image {
    Image {
        reference: format!("shop/web:{tag}"),
        id: format!("sha256:{tag}"),
    }
}

fn to(from: &str, to: &str) -> ImageChange {
    ImageChange {
        from: image(from),
        to: image(to),
    }
}

fn updatable(name: &str, tag: &str) -> ContainerRecord {
    let spec = ContainerSpec {
        image_digest: image(tag).id,
        ..ContainerSpec::default()
    };
    ContainerRecord {
        spec: Some(spec.into()),
        policy: Policy {
            mode: Mode::Suggest,
            update: true,
            ..container(name).policy
        },
        ..container(name)
    }
}

fn order(at: Timestamp) -> Update {
    let service = ServiceId::from("web");
    Update {
        id: UpdateId::of(&service, at),
        service,
        image: "shop/web:2".to_owned(),
        at,
        by: None,
    }
}

fn ordered(id: &str, action: Action) -> Plan {
    let mut plan = plan(id, vec![action]);
    plan.update = Some(order(NOW));
    plan.cause.signals = Vec::new();
    plan
}

fn pull(name: &str) -> Action {
    Action::PullImage {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        reference: "shop/web:2".to_owned(),
    }
}

fn replace(name: &str, image: Option<ImageChange>) -> Action {
    Action::Recreate {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        grace: Duration::from_secs(10),
        image,
    }
}

fn one_more(template: &str, name: &str, image: Option<ImageChange>) -> Action {
    Action::CreateReplica {
        origin: None,
        template: ContainerId::from(template),
        name: ContainerName::from(name),
        image,
    }
}

/// The log says that it was ordered, and pulled.
fn told(containers: Vec<ContainerRecord>) -> Auditor {
    let mut auditor = auditor(containers);
    auditor.bounds.service_hourly = 20;
    auditor.bounds.global_hourly = 20;
    auditor.observe_entry(&JournalEntry::Update(order(NOW)));
    done(
        &mut auditor,
        &ordered("pull", pull("web-1")),
        Some(image("2")),
    );
    auditor
}

fn done(auditor: &mut Auditor, plan: &Plan, image: Option<Image>) {
    let outcome = Outcome {
        command: CommandId::of(&plan.id, 0),
        plan: plan.id.clone(),
        node: NodeId::from("a"),
        began_at: NOW,
        at: NOW,
        result: OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image,
        },
        traceparent: None,
        note: None,
    };
    auditor.observe_entry(&JournalEntry::Plan(Box::new(PlanEntry {
        at: NOW,
        plan: plan.clone(),
        phase: Phase::Failed,
        outcomes: vec![outcome],
        verdict: None,
    })));
}

#[test]
fn an_update_needs_an_order_that_the_log_knows_of() {
    let containers = || vec![updatable("web-1", "1"), updatable("web-2", "1")];
    let pulls = ordered("p", pull("web-1"));
    let unheard = auditor(containers());
    let found = words(&unheard.check(&pulls, NOW));
    assert_eq!(found, ["not_ordered", "not_opted_in"]);
    let mut heard = auditor(containers());
    heard.observe_entry(&JournalEntry::Update(order(NOW)));
    assert_eq!(heard.check(&pulls, NOW), Vec::new());
    heard.observe_entry(&JournalEntry::Update(order(NOW + Duration::from_secs(1))));
    let found = words(&heard.check(&pulls, NOW));
    assert_eq!(
        found,
        ["not_ordered", "not_opted_in"],
        "a newer one took its place"
    );
    let of_itself = plan("q", vec![pull("web-1")]);
    assert!(words(&heard.check(&of_itself, NOW)).contains(&"no_part_of_update"));
}

#[test]
fn an_update_needs_its_own_label_and_a_mode_that_may_suggest() {
    let mut shy = updatable("web-1", "1");
    shy.policy.mode = Mode::Observe;
    let mut unlabelled = updatable("web-2", "1");
    unlabelled.policy.update = false;
    let auditor = told(vec![shy, unlabelled, updatable("web-3", "1")]);
    for name in ["web-1", "web-2"] {
        let plan = ordered("p", replace(name, Some(to("1", "2"))));
        assert_eq!(words(&auditor.check(&plan, NOW)), ["not_opted_in"]);
    }
}

#[test]
fn an_update_is_made_of_its_own_steps_and_its_own_image() {
    let containers = vec![
        updatable("web-1", "1"),
        updatable("web-2", "1"),
        updatable("web-3", "1"),
    ];
    let auditor = told(containers);
    let found = |action| words(&auditor.check(&ordered("p", action), NOW));
    let none: [&str; 0] = [];
    assert_eq!(found(replace("web-1", Some(to("1", "2")))), none);
    assert_eq!(
        found(one_more("web-1", "web-1-r1", Some(to("1", "2")))),
        none,
        "one above the most"
    );
    assert!(found(restart("web-1")).contains(&"no_part_of_update"));
    assert_eq!(found(replace("web-1", None)), ["no_part_of_update"]);
    assert_eq!(
        found(one_more("web-1", "web-1-r1", None)),
        ["no_part_of_update"]
    );
    assert_eq!(
        found(replace("web-1", Some(to("1", "3")))),
        ["not_its_image"]
    );
    assert_eq!(found(replace("web-1", Some(to("2", "2")))), ["other_image"]);
    assert!(found(remove("web-1")).contains(&"no_part_of_update"));
}

#[test]
fn no_more_than_one_is_made_beside_the_others() {
    let beside = ordered("canary", one_more("web-1", "web-1-r1", Some(to("1", "2"))));
    let mut surge = updatable("web-1-r1", "2");
    surge.made_by = Some(beside.id.clone());
    let names = ["web-1", "web-2", "web-3"];
    let mut containers: Vec<ContainerRecord> =
        names.iter().map(|name| updatable(name, "1")).collect();
    containers.push(surge);
    let mut auditor = told(containers);
    done(&mut auditor, &beside, None);
    let second = ordered("p", one_more("web-1", "web-1-r2", Some(to("1", "2"))));
    assert_eq!(words(&auditor.check(&second, NOW)), ["above_most"]);
    let goes = ordered("p", remove("web-1-r1"));
    assert_eq!(auditor.check(&goes, NOW), Vec::new());
}

#[test]
fn it_goes_back_only_to_what_was_there_before() {
    let change = ordered("change", replace("web-1", Some(to("1", "2"))));
    let mut ended = updatable("web-1", "2");
    ended.state = ContainerState::Exited;
    let mut auditor = told(vec![
        ended,
        updatable("web-2", "1"),
        updatable("web-3", "1"),
    ]);
    let mut back = ordered("p", replace("web-1", Some(to("2", "1"))));
    back.undo_of = Some(change.id.clone());
    assert_eq!(words(&auditor.check(&back, NOW)), ["not_its_image"]);
    done(&mut auditor, &change, None);
    assert_eq!(
        auditor.check(&back, NOW),
        Vec::new(),
        "it ended, and goes back all the same"
    );
    let mut elsewhere = ordered("p", replace("web-1", Some(to("2", "7"))));
    elsewhere.undo_of = Some(change.id);
    assert_eq!(words(&auditor.check(&elsewhere, NOW)), ["not_its_image"]);
}

#[test]
fn enough_others_serve_while_one_is_replaced() {
    let auditor = told(vec![updatable("web-1", "1"), updatable("web-2", "1")]);
    let plan = ordered("p", replace("web-1", Some(to("1", "2"))));
    assert_eq!(words(&auditor.check(&plan, NOW)), ["below_floor"]);
    let mut alone = updatable("web-1", "1");
    alone.policy.scale = None;
    let auditor = told(vec![alone]);
    assert_eq!(
        auditor.check(&plan, NOW),
        Vec::new(),
        "one alone has its gap"
    );
}

#[test]
fn only_the_last_of_what_may_come_to_none_is_stopped() {
    let alone = auditor(vec![idle("web-1")]);
    assert_eq!(
        alone.check(&plan("p", vec![stop("web-1")]), NOW),
        Vec::new()
    );
    let beside = auditor(vec![idle("web-1"), idle("web-2")]);
    assert_eq!(
        words(&beside.check(&plan("p", vec![stop("web-1")]), NOW)),
        ["not_the_last"]
    );
    let promised = auditor(vec![container("web-1")]);
    assert_eq!(
        words(&promised.check(&plan("p", vec![stop("web-1")]), NOW)),
        ["may_not_rest", "below_floor"]
    );
    let mut own = idle("web-1");
    if let Some(ScaleTarget::Metric(target)) =
        own.policy.scale.as_mut().map(|scale| &mut scale.target)
    {
        target.service = Some(ServiceId::from("web"));
    }
    assert_eq!(
        words(&auditor(vec![own]).check(&plan("p", vec![stop("web-1")]), NOW)),
        ["may_not_rest"],
        "it would tell its own load"
    );
    let mut paused = idle("web-1");
    paused.state = ContainerState::Paused;
    assert_eq!(
        words(&auditor(vec![paused]).check(&plan("p", vec![stop("web-1")]), NOW)),
        ["not_running"]
    );
}

#[test]
fn a_removal_leaves_one_whatever_the_label() {
    let made = ContainerRecord {
        made_by: Some(PlanId::from("earlier")),
        ..idle("web-2")
    };
    let auditor = auditor(vec![made]);
    assert_eq!(
        words(&auditor.check(&plan("p", vec![remove("web-2")]), NOW)),
        ["below_floor"]
    );
}

/// The stop of `web-1` as the journal ends it, begun at this time.
fn stopped(auditor: &mut Auditor, result: OutcomeResult, began_at: Timestamp) {
    let stop = plan("stop", vec![stop("web-1")]);
    let outcome = Outcome {
        command: CommandId::of(&stop.id, 0),
        plan: stop.id.clone(),
        node: NodeId::from("a"),
        began_at,
        at: began_at + Duration::from_secs(3),
        result,
        traceparent: None,
        note: None,
    };
    auditor.observe_entry(&JournalEntry::Plan(Box::new(PlanEntry {
        at: outcome.at,
        plan: stop,
        phase: Phase::Judged,
        outcomes: vec![outcome],
        verdict: None,
    })));
}

fn answered() -> OutcomeResult {
    OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: None,
        previous: None,
        image: None,
    }
}

#[test]
fn what_was_stopped_here_is_started_without_a_signal_and_nothing_else_that_ended() {
    let ended = |at: Timestamp| ContainerRecord {
        state: ContainerState::Exited,
        finished_at: Some(at),
        ..idle("web-1")
    };
    let mut start = plan("start", vec![restart("web-1")]);
    start.cause.signals.clear();
    let check = |record: ContainerRecord, result: Option<OutcomeResult>| {
        let mut auditor = auditor(vec![record]);
        if let Some(result) = result {
            stopped(&mut auditor, result, NOW);
        }
        // Long after, whoever audits still knows.
        let later = NOW + Duration::from_secs(100 * 3_600);
        auditor.forget(later);
        let start = Plan {
            created_at: later,
            deadline: later + Duration::from_secs(30),
            ..start.clone()
        };
        words(&auditor.check(&start, later))
    };
    let in_time = NOW + Duration::from_secs(1);
    assert_eq!(check(ended(in_time), Some(answered())), Vec::<&str>::new());
    let forbidden = ["not_opted_in", "not_running", "no_cause"];
    assert_eq!(check(ended(in_time), None), forbidden);
    let before = NOW - Duration::from_secs(1);
    assert_eq!(check(ended(before), Some(answered())), forbidden);
    let refused = OutcomeResult::Refused {
        refusal: units::Refusal::NotOptedIn,
        reason: String::new(),
    };
    assert_eq!(check(ended(in_time), Some(refused)), forbidden);
    let mut promised = ended(in_time);
    promised.policy.scale = container("web-1").policy.scale;
    assert_eq!(check(promised, Some(answered())), forbidden);
    assert_eq!(
        check(idle("web-1"), Some(answered())),
        ["not_opted_in", "no_cause"],
        "it runs"
    );
}

fn networked(name: &str, networks: &[&str]) -> ContainerRecord {
    let networks = networks.iter().map(|it| units::NetworkSpec {
        name: (*it).to_owned(),
        ..units::NetworkSpec::default()
    });
    let spec = ContainerSpec {
        network_mode: "shop".to_owned(),
        networks: networks.collect(),
        ..ContainerSpec::default()
    };
    ContainerRecord {
        spec: Some(spec.into()),
        policy: Policy {
            recreate: true,
            ..container(name).policy
        },
        ..container(name)
    }
}

fn isolate(name: &str) -> Action {
    Action::Isolate {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
    }
}

fn rejoin(name: &str, networks: &[&str]) -> Action {
    Action::Rejoin {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        networks: attached(networks),
    }
}

fn attached(networks: &[&str]) -> Vec<units::Attachment> {
    let networks = networks.iter().map(|it| units::Attachment {
        network: (*it).to_owned(),
        aliases: Vec::new(),
    });
    networks.collect()
}

#[test]
fn what_is_isolated_is_sick_opted_in_in_a_network_and_not_needed() {
    let names = ["web-1", "web-2", "web-3"];
    let three = || names.map(|name| networked(name, &["shop"])).to_vec();
    let check = |containers: Vec<ContainerRecord>| {
        words(&auditor(containers).check(&plan("p", vec![isolate("web-1")]), NOW))
    };
    assert_eq!(check(three()), Vec::<&str>::new());
    let mut all = three();
    all[0].policy.recreate = false;
    assert_eq!(check(all), ["not_opted_in"]);
    let mut all = three();
    all[0].state = ContainerState::Restarting;
    assert_eq!(check(all), ["not_running"]);
    let mut all = three();
    all[0] = networked("web-1", &[]);
    assert_eq!(check(all), ["no_network"]);
    let mut all = three();
    all[2].health = HealthState::Unhealthy;
    assert_eq!(check(all), ["below_floor"]);
    let mut all = three();
    (all[1], all[2]) = (networked("web-2", &[]), networked("web-3", &[]));
    assert_eq!(
        check(all),
        ["alone", "below_floor"],
        "nor is what is isolated itself"
    );
    let mut all = three();
    all[0].health = HealthState::Unhealthy;
    all[2].health = HealthState::Unhealthy;
    assert_eq!(check(all), ["below_floor"], "also where it does not serve");
    let mut uncaused = plan("p", vec![isolate("web-1")]);
    uncaused.cause.signals.clear();
    assert_eq!(words(&auditor(three()).check(&uncaused, NOW)), ["no_cause"]);
}

#[test]
fn an_isolated_container_is_put_back_where_its_plan_took_it_out_and_nowhere_else() {
    let mut auditor = auditor(vec![networked("web-1", &[]), networked("web-2", &["shop"])]);
    auditor.bounds.service_hourly = 20;
    auditor.bounds.global_hourly = 20;
    let isolated = plan("isolated", vec![isolate("web-1")]);
    let restarted = plan("restarted", vec![restart("web-1")]);
    for plan in [&isolated, &restarted] {
        let outcome = Outcome {
            command: CommandId::of(&plan.id, 0),
            plan: plan.id.clone(),
            node: NodeId::from("a"),
            began_at: NOW,
            at: NOW,
            result: OutcomeResult::Succeeded {
                networks: attached(&["shop", "back"]),
                sealed: None,
                created: None,
                previous: None,
                image: None,
            },
            traceparent: None,
            note: None,
        };
        auditor.observe_entry(&JournalEntry::Plan(Box::new(PlanEntry {
            at: NOW,
            plan: plan.clone(),
            phase: Phase::Judged,
            outcomes: vec![outcome],
            verdict: None,
        })));
    }
    let check = |undo_of: Option<&str>, action: Action| {
        let mut plan = plan("p", vec![action]);
        plan.undo_of = undo_of.map(PlanId::from);
        words(&auditor.check(&plan, NOW))
    };
    let back = || rejoin("web-1", &["shop", "back"]);
    assert_eq!(check(Some("isolated"), back()), Vec::<&str>::new());
    assert_eq!(check(None, back()), ["not_its_networks"]);
    assert_eq!(check(Some("restarted"), back()), ["not_its_networks"]);
    let others: [&[&str]; 4] = [&[], &["shop"], &["back", "shop"], &["shop", "back", "host"]];
    for networks in others {
        let found = check(Some("isolated"), rejoin("web-1", networks));
        assert_eq!(found, ["not_its_networks"], "{networks:?}");
    }
    let other = rejoin("web-2", &["shop", "back"]);
    assert_eq!(check(Some("isolated"), other), ["not_its_networks"]);
}

#[test]
fn what_is_isolated_is_no_replica_so_another_may_be_made() {
    let names = ["web-1", "web-2", "web-3"];
    let mut all = names.map(|name| networked(name, &["shop"])).to_vec();
    let more = plan("p", vec![create("web-1", "web-4")]);
    assert_eq!(
        words(&auditor(all.clone()).check(&more, NOW)),
        ["above_most"]
    );
    all[2] = networked("web-3", &[]);
    assert_eq!(words(&auditor(all).check(&more, NOW)), Vec::<&str>::new());
}

#[test]
fn what_moves_may_keep_ending() {
    let looping = ContainerRecord {
        state: ContainerState::Restarting,
        policy: Policy {
            movable: true,
            ..container("web-1").policy
        },
        ..container("web-1")
    };
    let auditor = auditor(vec![looping]);
    let export = Action::Export {
        container: ContainerId::from("web-1"),
        name: ContainerName::from("web-1"),
    };
    let mut moving = plan("p", vec![export]);
    let alone = words(&auditor.check(&moving, NOW));
    assert_eq!(alone, ["no_part_of_move", "not_running"]);
    moving.relocation = Some(units::Relocation {
        container: ContainerId::from("web-1"),
        name: ContainerName::from("web-1"),
        from: NodeId::from("a"),
        to: NodeId::from("b"),
        at: NOW,
        lost: false,
    });
    assert_eq!(auditor.check(&moving, NOW), Vec::new());
}
