//! Updates and rollbacks: ordered over HTTP, written to the journal, and listed with how far they have come.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use console::api::{ListedUpdate, Ordered, ServiceStatus};
use rig::Rig;
use units::*;

fn image(tag: u32) -> Image {
    Image {
        reference: format!("shop/web:{tag}"),
        id: format!("sha256:{tag}"),
    }
}

/// A running container of a service.
fn container(service: &str, name: &str, mode: Mode, update: bool) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from(name),
        name: ContainerName::from(name),
        service: ServiceId::from(service),
        image: image(2).reference,
        state: ContainerState::Running,
        health: HealthState::Healthy,
        restarts: 0,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            mode,
            update,
            ..Policy::default()
        },
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: Some(Arc::new(ContainerSpec {
            image_digest: image(2).id,
            ..ContainerSpec::default()
        })),
    }
}

/// A plan of an update that was carried out.
fn carried_out(update: &Update, from: Image, to: Image, after: Duration) -> PlanEntry {
    let at = update.at + after;
    let id = PlanId::of(&update.service, "recreate", at);
    let plan = Plan {
        relocation: None,
        preemption: None,
        id: id.clone(),
        generation: Generation(1),
        service: update.service.clone(),
        kind: ActionKind::Recreate,
        mode: Mode::Act,
        created_at: at,
        deadline: at + Duration::from_secs(30),
        cause: Cause {
            signals: Vec::new(),
            reason: update.to_string(),
        },
        steps: vec![Step {
            node: NodeId::from("node-a"),
            action: Action::Recreate {
                container: ContainerId::from("c1"),
                name: ContainerName::from("web-1"),
                grace: Duration::from_secs(10),
                image: Some(ImageChange { from, to }),
            },
        }],
        expected: Expectation {
            text: "it serves as well".to_owned(),
            check: Check::ServesAsWell,
            within: Duration::from_secs(60),
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: Some(update.clone()),
        traceparent: None,
    };
    PlanEntry {
        at,
        outcomes: vec![Outcome {
            command: CommandId::of(&id, 0),
            plan: id,
            node: NodeId::from("node-a"),
            began_at: at,
            at,
            result: OutcomeResult::Succeeded {
                networks: Vec::new(),
                sealed: None,
                created: Some(ContainerId::from("c2")),
                previous: None,
                image: None,
            },
            traceparent: None,
            note: None,
        }],
        plan,
        phase: Phase::Judged,
        verdict: None,
    }
}

fn order(image: &str, ago: Duration) -> Update {
    let (service, at) = (ServiceId::from("shop/web"), kit::now() - ago);
    Update {
        id: UpdateId::of(&service, at),
        service,
        image: image.to_owned(),
        at,
        by: None,
    }
}

/// A console that knows these containers and journal records.
async fn over(containers: Vec<ContainerRecord>, journal: &[JournalEntry]) -> Rig {
    let rig = Rig::start().await;
    let inventory = NodeInventory {
        node: NodeId::from("node-a"),
        at: kit::now(),
        steady: None,
        capacity: NodeCapacity::default(),
        facts: units::NodeFacts::default(),
        engine: EngineInfo::default(),
        containers,
    };
    rig.tell(journal).await;
    rig.tell(&[inventory]).await;
    rig.until("services", |services: &Vec<ServiceStatus>| {
        !services.is_empty()
    })
    .await;
    let is_update = |entry: &&JournalEntry| matches!(entry, JournalEntry::Update(_));
    let orders = journal.iter().filter(is_update).count();
    let plans = journal.iter().filter(|entry| !is_update(entry)).count();
    rig.until("updates", |listed: &Vec<ListedUpdate>| {
        listed.len() == orders
    })
    .await;
    rig.until("actions", |actions: &Vec<PlanEntry>| actions.len() == plans)
        .await;
    rig
}

async fn written(rig: &Rig) -> Vec<Update> {
    let entries = rig.read::<JournalEntry>().await.into_iter();
    entries
        .filter_map(|(_, entry)| match entry {
            JournalEntry::Update(update) => Some(update),
            JournalEntry::Plan(_)
            | JournalEntry::Breaker(_)
            | JournalEntry::Approval(_)
            | JournalEntry::Node(_) => None,
        })
        .collect()
}

fn willing() -> Vec<ContainerRecord> {
    ["web-1", "web-2"]
        .map(|name| container("shop/web", name, Mode::Suggest, true))
        .into()
}

#[tokio::test]
async fn an_order_is_written_to_the_journal_and_listed_and_a_newer_one_replaces_it() {
    let rig = over(willing(), &[]).await;
    let body = r#"{"service": "shop/web", "image": " shop/web:3 ", "by": " ada "}"#;
    let first = rig.taken::<Ordered>("updates", body).await;
    assert_eq!(first.update.image, "shop/web:3");
    assert_eq!(first.update.by.as_deref(), Some("ada"));
    assert_eq!(first.until, first.update.at + Update::VALID);
    assert_eq!(first.replaces, None);
    let body = r#"{"service": "shop/web", "image": "shop/web:4"}"#;
    let second = rig.taken::<Ordered>("updates", body).await;
    assert_eq!(second.replaces.as_ref(), Some(&first.update));
    assert!(second.update.at > first.update.at);

    let listed: Vec<ListedUpdate> = rig.until("updates", |it: &Vec<_>| it.len() == 2).await;
    assert_eq!(listed[0].update, second.update);
    assert!(listed[0].progress.is_some() && listed[0].replaced_by.is_none());
    assert_eq!(listed[1].update, first.update);
    assert_eq!(listed[1].progress, None);
    assert_eq!(listed[1].replaced_by.as_ref(), Some(&second.update.id));
    assert_eq!(written(&rig).await, [first.update, second.update]);
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_with_the_next_step() {
    let mut containers = willing();
    containers.push(container("plain", "plain-1", Mode::Act, false));
    containers.push(container("plain", "plain-2", Mode::Act, true));
    containers.push(container("watched", "watched-1", Mode::Observe, true));
    let rig = over(containers, &[]).await;
    let long = format!(
        r#"{{"service": "shop/web", "image": "{}"}}"#,
        "w".repeat(600)
    );
    let runs = format!(r#"{{"service": "shop/web", "image": "{}"}}"#, image(2).id);
    for (body, status, says) in [
        (
            r#"{"service": "x", "image": "web:3"}"#,
            404,
            "`homeostat services` lists them",
        ),
        (
            r#"{"service": "plain", "image": "web:3"}"#,
            409,
            "plain-1 does not have the label",
        ),
        (
            r#"{"service": "plain", "image": "web:3"}"#,
            409,
            "io.homeostat.update=true",
        ),
        (
            r#"{"service": "watched", "image": "web:3"}"#,
            409,
            "is only watched: watched-1",
        ),
        (&runs, 409, "runs that image already"),
        (&long, 400, "is no reference of an image"),
        (
            r#"{"service": "shop/web", "image": "web\u001b[2J"}"#,
            400,
            "is no reference",
        ),
        (
            r#"{"service": "shop/web", "image": ""}"#,
            400,
            "is no reference",
        ),
        (r#"{"service": "shop/web"}"#, 400, "missing field `image`"),
        (
            r#"{"service": "shop/web", "image": "web:3", "by": "\u001b[2J"}"#,
            400,
            "no text",
        ),
        (
            r#"{"service": "shop/web", "image": "web:3", "force": true}"#,
            400,
            "the body is not",
        ),
    ] {
        let (got, error) = rig.refused("updates", body).await;
        assert_eq!(got, status, "{body}: {error}");
        assert!(error.contains(says), "{body}: {error}");
    }
    let (status, error) = rig.refused("rollbacks", r#"{"service": "shop/web"}"#).await;
    assert_eq!(status, 409, "{error}");
    assert!(error.contains("no update has changed shop/web"), "{error}");
    assert!(
        error.contains("homeostat update shop/web --image IMAGE"),
        "{error}"
    );
    let other_site = rig
        .client
        .post(rig.url("updates"))
        .header("content-type", "application/json")
        .header("origin", "https://evil.example")
        .body(r#"{"service": "shop/web", "image": "web:3"}"#)
        .send();
    assert_eq!(other_site.await.unwrap().status(), 403);
    assert_eq!(written(&rig).await, []);
}

#[tokio::test]
async fn a_rollback_orders_the_image_before_the_last_update_that_changed_something() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let first = order("shop/web:1", minutes(60));
    let second = order("shop/web:2", minutes(30));
    let idle = order("shop/web:3", minutes(10));
    let plan = |entry| JournalEntry::Plan(Box::new(entry));
    let journal = [
        JournalEntry::Update(first.clone()),
        plan(carried_out(&first, image(0), image(1), minutes(1))),
        JournalEntry::Update(second.clone()),
        plan(carried_out(&second, image(1), image(2), minutes(1))),
        JournalEntry::Update(idle),
    ];
    let rig = over(willing(), &journal).await;
    let back = rig
        .taken::<Ordered>("rollbacks", r#"{"service": "shop/web", "by": "ada"}"#)
        .await;
    assert_eq!(back.update.image, image(1).id);
    assert_eq!(back.back_to, Some(image(1)));
    assert_eq!(back.update.by.as_deref(), Some("ada"));
    assert_eq!(written(&rig).await.len(), 4);
}

#[tokio::test]
async fn what_was_rolled_back_by_itself_is_not_rolled_back_further() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let bad = order("shop/web:3", minutes(30));
    let plan = |entry| JournalEntry::Plan(Box::new(entry));
    let journal = [
        JournalEntry::Update(bad.clone()),
        plan(carried_out(&bad, image(2), image(3), minutes(1))),
        plan(carried_out(&bad, image(3), image(2), minutes(5))),
    ];
    let rig = over(willing(), &journal).await;
    let (status, error) = rig.refused("rollbacks", r#"{"service": "shop/web"}"#).await;
    assert_eq!(status, 409, "{error}");
    assert!(
        error.contains("runs shop/web:2 (2) already") && error.contains("shop/web:3"),
        "{error}"
    );
}
