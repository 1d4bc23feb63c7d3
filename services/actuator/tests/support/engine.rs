//! A second engine on this machine, for what takes two: with images and containers of its own, and no network.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::Docker;

use super::PATIENCE;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOOKED_EVERY: Duration = Duration::from_millis(100);
/// It stops what runs on it, and ends.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// An engine that ends when dropped, with everything on it.
pub(crate) struct SecondEngine {
    /// To ask it.
    pub(crate) docker: Docker,
    daemon: Daemon,
}

struct Daemon {
    dir: PathBuf,
    process: Child,
}

impl SecondEngine {
    /// Starts one that keeps everything in a directory of this name below `dir`, and waits until it answers.
    pub(crate) async fn start(dir: &Path, name: &str) -> SecondEngine {
        let dir = dir.join("engine");
        std::fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        std::fs::write(at("daemon.json"), "{}").unwrap();
        let log = File::create(at("dockerd.txt")).unwrap();
        // In a network namespace of its own: an engine without a bridge takes away that of the machine's engine.
        let daemon = Command::new("unshare")
            .args(["--net", "--", "dockerd"])
            .args([
                "--host",
                &address(&dir),
                "--config-file",
                &at("daemon.json"),
            ])
            .args(["--data-root", &at("docker"), "--exec-root", &at("run")])
            .args(["--pidfile", &at("docker.pid")])
            // Should a containerd of the machine be taken: not what others have there.
            .args(["--containerd-namespace", name])
            .args(["--containerd-plugins-namespace", &format!("{name}-plugins")])
            .args(["--bridge", "none", "--iptables=false"])
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start dockerd: {error}"));
        let mut daemon = Daemon {
            dir,
            process: daemon,
        };
        let began = Instant::now();
        loop {
            if let Some(docker) = asked(&daemon.dir).await {
                return SecondEngine { docker, daemon };
            }
            let said = || std::fs::read_to_string(daemon.dir.join("dockerd.txt")).unwrap();
            let ended = daemon.process.try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended: {}", said());
            assert!(began.elapsed() < PATIENCE, "{}", said());
            tokio::time::sleep(LOOKED_EVERY).await;
        }
    }

    pub(crate) fn address(&self) -> String {
        address(&self.daemon.dir)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let engine = address(&self.dir);
        let listed = docker(&engine, &["ps", "--all", "--quiet"]);
        for id in listed.lines() {
            docker(&engine, &["rm", "--force", "--volumes", id]);
        }
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let began = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if began.elapsed() > ENDS_WITHIN {
                let _ = self.process.kill();
            }
            std::thread::sleep(LOOKED_EVERY);
        }
    }
}

/// A client of it, once it answers.
async fn asked(dir: &Path) -> Option<Docker> {
    let docker = Docker::connect_with_host(&address(dir)).ok()?;
    docker.negotiate_version().await.ok()
}

fn address(dir: &Path) -> String {
    format!("unix://{}", dir.join("docker.sock").display())
}

fn docker(engine: &str, words: &[&str]) -> String {
    let output = Command::new("docker")
        .args(["--host", engine])
        .args(words)
        .output();
    let output = output.map(|it| it.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}
