use units::Preemption;

use super::*;

/// One of the service that gets room.
fn important(priority: u32) -> ContainerRecord {
    let mut record = container("shop");
    record.service = ServiceId::from("shop");
    record.policy.priority = priority;
    record.policy.movable = true;
    record
}

/// `web` has three of which two are promised, beside `shop`.
fn world(shop: ContainerRecord) -> Auditor {
    auditor(vec![
        container("one"),
        container("two"),
        ours("three"),
        shop,
    ])
}

fn removal() -> Plan {
    let action = Action::RemoveReplica {
        container: ContainerId::from("three"),
        name: ContainerName::from("three"),
        grace: Duration::from_secs(10),
    };
    let mut plan = plan("p", vec![action]);
    plan.preemption = Some(Preemption {
        service: ServiceId::from("shop"),
        priority: 200,
        over: 100,
        frees: NodeCapacity::default(),
        container: None,
    });
    plan
}

fn found(auditor: &Auditor, plan: &Plan) -> Vec<&'static str> {
    let found = auditor.check(plan, NOW);
    found.iter().map(Violation::as_str).collect()
}

#[test]
fn a_replica_that_is_more_than_is_promised_may_go_for_a_more_important_service() {
    assert_eq!(found(&world(important(200)), &removal()), [""; 0]);
    let mut moving = removal();
    let claim = moving.preemption.as_mut().unwrap();
    claim.container = Some(ContainerId::from("shop"));
    assert_eq!(found(&world(important(200)), &moving), [""; 0]);
}

#[test]
fn it_goes_for_none_that_is_no_more_important_whatever_the_plan_says() {
    for priority in [0, 99, 100] {
        let found = found(&world(important(priority)), &removal());
        assert_eq!(found, ["not_less_important"], "{priority}");
    }
    let mut says_so = removal();
    says_so.preemption.as_mut().unwrap().over = 200;
    assert_eq!(
        found(&world(important(200)), &says_so),
        ["not_less_important"]
    );
    let mut itself = removal();
    itself.preemption.as_mut().unwrap().service = ServiceId::from("web");
    assert_eq!(
        found(&world(important(200)), &itself),
        ["not_less_important"]
    );
}

#[test]
fn it_goes_only_for_who_can_take_the_room() {
    let gone = auditor(vec![container("one"), container("two"), ours("three")]);
    assert_eq!(
        found(&gone, &removal()),
        ["no_beneficiary", "not_less_important"]
    );
    let mut watched = important(200);
    watched.policy.mode = Mode::Suggest;
    assert_eq!(found(&world(watched), &removal()), ["no_beneficiary"]);
    let mut fixed = important(200);
    fixed.policy.scale = None;
    assert_eq!(found(&world(fixed), &removal()), ["no_beneficiary"]);
    let mut moving = removal();
    moving.preemption.as_mut().unwrap().container = Some(ContainerId::from("shop"));
    let mut stays = important(200);
    stays.policy.movable = false;
    assert_eq!(found(&world(stays), &moving), ["no_beneficiary"]);
}

#[test]
fn it_did_opt_in_and_leaves_what_is_promised() {
    let mut fixed = ours("three");
    fixed.policy.scale = None;
    let all = vec![container("one"), container("two"), fixed, important(200)];
    assert_eq!(found(&auditor(all), &removal()), ["not_opted_in"]);
    let two = auditor(vec![container("one"), ours("three"), important(200)]);
    assert_eq!(found(&two, &removal()), ["below_floor"]);
    // Nor does one go that does not serve, while the others are no more than is promised.
    let mut starting = ours("three");
    starting.health = HealthState::Starting;
    let mut sick = container("two");
    sick.health = HealthState::Unhealthy;
    let sick = auditor(vec![container("one"), sick, starting, important(200)]);
    assert_eq!(found(&sick, &removal()), ["below_floor"]);
    let theirs = auditor(vec![
        container("one"),
        container("two"),
        container("three"),
        important(200),
    ]);
    assert_eq!(found(&theirs, &removal()), ["not_ours"]);
}

#[test]
fn one_goes_at_a_time_and_by_no_other_way() {
    let mut two = removal();
    two.steps.push(Step {
        node: NodeId::from("a"),
        action: Action::RemoveReplica {
            container: ContainerId::from("four"),
            name: ContainerName::from("four"),
            grace: Duration::from_secs(10),
        },
    });
    let mut one = important(200);
    one.policy.scale.as_mut().unwrap().min = 1;
    let more = auditor(vec![
        container("one"),
        container("two"),
        ours("three"),
        ours("four"),
        one,
    ]);
    assert_eq!(found(&more, &two), ["not_one_removal"]);
    let mut back = removal();
    back.undo_of = Some(PlanId::from("other"));
    assert_eq!(found(&world(important(200)), &back), ["not_one_removal"]);
}
