//! A small HTTP/1.1 server: one thread and one request per connection, a bound on both.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::sys;

/// Connections served at once. Beyond it the acceptor waits, and clients queue in the kernel's backlog.
const MAX_CONNECTIONS: usize = 128;
/// Longest request head; a longer one is answered 400.
const MAX_HEAD_BYTES: u64 = 8 * 1024;
/// Longest request body, which is read and dropped; a longer one is answered 400.
const MAX_BODY_BYTES: u64 = 16 * 1024;
/// A client that sends or reads nothing for so long loses its connection.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// After TERM, requests in flight get this long to finish.
const DRAIN: Duration = Duration::from_secs(1);
/// How often a blocked thread looks whether TERM has come.
const TERMINATION_CHECK: Duration = Duration::from_millis(50);
/// Stack of a connection's thread: handlers are shallow.
const STACK_BYTES: usize = 128 * 1024;

/// A request: what the handlers need of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method and path, as `GET /health`.
    pub(crate) route: String,
    query: Vec<(String, String)>,
    body_bytes: u64,
}

impl Request {
    /// Reads a request head; the error says what is wrong with it.
    fn read(stream: &mut impl BufRead) -> Result<Self, String> {
        let mut lines = Vec::new();
        let mut head = stream.take(MAX_HEAD_BYTES);
        loop {
            let mut line = Vec::new();
            head.read_until(b'\n', &mut line)
                .map_err(|error| format!("request head: {error}"))?;
            if line.last() != Some(&b'\n') {
                return Err("request head: too long or cut short".to_owned());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.is_empty() {
                return Self::from_lines(&lines);
            }
            lines.push(line);
        }
    }

    fn from_lines(lines: &[String]) -> Result<Self, String> {
        let mut words = lines.first().map_or("", String::as_str).split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("request line: not HTTP/1".to_owned());
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Ok(Self {
            route: format!("{method} {path}"),
            query,
            body_bytes: body_bytes(lines)?,
        })
    }

    /// The value of a query parameter; none of ours needs percent-decoding.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn body_bytes(lines: &[String]) -> Result<u64, String> {
    let length = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some((_, text)) = length else {
        return Ok(0);
    };
    match text.trim().parse() {
        Ok(bytes) if bytes <= MAX_BODY_BYTES => Ok(bytes),
        _ => Err(format!(
            "content-length: at most {MAX_BODY_BYTES} bytes are taken"
        )),
    }
}

/// What a handler decides about a request.
pub(crate) enum Reply {
    /// 200 with this text.
    Text(String),
    /// 200 with this JSON document.
    Json(String),
    /// 400 with the reason.
    Refused(String),
    /// 404.
    NotFound,
    /// 500.
    Failed,
    /// No answer, ever: the connection stays open and keeps its thread.
    Silence,
}

impl Reply {
    fn bytes(&self) -> Option<Vec<u8>> {
        let (status, kind, body) = match self {
            Self::Text(body) => ("200 OK", "text/plain", body.as_str()),
            Self::Json(body) => ("200 OK", "application/json", body.as_str()),
            Self::Refused(reason) => ("400 Bad Request", "text/plain", reason.as_str()),
            Self::NotFound => ("404 Not Found", "text/plain", "no such route"),
            Self::Failed => ("500 Internal Server Error", "text/plain", "it failed"),
            Self::Silence => return None,
        };
        Some(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}\n",
                body.len() + 1
            )
            .into_bytes(),
        )
    }
}

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Decides about one request; called from many threads at once.
    fn handle(&self, request: &Request) -> Reply;
}

/// Opens the port.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .map_err(|error| Failure::Io(format!("cannot listen on {address}"), error))
}

/// Serves until TERM comes, then takes no new connection, finishes those in flight within `DRAIN`, and returns.
pub(crate) fn serve(listener: &TcpListener, handler: Arc<dyn Handler>) -> Result<(), Failure> {
    let slots = Arc::new(Slots::default());
    wake_on_termination(listener)?;
    while !sys::termination_requested() {
        if !slots.take() {
            break;
        }
        match listener.accept() {
            Ok((stream, _)) => spawn(stream, Arc::clone(&handler), Arc::clone(&slots)),
            // Out of descriptors, or the client is gone already: the next one may do better.
            Err(_) => {
                slots.give_back();
                thread::sleep(TERMINATION_CHECK);
            }
        }
    }
    finish(listener, &handler, &slots)
}

/// Connections that the kernel has already taken for us are served too; then the port is closed, so that clients go to
/// another replica at once.
fn finish(
    listener: &TcpListener,
    handler: &Arc<dyn Handler>,
    slots: &Arc<Slots>,
) -> Result<(), Failure> {
    listener
        .set_nonblocking(true)
        .map_err(|error| Failure::Io("cannot drain the port".to_owned(), error))?;
    while slots.free() > 0 {
        let Ok((stream, _)) = listener.accept() else {
            break;
        };
        if slots.take() {
            spawn(stream, Arc::clone(handler), Arc::clone(slots));
        }
    }
    slots.wait_idle(Instant::now() + DRAIN);
    Ok(())
}

fn spawn(stream: TcpStream, handler: Arc<dyn Handler>, slots: Arc<Slots>) {
    let slot = SlotGuard(slots);
    let started = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // A client that went away concerns nobody else.
            let _ = converse(stream, handler.as_ref());
            drop(slot);
        });
    if let Err(error) = started {
        eprintln!("ERROR no thread for a connection: {error}");
    }
}

fn converse(stream: TcpStream, handler: &dyn Handler) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let reply = match Request::read(&mut reader) {
        Ok(request) => {
            io::copy(
                &mut reader.by_ref().take(request.body_bytes),
                &mut io::sink(),
            )?;
            handler.handle(&request)
        }
        Err(reason) => Reply::Refused(reason),
    };
    match reply.bytes() {
        Some(bytes) => reader.get_mut().write_all(&bytes),
        None => loop {
            thread::park();
        },
    }
}

/// `accept` has no deadline: a connection of our own ends its wait when TERM has come.
fn wake_on_termination(listener: &TcpListener) -> Result<(), Failure> {
    let port = listener
        .local_addr()
        .map_err(|error| Failure::Io("cannot read the address of the port".to_owned(), error))?
        .port();
    thread::spawn(move || {
        while !sys::termination_requested() {
            thread::sleep(TERMINATION_CHECK);
        }
        let _ = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), DRAIN);
    });
    Ok(())
}

/// Counts the connections being served.
#[derive(Default)]
struct Slots {
    taken: Mutex<usize>,
    changed: Condvar,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free slot and takes it; false when TERM came first.
    fn take(&self) -> bool {
        let mut taken = self.lock();
        while *taken >= MAX_CONNECTIONS {
            if sys::termination_requested() {
                return false;
            }
            taken = self.wait(taken);
        }
        *taken += 1;
        true
    }

    fn free(&self) -> usize {
        MAX_CONNECTIONS.saturating_sub(*self.lock())
    }

    fn give_back(&self) {
        *self.lock() -= 1;
        self.changed.notify_all();
    }

    fn wait_idle(&self, deadline: Instant) {
        let mut taken = self.lock();
        while *taken > 0 && Instant::now() < deadline {
            taken = self.wait(taken);
        }
    }

    fn wait<'a>(&self, taken: MutexGuard<'a, usize>) -> MutexGuard<'a, usize> {
        self.changed
            .wait_timeout(taken, TERMINATION_CHECK)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// Gives the slot back however the connection's thread ends.
struct SlotGuard(Arc<Slots>);

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, String> {
        Request::read(&mut text.as_bytes())
    }

    #[test]
    fn a_request_keeps_its_route_and_query() {
        let request =
            read("POST /leak?mb_per_s=8&x=1 HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc")
                .unwrap();
        assert_eq!(request.route, "POST /leak");
        assert_eq!(request.query("mb_per_s"), Some("8"));
        assert_eq!(request.query("y"), None);
        assert_eq!(request.body_bytes, 3);
    }

    #[test]
    fn malformed_requests_are_refused() {
        for text in [
            "",
            "GET /",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET / a HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(20_000));
        assert!(read(&endless).unwrap_err().contains("too long"));
    }

    #[test]
    fn replies_carry_their_length() {
        let bytes = Reply::Json("{}".to_owned()).bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.contains("Content-Length: 3\r\n") && text.ends_with("\r\n\r\n{}\n"),
            "{text}"
        );
        assert!(Reply::Silence.bytes().is_none());
    }
}
