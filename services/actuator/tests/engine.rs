//! The actuator against the real engine: each action, each refusal, and what happens when things end in the middle.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig, PortBinding,
};
use bollard::query_parameters::RemoveContainerOptions;
use support::{ACT, Lost, PATIENCE, World, command};
use units::{
    Action, Bytes, CommandId, ContainerId, Generation, LABEL_COMMAND, LABEL_PLAN, LABEL_REPLICA_OF,
    Limits, Millicores, Mode, NodeId, Outcome, OutcomeResult, Refusal,
};

const SUCCEEDED: OutcomeResult = OutcomeResult::Succeeded {
    created: None,
    previous: None,
    image: None,
    sealed: None,
    networks: Vec::new(),
};
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_restarts_once_however_often_it_is_sent() {
    let mut world = World::new("restart").await;
    let web = world.container(&ACT).await;
    let before = world.started_at(&web).await;
    let actuator = world.start(world.config());
    let restart = world.restart(&web, SECOND);

    world.send(&restart).await;
    let first = world.outcome(&restart).await;
    assert_eq!(first.result, SUCCEEDED);
    assert_eq!(first.node, NodeId::from(support::NODE));
    assert!(first.at >= first.began_at);
    assert!(
        first
            .traceparent
            .as_ref()
            .is_some_and(|it| it.contains("0af7651916cd43dd8448eb211c80319c"))
    );
    let after = world.started_at(&web).await;
    assert_ne!(before, after);

    assert_eq!(
        world.repeated(&restart).await,
        first,
        "the same answer, word for word"
    );
    actuator.shut_down().await;
    let again = world.start(world.config());
    world.send(&restart).await;
    assert_eq!(
        world.outcome(&restart).await,
        first,
        "also from another run"
    );
    assert_eq!(world.started_at(&web).await, after, "and no second restart");
    again.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_its_template_once_more_and_is_removed_again() {
    let mut world = World::new("replica").await;
    for network in [world.name.clone(), format!("{}-b", world.name)] {
        let request = NetworkCreateRequest {
            name: network,
            ..NetworkCreateRequest::default()
        };
        world.docker.create_network(request).await.unwrap();
    }
    let (main, other) = (world.name.clone(), format!("{}-b", world.name));
    let aliases = |alias: &str| EndpointSettings {
        aliases: Some(vec![alias.to_owned()]),
        ..EndpointSettings::default()
    };
    let web = world
        .create(&ACT, |body, host| {
            body.env = Some(vec!["COLOUR=blue".to_owned()]);
            body.exposed_ports = Some(vec!["8080/tcp".to_owned()]);
            host.network_mode = Some(main.clone());
            host.memory = Some(64 * 1024 * 1024);
            host.nano_cpus = Some(250_000_000);
            let free = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(String::new()),
            };
            host.port_bindings = Some(HashMap::from([("8080/tcp".to_owned(), Some(vec![free]))]));
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
    world
        .docker
        .start_container(web.as_str(), None)
        .await
        .unwrap();
    let actuator = world.start(world.config());

    let create = world.replicate(&web, "r1");
    let created = match world.answer(&create).await {
        OutcomeResult::Succeeded {
            created: Some(created),
            ..
        } => created,
        result => panic!("{result:?}"),
    };
    let replica = world.inspect(&created).await;
    assert_eq!(replica.state.unwrap().running, Some(true));
    assert_eq!(replica.name, Some(format!("/{}", create.action.name())));
    let config = replica.config.unwrap();
    assert!(config.env.unwrap().contains(&"COLOUR=blue".to_owned()));
    assert_eq!(config.image.as_deref(), Some(support::IMAGE));
    assert_ne!(config.hostname.as_deref(), Some(web.short()));
    let labels = config.labels.unwrap();
    assert_eq!(labels[LABEL_REPLICA_OF], web.as_str());
    assert_eq!(labels[LABEL_COMMAND], create.id.as_str());
    assert_eq!(labels[LABEL_PLAN], create.plan.as_str());
    assert_eq!(labels["io.homeostat.service"], format!("{}-0", world.name));
    let host = replica.host_config.unwrap();
    assert_eq!(host.memory, Some(64 * 1024 * 1024));
    assert_eq!(host.nano_cpus, Some(250_000_000));
    let networks = replica.network_settings.unwrap().networks.unwrap();
    let known_as = |network: &str| networks[network].aliases.clone().unwrap();
    assert!(known_as(&main).contains(&"web".to_owned()), "{networks:?}");
    assert!(
        known_as(&other).contains(&"web-back".to_owned()),
        "{networks:?}"
    );
    assert!(
        !known_as(&main).contains(&web.short().to_owned()),
        "{networks:?}"
    );

    assert_eq!(world.answer(&world.remove(&created)).await, SUCCEEDED);
    assert_eq!(world.containers().await, [web.as_str()]);
    let (refusal, _) = world.refusal(&world.remove(&web)).await;
    assert_eq!(refusal, Refusal::NotOurs);
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_in_place_and_not_below_use() {
    let mut world = World::new("limits").await;
    let web = world.container(&ACT).await;
    let actuator = world.start(world.config());
    let update = |cpu: Option<u64>, memory_mib: Option<u64>| {
        command(Action::UpdateLimits {
            container: web.clone(),
            name: "web".into(),
            limits: Limits {
                cpu: cpu.map(Millicores),
                memory: memory_mib.map(Bytes::from_mib),
            },
        })
    };
    let mut previous = Limits::default();
    for (cpu, memory) in [(500, 128), (1_000, 512), (250, 96)] {
        let result = world.answer(&update(Some(cpu), Some(memory))).await;
        assert_eq!(
            result,
            OutcomeResult::Succeeded {
                created: None,
                previous: Some(previous),
                image: None,
                sealed: None,
                networks: Vec::new(),
            }
        );
        previous = Limits {
            cpu: Some(Millicores(cpu)),
            memory: Some(Bytes::from_mib(memory)),
        };
        let host = world.inspect(&web).await.host_config.unwrap();
        assert_eq!(
            host.nano_cpus,
            Some(i64::try_from(cpu).unwrap() * 1_000_000)
        );
        assert_eq!(host.memory, Some(i64::try_from(memory).unwrap() << 20));
    }
    let result = world.answer(&update(Some(300), None)).await;
    assert!(
        matches!(result, OutcomeResult::Succeeded { .. }),
        "{result:?}"
    );
    assert_eq!(
        world.inspect(&web).await.host_config.unwrap().memory,
        Some(96 << 20)
    );

    let (refusal, reason) = world.refusal(&update(None, Some(8))).await;
    assert_eq!(refusal, Refusal::BelowUse, "{reason}");
    let result = world.answer(&update(Some(1_000_000), None)).await;
    assert!(
        matches!(result, OutcomeResult::Failed { .. }),
        "more than the host has: {result:?}"
    );
    assert_eq!(world.inspect(&web).await.state.unwrap().running, Some(true));
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_opted_in_is_not_touched() {
    let mut world = World::new("optin").await;
    let silent = world.container(&[]).await;
    let open = world.container(&ACT).await;
    let healed = world.container(&ACT[..2]).await;
    let before = world.started_at(&silent).await;
    let actuator = world.start(world.config());
    for refused in [
        world.restart(&silent, SECOND),
        world.replicate(&silent, "r1"),
        world.replicate(&healed, "r1"),
    ] {
        let (refusal, reason) = world.refusal(&refused).await;
        assert_eq!(refusal, Refusal::NotOptedIn, "{reason}");
    }
    world.docker.pause_container(open.as_str()).await.unwrap();
    let (refusal, reason) = world.refusal(&world.restart(&open, SECOND)).await;
    assert_eq!(refusal, Refusal::NotOptedIn);
    assert!(reason.contains("paused"), "{reason}");
    world.docker.unpause_container(open.as_str()).await.unwrap();
    actuator.shut_down().await;

    for max_mode in [Mode::Observe, Mode::Suggest] {
        let capped = world.start(actuator::Config {
            max_mode,
            ..world.config()
        });
        let (refusal, reason) = world.refusal(&world.restart(&open, SECOND)).await;
        assert_eq!(refusal, Refusal::NotOptedIn, "{reason}");
        capped.shut_down().await;
    }
    assert_eq!(world.started_at(&silent).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_outdated_commands_are_refused_also_after_a_restart() {
    let mut world = World::new("stale").await;
    let web = world.container(&ACT).await;
    let before = world.started_at(&web).await;
    let actuator = world.start(world.config());
    let mut late = world.restart(&web, SECOND);
    late.deadline = kit::now() - SECOND;
    assert_eq!(world.refusal(&late).await.0, Refusal::Expired);

    let mut elsewhere = world.restart(&web, SECOND);
    elsewhere.node = NodeId::from("node-b");
    elsewhere.generation = Generation(7);
    world.send(&elsewhere).await;
    let mut outdated = world.restart(&web, SECOND);
    outdated.generation = Generation(6);
    assert_eq!(world.refusal(&outdated).await.0, Refusal::StaleGeneration);
    actuator.shut_down().await;

    let again = world.start(world.config());
    let mut outdated = world.restart(&web, SECOND);
    outdated.generation = Generation(6);
    assert_eq!(world.refusal(&outdated).await.0, Refusal::StaleGeneration);
    assert_eq!(world.started_at(&web).await, before);
    let mut current = world.restart(&web, SECOND);
    current.generation = Generation(7);
    assert_eq!(world.answer(&current).await, SUCCEEDED);
    again.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_reach_out_of_their_box_are_not_copied() {
    let mut world = World::new("unsafe").await;
    let actuator = world.start(world.config());
    let privileged = world
        .create(&ACT, |_, host| host.privileged = Some(true))
        .await;
    let networked = world
        .create(&ACT, |_, host| host.network_mode = Some("host".to_owned()))
        .await;
    let pid = world
        .create(&ACT, |_, host| host.pid_mode = Some("host".to_owned()))
        .await;
    let bind = world
        .create(&ACT, |_, host| {
            host.binds = Some(vec!["/etc:/host:ro".to_owned()])
        })
        .await;
    let volume = world
        .create(&ACT, |body, _| {
            body.volumes = Some(vec!["/data".to_owned()])
        })
        .await;
    let admin = world
        .create(&ACT, |_, host| {
            host.cap_add = Some(vec!["SYS_ADMIN".to_owned()])
        })
        .await;
    let bare = world
        .create(&ACT, |_, host| {
            host.security_opt = Some(vec!["seccomp=unconfined".to_owned()])
        })
        .await;
    let port = world
        .create(&ACT, |body, host| {
            body.exposed_ports = Some(vec!["80/tcp".to_owned()]);
            let fixed = PortBinding {
                host_ip: None,
                host_port: Some("18080".to_owned()),
            };
            host.network_mode = Some("bridge".to_owned());
            host.port_bindings = Some(HashMap::from([("80/tcp".to_owned(), Some(vec![fixed]))]));
        })
        .await;
    let templates = [
        (privileged, "privileged"),
        (networked, "host's network"),
        (pid, "host's PID"),
        (bind, "bind mount /etc"),
        (volume, "volume at /data"),
        (admin, "SYS_ADMIN"),
        (bare, "seccomp=unconfined"),
        (port, "fixed host port 18080"),
    ];
    for (template, word) in &templates {
        let (refusal, reason) = world.refusal(&world.replicate(template, "r1")).await;
        assert_eq!(refusal, Refusal::Unsafe, "{reason}");
        assert!(reason.contains(word), "{word}: {reason}");
    }
    assert_eq!(
        world.containers().await.len(),
        templates.len(),
        "nothing was made"
    );
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_start_leaves_nothing_behind() {
    let mut world = World::new("nostart").await;
    let actuator = world.start(world.config());
    let broken = world
        .create(&ACT, |body, _| {
            body.entrypoint = Some(vec!["/no-such-program".to_owned()])
        })
        .await;
    let result = world.answer(&world.replicate(&broken, "r1")).await;
    let OutcomeResult::Failed { error } = &result else {
        panic!("{result:?}");
    };
    assert!(
        error.contains("no-such-program") && error.contains("removed again"),
        "{error}"
    );
    assert_eq!(world.containers().await, [broken.as_str()]);

    let taken = world.container(&ACT).await;
    let result = world.answer(&world.replicate(&taken, "1")).await;
    let OutcomeResult::Failed { error } = &result else {
        panic!("{result:?}");
    };
    assert!(error.contains("name may be taken"), "{error}");
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_vanishes_is_an_outcome() {
    let mut world = World::new("vanish").await;
    let actuator = world.start(world.config());
    let never = ContainerId::from("0123456789ab");
    for gone in [
        world.restart(&never, SECOND),
        world.remove(&never),
        world.replicate(&never, "r1"),
    ] {
        assert_eq!(world.answer(&gone).await, OutcomeResult::Vanished);
    }
    let web = world.stubborn(&ACT).await;
    let asked_to_stop = world.event(&web, "kill");
    let restart = world.restart(&web, PATIENCE);
    world.send(&restart).await;
    asked_to_stop.await;
    let force = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    world
        .docker
        .remove_container(web.as_str(), Some(force))
        .await
        .unwrap();
    assert_eq!(
        world.outcome(&restart).await.result,
        OutcomeResult::Vanished
    );
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_finds_out_and_does_not_repeat() {
    let mut world = World::new("killed").await;
    let web = world.stubborn(&ACT).await;
    let before = world.started_at(&web).await;
    let first = world.start(world.config());
    // Long enough that the kill comes before the container's end, however busy the machine.
    let restart = world.restart(&web, Duration::from_secs(10));
    let (asked_to_stop, started) = (world.event(&web, "kill"), world.event(&web, "restart"));
    world.send(&restart).await;
    asked_to_stop.await;
    first.kill(world.dir.path()).await;
    // The engine goes on without whoever asked.
    started.await;
    let after = world.started_at(&web).await;
    assert_ne!(before, after);

    let second = world.start(world.config());
    let outcome = world.outcome(&restart).await;
    assert_eq!(outcome.result, SUCCEEDED);
    assert_eq!(
        world.outcome(&restart).await,
        outcome,
        "its record was not committed and came again"
    );
    assert_eq!(world.started_at(&web).await, after);
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_engine_was_asked_it_says_interrupted() {
    let mut world = World::new("interrupted").await;
    let (web, cut) = (
        world.container(&ACT).await,
        world.dir.path().join("cut.sock"),
    );
    let before = world.started_at(&web).await;
    let mut proxy = support::hanging_proxy(&cut, "/restart?", Lost::Request);
    let first = world.start(actuator::Config {
        docker: Some(format!("unix://{}", cut.display())),
        ..world.config()
    });
    let restart = world.restart(&web, SECOND);
    world.send(&restart).await;
    proxy.has_cut().await;
    first.kill(world.dir.path()).await;
    let second = world.start(world.config());
    let outcome = world.outcome(&restart).await;
    assert_eq!(outcome.result, OutcomeResult::Interrupted);
    assert_eq!(world.outcome(&restart).await, outcome);
    assert_eq!(
        world.started_at(&web).await,
        before,
        "and it is not run to make up for it"
    );
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_for_one_container_wait_for_each_other() {
    let mut world = World::new("turns").await;
    let web = world.stubborn(&ACT).await;
    let actuator = world.start(world.config());
    let (first, second) = (world.restart(&web, SECOND), world.restart(&web, SECOND));
    world.send(&first).await;
    world.send(&second).await;
    let mut outcomes = [world.next_outcome().await, world.next_outcome().await];
    outcomes.sort_by_key(|outcome| outcome.began_at);
    assert!(
        outcomes.iter().all(|outcome| outcome.result == SUCCEEDED),
        "{outcomes:?}"
    );
    assert!(outcomes[1].began_at >= outcomes[0].at, "{outcomes:?}");
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_commands_expire_and_health_says_so() {
    let mut world = World::new("away").await;
    let config = actuator::Config {
        docker: Some(format!(
            "unix://{}/no-engine.sock",
            world.dir.path().display()
        )),
        ..world.config()
    };
    let actuator = world.start(config);
    let mut restart = world.restart(&ContainerId::from("c1"), SECOND);
    restart.deadline = kit::now() + SECOND;
    let (refusal, _) = world.refusal(&restart).await;
    assert_eq!(refusal, Refusal::Expired);
    let health = actuator.context.health.ready();
    let docker = health.iter().find(|it| &*it.name == "docker").unwrap();
    assert_eq!(docker.state, kit::health::State::Down);
    assert!(
        docker.reason.as_ref().unwrap().contains("no-engine.sock"),
        "{docker:?}"
    );
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_counted_and_passed() {
    let mut world = World::new("garbage").await;
    let web = world.container(&ACT).await;
    let actuator = world.start(world.config());
    for _ in 0..3 {
        let mut garbage = wire::encode(&world.restart(&web, SECOND), &wire::Meta::new("test"));
        garbage.value = "not json".into();
        world.bus.produce(garbage).await.unwrap();
    }
    assert_eq!(world.answer(&world.restart(&web, SECOND)).await, SUCCEEDED);
    let metrics = actuator.context.metrics.encode();
    let counted =
        "homeostat_decode_failures_total{topic=\"homeostat.commands\",reason=\"malformed\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
    let answered = "homeostat_commands_total{action=\"restart\",result=\"succeeded\"} 1";
    assert!(metrics.contains(answered), "{metrics}");
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_shutdown_is_not_read_again() {
    let mut world = World::new("commit").await;
    let never = ContainerId::from("0123456789ab");
    let first = world.start(world.config());
    assert_eq!(
        world.answer(&world.restart(&never, SECOND)).await,
        OutcomeResult::Vanished
    );
    first.shut_down().await;
    let second = world.start(world.config());
    let mut other = world.restart(&never, SECOND);
    other.id = CommandId::from("another");
    assert_eq!(world.answer(&other).await, OutcomeResult::Vanished);
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_on_its_way_is_found_out() {
    let mut world = World::new("lost").await;
    let (web, cut) = (
        world.container(&ACT).await,
        world.dir.path().join("cut.sock"),
    );
    let before = world.started_at(&web).await;
    let _proxy = support::cutting_proxy(&cut, "/restart?", Lost::Answer);
    let config = actuator::Config {
        docker: Some(format!("unix://{}", cut.display())),
        ..world.config()
    };
    let actuator = world.start(config);
    assert_eq!(world.answer(&world.restart(&web, SECOND)).await, SUCCEEDED);
    assert_ne!(world.started_at(&web).await, before);
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_leaves_what_waits_and_the_next_run_takes_it_up() {
    let mut world = World::new("shutdown").await;
    let web = world.stubborn(&ACT).await;
    let before = world.started_at(&web).await;
    let first = world.start(world.config());
    let asked_to_stop = world.event(&web, "kill");
    let (under_way, waiting) = (world.restart(&web, 2 * SECOND), world.restart(&web, SECOND));
    world.send(&under_way).await;
    asked_to_stop.await;
    world.send(&waiting).await;
    first.shut_down().await;
    assert_eq!(
        world.outcome(&under_way).await.result,
        SUCCEEDED,
        "waited for"
    );
    let between = world.started_at(&web).await;
    assert_ne!(before, between);

    let second = world.start(world.config());
    assert_eq!(world.outcome(&waiting).await.result, SUCCEEDED);
    assert_ne!(world.started_at(&web).await, between);
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_the_log_did_not_take_is_told_by_the_next_run() {
    let mut world = World::new("undelivered").await;
    let web = world.stubborn(&ACT).await;
    let restart = world.restart(&web, SECOND);
    // A run whose log has no topic for outcomes: the command is carried out, its outcome goes nowhere.
    let deaf = bus::Bus::memory();
    let topics = wire::topic::all(1).into_iter();
    let topics: Vec<_> = topics
        .filter(|it| it.name == wire::topic::COMMANDS)
        .collect();
    deaf.ensure_topics(&topics).await.unwrap();
    let context = kit::Context::new(deaf.clone(), "actuator", support::NODE);
    let run = tokio::spawn(actuator::run(world.config(), context.clone()));
    let restarted = world.event(&web, "restart");
    let meta = wire::Meta::new("controller/test");
    deaf.produce(wire::encode(&restart, &meta)).await.unwrap();
    restarted.await;
    context.shutdown.cancel();
    tokio::time::timeout(PATIENCE, run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let after = world.started_at(&web).await;

    let second = world.start(world.config());
    assert_eq!(world.answer(&restart).await, SUCCEEDED);
    assert_eq!(world.started_at(&web).await, after, "told, not done again");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_no_command_runs_twice_or_goes_unanswered() {
    const KILLS: u64 = 12;
    let mut world = World::new("storm").await;
    let mut containers = Vec::new();
    for _ in 0..3 {
        containers.push(world.container(&ACT).await);
    }
    let mut restarts = world.count_events("restart").await;
    let mut expected = BTreeSet::new();
    for kill in 0..KILLS {
        let actuator = world.start(world.config());
        for container in &containers {
            let restart = world.restart(container, SECOND);
            world.send(&restart).await;
            world.send(&restart).await;
            expected.insert(restart.id);
        }
        // Spread over the life of a command, the same in each run of the test.
        tokio::time::sleep(Duration::from_millis(kill * 7919 % 331)).await;
        actuator.kill(world.dir.path()).await;
    }
    let last = world.start(world.config());
    let mut answers: BTreeMap<CommandId, Outcome> = BTreeMap::new();
    while !expected.iter().all(|id| answers.contains_key(id)) {
        let outcome = world.next_outcome().await;
        let known = answers
            .entry(outcome.command.clone())
            .or_insert(outcome.clone());
        assert_eq!(*known, outcome, "one command, one answer");
    }
    last.shut_down().await;
    let done = answers.values().filter(|it| it.result == SUCCEEDED).count();
    assert!(done > 0);
    let seen = restarts.wait_for(|seen| *seen >= done);
    tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
    let seen = *restarts.borrow();
    assert!(
        seen <= answers.len(),
        "{seen} restarts for {} commands",
        answers.len()
    );
}
