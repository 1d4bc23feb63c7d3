//! How much may be done, all kinds of action together. Counted from the journal's plans, so every leader counts the same.

use std::collections::BTreeSet;
use std::time::Duration;

use units::{NodeId, Phase, PlanEntry, ServiceId, Step, Timestamp};

use crate::config;
use crate::plans::Plans;

const HOUR: Duration = Duration::from_secs(3_600);
/// Room for one more plan at once comes when one ends; it is looked for this often.
const RECHECK: Duration = Duration::from_secs(1);

/// Nothing may be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// Which budget, in words with its numbers.
    pub(crate) why: String,
    /// When to look again.
    pub(crate) until: Timestamp,
}

/// Steps left of the hour for a service, and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) service: u32,
    pub(crate) global: u32,
}

fn steps_since<'a>(
    entries: impl Iterator<Item = &'a PlanEntry>,
    since: Timestamp,
) -> (u32, Timestamp) {
    let mut steps = 0_u32;
    let mut oldest = Timestamp::from_millis(i64::MAX);
    for entry in entries {
        if entry.phase != Phase::Suggested && entry.plan.created_at > since {
            steps = steps.saturating_add(u32::try_from(entry.plan.steps.len()).unwrap_or(u32::MAX));
            oldest = oldest.min(entry.plan.created_at);
        }
    }
    (steps, oldest)
}

/// What is left of the hour.
pub(crate) fn left(
    plans: &Plans,
    config: &config::Budget,
    service: &ServiceId,
    now: Timestamp,
) -> Left {
    let (of_service, _) = steps_since(plans.of_service(service), now - HOUR);
    Left {
        service: config.service_hourly.saturating_sub(of_service),
        global: global_left(plans, config, now),
    }
}

/// What is left of the hour for all services together.
pub(crate) fn global_left(plans: &Plans, config: &config::Budget, now: Timestamp) -> u32 {
    let (global, _) = steps_since(plans.all(), now - HOUR);
    config.global_hourly.saturating_sub(global)
}

/// Whether these steps may be taken now.
pub(crate) fn admit(
    plans: &Plans,
    config: &config::Budget,
    service: &ServiceId,
    steps: &[Step],
    now: Timestamp,
) -> Result<(), Exhausted> {
    let wanted = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let (of_service, oldest) = steps_since(plans.of_service(service), now - HOUR);
    if of_service.saturating_add(wanted) > config.service_hourly {
        let why = format!(
            "the budget of {service} is spent: {of_service} of {} steps in the last hour",
            config.service_hourly
        );
        return Err(Exhausted {
            why,
            until: again(oldest, now),
        });
    }
    let (global, oldest) = steps_since(plans.all(), now - HOUR);
    if global.saturating_add(wanted) > config.global_hourly {
        let why = format!(
            "the budget of all services is spent: {global} of {} steps in the last hour",
            config.global_hourly
        );
        return Err(Exhausted {
            why,
            until: again(oldest, now),
        });
    }
    concurrent(plans, config, steps, now)
}

fn again(oldest: Timestamp, now: Timestamp) -> Timestamp {
    (oldest + HOUR).min(now + HOUR).max(now + RECHECK)
}

fn concurrent(
    plans: &Plans,
    config: &config::Budget,
    steps: &[Step],
    now: Timestamp,
) -> Result<(), Exhausted> {
    let out: Vec<&PlanEntry> = plans
        .active()
        .filter(|entry| entry.phase == Phase::Decided)
        .collect();
    let until = now + RECHECK;
    if out.len() >= config.global_concurrent as usize {
        let why = format!(
            "{} plans are being carried out, the most at once",
            out.len()
        );
        return Err(Exhausted { why, until });
    }
    let nodes: BTreeSet<&NodeId> = steps.iter().map(|step| &step.node).collect();
    for node in nodes {
        let on_node = out
            .iter()
            .filter(|entry| entry.plan.steps.iter().any(|step| step.node == *node))
            .count();
        if on_node >= config.node_concurrent as usize {
            let why = format!(
                "{on_node} plans are being carried out on node {node}, the most at once there"
            );
            return Err(Exhausted { why, until });
        }
    }
    Ok(())
}
