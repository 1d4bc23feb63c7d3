//! The patient: a web service that falls ill when told. Every illness lives in memory, so a restart cures it, but for the
//! crash: it lasts as long as a file is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::Failure;
use crate::args::Options;
use crate::illness::{self, MAX_BURN_MILLICORES, MAX_WRITE_MB_PER_S, STEP, Steps};
use crate::server::{self, Handler, Reply, Request};
use crate::sys;

/// Processor time of one request.
const BURN: Duration = Duration::from_micros(1500);
const PAGE_BYTES: usize = 1024;
/// Highest rate of a leak: the whole memory of a small host within seconds.
const MAX_LEAK_MB_PER_S: u64 = 1024;
/// Highest rate of error lines: beyond it the log driver, not the loop, would be what is tested.
const MAX_ERRORS_PER_S: u64 = 10_000;
/// Most that a request can be slowed by: beyond it clients give up, and the service hangs rather than being slow.
const MAX_SLOW_MS: u64 = 1000;
/// Where the disk hog writes.
const DATA_FILE: &str = "/patient.data";
const REQUESTS_PER_LOG_LINE: u64 = 100;

/// Runs the patient until TERM.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let listener = server::listen(options.address("listen", 8080)?)?;
    let patient = Arc::new(Patient {
        crash_if: options.all("crash-if").last().map(PathBuf::from),
        ..Patient::default()
    });
    println!("INFO patient started");
    illness::burn(&patient.burn_millicores);
    illness::write(&patient.write_mb_per_s, PathBuf::from(DATA_FILE));
    let ill = Arc::clone(&patient);
    thread::spawn(move || ill.suffer());
    server::serve(&listener, patient)?;
    println!("INFO patient ended");
    Ok(())
}

/// What the patient suffers from now. Rates are zero when well.
#[derive(Default)]
struct Patient {
    hangs: AtomicBool,
    leak_mb_per_s: AtomicU64,
    errors_per_s: AtomicU64,
    lines_per_s: AtomicU64,
    burn_millicores: Arc<AtomicU64>,
    write_mb_per_s: Arc<AtomicU64>,
    /// Processor time that each request costs on top of its own.
    slow_ms: AtomicU64,
    /// While this file is there, the patient crashes.
    crash_if: Option<PathBuf>,
    served: AtomicU64,
}

impl Patient {
    /// Takes a step of each illness, again and again. A hung process does nothing at all.
    fn suffer(&self) {
        let mut leaked: Vec<Vec<u8>> = Vec::new();
        let mut errors = Steps::default();
        let mut megabytes = Steps::default();
        let mut lines = Steps::default();
        let mut error_number = 0;
        let mut line_number = 0;
        loop {
            self.crash();
            thread::sleep(STEP);
            if self.hangs.load(Ordering::Relaxed) {
                continue;
            }
            for _ in 0..megabytes.due(self.leak_mb_per_s.load(Ordering::Relaxed)) {
                leaked.push(std::hint::black_box(vec![1; 1 << 20]));
            }
            for _ in 0..errors.due(self.errors_per_s.load(Ordering::Relaxed)) {
                error_number += 1;
                eprintln!("{}", error_line(error_number));
            }
            for _ in 0..lines.due(self.lines_per_s.load(Ordering::Relaxed)) {
                line_number += 1;
                println!("{}", chatter(line_number));
            }
        }
    }

    fn crash(&self) {
        if let Some(file) = self.crash_if.as_ref().filter(|file| file.exists()) {
            eprintln!(
                "FATAL cannot load {}: the format is unknown",
                file.display()
            );
            std::process::exit(1);
        }
    }

    fn page(&self) -> Reply {
        sys::burn(BURN + Duration::from_millis(self.slow_ms.load(Ordering::Relaxed)));
        let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        if served.is_multiple_of(REQUESTS_PER_LOG_LINE) {
            println!("INFO served {served} requests");
        }
        Reply::Text("homeostat demo answer ".repeat(PAGE_BYTES / 22))
    }
}

impl Handler for Patient {
    fn handle(&self, request: &Request) -> Reply {
        if self.hangs.load(Ordering::Relaxed) {
            return Reply::Silence;
        }
        match request.route.as_str() {
            "GET /" => self.page(),
            "GET /health" => Reply::Text("healthy".to_owned()),
            "POST /hang" => {
                self.hangs.store(true, Ordering::Relaxed);
                Reply::Text("hanging from now on".to_owned())
            }
            "POST /leak" => set(&self.leak_mb_per_s, request, "mb_per_s", MAX_LEAK_MB_PER_S),
            "POST /errors" => set(&self.errors_per_s, request, "per_s", MAX_ERRORS_PER_S),
            "POST /lines" => set(&self.lines_per_s, request, "per_s", MAX_ERRORS_PER_S),
            "POST /burn" => set(
                &self.burn_millicores,
                request,
                "millicores",
                MAX_BURN_MILLICORES,
            ),
            "POST /write" => set(
                &self.write_mb_per_s,
                request,
                "mb_per_s",
                MAX_WRITE_MB_PER_S,
            ),
            "POST /slow" => set(&self.slow_ms, request, "ms", MAX_SLOW_MS),
            "POST /leak/stop" => stop(&self.leak_mb_per_s),
            "POST /errors/stop" => stop(&self.errors_per_s),
            "POST /lines/stop" => stop(&self.lines_per_s),
            "POST /burn/stop" => stop(&self.burn_millicores),
            "POST /write/stop" => stop(&self.write_mb_per_s),
            "POST /slow/stop" => stop(&self.slow_ms),
            _ => Reply::NotFound,
        }
    }
}

fn set(rate: &AtomicU64, request: &Request, name: &str, most: u64) -> Reply {
    let value = request.query(name).and_then(|text| text.parse().ok());
    match value {
        Some(value) if (1..=most).contains(&value) => {
            rate.store(value, Ordering::Relaxed);
            Reply::Text(format!("{name}={value}"))
        }
        _ => Reply::Refused(format!(
            "{name}: give a whole number from 1 to {most}, as ?{name}=8"
        )),
    }
}

fn stop(rate: &AtomicU64) -> Reply {
    rate.store(0, Ordering::Relaxed);
    Reply::Text("stopped".to_owned())
}

/// One failing order: the same words each time, other numbers.
fn error_line(number: u64) -> String {
    let order = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    format!(
        "ERROR order {order:06x} failed: connection pool exhausted after {} ms, attempt {}",
        250 + order % 500,
        1 + number % 3
    )
}

/// One of the lines that somebody left at debug level.
pub(crate) fn chatter(number: u64) -> String {
    let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    format!(
        "INFO cache miss for key {key:05x}, read from the store in {} ms",
        1 + key % 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_share_their_words_and_differ_in_their_numbers() {
        let (a, b) = (error_line(1), error_line(2));
        assert_ne!(a, b);
        assert_eq!(a.split(' ').count(), b.split(' ').count());
    }
}
