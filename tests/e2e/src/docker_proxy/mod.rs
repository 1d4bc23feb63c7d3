//! A proxy before the Docker socket that writes down what is asked of the engine.
//!
//! Bytes pass through as they are. What a client sends is read along on the way ([`observer`]), and a request is written
//! down before its last byte reaches the engine. What cannot be read as a request counts as a writing one: the proxy may
//! say too much, never too little.

pub mod observer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use observer::Observer;

const ENGINE: &str = "/var/run/docker.sock";
const CHUNK_BYTES: usize = 16 * 1024;

/// One request as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// The path with its version and query, such as `/v1.41/containers/json?all=true`.
    pub path: String,
}

impl Request {
    /// Anything but reading.
    pub fn is_writing(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// The path without version and query, such as `/containers/json`.
    pub fn operation(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        let Some((version, _)) = path
            .strip_prefix("/v")
            .and_then(|rest| rest.split_once('/'))
        else {
            return path;
        };
        match version.starts_with(|it: char| it.is_ascii_digit()) {
            true => &path["/v".len() + version.len()..],
            false => path,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// What the proxy lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    Nothing,
    /// `GET` and `HEAD` of what is under [`READABLE`]; the rest is answered with 403 and its connection closed.
    ReadOnly,
}

/// What may be read through a proxy that is read only, as the usual ones can be told.
pub const READABLE: [&str; 6] = [
    "/containers",
    "/events",
    "/info",
    "/images",
    "/version",
    "/_ping",
];

impl Filter {
    fn refuses(self, request: &Request) -> bool {
        match self {
            Filter::Nothing => false,
            Filter::ReadOnly => {
                let operation = request.operation();
                let readable = READABLE.iter().any(|folder| {
                    let rest = operation.strip_prefix(folder);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                });
                request.is_writing() || !readable
            }
        }
    }
}

const REFUSAL: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\
    Connection: close\r\n\r\n{\"message\":\"not forwarded\"}";

type Log = Arc<Mutex<Vec<Request>>>;

/// A running proxy. Ends when dropped, with every connection through it.
pub struct DockerProxy {
    socket: PathBuf,
    filter: Filter,
    log: Log,
    listening: JoinHandle<()>,
}

impl DockerProxy {
    /// Listens on a socket in `dir`, before this machine's engine.
    pub async fn start(dir: &Path) -> DockerProxy {
        DockerProxy::before(Path::new(ENGINE), dir).await
    }

    /// Listens on a socket in `dir` that any user may connect to, and lets only reading through.
    pub async fn read_only(dir: &Path) -> DockerProxy {
        let proxy = DockerProxy::filtering(Filter::ReadOnly, Path::new(ENGINE), dir).await;
        let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&proxy.socket, anybody).unwrap();
        proxy
    }

    /// Listens on a socket in `dir`, before the engine at `engine`.
    pub async fn before(engine: &Path, dir: &Path) -> DockerProxy {
        DockerProxy::filtering(Filter::Nothing, engine, dir).await
    }

    async fn filtering(filter: Filter, engine: &Path, dir: &Path) -> DockerProxy {
        let reached = UnixStream::connect(engine).await;
        drop(reached.unwrap_or_else(|error| panic!("no engine at {}: {error}", engine.display())));
        let socket = dir.join("docker-proxy.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let log = Log::default();
        let listening = tokio::spawn(listen(
            listener,
            engine.to_owned(),
            filter,
            Arc::clone(&log),
        ));
        DockerProxy {
            socket,
            filter,
            log,
            listening,
        }
    }

    /// Where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The same as an address for a configuration: `unix://` and the path.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Every request so far, in the order of their first bytes on each connection.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).clone()
    }

    /// Those that were refused, as `METHOD operation`.
    pub fn refused(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests
            .filter(|request| self.filter.refuses(request))
            .map(|request| format!("{} {}", request.method, request.operation()))
            .collect()
    }

    /// Those that may change something, as `METHOD path`.
    pub fn writing_requests(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests
            .filter(Request::is_writing)
            .map(|request| request.to_string())
            .collect()
    }
}

impl Drop for DockerProxy {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

async fn listen(listener: UnixListener, engine: PathBuf, filter: Filter, log: Log) {
    // Owned here, so that ending the proxy ends its connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                connections.spawn(serve(client, engine.clone(), filter, Arc::clone(&log)));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// One connection. An engine that is away is a closed connection, as it would be without the proxy.
async fn serve(client: UnixStream, engine: PathBuf, filter: Filter, log: Log) {
    let Ok(engine) = UnixStream::connect(&engine).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_engine, to_engine) = engine.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let observer = Arc::new(Mutex::new(Observer::default()));
    let see = |found: Vec<Request>| {
        let refused = found.iter().any(|request| filter.refuses(request));
        lock(&log).extend(found);
        match refused {
            true => Verdict::Refuse,
            false => Verdict::Pass,
        }
    };
    let to_engine = Arc::new(tokio::sync::Mutex::new(to_engine));
    let asking = async {
        let ended = pass(from_client, &to_engine, |bytes| {
            see(lock(&observer).sent(bytes))
        });
        if ended.await == Verdict::Refuse {
            let _ = to_client.lock().await.write_all(REFUSAL).await;
        }
        let _ = to_engine.lock().await.shutdown().await;
    };
    let answering = async {
        pass(from_engine, &to_client, |bytes| {
            see(lock(&observer).answered(bytes))
        })
        .await;
        let _ = to_client.lock().await.shutdown().await;
    };
    tokio::join!(asking, answering);
}

/// Whether bytes go on to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Refuse,
}

/// Passes bytes on until one side ends, or until they are refused, and says which.
async fn pass(
    mut from: OwnedReadHalf,
    to: &tokio::sync::Mutex<OwnedWriteHalf>,
    mut see: impl FnMut(&[u8]) -> Verdict,
) -> Verdict {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(read) = from.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        if see(&chunk[..read]) == Verdict::Refuse {
            return Verdict::Refuse;
        }
        if to.lock().await.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
    Verdict::Pass
}
