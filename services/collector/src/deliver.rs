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
    /// This process closed the log before it was in.
    Closed,
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
        if let BusError::Closed = error {
            return Fate::Closed;
        }
        if let BusError::TooLarge { .. } = error {
            let problem = &error;
            Refused {
                topic: &topic,
                rows,
                problem,
            }
            .emit(instruments);
            return Fate::Refused;
        }
        // Anything else is worth waiting for: brokers come back, disks get space, topics are made.
        DeliveryFailed {
            topic: &topic,
            error: &error,
            attempts,
        }
        .emit(instruments);
        tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(bytes: usize) -> NewRecord {
        NewRecord {
            topic: wire::topic::LOGS.into(),
            key: Bytes::new(),
            value: Bytes::from(vec![0; bytes]),
            headers: Vec::new(),
            partition: Some(0),
        }
    }

    fn instruments() -> Instruments {
        Instruments::new(&kit::metrics::Metrics::new("collector", "0"))
    }

    #[tokio::test]
    async fn a_topic_that_is_not_there_yet_is_waited_for() {
        let bus = Bus::memory();
        let delivery = tokio::spawn({
            let bus = bus.clone();
            async move { deliver(&bus, record(1), 1, &instruments()).await }
        });
        tokio::task::yield_now().await;
        assert!(!delivery.is_finished());
        bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
        assert_eq!(delivery.await.unwrap(), Fate::Delivered);
    }

    #[tokio::test]
    async fn what_can_never_be_is_given_up_and_a_closed_log_is_not_taken_for_that() {
        let bus = Bus::memory();
        bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
        let too_large = record(bus::MAX_RECORD_BYTES + 1);
        assert_eq!(
            deliver(&bus, too_large, 1, &instruments()).await,
            Fate::Refused
        );
        bus.close().await;
        assert_eq!(
            deliver(&bus, record(1), 1, &instruments()).await,
            Fate::Closed
        );
    }
}
