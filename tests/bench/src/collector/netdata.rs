//! Netdata, run by its binary with its cgroup collection alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::wait::{free_port, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = "/usr/sbin/netdata";
/// There where the unified hierarchy is the only one.
const UNIFIED: &str = "/sys/fs/cgroup/cgroup.controllers";
/// It asks the engine for each name by a script, one after the other, and tries again later where that failed.
const FIND: Duration = Duration::from_secs(400);
/// Of its log, shown when the run fails.
const LOG_LINES: usize = 30;

/// Killed when dropped.
pub(crate) struct Netdata {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Netdata {
    /// Starts it with everything off but cgroups, and what it keeps in memory: no plugin, alarm, database on disk or address
    /// beyond loopback.
    pub(crate) fn start() -> Netdata {
        let dir = tempfile::tempdir().unwrap();
        for needed in ["cache", "lib", "log"] {
            std::fs::create_dir(dir.path().join(needed)).unwrap();
        }
        let port = free_port();
        let config = dir.path().join("netdata.conf");
        std::fs::write(&config, settings(dir.path(), port)).unwrap();
        // It reports its start to its makers unless this file is there.
        std::fs::write(dir.path().join(".opt-out-from-anonymous-statistics"), "").unwrap();
        let log = std::fs::File::create(dir.path().join("netdata.log")).unwrap();
        let child = Command::new(BINARY)
            .arg("-D")
            .arg("-c")
            .arg(&config)
            .env("DISABLE_TELEMETRY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{BINARY}: {error}; run deploy/setup/need-netdata.sh"));
        Netdata { child, port, dir }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has charts of so many containers, and gives of how many there are. One that has used less than a tick of
    /// processor time is read each second all the same, and has no chart of that.
    pub(crate) async fn finds(&self, containers: usize) -> usize {
        let what = format!("netdata charts {containers} containers");
        until(&what, FIND, || async {
            let found = self.charted().await?;
            (found >= containers).then_some(found)
        })
        .await
    }

    async fn charted(&self) -> Option<usize> {
        let url = format!("http://127.0.0.1:{}/api/v1/charts", self.port);
        let answer: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
        let ids = answer["charts"].as_object()?.keys();
        let groups: BTreeSet<&str> = ids
            .filter_map(|id| id.strip_prefix("cgroup_")?.split_once('.'))
            .map(|(name, _)| name)
            .collect();
        Some(groups.len())
    }

    /// Holds it where it is; it uses no time until it is resumed.
    pub(crate) fn pause(&self) {
        self.tell(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.tell(Signal::CONT);
    }

    fn tell(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Netdata {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read(self.dir.path().join("netdata.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let last: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("--- the end of netdata's log\n{}", last.join("\n"));
        }
    }
}

fn settings(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    // Of other groups there may be hundreds, and it asks for the name of each by a script before it charts the next.
    // By itself it takes the unified hierarchy of a hybrid host, which holds no controllers there, and so reads next to nothing.
    let unified = if Path::new(UNIFIED).exists() {
        "yes"
    } else {
        "no"
    };
    format!(
        "[global]
    run as user = root
[directories]
    config = {dir}
    cache = {dir}/cache
    lib = {dir}/lib
    log = {dir}/log
    home = {dir}
[db]
    mode = ram
    update every = 1
    retention = 600
[logs]
    debug = none
    error = stderr
    access = none
[web]
    bind to = 127.0.0.1
    default port = {port}
    web server threads = 1
[plugins]
    cgroups = yes
    enable running new plugins = no
    proc = no
    diskspace = no
    tc = no
    idlejitter = no
    timex = no
    checks = no
    statsd = no
    slabinfo = no
    netdata monitoring = no
    netdata monitoring extended = no
    apps = no
    charts.d = no
    cups = no
    fping = no
    ioping = no
    nfacct = no
    perf = no
[plugin:cgroups]
    update every = 1
    enable systemd services = no
    enable by default cgroups matching = *docker* !*
    use unified cgroups = {unified}
[health]
    enabled = no
[registry]
    enabled = no
"
    )
}
