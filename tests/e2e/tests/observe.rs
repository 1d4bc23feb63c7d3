//! In observe mode the engine sees not one writing request, whatever labels allow and whatever falls ill.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::docker_proxy::DockerProxy;
use e2e::homeostat::Homeostat;
use e2e::stack::Stack;
use e2e::wait::until;
use units::{PlanEntry, Signal, SignalKind};

const REACTION: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observing_writes_nothing_to_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::up("e2e-observe");
    let proxy = DockerProxy::start(dir.path()).await;
    let homeostat = Homeostat::start(
        &["up", "--mode", "observe"],
        dir.path(),
        &[
            ("collector.docker", &proxy.address()),
            ("actuator.docker", &proxy.address()),
        ],
    );
    homeostat.learnt().await;
    // In act mode this would be a restart.
    stack.patient("hang").await;
    until("the hang is signalled", REACTION, || async {
        let signals: Vec<Signal> = homeostat.ask("signals?all=true").await?;
        signals
            .iter()
            .any(|signal| signal.kind == SignalKind::Hang)
            .then_some(())
    })
    .await;
    let actions: Vec<PlanEntry> = homeostat.ask("actions").await.unwrap();
    assert!(actions.is_empty(), "{actions:?}");
    assert!(
        !stack.patient_answers().await,
        "somebody mended the patient"
    );
    let requests = proxy.requests();
    assert!(requests.len() > 3, "the proxy saw only {requests:?}");
    assert_eq!(proxy.writing_requests(), Vec::<String>::new());
}
