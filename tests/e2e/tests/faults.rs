//! Faults put into a stack on a live engine are found, with the right one named, and the signals end when the faults do. Homeostat
//! only observes, so nothing but the test mends anything. `bench faults` has more faults, and measures.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::faults::{Fault, FaultStack};
use e2e::homeostat::Homeostat;
use e2e::wait::until;
use units::{PlanEntry, Signal, SignalId, SignalPhase};

const STACK: &str = "e2e-faults";
/// A busy machine takes its time; how fast it is on a quiet one is measured elsewhere.
const FOUND: Duration = Duration::from_secs(150);
const RESOLVED: Duration = Duration::from_secs(300);
/// Seconds of samples after which every series may be judged, and to spare.
const LEARNT_TICKS: f64 = 100.0;
const LEARNT: Duration = Duration::from_secs(300);
const FAULTS: [Fault; 4] = [
    Fault::CpuHog,
    Fault::Throttling,
    Fault::ErrorLogs,
    Fault::CrashLoop,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_found_where_they_are_and_end_with_their_cause() {
    let dir = tempfile::tempdir().unwrap();
    let services: Vec<&str> = FAULTS.iter().map(|fault| fault.service()).collect();
    let stack = FaultStack::up(STACK, &services).await;
    let homeostat = Homeostat::start(&["up", "--mode", "observe"], dir.path(), &[]);
    homeostat.ready().await;
    until("what is usual is learnt", LEARNT, || async {
        let ticks = homeostat.metric("homeostat_tick_duration_seconds_count");
        (ticks.await? >= LEARNT_TICKS).then_some(())
    })
    .await;
    for fault in FAULTS {
        let before: Vec<SignalId> = signals(&homeostat)
            .await
            .into_iter()
            .map(|signal| signal.id)
            .collect();
        let injected = fault.inject(&stack).await;
        let found = until(&format!("{fault:?} is found"), FOUND, || async {
            let signals = signals(&homeostat).await;
            signals
                .into_iter()
                .find(|signal| !before.contains(&signal.id) && fault.is_found_by(signal, &stack))
        })
        .await;
        println!("{fault:?}: {}", found.reason);
        injected.remove().await;
        until(&format!("{fault:?} is over"), RESOLVED, || async {
            let signals = signals(&homeostat).await;
            signals
                .iter()
                .any(|signal| signal.id == found.id && signal.phase == SignalPhase::Resolve)
                .then_some(())
        })
        .await;
    }
    let actions: Vec<PlanEntry> = homeostat.ask("actions").await.unwrap();
    assert!(actions.is_empty(), "{actions:?}");
}

/// Those told so far; none while the console does not answer.
async fn signals(homeostat: &Homeostat) -> Vec<Signal> {
    homeostat.ask("signals?all=true").await.unwrap_or_default()
}
