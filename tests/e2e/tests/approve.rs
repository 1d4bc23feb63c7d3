//! Where people want to be asked, what is suggested is done once they approve, and not before.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::docker_proxy::DockerProxy;
use e2e::homeostat::{Homeostat, output};
use e2e::stack::Stack;
use e2e::wait::until;
use units::{ActionKind, Phase, PlanEntry};

const REACTION: Duration = Duration::from_secs(180);

/// The newest restart of the patient in this phase.
async fn restart(homeostat: &Homeostat, phase: Phase) -> Option<PlanEntry> {
    let actions: Vec<PlanEntry> = homeostat.ask("actions").await?;
    actions.into_iter().find(|entry| {
        entry.plan.kind == ActionKind::Restart
            && entry.plan.service.as_str() == "patient"
            && entry.phase == phase
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_suggested_is_done_once_it_is_approved() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::up("e2e-approve");
    let proxy = DockerProxy::start(dir.path()).await;
    let homeostat = Homeostat::start(
        &["up", "--mode", "suggest"],
        dir.path(),
        &[
            ("collector.docker", &proxy.address()),
            ("actuator.docker", &proxy.address()),
            ("controller.heal.verdict_within", "5s"),
        ],
    );
    homeostat.learnt().await;
    stack.patient("hang").await;
    let suggested = until("a restart is suggested", REACTION, || {
        restart(&homeostat, Phase::Suggested)
    })
    .await;
    assert_eq!(proxy.writing_requests(), Vec::<String>::new());
    assert!(!stack.patient_answers().await, "somebody mended it");

    let console = homeostat.console();
    let approve = |plan: &str| {
        output(&[
            "actions",
            "approve",
            plan,
            "--by",
            "ada",
            "--console",
            &console,
        ])
    };
    let unknown = approve("nothing-restart-1");
    assert!(!unknown.status.success());
    let approved = approve(suggested.plan.id.as_str());
    let told = String::from_utf8_lossy(&approved.stdout);
    assert!(approved.status.success(), "{approved:?}");
    assert!(told.contains("is done if it is still called for"), "{told}");

    let judged = until("it is restarted and judged", REACTION, || {
        restart(&homeostat, Phase::Judged)
    })
    .await;
    let approval = judged.plan.approval.unwrap();
    assert_eq!(approval.plan, suggested.plan.id);
    assert_eq!(approval.by.as_deref(), Some("ada"));
    until("the patient answers again", REACTION, || async {
        stack.patient_answers().await.then_some(())
    })
    .await;
    assert_eq!(proxy.writing_requests().len(), 1, "one restart and no more");
    let again = approve(suggested.plan.id.as_str());
    let why = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && why.contains("carried out as"),
        "{why}"
    );
}
