//! What happens to containers of a real engine, as the collector tells it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::rig::{Containers, Running, events_until, inventories_until, log, samples_until};
use bollard::Docker;
use bollard::query_parameters::StatsOptionsBuilder;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use units::{
    Bytes, ContainerEvent, ContainerState, EventKind, HealthState, Metric, Millicores,
    NodeInventory, Sample,
};

fn kinds(events: &[ContainerEvent], id: &str) -> Vec<EventKind> {
    let of = events.iter().filter(|event| event.container.as_str() == id);
    of.map(|event| event.kind.clone()).collect()
}

fn last_sample<'a>(samples: &'a [Sample], id: &str) -> Option<&'a Sample> {
    samples
        .iter()
        .rev()
        .find(|sample| sample.container.as_str() == id)
}

fn last_record<'a>(
    inventories: &'a [NodeInventory],
    id: &str,
) -> Option<&'a units::ContainerRecord> {
    inventories
        .last()?
        .containers
        .iter()
        .find(|record| record.id.as_str() == id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_is_told_in_events_inventory_and_samples() {
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    let options = [
        "--cpus",
        "0.5",
        "--memory",
        "64m",
        "--label",
        "io.homeostat.mode=suggest",
    ];
    let id = containers.run("life", &options, &["idle"]);

    samples_until(&bus, "usage of a running container", |samples| {
        last_sample(samples, &id).is_some_and(|sample| {
            let metrics = &sample.metrics;
            sample.state == ContainerState::Running
                && metrics.get(Metric::CpuUsage).is_some()
                && metrics
                    .get(Metric::MemoryUsage)
                    .is_some_and(|bytes| bytes > 0.0)
                && metrics.get(Metric::MemoryLimit) == Some(64.0 * 1024.0 * 1024.0)
                && metrics.get(Metric::CpuLimit) == Some(0.5)
                && metrics.get(Metric::Pids).is_some_and(|tasks| tasks >= 1.0)
                && metrics.get(Metric::NetRxBytes).is_some()
        })
    })
    .await;
    inventories_until(&bus, "healthy container with its limits", |inventories| {
        last_record(inventories, &id).is_some_and(|record| {
            record.health == HealthState::Healthy
                && record.limits.cpu == Some(Millicores(500))
                && record.limits.memory == Some(Bytes::from_mib(64))
                && record.policy.mode == units::Mode::Suggest
                && record.service.as_str() == "probe"
        })
    })
    .await;

    containers.tell(&["exec"], "life", &["/probe", "sicken"]);
    samples_until(&bus, "unhealthy sample", |samples| {
        last_sample(samples, &id).is_some_and(|sample| sample.health == HealthState::Unhealthy)
    })
    .await;
    let new_name = containers.name("renamed");
    containers.tell(&["rename"], "life", &[&new_name]);
    containers.tell(&["restart", "--time", "0"], "renamed", &[]);
    containers.tell(&["kill"], "renamed", &[]);
    samples_until(&bus, "sample of an ended container", |samples| {
        last_sample(samples, &id).is_some_and(|sample| {
            sample.state == ContainerState::Exited
                && sample.metrics.get(Metric::ExitCode) == Some(137.0)
                && sample.metrics.get(Metric::CpuUsage).is_none()
                && sample.name.as_str() == new_name
        })
    })
    .await;
    containers.tell(&["rm"], "renamed", &[]);
    let events = events_until(&bus, "removal", |events| {
        kinds(events, &id).contains(&EventKind::Removed)
    })
    .await;
    inventories_until(&bus, "inventory without it", |all| {
        !all.is_empty() && last_record(all, &id).is_none()
    })
    .await;

    let told = kinds(&events, &id);
    let died = |code| EventKind::Died {
        exit_code: Some(code),
    };
    let expected = [
        EventKind::Created,
        EventKind::Started,
        EventKind::Health {
            state: HealthState::Healthy,
        },
        EventKind::Health {
            state: HealthState::Unhealthy,
        },
        died(137),
        EventKind::Started,
        died(137),
        EventKind::Removed,
    ];
    let mut rest = told.iter();
    for kind in expected {
        assert!(
            rest.any(|told| *told == kind),
            "no {kind:?} in its place in {told:?}"
        );
    }
    assert!(
        told.iter()
            .any(|kind| matches!(kind, EventKind::Stopping { .. })),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|kind| matches!(kind, EventKind::Renamed { .. })),
        "{told:?}"
    );
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_counters_agree_with_the_engine() {
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    let id = containers.run("spin", &["--no-healthcheck"], &["spin", "1500"]);
    // It has spun once two samples with most of that time agree.
    let samples = samples_until(&bus, "end of the spinning", |samples| {
        let mut seen = samples.iter().rev().filter(|sample| sample.container.as_str() == id);
        let mut next = || seen.next().and_then(|sample| sample.metrics.get(Metric::CpuUsage));
        matches!((next(), next()), (Some(last), Some(before)) if last > 0.2 && last - before < 0.001)
    })
    .await;
    let ours = last_sample(&samples, &id)
        .unwrap()
        .metrics
        .get(Metric::CpuUsage)
        .unwrap();
    let docker = Docker::connect_with_host("unix:///var/run/docker.sock")
        .unwrap()
        .negotiate_version()
        .await
        .unwrap();
    let options = StatsOptionsBuilder::default()
        .stream(false)
        .one_shot(true)
        .build();
    let stats = docker
        .stats(&id, Some(options))
        .next()
        .await
        .unwrap()
        .unwrap();
    let total_ns = stats
        .cpu_stats
        .unwrap()
        .cpu_usage
        .unwrap()
        .total_usage
        .unwrap();
    let theirs = total_ns as f64 / 1e9;
    assert!(
        (ours - theirs).abs() <= theirs * 0.1,
        "{ours} s here, {theirs} s by the engine"
    );
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_goes_away_is_waited_for_and_only_ever_read() {
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let proxy = Proxy::new(state.path().join("proxy.sock"));
    let open = proxy.open();
    let kept = containers.run("kept", &[], &["idle"]);
    let doomed = containers.run("doomed", &[], &["idle"]);
    let collector = Running::start_at(&bus, &state.path().join("state"), &proxy.path);
    collector.ready().await;
    inventories_until(&bus, "both containers", |all| {
        last_record(all, &kept).is_some() && last_record(all, &doomed).is_some()
    })
    .await;

    open.cancel();
    while collector.context.health.is_ready() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let reasons = collector.context.health.ready();
    assert!(format!("{reasons:?}").contains("proxy.sock"), "{reasons:?}");
    containers.tell(&["rm", "--force"], "doomed", &[]);
    let born = containers.run("born", &[], &["idle"]);
    let _open = proxy.open();
    collector.ready().await;

    inventories_until(&bus, "the new one and not the old", |all| {
        last_record(all, &born).is_some() && last_record(all, &doomed).is_none()
    })
    .await;
    let events = events_until(&bus, "what was missed", |events| {
        kinds(events, &kept).contains(&EventKind::Gap)
            && kinds(events, &doomed).contains(&EventKind::Removed)
            && kinds(events, &born).contains(&EventKind::Started)
    })
    .await;
    let started = kinds(&events, &born)
        .iter()
        .filter(|kind| **kind == EventKind::Started)
        .count();
    assert_eq!(started, 1, "told once though asked for again");
    collector.stop().await;
    let requests = proxy.requests.lock().unwrap().clone();
    assert!(requests.len() > 5);
    assert!(
        requests.iter().all(|request| request.starts_with("GET ")),
        "{requests:?}"
    );
}

/// Stands between the collector and the engine, and notes every request.
struct Proxy {
    path: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn new(path: PathBuf) -> Self {
        Proxy {
            path,
            requests: Arc::default(),
        }
    }

    /// Lets requests through until the token is cancelled, which cuts every connection.
    fn open(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        let (stop, requests, path) = (token.clone(), Arc::clone(&self.requests), self.path.clone());
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (stop, requests) = (stop.clone(), Arc::clone(&requests));
                tokio::spawn(
                    async move { stop.run_until_cancelled(pass(client, &requests)).await },
                );
            }
            remove(&path);
        });
        token
    }
}

fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

async fn pass(client: UnixStream, requests: &Mutex<Vec<String>>) {
    let engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let asking = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
            // Reading requests have no body, so each write of the client begins a request.
            let text = String::from_utf8_lossy(&buffer[..len]);
            requests
                .lock()
                .unwrap()
                .push(text.lines().next().unwrap_or_default().to_owned());
            to_engine.write_all(&buffer[..len]).await.unwrap();
        }
    };
    tokio::select! {
        () = asking => {}
        _ = tokio::io::copy(&mut from_engine, &mut to_client) => {}
    }
}
