//! A node's part in failover, against the real engine: heartbeats, what stops when the log does not answer them, and what is told in
//! case the node is lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actuator::Config;
use bollard::models::{ContainerUpdateBody, HostConfig, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::RemoveContainerOptions;
use bus::{From, Record, Tail, Tailed, TopicSpec};
use kit::config::HumanDuration;
use support::{PATIENCE, World};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use units::{
    Command, ContainerId, Fenced, Heartbeat, Mode, OutcomeResult, Refusal, StandingExport,
};
use wire::topic;

const SECRET: &str = "PASSWORD=correct horse battery staple";
/// So long that a busy machine does not let it end while heartbeats are answered.
const LEASE: Duration = Duration::from_secs(10);
const ACT: (&str, &str) = ("io.homeostat.mode", "act");
const MOVE: (&str, &str) = ("io.homeostat.move", "true");
const SINGLETON: (&str, &str) = ("io.homeostat.singleton", "true");
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An actuator that is cut off stops every singleton of its engine, which tests share: one at a time has any.
static SINGLETONS: Mutex<()> = Mutex::const_new(());

fn config(world: &World, lease: Duration) -> Config {
    Config {
        move_key_file: Some(world.key.clone()),
        lease: HumanDuration::from(lease),
        ..world.config()
    }
}

async fn runs(world: &World, container: &ContainerId) -> bool {
    world.inspect(container).await.state.unwrap().running == Some(true)
}

async fn until_stopped(world: &World, container: &ContainerId) {
    let stopped = async {
        while runs(world, container).await {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, stopped).await.expect("it runs still");
}

async fn start(world: &World, container: &ContainerId) {
    let started = world.docker.start_container(container.as_str(), None).await;
    started.unwrap();
}

/// A container made otherwise, running.
async fn made(
    world: &World,
    labels: &[(&str, &str)],
    change: impl FnOnce(&mut HostConfig),
) -> ContainerId {
    let id = world.create(labels, |_, host| change(host)).await;
    start(world, &id).await;
    id
}

/// The next record of a topic.
async fn next(tail: &mut Tail) -> Record {
    let next = async {
        loop {
            if let Tailed::Record(record) = tail.next().await.unwrap() {
                return record;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("no record came")
}

/// The first heartbeat like this from now on.
async fn beat(world: &World, is_it: impl Fn(&[Fenced]) -> bool) -> Heartbeat {
    let mut tail = world.bus.tail(topic::HEARTBEATS, From::End).await.unwrap();
    let found = async {
        loop {
            let beat: Heartbeat = wire::decode(&next(&mut tail).await).unwrap();
            if is_it(&beat.fenced) {
                return beat;
            }
        }
    };
    timeout(PATIENCE, found)
        .await
        .expect("no such heartbeat came")
}

fn are(fenced: &[Fenced], containers: &[&ContainerId]) -> bool {
    let told: BTreeSet<_> = fenced.iter().map(|it| &it.container).collect();
    told == containers.iter().copied().collect()
}

fn without(left_out: &str) -> Vec<TopicSpec> {
    let all = topic::all(1).into_iter();
    all.filter(|it| it.name != left_out).collect()
}

fn restart(world: &World, container: &ContainerId) -> Command {
    world.restart(container, Duration::from_secs(1))
}

fn is_done(result: &OutcomeResult) -> bool {
    matches!(result, OutcomeResult::Succeeded { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn singletons_stop_when_the_log_does_not_answer_and_are_told_of_until_they_run() {
    let _alone = SINGLETONS.lock().await;
    let mut world = World::new("fence").await;
    let single = world.container(&[ACT, MOVE, SINGLETON]).await;
    let always = made(&world, &[ACT, MOVE, SINGLETON], |host| {
        host.restart_policy = Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ALWAYS),
            maximum_retry_count: None,
        });
    })
    .await;
    let mut others = Vec::new();
    let suggest = ("io.homeostat.mode", "suggest");
    for labels in [
        [ACT, MOVE].as_slice(),
        &[ACT, SINGLETON],
        &[suggest, MOVE, SINGLETON],
    ] {
        others.push(world.container(labels).await);
    }
    let fleeting = made(&world, &[ACT, MOVE, SINGLETON], |host| {
        host.auto_remove = Some(true);
    });
    others.push(fleeting.await);
    let actuator = world.start(config(&world, LEASE));

    // More than fit in a lease: without their answers it would be over.
    let mut tail = world.bus.tail(topic::HEARTBEATS, From::Beginning).await;
    for _ in 0..6 {
        let record = next(tail.as_mut().unwrap()).await;
        let beat: Heartbeat = wire::decode(&record).unwrap();
        assert_eq!((beat.node.as_str(), beat.lease), (support::NODE, LEASE));
        assert_eq!(beat.fenced, []);
    }
    assert!(runs(&world, &single).await && runs(&world, &always).await);

    world.bus.close().await;
    let cut_at = kit::now();
    until_stopped(&world, &single).await;
    until_stopped(&world, &always).await;
    let policy = world.inspect(&always).await.host_config.unwrap();
    let policy = policy.restart_policy.unwrap().name;
    assert_eq!(policy, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
    // Whoever starts it again has it stopped again.
    start(&world, &single).await;
    until_stopped(&world, &single).await;
    for other in &others {
        assert!(runs(&world, other).await, "{other}");
    }
    actuator.shut_down().await;

    world.renew_log(&topic::all(1)).await;
    let actuator = world.start(config(&world, LEASE));
    let told = beat(&world, |_| true).await;
    assert!(are(&told.fenced, &[&single, &always]), "{told:?}");
    assert!(told.fenced.iter().all(|it| it.at >= cut_at), "{told:?}");
    assert!(!runs(&world, &single).await, "it waits to be told");

    // Its labels do not let it be healed.
    let result = world.answer(&restart(&world, &single)).await;
    assert!(is_done(&result), "{result:?}");
    assert!(runs(&world, &single).await);
    beat(&world, |fenced| are(fenced, &[&always])).await;
    // What people stop afterwards is theirs.
    world
        .docker
        .stop_container(single.as_str(), None)
        .await
        .unwrap();
    let (refusal, _) = world.refusal(&restart(&world, &single)).await;
    assert_eq!(refusal, Refusal::NotOptedIn);
    remove(&world, &always).await;
    beat(&world, <[Fenced]>::is_empty).await;
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_never_heard_runs_no_singleton_until_it_is() {
    let _alone = SINGLETONS.lock().await;
    let mut world = World::new("unheard").await;
    world.renew_log(&without(topic::HEARTBEATS)).await;
    let single = world.container(&[ACT, MOVE, SINGLETON]).await;
    let actuator = world.start(config(&world, Duration::from_secs(3)));
    until_stopped(&world, &single).await;

    let soon = Command {
        deadline: kit::now() + Duration::from_secs(3),
        ..restart(&world, &single)
    };
    let (refusal, reason) = world.refusal(&soon).await;
    assert_eq!(refusal, Refusal::Expired);
    assert!(reason.contains("heartbeats"), "{reason}");
    assert!(!runs(&world, &single).await);

    world.bus.ensure_topics(&topic::all(1)).await.unwrap();
    beat(&world, |fenced| are(fenced, &[&single])).await;
    let result = world.answer(&restart(&world, &single)).await;
    assert!(is_done(&result), "{result:?}");
    beat(&world, <[Fenced]>::is_empty).await;
    assert!(runs(&world, &single).await);
    actuator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_not_act_or_has_no_key_takes_no_part() {
    let _alone = SINGLETONS.lock().await;
    let world = World::new("aside").await;
    let single = world.container(&[ACT, MOVE, SINGLETON]).await;
    let of_all = config(&world, Duration::from_secs(3));
    let no_key = Config {
        move_key_file: None,
        ..of_all.clone()
    };
    let no_act = Config {
        max_mode: Mode::Suggest,
        ..of_all.clone()
    };
    for config in [no_key, no_act] {
        let actuator = world.start(config);
        // Another one beside it, whose heartbeats take longer than its lease would, and come after those that it would have sent.
        let beside = world.start(Config {
            node: Some("node-b".to_owned()),
            state_dir: None,
            lease: HumanDuration::from(LEASE),
            ..of_all.clone()
        });
        let tail = world.bus.tail(topic::HEARTBEATS, From::End).await;
        let mut tail = tail.unwrap();
        for _ in 0..4 {
            let beat: Heartbeat = wire::decode(&next(&mut tail).await).unwrap();
            assert_eq!(beat.node.as_str(), "node-b");
        }
        beside.shut_down().await;
        actuator.shut_down().await;
    }
    assert!(runs(&world, &single).await);
}

/// What is told of each container by now, and how often that was told in all.
#[derive(Default)]
struct Standing {
    newest: BTreeMap<ContainerId, StandingExport>,
    told: BTreeMap<ContainerId, usize>,
}

impl Standing {
    /// Reads on until it is so.
    async fn until(&mut self, tail: &mut Tail, is_so: impl Fn(&Standing) -> bool) {
        let read = async {
            while !is_so(self) {
                let record = next(tail).await;
                let container = std::str::from_utf8(&record.key).unwrap();
                let container = ContainerId::from(container);
                *self.told.entry(container.clone()).or_default() += 1;
                if wire::is_tombstone(&record) {
                    self.newest.remove(&container);
                } else {
                    let export = wire::decode(&record).unwrap();
                    self.newest.insert(container, export);
                }
            }
        };
        timeout(PATIENCE, read).await.expect("it was not told");
    }

    fn has(&self, container: &ContainerId) -> bool {
        self.newest.contains_key(container)
    }
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

/// Waits until a whole round has gone by: a new container is told of in the next one, and another in one after that.
async fn a_round(world: &World, standing: &mut Standing, tail: &mut Tail) {
    for _ in 0..2 {
        let fresh = world.container(&[ACT, MOVE]).await;
        standing.until(tail, |it| it.has(&fresh)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_containers_are_made_is_told_when_it_changes_and_taken_back_when_they_go() {
    let world = World::new("standing").await;
    let web = world
        .create(&[ACT, MOVE], |body, _| {
            body.env = Some(vec![SECRET.to_owned()]);
        })
        .await;
    start(&world, &web).await;
    let bound = made(&world, &[ACT, MOVE], |host| {
        host.binds = Some(vec!["/tmp:/host:ro".to_owned()]);
    })
    .await;
    let suggest = ("io.homeostat.mode", "suggest");
    let unwilling = [
        bound,
        world.container(&[ACT]).await,
        world.container(&[suggest, MOVE]).await,
        world.create(&[ACT, MOVE], |_, _| {}).await,
    ];
    let actuator = world.start(config(&world, LEASE));
    let tail = world.bus.tail(topic::EXPORTS, From::Beginning).await;
    let (mut tail, mut standing) = (tail.unwrap(), Standing::default());

    standing.until(&mut tail, |it| it.has(&web)).await;
    let first = standing.newest[&web].clone();
    assert_eq!(first.node.as_str(), support::NODE);
    assert_eq!(first.name.as_str(), format!("{}-0", world.name));
    assert_eq!(first.service.as_str(), first.name.as_str());
    assert!(!serde_json::to_string(&first).unwrap().contains("horse"));

    let limits = ContainerUpdateBody {
        memory: Some(64 << 20),
        memory_swap: Some(128 << 20),
        ..ContainerUpdateBody::default()
    };
    let updated = world.docker.update_container(web.as_str(), limits);
    updated.await.unwrap();
    standing.until(&mut tail, |it| it.told[&web] == 2).await;
    assert_ne!(standing.newest[&web].sealed, first.sealed);

    // Neither a restart of the container nor one of the actuator changes how it is made; stopped, it is told of still.
    let restarted = world.docker.restart_container(web.as_str(), None);
    restarted.await.unwrap();
    a_round(&world, &mut standing, &mut tail).await;
    actuator.shut_down().await;
    let actuator = world.start(config(&world, LEASE));
    a_round(&world, &mut standing, &mut tail).await;
    world
        .docker
        .stop_container(web.as_str(), None)
        .await
        .unwrap();
    a_round(&world, &mut standing, &mut tail).await;
    assert_eq!(standing.told[&web], 2);
    assert!(unwilling.iter().all(|it| !standing.told.contains_key(it)));

    remove(&world, &web).await;
    standing.until(&mut tail, |it| !it.has(&web)).await;
    assert!(!standing.newest.is_empty());
    actuator.shut_down().await;

    // Without a key it takes no part any more.
    let actuator = world.start(Config {
        move_key_file: None,
        ..config(&world, LEASE)
    });
    standing.until(&mut tail, |it| it.newest.is_empty()).await;
    actuator.shut_down().await;
}
