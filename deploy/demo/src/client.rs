//! One HTTP request over one fresh connection, within one deadline.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::Options;

/// The longest answer that is read; the rest is left, the status is known by then.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Patience of the health command; the engine's own timeout stands behind it.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// When a request counts as failed.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// The time left, or the error that there is none.
    fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        Ok(left)
    }
}

/// Sends `GET path` and reads the whole answer; an error unless its status is 200.
pub(crate) fn get(address: SocketAddr, path: &str, deadline: Deadline) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, deadline.left()?)?;
    stream.set_write_timeout(Some(deadline.left()?))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < MAX_ANSWER_BYTES {
        stream.set_read_timeout(Some(deadline.left()?))?;
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..length]);
    }
    if is_ok(&answer) {
        Ok(())
    } else {
        Err(io::Error::other("the answer is not 200"))
    }
}

fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ") || answer.starts_with(b"HTTP/1.0 200 ")
}

/// The health command: success when this container's own service answers.
pub(crate) fn health(options: &Options) -> Result<ExitCode, Failure> {
    let port = options.address("listen", 8080)?.port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(
        match get(address, "/health", Deadline::after(HEALTH_TIMEOUT)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("no healthy answer from {address}: {error}");
                ExitCode::FAILURE
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::{self, Handler, Reply, Request};

    struct Echo;

    impl Handler for Echo {
        fn handle(&self, request: &Request) -> Reply {
            match request.route.as_str() {
                "GET /silent" => Reply::Silence,
                "GET /" => Reply::Text("x".repeat(2000)),
                _ => Reply::NotFound,
            }
        }
    }

    #[test]
    fn a_request_succeeds_fails_or_runs_out_of_time() {
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || server::serve(&listener, Arc::new(Echo)));
        let patient = Duration::from_secs(30);
        get(address, "/", Deadline::after(patient)).unwrap();
        assert!(get(address, "/other", Deadline::after(patient)).is_err());
        assert!(
            get(
                address,
                "/silent",
                Deadline::after(Duration::from_millis(100))
            )
            .is_err()
        );
    }

    #[test]
    fn only_status_200_is_ok() {
        assert!(is_ok(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!is_ok(b"HTTP/1.1 503 no\r\n\r\n"));
        assert!(!is_ok(b""));
    }
}
