//! A steady load of requests on a web service, and what came of each. Whatever is no whole answer of status 200 to 299 failed:
//! a refused or reset connection, an answer cut short or too late, an error of the balancer.
//!
//! Half of the clients open a connection for each request, the others keep theirs. None tries anything again.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Error, Result};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::wait::until;

/// At 1000 a second each has 100 ms for a request: where a busy machine takes longer, fewer are made.
const CLIENTS: u32 = 100;
/// No client waits longer, nor does anybody's browser.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Requests that are waited for are made within this, also where the machine carries far fewer a second.
const MADE_WITHIN: Duration = Duration::from_secs(600);
/// Answers that take longer are not told apart.
const TOLD_APART_MAX_MS: usize = 2_000;
/// Failures that are kept in words.
const WORDS_MAX: usize = 20;

/// Requests a second, of all clients together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerSecond(pub u32);

impl PerSecond {
    /// Between two requests of one client.
    fn of_each(self) -> Duration {
        Duration::from_secs(1) * CLIENTS / self.0
    }
}

/// What came of the requests so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Those with a whole answer.
    pub good: u64,
    /// The others.
    pub failed: u64,
    /// The first of these, in words.
    pub failures: Vec<String>,
    /// The longest a client waited for a good answer.
    pub slowest: Duration,
    /// How many good answers took so many milliseconds; what took longer than the last is in the last.
    by_ms: Vec<u64>,
    /// How long it went on.
    pub took: Duration,
}

impl Tally {
    /// All of them.
    pub fn requests(&self) -> u64 {
        self.good + self.failed
    }

    /// So long the given share of the clients waited at most for a good answer, to the millisecond and at most two seconds.
    pub fn within(&self, share: f64) -> Duration {
        let wanted = (self.good as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = self.by_ms.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_millis(reached.unwrap_or(0) as u64 + 1)
    }

    fn note(&mut self, began: Instant, asked: Instant, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.good += 1;
                let took = asked.elapsed();
                self.slowest = self.slowest.max(took);
                self.by_ms.resize(TOLD_APART_MAX_MS, 0);
                let ms = usize::try_from(took.as_millis()).unwrap_or(usize::MAX);
                self.by_ms[ms.min(TOLD_APART_MAX_MS - 1)] += 1;
            }
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < WORDS_MAX {
                    let (at_s, took_s) = (began.elapsed(), asked.elapsed());
                    let (at_s, took_s) = (at_s.as_secs_f64(), took_s.as_secs_f64());
                    let told = format!("after {at_s:.1} s, within {took_s:.3} s: {error}");
                    self.failures.push(told);
                }
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (took_s, slowest_ms) = (self.took.as_secs_f64(), self.slowest.as_millis());
        let (requests, failed) = (self.requests(), self.failed);
        let rate = requests as f64 / took_s;
        let (half, most) = (self.within(0.5).as_millis(), self.within(0.99).as_millis());
        write!(
            f,
            "{requests} requests in {took_s:.0} s, {rate:.0} a second, half within {half} ms, 99 % within {most} ms, the slowest in \
             {slowest_ms} ms; {failed} failed"
        )?;
        self.failures
            .iter()
            .try_for_each(|it| write!(f, "\n  {it}"))
    }
}

/// Clients that ask at a steady rate. They end with it.
pub struct Load {
    began: Instant,
    is_over: Arc<AtomicBool>,
    every: watch::Sender<Duration>,
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts to ask for the root of whatever listens at `front`, whose pages begin with these words.
    pub fn start(front: &str, page: &'static str, rate: PerSecond) -> Load {
        let mut load = Load {
            began: Instant::now(),
            is_over: Arc::default(),
            every: watch::Sender::new(rate.of_each()),
            tally: Arc::default(),
            clients: JoinSet::new(),
        };
        for number in 0..CLIENTS {
            let connection = match number % 2 {
                0 => Connection::Kept,
                _ => Connection::New,
            };
            let client = Client::new(front, page, connection);
            let first = load.began + rate.of_each() * number / CLIENTS;
            let (is_over, every) = (Arc::clone(&load.is_over), load.every.subscribe());
            let (tally, began) = (Arc::clone(&load.tally), load.began);
            load.clients
                .spawn(asks(client, first, every, is_over, tally, began));
        }
        load
    }

    /// Asks more, or less, from now on.
    pub fn turn_to(&self, rate: PerSecond) {
        self.every.send_replace(rate.of_each());
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally.lock().unwrap().clone();
        tally.took = self.began.elapsed();
        tally
    }

    /// Waits for more requests.
    pub async fn goes_on(&self, further: u64) {
        self.reaches(self.tally().requests() + further).await;
    }

    /// Waits until there were at least so many in all.
    pub async fn reaches(&self, requests: u64) {
        until(&format!("{requests} requests"), MADE_WITHIN, || async {
            (self.tally().requests() >= requests).then_some(())
        })
        .await;
    }

    /// Ends it once each request under way is answered, and prints what came of all.
    pub async fn end(mut self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        let tally = self.tally();
        eprintln!("{tally}");
        tally
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- load\n{}", self.tally());
        }
    }
}

async fn asks(
    mut client: Client,
    first: Instant,
    every: watch::Receiver<Duration>,
    is_over: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    began: Instant,
) {
    let mut next = first;
    loop {
        tokio::time::sleep_until(next).await;
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let asked = Instant::now();
        let outcome = client.ask().await;
        tally.lock().unwrap().note(began, asked, outcome);
        let every = *every.borrow();
        // What is late is not made up for, or a pause of the machine would look like a burst.
        next = (next + every).max(Instant::now());
    }
}

/// What a client does with its connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    Kept,
    New,
}

struct Client {
    front: String,
    page: &'static str,
    connection: Connection,
    within: Duration,
    open: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(front: &str, page: &'static str, connection: Connection) -> Client {
        Client {
            front: front.to_owned(),
            page,
            connection,
            within: ANSWERED_WITHIN,
            open: None,
        }
    }

    async fn ask(&mut self) -> Result<()> {
        let within = self.within;
        let outcome = tokio::time::timeout(within, self.request()).await;
        outcome.unwrap_or_else(|_| {
            let within_s = within.as_secs_f64();
            Err(Error::other(format!("no answer within {within_s} s")))
        })
    }

    async fn request(&mut self) -> Result<()> {
        let mut stream = match self.open.take() {
            Some(open) => open,
            None => BufReader::new(TcpStream::connect(&self.front).await?),
        };
        let header = match self.connection {
            Connection::Kept => "",
            Connection::New => "Connection: close\r\n",
        };
        let request = format!("GET / HTTP/1.1\r\nHost: web\r\n{header}\r\n");
        stream.get_mut().write_all(request.as_bytes()).await?;
        let head = Head::read(&mut stream).await?;
        let mut body = vec![0; head.length];
        stream.read_exact(&mut body).await?;
        if !head.is_good() || !body.starts_with(self.page.as_bytes()) {
            return Err(Error::other(format!("answered {:?}", head.status)));
        }
        match (self.connection, head.closes) {
            (Connection::Kept, Closes::No) => self.open = Some(stream),
            (Connection::Kept, Closes::Yes) => {}
            // A reset behind the answer is one too.
            (Connection::New, _) => _ = stream.read_to_end(&mut body).await?,
        }
        Ok(())
    }
}

/// Whether the other end says that this was the last answer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closes {
    Yes,
    No,
}

/// What stands before the page.
struct Head {
    status: String,
    length: usize,
    closes: Closes,
}

impl Head {
    async fn read(stream: &mut BufReader<TcpStream>) -> Result<Head> {
        let status = line(stream).await?;
        let mut head = Head {
            status,
            length: 0,
            closes: Closes::No,
        };
        loop {
            let line = line(stream).await?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok(head);
            }
            match line.split_once(':').map(|(name, it)| (name, it.trim())) {
                Some(("content-length", length)) => {
                    head.length = length.parse().map_err(Error::other)?;
                }
                Some(("connection", "close")) => head.closes = Closes::Yes,
                Some(_) | None => {}
            }
        }
    }

    fn is_good(&self) -> bool {
        let code = self.status.split(' ').nth(1);
        code.is_some_and(|it| it.len() == 3 && it.starts_with('2'))
    }
}

/// A line without its end. The end of the connection is none.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(Error::other(format!("the connection ended after {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with this, and closes or resets the connection.
    async fn outcome(answer: &'static [u8], linger: Option<Duration>) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap().to_string();
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if linger.is_some() {
                stream.set_zero_linger().unwrap();
            }
        });
        let outcome = Client::new(&front, "page", Connection::New).ask().await;
        answers.await.unwrap();
        outcome
    }

    #[tokio::test]
    async fn only_a_whole_answer_is_good() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npage 1";
        outcome(whole, None).await.unwrap();
        for wrong in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npage",
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nother!",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nContent-Length: 6\r\n\r\npage 1",
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\n\r\npage 1",
        ] {
            let told = String::from_utf8_lossy(wrong);
            assert!(outcome(wrong, None).await.is_err(), "{told}");
        }
    }

    #[tokio::test]
    async fn a_reset_and_a_refusal_are_failures() {
        let reset = outcome(b"HTTP/1.1 200 OK\r\n", Some(Duration::ZERO)).await;
        assert!(reset.is_err());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap().to_string();
        drop(listener);
        let refused = Client::new(&front, "page", Connection::Kept).ask().await;
        assert!(refused.is_err());
    }

    #[tokio::test]
    async fn no_answer_is_a_failure_and_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap().to_string();
        let mut client = Client::new(&front, "page", Connection::Kept);
        client.within = Duration::from_millis(50);
        let (now, outcome) = (Instant::now(), client.ask().await);
        let mut tally = Tally::default();
        tally.note(now, now, outcome);
        assert_eq!((tally.requests(), tally.failed), (1, 1));
        assert!(tally.to_string().contains("no answer within 0.05 s"));
    }

    #[test]
    fn half_of_the_answers_and_most_of_them_are_told_apart() {
        let mut tally = Tally::default();
        let began = Instant::now();
        for ms in [2, 2, 2, 400] {
            let asked = began.checked_sub(Duration::from_millis(ms)).unwrap();
            tally.note(began, asked, Ok(()));
        }
        assert!(tally.within(0.5) < tally.within(0.99), "{tally}");
        assert!(tally.within(0.99) > Duration::from_millis(400), "{tally}");
    }

    #[tokio::test]
    async fn a_connection_is_kept_until_the_other_end_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap().to_string();
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            for header in ["", "Connection: close\r\n"] {
                let _ = stream.read(&mut asked).await.unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n{header}\r\npage");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            drop(stream);
            // A third request comes over another connection.
            listener.accept().await.unwrap();
        });
        let mut client = Client::new(&front, "page", Connection::Kept);
        client.ask().await.unwrap();
        client.ask().await.unwrap();
        let both = async { tokio::join!(client.ask(), answers) };
        let both = tokio::time::timeout(ANSWERED_WITHIN * 2, both).await;
        let (third, answered) = both.expect("another connection");
        answered.unwrap();
        assert!(third.is_err(), "it was closed without an answer");
    }
}
