//! Putting a new container in another's place, against the real engine: what it keeps, what is refused, and that whatever ends in the
//! middle leaves exactly one container running under the name.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerConfig, EndpointSettings, NetworkConnectRequest, NetworkCreateRequest,
    NetworkingConfig, PortBinding,
};
use bollard::query_parameters::{CommitContainerOptions, RemoveImageOptions};
use support::{IMAGE, Lost, World, command};
use units::{
    Action, Command, ContainerId, Image, ImageChange, LABEL_COMMAND, OutcomeResult, Refusal,
};

const SECOND: Duration = Duration::from_secs(1);
const RECREATE: [(&str, &str); 3] = [
    ("io.homeostat.mode", "act"),
    ("io.homeostat.heal", "recreate"),
    ("colour", "blue"),
];

async fn recreate(world: &World, container: &ContainerId, image: Option<ImageChange>) -> Command {
    let name = world.inspect(container).await.name.unwrap();
    command(Action::Recreate {
        container: container.clone(),
        name: name.trim_start_matches('/').into(),
        grace: SECOND,
        image,
    })
}

/// The one container that has this name, which must run.
async fn under_the_name(world: &World, command: &Command) -> ContainerId {
    let name = format!("/{}", command.action.name());
    let mut found = Vec::new();
    for id in world.containers().await {
        let container = world.inspect(&ContainerId::new(id.clone())).await;
        assert!(
            !container.name.as_deref().unwrap().contains("_homeostat-"),
            "one is left aside: {container:?}"
        );
        if container.name.as_deref() == Some(&name) {
            assert_eq!(container.state.unwrap().running, Some(true), "{name}");
            found.push(ContainerId::new(id));
        }
    }
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found.remove(0)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_container_keeps_its_name_labels_environment_networks_and_volumes() {
    let mut world = World::new("anew").await;
    let (main, other) = (world.name.clone(), format!("{}-b", world.name));
    for network in [&main, &other] {
        let request = NetworkCreateRequest {
            name: network.clone(),
            ..NetworkCreateRequest::default()
        };
        world.docker.create_network(request).await.unwrap();
    }
    let aliases = |alias: &str| EndpointSettings {
        aliases: Some(vec![alias.to_owned()]),
        ..EndpointSettings::default()
    };
    let web = world
        .create(&RECREATE, |body, host| {
            body.env = Some(vec!["COLOUR=blue".to_owned()]);
            body.volumes = Some(vec!["/data".to_owned()]);
            body.exposed_ports = Some(vec!["8080/tcp".to_owned()]);
            host.network_mode = Some(main.clone());
            host.memory = Some(64 << 20);
            let fixed = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some("18943".to_owned()),
            };
            host.port_bindings = Some(HashMap::from([("8080/tcp".to_owned(), Some(vec![fixed]))]));
            body.networking_config = Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(main.clone(), aliases("web"))])),
            });
        })
        .await;
    let connect = NetworkConnectRequest {
        container: web.as_str().to_owned(),
        endpoint_config: Some(aliases("web-back")),
    };
    world.docker.connect_network(&other, connect).await.unwrap();
    let started = world.docker.start_container(web.as_str(), None).await;
    started.unwrap();
    let before = world.inspect(&web).await;
    let actuator = world.start(world.config());

    let anew = recreate(&world, &web, None).await;
    let made = created(&world.answer(&anew).await);
    assert_ne!(made, web);
    assert_eq!(world.containers().await, [made.as_str()]);
    assert_eq!(under_the_name(&world, &anew).await, made);
    let after = world.inspect(&made).await;
    assert_eq!(after.image, before.image);
    let config = after.config.unwrap();
    assert!(config.env.unwrap().contains(&"COLOUR=blue".to_owned()));
    let labels = config.labels.unwrap();
    assert_eq!(labels["colour"], "blue");
    assert_eq!(labels[LABEL_COMMAND], anew.id.as_str());
    let host = after.host_config.unwrap();
    assert_eq!(host.memory, Some(64 << 20));
    let bound = host.port_bindings.unwrap()["8080/tcp"].clone().unwrap();
    assert_eq!(bound[0].host_port.as_deref(), Some("18943"));
    let networks = after.network_settings.unwrap().networks.unwrap();
    let known_as = |network: &str| networks[network].aliases.clone().unwrap();
    assert!(known_as(&main).contains(&"web".to_owned()), "{networks:?}");
    assert!(
        known_as(&other).contains(&"web-back".to_owned()),
        "{networks:?}"
    );
    let volume = |mounts: Option<Vec<bollard::models::MountPoint>>| {
        let mounts = mounts.unwrap().into_iter();
        let mut at = mounts.filter(|it| it.destination.as_deref() == Some("/data"));
        at.next().unwrap().name.unwrap()
    };
    let kept = volume(before.mounts);
    assert_eq!(volume(after.mounts), kept, "the same volume, with its data");
    world.docker.inspect_volume(&kept).await.unwrap();

    let again = recreate(&world, &made, None).await;
    let second = created(&world.answer(&again).await);
    assert_eq!(volume(world.inspect(&second).await.mounts), kept);
    actuator.shut_down().await;
    let force = bollard::query_parameters::RemoveContainerOptions {
        force: true,
        ..Default::default()
    };
    let removed = world.docker.remove_container(second.as_str(), Some(force));
    removed.await.unwrap();
    let _ = world
        .docker
        .remove_volume(
            &kept,
            None::<bollard::query_parameters::RemoveVolumeOptions>,
        )
        .await;
}

/// An image like that of the tests, but for its program.
async fn variant(world: &World, of: &ContainerId, tag: &str, program: &str) -> Image {
    let options = CommitContainerOptions {
        container: Some(of.as_str().to_owned()),
        repo: Some("homeostat-demo".to_owned()),
        tag: Some(tag.to_owned()),
        ..CommitContainerOptions::default()
    };
    let config = ContainerConfig {
        entrypoint: Some(vec![program.to_owned()]),
        ..ContainerConfig::default()
    };
    let committed = world.docker.commit_container(options, config).await;
    let reference = format!("homeostat-demo:{tag}");
    committed.unwrap();
    let id = world.docker.inspect_image(&reference).await.unwrap().id;
    Image {
        reference,
        id: id.unwrap(),
    }
}

async fn own_image(world: &World, container: &ContainerId) -> Image {
    Image {
        reference: IMAGE.to_owned(),
        id: world.inspect(container).await.image.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_start_gives_way_to_the_container_before() {
    let mut world = World::new("putback").await;
    let web = world.container(&RECREATE).await;
    let from = own_image(&world, &web).await;
    let tag = format!("broken-{}", std::process::id());
    let to = variant(&world, &web, &tag, "/no-such-program").await;
    let actuator = world.start(world.config());

    let change = ImageChange {
        from: from.clone(),
        to: to.clone(),
    };
    let command = recreate(&world, &web, Some(change)).await;
    let result = world.answer(&command).await;
    let OutcomeResult::Failed { error } = &result else {
        panic!("{result:?}");
    };
    assert!(
        error.contains("no-such-program") && error.contains("the one before was put back"),
        "{error}"
    );
    assert_eq!(world.containers().await, [web.as_str()]);
    assert_eq!(under_the_name(&world, &command).await, web);

    let moved = ImageChange { from: to, to: from };
    let (refusal, reason) = world
        .refusal(&recreate(&world, &web, Some(moved)).await)
        .await;
    assert_eq!(refusal, Refusal::Unsafe);
    assert!(reason.contains("somebody else was there first"), "{reason}");
    actuator.shut_down().await;
    let reference = format!("homeostat-demo:{tag}");
    let _ = world
        .docker
        .remove_image(&reference, None::<RemoveImageOptions>, None)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolled_back_it_runs_the_image_before() {
    let mut world = World::new("rollback").await;
    let web = world.container(&RECREATE).await;
    let from = own_image(&world, &web).await;
    let config = world.inspect(&web).await.config.unwrap();
    let program = config.entrypoint.unwrap().remove(0);
    let tag = format!("before-{}", std::process::id());
    let to = variant(&world, &web, &tag, &program).await;
    let actuator = world.start(world.config());
    let change = ImageChange {
        from,
        to: to.clone(),
    };
    let command = recreate(&world, &web, Some(change)).await;
    let made = created(&world.answer(&command).await);
    let after = world.inspect(&made).await;
    assert_eq!(after.image, Some(to.id));
    assert_eq!(after.config.unwrap().image, Some(to.reference.clone()));
    assert_eq!(under_the_name(&world, &command).await, made);
    actuator.shut_down().await;
    let force = bollard::query_parameters::RemoveContainerOptions {
        force: true,
        ..Default::default()
    };
    let removed = world.docker.remove_container(made.as_str(), Some(force));
    removed.await.unwrap();
    let _ = world
        .docker
        .remove_image(&to.reference, None::<RemoveImageOptions>, None)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_again_or_is_not_opted_in_is_refused() {
    let mut world = World::new("refused").await;
    let actuator = world.start(world.config());
    let healed = world.container(&support::ACT).await;
    let (refusal, reason) = world.refusal(&recreate(&world, &healed, None).await).await;
    assert_eq!(refusal, Refusal::NotOptedIn);
    assert!(reason.contains("io.homeostat.heal=recreate"), "{reason}");

    let fleeting = world
        .create(&RECREATE, |_, host| host.auto_remove = Some(true))
        .await;
    let started = world.docker.start_container(fleeting.as_str(), None).await;
    started.unwrap();
    let owner = world
        .create(&RECREATE, |_, host| {
            host.network_mode = Some("bridge".to_owned())
        })
        .await;
    let started = world.docker.start_container(owner.as_str(), None).await;
    started.unwrap();
    let sharer = world
        .create(&RECREATE, |_, host| {
            host.network_mode = Some(format!("container:{}", owner.as_str()))
        })
        .await;
    let stopped = world.create(&RECREATE, |_, _| {}).await;
    for (container, word) in [
        (&fleeting, "--rm"),
        (&owner, "shares its network"),
        (&stopped, "does not run"),
    ] {
        let (refusal, reason) = world
            .refusal(&recreate(&world, container, None).await)
            .await;
        assert_eq!(refusal, Refusal::Unsafe, "{reason}");
        assert!(reason.contains(word), "{word}: {reason}");
    }
    let started = world.docker.start_container(sharer.as_str(), None).await;
    started.unwrap();
    let result = world.answer(&recreate(&world, &sharer, None).await).await;
    created(&result);
    actuator.shut_down().await;
}

/// Each call that changes something, lost on its way there or on its way back, with the end of the process right after.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_in_the_middle_leaves_one_container_under_the_name() {
    let steps = [
        "/rename?",
        "/containers/create?",
        "/stop?",
        "/start",
        "DELETE ",
    ];
    for (step, lost) in steps
        .into_iter()
        .flat_map(|step| [(step, Lost::Request), (step, Lost::Answer)])
    {
        let mut world = World::new("middle").await;
        let web = world.container(&RECREATE).await;
        let cut = world.dir.path().join("cut.sock");
        let mut proxy = support::hanging_proxy(&cut, step, lost);
        let first = world.start(actuator::Config {
            docker: Some(format!("unix://{}", cut.display())),
            ..world.config()
        });
        let command = recreate(&world, &web, None).await;
        world.send(&command).await;
        proxy.has_cut().await;
        first.kill(world.dir.path()).await;

        let second = world.start(world.config());
        let outcome = world.outcome(&command).await;
        let left = under_the_name(&world, &command).await;
        assert_eq!(world.containers().await, [left.as_str()], "{step} {lost:?}");
        match &outcome.result {
            OutcomeResult::Succeeded { created, .. } => assert_eq!(created.as_ref(), Some(&left)),
            OutcomeResult::Failed { error } => {
                assert!(error.contains("was put back"), "{step} {lost:?}: {error}");
                assert_eq!(left, web);
            }
            OutcomeResult::Interrupted => assert_eq!(left, web),
            other => panic!("{step} {lost:?}: {other:?}"),
        }
        second.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_on_its_way_is_put_right_without_a_restart() {
    for step in ["/containers/create?", "/start"] {
        let mut world = World::new("lostanew").await;
        let web = world.container(&RECREATE).await;
        let cut = world.dir.path().join("cut.sock");
        let _proxy = support::cutting_proxy(&cut, step, Lost::Answer);
        let actuator = world.start(actuator::Config {
            docker: Some(format!("unix://{}", cut.display())),
            ..world.config()
        });
        let command = recreate(&world, &web, None).await;
        let result = world.answer(&command).await;
        let left = under_the_name(&world, &command).await;
        assert_eq!(world.containers().await, [left.as_str()]);
        match step {
            "/start" => assert_eq!(created(&result), left),
            _ => assert_eq!(left, web, "{result:?}"),
        }
        actuator.shut_down().await;
    }
}
