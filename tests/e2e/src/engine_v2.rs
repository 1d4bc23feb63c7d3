//! An engine of its own that knows control groups of version 2 alone: containerd and dockerd in a mount namespace where
//! cgroup2 is on /sys/fs/cgroup, and in a network namespace, so that they touch no bridge of this machine.
//!
//! Where this kernel still has some controllers in version 1, those are not in version 2: the namespace says which ones are.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait::until;

const MOUNT: &str = "/sys/fs/cgroup";
const READY: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running engine. Ended when dropped, with what it made; its containers have to be gone by then.
pub struct EngineV2 {
    dir: PathBuf,
    /// In the order they were started.
    processes: Vec<Child>,
    /// The control group of its containers.
    parent: String,
}

impl EngineV2 {
    /// Starts one that keeps everything in `dir`. Panics with the reason where the kernel or the machine does not allow it.
    pub async fn start(dir: &Path) -> EngineV2 {
        let mut engine = EngineV2 {
            dir: dir.to_owned(),
            processes: Vec::new(),
            parent: format!("homeostat-e2e-{}", std::process::id()),
        };
        // What was mounted below is unmounted in this namespace alone: a host of version 2 shows no version 1.
        engine.spawn(
            "containerd",
            Command::new("unshare").args([
                "--mount",
                "--net",
                "--propagation=private",
                "sh",
                "-c",
                &format!(
                    "umount --recursive {MOUNT} && mount -t cgroup2 cgroup2 {MOUNT} && \
                     exec containerd --config /dev/null \
                     --root {0}/containerd --state {0}/containerd-state --address {0}/containerd.sock",
                    dir.display()
                ),
            ]),
        );
        engine.appears("containerd", "containerd.sock").await;
        let mut dockerd = engine.inside("dockerd");
        let at = |name: &str| dir.join(name).display().to_string();
        dockerd
            .args([
                "--host",
                &engine.address(),
                "--bridge=none",
                "--iptables=false",
            ])
            .args(["--ip6tables=false", "--ip-forward=false", "--ip-masq=false"])
            .args([
                "--data-root",
                &at("docker"),
                "--exec-root",
                &at("docker-run"),
            ])
            .args([
                "--pidfile",
                &at("docker.pid"),
                "--containerd",
                &at("containerd.sock"),
            ])
            .args([
                "--containerd-namespace",
                "e2e",
                "--containerd-plugins-namespace",
                "e2e-plugins",
            ])
            .args([
                "--cgroup-parent",
                &engine.parent,
                "--config-file",
                &at("daemon.json"),
            ]);
        std::fs::write(dir.join("daemon.json"), "{}").unwrap();
        engine.spawn("dockerd", &mut dockerd);
        engine.appears("dockerd", "docker.sock").await;
        engine.answers().await;
        engine
    }

    /// Its address: `unix://` and the path.
    pub fn address(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    /// What goes before a program that is to see the same control groups: same mounts, the machine's own network.
    pub fn before(&self) -> Vec<String> {
        let mounts = format!("--mount=/proc/{}/ns/mnt", self.processes[0].id());
        ["nsenter", &mounts, "--"].map(ToOwned::to_owned).to_vec()
    }

    /// The controllers that version 2 has here, such as `cpu`.
    pub fn controllers(&self) -> Vec<String> {
        let mut cat = Command::new("nsenter");
        cat.args(&self.before()[1..]);
        let output = cat
            .args(["cat", &format!("{MOUNT}/cgroup.controllers")])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "cannot read the controllers: {output:?}"
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    fn inside(&self, program: &str) -> Command {
        let pid = self.processes[0].id();
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{pid}/ns/mnt"));
        command.arg(format!("--net=/proc/{pid}/ns/net"));
        command.args(["--", program]);
        command
    }

    fn spawn(&mut self, name: &str, command: &mut Command) {
        let log = File::create(self.log(name)).unwrap();
        let spawned = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let child = spawned.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        self.processes.push(child);
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.txt"))
    }

    /// Waits for a socket; panics with what the program said when it ends before.
    async fn appears(&mut self, program: &str, socket: &str) {
        let (path, log) = (self.dir.join(socket), self.log(program));
        let child = std::cell::RefCell::new(self.processes.last_mut().unwrap());
        until(
            &format!("{program} listens, see {}", log.display()),
            READY,
            || async {
                let ended = child.borrow_mut().try_wait().unwrap();
                let said = || std::fs::read_to_string(&log).unwrap_or_default();
                assert!(ended.is_none(), "{program} ended ({ended:?}): {}", said());
                path.exists().then_some(())
            },
        )
        .await;
    }

    async fn answers(&self) {
        until("the engine answers", READY, || async {
            let version = Command::new("docker")
                .args(["--host", &self.address(), "version"])
                .output();
            version.unwrap().status.success().then_some(())
        })
        .await;
    }
}

impl Drop for EngineV2 {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log("dockerd")).unwrap_or_default();
            eprintln!("--- dockerd\n{log}");
        }
        // dockerd goes first, so that it takes its containers with it.
        while let Some(mut child) = self.processes.pop() {
            let pid = i32::try_from(child.id()).ok();
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let began = std::time::Instant::now();
            while matches!(child.try_wait(), Ok(None)) && began.elapsed() < END {
                std::thread::sleep(LOOK_EVERY);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        self.remove_group();
    }
}

impl EngineV2 {
    /// Removes its control group, which is in this machine's own hierarchy, wherever that is mounted.
    fn remove_group(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines() {
            let mut fields = mount.split(' ').skip(1);
            if let (Some(point), Some("cgroup2")) = (fields.next(), fields.next()) {
                let _ = std::fs::remove_dir(Path::new(point).join(&self.parent));
            }
        }
    }
}
