//! A bad image is rolled out to a service under load: it goes back by itself, and of the requests no more fail than the canary's share.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use console::api::{ListedUpdate, ServiceStatus};
use control::UpdatePhase;
use e2e::hosts::{BACKEND, DEMO, Fleet, Host, HostFacts, PAGE};
use e2e::load::{Load, PerSecond, Tally};
use e2e::wait::until;

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// An update begins, its canary is watched, and it goes back.
const BACK: Duration = Duration::from_secs(300);
const RATE: PerSecond = PerSecond(200);
/// Requests that are waited for where the load is to go on.
const FURTHER: u64 = 1_000;
/// What ran before: each answer takes a while, of which a busy machine adds little.
const BEFORE: [&str; 5] = ["web", "--burn-ms", "0", "--delay-ms", "40"];
const REPLICAS: usize = 2;

/// An image of the demo with another command.
fn make(host: &Host, image: &str, command: &[&str]) {
    let made = host.docker(&["create", DEMO]);
    let command = command.iter().map(|word| format!("{word:?}"));
    let command = command.collect::<Vec<_>>().join(",");
    let changes = [format!("CMD [{command}]"), format!("LABEL image={image}")];
    let changes = changes.iter().flat_map(|it| ["--change", it.as_str()]);
    let commit = ["commit"].into_iter().chain(changes);
    host.docker(&commit.chain([made.trim(), image]).collect::<Vec<_>>());
    host.docker(&["rm", made.trim()]);
    host.docker(&["push", "--quiet", image]);
}

/// Starts a replica whose command is that of its image.
fn run(host: &Host, name: &str, image: &str) -> String {
    let run = ["run", "--detach", "--name", name, "--publish", "8080"];
    let limits = ["--cpus", "0.8", "--memory", "64m"];
    let backend = format!("io.homeostat.haproxy={BACKEND}");
    let labels = [
        "io.homeostat.service=web",
        "io.homeostat.mode=act",
        "io.homeostat.update=true",
        &backend,
    ];
    let labels = labels.iter().flat_map(|it| ["--label", it]);
    let words = run.into_iter().chain(limits).chain(labels).chain([image]);
    let id = host.docker(&words.collect::<Vec<_>>());
    id.trim().to_owned()
}

/// The containers of the service and their images, in whatever state.
fn standing(host: &Host) -> Vec<(String, String)> {
    let ps = [
        "ps",
        "--all",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Image}}",
    ];
    let ours = ["--filter", "label=io.homeostat.service=web"];
    let listed = host.docker(&[&ps[..], &ours].concat());
    let pairs = listed.lines().filter_map(|it| it.split_once(' '));
    let mut all: Vec<(String, String)> = pairs
        .map(|(id, image)| (id.to_owned(), image.to_owned()))
        .collect();
    all.sort();
    all
}

async fn serve(fleet: &Fleet, what: &str, is_so: impl Fn(&[String]) -> bool) {
    until(what, BACK, || async {
        let serving = fleet.haproxy().serving().await.into_iter();
        let names: Vec<String> = serving.map(|(name, _)| name).collect();
        is_so(&names).then_some(())
    })
    .await;
}

/// Orders an image under load, waits until the order has gone back, and gives what came of the requests in the meantime and why it
/// went back.
async fn goes_back(fleet: &Fleet, image: &str, before: &[(String, String)]) -> (Tally, String) {
    let load = Load::start(fleet.haproxy().front(), PAGE, RATE);
    load.goes_on(FURTHER).await;
    let update = ["update", "web", "--image", image, "--by", "ada"];
    let told = fleet.told(&update).await;
    assert!(told.status.success(), "{told:?}");
    let why = until(&format!("{image} has gone back"), BACK, || async {
        let updates: Vec<ListedUpdate> = fleet.console.ask("updates").await?;
        let ours = updates.into_iter().find(|it| it.update.image == image)?;
        let progress = ours.progress?;
        (progress.phase == UpdatePhase::RolledBack).then_some(progress.reason)
    })
    .await;
    until("the service is as it was", BACK, || async {
        (standing(fleet.host("a")) == before).then_some(())
    })
    .await;
    load.goes_on(FURTHER).await;
    let tally = load.end().await;
    eprintln!("{image}: {why}");
    (tally, why)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_image_goes_back_by_itself_and_costs_no_more_than_the_canarys_share() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.update.bake", "60s"),
        ("controller.update.soak", "5s"),
        ("collector.haproxy.interval", "2s"),
    ];
    let facts = HostFacts {
        name: "a",
        zone: "east",
        cost: 1.0,
    };
    let fleet = Fleet::start_balanced(&[facts], &settings).await;
    let a = fleet.host("a");
    a.make_demo();
    let registry = fleet.registry().await;
    let good = registry.reference("web:good");
    make(a, &good, &BEFORE);
    for name in ["web-1", "web-2"] {
        run(a, name, &good);
    }
    serve(&fleet, "both serve", |names| names.len() == REPLICAS).await;
    until("both are known", SEEN, || async {
        let services: Vec<ServiceStatus> = fleet.console.ask("services").await?;
        let web = services.iter().find(|it| it.service.as_str() == "web")?;
        (web.serving == REPLICAS).then_some(())
    })
    .await;
    let before = standing(a);

    let cases: [(&str, Vec<&str>, &str); 3] = [
        (
            "web:deaf",
            [&BEFORE[..], &["--listen", ":9"]].concat(),
            "unhealthy",
        ),
        (
            "web:failing",
            [&BEFORE[..], &["--failing-percent", "20"]].concat(),
            "request_anomaly",
        ),
        (
            "web:slow",
            [&BEFORE[..3], &["--delay-ms", "80"]].concat(),
            "request_anomaly",
        ),
    ];
    let canary = 1.0 / (REPLICAS + 1) as f64;
    for (name, command, says) in cases {
        let image = registry.reference(name);
        make(a, &image, &command);
        let (tally, why) = goes_back(&fleet, &image, &before).await;
        assert!(
            why.contains(says),
            "{name} went back for another reason: {why}"
        );
        let share = tally.failed as f64 / tally.requests() as f64;
        eprintln!("{name}: {share:.4} of the requests failed, at most {canary:.4} may");
        assert!(share <= canary, "{name}: {tally}");
        if !name.ends_with("failing") {
            assert_eq!(tally.failed, 0, "{name}: {tally}");
        }
    }
}
