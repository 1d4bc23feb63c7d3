//! Services behind HAProxy, under load: what the loop does to their containers loses no request.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use console::api::ServiceStatus;
use e2e::homeostat::root;
use e2e::hosts::{BACKEND, Fleet, Host, HostFacts};
use e2e::wait::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use units::{Phase, PlanEntry};

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// A move has three steps, each watched for some time.
const MOVED: Duration = Duration::from_secs(300);
/// Together some 240 requests a second, where the machine lets them.
const CLIENTS: usize = 12;
const EACH_EVERY: Duration = Duration::from_millis(50);
/// Good answers that are waited for where the load is to go on.
const FURTHER: usize = 500;
const DEMO: &str = "homeostat-demo:latest";

/// Clients that ask the balancer at a steady rate, and count.
struct Load {
    is_over: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    began: Instant,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn start(front: &str) -> Load {
        let mut load = Load {
            is_over: Arc::default(),
            good: Arc::default(),
            began: Instant::now(),
            clients: JoinSet::new(),
        };
        for _ in 0..CLIENTS {
            let (is_over, good) = (Arc::clone(&load.is_over), Arc::clone(&load.good));
            let front = front.to_owned();
            load.clients.spawn(async move {
                let mut every = tokio::time::interval(EACH_EVERY);
                every.set_missed_tick_behavior(MissedTickBehavior::Skip);
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    every.tick().await;
                    match get(&front).await {
                        Ok(()) => {
                            good.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                failures
            });
        }
        load
    }

    /// Waits for more good answers.
    async fn goes_on(&self) {
        let goal = self.good.load(Ordering::Relaxed) + FURTHER;
        until("more requests are answered", SEEN, || async {
            (self.good.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Ends it, and says how much it was; every request that failed, in words.
    async fn end(mut self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failures.extend(client.unwrap());
        }
        let good = self.good.load(Ordering::Relaxed);
        let took_s = self.began.elapsed().as_secs_f64();
        let rate = good as f64 / took_s;
        eprintln!("{good} requests in {took_s:.0} s, {rate:.0} a second; failed: {failures:?}");
        failures
    }
}

/// One request, over a connection of its own.
async fn get(front: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(front).await?;
    let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let is_good = answer.starts_with("HTTP/1.1 200 ") && answer.contains("homeostat demo page");
    match is_good {
        true => Ok(()),
        false => {
            let first = answer.lines().next().unwrap_or_default();
            Err(std::io::Error::other(format!("answered {first:?}")))
        }
    }
}

/// Makes the demo's image on a host's engine.
fn make_image(host: &Host) {
    let made = Command::new(root().join("deploy/demo/image.sh"))
        .env("DOCKER_HOST", host.engine())
        .status();
    assert!(made.unwrap().success(), "cannot make {DEMO}");
}

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
    make_image(a);
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
    let load = Load::start(fleet.haproxy().front());
    load.goes_on().await;

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
    load.goes_on().await;
    assert_eq!(load.end().await, [""; 0]);
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
    make_image(a);
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
    let load = Load::start(fleet.haproxy().front());
    load.goes_on().await;

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
    load.goes_on().await;
    assert_eq!(load.end().await, [""; 0]);
}
