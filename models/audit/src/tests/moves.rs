use units::{Origin, Relocation};

use super::*;

fn node(name: &str, containers: Vec<ContainerRecord>, at: Timestamp) -> NodeInventory {
    NodeInventory {
        node: NodeId::from(name),
        at,
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers,
    }
}

/// One that may be moved, and does not scale.
fn movable(name: &str) -> ContainerRecord {
    let mut record = container(name);
    record.policy = Policy {
        mode: Mode::Act,
        movable: true,
        ..Policy::default()
    };
    record
}

fn relocation() -> Relocation {
    Relocation {
        container: ContainerId::from("one"),
        name: ContainerName::from("one"),
        from: NodeId::from("a"),
        to: NodeId::from("b"),
        at: NOW,
        lost: false,
    }
}

/// A step of the move on a node.
fn step(id: &str, node: &str, action: Action) -> Plan {
    let mut plan = plan(id, vec![action]);
    plan.steps[0].node = NodeId::from(node);
    plan.relocation = Some(relocation());
    plan
}

fn export() -> Action {
    Action::Export {
        container: ContainerId::from("one"),
        name: ContainerName::from("one"),
    }
}

fn made_as(sealed: &str) -> Action {
    Action::CreateReplica {
        template: ContainerId::from("one"),
        name: ContainerName::from("one"),
        image: None,
        origin: Some(Origin {
            node: NodeId::from("a"),
            sealed: sealed.to_owned(),
        }),
    }
}

/// An auditor that heard how `one` on node `a` is made; `beside` is on node `b`.
fn told(original: ContainerRecord, beside: Vec<ContainerRecord>) -> Auditor {
    let mut auditor = Auditor::new(Bounds {
        service_hourly: 20,
        global_hourly: 20,
        ..bounds()
    });
    auditor.observe_inventory(&node("a", vec![original], NOW));
    auditor.observe_inventory(&node("b", beside, NOW));
    let export = step("export", "a", export());
    assert_eq!(auditor.check(&export, NOW), []);
    let outcome = Outcome {
        command: CommandId::of(&export.id, 0),
        plan: export.id.clone(),
        node: NodeId::from("a"),
        began_at: NOW,
        at: NOW,
        result: OutcomeResult::Succeeded {
            created: None,
            previous: None,
            image: None,
            sealed: Some("sealed".to_owned()),
            networks: Vec::new(),
        },
        traceparent: None,
        note: None,
    };
    auditor.observe_entry(&JournalEntry::Plan(Box::new(PlanEntry {
        at: NOW,
        plan: export,
        phase: Phase::Judged,
        outcomes: vec![outcome],
        verdict: None,
    })));
    auditor
}

/// The new one, made by this plan.
fn made(by: &Plan) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from("new"),
        made_by: Some(by.id.clone()),
        ..movable("one")
    }
}

#[test]
fn only_what_may_be_moved_is_told_of_and_only_in_a_move() {
    let settled = container("one");
    let stays = auditor(vec![settled]);
    assert_eq!(
        words(&stays.check(&step("1", "a", export()), NOW)),
        ["not_opted_in"]
    );
    let goes = auditor(vec![movable("one")]);
    assert_eq!(goes.check(&step("1", "a", export()), NOW), []);
    let outside = plan("1", vec![export()]);
    assert_eq!(words(&goes.check(&outside, NOW)), ["no_part_of_move"]);
}

#[test]
fn the_new_one_is_made_where_it_goes_from_what_was_told() {
    let auditor = told(movable("one"), Vec::new());
    let check = |plan: &Plan| words(&auditor.check(plan, NOW));
    assert_eq!(check(&step("2", "b", made_as("sealed"))), [""; 0]);
    for wrong in [
        step("2", "b", made_as("other")),
        step("2", "c", made_as("sealed")),
    ] {
        assert_eq!(check(&wrong), ["not_its_origin"]);
    }
    let mut another = step("2", "b", made_as("sealed"));
    another.relocation.as_mut().unwrap().at = NOW + Duration::from_secs(1);
    assert_eq!(check(&another), ["not_its_origin"], "another move");
    another.relocation = None;
    assert!(check(&another).contains(&"no_part_of_move"));
}

#[test]
fn the_old_one_goes_once_the_new_one_serves_and_not_before() {
    let create = step("create", "b", made_as("sealed"));
    let retire = step("stop", "a", stop("one"));
    let mut auditor = told(movable("one"), vec![made(&create)]);
    assert_eq!(
        words(&auditor.check(&retire, NOW)),
        ["no_successor"],
        "nobody made it"
    );
    auditor.observe_entry(&entry(&create, Phase::Judged));
    assert_eq!(auditor.check(&retire, NOW), []);
    let mut sick = made(&create);
    sick.health = HealthState::Unhealthy;
    auditor.observe_inventory(&node("b", vec![sick], NOW + Duration::from_secs(1)));
    assert_eq!(words(&auditor.check(&retire, NOW)), ["no_successor"]);
}

#[test]
fn the_way_back_takes_the_new_one_only_while_the_old_one_serves() {
    let create = step("create", "b", made_as("sealed"));
    let mut back = step("back", "b", remove("new"));
    back.undo_of = Some(create.id.clone());
    let mut auditor = told(movable("one"), vec![made(&create)]);
    auditor.observe_entry(&entry(&create, Phase::Judged));
    assert_eq!(auditor.check(&back, NOW), []);
    let mut stopped = movable("one");
    stopped.state = ContainerState::Exited;
    auditor.observe_inventory(&node("a", vec![stopped], NOW + Duration::from_secs(1)));
    assert_eq!(words(&auditor.check(&back, NOW)), ["no_successor"]);
    let mut ended = made(&create);
    ended.state = ContainerState::Exited;
    auditor.observe_inventory(&node("b", vec![ended], NOW + Duration::from_secs(1)));
    let all_there_is = words(&auditor.check(&back, NOW));
    assert_eq!(all_there_is, ["no_successor"], "its engine may start it");
    let mut again = step("again", "a", restart("one"));
    assert!(words(&auditor.check(&again, NOW)).contains(&"no_part_of_move"));
    again.undo_of = Some(create.id.clone());
    assert_eq!(auditor.check(&again, NOW), []);
}

#[test]
fn nothing_else_is_part_of_a_move() {
    let auditor = told(movable("one"), vec![movable("two")]);
    for action in [remove("two"), stop("two")] {
        let plan = step("2", "b", action);
        assert!(words(&auditor.check(&plan, NOW)).contains(&"no_part_of_move"));
    }
}
