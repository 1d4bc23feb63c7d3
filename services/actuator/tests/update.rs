//! The steps of an update against the real engine: an image is had at hand without a registry, a replica and a container anew run it
//! with its own defaults, and nothing of that is done without a person's order and the label.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use bollard::models::ContainerConfig;
use bollard::query_parameters::{
    CommitContainerOptions, RemoveContainerOptions, RemoveImageOptions,
};
use support::{World, command};
use units::{
    Action, Command, ContainerId, ContainerName, Image, ImageChange, LABEL_REPLICA_OF,
    OutcomeResult, Refusal, ServiceId, Update, UpdateId,
};

const UPDATED: [(&str, &str); 3] = [
    ("io.homeostat.mode", "suggest"),
    ("io.homeostat.update", "true"),
    ("colour", "blue"),
];
/// Nobody listens there, so that a pull is refused at once.
const NO_REGISTRY: &str = "localhost:1";

/// Versions 1 and 2 of a program under two names, both gone with this value.
struct Versions {
    old: Image,
    new: Image,
}

impl Versions {
    /// Two images of the tests' program that differ in their defaults.
    async fn of(world: &World) -> Versions {
        let maker = world.container(&[]).await;
        let old = committed(world, &maker, "web", "1").await;
        let new = committed(world, &maker, "shop", "2").await;
        let force = RemoveContainerOptions {
            force: true,
            ..RemoveContainerOptions::default()
        };
        let removed = world.docker.remove_container(maker.as_str(), Some(force));
        removed.await.unwrap();
        Versions { old, new }
    }

    fn there(&self) -> Option<ImageChange> {
        Some(ImageChange {
            from: self.old.clone(),
            to: self.new.clone(),
        })
    }

    fn back(&self) -> Option<ImageChange> {
        Some(ImageChange {
            from: self.new.clone(),
            to: self.old.clone(),
        })
    }

    async fn remove(self, world: &World) {
        for id in world.containers().await {
            let force = RemoveContainerOptions {
                force: true,
                ..RemoveContainerOptions::default()
            };
            let _ = world.docker.remove_container(&id, Some(force)).await;
        }
        for image in [self.old, self.new] {
            let options = None::<RemoveImageOptions>;
            let _ = world
                .docker
                .remove_image(&image.reference, options, None)
                .await;
        }
    }
}

async fn committed(world: &World, of: &ContainerId, name: &str, version: &str) -> Image {
    let repo = format!("{NO_REGISTRY}/{}-{name}", world.name);
    let options = CommitContainerOptions {
        container: Some(of.as_str().to_owned()),
        repo: Some(repo.clone()),
        tag: Some(version.to_owned()),
        ..CommitContainerOptions::default()
    };
    let config = ContainerConfig {
        env: Some(vec![format!("VERSION={version}")]),
        labels: Some(HashMap::from([("version".to_owned(), version.to_owned())])),
        ..ContainerConfig::default()
    };
    world
        .docker
        .commit_container(options, config)
        .await
        .unwrap();
    let reference = format!("{repo}:{version}");
    let id = world.docker.inspect_image(&reference).await.unwrap().id;
    Image {
        reference,
        id: id.unwrap(),
    }
}

/// A running container of the old version.
async fn old_one(world: &World, versions: &Versions, labels: &[(&str, &str)]) -> ContainerId {
    let id = world
        .create(labels, |body, _| {
            body.image = Some(versions.old.reference.clone());
            body.env = Some(vec!["COLOUR=blue".to_owned()]);
        })
        .await;
    let started = world.docker.start_container(id.as_str(), None).await;
    started.unwrap();
    id
}

/// The command as a step of an order of this image.
fn ordered(mut command: Command, image: &str) -> Command {
    let service = ServiceId::from("test");
    command.update = Some(Update {
        id: UpdateId::of(&service, command.issued_at),
        service,
        image: image.to_owned(),
        at: command.issued_at,
        by: Some("ada".to_owned()),
    });
    command
}

fn pull(container: &ContainerId, reference: &str) -> Command {
    let action = Action::PullImage {
        container: container.clone(),
        name: "test".into(),
        reference: reference.to_owned(),
    };
    ordered(command(action), reference)
}

async fn recreate(world: &World, container: &ContainerId, image: Option<ImageChange>) -> Command {
    let name = world.inspect(container).await.name.unwrap();
    command(Action::Recreate {
        container: container.clone(),
        name: name.trim_start_matches('/').into(),
        grace: Duration::from_secs(1),
        image,
    })
}

fn created(result: &OutcomeResult) -> ContainerId {
    match result {
        OutcomeResult::Succeeded {
            created: Some(created),
            ..
        } => created.clone(),
        result => panic!("{result:?}"),
    }
}

fn error(result: OutcomeResult) -> String {
    match result {
        OutcomeResult::Failed { error } => error,
        result => panic!("{result:?}"),
    }
}

/// It runs this image with that image's defaults, and has kept what its maker asked for.
async fn runs(world: &World, container: &ContainerId, image: &Image, version: &str) {
    let found = world.inspect(container).await;
    assert_eq!(found.state.unwrap().running, Some(true));
    assert_eq!(found.image.as_ref(), Some(&image.id));
    let config = found.config.unwrap();
    assert_eq!(config.image.as_ref(), Some(&image.reference));
    let env = config.env.unwrap();
    assert!(env.contains(&"COLOUR=blue".to_owned()), "{env:?}");
    let versions: Vec<&String> = env.iter().filter(|it| it.starts_with("VERSION=")).collect();
    assert_eq!(versions, [&format!("VERSION={version}")]);
    let labels = config.labels.unwrap();
    assert_eq!(labels["version"], version);
    assert_eq!(labels["colour"], "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_here_will_do_where_no_registry_has_it() {
    let mut world = World::new("pull").await;
    let versions = Versions::of(&world).await;
    let web = old_one(&world, &versions, &UPDATED).await;
    let actuator = world.start(world.config());
    let new = versions.new.clone();
    for reference in [&new.reference, &new.id] {
        let result = world.answer(&pull(&web, reference)).await;
        let OutcomeResult::Succeeded {
            image: Some(image), ..
        } = result
        else {
            panic!("{result:?}");
        };
        assert_eq!(image, new, "an id is told with the name people know");
    }
    let missing = format!("{NO_REGISTRY}/{}:9", world.name);
    let why = error(world.answer(&pull(&web, &missing)).await);
    assert!(
        why.contains(&missing) && why.contains("no image of that name"),
        "{why}"
    );
    let unknown = format!("sha256:{}", "0".repeat(64));
    let why = error(world.answer(&pull(&web, &unknown)).await);
    assert!(why.contains("the engine has no image"), "{why}");

    let foreign = format!("{NO_REGISTRY}/{}-foreign:1", world.name);
    load_for_another_machine(&foreign);
    let why = error(world.answer(&pull(&web, &foreign)).await);
    let options = None::<RemoveImageOptions>;
    let removed = world.docker.remove_image(&foreign, options, None).await;
    removed.unwrap();
    assert!(why.contains("is built for linux/s390x"), "{why}");
    assert_eq!(
        world.containers().await,
        [web.as_str()],
        "nothing is touched"
    );
    actuator.shut_down().await;
    versions.remove(&world).await;
}

/// An image of nothing, for a processor that no machine of these tests has. An archive says so on every engine; `docker import` only on
/// some.
fn load_for_another_machine(reference: &str) {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"architecture":"s390x","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{reference}"],"Layers":[]}}]"#);
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    std::fs::write(dir.path().join("manifest.json"), manifest).unwrap();
    let archive = dir.path().join("image.tar");
    let mut tar = Process::new("tar");
    tar.arg("-C").arg(dir.path()).arg("-cf").arg(&archive);
    assert!(
        tar.args(["config.json", "manifest.json"])
            .status()
            .unwrap()
            .success()
    );
    let mut load = Process::new("docker");
    load.args(["load", "--input"])
        .arg(&archive)
        .stdout(Stdio::null());
    assert!(load.status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_containers_anew_run_the_ordered_image_with_its_own_defaults_and_back() {
    let mut world = World::new("roll").await;
    let versions = Versions::of(&world).await;
    let web = old_one(&world, &versions, &UPDATED).await;
    let actuator = world.start(world.config());
    let image = versions.new.reference.clone();

    let canary = command(Action::CreateReplica {
        template: web.clone(),
        name: ContainerName::new(format!("{}-canary", world.name)),
        image: versions.there(),
        origin: None,
    });
    let canary = created(&world.answer(&ordered(canary, &image)).await);
    runs(&world, &canary, &versions.new, "2").await;
    runs(&world, &web, &versions.old, "1").await;

    let to_new = recreate(&world, &web, versions.there()).await;
    let (refusal, reason) = world.refusal(&to_new).await;
    assert_eq!(refusal, Refusal::NotOptedIn, "{reason}");
    let to_new = recreate(&world, &web, versions.there()).await;
    let anew = created(&world.answer(&ordered(to_new, &image)).await);
    runs(&world, &anew, &versions.new, "2").await;

    let again = recreate(&world, &anew, versions.there()).await;
    let (refusal, reason) = world.refusal(&ordered(again, &image)).await;
    assert_eq!(refusal, Refusal::Unsafe);
    assert!(reason.contains("somebody else was there first"), "{reason}");

    let back = recreate(&world, &anew, versions.back()).await;
    let back = created(&world.answer(&ordered(back, &image)).await);
    runs(&world, &back, &versions.old, "1").await;
    let gone = world.answer(&ordered(world.remove(&canary), &image)).await;
    assert!(matches!(gone, OutcomeResult::Succeeded { .. }), "{gone:?}");
    assert_eq!(world.containers().await, [back.as_str()]);
    actuator.shut_down().await;
    versions.remove(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_order_or_its_label_nothing_of_an_update_is_done() {
    let mut world = World::new("unordered").await;
    let versions = Versions::of(&world).await;
    let labels = [
        ("io.homeostat.mode", "act"),
        ("io.homeostat.update", "true"),
    ];
    let willing = old_one(&world, &versions, &labels).await;
    let unlabelled = old_one(&world, &versions, &support::ACT).await;
    let recreated = [
        ("io.homeostat.mode", "act"),
        ("io.homeostat.heal", "recreate"),
    ];
    let healed = old_one(&world, &versions, &recreated).await;
    let actuator = world.start(world.config());
    let image = versions.new.reference.clone();
    let replica = |template: &ContainerId| {
        command(Action::CreateReplica {
            template: template.clone(),
            name: ContainerName::new(format!("{}-canary", world.name)),
            image: versions.there(),
            origin: None,
        })
    };
    let mut without = pull(&willing, &image);
    without.update = None;
    let refused = [
        (without, Refusal::NotOptedIn, "order the update"),
        (replica(&willing), Refusal::NotOptedIn, "order the update"),
        (
            pull(&unlabelled, &image),
            Refusal::NotOptedIn,
            "io.homeostat.update=true",
        ),
        (
            ordered(replica(&unlabelled), &image),
            Refusal::NotOptedIn,
            "io.homeostat.update=true",
        ),
        (
            ordered(world.remove(&willing), &image),
            Refusal::NotOurs,
            LABEL_REPLICA_OF,
        ),
        (
            ordered(world.restart(&willing, Duration::from_secs(1)), &image),
            Refusal::NotOptedIn,
            "io.homeostat.heal=true",
        ),
        // Of another name, and nobody ordered that one.
        (
            recreate(&world, &healed, versions.there()).await,
            Refusal::Unsafe,
            "the image to put in its place",
        ),
        (
            ordered(replica(&willing), "shop:9"),
            Refusal::Unsafe,
            "the image to put in its place",
        ),
    ];
    for (command, refusal, says) in refused {
        let (why, reason) = world.refusal(&command).await;
        assert_eq!(why, refusal, "{reason}");
        assert!(reason.contains(says), "{says}: {reason}");
    }
    assert_eq!(world.containers().await.len(), 3);
    actuator.shut_down().await;
    versions.remove(&world).await;
}
