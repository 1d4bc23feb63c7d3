//! A container that goes to another node, against the real engine: two actuators share it under two names. What it keeps, what stays
//! closed to whoever reads the log, what is refused, and that whatever ends in the middle leaves no half of a container.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use actuator::Config;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{
    ContainerConfig, EndpointSettings, HealthConfig, NetworkingConfig, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CommitContainerOptions, CreateImageOptions, RemoveContainerOptions, RemoveImageOptions,
};
use bus::{From, Tailed};
use futures::StreamExt;
use support::registry::Registry;
use support::{IMAGE, Lost, NODE, PATIENCE, World, command};
use tokio::time::timeout;
use units::{
    Action, Command, ContainerId, LABEL_COMMAND, LABEL_REPLICA_OF, Mode, NodeId, Origin,
    OutcomeResult, Refusal, Relocation, StandingExport,
};
use wire::topic;

const OTHER: &str = "node-b";
const SECRET: &str = "PASSWORD=correct horse battery staple";
const MOVABLE: [(&str, &str); 3] = [
    ("io.homeostat.mode", "act"),
    ("io.homeostat.move", "true"),
    ("colour", "blue"),
];
const SUCCEEDED: OutcomeResult = OutcomeResult::Succeeded {
    created: None,
    previous: None,
    image: None,
    sealed: None,
    networks: Vec::new(),
};

fn here(world: &World) -> Config {
    Config {
        move_key_file: Some(world.key.clone()),
        ..world.config()
    }
}

fn there(world: &World) -> Config {
    Config {
        node: Some(OTHER.to_owned()),
        state_dir: Some(world.dir.path().join(OTHER)),
        ..here(world)
    }
}

fn relocation(container: &ContainerId) -> Relocation {
    Relocation {
        container: container.clone(),
        name: "test".into(),
        from: NodeId::from(NODE),
        to: NodeId::from(OTHER),
        at: kit::now(),
        lost: false,
    }
}

/// A step of the move on this node.
fn step(relocation: &Relocation, node: &str, action: Action) -> Command {
    Command {
        node: NodeId::from(node),
        relocation: Some(relocation.clone()),
        ..command(action)
    }
}

fn export(relocation: &Relocation) -> Command {
    let action = Action::Export {
        container: relocation.container.clone(),
        name: relocation.name.clone(),
    };
    step(relocation, NODE, action)
}

fn create(world: &World, relocation: &Relocation, sealed: &str) -> Command {
    let action = Action::CreateReplica {
        template: relocation.container.clone(),
        name: format!("{}-r1", world.name).as_str().into(),
        image: None,
        origin: Some(Origin {
            node: NodeId::from(NODE),
            sealed: sealed.to_owned(),
        }),
    };
    step(relocation, OTHER, action)
}

fn sealed(result: OutcomeResult) -> String {
    match result {
        OutcomeResult::Succeeded {
            sealed: Some(sealed),
            ..
        } => sealed,
        result => panic!("{result:?}"),
    }
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

async fn start(world: &World, container: &ContainerId) {
    let started = world.docker.start_container(container.as_str(), None).await;
    started.unwrap();
}

async fn remove(world: &World, container: &ContainerId) {
    let force = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    let removed = world
        .docker
        .remove_container(container.as_str(), Some(force));
    removed.await.unwrap();
}

/// A service's container as people make them, running.
async fn web(world: &World) -> ContainerId {
    let network = world.name.clone();
    world.network(&network).await;
    let id = world
        .create(&MOVABLE, |body, host| {
            body.env = Some(vec![SECRET.to_owned()]);
            body.cmd = Some(vec!["web".to_owned()]);
            body.exposed_ports = Some(vec!["8080/tcp".to_owned()]);
            body.healthcheck = Some(HealthConfig {
                test: Some(vec!["CMD".to_owned(), "/demo-app".into(), "health".into()]),
                retries: Some(7),
                ..HealthConfig::default()
            });
            host.network_mode = Some(network.clone());
            host.memory = Some(64 << 20);
            host.nano_cpus = Some(500_000_000);
            let free = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(String::new()),
            };
            host.port_bindings = Some(HashMap::from([("8080/tcp".to_owned(), Some(vec![free]))]));
            let known_as = EndpointSettings {
                aliases: Some(vec!["shop".to_owned()]),
                ..EndpointSettings::default()
            };
            body.networking_config = Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network.clone(), known_as)])),
            });
        })
        .await;
    start(world, &id).await;
    id
}

/// What was asked for is there again, under another id, and it runs.
async fn is_made_alike(world: &World, made: &ContainerId, of: &ContainerId, command: &Command) {
    let (before, after) = (world.inspect(of).await, world.inspect(made).await);
    assert_eq!(after.state.unwrap().running, Some(true));
    assert_eq!(after.image, before.image);
    let (had, has) = (before.config.unwrap(), after.config.unwrap());
    assert_eq!(has.env, had.env);
    assert_eq!(has.cmd, had.cmd);
    assert_eq!(has.healthcheck, had.healthcheck);
    let labels = has.labels.unwrap();
    assert_eq!(labels["colour"], "blue");
    assert_eq!(labels[LABEL_REPLICA_OF], of.as_str());
    assert_eq!(labels[LABEL_COMMAND], command.id.as_str());
    let (had, has) = (before.host_config.unwrap(), after.host_config.unwrap());
    assert_eq!((has.memory, has.nano_cpus), (had.memory, had.nano_cpus));
    let settings = after.network_settings.unwrap();
    let aliases = settings.networks.unwrap()[&world.name].aliases.clone();
    assert!(aliases.unwrap().contains(&"shop".to_owned()));
    let port = |settings: bollard::models::NetworkSettings| {
        let bound = settings.ports.unwrap()["8080/tcp"].clone().unwrap();
        bound[0].host_port.clone().unwrap()
    };
    let now = world.inspect(of).await.network_settings.unwrap();
    let again = world.inspect(made).await.network_settings.unwrap();
    assert_ne!(port(now), port(again), "a free one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_goes_to_another_node_as_it_is_and_back_without_a_trace() {
    let mut world = World::new("move").await;
    let web = web(&world).await;
    let (a, b) = (world.start(here(&world)), world.start(there(&world)));
    let relocation = relocation(&web);

    let text = sealed(world.answer(&export(&relocation)).await);
    let bytes = STANDARD.decode(&text).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("correct horse"));
    assert_eq!(world.containers().await, [web.as_str()]);

    let create = create(&world, &relocation, &text);
    let made = created(&world.answer(&create).await);
    is_made_alike(&world, &made, &web, &create).await;

    let grace = Duration::from_secs(5);
    let stop = Action::Stop {
        container: web.clone(),
        name: "test".into(),
        grace,
    };
    let stop = step(&relocation, NODE, stop);
    assert_eq!(world.answer(&stop).await, SUCCEEDED);
    let running = world.inspect(&web).await.state.unwrap().running;
    assert_eq!(running, Some(false));
    let removal = |container: &ContainerId, node: &str| {
        let action = Action::RemoveReplica {
            container: container.clone(),
            name: "test".into(),
            grace,
        };
        step(&relocation, node, action)
    };
    let (refusal, _) = world.refusal(&removal(&web, NODE)).await;
    assert_eq!(refusal, Refusal::NotOurs, "a person made it");

    let restart = Action::Restart {
        container: web.clone(),
        name: "test".into(),
        grace,
    };
    let restart = step(&relocation, NODE, restart);
    assert_eq!(world.answer(&restart).await, SUCCEEDED);
    assert_eq!(world.answer(&removal(&made, OTHER)).await, SUCCEEDED);
    assert_eq!(world.containers().await, [web.as_str()]);
    a.shut_down().await;
    b.shut_down().await;
}

/// What the actuator told of a container in case its node is lost.
async fn standing(world: &World, container: &ContainerId) -> StandingExport {
    let tail = world.bus.tail(topic::EXPORTS, From::Beginning).await;
    let mut tail = tail.unwrap();
    let told = async {
        loop {
            if let Tailed::Record(record) = tail.next().await.unwrap()
                && let Ok(export) = wire::decode::<StandingExport>(&record)
                && export.container == *container
            {
                return export;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it was not told")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_a_node_was_lost_makes_the_same_container_on_another() {
    let mut world = World::new("lost").await;
    let web = web(&world).await;
    let a = world.start(here(&world));
    let export = standing(&world, &web).await;
    assert_eq!(export.node.as_str(), NODE);
    a.shut_down().await;

    let b = world.start(there(&world));
    let lost = Relocation {
        lost: true,
        ..relocation(&web)
    };
    // It is good for a failover of this container alone.
    let planned = relocation(&web);
    let (refusal, _) = world
        .refusal(&create(&world, &planned, &export.sealed))
        .await;
    assert_eq!(refusal, Refusal::NoKey);
    let create = create(&world, &lost, &export.sealed);
    let made = created(&world.answer(&create).await);
    is_made_alike(&world, &made, &web, &create).await;

    // The node is back, and what ran there goes, or its successor does.
    let a = world.start(here(&world));
    let grace = Duration::from_secs(5);
    let stop = Action::Stop {
        container: web.clone(),
        name: "test".into(),
        grace,
    };
    let removal = |container: &ContainerId| Action::RemoveReplica {
        container: container.clone(),
        name: "test".into(),
        grace,
    };
    assert_eq!(world.answer(&step(&lost, NODE, stop)).await, SUCCEEDED);
    assert_eq!(
        world.inspect(&web).await.state.unwrap().running,
        Some(false)
    );
    let (refusal, _) = world.refusal(&step(&lost, NODE, removal(&web))).await;
    assert_eq!(refusal, Refusal::NotOurs, "a person made it");
    let back = step(&lost, OTHER, removal(&made));
    assert_eq!(world.answer(&back).await, SUCCEEDED);
    assert_eq!(world.containers().await, [web.as_str()]);
    a.shut_down().await;
    b.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_to_its_node_is_not_told_of_and_every_reason_is_said() {
    let mut world = World::new("stays").await;
    let volume = format!("{}-data", world.name);
    let bound = world
        .create(&MOVABLE, |body, host| {
            body.exposed_ports = Some(vec!["80/tcp".to_owned()]);
            let fixed = PortBinding {
                host_ip: None,
                host_port: Some("18081".to_owned()),
            };
            host.port_bindings = Some(HashMap::from([("80/tcp".to_owned(), Some(vec![fixed]))]));
            host.privileged = Some(true);
            host.binds = Some(vec![format!("{volume}:/data:ro")]);
        })
        .await;
    let plain = world.container(&[("io.homeostat.mode", "act")]).await;
    let free = world.container(&MOVABLE).await;
    let a = world.start(here(&world));

    let (refusal, reason) = world.refusal(&export(&relocation(&bound))).await;
    assert_eq!(refusal, Refusal::Unsafe);
    for word in [
        "privileged",
        "fixed host port 18081",
        "reads a volume of its node at /data",
        "does not run",
    ] {
        assert!(reason.contains(word), "{word}: {reason}");
    }
    let (refusal, reason) = world.refusal(&export(&relocation(&plain))).await;
    assert_eq!(refusal, Refusal::NotOptedIn);
    assert!(reason.contains("io.homeostat.move=true"), "{reason}");
    let of_another = Command {
        relocation: Some(relocation(&plain)),
        ..export(&relocation(&free))
    };
    let of_none = Command {
        relocation: None,
        ..export(&relocation(&free))
    };
    for command in [of_another, of_none] {
        let (refusal, reason) = world.refusal(&command).await;
        assert_eq!(refusal, Refusal::Unsafe, "{reason}");
    }
    // By the label of moves alone nothing else is done.
    let stop = Action::Stop {
        container: free.clone(),
        name: "test".into(),
        grace: Duration::from_secs(1),
    };
    let mut other = relocation(&plain);
    for relocation in [None, Some(other.clone())] {
        let stop = Command {
            relocation,
            ..command(stop.clone())
        };
        let (refusal, _) = world.refusal(&stop).await;
        assert_eq!(refusal, Refusal::NotOptedIn);
    }
    other.container = free.clone();
    other.from = NodeId::from(OTHER);
    let elsewhere = Command {
        relocation: Some(other),
        ..command(stop)
    };
    assert_eq!(world.refusal(&elsewhere).await.0, Refusal::NotOptedIn);
    a.shut_down().await;
    remove(&world, &bound).await;
    let options = None::<bollard::query_parameters::RemoveVolumeOptions>;
    let _ = world.docker.remove_volume(&volume, options).await;

    let without = world.start(world.config());
    let (refusal, reason) = world.refusal(&export(&relocation(&free))).await;
    assert_eq!(refusal, Refusal::NoKey);
    assert!(reason.contains("actuator.move_key_file"), "{reason}");
    without.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_of_what_was_sealed_otherwise_or_for_elsewhere() {
    let mut world = World::new("closed").await;
    let web = world.container(&MOVABLE).await;
    let (a, b) = (world.start(here(&world)), world.start(there(&world)));
    let relocation = relocation(&web);
    let text = sealed(world.answer(&export(&relocation)).await);

    let mut damaged = text.clone().into_bytes();
    let middle = damaged.len() / 2;
    damaged[middle] = if damaged[middle] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(damaged).unwrap();
    let later = Relocation {
        at: relocation.at + Duration::from_millis(1),
        ..relocation.clone()
    };
    for command in [
        create(&world, &relocation, &damaged),
        create(&world, &later, &text),
    ] {
        let (refusal, reason) = world.refusal(&command).await;
        assert_eq!(refusal, Refusal::NoKey, "{reason}");
        assert!(reason.contains("does not open"), "{reason}");
    }
    let elsewhere = Relocation {
        to: NodeId::from("node-c"),
        ..relocation.clone()
    };
    let (refusal, _) = world.refusal(&create(&world, &elsewhere, &text)).await;
    assert_eq!(refusal, Refusal::Unsafe);
    b.shut_down().await;

    for (config, expected) in [
        (
            Config {
                move_key_file: Some(support::key::write(&world.dir.path().join("other.key"), 8)),
                ..there(&world)
            },
            Refusal::NoKey,
        ),
        (
            Config {
                move_key_file: None,
                ..there(&world)
            },
            Refusal::NoKey,
        ),
        (
            Config {
                max_mode: Mode::Suggest,
                ..there(&world)
            },
            Refusal::NotOptedIn,
        ),
    ] {
        let b = world.start(config);
        let (refusal, reason) = world.refusal(&create(&world, &relocation, &text)).await;
        assert_eq!(refusal, expected, "{reason}");
        b.shut_down().await;
    }
    assert_eq!(world.containers().await, [web.as_str()], "nothing was made");
    a.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_node_lacks_is_named() {
    let mut world = World::new("lacks").await;
    let maker = world.container(&[]).await;
    let tag = format!("own-{}", std::process::id());
    let options = CommitContainerOptions {
        container: Some(maker.as_str().to_owned()),
        repo: Some("homeostat-demo".to_owned()),
        tag: Some(tag.clone()),
        ..CommitContainerOptions::default()
    };
    let built = world
        .docker
        .commit_container(options, ContainerConfig::default());
    built.await.unwrap();
    remove(&world, &maker).await;
    let image = format!("homeostat-demo:{tag}");
    let own = world
        .create(&MOVABLE, |body, _| body.image = Some(image.clone()))
        .await;
    start(&world, &own).await;
    let web = web(&world).await;
    let a = world.start(here(&world));
    // The other one would tell of it as its own: they share an engine.
    let beforehand = standing(&world, &own).await;
    let b = world.start(there(&world));
    let mut commands = Vec::new();
    for container in [&own, &web] {
        let relocation = relocation(container);
        let text = sealed(world.answer(&export(&relocation)).await);
        commands.push(create(&world, &relocation, &text));
        remove(&world, container).await;
    }
    let options = None::<RemoveImageOptions>;
    world
        .docker
        .remove_image(&image, options, None)
        .await
        .unwrap();
    world.docker.remove_network(&world.name).await.unwrap();

    let told = error(world.answer(&commands[0]).await);
    for word in [
        image.as_str(),
        "built on node-a",
        "in no registry",
        "set actuator.images.listen there",
        OTHER,
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let lost = Relocation {
        lost: true,
        ..relocation(&own)
    };
    let of_lost = create(&world, &lost, &beforehand.sealed);
    let told = error(world.answer(&of_lost).await);
    for word in [
        "in no registry",
        "node-a is lost and cannot give it",
        "docker load",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let told = error(world.answer(&commands[1]).await);
    let network = format!("node-b has no network {}", world.name);
    for word in [network.as_str(), "docker network create"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(world.containers().await.is_empty(), "nothing is left");
    a.shut_down().await;
    b.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_steps_it_leaves_a_container_that_runs_or_none() {
    for (cut_at, lost) in ["/containers/create?", "/start"]
        .into_iter()
        .flat_map(|step| [(step, Lost::Request), (step, Lost::Answer)])
    {
        let mut world = World::new("movecut").await;
        let web = world.container(&MOVABLE).await;
        let a = world.start(here(&world));
        let relocation = relocation(&web);
        let text = sealed(world.answer(&export(&relocation)).await);
        let cut = world.dir.path().join("cut.sock");
        let mut proxy = support::hanging_proxy(&cut, cut_at, lost);
        let first = world.start(Config {
            docker: Some(format!("unix://{}", cut.display())),
            ..there(&world)
        });
        let create = create(&world, &relocation, &text);
        world.send(&create).await;
        proxy.has_cut().await;
        first.kill(&world.dir.path().join(OTHER)).await;

        let second = world.start(there(&world));
        let outcome = world.outcome(&create).await;
        let mut left = world.containers().await;
        left.retain(|id| id != web.as_str());
        match &outcome.result {
            OutcomeResult::Succeeded {
                created: Some(made),
                ..
            } => {
                assert_eq!(left, [made.as_str()], "{cut_at} {lost:?}");
                let state = world.inspect(made).await.state.unwrap();
                assert_eq!(state.running, Some(true));
            }
            OutcomeResult::Failed { .. } | OutcomeResult::Interrupted => {
                assert!(left.is_empty(), "{cut_at} {lost:?}: {left:?}");
            }
            other => panic!("{cut_at} {lost:?}: {other:?}"),
        }
        second.shut_down().await;
        a.shut_down().await;
    }
}

/// An image that a registry has and this engine has not, and a container that runs it on the other node.
async fn of_a_registry(world: &mut World) -> (Registry, Relocation, String) {
    let maker = world.container(&[]).await;
    let tag = format!("pulled-{}", world.name);
    let options = CommitContainerOptions {
        container: Some(maker.as_str().to_owned()),
        repo: Some("homeostat-demo".to_owned()),
        tag: Some(tag.clone()),
        ..CommitContainerOptions::default()
    };
    let config = ContainerConfig {
        env: Some(vec![format!("MADE_FOR={}", world.name)]),
        ..ContainerConfig::default()
    };
    let built = world.docker.commit_container(options, config).await;
    built.unwrap();
    remove(world, &maker).await;
    let image = format!("homeostat-demo:{tag}");
    let registry = Registry::of(&world.docker, &image).await;
    unnamed(world, &image).await;
    let options = CreateImageOptions {
        from_image: Some(registry.reference.clone()),
        ..CreateImageOptions::default()
    };
    let mut pulled = std::pin::pin!(world.docker.create_image(Some(options), None, None));
    while let Some(step) = pulled.next().await {
        step.unwrap();
    }
    let reference = registry.reference.clone();
    let web = world
        .create(&MOVABLE, |body, _| body.image = Some(reference.clone()))
        .await;
    start(world, &web).await;
    let id = world.inspect(&web).await.image.unwrap();
    let relocation = relocation(&web);
    let text = sealed(world.answer(&export(&relocation)).await);
    remove(world, &web).await;
    unnamed(world, &reference).await;
    let left = world.docker.inspect_image(&id).await;
    assert!(left.is_err(), "{left:?}");
    (registry, relocation, text)
}

async fn unnamed(world: &World, image: &str) {
    let options = None::<RemoveImageOptions>;
    world
        .docker
        .remove_image(image, options, None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_from_its_registry_by_its_digest_whatever_ends_meanwhile() {
    let mut world = World::new("movepull").await;
    let a = world.start(here(&world));
    let (registry, relocation, text) = of_a_registry(&mut world).await;
    let late = Command {
        deadline: kit::now() + Duration::from_secs(5),
        ..create(&world, &relocation, &text)
    };
    registry.hold();
    let first = world.start(there(&world));
    let (refusal, reason) = world.refusal(&late).await;
    assert_eq!(refusal, Refusal::Expired, "{reason}");

    let create = create(&world, &relocation, &text);
    let asked = registry.is_asked();
    world.send(&create).await;
    asked.await;
    first.kill(&world.dir.path().join(OTHER)).await;
    registry.release();
    let second = world.start(there(&world));
    let made = created(&world.outcome(&create).await.result);
    let found = world.inspect(&made).await;
    assert_eq!(found.state.unwrap().running, Some(true));
    let config = found.config.unwrap();
    assert!(
        config
            .env
            .unwrap()
            .contains(&format!("MADE_FOR={}", world.name))
    );
    // Of a pull that was left an engine may keep the image without a name.
    let (repository, _) = registry.reference.rsplit_once(':').unwrap();
    let image = config.image.unwrap();
    let digest = format!("{repository}@sha256:");
    assert!(
        image.starts_with(&digest) || Some(&image) == found.image.as_ref(),
        "{image}"
    );
    remove(&world, &made).await;
    unnamed(&world, &image).await;

    drop(registry);
    let again = self::create(&world, &relocation, &text);
    let told = error(world.answer(&again).await);
    for word in ["cannot pull the image", &digest, "check that it runs"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(world.containers().await.is_empty());
    second.shut_down().await;
    a.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_always_to_run_stays_stopped_all_the_same() {
    let mut world = World::new("kept").await;
    let web = world
        .create(&MOVABLE, |body, host| {
            body.image = Some(IMAGE.to_owned());
            host.memory = Some(64 << 20);
            host.restart_policy = Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::ALWAYS),
                maximum_retry_count: None,
            });
        })
        .await;
    start(&world, &web).await;
    let actuator = world.start(here(&world));
    let stop = Action::Stop {
        container: web.clone(),
        name: "test".into(),
        grace: Duration::from_secs(5),
    };
    let stop = step(&relocation(&web), NODE, stop);
    assert_eq!(world.answer(&stop).await, SUCCEEDED);
    let found = world.inspect(&web).await;
    assert_eq!(found.state.unwrap().running, Some(false));
    let host = found.host_config.unwrap();
    let policy = host.restart_policy.unwrap().name;
    assert_eq!(policy, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
    assert_eq!(host.memory, Some(64 << 20), "and nothing else is changed");
    actuator.shut_down().await;
}
