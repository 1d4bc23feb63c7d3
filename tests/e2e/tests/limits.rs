//! A container that waits for its CPU limit gets a higher one in place: the engine says so, and that it is the same process.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::containers::Containers;
use e2e::homeostat::Homeostat;
use e2e::wait::until;
use units::{ActionKind, Phase, PlanEntry};

/// A container that was just made is its maker's for a minute.
const REACTION: Duration = Duration::from_secs(240);
const BEFORE: i64 = 100_000_000;
const MOST: i64 = 300_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_container_gets_a_higher_limit_and_goes_on_running() {
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::new();
    let run = |name: &str, labels: &[&str]| {
        let mut options = vec!["--network", "none", "--cpus", "0.1"];
        for label in labels {
            options.extend(["--label", label]);
        }
        containers.run(name, &options, &["spin"]);
    };
    let act = "io.homeostat.mode=act";
    run("busy", &[act, "io.homeostat.limits=cpu=50m..300m"]);
    run("unlabelled", &[act]);
    let cpus = |name: &str| -> i64 {
        let format = "{{.HostConfig.NanoCpus}}";
        let told = containers.tell(&["inspect", "--format", format], name);
        told.trim().parse().unwrap()
    };
    let process = |name: &str| {
        let format = "{{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}";
        containers.tell(&["inspect", "--format", format], name)
    };
    let began = process("busy");
    let homeostat = Homeostat::start(&["up", "--mode", "act"], dir.path(), &[]);
    homeostat.ready().await;

    until("the limit is raised", REACTION, || async {
        (cpus("busy") > BEFORE).then_some(())
    })
    .await;
    // It uses whatever it is given, so that the label is what ends it.
    until("the label's most is reached", REACTION, || async {
        (cpus("busy") == MOST).then_some(())
    })
    .await;
    let judged = until("the first change is judged", REACTION, || async {
        let actions: Vec<PlanEntry> = homeostat.ask("actions").await?;
        let ours = |entry: &PlanEntry| {
            let plan = &entry.plan;
            let named = |step: &units::Step| {
                step.action.name().as_str() == containers.name("busy").as_str()
            };
            plan.kind == ActionKind::UpdateLimits && plan.steps.iter().any(named)
        };
        let judged = |entry: &PlanEntry| entry.phase == Phase::Judged && ours(entry);
        actions.into_iter().find(judged)
    })
    .await;
    assert!(
        judged
            .plan
            .alternatives
            .iter()
            .any(|it| it.contains("replica")),
        "{judged:?}"
    );
    assert_eq!(process("busy"), began, "it was not restarted");
    assert_eq!(cpus("busy"), MOST, "and no more than its label allows");
    assert_eq!(
        cpus("unlabelled"),
        BEFORE,
        "without the label nothing is changed"
    );
}
