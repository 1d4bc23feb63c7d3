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
    println!(
        "INFO web service started, {} ms of processor time a request",
        burn.as_millis()
    );
    server::serve(&listener, Arc::new(Web::new(burn)))?;
    println!("INFO web service ended");
    Ok(())
}

struct Web {
    burn: Duration,
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
        self.log(arrived.elapsed());
        Reply::Text(self.page.clone())
    }

    fn log(&self, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
        let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        if served.is_multiple_of(REQUESTS_PER_LOG_LINE) {
            let slowest_ms = self.slowest_ms.swap(0, Ordering::Relaxed);
            println!(
                "INFO served {served} requests, slowest of the last {REQUESTS_PER_LOG_LINE} took {slowest_ms} ms"
            );
        }
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
