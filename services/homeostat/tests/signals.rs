//! `homeostat signals ack`, `dismiss` and `feedback`, and `explain`, as people call them, before a console over a log in memory.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use bus::Bus;
use kit::Context;
use tokio::process::Command;
use units::{
    Confidence, Evidence, Ratio, ServiceId, Severity, Signal, SignalId, SignalKind, SignalPhase,
    Subject,
};
use wire::{Meta, topic};

const DEADLINE: Duration = Duration::from_secs(60);

fn signal() -> Signal {
    let subject = Subject::service(ServiceId::from("web"));
    let fingerprint = subject.fingerprint(SignalKind::Overload);
    let opened_at = kit::now();
    Signal {
        id: SignalId::of(&fingerprint, opened_at),
        fingerprint,
        phase: SignalPhase::Open,
        kind: SignalKind::Overload,
        subject,
        severity: Severity::Warning,
        score: Ratio::saturating(0.99),
        confidence: Confidence::Low,
        opened_at,
        at: opened_at,
        reason: "web used 90% of its CPU limits".to_owned(),
        evidence: vec![Evidence {
            feature: "cpu_limit_used_share".to_owned(),
            metric: None,
            unit: "1".to_owned(),
            observed: 0.9,
            expected_low: 0.0,
            expected_high: 0.5,
            since: opened_at,
        }],
        traceparent: None,
    }
}

async fn homeostat(console: SocketAddr, words: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_homeostat");
    let console = format!("http://{console}");
    let mut command = Command::new(binary);
    command.args(words).args(["--console", &console]);
    command.output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it prints when it does what it is asked.
async fn done(console: SocketAddr, words: &[&str]) -> String {
    let output = homeostat(console, words).await;
    assert!(output.status.success(), "{words:?}: {output:?}");
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_signal_is_seen_wherever_it_is_shown() {
    let bus = Bus::memory();
    bus.ensure_topics(&topic::all(1)).await.unwrap();
    let open = signal();
    let record = wire::encode(&open, &Meta::new("test"));
    bus.produce(record).await.unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let context = Context::new(bus, "console", "node-a");
    let shutdown = context.shutdown.clone();
    let role = tokio::spawn(console::run(
        console::Config { listen },
        control::Config::default(),
        context,
    ));
    let ready = async {
        while !text(&homeostat(listen, &["signals"]).await.stdout).contains("overload") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.unwrap();

    let id = &open.id.as_str()[..8];
    let nothing = done(listen, &["signals", "feedback"]).await;
    assert!(nothing.contains("no bar is raised"), "{nothing}");
    let told = done(listen, &["signals", "ack", id]).await;
    assert_eq!(told, "overload of web is acknowledged\n");
    let because = ["signals", "dismiss", id, "--because", "a test"];
    let told = done(listen, &because).await;
    assert!(
        told.starts_with("overload of web is dismissed; until "),
        "{told}"
    );

    let listed = done(listen, &["signals"]).await;
    assert!(listed.contains("dismissed: a test"), "{listed}");
    let raised = done(listen, &["signals", "feedback"]).await;
    assert!(raised.contains("1.0 of 4"), "{raised}");
    let explained = done(listen, &["explain", id]).await;
    for part in [
        "●",
        "confidence  low: ",
        "feedback    dismissed at ",
        "bar         raised to 1.0",
    ] {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    assert!(!explained.contains('\x1b'), "no terminal, no colours");

    for (words, status) in [
        (&["signals", "ack", "zzz"][..], 3),
        (&["signals", "dismiss", "a.b"][..], 2),
    ] {
        let refused = homeostat(listen, words).await;
        assert_eq!(refused.status.code(), Some(status), "{refused:?}");
        assert!(text(&refused.stderr).contains("`homeostat signals` lists them"));
    }
    shutdown.cancel();
    role.await.unwrap().unwrap();
}
