//! A good image is rolled out to every replica and a bad one goes back by itself, while the service goes on serving with at least as
//! many healthy replicas as it has: the engine's own listing says so.
#![allow(clippy::unwrap_used)]

use std::process::Output;
use std::time::Duration;

use console::api::ListedUpdate;
use control::UpdatePhase;
use e2e::containers::Containers;
use e2e::homeostat::{Homeostat, output};
use e2e::wait::until;
use e2e::watch::Watch;
use units::{ActionKind, Phase, PlanEntry};

const REPLICAS: usize = 2;
/// Both replicas are told of within this.
const SEEN: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(900);
/// Checks that pass, and ones that fail, since nothing writes what they look for.
const GOOD: &str = r#"HEALTHCHECK --interval=1s --timeout=3s --retries=2 CMD ["/writer","go"]"#;
const BAD: &str = r#"HEALTHCHECK --interval=1s --timeout=3s --retries=2 CMD ["/writer","written"]"#;

/// Runs the binary to its end beside the test.
async fn told(homeostat: &Homeostat, words: &[&str]) -> Output {
    let console = homeostat.console();
    let words = words.iter().copied().chain(["--console", &console]);
    let words: Vec<String> = words.map(ToOwned::to_owned).collect();
    let ran = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        output(&words)
    });
    let ran = tokio::time::timeout(ENDS, ran).await;
    ran.expect("the order did not end").unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The images that its containers run, all of which are healthy.
fn running(containers: &Containers) -> Vec<String> {
    containers.listed("health=healthy", "{{.Image}}")
}

async fn updates(homeostat: &Homeostat) -> Vec<ListedUpdate> {
    let asked = || homeostat.ask::<Vec<ListedUpdate>>("updates");
    until("the updates are listed", SEEN, asked).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_image_is_rolled_out_and_a_bad_one_goes_back_while_the_service_serves() {
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::new();
    let first = containers.version("1", &[GOOD, "ENV VERSION=1"]);
    let second = containers.version("2", &[GOOD, "ENV VERSION=2"]);
    let bad = containers.version("3", &[BAD, "ENV VERSION=3"]);
    let service = containers.name("web");
    let labels = [
        format!("io.homeostat.service={service}"),
        "io.homeostat.mode=act".to_owned(),
        "io.homeostat.update=true".to_owned(),
    ];
    for name in ["web-1", "web-2"] {
        let mut options = vec!["--network", "none"];
        for label in &labels {
            options.extend(["--label", label]);
        }
        containers.run_of(&first, name, &options, &["idle"]);
    }
    until("both are healthy", SEEN, || async {
        (running(&containers).len() == REPLICAS).then_some(())
    })
    .await;
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.update.bake", "15s"),
        ("controller.update.soak", "5s"),
    ];
    let homeostat = Homeostat::start(&["up", "--mode", "act"], dir.path(), &settings);
    homeostat.ready().await;
    until("both are known", SEEN, || async {
        let services: Vec<console::api::ServiceStatus> = homeostat.ask("services").await?;
        let web = services
            .into_iter()
            .find(|it| it.service.as_str() == service)?;
        (web.serving == REPLICAS).then_some(())
    })
    .await;
    let watch = Watch::start([containers.engine().to_owned()]);
    watch.add(&service);

    let update = |image: &str| {
        let words = [
            "update", &service, "--image", image, "--by", "ada", "--wait",
        ];
        words.map(ToOwned::to_owned)
    };
    let good = update(&second);
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    let ended = told(&homeostat, &good).await;
    let (out, err) = (said(&ended.stdout), said(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    assert!(out.contains("finished"), "{out}");
    assert_eq!(running(&containers), vec![second.clone(); REPLICAS]);

    let worse = update(&bad);
    let worse: Vec<&str> = worse.iter().map(String::as_str).collect();
    let ended = told(&homeostat, &worse).await;
    let (out, err) = (said(&ended.stdout), said(&ended.stderr));
    assert_eq!(ended.status.code(), Some(1), "{out}\n{err}");
    assert!(err.contains("rolled back"), "{out}\n{err}");
    assert_eq!(running(&containers), vec![second.clone(); REPLICAS]);
    assert_eq!(containers.running(), REPLICAS, "no replica is left over");
    let fewest = watch.end(&service);
    assert!(fewest >= REPLICAS, "only {fewest} were healthy at a time");

    let listed = updates(&homeostat).await;
    let progress = listed[0].progress.as_ref().unwrap();
    assert_eq!(progress.phase, UpdatePhase::RolledBack);
    assert_eq!(listed[0].update.by.as_deref(), Some("ada"));
    let actions: Vec<PlanEntry> = homeostat.ask("actions").await.unwrap();
    let of_bad = |entry: &&PlanEntry| {
        let update = entry.plan.update.as_ref();
        update.is_some_and(|update| update.id == listed[0].update.id)
    };
    let plans: Vec<&PlanEntry> = actions.iter().filter(of_bad).collect();
    let tried = |entry: &&&PlanEntry| entry.plan.kind == ActionKind::CreateReplica;
    let tried = plans
        .iter()
        .find(tried)
        .expect("one was tried beside the others");
    assert!(tried.plan.cause.reason.contains(&bad), "{tried:?}");
    assert!(
        plans
            .iter()
            .any(|entry| entry.phase == Phase::Judged && entry.verdict.is_some()),
        "{plans:?}"
    );

    let nothing = told(&homeostat, &["rollback", &service]).await;
    let why = said(&nothing.stderr);
    assert!(
        !nothing.status.success() && why.contains("already"),
        "{why}"
    );
}
