//! A longer way to one container: by the kernel's netem where it has it, else by holding each frame for a while.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::containers::{complete, output};
use crate::homeostat::root;

const HOLDER: &str = "tests/e2e/delay/hold_frames.py";

/// Lasts until it is dropped.
pub(super) enum Delay {
    /// A queueing discipline inside the network namespace of this process.
    Netem { pid: String },
    /// A process that stands between the container and its bridge.
    Held(Child),
}

impl Delay {
    /// Delays what a container sends; held frames, in both directions by a half each, so that the round trip is as long.
    pub(super) fn of(container: &str, ms: u32) -> Delay {
        let pid = complete(Command::new("docker").args([
            "inspect",
            "--format",
            "{{.State.Pid}}",
            container,
        ]));
        let netem = output(inside(&pid).args([
            "tc",
            "qdisc",
            "add",
            "dev",
            "eth0",
            "root",
            "netem",
            "delay",
            &format!("{ms}ms"),
        ]));
        if netem.status.success() {
            return Delay::Netem { pid };
        }
        hold(&host_end(&pid), ms / 2)
    }

    /// What makes the way longer.
    pub(super) const fn way(&self) -> &'static str {
        match self {
            Delay::Netem { .. } => "tc netem",
            Delay::Held(_) => "frames held between container and bridge",
        }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        match self {
            Delay::Netem { pid } => {
                output(inside(pid).args(["tc", "qdisc", "del", "dev", "eth0", "root"]));
            }
            Delay::Held(child) => {
                // Asked to end, not killed: it has to put the interface back.
                let pid = i32::try_from(child.id()).ok();
                if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                }
                let _ = child.wait();
            }
        }
    }
}

/// A command in the network namespace of a process.
fn inside(pid: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", pid, "--net"]);
    command
}

/// The name, on the host, of the other end of a container's interface.
fn host_end(pid: &str) -> String {
    let inner = complete(inside(pid).args(["ip", "-o", "link", "show", "dev", "eth0"]));
    let index = inner
        .split_once("eth0@if")
        .and_then(|(_, rest)| rest.split(':').next())
        .unwrap_or_else(|| panic!("{inner}: the other end's number is not told"))
        .to_owned();
    let links = complete(Command::new("ip").args(["-o", "link"]));
    let prefix = format!("{index}: ");
    let line = links.lines().find(|line| line.starts_with(&prefix));
    let name = line.and_then(|line| line[prefix.len()..].split(['@', ':']).next());
    name.unwrap_or_else(|| panic!("no interface {index} on this host"))
        .to_owned()
}

fn hold(interface: &str, ms: u32) -> Delay {
    let mut child = Command::new("python3")
        .arg(root().join(HOLDER))
        .args([interface, &ms.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let delay = Delay::Held(child);
    assert_eq!(said, "ready\n", "{HOLDER} does not hold {interface}");
    delay
}
