//! The web service: each request costs processor time, as rendering a page would.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::Options;
use crate::server::{self, Handler, Reply, Request};
use crate::sys;

const DEFAULT_BURN_MS: u64 = 8;
const PAGE_BYTES: usize = 2048;
/// Requests rendered at once; more wait their turn. Without it an overload would also starve the health check, whose
/// process shares the container's processor limit.
const RENDERERS: usize = 2;
const REQUESTS_PER_LOG_LINE: u64 = 100;

/// Runs the web service until TERM.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let listener = server::listen(options.address("listen", 8080)?)?;
    let burn = Duration::from_millis(options.number("burn-ms", DEFAULT_BURN_MS)?);
    let web = Web {
        delay: Duration::from_millis(options.number("delay-ms", 0)?),
        failing_percent: options.number("failing-percent", 0)?,
        ..Web::new(burn)
    };
    println!(
        "INFO web service started, {} ms of processor time a request",
        burn.as_millis()
    );
    server::serve(&listener, Arc::new(web))?;
    println!("INFO web service ended");
    Ok(())
}

struct Web {
    burn: Duration,
    /// Slept before each answer, as a bad release would wait for something.
    delay: Duration,
    /// Of a hundred requests so many fail, evenly spread.
    failing_percent: u64,
    page: String,
    served: AtomicU64,
    slowest_ms: AtomicU64,
    free_renderers: Mutex<usize>,
    renderer_freed: Condvar,
}

impl Web {
    fn new(burn: Duration) -> Self {
        Self {
            burn,
            delay: Duration::ZERO,
            failing_percent: 0,
            page: "homeostat demo page ".repeat(PAGE_BYTES / 20),
            served: AtomicU64::new(0),
            slowest_ms: AtomicU64::new(0),
            free_renderers: Mutex::new(RENDERERS),
            renderer_freed: Condvar::new(),
        }
    }

    fn render(&self) -> Reply {
        let arrived = Instant::now();
        let free = self
            .free_renderers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .renderer_freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        sys::burn(self.burn);
        *self
            .free_renderers
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        self.renderer_freed.notify_one();
        std::thread::sleep(self.delay);
        let number = self.log(arrived.elapsed());
        match self.fails(number) {
            true => Reply::Failed,
            false => Reply::Text(self.page.clone()),
        }
    }

    /// Whether the request of this number, counted from 1, is one that fails.
    fn fails(&self, number: u64) -> bool {
        let until = |number: u64| number.saturating_mul(self.failing_percent) / 100;
        until(number) > until(number - 1)
    }

    /// Counts a request and gives its number.
    fn log(&self, took: Duration) -> u64 {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
        let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        if served.is_multiple_of(REQUESTS_PER_LOG_LINE) {
            let slowest_ms = self.slowest_ms.swap(0, Ordering::Relaxed);
            println!(
                "INFO served {served} requests, slowest of the last {REQUESTS_PER_LOG_LINE} took {slowest_ms} ms"
            );
        }
        served
    }
}

impl Handler for Web {
    fn handle(&self, request: &Request) -> Reply {
        match request.route.as_str() {
            "GET /" => self.render(),
            "GET /health" => Reply::Text("healthy".to_owned()),
            _ => Reply::NotFound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_requests_fails_evenly_spread() {
        let web = Web {
            failing_percent: 20,
            ..Web::new(Duration::ZERO)
        };
        let failed: Vec<u64> = (1..=12).filter(|number| web.fails(*number)).collect();
        assert_eq!(failed, [5, 10]);
        assert!(!(1..1_000).any(|number| Web::new(Duration::ZERO).fails(number)));
    }
}
