//! The built binary, as a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::wait::{free_port, until};

const READY: Duration = Duration::from_secs(60);
const LEARN: Duration = Duration::from_secs(180);
/// Seconds of samples after which every rule may judge.
const LEARN_TICKS: f64 = 45.0;
const END: Duration = Duration::from_secs(30);

/// Where the project's files are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The binary built as this is, for release or debugging, else the other. `HOMEOSTAT_BIN` names another.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("HOMEOSTAT_BIN") {
        return PathBuf::from(named);
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let profiles = match cfg!(debug_assertions) {
        true => ["debug", "release"],
        false => ["release", "debug"],
    };
    let found = profiles
        .iter()
        .map(|profile| target.join(profile).join("homeostat"));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!(
                "no homeostat binary under {}; run `make build`",
                target.display()
            )
        })
}

/// Runs the binary to its end.
pub fn output(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// How a process is started, besides its arguments. By default as the test itself runs.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// A program and its arguments that become the binary in the same process, such as `setpriv` or `nsenter`.
    pub before: Vec<String>,
    /// Environment variables on top of the test's own.
    pub environment: Vec<(String, String)>,
    /// Another copy of the binary.
    pub binary: Option<PathBuf>,
    /// Where it listens instead of on loopback: it is in another network namespace, and is reached there.
    pub address: Option<Ipv4Addr>,
}

/// A running process. Killed when dropped.
pub struct Homeostat {
    child: Child,
    launch: Launch,
    arguments: Vec<String>,
    log: PathBuf,
    /// Port for /metrics, /healthz and /readyz.
    pub admin_port: u16,
    /// Port of the console, when the process has one.
    pub console_port: u16,
}

impl Homeostat {
    /// Starts `homeostat VERB…` with these settings on top of ports and a state directory of its own.
    pub fn start(verb: &[&str], dir: &Path, settings: &[(&str, &str)]) -> Homeostat {
        Homeostat::start_as(&Launch::default(), verb, dir, settings)
    }

    /// The same, started in another way.
    pub fn start_as(
        launch: &Launch,
        verb: &[&str],
        dir: &Path,
        settings: &[(&str, &str)],
    ) -> Homeostat {
        let (admin_port, console_port) = (free_port(), free_port());
        let address = address(launch);
        let mut all: BTreeMap<String, String> = BTreeMap::from([
            ("admin.listen".into(), format!("{address}:{admin_port}")),
            ("console.listen".into(), format!("{address}:{console_port}")),
            ("state_dir".into(), dir.display().to_string()),
        ]);
        all.extend(
            settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let mut arguments: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        for (key, value) in &all {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let log = dir.join(format!("{}-{admin_port}.log", verb[0]));
        let child = spawn(launch, &arguments, &log);
        Homeostat {
            child,
            launch: launch.clone(),
            arguments,
            log,
            admin_port,
            console_port,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with -9 and waits until it is gone.
    pub fn kill_9(&mut self) {
        // It may have ended by itself; the tests that care look at its log.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again with the same arguments.
    pub fn restart(&mut self) {
        self.kill_9();
        self.child = spawn(&self.launch, &self.arguments, &self.log);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Asks it to end, as a service manager would, and waits for its exit status.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let child = std::cell::RefCell::new(&mut self.child);
        until("the process ends", END, || async {
            child.borrow_mut().try_wait().unwrap()
        })
        .await
    }

    /// Its exit status, once it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until /readyz says so.
    pub async fn ready(&self) {
        until(
            &format!("ready: {:?}, see {}", self.arguments, self.log.display()),
            READY,
            || async {
                let answer = reqwest::get(self.admin("readyz")).await.ok()?;
                answer.status().is_success().then_some(())
            },
        )
        .await;
    }

    /// An address of its admin port.
    pub fn admin(&self, page: &str) -> String {
        let address = address(&self.launch);
        format!("http://{address}:{}/{page}", self.admin_port)
    }

    /// The console's address.
    pub fn console(&self) -> String {
        format!("http://{}:{}", address(&self.launch), self.console_port)
    }

    /// Waits until the detectors have seen the stack for a while, and so know what is usual.
    pub async fn learnt(&self) {
        until("what is usual is learnt", LEARN, || async {
            (self.metric("homeostat_tick_duration_seconds_count").await? >= LEARN_TICKS)
                .then_some(())
        })
        .await;
    }

    /// The sum of all series of a metric; `None` while there is none.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(self.admin("metrics"))
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        let values = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.reduce(|sum, value| sum + value)
    }

    /// Asks the console's API; `None` while it does not answer.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let url = format!("{}/api/v1/{path}", self.console());
        reqwest::get(url).await.ok()?.json().await.ok()
    }

    /// What it wrote to standard output and error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Homeostat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {:?}\n{}", self.arguments, self.log());
        }
    }
}

fn address(launch: &Launch) -> Ipv4Addr {
    launch.address.unwrap_or(Ipv4Addr::LOCALHOST)
}

fn spawn(launch: &Launch, arguments: &[String], log: &Path) -> Child {
    let out = File::options().create(true).append(true).open(log).unwrap();
    let error = out.try_clone().unwrap();
    let binary = launch.binary.clone().unwrap_or_else(binary);
    let mut command = match launch.before.split_first() {
        None => Command::new(binary),
        Some((program, words)) => {
            let mut command = Command::new(program);
            command.args(words).arg(binary);
            command
        }
    };
    command
        .args(arguments)
        .envs(launch.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(error)
        .spawn()
        .unwrap()
}
