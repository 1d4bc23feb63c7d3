//! One question to an admin socket of HAProxy, and its answer: bounded in time and size.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::BalancerError;

/// An answer takes milliseconds; a balancer that is busy beyond this is none to rely on.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// The state of some twenty thousand servers.
const ANSWER_MAX: u64 = 8 * 1024 * 1024;

/// Where a balancer takes commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    place: Place,
    written: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

impl Socket {
    /// The socket of an address such as `unix:///run/haproxy/admin.sock` or `tcp://127.0.0.1:9999`.
    pub(crate) fn parse(text: &str) -> Option<Socket> {
        let place = if let Some(path) = text.strip_prefix("unix://") {
            path.starts_with('/').then(|| Place::Unix(path.into()))
        } else {
            let address = text.strip_prefix("tcp://")?;
            let (host, port) = address.rsplit_once(':')?;
            let is_one = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
            is_one.then(|| Place::Tcp(address.to_owned()))
        }?;
        let written = text.into();
        Some(Socket { place, written })
    }

    /// What the balancer answers to one command.
    pub(crate) async fn ask(&self, command: &str) -> Result<String, BalancerError> {
        let asked = async {
            match &self.place {
                Place::Unix(path) => exchange(UnixStream::connect(path).await?, command).await,
                Place::Tcp(address) => exchange(TcpStream::connect(address).await?, command).await,
            }
        };
        let socket = self.clone();
        let answer = match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let reason = error.to_string();
                return Err(BalancerError::Away { socket, reason });
            }
            Err(_) => {
                let within = ANSWERS_WITHIN;
                return Err(BalancerError::Slow { socket, within });
            }
        };
        let is_whole = u64::try_from(answer.len()).is_ok_and(|length| length <= ANSWER_MAX);
        match is_whole {
            true => Ok(String::from_utf8_lossy(&answer).into_owned()),
            false => Err(BalancerError::TooMuch { socket }),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The balancer closes the connection behind its answer. One byte more than may come is read, to know of it.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    command: &str,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX + 1).read_to_end(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_is_a_path_or_an_address() {
        for good in [
            "unix:///run/haproxy/admin.sock",
            "tcp://10.0.0.1:9999",
            "tcp://[::1]:9999",
            "tcp://balancer:9999",
        ] {
            assert_eq!(Socket::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "/run/x",
            "unix://run/x",
            "tcp://:99",
            "tcp://a",
            "tcp://a:0",
            "",
        ] {
            assert_eq!(Socket::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Socket::parse(&format!("tcp://{address}")).unwrap();
        let talks = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let page = vec![b'a'; 64 * 1024];
            while client.write_all(&page).await.is_ok() {}
        });
        let given_up = socket.ask("show stat").await;
        assert!(
            matches!(given_up, Err(BalancerError::TooMuch { .. })),
            "{given_up:?}"
        );
        talks.await.unwrap();
    }
}
