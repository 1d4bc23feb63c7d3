//! A container out of its networks and back, against the real engine: nobody reaches it meanwhile, everybody does afterwards, and
//! whatever ends in the middle does not leave it with half of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkingConfig};
use support::load::answered;
use support::{Lost, PATIENCE, World, command};
use units::{Action, Attachment, Command, ContainerId, OutcomeResult, Refusal};

const RECREATE: [(&str, &str); 2] = [
    ("io.homeostat.mode", "act"),
    ("io.homeostat.heal", "recreate"),
];
const SUCCEEDED: OutcomeResult = OutcomeResult::Succeeded {
    created: None,
    previous: None,
    image: None,
    sealed: None,
    networks: Vec::new(),
};

fn isolate(container: &ContainerId) -> Command {
    command(Action::Isolate {
        container: container.clone(),
        name: "test".into(),
    })
}

fn rejoin(container: &ContainerId, networks: &[Attachment]) -> Command {
    command(Action::Rejoin {
        container: container.clone(),
        name: "test".into(),
        networks: networks.to_vec(),
    })
}

fn known_as(alias: &str) -> EndpointSettings {
    EndpointSettings {
        aliases: Some(vec![alias.to_owned()]),
        ..EndpointSettings::default()
    }
}

/// A running container in two networks, with an alias in each.
async fn in_two_networks(world: &World, program: &[&str]) -> ContainerId {
    let (main, other) = (world.name.clone(), format!("{}-b", world.name));
    world.network(&main).await;
    world.network(&other).await;
    let id = world
        .create(&RECREATE, |body, host| {
            body.cmd = Some(program.iter().map(|it| (*it).to_owned()).collect());
            host.network_mode = Some(main.clone());
            body.networking_config = Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(main.clone(), known_as("shop"))])),
            });
        })
        .await;
    let connect = NetworkConnectRequest {
        container: id.as_str().to_owned(),
        endpoint_config: Some(known_as("shop-back")),
    };
    world.docker.connect_network(&other, connect).await.unwrap();
    let started = world.docker.start_container(id.as_str(), None).await;
    started.unwrap();
    id
}

fn both(world: &World) -> [Attachment; 2] {
    let attachment = |network: String, alias: &str| Attachment {
        network,
        aliases: vec![alias.to_owned()],
    };
    [
        attachment(world.name.clone(), "shop"),
        attachment(format!("{}-b", world.name), "shop-back"),
    ]
}

/// The networks it is in, each with its aliases but the engine's own.
async fn networks(world: &World, container: &ContainerId) -> Vec<Attachment> {
    let settings = world.inspect(container).await.network_settings.unwrap();
    let networks = settings.networks.unwrap_or_default().into_iter();
    let mut networks: Vec<_> = networks
        .map(|(network, endpoint)| {
            let mut aliases = endpoint.aliases.unwrap_or_default();
            aliases.retain(|alias| !container.as_str().starts_with(alias.as_str()));
            Attachment { network, aliases }
        })
        .collect();
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    networks
}

/// Waits until the counts are so.
async fn until(at: &str, are: impl Fn((u64, u64)) -> bool) {
    let wait = async {
        while !are(answered(at).await) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_nobody_reaches_it_and_back_everybody_does_by_its_alias() {
    let mut world = World::new("isolate").await;
    let web = in_two_networks(&world, &["web"]).await;
    let network = world.name.clone();
    let client = world
        .create(&[], |body, host| {
            let words = ["traffic", "--target", "shop:8080=20"];
            body.cmd = Some(words.map(ToOwned::to_owned).to_vec());
            host.network_mode = Some(network.clone());
        })
        .await;
    let started = world.docker.start_container(client.as_str(), None).await;
    started.unwrap();
    let settings = world.inspect(&client).await.network_settings.unwrap();
    let at = settings.networks.unwrap()[&network]
        .ip_address
        .clone()
        .unwrap();
    until(&at, |(ok, _)| ok > 0).await;
    let actuator = world.start(world.config());

    let result = world.answer(&isolate(&web)).await;
    let OutcomeResult::Succeeded { networks: told, .. } = result else {
        panic!("{result:?}");
    };
    assert_eq!(told, both(&world));
    assert!(networks(&world, &web).await.is_empty());
    let state = world.inspect(&web).await.state.unwrap();
    assert_eq!(state.running, Some(true), "for people to look at");
    let (_, failed) = answered(&at).await;
    until(&at, |(_, now)| now > failed + 1).await;
    let (refusal, reason) = world.refusal(&isolate(&web)).await;
    assert_eq!(refusal, Refusal::Unsafe);
    assert!(reason.contains("in no network"), "{reason}");

    let (ok, _) = answered(&at).await;
    assert_eq!(world.answer(&rejoin(&web, &told)).await, SUCCEEDED);
    assert_eq!(networks(&world, &web).await, both(&world));
    until(&at, |(now, _)| now > ok).await;
    let again = world.answer(&rejoin(&web, &told)).await;
    assert_eq!(again, SUCCEEDED, "it is there already");
    let missing = Attachment {
        network: format!("{}-none", world.name),
        aliases: Vec::new(),
    };
    let result = world.answer(&rejoin(&web, &[missing])).await;
    let OutcomeResult::Failed { error } = &result else {
        panic!("{result:?}");
    };
    assert!(error.contains("-none"), "{error}");
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_networks_of_its_own_or_is_not_opted_in_stays_as_it_is() {
    let mut world = World::new("noisolate").await;
    let actuator = world.start(world.config());
    let heals = [("io.homeostat.mode", "act"), ("io.homeostat.heal", "true")];
    let shy = world.container(&heals).await;
    for command in [isolate(&shy), rejoin(&shy, &both(&world))] {
        let (refusal, reason) = world.refusal(&command).await;
        assert_eq!(refusal, Refusal::NotOptedIn);
        assert!(reason.contains("io.homeostat.heal=recreate"), "{reason}");
    }
    let none = world.container(&RECREATE).await;
    let shared = in_two_networks(&world, &["worker"]).await;
    let sharer = world
        .create(&[], |_, host| {
            host.network_mode = Some(format!("container:{shared}"));
        })
        .await;
    let guest = world
        .create(&RECREATE, |_, host| {
            host.network_mode = Some(format!("container:{shared}"));
        })
        .await;
    for id in [&sharer, &guest] {
        let started = world.docker.start_container(id.as_str(), None).await;
        started.unwrap();
    }
    for (container, word) in [
        (&none, "network mode none"),
        (&guest, "network mode container:"),
        (&shared, "shares its network"),
    ] {
        let (refusal, reason) = world.refusal(&isolate(container)).await;
        assert_eq!(refusal, Refusal::Unsafe);
        assert!(reason.contains(word), "{word}: {reason}");
    }
    assert_eq!(networks(&world, &shared).await, both(&world));
    actuator.shut_down().await;
}

/// Cut off at the first network, at the second, and after it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_is_out_of_all_networks_or_of_none() {
    for (second, lost) in [
        ("", Lost::Request),
        ("-b", Lost::Request),
        ("-b", Lost::Answer),
    ] {
        let mut world = World::new("half").await;
        let web = in_two_networks(&world, &["worker"]).await;
        let cut = world.dir.path().join("cut.sock");
        let step: &'static str = format!("{}{second}/disconnect", world.name).leak();
        let mut proxy = support::hanging_proxy(&cut, step, lost);
        let first = world.start(actuator::Config {
            docker: Some(format!("unix://{}", cut.display())),
            ..world.config()
        });
        let command = isolate(&web);
        world.send(&command).await;
        proxy.has_cut().await;
        first.kill(world.dir.path()).await;

        let again = world.start(world.config());
        let outcome = world.outcome(&command).await.result;
        let is_in = networks(&world, &web).await;
        match &outcome {
            OutcomeResult::Interrupted => assert_eq!(second, ""),
            OutcomeResult::Failed { error } => assert!(error.contains("put back"), "{error}"),
            OutcomeResult::Succeeded { networks, .. } => {
                assert_eq!(lost, Lost::Answer);
                assert_eq!(*networks, both(&world));
                assert!(is_in.is_empty(), "{is_in:?}");
            }
            other => panic!("{other:?}"),
        }
        if lost == Lost::Request {
            assert_eq!(is_in, both(&world));
        }
        again.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_return_is_found_out() {
    let mut world = World::new("back").await;
    let web = in_two_networks(&world, &["worker"]).await;
    let actuator = world.start(world.config());
    world.answer(&isolate(&web)).await;
    actuator.shut_down().await;
    let cut = world.dir.path().join("cut.sock");
    let step: &'static str = format!("{}-b/connect", world.name).leak();
    let _proxy = support::cutting_proxy(&cut, step, Lost::Answer);
    let actuator = world.start(actuator::Config {
        docker: Some(format!("unix://{}", cut.display())),
        ..world.config()
    });
    let result = world.answer(&rejoin(&web, &both(&world))).await;
    assert_eq!(result, SUCCEEDED);
    assert_eq!(networks(&world, &web).await, both(&world));
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_out_of_one_network_is_put_back_into_the_others() {
    let mut world = World::new("refused").await;
    let web = in_two_networks(&world, &["worker"]).await;
    let cut = world.dir.path().join("cut.sock");
    let step: &'static str = format!("{}-b/disconnect", world.name).leak();
    let _proxy = support::cutting_proxy(&cut, step, Lost::Chance);
    let actuator = world.start(actuator::Config {
        docker: Some(format!("unix://{}", cut.display())),
        ..world.config()
    });
    let result = world.answer(&isolate(&web)).await;
    let OutcomeResult::Failed { error } = &result else {
        panic!("{result:?}");
    };
    assert!(
        error.contains("no chance") && error.contains("put back into the others"),
        "{error}"
    );
    assert_eq!(networks(&world, &web).await, both(&world));
    actuator.shut_down().await;
}
