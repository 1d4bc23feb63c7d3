//! What an actuator did by itself while its node was cut off becomes part of the journal.
#![allow(clippy::unwrap_used)]

mod world;

use std::time::Duration;

use control::{Effect, Event};
use units::*;
use world::{World, acting, policy};

#[test]
fn what_an_actuator_did_by_itself_is_written_down_once_and_judged() {
    let world = World::new(acting()).with("a", "web", "web", policy(None));
    let mut world = world.leading();
    let (_, record) = world.place("web");
    let created_at = world.now;
    let plan = Plan {
        id: PlanId::of(&record.service, "restart_on_a", created_at),
        generation: Generation(0),
        service: record.service.clone(),
        kind: ActionKind::Restart,
        mode: Mode::Act,
        created_at,
        deadline: created_at + Duration::from_secs(30),
        cause: Cause {
            signals: Vec::new(),
            reason: "its own actuator restarted it".to_owned(),
        },
        steps: vec![Step {
            node: NodeId::from("a"),
            action: Action::Restart {
                container: record.id.clone(),
                name: record.name.clone(),
                grace: Duration::from_secs(10),
            },
        }],
        expected: Expectation {
            text: "it is healthy again".to_owned(),
            check: Check::SignalsResolve {
                signals: Vec::new(),
            },
            within: Duration::ZERO,
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: None,
        relocation: None,
        preemption: None,
        traceparent: None,
    };
    let outcome = Outcome {
        command: CommandId::of(&plan.id, 0),
        plan: plan.id.clone(),
        node: NodeId::from("a"),
        began_at: created_at,
        at: created_at,
        result: OutcomeResult::Succeeded {
            created: None,
            previous: None,
            image: None,
            networks: Vec::new(),
            sealed: None,
        },
        traceparent: None,
        note: None,
    };
    let healed = vec![PlanEntry {
        at: created_at,
        plan: plan.clone(),
        phase: Phase::Executed,
        outcomes: vec![outcome],
        verdict: None,
    }];
    let beat = |now| {
        Event::Heartbeat(Box::new(Heartbeat {
            node: NodeId::from("a"),
            at: now,
            lease: Duration::from_secs(6),
            fenced: Vec::new(),
            healed: healed.clone(),
        }))
    };
    let mut phases = Vec::new();
    for _ in 0..200 {
        world.now = world.now + Duration::from_secs(1);
        for effect in world.core.handle(world.now, beat(world.now)) {
            if let Effect::Journal(entry) = effect
                && let JournalEntry::Plan(entry) = *entry
                && entry.plan.id == plan.id
            {
                phases.push(entry.phase);
            }
        }
    }
    assert_eq!(phases, [Phase::Executed, Phase::Judged]);
}
