//! The actuator between the real engine and a real HAProxy: a container is in the balancer while it serves, and out of it before it is
//! taken away.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptions, StopContainerOptions};
use support::haproxy::{Haproxy, server_of};
use support::{ACT, PATIENCE, World, command};
use tokio::time::timeout;
use units::{Action, Command, ContainerId, Mode, OutcomeResult, Refusal};

const SECOND: Duration = Duration::from_secs(1);
const QUICK: &str = "1";
/// More than the demo's service gives what is under way when it is stopped.
const LONG: &str = "3000";
/// A check that a busy machine answers late is no reason to give a server up.
const STEADY: &str = "inter 1s rise 2 fall 60";
const SERVED: (&str, &str) = ("io.homeostat.haproxy", "web:8080");
/// So that it may be removed.
const MADE: (&str, &str) = ("io.homeostat.replica-of", "another");

/// One test at a time: an actuator puts every container of the engine that has the label into its balancers.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn config(world: &World, sockets: &[String]) -> actuator::Config {
    actuator::Config {
        haproxy: actuator::Haproxy {
            sockets: sockets.to_vec(),
            server_options: STEADY.to_owned(),
            ..actuator::Haproxy::default()
        },
        ..world.config()
    }
}

fn labels() -> Vec<(&'static str, &'static str)> {
    [ACT.as_slice(), &[SERVED, MADE]].concat()
}

/// A web service that takes so long for a request, in milliseconds.
async fn web(world: &World, labels: &[(&str, &str)], burn_ms: &str) -> ContainerId {
    let words = ["web", "--burn-ms", burn_ms].map(ToOwned::to_owned);
    let id = world
        .create(labels, |body, host| {
            body.cmd = Some(words.to_vec());
            host.network_mode = Some("bridge".to_owned());
        })
        .await;
    world
        .docker
        .start_container(id.as_str(), None)
        .await
        .unwrap();
    id
}

/// One that serves on for its whole grace when it is stopped.
async fn stubborn(world: &World, labels: &[(&str, &str)]) -> ContainerId {
    let id = world
        .create(labels, |body, host| {
            body.cmd = Some(["web", "--burn-ms", QUICK].map(ToOwned::to_owned).to_vec());
            // As first process of a container it has no use for this signal, so the kernel drops it.
            body.stop_signal = Some("SIGUSR1".to_owned());
            host.network_mode = Some("bridge".to_owned());
        })
        .await;
    let started = world.docker.start_container(id.as_str(), None).await;
    started.unwrap();
    id
}

async fn runs(world: &World, container: &ContainerId) -> bool {
    world.inspect(container).await.state.unwrap().running == Some(true)
}

fn until(command: Command, left: Duration) -> Command {
    Command {
        deadline: command.issued_at + left,
        ..command
    }
}

fn succeeded(result: &OutcomeResult) -> bool {
    matches!(result, OutcomeResult::Succeeded { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_in_its_balancer_while_it_serves_and_others_servers_are_left_alone() {
    let _turn = TURN.lock().await;
    let world = World::new("in-and-out").await;
    let haproxy = Haproxy::start().await;
    let others = "hs-0123456789ab";
    haproxy
        .ask(&format!("add server web/{others} 127.0.0.1:9"))
        .await;
    let quiet = [("io.homeostat.mode", "suggest"), SERVED];
    let quiet = web(&world, &quiet, QUICK).await;
    let one = web(&world, &labels(), QUICK).await;
    let actuator = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&one).await;
    let health = world.inspect(&one).await.state.unwrap().health.unwrap();
    assert_eq!(health.status.unwrap().to_string(), "healthy");
    assert_eq!(haproxy.get().await, 200);
    assert_eq!(haproxy.server(&quiet).await, None, "nobody let it");

    let stop = None::<StopContainerOptions>;
    world
        .docker
        .stop_container(one.as_str(), stop)
        .await
        .unwrap();
    haproxy.until_gone(&one).await;
    world
        .docker
        .start_container(one.as_str(), None)
        .await
        .unwrap();
    haproxy.until_up(&one).await;
    assert_eq!(haproxy.get().await, 200);

    actuator.kill(world.dir.path()).await;
    let remove = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    world
        .docker
        .remove_container(one.as_str(), Some(remove))
        .await
        .unwrap();
    let two = web(&world, &labels(), QUICK).await;
    let again = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&two).await;
    haproxy.until_gone(&one).await;
    let names = haproxy.servers().await.into_iter().map(|it| it.name);
    let names: Vec<String> = names.collect();
    assert_eq!(names, ["by-hand", others, &server_of(&two)]);
    again.shut_down().await;
}

/// One that ends only when its whole grace is over is out of its balancer meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_of_a_node_that_is_cut_off_leaves_its_balancer_before_it_is_stopped() {
    let _turn = TURN.lock().await;
    let world = World::new("cut-off").await;
    let haproxy = Haproxy::start().await;
    let single = [
        ("io.homeostat.mode", "act"),
        ("io.homeostat.move", "true"),
        ("io.homeostat.singleton", "true"),
        SERVED,
    ];
    let one = stubborn(&world, &single).await;
    let actuator = world.start(actuator::Config {
        move_key_file: Some(world.key.clone()),
        ..config(&world, &[haproxy.socket()])
    });
    haproxy.until_up(&one).await;
    world.bus.close().await;
    let mut seen = BTreeSet::new();
    let stopped = async {
        while runs(&world, &one).await {
            seen.extend(haproxy.server(&one).await.map(|it| it.status));
        }
    };
    timeout(PATIENCE, stopped).await.expect("it runs still");
    assert!(seen.contains("MAINT"), "{seen:?}");
    haproxy.until_gone(&one).await;
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_observe_no_balancer_is_touched() {
    let _turn = TURN.lock().await;
    let world = World::new("observes").await;
    let haproxy = Haproxy::start().await;
    let one = web(&world, &labels(), QUICK).await;
    for max_mode in [Mode::Observe, Mode::Suggest] {
        let observes = world.start(actuator::Config {
            max_mode,
            ..config(&world, &[haproxy.socket()])
        });
        world.send(&world.restart(&one, SECOND)).await;
        observes.shut_down().await;
        assert_eq!(haproxy.server(&one).await, None);
    }
    let acts = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&one).await;
    acts.shut_down().await;
    assert!(haproxy.server(&one).await.is_some(), "it goes on serving");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_served_to_its_end_before_its_container_goes() {
    let _turn = TURN.lock().await;
    let mut world = World::new("drains").await;
    let haproxy = Haproxy::start().await;
    let both = [
        web(&world, &labels(), LONG).await,
        web(&world, &labels(), LONG).await,
    ];
    let actuator = world.start(config(&world, &[haproxy.socket()]));
    for one in &both {
        haproxy.until_up(one).await;
    }
    let long = tokio::spawn(haproxy.get());
    let busy = async {
        loop {
            for one in &both {
                if haproxy.server(one).await.unwrap().sessions == 1 {
                    return one;
                }
            }
        }
    };
    let busy = timeout(PATIENCE, busy).await.unwrap();
    let remove = world.remove(busy);
    world.send(&remove).await;
    haproxy
        .until(busy, "drained", |seen| {
            seen.is_some_and(|it| it.status == "DRAIN")
        })
        .await;
    assert!(runs(&world, busy).await);
    assert!(!long.is_finished(), "it takes far longer");
    assert_eq!(long.await.unwrap(), 200);
    let outcome = world.outcome(&remove).await;
    assert!(succeeded(&outcome.result), "{:?}", outcome.result);
    haproxy.until_gone(busy).await;
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_of_a_backend_is_not_removed() {
    let _turn = TURN.lock().await;
    let mut world = World::new("last").await;
    let haproxy = Haproxy::start().await;
    let one = web(&world, &labels(), QUICK).await;
    let actuator = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&one).await;
    let load = haproxy.load();
    load.goes_on(20).await;
    let remove = until(world.remove(&one), SECOND * 10);
    let (refusal, reason) = world.refusal(&remove).await;
    assert_eq!(refusal, Refusal::Unsafe);
    assert!(
        reason.contains("no other server of backend web"),
        "{reason}"
    );
    load.goes_on(20).await;
    assert_eq!(load.end().await, [""; 0]);
    assert!(runs(&world, &one).await);

    let before = world.started_at(&one).await;
    let restarted = world.answer(&world.restart(&one, SECOND)).await;
    assert!(succeeded(&restarted), "a sick one may be: {restarted:?}");
    assert_ne!(world.started_at(&one).await, before);
    haproxy.until_up(&one).await;

    let rests = [
        ("io.homeostat.scale", "0..4"),
        ("io.homeostat.scale.target", "metric@queue:jobs=5"),
        ("io.homeostat.mode", "act"),
        SERVED,
    ];
    let idle = web(&world, &rests, QUICK).await;
    haproxy.until_up(&idle).await;
    assert!(succeeded(&world.answer(&world.remove(&one)).await));
    let stop = command(Action::Stop {
        container: idle.clone(),
        name: "test".into(),
        grace: SECOND,
    });
    let stopped = world.answer(&stop).await;
    assert!(succeeded(&stopped), "nobody asks for it: {stopped:?}");
    haproxy.until_gone(&idle).await;
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_replicas_are_restarted_made_anew_isolated_and_removed() {
    let _turn = TURN.lock().await;
    let mut world = World::new("load").await;
    let network = world.name.clone();
    world.network(&network).await;
    let haproxy = Haproxy::start().await;
    let labels = [labels().as_slice(), &[("io.homeostat.heal", "recreate")]].concat();
    let web = async |world: &World| {
        let id = world
            .create(&labels, |body, host| {
                body.cmd = Some(["web", "--burn-ms", QUICK].map(ToOwned::to_owned).to_vec());
                host.network_mode = Some(world.name.clone());
            })
            .await;
        world
            .docker
            .start_container(id.as_str(), None)
            .await
            .unwrap();
        id
    };
    let (one, two) = (web(&world).await, web(&world).await);
    let actuator = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&one).await;
    haproxy.until_up(&two).await;
    let load = haproxy.load();
    load.goes_on(50).await;

    let restarted = world.answer(&world.restart(&one, SECOND)).await;
    assert!(succeeded(&restarted), "{restarted:?}");
    haproxy.until_up(&one).await;
    load.goes_on(50).await;

    let name = world.inspect(&two).await.name.unwrap();
    let name = name.trim_start_matches('/');
    let recreate = command(Action::Recreate {
        container: two.clone(),
        name: name.into(),
        grace: SECOND,
        image: None,
    });
    let two = match world.answer(&recreate).await {
        OutcomeResult::Succeeded {
            created: Some(created),
            ..
        } => created,
        result => panic!("{result:?}"),
    };
    haproxy.until_up(&two).await;
    load.goes_on(50).await;

    let isolate = command(Action::Isolate {
        container: one.clone(),
        name: "test".into(),
    });
    let networks = match world.answer(&isolate).await {
        OutcomeResult::Succeeded { networks, .. } => networks,
        result => panic!("{result:?}"),
    };
    haproxy.until_gone(&one).await;
    load.goes_on(50).await;
    let rejoin = command(Action::Rejoin {
        container: one.clone(),
        name: "test".into(),
        networks,
    });
    let rejoined = world.answer(&rejoin).await;
    assert!(succeeded(&rejoined), "{rejoined:?}");
    haproxy.until_up(&one).await;

    let removed = world.answer(&world.remove(&one)).await;
    assert!(succeeded(&removed), "{removed:?}");
    load.goes_on(50).await;
    assert_eq!(load.end().await, [""; 0], "every request was answered");
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_started_anew_has_its_servers_again_and_one_that_is_away_stops_no_healing()
{
    let _turn = TURN.lock().await;
    let mut world = World::new("away").await;
    let mut haproxy = Haproxy::start().await;
    let steady = Haproxy::start().await;
    let (one, two) = (
        web(&world, &labels(), QUICK).await,
        web(&world, &labels(), QUICK).await,
    );
    let actuator = world.start(config(&world, &[haproxy.socket(), steady.socket()]));
    for haproxy in [&haproxy, &steady] {
        haproxy.until_up(&one).await;
        haproxy.until_up(&two).await;
    }
    haproxy.kill();
    let down = until_health(&actuator, kit::health::State::Down).await;
    assert!(down.contains(&haproxy.socket()), "{down}");
    let OutcomeResult::Failed { error } = world.answer(&world.remove(&two)).await else {
        panic!("removed, and the balancer knew nothing");
    };
    assert!(error.contains(&server_of(&two)), "{error}");
    assert!(error.contains(&haproxy.socket()), "{error}");
    assert!(error.contains("does not answer"), "{error}");
    assert!(runs(&world, &two).await);
    steady.until_up(&two).await;

    let before = world.started_at(&one).await;
    let restart = world.restart(&one, SECOND);
    world.send(&restart).await;
    let restarted = world.outcome(&restart).await;
    assert!(succeeded(&restarted.result), "{restarted:?}");
    let note = restarted.note.unwrap();
    assert!(note.contains("was not drained"), "{note}");
    assert!(note.contains(&haproxy.socket()), "{note}");
    assert_ne!(world.started_at(&one).await, before);
    steady.until_up(&one).await;

    haproxy.again().await;
    haproxy.until_up(&one).await;
    haproxy.until_up(&two).await;
    assert_eq!(haproxy.get().await, 200);
    until_health(&actuator, kit::health::State::Up).await;
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_balancer_cannot_do_is_told() {
    let _turn = TURN.lock().await;
    let world = World::new("told").await;
    let haproxy = Haproxy::start().await;
    for (socket, backend, says) in [
        (haproxy.looks(), "web:8080", "level admin"),
        (haproxy.socket(), "nowhere:8080", "no backend nowhere"),
        (haproxy.socket(), "fixed:8080", "roundrobin"),
    ] {
        let labels = [ACT.as_slice(), &[("io.homeostat.haproxy", backend)]].concat();
        let one = web(&world, &labels, QUICK).await;
        let actuator = world.start(config(&world, &[socket]));
        let told = async {
            loop {
                let down = until_health(&actuator, kit::health::State::Down).await;
                if down.contains(says) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(PATIENCE, told).await.is_ok(), "nobody says {says}");
        actuator.shut_down().await;
        let remove = RemoveContainerOptions {
            force: true,
            ..RemoveContainerOptions::default()
        };
        world
            .docker
            .remove_container(one.as_str(), Some(remove))
            .await
            .unwrap();
    }
}

/// Waits until the balancers' health is so, and says why.
async fn until_health(actuator: &support::Actuator, state: kit::health::State) -> String {
    let so = async {
        loop {
            let all = actuator.context.health.ready();
            let found = all.into_iter().find(|it| &*it.name == "haproxy");
            if let Some(found) = found.filter(|it| it.state == state) {
                return found.reason.as_deref().unwrap_or_default().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, so).await.expect("another health")
}

/// After a crash the next process does not let requests to what is still being stopped; after a shutdown there is nobody to let them to what was
/// started again, so the one that ends does.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_outlives_its_process_costs_no_request_and_no_server() {
    let _turn = TURN.lock().await;
    let mut world = World::new("restarting").await;
    let haproxy = Haproxy::start().await;
    let one = stubborn(&world, &labels()).await;
    let actuator = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&one).await;

    let before = world.started_at(&one).await;
    let crashes = world.restart(&one, Duration::from_secs(9));
    being_stopped(&world, &crashes).await;
    actuator.kill(world.dir.path()).await;
    let actuator = world.start(config(&world, &[haproxy.socket()]));
    haproxy.until_up(&one).await;
    assert_ne!(world.started_at(&one).await, before);
    let outcome = world.outcome(&crashes).await;
    assert!(succeeded(&outcome.result), "{outcome:?}");

    let ends = world.restart(&one, Duration::from_secs(2));
    being_stopped(&world, &ends).await;
    actuator.shut_down().await;
    haproxy.until_up(&one).await;
    assert_eq!(haproxy.get().await, 200);
}

/// Sends a command, and waits until the engine stops its container.
async fn being_stopped(world: &World, command: &Command) {
    let mut kills = world.count_events("kill").await;
    world.send(command).await;
    let asked = timeout(PATIENCE, kills.wait_for(|it| *it > 0)).await;
    asked.expect("it was not stopped").unwrap();
}
