//! A host's engine: containerd and dockerd of its own, in the host's network namespace and a mount namespace, so that they touch
//! neither this machine's bridges nor its list of mounts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use units::Bytes;

use super::leftovers;
use crate::wait::until;

const READY: Duration = Duration::from_secs(90);
/// An engine that is asked to end stops its containers first, each within its grace.
const ENDS: Duration = Duration::from_secs(60);
/// A layer that does not come is asked for so often: the engine's own five tries, with longer and longer waits, take a minute.
const DOWNLOAD_TRIES: &str = "2";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the set-up leaves another variant of iptables, when the default one does not work on this kernel.
const SETUP: &str = "/run/homeostat-setup";
/// What does not outlive a power cut, since a real host keeps it in memory.
const FLEETING: [&str; 5] = [
    "containerd-state",
    "containerd.sock",
    "docker-run",
    "docker.sock",
    "docker.pid",
];

/// Where an engine is and what it is given.
pub(super) struct Place {
    /// Everything of it is below.
    pub(super) dir: PathBuf,
    /// The network namespace, and the control group of its containers.
    pub(super) namespace: String,
    /// The host's number: engines give their containers addresses of different networks.
    pub(super) number: u8,
    /// The host's name, as a label of the engine.
    pub(super) name: String,
    /// The network whose registries need no TLS.
    pub(super) registries: String,
    /// The size of a disk of its own for what the engine keeps; else it is this machine's. It does not outlive a power cut.
    pub(super) disk: Option<Bytes>,
}

/// How an engine ends before it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// As its service manager has it end: it stops its containers.
    Asked,
    /// By a crash: its containers run on until it is back.
    Killed,
}

impl Place {
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.at("docker.sock"))
    }

    fn at(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn log(&self, program: &str) -> PathBuf {
        self.dir.join(format!("{program}.txt"))
    }
}

/// A running engine. Its processes are killed when dropped; what they leave goes with the fleet.
pub(super) struct Engine {
    /// In the order they were started.
    processes: Vec<Child>,
    dockerd_log: PathBuf,
}

impl Engine {
    /// Starts it, on what an earlier one of the same place left.
    pub(super) async fn start(place: &Place) -> Engine {
        let mut engine = Engine {
            processes: Vec::new(),
            dockerd_log: place.log("dockerd"),
        };
        // The sockets of shims are below /run/containerd whatever containerd is told; a killed one leaves them there.
        let data = place.at("docker");
        let disk = place.disk.map_or_else(String::new, |Bytes(size)| {
            format!("mkdir -p {data} && mount -t tmpfs -o size={size} tmpfs {data} && ")
        });
        let script = format!(
            "mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && {disk}exec containerd --config /dev/null \
             --root {} --state {} --address {}",
            place.at("containerd"),
            place.at("containerd-state"),
            place.at("containerd.sock")
        );
        let mut containerd = Command::new("nsenter");
        containerd
            .arg(format!("--net=/run/netns/{}", place.namespace))
            .args(["--", "unshare", "--mount", "--propagation=private"])
            .args(["sh", "-c", &script]);
        engine.spawn(place, "containerd", &mut containerd);
        engine.appears(place, "containerd", "containerd.sock").await;
        engine.start_dockerd(place).await;
        engine
    }

    async fn start_dockerd(&mut self, place: &Place) {
        let mut dockerd = self.dockerd(place);
        self.spawn(place, "dockerd", &mut dockerd);
        self.appears(place, "dockerd", "docker.sock").await;
        until("the engine answers", READY, || async {
            let version = Command::new("docker")
                .args(["--host", &place.address(), "version"])
                .output();
            version.unwrap().status.success().then_some(())
        })
        .await;
    }

    /// Ends dockerd and starts it again; containerd runs on, as it does beside an engine that is upgraded.
    pub(super) async fn restart(&mut self, place: &Place, ends: Ends) {
        let dockerd = self.processes.pop().expect("dockerd was started last");
        let pid = Pid::from_child(&dockerd);
        let signal = match ends {
            Ends::Asked => Signal::TERM,
            Ends::Killed => Signal::KILL,
        };
        kill_process(pid, signal).unwrap();
        let dockerd = std::cell::RefCell::new(dockerd);
        until("dockerd ends", ENDS, || async {
            dockerd.borrow_mut().try_wait().unwrap()
        })
        .await;
        // A killed one leaves it there.
        let _ = std::fs::remove_file(place.dir.join("docker.sock"));
        self.start_dockerd(place).await;
    }

    /// What the engine keeps, seen from this machine: it may be on a disk that is mounted for the engine alone.
    pub(super) fn data(&self, place: &Place) -> PathBuf {
        let data = place.dir.join("docker");
        let data = data.strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.processes[0].id())).join(data)
    }

    /// Ends it, its containers and all else on the host at once, and what the host keeps in memory goes: as a power cut does it.
    pub(super) fn cut_power(&mut self, place: &Place) {
        self.kill();
        leftovers::kill_all(&place.namespace);
        for name in FLEETING {
            let path = place.dir.join(name);
            let removed = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            assert!(
                removed.is_ok() || !path.exists(),
                "{} stays: {removed:?}",
                path.display()
            );
        }
    }

    fn dockerd(&self, place: &Place) -> Command {
        let pid = self.processes[0].id();
        let config = place.at("daemon.json");
        std::fs::write(&config, "{}").unwrap();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{pid}/ns/net"))
            .arg(format!("--mount=/proc/{pid}/ns/mnt"))
            .args(["--", "dockerd", "--host", &place.address()])
            .args(["--bip", &format!("10.214.{}.1/24", place.number)])
            .args(["--data-root", &place.at("docker")])
            .args(["--exec-root", &place.at("docker-run")])
            .args(["--pidfile", &place.at("docker.pid")])
            .args(["--containerd", &place.at("containerd.sock")])
            .args(["--containerd-namespace", "e2e"])
            .args(["--containerd-plugins-namespace", "e2e-plugins"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--max-download-attempts", DOWNLOAD_TRIES])
            // From the root: without the slash, below the group that this test runs in.
            .args(["--cgroup-parent", &format!("/{}", place.namespace)])
            .args(["--label", &format!("host={}", place.name)])
            .args(["--config-file", &config])
            .args(["--insecure-registry", &place.registries]);
        command
    }

    fn spawn(&mut self, place: &Place, program: &str, command: &mut Command) {
        let mut log = File::options();
        let log = log.create(true).append(true).open(place.log(program));
        let log = log.unwrap();
        let setup = std::env::var("HOMEOSTAT_STATE").unwrap_or_else(|_| SETUP.to_owned());
        let spawned = command
            .env("PATH", format!("{setup}/bin:{PATH}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let child = spawned.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        self.processes.push(child);
    }

    /// Waits for a socket; panics with what the program said when it ends before.
    async fn appears(&mut self, place: &Place, program: &str, socket: &str) {
        let (path, log) = (place.dir.join(socket), place.log(program));
        let child = std::cell::RefCell::new(self.processes.last_mut().unwrap());
        until(
            &format!("{program} listens, see {}", log.display()),
            READY,
            || async {
                let ended = child.borrow_mut().try_wait().unwrap();
                assert!(ended.is_none(), "{program} ended: {}", last_of(&log));
                path.exists().then_some(())
            },
        )
        .await;
    }

    fn kill(&mut self) {
        while let Some(mut child) = self.processes.pop() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- dockerd\n{}", last_of(&self.dockerd_log));
        }
    }
}

/// The end of a log.
fn last_of(log: &Path) -> String {
    const LINES: usize = 30;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
