//! The common-cause breaker: many services sick at once, or most nodes silent, have one cause that no restart cures.
//! Acting stops, a person is told, and only what already runs is finished.

use std::time::Duration;

use units::{BreakerEntry, Generation, ServiceId, Timestamp};

use crate::state::State;

/// What has been sick for longer than this, while nothing more became so, is no longer taken for something that happens to all at once:
/// otherwise services that only a restart would heal would keep each other from it for ever.
const STANDS_AFTER: Duration = Duration::from_secs(600);

/// Open or closed, as the journal last said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    at: Timestamp,
    open_until: Option<Timestamp>,
}

impl Breaker {
    /// Takes a journal entry unless a newer one is known.
    pub(crate) fn apply(&mut self, entry: &BreakerEntry) {
        if entry.at >= self.at {
            self.at = entry.at;
            self.open_until = entry.open_until;
        }
    }

    /// Acting is stopped. It stays so until the journal says otherwise, also past `open_until`: a leader closes it.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    pub(crate) fn open_until(&self) -> Option<Timestamp> {
        self.open_until
    }
}

struct Sickness {
    services: Vec<ServiceId>,
    threshold: usize,
    reason: Option<String>,
}

/// The change to be journaled, when there is one. `leading_since` gives nodes time to be heard after a start.
pub(crate) fn change(
    state: &State,
    generation: Generation,
    leading_since: Timestamp,
    now: Timestamp,
) -> Option<BreakerEntry> {
    let config = &state.config.breaker;
    let entry = |open_until, reason, services| {
        Some(BreakerEntry {
            at: now,
            generation,
            open_until,
            reason,
            services,
        })
    };
    match state.breaker.open_until {
        None => {
            let sick = sickness(state, now - config.window, leading_since, now);
            let reason = sick.reason?;
            let reason = format!(
                "{reason}; nothing is restarted or scaled for {} s",
                config.hold.as_secs()
            );
            entry(Some(now + config.hold), reason, sick.services)
        }
        Some(until) if now < until => None,
        Some(_) => {
            // It is not calm while more becomes sick, or did a short while ago.
            let sick = sickness(state, now - STANDS_AFTER, leading_since, now);
            match sick.reason {
                Some(reason) => {
                    let reason = format!(
                        "{reason} still; nothing is restarted or scaled for {} s more",
                        config.hold.as_secs()
                    );
                    entry(Some(now + config.hold), reason, sick.services)
                }
                None => {
                    let standing = state.signals.critical_services(Timestamp::EPOCH).len();
                    let reason = match standing.checked_sub(sick.threshold) {
                        None => format!(
                            "it is calm again: {standing} services have critical signals, fewer than {}",
                            sick.threshold
                        ),
                        Some(_) => format!(
                            "no more became sick for {} s: the {standing} services that still are are looked at one by one",
                            STANDS_AFTER.as_secs()
                        ),
                    };
                    entry(None, reason, sick.services)
                }
            }
        }
    }
}

fn sickness(state: &State, since: Timestamp, leading_since: Timestamp, now: Timestamp) -> Sickness {
    let config = &state.config.breaker;
    let known = state.fleet.service_count();
    let share = (known as f64 * config.share).ceil() as usize;
    let threshold = share.max(config.services_min as usize);
    let services: Vec<ServiceId> = state
        .signals
        .critical_services(since)
        .into_iter()
        .cloned()
        .collect();
    let silence = state
        .fleet
        .silence(now, state.config.telemetry_stale, config.node_forgotten);
    let heard_long_enough = leading_since + state.config.telemetry_stale <= now;
    let reason = if services.len() >= threshold {
        Some(format!(
            "{} of {known} services have critical signals at once, which has one cause more likely than many",
            services.len()
        ))
    } else if heard_long_enough && silence.silent * 2 > silence.known {
        Some(format!(
            "{} of {} nodes have said nothing for {} s: look at their collectors, their clocks and the log",
            silence.silent,
            silence.known,
            state.config.telemetry_stale.as_secs()
        ))
    } else {
        None
    };
    Sickness {
        services,
        threshold,
        reason,
    }
}
