//! The life of a process: connecting, running, draining.

#![allow(clippy::unwrap_used)]

use std::future::pending;
use std::io;
use std::time::Duration;

use bus::{Bus, Retention, TopicSpec};
use futures::channel::mpsc;
use futures::stream::{self, StreamExt};
use kit::boot::{Connected, Drain, DrainError, LOG, Stop, chain, connect, shutdown_signal};
use kit::health::{Health, State};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(60);

const TOPIC: TopicSpec = TopicSpec {
    name: "homeostat.test",
    partitions: 2,
    retention: Retention::Compact,
};

async fn until(shutdown: CancellationToken) -> io::Result<()> {
    shutdown.cancelled().await;
    Ok(())
}

#[tokio::test]
async fn the_first_request_drains_every_task() {
    let shutdown = CancellationToken::new();
    let mut drain = Drain::new(shutdown.clone(), LONG);
    drain.spawn("collector", until(shutdown.clone()));
    drain.spawn("admin", until(shutdown.clone()));
    let ended = timeout(LONG, drain.run(stream::iter([Stop::Terminate]))).await;
    ended.unwrap().unwrap();
    assert!(shutdown.is_cancelled());
}

#[tokio::test]
async fn a_failed_task_drains_the_others_and_is_named() {
    let shutdown = CancellationToken::new();
    let mut drain = Drain::new(shutdown.clone(), LONG);
    drain.spawn("admin", until(shutdown.clone()));
    drain.spawn("collector", async { Err(io::Error::other("no cgroup")) });
    let error = timeout(LONG, drain.run(stream::pending()))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(chain(&error), "collector failed: no cgroup");
}

#[tokio::test]
async fn a_panic_is_a_failure_of_its_task() {
    let shutdown = CancellationToken::new();
    let mut drain = Drain::new(shutdown.clone(), LONG);
    drain.spawn("admin", until(shutdown.clone()));
    drain.spawn("analytics", async {
        assert!(shutdown_is_far(), "a defect");
        io::Result::Ok(())
    });
    let error = timeout(LONG, drain.run(stream::pending()))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(error, DrainError::Panicked { task: "analytics" }),
        "{error}"
    );
}

fn shutdown_is_far() -> bool {
    false
}

#[tokio::test]
async fn a_task_that_ends_unasked_is_an_error() {
    let shutdown = CancellationToken::new();
    let mut drain = Drain::new(shutdown.clone(), LONG);
    drain.spawn("notifier", async { io::Result::Ok(()) });
    let error = timeout(LONG, drain.run(stream::pending()))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(error, DrainError::EndedEarly { task: "notifier" }),
        "{error}"
    );
}

#[tokio::test]
async fn tasks_that_overstay_are_named() {
    let shutdown = CancellationToken::new();
    let mut drain = Drain::new(shutdown.clone(), Duration::from_millis(50));
    drain.spawn("admin", until(shutdown.clone()));
    drain.spawn("stuck", pending::<io::Result<()>>());
    shutdown.cancel();
    let error = timeout(LONG, drain.run(stream::pending()))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "stuck did not end within 0.05 s and were abandoned"
    );
}

#[tokio::test]
async fn the_second_request_ends_at_once() {
    let shutdown = CancellationToken::new();
    let mut drain = Drain::new(shutdown.clone(), LONG);
    drain.spawn("stuck", pending::<io::Result<()>>());
    let (stops, asked) = mpsc::unbounded();
    stops.unbounded_send(Stop::Terminate).unwrap();
    let run = tokio::spawn(drain.run(asked));
    timeout(LONG, shutdown.cancelled()).await.unwrap();
    stops.unbounded_send(Stop::Interrupt).unwrap();
    let error = timeout(LONG, run).await.unwrap().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "ended at once by a second SIGINT, stuck had not ended"
    );
}

#[tokio::test]
async fn connecting_creates_the_topics_and_reports_the_log_up() {
    let (bus, health, shutdown) = (Bus::memory(), Health::default(), CancellationToken::new());
    let connected = timeout(LONG, connect(&bus, &[TOPIC], &health, &shutdown)).await;
    assert_eq!(connected.unwrap(), Connected::Yes);
    assert_eq!(&*health.ready()[0].name, LOG);
    assert_eq!(health.ready()[0].state, State::Up);
    assert!(bus.read_latest(TOPIC.name).await.unwrap().is_empty());
}

#[tokio::test]
async fn connecting_goes_on_while_the_log_refuses_and_stops_at_shutdown() {
    let (bus, health, shutdown) = (Bus::memory(), Health::default(), CancellationToken::new());
    bus.ensure_topics(&[TOPIC]).await.unwrap();
    let other = TopicSpec {
        partitions: 64,
        ..TOPIC
    };
    let run = {
        let (health, shutdown) = (health.clone(), shutdown.clone());
        tokio::spawn(async move { connect(&bus, &[other], &health, &shutdown).await })
    };
    let refused = async {
        loop {
            let reason = health.ready().first().and_then(|it| it.reason.clone());
            if let Some(reason) = reason.filter(|it| it.contains(TOPIC.name)) {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = timeout(LONG, refused).await.unwrap();
    assert!(reason.contains("partitions"), "{reason}");
    assert!(!run.is_finished());
    shutdown.cancel();
    assert_eq!(
        timeout(LONG, run).await.unwrap().unwrap(),
        Connected::ShutDown
    );
}

/// One test for both signals: they go to the whole process.
#[tokio::test]
async fn signals_become_requests_to_end() {
    let mut stops = shutdown_signal().unwrap();
    let own = rustix::process::getpid();
    for (signal, stop) in [
        (rustix::process::Signal::TERM, Stop::Terminate),
        (rustix::process::Signal::INT, Stop::Interrupt),
    ] {
        rustix::process::kill_process(own, signal).unwrap();
        assert_eq!(timeout(LONG, stops.next()).await.unwrap(), Some(stop));
    }
}
