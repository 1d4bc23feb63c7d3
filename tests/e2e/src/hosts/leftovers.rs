//! Taking away what a fleet left on this machine: processes, control groups, namespaces, an interface and a directory. All of it is
//! found by the fleet's name, so that a later run can take away what a killed one left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::NAME;
use crate::containers::output;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A killed process is gone long before this many looks; whoever asked for it is told of one that is not.
const LOOKS_MAX: u32 = 200;

/// What process a fleet of this name belongs to, and whether that still runs.
fn is_of_the_dead(fleet: &str) -> bool {
    let pid = fleet.strip_prefix(NAME).and_then(|it| it.parse().ok());
    pid.is_some_and(|pid: u32| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Takes away the fleets of processes that have ended.
pub(super) fn remove_of_the_dead() {
    let directories = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten();
    let directories = directories.filter_map(|it| it.ok()?.file_name().into_string().ok());
    let namespaces = namespaces().into_iter();
    let fleets = namespaces.filter_map(|it| Some(it.split_once('-')?.0.to_owned()));
    let found: BTreeSet<String> = fleets.chain(directories).collect();
    for fleet in found.iter().filter(|it| is_of_the_dead(it)) {
        eprintln!("taking away what an earlier run left: {fleet}");
        remove(fleet);
    }
}

/// Takes away everything of a fleet. What is not there any more is no error; what cannot be taken away is told, since this also runs
/// after a panic.
pub(super) fn remove(fleet: &str) {
    let own = format!("{fleet}-");
    let dir = format!("{}/", directory(fleet).display());
    kill(|| pids_told(&[&dir, &format!("state_dir={dir}")]), fleet);
    for namespace in namespaces().iter().filter(|it| it.starts_with(&own)) {
        kill_all(namespace);
        for group in groups(namespace) {
            remove_group(&group);
        }
        output(Command::new("ip").args(["netns", "delete", namespace]));
    }
    // Its other end went with its namespace, mostly before this.
    output(Command::new("ip").args(["link", "delete", "dev", fleet]));
    remove_dir(&directory(fleet));
}

/// Where a fleet keeps its files.
pub(super) fn directory(fleet: &str) -> PathBuf {
    std::env::temp_dir().join(fleet)
}

/// Kills everything in a host's network namespace, and its containers, which have namespaces of their own, by the host's control group.
pub(super) fn kill_all(namespace: &str) {
    let pids = || {
        let mut pids = pids_of(namespace);
        for group in groups(namespace) {
            below(&group, &mut |dir| {
                pids.extend(numbers(&dir.join("cgroup.procs")));
            });
        }
        pids
    };
    kill(pids, namespace);
}

/// Kills processes until none is found any more.
fn kill(find: impl Fn() -> BTreeSet<i32>, whose: &str) {
    for _ in 0..LOOKS_MAX {
        let pids = find();
        if pids.is_empty() {
            return;
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    eprintln!("processes of {whose} do not end");
}

/// Processes with an argument that begins so. What is in no host's namespace, central roles and a registry, is found by it.
fn pids_told(begins: &[&str]) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let is_told = |pid: &i32| {
        let told = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = told.split(|it| *it == 0);
        words.any(|word| begins.iter().any(|it| word.starts_with(it.as_bytes())))
    };
    pids.filter(is_told).collect()
}

fn namespaces() -> Vec<String> {
    let listed = output(Command::new("ip").args(["netns", "list"]));
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = text.lines().filter_map(|it| it.split_whitespace().next());
    let ours = names.filter(|it| it.starts_with(NAME));
    ours.map(ToOwned::to_owned).collect()
}

fn pids_of(namespace: &str) -> BTreeSet<i32> {
    let listed = output(Command::new("ip").args(["netns", "pids", namespace]));
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.lines()
        .filter_map(|it| it.trim().parse().ok())
        .collect()
}

fn numbers(file: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|it| it.parse().ok()).collect()
}

/// The host's control group in every hierarchy that has it.
fn groups(namespace: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchies = mounts.lines().filter_map(|mount| {
        let mut fields = mount.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(point).join(namespace))
    });
    hierarchies.filter(|it| it.is_dir()).collect()
}

/// Shows a directory and those below, the deepest first.
fn below(dir: &Path, show: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            below(&entry.path(), show);
        }
    }
    show(dir);
}

/// A group stays busy for a moment after its last process.
fn remove_group(group: &Path) {
    for _ in 0..LOOKS_MAX {
        below(group, &mut |dir| {
            let _ = std::fs::remove_dir(dir);
        });
        if !group.exists() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    eprintln!("cannot remove the control group {}", group.display());
}

/// What was mounted in it goes with the mount namespace of its last process, a moment after that.
fn remove_dir(dir: &Path) {
    for _ in 0..LOOKS_MAX {
        if std::fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    eprintln!("cannot remove {}", dir.display());
}
