//! One record to the log, however long it takes.

use std::time::Duration;

use bus::{Bus, BusError, NewRecord};
use kit::backoff::{Backoff, seed_of};

use crate::events::{Delivered, DeliveryFailed, Instruments, Refused};

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(5);

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the log.
    Delivered,
    /// It can never be: given up and said.
    Refused,
}

/// Appends the record, trying again for as long as the log is away. `rows` says what would be lost with it.
pub(crate) async fn deliver(
    bus: &Bus,
    record: NewRecord,
    rows: u64,
    instruments: &Instruments,
) -> Fate {
    let topic = record.topic.clone();
    let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(&topic));
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match bus.produce(record.clone()).await {
            Ok(_) => {
                Delivered { topic: &topic }.emit(instruments);
                return Fate::Delivered;
            }
            Err(error) => error,
        };
        if never(&error) {
            Refused {
                topic: &topic,
                rows,
                problem: &error,
            }
            .emit(instruments);
            return Fate::Refused;
        }
        DeliveryFailed {
            topic: &topic,
            error: &error,
            attempts,
        }
        .emit(instruments);
        tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
    }
}

/// Whether trying again is of no use.
fn never(error: &BusError) -> bool {
    matches!(
        error,
        BusError::TooLarge { .. } | BusError::UnknownPartition { .. } | BusError::Closed
    )
}
