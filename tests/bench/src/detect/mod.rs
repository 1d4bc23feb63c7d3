//! How fast the models are that read the stream. Processor time of the measuring thread, so that neighbours do not count.

mod logs;
mod points;

use std::time::Duration;

use crate::process::thread_time;

/// Each measurement runs for so much processor time.
const MEASURE: Duration = Duration::from_secs(5);

pub(crate) fn run() {
    println!(
        "\n  {:<40} {:>10} {:>10}",
        "on one core", "measured", "to reach"
    );
    points::run();
    logs::run();
}

/// How often `round` ran in a second of processor time. Once more before, unmeasured.
fn per_second(mut round: impl FnMut()) -> f64 {
    round();
    let begun = thread_time();
    let mut rounds = 0_u32;
    loop {
        round();
        rounds += 1;
        let taken = thread_time().saturating_sub(begun);
        if taken >= MEASURE {
            return f64::from(rounds) / taken.as_secs_f64();
        }
    }
}
