//! A node that is cut off from the log heals on by itself, against the real engine, and tells of it when it is heard again.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use actuator::Config;
use bollard::models::HealthConfig;
use bus::{From, Tailed, TopicSpec};
use kit::config::HumanDuration;
use support::World;
use tokio::time::timeout;
use units::{
    ActionKind, ContainerId, Generation, Heartbeat, Mode, OutcomeResult, Phase, PlanEntry,
    StandingPolicy,
};
use wire::{Meta, topic};

/// The shortest there is: a node is on its own nine of it after the last heartbeat that was acknowledged.
const LEASE: Duration = Duration::from_secs(3);
const HOURLY: u32 = 2;
/// On a busy machine, after the node has been on its own.
const HEALED: Duration = Duration::from_secs(180);
const SECOND_NS: i64 = 1_000_000_000;

fn config(world: &World) -> Config {
    Config {
        move_key_file: Some(world.key.clone()),
        lease: HumanDuration::from(LEASE),
        ..world.config()
    }
}

/// A container whose check fails, running.
async fn sick(world: &World, labels: &[(&str, &str)]) -> ContainerId {
    let id = world
        .create(labels, |body, _| {
            body.healthcheck = Some(HealthConfig {
                test: Some(vec!["CMD".to_owned(), "/nothing".to_owned()]),
                interval: Some(SECOND_NS),
                timeout: Some(SECOND_NS),
                retries: Some(1),
                ..HealthConfig::default()
            });
        })
        .await;
    let started = world.docker.start_container(id.as_str(), None).await;
    started.unwrap();
    id
}

async fn started_at(world: &World, container: &ContainerId) -> Option<String> {
    world.inspect(container).await.state.unwrap().started_at
}

fn without(left_out: &str) -> Vec<TopicSpec> {
    let all = topic::all(1).into_iter();
    all.filter(|it| it.name != left_out).collect()
}

/// What heartbeats say that was done, once they say all of it.
async fn healed(world: &World) -> Vec<PlanEntry> {
    let mut tail = world
        .bus
        .tail(topic::HEARTBEATS, From::Beginning)
        .await
        .unwrap();
    loop {
        if let Tailed::Record(record) = tail.next().await.unwrap() {
            let beat: Heartbeat = wire::decode(&record).unwrap();
            if beat.healed.len() >= HOURLY as usize {
                return beat.healed;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unhealthy_is_restarted_within_the_budget_it_was_given_and_told_of_later() {
    let mut world = World::new("alone").await;
    world.renew_log(&without(topic::HEARTBEATS)).await;
    let policy = StandingPolicy {
        generation: Generation(1),
        at: kit::now(),
        max_mode: Mode::Act,
        grace: Duration::from_secs(1),
        backoff: Duration::from_secs(1),
        hourly: HOURLY,
        service_hourly: 100,
    };
    let told = wire::encode(&policy, &Meta::new("test"));
    world.bus.produce(told).await.unwrap();
    let (act, heal) = (("io.homeostat.mode", "act"), ("io.homeostat.heal", "true"));
    let web = sick(&world, &[act, heal]).await;
    let other = sick(&world, &[("io.homeostat.mode", "suggest"), heal]).await;
    let (web_before, other_before) = (
        started_at(&world, &web).await,
        started_at(&world, &other).await,
    );
    let actuator = world.start(config(&world));
    let restarted = async {
        while started_at(&world, &web).await == web_before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(HEALED, restarted)
        .await
        .expect("it was not restarted");
    // Another process of it goes on where this one was.
    actuator.shut_down().await;
    let first = started_at(&world, &web).await;
    let actuator = world.start(config(&world));
    let again = async {
        while started_at(&world, &web).await == first {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(HEALED, again)
        .await
        .expect("it was not restarted again");
    actuator.shut_down().await;

    world.bus.ensure_topics(&topic::all(1)).await.unwrap();
    let actuator = world.start(config(&world));
    let healed = timeout(HEALED, healed(&world))
        .await
        .expect("they were not told");
    assert_eq!(healed.len(), HOURLY as usize, "{healed:#?}");
    for entry in &healed {
        assert_eq!(
            (entry.plan.kind, entry.phase),
            (ActionKind::Restart, Phase::Executed)
        );
        assert_eq!(entry.plan.steps[0].action.target(), &web);
        assert!(entry.plan.cause.reason.contains("cut off for"), "{entry:?}");
        let result = &entry.outcomes[0].result;
        assert!(
            matches!(result, OutcomeResult::Succeeded { .. }),
            "{result:?}"
        );
    }
    assert_eq!(
        started_at(&world, &other).await,
        other_before,
        "it is not opted in"
    );
    actuator.shut_down().await;
}
