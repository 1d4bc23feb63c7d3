//! A container has the name of its service while it serves, against the real engine: under requests by that name none fails, whoever
//! joins and leaves.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use actuator::{Config, Dns};
use bollard::models::{EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest, NetworkingConfig};
use kit::config::HumanDuration;
use support::load::answered;
use support::{PATIENCE, World};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use units::{ContainerId, Outcome, OutcomeResult};

const WEB: [(&str, &str); 4] = [
    ("io.homeostat.mode", "act"),
    ("io.homeostat.heal", "true"),
    ("io.homeostat.scale", "1..4"),
    ("io.homeostat.dns", "web"),
];
const NAME: &str = "web";
/// An actuator keeps the names of every container of its engine, so there is one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());
const LOOK: Duration = Duration::from_millis(20);

fn config(world: &World, drain: u64) -> Config {
    Config {
        dns: Dns {
            drain: HumanDuration::from_secs(drain),
        },
        ..world.config()
    }
}

/// Where the engine gives the addresses that it is asked for.
async fn network_with_a_subnet(world: &World, third: u8) {
    let subnet = format!("10.{}.{third}.0/24", 100 + std::process::id() % 100);
    let request = NetworkCreateRequest {
        name: world.name.clone(),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    };
    world.docker.create_network(request).await.unwrap();
}

/// A service that takes 0.3 s for each request, under its name from the beginning, as compose makes it.
async fn web(world: &World) -> ContainerId {
    stopped_by(world, None).await
}

/// The same, asked to stop by this signal.
async fn stopped_by(world: &World, signal: Option<&str>) -> ContainerId {
    let id = world
        .create(&WEB, |body, host| {
            let words = ["web", "--delay-ms", "300"];
            body.cmd = Some(words.map(ToOwned::to_owned).to_vec());
            body.stop_signal = signal.map(ToOwned::to_owned);
            host.network_mode = Some(world.name.clone());
            let known_as = EndpointSettings {
                aliases: Some(vec![NAME.to_owned()]),
                ..EndpointSettings::default()
            };
            body.networking_config = Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(world.name.clone(), known_as)])),
            });
        })
        .await;
    let started = world.docker.start_container(id.as_str(), None).await;
    started.unwrap();
    until(world, &id, |it| it.is_healthy).await;
    id
}

/// A container in the network of the test.
#[derive(Debug, PartialEq)]
struct Seen {
    runs: bool,
    started_at: String,
    is_healthy: bool,
    has_name: bool,
    address: String,
    /// It asks for a certain address with each start.
    is_fixed: bool,
}

async fn seen(world: &World, container: &ContainerId) -> Option<Seen> {
    let found = world.docker.inspect_container(container.as_str(), None);
    let found = found.await.ok()?;
    let state = found.state.unwrap();
    let networks = found.network_settings.unwrap().networks;
    let endpoint = networks.unwrap_or_default().remove(&world.name);
    let endpoint = endpoint.unwrap_or_default();
    let mut aliases = endpoint.aliases.iter().flatten();
    let health = state.health.and_then(|it| it.status);
    let asked = endpoint.ipam_config.clone().unwrap_or_default();
    Some(Seen {
        runs: state.running == Some(true),
        started_at: state.started_at.unwrap_or_default(),
        is_healthy: health.is_some_and(|it| it.to_string() == "healthy"),
        has_name: aliases.any(|it| it == NAME),
        address: endpoint.ip_address.clone().unwrap_or_default(),
        is_fixed: asked.ipv4_address.is_some_and(|it| !it.is_empty()),
    })
}

/// Looks at a container until it is so; and gives all that was seen of it.
async fn until(world: &World, container: &ContainerId, is: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    let mut all = Vec::new();
    let wait = async {
        loop {
            if let Some(now) = seen(world, container).await {
                let is_so = is(&now);
                all.push(now);
                if is_so {
                    return;
                }
            }
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .expect("it did not come to that");
    all
}

/// Requests by the name, and how many were answered, and how many not.
struct Load(String);

impl Load {
    async fn start(world: &World) -> Load {
        let client = world
            .create(&[], |body, host| {
                // On a busy machine the engine takes its time to put a container back, and a connection then as well.
                let words = [
                    "traffic",
                    "--target",
                    "web:8080=40",
                    "--timeout-ms",
                    "30000",
                ];
                body.cmd = Some(words.map(ToOwned::to_owned).to_vec());
                host.network_mode = Some(world.name.clone());
            })
            .await;
        let started = world.docker.start_container(client.as_str(), None).await;
        started.unwrap();
        let address = seen(world, &client).await.unwrap().address;
        let load = Load(address);
        assert_eq!(load.more().await, 0);
        load
    }

    /// Waits until a hundred more were answered, and gives how many were not, ever.
    async fn more(&self) -> u64 {
        let wait = async {
            loop {
                // It may not listen yet.
                if TcpStream::connect((self.0.as_str(), 9000)).await.is_ok() {
                    break;
                }
                sleep(LOOK).await;
            }
            let before = answered(&self.0).await.0;
            while answered(&self.0).await.0 < before + 100 {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .expect("no requests were answered");
        answered(&self.0).await.1
    }
}

async fn replica(world: &mut World, template: &ContainerId, name: &str) -> ContainerId {
    let command = world.replicate(template, name);
    let result = world.answer(&command).await;
    let OutcomeResult::Succeeded {
        created: Some(created),
        ..
    } = result
    else {
        panic!("{result:?}");
    };
    created
}

fn succeeded(outcome: &Outcome) -> bool {
    matches!(outcome.result, OutcomeResult::Succeeded { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_has_its_name_while_it_serves_and_no_request_fails() {
    let _alone = ALONE.lock().await;
    let mut world = World::new("names").await;
    network_with_a_subnet(&world, 1).await;
    let web = web(&world).await;
    let load = Load::start(&world).await;
    let actuator = world.start(config(&world, 2));

    let second = replica(&mut world, &web, "second").await;
    let joined = until(&world, &second, |it| it.has_name).await;
    assert!(!joined[0].has_name, "not before it serves: {joined:?}");
    let last = joined.last().unwrap();
    assert!(last.is_healthy && !last.is_fixed, "{last:?}");
    assert_eq!(load.more().await, 0);

    world.send(&world.remove(&second)).await;
    let left = until(&world, &second, |it| it.runs && !it.has_name && it.is_fixed).await;
    assert_eq!(left.last().unwrap().address, last.address);
    let outcome = world.next_outcome().await;
    assert!(succeeded(&outcome), "{outcome:?}");
    assert_eq!(outcome.note, None);
    assert_eq!(seen(&world, &second).await, None);
    assert_eq!(load.more().await, 0);
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restarted_gets_its_name_again_and_no_address_of_its_own() {
    let _alone = ALONE.lock().await;
    let mut world = World::new("renamed").await;
    network_with_a_subnet(&world, 2).await;
    let web = web(&world).await;
    let load = Load::start(&world).await;
    let actuator = world.start(config(&world, 300));
    let second = replica(&mut world, &web, "second").await;
    until(&world, &second, |it| it.has_name).await;

    // It dies while it waits for the last requests.
    world
        .send(&world.restart(&second, Duration::from_secs(5)))
        .await;
    until(&world, &second, |it| it.is_fixed).await;
    actuator.kill(world.dir.path()).await;
    let actuator = world.start(config(&world, 1));
    let outcome = world.next_outcome().await;
    assert!(succeeded(&outcome), "{outcome:?}");
    let named = until(&world, &second, |it| it.has_name).await;
    let last = named.last().unwrap();
    assert!(last.is_healthy && !last.is_fixed, "{last:?}");
    assert_eq!(load.more().await, 0);

    // It is ended while nothing else is under way, and gives the name back at once.
    actuator.shut_down().await;
    let actuator = world.start(config(&world, 300));
    world
        .send(&world.restart(&second, Duration::from_secs(5)))
        .await;
    until(&world, &second, |it| it.is_fixed).await;
    actuator.shut_down().await;
    let back = seen(&world, &second).await.unwrap();
    assert!(back.has_name && !back.is_fixed, "{back:?}");
    assert_eq!(load.more().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_would_cost_connections_or_the_last_of_the_name_it_is_kept_and_told() {
    let _alone = ALONE.lock().await;
    let mut world = World::new("lastname").await;
    let name = world.name.clone();
    world.network(&name).await;
    let web = web(&world).await;
    let actuator = world.start(config(&world, 1));
    let command = world.restart(&web, Duration::from_secs(5));
    world.send(&command).await;
    let outcome = world.outcome(&command).await;
    let note = outcome.note.unwrap();
    assert!(note.contains("where no other has it"), "{note}");

    until(&world, &web, |it| it.is_healthy).await;
    let second = replica(&mut world, &web, "second").await;
    until(&world, &second, |it| it.has_name).await;
    let command = world.remove(&second);
    world.send(&command).await;
    let outcome = world.outcome(&command).await;
    assert!(succeeded(&outcome), "{outcome:?}");
    let note = outcome.note.unwrap();
    assert!(note.contains("give the network a subnet"), "{note}");
    let last = seen(&world, &web).await.unwrap();
    assert!(last.has_name && last.runs, "{last:?}");
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_stopped_is_not_given_its_name_by_the_next_process() {
    let _alone = ALONE.lock().await;
    let mut world = World::new("stopping").await;
    network_with_a_subnet(&world, 3).await;
    // As first process of a container it has no use for this signal, so it serves on for its whole grace.
    let web = stopped_by(&world, Some("SIGUSR1")).await;
    let actuator = world.start(config(&world, 1));
    let second = replica(&mut world, &web, "second").await;
    let named = until(&world, &second, |it| it.has_name).await;
    let before = &named.last().unwrap().started_at;

    let mut kills = world.count_events("kill").await;
    let command = world.restart(&second, Duration::from_secs(4));
    world.send(&command).await;
    let asked = timeout(PATIENCE, kills.wait_for(|it| *it > 0)).await;
    asked.expect("it was not stopped").unwrap();
    actuator.kill(world.dir.path()).await;
    let actuator = world.start(config(&world, 1));
    let named = until(&world, &second, |it| it.has_name).await;
    assert_ne!(before, &named.last().unwrap().started_at);
    let outcome = world.outcome(&command).await;
    assert!(succeeded(&outcome), "{outcome:?}");
    actuator.shut_down().await;
}
