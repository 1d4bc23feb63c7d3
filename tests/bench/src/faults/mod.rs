//! Faults on a live engine, one after the other: is each found, when, by which signal, and is the right one held for its cause?
//! And, by itself, ordinary life: how many signals it gives rise to.
//!
//! Homeostat only observes. What is told is the time until the console shows the signal, so it holds all of the way there.

mod ordinary;
mod table;
mod watch;

use std::time::{Duration, Instant};

use e2e::faults::cause::first_cause;
use e2e::faults::stack::SERVICES;
use e2e::faults::{Fault, FaultStack};
use e2e::homeostat::Homeostat;
use incidents::Cause;
use units::Signal;

pub(crate) use self::ordinary::run as ordinary;
use self::watch::Watch;

const STACK: &str = "bench-faults";
/// Seconds of samples before the first fault.
const WARM_TICKS: f64 = 240.0;
const WARM_WITHIN: Duration = Duration::from_secs(900);
/// Without a signal for so long, the next fault may come; a signal that does not end is left open.
const CALM_TICKS: f64 = 15.0;
const CALM_WITHIN: Duration = Duration::from_secs(60);
/// A fault that is not found by then is missed.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
/// A fault lasts on for so long after it was found, so that what it does to others is seen too.
const LASTS_ON: Duration = Duration::from_secs(20);
/// After its end, its signals have so long to resolve.
const RESOLVED_WITHIN: Duration = Duration::from_secs(150);

/// What became of a fault.
struct Row {
    fault: Fault,
    /// The signal that found it, and when.
    found: Option<(Signal, Duration)>,
    /// The first-ranked cause, where one was named.
    cause: Option<Cause>,
    cause_right: bool,
    /// From its end until none of its signals was open.
    resolved: Option<Duration>,
    /// Signals that neither the fault nor what depends on it accounts for.
    others: Vec<Signal>,
    note: Option<&'static str>,
}

/// Runs these faults.
pub(crate) async fn run(faults: &[Fault]) {
    let dir = tempfile::tempdir().unwrap();
    let stack = FaultStack::up(STACK, &SERVICES).await;
    let homeostat = Homeostat::start(&["up", "--mode", "observe"], dir.path(), &[]);
    warm(&homeostat).await;
    let mut watch = Watch::new(&homeostat, &stack);
    watch.look().await;
    eprintln!("bench: warm, after {} signals", watch.all().len());
    let (mut rows, mut between) = (Vec::new(), Vec::new());
    for fault in faults {
        let known = watch.all().len();
        watch.calm(CALM_TICKS, CALM_WITHIN).await;
        let new = watch.all()[known..].iter();
        between.extend(new.map(|seen| seen.signal.clone()));
        rows.push(one(*fault, &stack, &mut watch).await);
        eprintln!("bench: {}", table::line(rows.last().unwrap()));
    }
    table::print(&rows, &between);
}

/// Waits for enough history.
async fn warm(homeostat: &Homeostat) {
    homeostat.ready().await;
    e2e::wait::until("enough samples", WARM_WITHIN, || async {
        (watch::ticks(homeostat).await? >= WARM_TICKS).then_some(())
    })
    .await;
}

async fn one(fault: Fault, stack: &FaultStack, watch: &mut Watch<'_>) -> Row {
    watch.look().await;
    let known = watch.all().len();
    let began = Instant::now();
    let injected = fault.inject(stack).await;
    let note = injected.way();
    let mut found: Option<(Signal, Duration)> = None;
    loop {
        watch.look().await;
        let new = &watch.all()[known..];
        if found.is_none() {
            let signal = new
                .iter()
                .map(|seen| &seen.signal)
                .find(|signal| fault.is_found_by(signal, stack));
            found = signal.map(|signal| (signal.clone(), began.elapsed()));
        }
        let until = found
            .as_ref()
            .map_or(FOUND_WITHIN, |(_, after)| *after + LASTS_ON);
        if began.elapsed() >= until {
            break;
        }
        watch.rest().await;
    }
    let cause = match &found {
        Some((signal, _)) => first_cause(watch.homeostat(), signal).await,
        None => None,
    };
    injected.remove().await;
    let resolved = resolved(watch, known).await;
    let others = watch.all()[known..]
        .iter()
        .map(|seen| seen.signal.clone())
        .filter(|signal| !fault.accounts_for(&signal.subject))
        .collect();
    Row {
        fault,
        found,
        cause_right: cause
            .as_ref()
            .is_some_and(|cause| fault.is_cause(&cause.subject, stack)),
        cause,
        resolved,
        others,
        note,
    }
}

/// How long it takes until no signal opened since is open; `None` when it takes too long.
async fn resolved(watch: &mut Watch<'_>, known: usize) -> Option<Duration> {
    let ended = Instant::now();
    while ended.elapsed() < RESOLVED_WITHIN {
        watch.look().await;
        if watch.all()[known..].iter().all(|seen| !seen.is_open()) {
            return Some(ended.elapsed());
        }
        watch.rest().await;
    }
    None
}
