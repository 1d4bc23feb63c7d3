//! An Apache Kafka broker for tests, started through `deploy/kafka/kafka.sh`.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use crate::KafkaConfig;

/// How long a killed broker may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Ports asked for until one comes that was not given before.
const PORT_TRIES_MAX: usize = 100;

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The script could not be run.
    #[error("cannot run {}", script.display())]
    Script {
        /// The script.
        script: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The broker's directory could not be prepared.
    #[error("cannot prepare {}", dir.display())]
    Setup {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The script says what is missing or went wrong, also which Debian package to install.
    #[error("{message}")]
    Start {
        /// What it said.
        message: String,
    },
    /// The broker's process could not be killed.
    #[error("the broker with pid {pid} cannot be killed")]
    Kill {
        /// Its process id.
        pid: String,
    },
}

/// One broker on loopback. It ends, and its files go, with this process at the latest, however that ends.
#[derive(Debug)]
pub struct KafkaBroker {
    dir: PathBuf,
    brokers: String,
}

impl KafkaBroker {
    /// Starts a broker on free ports. Takes some seconds, more when the jars have to be fetched first. Blocks.
    ///
    /// # Errors
    /// When Java or Maven is missing, or the broker does not start.
    pub fn start() -> Result<Self, BrokerError> {
        let dir = fresh_dir();
        let brokers = run_start(&dir, &[])?;
        Ok(Self { dir, brokers })
    }

    /// Starts a broker with more settings, such as listeners with TLS. They are asked for with the ports of the broker and
    /// the controller, as settings that name listeners have to repeat them. Blocks.
    ///
    /// # Errors
    /// As [`KafkaBroker::start`].
    pub fn start_with(settings: impl FnOnce(u16, u16) -> String) -> Result<Self, BrokerError> {
        let dir = fresh_dir();
        let setup = |source| BrokerError::Setup {
            dir: dir.clone(),
            source,
        };
        let (port, controller) = (free_port().map_err(setup)?, free_port().map_err(setup)?);
        fs::create_dir_all(&dir).map_err(setup)?;
        fs::write(dir.join("extra.properties"), settings(port, controller)).map_err(setup)?;
        let brokers = run_start(&dir, &[port.to_string(), controller.to_string()])?;
        Ok(Self { dir, brokers })
    }

    /// The broker that all tests of this process share.
    ///
    /// # Panics
    /// When it cannot be started: a test that needs Kafka must not pass without it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<KafkaBroker> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start() {
            Ok(broker) => broker,
            Err(error) => panic!("no Kafka broker for the tests: {error}"),
        })
    }

    /// Its bootstrap address.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Settings to reach it, with everything else as by default.
    #[must_use]
    pub fn config(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.brokers.clone(),
            ..KafkaConfig::default()
        }
    }

    /// Kills the broker as a power cut would, and waits until it is gone. Blocks.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub fn kill_9(&self) -> Result<(), BrokerError> {
        let Ok(pid) = fs::read_to_string(self.dir.join("pid")) else {
            return Ok(());
        };
        let pid = pid.trim().to_owned();
        let until = Instant::now() + KILL_LIMIT;
        let mut kill = Command::new("kill");
        kill.args(["-KILL", &pid]).stderr(Stdio::null());
        // It may be gone already; what counts is that it does not run.
        let _sent = kill.status();
        while runs(&pid) {
            if Instant::now() >= until {
                return Err(BrokerError::Kill { pid });
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Starts the broker again on its data and ports. Blocks.
    ///
    /// # Errors
    /// As [`KafkaBroker::start`].
    pub fn restart(&self) -> Result<(), BrokerError> {
        run_start(&self.dir, &[]).map(drop)
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // The watcher that the script left behind does the rest when this process ends.
        if self.kill_9().is_ok() {
            let _left = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A port on loopback that nobody listens on at the moment, and that was not given before: the kernel may well offer the same one twice
/// before anybody has taken it.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..PORT_TRIES_MAX {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
    }
    Err(io::Error::other(
        "every port that is offered was given before",
    ))
}

fn fresh_dir() -> PathBuf {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("homeostat-kafka-{}-{number}", process::id()))
}

fn run_start(dir: &Path, ports: &[String]) -> Result<String, BrokerError> {
    let script = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/kafka/kafka.sh"
    ));
    let output = Command::new(&script)
        .arg("start")
        .arg(dir)
        .args(ports)
        .env("KAFKA_PARENT", process::id().to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BrokerError::Script { script, source })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(BrokerError::Start { message });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether the process runs. One that was killed and that nobody has waited for yet does not.
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        let state = status.lines().find(|line| line.starts_with("State:"));
        !state.is_some_and(|state| state.contains("zombie"))
    })
}
