//! The stack that faults are put into: small services under steady traffic, on one network.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::containers::{complete, output};
use crate::homeostat::root;
use crate::stack::post;
use crate::wait::until;

/// The demo application's image.
pub const IMAGE: &str = "homeostat-demo:latest";
const READY: Duration = Duration::from_secs(60);
/// Where a container finds the file that lets it crash.
const MARKS: &str = "/marks";
const MARK: &str = "crash";

/// Every service of the stack but the traffic, in the order they are started.
pub const SERVICES: [&str; 13] = [
    "store",
    "shop",
    "desk",
    "web",
    "report",
    "cache",
    "archive",
    "orders",
    "chat",
    "importer",
    "pool",
    "neighbour",
    "worker",
];

/// How one of the services is run.
struct Member {
    replicas: usize,
    options: &'static [&'static str],
    command: &'static [&'static str],
    /// Requests a second from the traffic.
    rps: Option<&'static str>,
}

/// A service that answers requests and falls ill when told.
const PATIENT: Member = Member {
    replicas: 1,
    options: &["--cpus", "1", "--memory", "96m"],
    command: &["patient"],
    rps: Some("4"),
};

fn member(service: &str) -> Member {
    match service {
        "store" => Member {
            options: &["--cpus", "0.5", "--memory", "64m"],
            command: &["store"],
            rps: None,
            ..PATIENT
        },
        "shop" | "desk" => Member {
            options: &["--cpus", "0.5", "--memory", "64m"],
            command: &["caller", "--target", "store:7000=10"],
            rps: None,
            ..PATIENT
        },
        "web" => Member {
            options: &["--cpus", "0.25", "--memory", "64m"],
            command: &["web", "--burn-ms", "8"],
            rps: Some("8"),
            ..PATIENT
        },
        // Four minutes of a leak of 1 MB/s.
        "cache" => Member {
            options: &["--cpus", "1", "--memory", "256m"],
            ..PATIENT
        },
        "importer" => Member {
            options: &["--cpus", "1", "--memory", "96m", "--restart", "always"],
            command: &["patient", "--crash-if", "/marks/crash"],
            ..PATIENT
        },
        "pool" => Member {
            replicas: 5,
            rps: Some("40"),
            ..PATIENT
        },
        "neighbour" => Member {
            options: &["--memory", "96m"],
            ..PATIENT
        },
        "worker" => Member {
            options: &["--cpus", "0.25", "--memory", "64m"],
            command: &["worker"],
            rps: None,
            ..PATIENT
        },
        _ => PATIENT,
    }
}

/// A running stack; removed when dropped, with all that carries its label.
pub struct FaultStack {
    name: String,
    marks: tempfile::TempDir,
}

impl FaultStack {
    /// Starts these services and their traffic, and waits until the traffic is answered.
    pub async fn up(name: &str, services: &[&str]) -> FaultStack {
        let stack = FaultStack {
            name: name.to_owned(),
            marks: tempfile::tempdir().unwrap(),
        };
        stack.down();
        complete(
            docker()
                .args(["network", "create", "--label"])
                .args([stack.label(), format!("homeostat-{name}")]),
        );
        let mut targets: Vec<String> = Vec::new();
        for service in services {
            let member = member(service);
            for replica in 0..member.replicas {
                stack.start(service, replica);
            }
            if let Some(rps) = member.rps {
                targets.extend(["--target".to_owned(), format!("{service}:8080={rps}")]);
            }
        }
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        stack.run("traffic", 0, &["--memory", "64m"], &["traffic"], &targets);
        stack.answered().await;
        stack
    }

    /// Starts a replica of a service, as the stack has it.
    pub fn start(&self, service: &str, replica: usize) {
        let member = member(service);
        self.run(service, replica, member.options, member.command, &[]);
    }

    /// The same from another image, as a deploy does it.
    pub fn start_from(&self, image: &str, service: &str, replica: usize) {
        let member = member(service);
        let mut run = self.command(service, replica, member.options);
        complete(run.arg(image).args(member.command));
    }

    /// Starts some work that ends by itself, and its container with it.
    pub fn start_job(&self, service: &str, number: usize, words: &[&str]) {
        let options = ["--rm", "--memory", "64m"];
        self.run(service, number, &options, &["job"], words);
    }

    /// Lets some work begin inside a container that runs.
    pub fn exec_job(&self, service: &str, words: &[&str]) {
        complete(
            docker()
                .args(["exec", "--detach", &self.container(service, 0)])
                .args(["/demo-app", "job"])
                .args(words),
        );
    }

    /// Takes a replica away, as an operator does: asked to end, then removed.
    pub fn stop(&self, service: &str, replica: usize) {
        let container = self.container(service, replica);
        complete(docker().args(["stop", "--time", "5", &container]));
        complete(docker().args(["rm", &container]));
    }

    fn run(
        &self,
        service: &str,
        replica: usize,
        options: &[&str],
        command: &[&str],
        more: &[&str],
    ) {
        let mut run = self.command(service, replica, options);
        complete(run.arg(IMAGE).args(command).args(more));
    }

    /// All of `docker run` but image and command. The engine's health checks are off: each starts a process in the container,
    /// and eighteen of those every two seconds would be what is measured.
    fn command(&self, service: &str, replica: usize, options: &[&str]) -> Command {
        let container = self.container(service, replica);
        let marks = self.marks.path().join(service);
        std::fs::create_dir_all(&marks).unwrap();
        let mut run = docker();
        run.args(["run", "--detach", "--name", &container])
            .args(["--network", &format!("homeostat-{}", self.name)])
            .args(["--network-alias", service, "--no-healthcheck"])
            .args(["--label", &self.label()])
            .args(["--label", &format!("io.homeostat.service={service}")])
            .args(["--log-opt", "max-size=10m", "--log-opt", "max-file=2"])
            .arg("--volume")
            .arg(format!("{}:{MARKS}:ro", marks.display()))
            .args(options);
        run
    }

    /// The name of one of its containers.
    pub fn container(&self, service: &str, replica: usize) -> String {
        format!("{}-{service}-{replica}", self.name)
    }

    /// The label that everything of it carries.
    pub fn label(&self) -> String {
        format!("io.homeostat.demo={}", self.name)
    }

    /// Is this one of its services?
    pub fn has(&self, service: &str) -> bool {
        SERVICES.contains(&service) || ["traffic", "cron"].contains(&service)
    }

    /// Posts to the first replica of a service.
    pub async fn tell(&self, service: &str, what: &str) {
        let address = self.address(service);
        post(&format!("http://{address}:8080/{what}")).await;
    }

    /// Sets a new CPU limit while the containers run.
    pub fn limit_cpus(&self, service: &str, cpus: &str) {
        let container = self.container(service, 0);
        complete(docker().args(["update", "--cpus", cpus, &container]));
    }

    /// Signals the first replica's process past the engine, which would take note of it.
    pub fn signal(&self, service: &str, signal: rustix::process::Signal) {
        let pid = self.inspect(service, "{{.State.Pid}}");
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Lets a service crash from now on.
    pub fn mark(&self, service: &str) {
        std::fs::write(self.marks.path().join(service).join(MARK), "").unwrap();
    }

    /// Lets it run again.
    pub fn unmark(&self, service: &str) {
        std::fs::remove_file(self.marks.path().join(service).join(MARK)).unwrap();
    }

    /// Restarts a service, as an operator does, and waits until it answers.
    pub async fn restart(&self, service: &str) {
        let container = self.container(service, 0);
        complete(docker().args(["restart", "--time", "5", &container]));
        self.answers(service).await;
    }

    async fn answers(&self, service: &str) {
        until(&format!("{service} answers"), READY, || async {
            let url = format!("http://{}:8080/health", self.address(service));
            let answer = reqwest::get(url).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until each target of the traffic has answered.
    async fn answered(&self) {
        until("the stack answers its traffic", READY, || async {
            let url = format!("http://{}:9000/stats", self.address("traffic"));
            let stats: Stats = reqwest::get(url).await.ok()?.json().await.ok()?;
            stats
                .targets
                .values()
                .all(|target| target.ok > 0)
                .then_some(())
        })
        .await;
    }

    fn address(&self, service: &str) -> String {
        self.inspect(
            service,
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        )
    }

    fn inspect(&self, service: &str, format: &str) -> String {
        let container = self.container(service, 0);
        complete(docker().args(["inspect", "--format", format, &container]))
    }

    fn down(&self) {
        let script = root().join("deploy/demo/stack.sh");
        output(Command::new(script).args(["down", &self.name]));
    }
}

impl Drop for FaultStack {
    fn drop(&mut self) {
        self.down();
    }
}

#[derive(serde::Deserialize)]
struct Stats {
    targets: BTreeMap<String, Target>,
}

#[derive(serde::Deserialize)]
struct Target {
    ok: u64,
}

fn docker() -> Command {
    Command::new("docker")
}
