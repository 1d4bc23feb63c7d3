//! The traffic: requests at fixed rates, whatever becomes of them (an open loop, as the users of a site are).

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::{Options, UsageError};
use crate::client::{self, Deadline};
use crate::dns;
use crate::server::{self, Handler, Reply, Request};
use crate::stats::Stats;

/// Targets of one traffic source, each with a thread of its own.
const MAX_TARGETS: usize = 16;
/// Requests to one target at once; one due beyond it is dropped, and counted.
const MAX_IN_FLIGHT: usize = 64;
/// Patience of one request, from the name's look-up to the last byte, where none is given.
const TIMEOUT_MS: u64 = 2_000;
/// A sender further behind than this drops what it missed, instead of sending it in a burst.
const MAX_LAG: Duration = Duration::from_secs(1);
/// Longest sleep of a sender, so that a new rate counts soon.
const MAX_WAIT: Duration = Duration::from_millis(50);
/// Stack of a request's thread.
const STACK_BYTES: usize = 128 * 1024;

/// Sends until TERM; its control port answers meanwhile.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let listener = server::listen(options.address("control", 9000)?)?;
    let timeout = Duration::from_millis(options.number("timeout-ms", TIMEOUT_MS)?);
    let targets = options
        .all("target")
        .map(|text| Target::parse(text, timeout).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() || targets.len() > MAX_TARGETS {
        return Err(UsageError::new(format!(
            "give 1 to {MAX_TARGETS} targets, as --target web:8080=20"
        ))
        .into());
    }
    for target in &targets {
        println!(
            "INFO sending {} requests/s to {}:{}",
            target.rate(),
            target.host,
            target.port
        );
        let target = Arc::clone(target);
        thread::spawn(move || send_all(&target));
    }
    server::serve(&listener, Arc::new(Control { targets }))
}

/// Requests a second, from 0 to `Rate::MAX`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rate(f64);

impl Rate {
    const MAX: f64 = 1000.0;

    /// The time between two requests; none at rate zero.
    fn interval(self) -> Option<Duration> {
        (self.0 > 0.0).then(|| Duration::from_secs_f64(1.0 / self.0))
    }
}

impl FromStr for Rate {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<Self, UsageError> {
        match text.parse() {
            // Below a thousandth the interval would outlast any demonstration.
            Ok(rps) if rps == 0.0 || (0.001..=Self::MAX).contains(&rps) => Ok(Self(rps)),
            _ => Err(UsageError::new(format!(
                "rate '{text}': give requests a second, from 0 to {}",
                Self::MAX
            ))),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

struct Target {
    host: String,
    port: u16,
    rate: Mutex<Rate>,
    timeout: Duration,
    stats: Stats,
    in_flight: AtomicUsize,
}

impl Target {
    /// Reads `host:port=rps`.
    fn parse(text: &str, timeout: Duration) -> Result<Self, UsageError> {
        let wrong = || UsageError::new(format!("target '{text}': give it as web:8080=20"));
        let (address, rate) = text.split_once('=').ok_or_else(wrong)?;
        let (host, port) = address.split_once(':').ok_or_else(wrong)?;
        // Host names only, as the name goes into the statistics as it stands.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
            rate: Mutex::new(rate.parse()?),
            timeout,
            stats: Stats::default(),
            in_flight: AtomicUsize::new(0),
        })
    }

    fn rate(&self) -> Rate {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_rate(&self, rate: Rate) {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = rate;
    }

    /// One request: to the replicas in turn, and to the next one where a connection is refused, as any client does.
    fn request(&self, number: u16) -> io::Result<()> {
        let deadline = Deadline::after(self.timeout);
        let addresses = dns::resolve(&self.host, number)?;
        let mut last = Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
        for address in in_turn(&addresses, number) {
            last = client::get(SocketAddr::from((address, self.port)), "/", deadline);
            let refused =
                matches!(&last, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused);
            if !refused {
                break;
            }
        }
        last
    }
}

/// All addresses, beginning with the one whose turn it is.
fn in_turn(addresses: &[Ipv4Addr], number: u16) -> impl Iterator<Item = Ipv4Addr> {
    let first = usize::from(number) % addresses.len().max(1);
    addresses[first..]
        .iter()
        .chain(&addresses[..first])
        .copied()
}

/// What the sender does next.
#[derive(Debug, PartialEq)]
enum Turn {
    Send,
    Wait(Duration),
    /// So many requests can no longer be sent in time.
    Missed(u64),
}

/// When the next request is due.
struct Pace {
    next: Instant,
}

impl Pace {
    fn turn(&mut self, now: Instant, rate: Rate) -> Turn {
        let Some(interval) = rate.interval() else {
            self.next = now;
            return Turn::Wait(MAX_WAIT);
        };
        // A slower rate may have set a date that a faster one need not wait for.
        self.next = self.next.min(now + interval);
        if self.next > now {
            return Turn::Wait((self.next - now).min(MAX_WAIT));
        }
        let lag = now - self.next;
        if lag > MAX_LAG.max(interval) {
            self.next = now;
            return Turn::Missed((lag.as_secs_f64() * rate.0) as u64);
        }
        self.next += interval;
        Turn::Send
    }
}

fn send_all(target: &Arc<Target>) {
    let mut pace = Pace {
        next: Instant::now(),
    };
    let mut number = 0_u16;
    loop {
        match pace.turn(Instant::now(), target.rate()) {
            Turn::Wait(time) => thread::sleep(time),
            Turn::Missed(requests) => target.stats.dropped(requests),
            Turn::Send => {
                number = number.wrapping_add(1);
                send(target, number);
            }
        }
    }
}

fn send(target: &Arc<Target>, number: u16) {
    if target.in_flight.load(Ordering::Acquire) >= MAX_IN_FLIGHT {
        target.stats.dropped(1);
        return;
    }
    target.in_flight.fetch_add(1, Ordering::AcqRel);
    let sender = Arc::clone(target);
    let started = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            sender.stats.sent();
            let began = Instant::now();
            match sender.request(number) {
                Ok(()) => sender.stats.answered(began.elapsed()),
                Err(_) => sender.stats.failed(),
            }
            sender.in_flight.fetch_sub(1, Ordering::AcqRel);
        });
    if started.is_err() {
        target.in_flight.fetch_sub(1, Ordering::AcqRel);
        target.stats.dropped(1);
    }
}

/// The control port: tells the counts, takes new rates.
struct Control {
    targets: Vec<Arc<Target>>,
}

impl Control {
    fn stats(&self) -> Reply {
        let mut json = String::from(r#"{"targets":{"#);
        for (index, target) in self.targets.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            json.push_str(&format!(
                r#"{comma}"{}":{{"rps":{},"#,
                target.host,
                target.rate()
            ));
            target.stats.write_json(&mut json);
            json.push('}');
        }
        json.push_str("}}");
        Reply::Json(json)
    }

    fn set_rate(&self, request: &Request) -> Reply {
        let name = request.query("target").unwrap_or_default();
        let Some(target) = self.targets.iter().find(|target| target.host == name) else {
            return Reply::Refused(format!("target '{name}': not one of this traffic source's"));
        };
        match request.query("rps").unwrap_or_default().parse() {
            Ok(rate) => {
                target.set_rate(rate);
                println!("INFO sending {rate} requests/s to {name} from now on");
                Reply::Text(format!("{name}={rate}"))
            }
            Err(error) => Reply::Refused(error.to_string()),
        }
    }
}

impl Handler for Control {
    fn handle(&self, request: &Request) -> Reply {
        match request.route.as_str() {
            "GET /stats" => self.stats(),
            "POST /rate" => self.set_rate(request),
            "GET /health" => Reply::Text("healthy".to_owned()),
            _ => Reply::NotFound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn targets_are_read_and_wrong_ones_refused() {
        let target = Target::parse("web:8080=20.5", Duration::ZERO).unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.rate()),
            ("web", 8080, Rate(20.5))
        );
        for wrong in [
            "web",
            "web:8080",
            "web=2",
            ":80=2",
            "we\"b:80=2",
            "web:99999=2",
            "web:80=-1",
            "web:80=nan",
            "web:80=inf",
        ] {
            assert!(Target::parse(wrong, Duration::ZERO).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_pace_keeps_the_rate_and_catches_up_small_delays() {
        let start = Instant::now();
        let mut pace = Pace { next: start };
        let rate = Rate(100.0);
        assert_eq!(pace.turn(start, rate), Turn::Send);
        assert_eq!(pace.turn(start, rate), Turn::Wait(10 * MS));
        let sent = (0..)
            .map_while(|_| (pace.turn(start + 55 * MS, rate) == Turn::Send).then_some(()))
            .count();
        assert_eq!(sent, 5);
    }

    #[test]
    fn a_long_delay_is_dropped_and_a_faster_rate_counts_at_once() {
        let start = Instant::now();
        let mut pace = Pace { next: start };
        assert_eq!(pace.turn(start + 3000 * MS, Rate(10.0)), Turn::Missed(30));
        let mut slow = Pace { next: start };
        assert_eq!(slow.turn(start, Rate(0.01)), Turn::Send);
        assert_eq!(slow.turn(start, Rate(50.0)), Turn::Wait(20 * MS));
        assert_eq!(slow.turn(start, Rate(0.0)), Turn::Wait(MAX_WAIT));
    }

    #[test]
    fn replicas_take_turns() {
        let addresses = [1, 2, 3].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let order: Vec<u8> = in_turn(&addresses, 4)
            .map(|address| address.octets()[3])
            .collect();
        assert_eq!(order, [2, 3, 1]);
        assert_eq!(in_turn(&[], 4).count(), 0);
    }

    #[test]
    fn control_takes_rates_and_tells_counts() {
        let control = Control {
            targets: vec![Arc::new(Target::parse("web:1=2", Duration::ZERO).unwrap())],
        };
        control.targets[0].set_rate(Rate(7.5));
        let Reply::Json(json) = control.stats() else {
            panic!("statistics are JSON")
        };
        assert!(
            json.starts_with(r#"{"targets":{"web":{"rps":7.5,"sent":0,"#),
            "{json}"
        );
    }
}
