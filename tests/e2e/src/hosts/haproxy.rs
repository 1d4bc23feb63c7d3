//! A load balancer on this machine, before the hosts: Debian's `haproxy`.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bus::testing::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::until;

const PROGRAM: &str = "/usr/sbin/haproxy";
const READY: Duration = Duration::from_secs(30);
/// The one backend.
pub const BACKEND: &str = "web";

/// A balancer with one backend that has no servers of its own. It tries nothing again, so that each failure is seen. Killed when
/// dropped.
pub struct Haproxy {
    admin: String,
    front: String,
    process: Child,
}

impl Haproxy {
    /// Starts one at an address of this machine, with its files in a directory, and waits until it answers.
    pub(super) async fn start(dir: &Path, machine: Ipv4Addr) -> Haproxy {
        let admin = format!("{machine}:{}", free_port().unwrap());
        let front = format!("{machine}:{}", free_port().unwrap());
        let text = format!(
            "global\n    stats socket ipv4@{admin} level admin\n    maxconn 1000\n\
             defaults\n    mode http\n    retries 0\n    timeout connect 60s\n    timeout client 60s\n    timeout server 60s\n\
             frontend front\n    bind {front}\n    default_backend {BACKEND}\n\
             backend {BACKEND}\n    balance roundrobin\n    option httpchk GET /health\n"
        );
        let config = dir.join("haproxy.cfg");
        std::fs::write(&config, text).unwrap();
        let log = dir.join("haproxy.txt");
        let out = File::create(&log).unwrap();
        let process = Command::new(PROGRAM)
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {PROGRAM}: {error}"));
        let haproxy = Haproxy {
            admin,
            front,
            process,
        };
        let what = format!("the balancer answers, see {}", log.display());
        until(&what, READY, || async {
            haproxy.asked("show info").await.ok().map(drop)
        })
        .await;
        haproxy
    }

    /// Where it takes commands, as a setting of actuators.
    pub(super) fn socket(&self) -> String {
        format!("tcp://{}", self.admin)
    }

    /// Where clients reach it: address and port.
    pub fn front(&self) -> &str {
        &self.front
    }

    /// The servers that get requests, by their names, and how many each has had.
    pub async fn serving(&self) -> Vec<(String, u64)> {
        let show = format!("show stat {BACKEND} 4 -1");
        let answer = self.asked(&show).await.unwrap();
        let mut lines = answer.lines().filter(|line| !line.is_empty());
        let header = lines.next().unwrap().trim_start_matches("# ");
        let place = |name| header.split(',').position(|it| it == name).unwrap();
        let (name, status, total) = (place("svname"), place("status"), place("stot"));
        let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        rows.filter(|cells| cells[status] == "UP")
            .map(|cells| (cells[name].to_owned(), cells[total].parse().unwrap()))
            .collect()
    }

    async fn asked(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.admin).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
