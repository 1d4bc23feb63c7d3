//! Telling actuators how far they may heal by themselves, should they be cut off.

use bus::NewRecord;
use kit::Context;
use kit::backoff::{Backoff, seed_of};
use tokio::task::JoinSet;
use units::{Generation, StandingPolicy};
use wire::Meta;

use crate::events::PolicyUntold;
use crate::writer::{RETRY_BASE, RETRY_CAP};

/// What the leader of this generation goes by.
pub(crate) fn policy(config: &control::Config, generation: Generation) -> StandingPolicy {
    StandingPolicy {
        generation,
        at: kit::now(),
        max_mode: config.max_mode,
        grace: config.heal.grace,
        backoff: config.heal.backoff,
        hourly: config.heal.hourly,
        service_hourly: config.budget.service_hourly,
    }
}

/// Tells it once, beside the leadership and no longer than that: where the log does not take it, again and again.
pub(crate) fn tell(tasks: &mut JoinSet<()>, context: &Context, policy: &StandingPolicy) {
    let record = wire::encode(policy, &Meta::new(context.producer.clone()));
    tasks.spawn(told(context.clone(), record));
}

async fn told(context: Context, record: NewRecord) {
    let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(&context.producer));
    while let Err(error) = context.bus.produce(record.clone()).await {
        PolicyUntold { error: &error }.emit();
        tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
    }
}
