//! A balancer of a test's own: the real program, on sockets in a directory that goes with the test.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use units::ContainerId;

use super::PATIENCE;

const PROGRAM: &str = "/usr/sbin/haproxy";
const POLL: Duration = Duration::from_millis(50);
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// Every failure of a server is one of a request: nothing is tried again.
const CONFIG: &str = "
global
    stats socket DIR/admin.sock mode 600 level admin
    stats socket DIR/looks.sock mode 600 level operator
    maxconn 500
defaults
    mode http
    retries 0
    timeout connect 30s
    timeout client 120s
    timeout server 120s
frontend front
    bind unix@DIR/front.sock
    default_backend web
backend web
    balance roundrobin
    option httpchk GET /health
    server by-hand 127.0.0.1:9 disabled
backend fixed
    balance static-rr
";

pub(crate) struct Haproxy {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

/// One server, as `show stat` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) sessions: u64,
}

impl Haproxy {
    pub(crate) async fn start() -> Haproxy {
        let mut haproxy = Haproxy {
            dir: tempfile::tempdir().unwrap(),
            child: None,
        };
        let dir = haproxy.dir.path().to_str().unwrap();
        let config = CONFIG.replace("DIR", dir);
        std::fs::write(haproxy.dir.path().join("haproxy.cfg"), config).unwrap();
        haproxy.again().await;
        haproxy
    }

    /// Ends it as `kill -9` would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it, with what its configuration says and nothing else.
    pub(crate) async fn again(&mut self) {
        let log = std::fs::File::create(self.path("haproxy.log")).unwrap();
        let child = Command::new(PROGRAM)
            .args(["-db", "-f"])
            .arg(self.path("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let how = "deploy/setup/need-tests.sh installs it";
        self.child = Some(child.unwrap_or_else(|error| panic!("{PROGRAM}: {error}; {how}")));
        let answers = async {
            while self.try_ask("show info").await.is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        timeout(PATIENCE, answers).await.expect("no haproxy");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The address of its admin socket.
    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.path("admin.sock").display())
    }

    /// The address of a socket that takes no changes.
    pub(crate) fn looks(&self) -> String {
        format!("unix://{}", self.path("looks.sock").display())
    }

    async fn try_ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.path("admin.sock")).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    pub(crate) async fn ask(&self, command: &str) -> String {
        self.try_ask(command).await.unwrap()
    }

    /// The servers of the backend, as they stand.
    pub(crate) async fn servers(&self) -> Vec<Seen> {
        let answer = self.ask("show stat web 4 -1").await;
        let mut lines = answer.lines().filter(|line| !line.is_empty());
        let header = lines.next().unwrap().trim_start_matches("# ");
        let place = |name| header.split(',').position(|it| it == name).unwrap();
        let (name, status, sessions) = (place("svname"), place("status"), place("scur"));
        let seen = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            Seen {
                name: cells[name].to_owned(),
                status: cells[status].to_owned(),
                sessions: cells[sessions].parse().unwrap(),
            }
        };
        lines.map(seen).collect()
    }

    pub(crate) async fn server(&self, container: &ContainerId) -> Option<Seen> {
        let name = server_of(container);
        let servers = self.servers().await;
        servers.into_iter().find(|it| it.name == name)
    }

    /// Waits until the server of a container is as asked for.
    pub(crate) async fn until(
        &self,
        container: &ContainerId,
        what: &str,
        is_so: impl Fn(Option<&Seen>) -> bool,
    ) {
        let so = async {
            while !is_so(self.server(container).await.as_ref()) {
                tokio::time::sleep(POLL).await;
            }
        };
        if timeout(PATIENCE, so).await.is_err() {
            panic!("not {what}: {:?}", self.servers().await);
        }
    }

    pub(crate) async fn until_up(&self, container: &ContainerId) {
        let is_up = |seen: Option<&Seen>| seen.is_some_and(|it| it.status == "UP");
        self.until(container, "up", is_up).await;
    }

    pub(crate) async fn until_gone(&self, container: &ContainerId) {
        self.until(container, "gone", |seen| seen.is_none()).await;
    }

    /// The status of one answer to a request through the balancer, 0 for none.
    pub(crate) fn get(&self) -> impl Future<Output = u16> + Send + 'static {
        let front = self.path("front.sock");
        async move { get(front).await.unwrap_or(0) }
    }

    /// Requests without a pause, from now on.
    pub(crate) fn load(&self) -> Load {
        let mut load = Load {
            ends: Arc::default(),
            good: Arc::default(),
            clients: JoinSet::new(),
        };
        for _ in 0..CLIENTS {
            let (ends, good) = (Arc::clone(&load.ends), Arc::clone(&load.good));
            let front = self.path("front.sock");
            load.clients.spawn(async move {
                let mut bad = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    match get(front.clone()).await {
                        Ok(200) => {
                            good.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(status) => bad.push(format!("answered {status}")),
                        Err(error) => bad.push(error.to_string()),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                bad
            });
        }
        load
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("haproxy.log"));
            eprintln!("haproxy said: {}", log.unwrap_or_default());
        }
        self.kill();
    }
}

/// What a container's server is called.
pub(crate) fn server_of(container: &ContainerId) -> String {
    format!("hs-{}", &container.as_str()[..12])
}

/// Clients that ask again and again.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    /// Waits for so many more good answers.
    pub(crate) async fn goes_on(&self, more: usize) {
        let goal = self.good.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.good.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(POLL).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("no good answers");
    }

    /// Ends it; every request that failed, in words.
    pub(crate) async fn end(mut self) -> Vec<String> {
        self.ends.store(true, Ordering::Relaxed);
        let mut bad = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            bad.extend(client.unwrap());
        }
        bad
    }
}

async fn get(front: PathBuf) -> std::io::Result<u16> {
    let mut stream = UnixStream::connect(front).await?;
    let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    let is_whole = answer.contains("homeostat demo") || status != Some(200);
    let broken = || std::io::Error::other(format!("a broken answer: {answer:?}"));
    status.filter(|_| is_whole).ok_or_else(broken)
}
