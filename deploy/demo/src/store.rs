//! The store and its callers: a service that others depend on, reached over connections that stay open, as databases are.
//!
//! A question is a line, its answer a record of fixed length. A caller that gets none in time says so, and connects anew.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::{Options, UsageError};
use crate::dns;
use crate::sys;

/// Connections the store serves at once; one beyond is closed, and its caller tries again.
const MAX_CONNECTIONS: usize = 64;
/// Longest question.
const MAX_QUESTION_BYTES: u64 = 256;
/// The answer to each.
const ANSWER_BYTES: usize = 512;
/// Processor time of one answer.
const BURN: Duration = Duration::from_micros(1000);
const DEFAULT_PORT: u16 = 7000;
/// Connections of a caller, each with a thread of its own.
const CALLER_CONNECTIONS: u64 = 4;
/// A caller's patience, for the connection and for the answer.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_RPS: u64 = 1000;
const QUESTIONS_PER_LOG_LINE: u64 = 100;
const STACK_BYTES: usize = 128 * 1024;
/// How often a thread looks whether TERM has come.
const TERMINATION_CHECK: Duration = Duration::from_millis(50);

/// Answers until TERM.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let address = options.address("listen", DEFAULT_PORT)?;
    let listener = TcpListener::bind(address)
        .map_err(|error| Failure::Io(format!("cannot listen on {address}"), error))?;
    println!("INFO store started");
    thread::spawn(move || accept(&listener));
    until_terminated();
    println!("INFO store ended");
    Ok(())
}

fn accept(listener: &TcpListener) {
    let open = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(AtomicU64::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(TERMINATION_CHECK);
            continue;
        };
        if open.load(Ordering::Acquire) >= MAX_CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::AcqRel);
        let (slot, answered) = (Arc::clone(&open), Arc::clone(&answered));
        let started = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // A caller that went away concerns nobody else.
                let _ = answer_all(stream, &answered);
                slot.fetch_sub(1, Ordering::AcqRel);
            });
        if started.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn answer_all(stream: TcpStream, answered: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let answer = [b'a'; ANSWER_BYTES];
    let mut question = Vec::new();
    loop {
        question.clear();
        let mut line = reader.by_ref().take(MAX_QUESTION_BYTES);
        line.read_until(b'\n', &mut question)?;
        if question.last() != Some(&b'\n') {
            return Ok(());
        }
        sys::burn(BURN);
        reader.get_mut().write_all(&answer)?;
        let count = answered.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(QUESTIONS_PER_LOG_LINE) {
            println!("INFO answered {count} questions");
        }
    }
}

/// Asks at a fixed rate until TERM.
pub(crate) fn call(options: &Options) -> Result<(), Failure> {
    let wrong = || UsageError::new("give one target, as --target store:7000=10");
    let text = options.all("target").last().ok_or_else(wrong)?;
    let (address, rate) = text.split_once('=').ok_or_else(wrong)?;
    let (host, port) = address.split_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let rps: u64 = rate.parse().map_err(|_| wrong())?;
    if !(1..=MAX_RPS).contains(&rps) {
        return Err(UsageError::new(format!("rate '{rate}': give 1 to {MAX_RPS}")).into());
    }
    println!("INFO asking {host} {rps} times/s");
    let asked = Arc::new(AtomicU64::new(0));
    for number in 0..CALLER_CONNECTIONS {
        let caller = Caller {
            host: host.to_owned(),
            port,
            interval: Duration::from_secs(CALLER_CONNECTIONS) / u32::try_from(rps).unwrap_or(1),
            asked: Arc::clone(&asked),
        };
        thread::spawn(move || caller.ask_all(u16::try_from(number).unwrap_or(0)));
    }
    until_terminated();
    println!("INFO caller ended");
    Ok(())
}

fn until_terminated() {
    while !sys::termination_requested() {
        thread::sleep(TERMINATION_CHECK);
    }
}

/// One connection of a caller.
struct Caller {
    host: String,
    port: u16,
    interval: Duration,
    asked: Arc<AtomicU64>,
}

impl Caller {
    fn ask_all(&self, number: u16) {
        let mut connection = None;
        loop {
            let began = Instant::now();
            if let Err(error) = self.ask(&mut connection, number) {
                eprintln!("ERROR {} does not answer: {error}", self.host);
                connection = None;
            }
            let count = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_multiple_of(QUESTIONS_PER_LOG_LINE) {
                println!("INFO asked {count} questions");
            }
            thread::sleep(self.interval.saturating_sub(began.elapsed()));
        }
    }

    fn ask(&self, connection: &mut Option<TcpStream>, number: u16) -> io::Result<()> {
        let stream = match connection {
            Some(stream) => stream,
            none => none.insert(self.connect(number)?),
        };
        stream.write_all(b"what is in stock\n")?;
        stream.read_exact(&mut [0; ANSWER_BYTES])
    }

    fn connect(&self, number: u16) -> io::Result<TcpStream> {
        let address = dns::resolve(&self.host, number)?
            .first()
            .copied()
            .ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        let stream = TcpStream::connect_timeout(&SocketAddr::from((address, self.port)), PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_over_one_connection_and_silence_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let caller = |port| Caller {
            host: "127.0.0.1".to_owned(),
            port,
            interval: Duration::from_millis(1),
            asked: Arc::default(),
        };
        let answering = caller(listener.local_addr().unwrap().port());
        thread::spawn(move || accept(&listener));
        let mut connection = None;
        answering.ask(&mut connection, 1).unwrap();
        let port = connection.as_ref().unwrap().local_addr().unwrap().port();
        answering.ask(&mut connection, 1).unwrap();
        assert_eq!(connection.unwrap().local_addr().unwrap().port(), port);

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let waiting = caller(silent.local_addr().unwrap().port());
        assert!(waiting.ask(&mut None, 1).is_err());
    }
}
