//! What stands in for netem where the kernel has none: frames between a port of a bridge and the bridge take longer, and as long
//! as before when it ends. In network namespaces of its own, without an engine.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use e2e::homeostat::root;

const DELAY_MS: f64 = 60.0;

#[test]
fn frames_are_held_there_and_back_and_no_longer_than_asked() {
    let host = Space::new("host");
    let here = host.member("here", "10.254.254.1/24");
    let there = host.member("there", "10.254.254.2/24");
    assert!(there.name.ends_with("there"));
    let free_s = here.round_trip_s("10.254.254.2");

    let mut holder = host
        .command("python3")
        .arg(root().join("tests/e2e/delay/hold_frames.py"))
        .args(["there", &DELAY_MS.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said, "ready\n");
    let held_s = here.round_trip_s("10.254.254.2");
    assert!(
        held_s >= 2.0 * DELAY_MS / 1e3,
        "{held_s} s held, {free_s} s before"
    );

    let pid = rustix::process::Pid::from_raw(i32::try_from(holder.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(holder.wait().unwrap().success());
    let after_s = here.round_trip_s("10.254.254.2");
    assert!(after_s < held_s, "{after_s} s after, {held_s} s held");
    let links = host.run("ip", &["-o", "link"]);
    assert!(!links.contains("hold"), "interfaces are left: {links}");
}

/// A network namespace; removed when dropped.
struct Space {
    name: String,
}

impl Space {
    fn new(name: &str) -> Space {
        let space = Space {
            name: format!("e2e-{}-{name}", std::process::id()),
        };
        run(Command::new("ip").args(["netns", "add", &space.name]));
        if name == "host" {
            space.run("ip", &["link", "add", "bridge", "type", "bridge"]);
            space.run("ip", &["link", "set", "bridge", "up"]);
        }
        space
    }

    /// One more, with an interface on this one's bridge.
    fn member(&self, port: &str, address: &str) -> Space {
        let member = Space::new(port);
        let pair = [
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &member.name,
        ];
        self.run("ip", &[&["link", "add", port], &pair[..]].concat());
        self.run("ip", &["link", "set", port, "master", "bridge"]);
        self.run("ip", &["link", "set", port, "up"]);
        member.run("ip", &["address", "add", address, "dev", "eth0"]);
        member.run("ip", &["link", "set", "eth0", "up"]);
        member
    }

    /// Until a closed port of the other side says so: one round trip, once the address is resolved.
    fn round_trip_s(&self, to: &str) -> f64 {
        let program = format!(
            "import socket, time\n\
             for _ in range(2):\n\
             \x20   began = time.monotonic()\n\
             \x20   error = socket.socket().connect_ex(({to:?}, 9))\n\
             \x20   took = time.monotonic() - began\n\
             assert error == 111, error\n\
             print(took)"
        );
        self.run("python3", &["-c", &program])
            .trim()
            .parse()
            .unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    fn run(&self, program: &str, words: &[&str]) -> String {
        run(self.command(program).args(words))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
