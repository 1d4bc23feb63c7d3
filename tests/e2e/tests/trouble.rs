//! What goes wrong on real hosts: registries that are gone or full, images of another architecture, ports that are taken, disks that are
//! full, engines that restart in the middle. Each ends with a reason that names the thing and the next step, and as many containers serve
//! as before, with nothing left over.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use console::api::{ListedUpdate, ServiceStatus};
use control::UpdatePhase;
use e2e::hosts::{Ends, Fleet, Host, HostFacts, Registry, RegistryGate, Trouble, another_machine};
use e2e::wait::until;
use e2e::watch::Watch;
use futures::future::join_all;
use units::{ActionKind, Bytes, Phase, PlanEntry};

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// An update, or a move, comes to its end.
const ENDS: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Of the engine of one host.
const DISK: Bytes = Bytes(96 * 1024 * 1024);
const PORTS: [u16; 2] = [18_080, 18_081];
const FIXED: u16 = 18_090;

async fn start() -> Fleet {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.relocate.soak", "5s"),
        ("controller.relocate.settle", "5s"),
        ("controller.update.bake", "10s"),
        ("controller.update.soak", "5s"),
        ("controller.update.retry", "5s"),
    ];
    let facts = ["a", "b", "c"].map(|name| HostFacts {
        name,
        zone: "east",
        cost: 1.0,
    });
    Fleet::start_on_disks(&facts, &[("c", DISK)], &settings).await
}

/// Starts a container that may be acted on, the only one of a service of its name.
fn run(host: &Host, image: &str, name: &str, label: &str, options: &[&str]) {
    let service = format!("io.homeostat.service={name}");
    let labels = [service.as_str(), "io.homeostat.mode=act", label];
    let run = ["run", "--detach", "--name", name, "--restart", "always"];
    let limits = ["--cpus", "0.2", "--memory", "32m", "--stop-timeout", "1"];
    let words = run.into_iter().chain(limits).chain(options.iter().copied());
    let labels = labels.iter().flat_map(|it| ["--label", it]);
    host.docker(
        &words
            .chain(labels)
            .chain([image, "idle"])
            .collect::<Vec<_>>(),
    );
}

const UPDATE: &str = "io.homeostat.update=true";
const MOVE: &str = "io.homeostat.move=true";

/// Waits until the hosts have these containers, healthy, and no others, running or not.
async fn whole(fleet: &Fleet, expected: &[(&str, &[&str])]) {
    let listed = || {
        let names = |host: &Host, filter: &[&str]| {
            let ps = ["ps", "--all", "--format", "{{.Names}}"];
            let listed = host.docker(&[&ps[..], filter].concat());
            let mut names: Vec<String> = listed.lines().map(ToOwned::to_owned).collect();
            names.sort();
            names
        };
        let hosts = fleet.hosts().iter();
        let all = hosts.map(|it| {
            let healthy = names(it, &["--filter", "health=healthy"]);
            (it.name().to_owned(), (names(it, &[]), healthy))
        });
        all.collect::<BTreeMap<_, _>>()
    };
    let expected: BTreeMap<String, _> = expected
        .iter()
        .map(|(host, names)| {
            let mut names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
            names.sort();
            ((*host).to_owned(), (names.clone(), names))
        })
        .collect();
    let last = std::cell::RefCell::new(BTreeMap::new());
    let reached = tokio::time::timeout(SEEN, async {
        loop {
            *last.borrow_mut() = listed();
            if *last.borrow() == expected {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    let is_reached = reached.await.is_ok();
    assert!(is_reached, "{:#?}\nnot {expected:#?}", last.borrow());
}

async fn known(fleet: &Fleet, services: &[&str]) {
    until("all are known to serve", SEEN, || async {
        let listed: Vec<ServiceStatus> = fleet.console.ask("services").await?;
        let serves = |name: &&str| {
            let mut listed = listed.iter();
            listed.any(|it| it.service.as_str() == *name && it.serving == 1)
        };
        services.iter().all(serves).then_some(())
    })
    .await;
}

async fn actions(fleet: &Fleet) -> Vec<PlanEntry> {
    let asked = || fleet.console.ask::<Vec<PlanEntry>>("actions");
    until("the actions are listed", SEEN, asked).await
}

/// What a verb prints.
async fn said(fleet: &Fleet, words: &[&str]) -> String {
    let output = fleet.told(words).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Orders an update that cannot come to a good end, and gives the reason.
async fn refused(fleet: &Fleet, service: &str, image: &str) -> String {
    let order = ["update", service, "--image", image, "--by", "ada", "--wait"];
    let ended = tokio::time::timeout(ENDS, fleet.told(&order)).await;
    let ended = ended.expect("the order did not end");
    let error = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    error
}

/// Waits until a move of this service went wrong, and gives what `why-not` says of it.
async fn not_moved(fleet: &Fleet, service: &str) -> String {
    until(&format!("a move of {service} goes wrong"), ENDS, || async {
        let told = said(fleet, &["why-not", service]).await;
        told.contains("went wrong").then_some(told)
    })
    .await
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

/// Waits until an engine tells of something that happens to a container of this name.
fn happens(host: &Host, event: &str, name: &str) -> tokio::task::JoinHandle<()> {
    let mut events = Command::new("docker");
    events.args([
        "--host",
        &host.engine(),
        "events",
        "--format",
        "{{.Status}}",
    ]);
    events.args([
        "--filter",
        &format!("event={event}"),
        "--filter",
        &format!("container={name}"),
    ]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(events.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let _ = events.kill();
        let _ = events.wait();
        assert!(!line.is_empty(), "the engine ended before");
    })
}

/// The images of these tests, each under the name that an update or a container has for it.
struct Images {
    base: String,
    /// A registry that is gone has it, and host a.
    gone: String,
    /// Registries in trouble have these.
    full: String,
    breaks: String,
    holds: String,
    /// Of a registry without trouble. It says that it is for another machine …
    foreign: String,
    /// … and this does not, though its program is.
    lying: String,
    /// Host a has it too.
    own: String,
}

struct Registries {
    whole: Registry,
    full: RegistryGate,
    breaks: RegistryGate,
    holds: RegistryGate,
}

/// Makes the images on host a, and leaves the registries in their troubles.
async fn prepare(fleet: &Fleet, base: &str) -> (Registries, Images) {
    let a = fleet.host("a");
    let whole = fleet.registry().await;
    let gone = fleet.gate(&whole).await;
    let registries = Registries {
        full: fleet.gate(&whole).await,
        breaks: fleet.gate(&whole).await,
        holds: fleet.gate(&whole).await,
        whole,
    };
    let images = Images {
        base: base.to_owned(),
        gone: gone.reference("gone:1"),
        full: registries.full.reference("full:2"),
        breaks: registries.breaks.reference("breaks:2"),
        holds: registries.holds.reference("holds:2"),
        foreign: registries.whole.reference("foreign:2"),
        lying: registries.whole.reference("lying:2"),
        own: registries.whole.reference("own:1"),
    };
    for image in [&images.full, &images.breaks, &images.holds] {
        a.make_image(base, image, &[], &[]);
        a.hand_over(image);
    }
    for image in [&images.gone, &images.own] {
        a.make_image(base, image, &[], &[]);
        a.docker(&["push", "--quiet", image]);
    }
    a.make_foreign_image(base, &images.foreign);
    a.hand_over(&images.foreign);
    let program = a.foreign_program(base);
    let unchecked = ["HEALTHCHECK NONE"];
    a.make_image(base, &images.lying, &unchecked, &[("writer", &program)]);
    a.hand_over(&images.lying);
    registries.full.set(Trouble::Full);
    registries.breaks.set(Trouble::Breaks);
    registries.holds.set(Trouble::Holds);
    drop(gone);
    (registries, images)
}

/// Services of host b, to be updated, and of host a, to be moved.
const UPDATED: [&str; 7] = [
    "lost", "gone", "full", "breaks", "foreign", "lying", "holds",
];
const MOVED: [&str; 3] = ["pulled", "ranged", "fixed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_is_said_with_the_next_step_and_as_many_serve_as_before() {
    let mut fleet = start().await;
    let (_images, base) = fleet.checked_image();
    let (registries, images) = prepare(&fleet, &base).await;
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    for name in UPDATED {
        run(b, &base, name, UPDATE, &[]);
    }
    let range = format!("{}-{}:8080", PORTS[0], PORTS[1]);
    let fixed = format!("{FIXED}:8080");
    run(a, &images.gone, "pulled", MOVE, &[]);
    run(a, &base, "ranged", MOVE, &["--publish", &range]);
    run(a, &base, "fixed", MOVE, &["--publish", &fixed]);
    let listeners = PORTS.map(|it| b.listen(it));
    let services = [&UPDATED[..], &MOVED].concat();
    let first: [(&str, &[&str]); 3] = [("a", &MOVED), ("b", &UPDATED), ("c", &[])];
    whole(&fleet, &first).await;
    known(&fleet, &services).await;
    let watch = Watch::start(fleet.hosts().iter().map(Host::engine));
    services.iter().for_each(|it| watch.add(it));

    said(&fleet, &["node", "cordon", "c", "--by", "ada"]).await;
    said(&fleet, &["node", "drain", "a", "--by", "ada"]).await;
    updates_go_back(&fleet, &images).await;
    moves_do_not_begin(&fleet, &images).await;
    whole(&fleet, &first).await;
    drop(listeners);

    said(&fleet, &["node", "cordon", "b", "--by", "ada"]).await;
    said(&fleet, &["node", "uncordon", "c", "--by", "ada"]).await;
    nothing_comes_to_a_full_disk(&fleet, &images).await;
    let more = [&MOVED[..], &["large", "small"]].concat();
    whole(&fleet, &[("a", &more), ("b", &UPDATED), ("c", &[])]).await;
    for service in services {
        assert!(watch.end(service) >= 1, "{service} was away");
    }

    its_engine_restarts_during_an_update(&mut fleet, &registries, &images).await;
    let turned = a_move_outlives_the_engine_it_goes_to(&mut fleet, &base).await;
    a_move_outlives_the_engine_it_leaves(&mut fleet, &base).await;
    is_updated(&fleet, &images).await;
    // What was moved is kept where it was, stopped; nothing else is.
    let (stayed, went): (&[&str], &[&str]) = match turned {
        Turned::Moved => (&[], &["turned", "left"]),
        Turned::Stayed => (&["turned"], &["left"]),
    };
    for name in went {
        fleet.host("a").docker(&["rm", name]);
    }
    let on_a = [&more[..], stayed].concat();
    whole(&fleet, &[("a", &on_a), ("b", &UPDATED), ("c", went)]).await;
}

async fn updates_go_back(fleet: &Fleet, images: &Images) {
    let nobody = fleet.nobody();
    fleet.host("b").lose_packets_to(nobody);
    let lost = format!("{nobody}:5000/lost:2");
    let gone = format!("{}2", images.gone.trim_end_matches('1'));
    let built = format!("built for linux/{}", another_machine().0);
    let silent = "the registry does not answer this node";
    let ordered: [(&str, &str, &[&str]); 6] = [
        ("lost", &lost, &[silent]),
        ("gone", &gone, &["connection refused", silent]),
        (
            "full",
            &images.full,
            &["500 Internal Server Error", "whether its disk is full"],
        ),
        (
            "breaks",
            &images.breaks,
            &["unexpected EOF", "push the image again"],
        ),
        (
            "foreign",
            &images.foreign,
            &[&built, "build it for that too"],
        ),
        ("lying", &images.lying, &["docker run --rm"]),
    ];
    let refused = ordered
        .iter()
        .map(|(service, image, _)| refused(fleet, service, image));
    let refused = join_all(refused).await;
    for ((service, image, words), text) in ordered.iter().zip(&refused) {
        let expected = match *service {
            "lying" => "rolled back because",
            _ => "nothing was changed",
        };
        says(text, &[&[*image, "on node b", expected], *words].concat());
    }
}

async fn moves_do_not_begin(fleet: &Fleet, images: &Images) {
    let went_wrong = "from node a to b went wrong";
    let text = not_moved(fleet, "pulled").await;
    says(
        &text,
        &[
            went_wrong,
            &images.gone,
            "connection refused",
            "check that it runs",
        ],
    );
    let text = not_moved(fleet, "ranged").await;
    let port = PORTS[0].to_string();
    says(
        &text,
        &[
            went_wrong,
            "address already in use",
            &port,
            "publish another port",
        ],
    );
    let text = said(fleet, &["nodes"]).await;
    let port = format!("fixed host port {FIXED}");
    says(&text, &["(fixed)", &port, "publish a range of ports"]);
}

async fn nothing_comes_to_a_full_disk(fleet: &Fleet, images: &Images) {
    let (a, c) = (fleet.host("a"), fleet.host("c"));
    c.fill_disk();
    run(a, &images.own, "large", MOVE, &[]);
    run(a, &images.base, "small", MOVE, &[]);
    let full = [
        "from node a to c went wrong",
        "no space left on device",
        "docker system prune",
    ];
    let text = not_moved(fleet, "large").await;
    says(
        &text,
        &[&full[..], &["cannot pull the image", &images.own]].concat(),
    );
    let text = not_moved(fleet, "small").await;
    says(&text, &[&full[..], &["cannot create small"]].concat());
    c.clear_disk();
}

/// Where the one healthy container of a service is, once there is one.
async fn alone(fleet: &Fleet, service: &str) -> String {
    until(&format!("one of {service} serves"), SEEN, || async {
        let mut serving = fleet.serving(service);
        let (host, _) = serving.pop()?;
        serving.is_empty().then_some(host)
    })
    .await
}

/// An order whose image comes while its node's engine restarts.
async fn its_engine_restarts_during_an_update(
    fleet: &mut Fleet,
    registries: &Registries,
    images: &Images,
) {
    let order = ["update", "holds", "--image", &images.holds, "--by", "ada"];
    said(fleet, &order).await;
    registries.holds.is_asked().await;
    fleet.host_mut("b").restart_engine(Ends::Asked).await;
    registries.holds.set(Trouble::None);
}

async fn is_updated(fleet: &Fleet, images: &Images) {
    let progress = until("the update is over", ENDS, || async {
        let listed: Vec<ListedUpdate> = fleet.console.ask("updates").await?;
        let mut listed = listed.into_iter();
        let progress = listed
            .find(|it| it.update.image == images.holds)?
            .progress?;
        let is_over = match progress.phase {
            UpdatePhase::Finished | UpdatePhase::RolledBack | UpdatePhase::Refused => true,
            UpdatePhase::Pulling
            | UpdatePhase::Canary
            | UpdatePhase::Rolling
            | UpdatePhase::RollingBack => false,
        };
        is_over.then_some(progress)
    })
    .await;
    assert_eq!(progress.phase, UpdatePhase::Finished, "{progress:?}");
    let ps = ["ps", "--filter", "name=^holds$", "--format", "{{.Image}}"];
    assert_eq!(fleet.host("b").docker(&ps), images.holds);
}

/// What came of a move whose target's engine ended in the middle: when exactly, nobody knows beforehand.
enum Turned {
    Moved,
    Stayed,
}

async fn a_move_outlives_the_engine_it_goes_to(fleet: &mut Fleet, base: &str) -> Turned {
    let made = happens(fleet.host("c"), "create", "turned");
    run(fleet.host("a"), base, "turned", MOVE, &[]);
    tokio::time::timeout(ENDS, made).await.unwrap().unwrap();
    fleet.host_mut("c").restart_engine(Ends::Killed).await;
    until("the move of turned is over", ENDS, || async {
        let actions = actions(fleet).await.into_iter();
        let plans = actions.filter(|it| it.plan.service.as_str() == "turned");
        let plans: Vec<PlanEntry> = plans.collect();
        let mut made = plans
            .iter()
            .filter(|it| it.plan.kind == ActionKind::CreateReplica);
        let has_failed = made.any(|it| it.phase == Phase::Failed);
        let mut stopped = plans.iter().filter(|it| it.plan.kind == ActionKind::Stop);
        let is_moved = stopped.any(|it| it.phase == Phase::Judged);
        (has_failed || is_moved).then_some(())
    })
    .await;
    match alone(fleet, "turned").await.as_str() {
        "c" => Turned::Moved,
        _ => {
            let text = not_moved(fleet, "turned").await;
            let words = ["from node a to c went wrong", "on node c", "interrupted"];
            says(&text, &words);
            Turned::Stayed
        }
    }
}

async fn a_move_outlives_the_engine_it_leaves(fleet: &mut Fleet, base: &str) {
    run(fleet.host("a"), base, "left", MOVE, &[]);
    let stops = happens(fleet.host("a"), "kill", "left");
    tokio::time::timeout(ENDS, stops).await.unwrap().unwrap();
    fleet.host_mut("a").restart_engine(Ends::Asked).await;
    until("the step it interrupted is judged", ENDS, || async {
        let actions = actions(fleet).await;
        let mut stops = actions
            .iter()
            .filter(|it| it.plan.service.as_str() == "left" && it.plan.kind == ActionKind::Stop);
        stops.any(|it| it.phase == Phase::Judged).then_some(())
    })
    .await;
    assert_eq!(alone(fleet, "left").await, "c");
}
