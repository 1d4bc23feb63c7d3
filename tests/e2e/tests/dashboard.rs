//! Every query of the dashboard, asked of a real Prometheus that scrapes the running loop.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use e2e::homeostat::Homeostat;
use e2e::hosts::move_key;
use e2e::prometheus::{MayBeEmpty, Prometheus, loop_dashboard};
use e2e::stack::Stack;
use e2e::wait::until;
use tokio::net::TcpListener;
use units::PlanEntry;

const REACTION: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_has_data_of_the_running_loop() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::up("e2e-dashboard");
    let receiver = receiver().await;
    // With a key for moves its actuator has a lease.
    let key = move_key(dir.path());
    let homeostat = Homeostat::start(
        &["up", "--mode", "act"],
        dir.path(),
        &[
            ("actuator.move_key_file", key.to_str().unwrap()),
            ("controller.heal.verdict_within", "5s"),
            ("notifier.sinks.receiver.kind", "webhook"),
            ("notifier.sinks.receiver.endpoint", &receiver),
            ("notifier.sinks.receiver.allow_http", "true"),
            // This one is told less than there is.
            ("notifier.sinks.quiet.kind", "webhook"),
            ("notifier.sinks.quiet.endpoint", &receiver),
            ("notifier.sinks.quiet.allow_http", "true"),
            ("notifier.sinks.quiet.send_actions", "false"),
        ],
    );
    homeostat.ready().await;
    let admin = SocketAddr::from(([127, 0, 0, 1], homeostat.admin_port));
    let prometheus = Prometheus::start(&[("homeostat", admin)]).await.unwrap();
    homeostat.learnt().await;
    stack.patient("hang").await;
    // Signals, actions and verdicts only have figures once there was one.
    until(
        "the patient is restarted and that is judged",
        REACTION,
        || async {
            let actions: Vec<PlanEntry> = homeostat.ask("actions").await?;
            actions
                .iter()
                .any(|entry| entry.verdict.is_some())
                .then_some(())
        },
    )
    .await;
    let may_be_empty = [MayBeEmpty {
        panel: "Lost and put aside",
        reason: "a healthy loop loses nothing",
    }];
    until("every panel has data", REACTION, || async {
        let report = prometheus
            .check(&loop_dashboard(), &may_be_empty)
            .await
            .unwrap();
        match report.ok() {
            Ok(()) => Some(()),
            Err(error) => {
                eprintln!("{error}");
                None
            }
        }
    })
    .await;
}

/// A webhook that refuses every other message for now, so that both panels of notifications have something to show.
async fn receiver() -> String {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move || async move {
        match asked.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::NO_CONTENT,
        }
    };
    let router = Router::new().route("/", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}
