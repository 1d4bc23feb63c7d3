//! A socket of HAProxy's runtime API, which takes a line and answers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// All proxies, type 4 (servers), all of them: HAProxy's management guide, 9.3 "show stat".
const SHOW_SERVERS: &[u8] = b"show stat -1 4 -1\n";
/// Bytes of an answer; some ten thousand servers. A longer one is refused whole: of what is cut off nobody would know.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where a HAProxy answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Socket {
    /// A file of this host.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
}

/// A text that names no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no socket; write unix:///run/haproxy/admin.sock or tcp://10.0.0.2:9999")]
pub struct NotASocket(String);

impl TryFrom<String> for Socket {
    type Error = NotASocket;

    fn try_from(text: String) -> Result<Self, NotASocket> {
        if let Some(path) = text.strip_prefix("unix://").map(PathBuf::from)
            && path.is_absolute()
        {
            return Ok(Socket::Unix(path));
        }
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        match text.strip_prefix("tcp://") {
            Some(address)
                if address
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && is_port(port)) =>
            {
                Ok(Socket::Tcp(address.to_owned()))
            }
            Some(_) | None => Err(NotASocket(text)),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Socket::Unix(path) => write!(f, "unix://{}", path.display()),
            Socket::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl From<Socket> for String {
    fn from(socket: Socket) -> String {
        socket.to_string()
    }
}

/// Why a socket did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(
        "cannot connect to it; check that HAProxy runs, and that this user may open its stats socket"
    )]
    Connect(#[source] std::io::Error),
    #[error("it does not answer")]
    Answer(#[source] std::io::Error),
    #[error("it did not answer within {0:?}")]
    Late(Duration),
    #[error("its answer is longer than {BYTES_MAX} bytes")]
    Long,
}

impl Socket {
    /// Asks for the servers.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub(super) async fn ask(&self, timeout: Duration) -> Result<String, AskError> {
        match tokio::time::timeout(timeout, self.exchange()).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Late(timeout)),
        }
    }

    async fn exchange(&self) -> Result<String, AskError> {
        match self {
            Socket::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                exchange(stream.map_err(AskError::Connect)?).await
            }
            Socket::Tcp(address) => {
                let stream = TcpStream::connect(address).await;
                exchange(stream.map_err(AskError::Connect)?).await
            }
        }
    }
}

/// HAProxy closes the connection after its answer.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<String, AskError> {
    let written = stream.write_all(SHOW_SERVERS).await;
    written.map_err(AskError::Answer)?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(BYTES_MAX + 1);
    let read = bounded.read_to_end(&mut answer).await;
    read.map_err(AskError::Answer)?;
    match answer.len() as u64 > BYTES_MAX {
        true => Err(AskError::Long),
        false => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(60);

    fn socket(text: &str) -> Result<Socket, NotASocket> {
        Socket::try_from(text.to_owned())
    }

    #[test]
    fn a_socket_is_a_file_or_a_port() {
        for text in [
            "unix:///run/haproxy/admin.sock",
            "tcp://10.0.0.2:9999",
            "tcp://[::1]:9999",
            "tcp://lb:1",
        ] {
            assert_eq!(socket(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "unix://run",
            "/run/haproxy/admin.sock",
            "tcp://10.0.0.2",
            "tcp://:9999",
            "tcp://a:0",
            "http://a:1",
        ] {
            let error = socket(text).unwrap_err();
            assert!(error.to_string().contains("admin.sock"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_away_or_hangs_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.sock");
        let away = Socket::Unix(path.clone()).ask(NEVER).await.unwrap_err();
        assert!(matches!(away, AskError::Connect(_)), "{away}");
        let _silent = tokio::net::UnixListener::bind(&path).unwrap();
        let late = Socket::Unix(path).ask(Duration::from_millis(50)).await;
        assert!(matches!(late, Err(AskError::Late(_))), "{late:?}");
    }
}
