//! The least that no backlog at all costs, for one who knows the future.

use super::Arrivals;

/// Replica-seconds from a second on: the k-th replica must be ready whenever k are needed. A gap of up to a start-up time is
/// bridged; in a longer one it is stopped and ordered again a start-up time ahead.
pub(super) fn replica_seconds(arrivals: &Arrivals, startup_s: u32, from: usize) -> u64 {
    let startup_s = u64::from(startup_s);
    let counted = &arrivals.per_second()[from..];
    // Of each replica but those always there, the last second it was needed in.
    let mut needed: Vec<Option<u64>> = Vec::new();
    let mut sum = u64::from(super::REPLICAS_MIN) * counted.len() as u64;
    for (second, &requests) in (0_u64..).zip(counted) {
        let more = (arrivals.need(requests) - super::REPLICAS_MIN) as usize;
        if needed.len() < more {
            needed.resize(more, None);
        }
        for last in &mut needed[..more] {
            let since = last.map(|last| second - last);
            sum += since
                .filter(|since| *since <= startup_s + 1)
                .unwrap_or(startup_s + 1);
            *last = Some(second);
        }
    }
    sum
}
