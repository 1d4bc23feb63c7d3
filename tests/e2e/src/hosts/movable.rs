//! Containers that may run on any of the hosts.

use std::process::Command;
use std::time::{Duration, Instant};

use bus::Bus;
use units::StandingExport;
use wire::topic;

use super::{Fleet, Host};
use crate::containers::{Containers, complete};
use crate::topic::Topic;
use crate::wait::until;

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// A host is lost, what ran there is made elsewhere, and serves.
const FAILED_OVER: Duration = Duration::from_secs(180);
/// Checks that pass.
const HEALTH: &str = r#"HEALTHCHECK --interval=1s --timeout=5s --retries=3 CMD ["/writer","go"]"#;

/// A container: its host and its id.
pub type Placed = (String, String);

impl Fleet {
    /// An image with a health check, built on the first host and brought to all others. It goes with what is returned beside it.
    pub fn checked_image(&self) -> (Containers, String) {
        let mut hosts = self.hosts().iter();
        let first = hosts.next().expect("a fleet has a host");
        let containers = Containers::at(&first.engine());
        let image = containers.version("1", &[HEALTH]);
        for host in hosts {
            host.load(&image, &first.engine());
        }
        (containers, image)
    }

    /// Where healthy containers of a service run, on hosts that have power. One goes by another name where an older one has its.
    pub fn serving(&self, service: &str) -> Vec<Placed> {
        let filter = format!("label=io.homeostat.service={service}");
        let words = ["ps", "--quiet", "--no-trunc", "--filter", &filter];
        let healthy = [&words[..], &["--filter", "health=healthy"]].concat();
        let mut found = Vec::new();
        for host in self.hosts().iter().filter(|it| it.is_up()) {
            let listed = host.docker(&healthy);
            found.extend(
                listed
                    .lines()
                    .map(|id| (host.name().to_owned(), id.to_owned())),
            );
        }
        found
    }

    /// Waits until one of a service serves on a host other than this, and tells where.
    pub async fn elsewhere(&self, service: &str, than: &str) -> Placed {
        let what = format!("{service} runs on another host than {than}");
        until(&what, FAILED_OVER, || async {
            let mut all = self.serving(service).into_iter();
            all.find(|(host, _)| host != than)
        })
        .await
    }

    /// Waits until exactly this one of a service serves.
    pub async fn alone(&self, service: &str, one: &Placed) {
        let what = format!("{service} runs on {} alone", one.0);
        until(&what, FAILED_OVER, || async {
            (self.serving(service) == [one.clone()]).then_some(())
        })
        .await;
    }
}

impl Host {
    /// Starts a container that may be moved, the only one of a service of its name.
    pub fn run_movable(&self, image: &str, name: &str, labels: &[&str]) -> String {
        let service = format!("io.homeostat.service={name}");
        let common = [
            service.as_str(),
            "io.homeostat.mode=act",
            "io.homeostat.move=true",
        ];
        let labels = common.iter().chain(labels);
        let labels: Vec<&str> = labels.flat_map(|it| ["--label", it]).collect();
        let run = ["run", "--detach", "--name", name, "--restart", "always"];
        let limits = ["--cpus", "0.2", "--memory", "32m"];
        self.docker(&[&run[..], &limits, &labels, &[image, "idle"]].concat())
    }
}

/// How many containers of a service run on an engine.
pub fn running(engine: &str, service: &str) -> usize {
    let filter = format!("label=io.homeostat.service={service}");
    let words = ["--host", engine, "ps", "--quiet", "--filter", &filter];
    complete(Command::new("docker").args(words)).lines().count()
}

/// Waits until the actuators of their hosts have told how these containers are made.
pub async fn told(bus: &Bus, containers: &[&str]) {
    let mut exports = Topic::open(bus, topic::EXPORTS).await;
    let mut left: Vec<&str> = containers.to_vec();
    let began = Instant::now();
    while !left.is_empty() {
        assert!(began.elapsed() < SEEN, "{left:?} were not told");
        exports
            .read(|record| {
                if !wire::is_tombstone(record) {
                    let export: StandingExport = wire::decode(record).unwrap();
                    left.retain(|it| *it != export.container.as_str());
                }
            })
            .await;
    }
}
