//! Services behind HAProxy, under load: what the loop does to their containers loses no request.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use console::api::ServiceStatus;
use e2e::hosts::{BACKEND, DEMO, Fleet, Host, HostFacts, PAGE};
use e2e::load::{Load, PerSecond, Tally};
use e2e::wait::until;
use units::{ActionKind, OutcomeResult, Phase, PlanEntry};

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// A move has three steps, each watched for some time.
const MOVED: Duration = Duration::from_secs(300);
/// A load that one replica carries, also where a rise from nothing to it is thought to go on, and …
const LOW: PerSecond = PerSecond(200);
/// … one that takes three, or two where a busy machine lets the clients ask half as often.
const HIGH: PerSecond = PerSecond(1_000);
/// Answers a second that a replica is to carry, as HAProxy counts them.
const CARRIES: &str = "io.homeostat.scale.target=metric:haproxy_server_http_responses_total=400";
/// Requests that are waited for where the load is to go on.
const FURTHER: u64 = 1_000;
/// The fewest requests of each test: together 100,000, of which none fails.
const MOVED_REQUESTS: u64 = 15_000;
const UPDATED_REQUESTS: u64 = 30_000;
const SCALED_REQUESTS: u64 = 55_000;

/// Starts a web service at a port that the engine chooses, and gives its id.
fn run(host: &Host, name: &str, labels: &[&str], image: &str) -> String {
    let run = ["run", "--detach", "--name", name, "--publish", "8080"];
    let limits = ["--cpus", "0.8", "--memory", "64m"];
    let labels = labels.iter().flat_map(|it| ["--label", it]);
    let words = run.into_iter().chain(limits).chain(labels);
    let words = words.chain([image, "web", "--burn-ms", "0"]);
    let id = host.docker(&words.collect::<Vec<_>>());
    id.trim().to_owned()
}

/// What `docker ps` says in this format of the containers of the service, a line each.
fn listed(host: &Host, format: &str) -> Vec<String> {
    let ps = ["ps", "--no-trunc", "--format", format];
    let ours = ["--filter", "label=io.homeostat.service=web"];
    let listed = host.docker(&[&ps[..], &ours].concat());
    listed.lines().map(ToOwned::to_owned).collect()
}

fn server_of(container: &str) -> String {
    format!("hs-{}", &container[..12])
}

/// Waits until these are the servers that get requests, and no others.
async fn serve(fleet: &Fleet, containers: &[&str]) {
    let mut wanted: Vec<String> = containers.iter().map(|it| server_of(it)).collect();
    wanted.sort();
    until(&format!("{wanted:?} serve"), MOVED, || async {
        let serving = fleet.haproxy().serving().await.into_iter();
        let mut names: Vec<String> = serving.map(|(name, _)| name).collect();
        names.sort();
        (names == wanted).then_some(())
    })
    .await;
}

async fn actions(fleet: &Fleet) -> Vec<PlanEntry> {
    let asked = || fleet.console.ask::<Vec<PlanEntry>>("actions");
    until("the actions are listed", SEEN, asked).await
}

fn none_failed(tally: &Tally) {
    assert_eq!(tally.failed, 0, "{tally}");
}

async fn said(fleet: &Fleet, words: &[&str]) {
    let output = fleet.told(words).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_moves_to_another_host_and_no_request_fails() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.relocate.soak", "5s"),
    ];
    let facts = ["a", "b"].map(|name| HostFacts {
        name,
        zone: "east",
        cost: 1.0,
    });
    let fleet = Fleet::start_balanced(&facts, &settings).await;
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    let registry = fleet.registry().await;
    let image = registry.reference("web:1");
    a.make_demo();
    a.docker(&["tag", DEMO, &image]);
    a.docker(&["push", "--quiet", &image]);
    let backend = format!("io.homeostat.haproxy={BACKEND}");
    let labels = [
        "io.homeostat.service=web",
        "io.homeostat.mode=act",
        "io.homeostat.move=true",
        &backend,
    ];
    let original = run(a, "web", &labels, &image);
    serve(&fleet, &[&original]).await;
    let load = Load::start(fleet.haproxy().front(), PAGE, HIGH);
    load.goes_on(FURTHER).await;

    said(&fleet, &["node", "drain", "a", "--by", "ada"]).await;
    let successor = until("another runs on b", MOVED, || async {
        let listed = b.docker(&["ps", "--quiet", "--no-trunc", "--filter", "name=^web$"]);
        listed.lines().next().map(ToOwned::to_owned)
    })
    .await;
    serve(&fleet, &[&successor]).await;
    until("the one before is stopped", MOVED, || async {
        let state = a.docker(&["inspect", "--format", "{{.State.Status}}", &original]);
        (state.trim() == "exited").then_some(())
    })
    .await;
    load.goes_on(FURTHER).await;
    load.reaches(MOVED_REQUESTS).await;
    none_failed(&load.end().await);
    let serving = fleet.haproxy().serving().await;
    assert!(
        matches!(serving.as_slice(), [(name, served)] if *name == server_of(&successor) && *served > 0),
        "{serving:?}"
    );
    let moved = until("every step is judged", MOVED, || async {
        let actions = actions(&fleet).await;
        let is_over = actions.len() >= 3 && actions.iter().all(|it| it.phase.is_final());
        is_over.then_some(actions)
    })
    .await;
    assert!(
        moved.iter().all(|it| it.phase == Phase::Judged),
        "{moved:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_image_is_rolled_out_and_no_request_fails() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.update.bake", "10s"),
        ("controller.update.soak", "5s"),
    ];
    let facts = HostFacts {
        name: "a",
        zone: "east",
        cost: 1.0,
    };
    let fleet = Fleet::start_balanced(&[facts], &settings).await;
    let a = fleet.host("a");
    let registry = fleet.registry().await;
    let images = ["web:1", "web:2"].map(|it| registry.reference(it));
    a.make_demo();
    for image in &images {
        let made = a.docker(&["create", DEMO]);
        let label = format!("LABEL image={image}");
        a.docker(&["commit", "--change", &label, made.trim(), image]);
        a.docker(&["rm", made.trim()]);
        a.docker(&["push", "--quiet", image]);
    }
    let [first, second] = &images;
    let backend = format!("io.homeostat.haproxy={BACKEND}");
    let labels = [
        "io.homeostat.service=web",
        "io.homeostat.mode=act",
        "io.homeostat.update=true",
        &backend,
    ];
    let (one, two) = (
        run(a, "web-1", &labels, first),
        run(a, "web-2", &labels, first),
    );
    serve(&fleet, &[&one, &two]).await;
    until("both are known", SEEN, || async {
        let services: Vec<ServiceStatus> = fleet.console.ask("services").await?;
        let web = services.iter().find(|it| it.service.as_str() == "web")?;
        (web.serving == 2).then_some(())
    })
    .await;
    let load = Load::start(fleet.haproxy().front(), PAGE, HIGH);
    load.goes_on(FURTHER).await;

    let update = ["update", "web", "--image", second, "--by", "ada", "--wait"];
    said(&fleet, &update).await;
    let updated = until("both run the other image", MOVED, || async {
        let runs = listed(a, "{{.ID}} {{.Image}}");
        let ids = runs.iter().filter_map(|it| {
            let (id, image) = it.split_once(' ')?;
            (image == second).then(|| id.to_owned())
        });
        let ids: Vec<String> = ids.collect();
        (runs.len() == 2 && ids.len() == 2).then_some(ids)
    })
    .await;
    let updated: Vec<&str> = updated.iter().map(String::as_str).collect();
    serve(&fleet, &updated).await;
    load.goes_on(FURTHER).await;
    load.reaches(UPDATED_REQUESTS).await;
    none_failed(&load.end().await);
}

/// How many steps of a kind were carried out.
fn done(actions: &[PlanEntry], kind: ActionKind) -> usize {
    let of_kind = actions.iter().filter(|it| it.plan.kind == kind);
    let outcomes = of_kind.flat_map(|it| &it.outcomes);
    let is_done = |result: &OutcomeResult| matches!(result, OutcomeResult::Succeeded { .. });
    outcomes.filter(|it| is_done(&it.result)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_scaled_out_and_in_by_its_load_and_no_request_fails() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.scale.down_window", "15s"),
        ("controller.scale.verdict_within", "10s"),
        ("collector.haproxy.interval", "1s"),
    ];
    let facts = HostFacts {
        name: "a",
        zone: "east",
        cost: 1.0,
    };
    let fleet = Fleet::start_balanced(&[facts], &settings).await;
    let a = fleet.host("a");
    a.make_demo();
    let backend = format!("io.homeostat.haproxy={BACKEND}");
    let labels = [
        "io.homeostat.service=web",
        "io.homeostat.mode=act",
        "io.homeostat.scale=1..3",
        CARRIES,
        &backend,
    ];
    let original = run(a, "web", &labels, DEMO);
    serve(&fleet, &[&original]).await;
    let load = Load::start(fleet.haproxy().front(), PAGE, LOW);
    load.goes_on(FURTHER).await;
    serve(&fleet, &[&original]).await;

    load.turn_to(HIGH);
    until("more than one serve", MOVED, || async {
        let serving = fleet.haproxy().serving().await;
        (serving.len() > 1).then_some(())
    })
    .await;
    load.reaches(SCALED_REQUESTS).await;
    let most = fleet.haproxy().serving().await;
    load.turn_to(LOW);
    serve(&fleet, &[&original]).await;
    load.goes_on(FURTHER).await;
    none_failed(&load.end().await);
    let actions = until("what was added is removed", MOVED, || async {
        let actions = actions(&fleet).await;
        let added = done(&actions, ActionKind::CreateReplica);
        let removed = done(&actions, ActionKind::RemoveReplica);
        (added > 0 && removed == added).then_some(actions)
    })
    .await;
    eprintln!("{} replicas at the most: {most:?}", most.len());
    for action in &actions {
        eprintln!("{}: {}", action.plan.kind, action.plan.cause.reason);
    }
}
