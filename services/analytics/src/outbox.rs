//! What is to be written, in order, until the log has it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, NewRecord};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kit::backoff::{Backoff, seed_of};

use crate::events::{Meters, RecordRefused, RecordWritten, WriteFailed};

/// Records that wait or are under way. At this many nothing more is read, so that nothing more is added.
pub(crate) const QUEUE_MAX: usize = 2_048;
/// Records under way at a time.
const FLIGHT_MAX: usize = 64;
/// First and longest wait before a failed write is tried again; tries go on until shutdown.
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(5);

type Flight = BoxFuture<'static, Vec<(NewRecord, Result<(), BusError>)>>;

/// Records of one key are written one after the other, others overlap.
pub(crate) struct Outbox {
    bus: Bus,
    meters: Meters,
    queue: VecDeque<NewRecord>,
    flight: Option<Flight>,
    waits: Backoff,
}

impl Outbox {
    pub(crate) fn new(bus: Bus, meters: Meters, producer: &str) -> Self {
        Outbox {
            bus,
            meters,
            queue: VecDeque::new(),
            flight: None,
            waits: Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(producer)),
        }
    }

    pub(crate) fn push(&mut self, record: NewRecord) {
        self.queue.push_back(record);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.flight.is_none()
    }

    /// Gets one flight of records into the log. Cancel-safe: what is under way stays under way.
    ///
    /// # Errors
    /// When the log was closed. Any other failure is tried again after a while, except for a record that can never be taken,
    /// which is counted and dropped.
    pub(crate) async fn drive(&mut self) -> Result<(), BusError> {
        let flight = match &mut self.flight {
            Some(flight) => flight,
            None => {
                let flight = self.start();
                self.flight.insert(flight)
            }
        };
        let results = flight.await;
        self.flight = None;
        let mut again = Vec::new();
        for (record, result) in results {
            match result {
                Ok(()) => RecordWritten {
                    topic: &record.topic,
                }
                .emit(&self.meters),
                Err(error @ BusError::Closed) => return Err(error),
                Err(error @ BusError::TooLarge { .. }) => {
                    RecordRefused {
                        topic: &record.topic,
                        error: &error,
                    }
                    .emit(&self.meters);
                }
                Err(error) => {
                    WriteFailed {
                        topic: &record.topic,
                        error: &error,
                    }
                    .emit(&self.meters);
                    again.push(record);
                }
            }
        }
        if again.is_empty() {
            self.waits.reset();
            return Ok(());
        }
        for record in again.into_iter().rev() {
            self.queue.push_front(record);
        }
        // The wait is a flight of its own, so that dropping this call does not cut it short.
        let wait = self.waits.next().unwrap_or(RETRY_CAP);
        self.flight = Some(tokio::time::sleep(wait).map(|()| Vec::new()).boxed());
        Ok(())
    }

    /// Waits until the log has everything.
    pub(crate) async fn flush(&mut self) -> Result<(), BusError> {
        while !self.is_empty() {
            self.drive().await?;
        }
        Ok(())
    }

    /// The next records of which no two have the same key.
    fn start(&mut self) -> Flight {
        let mut keys: HashSet<(Arc<str>, Bytes)> = HashSet::new();
        let mut writes = Vec::new();
        while writes.len() < FLIGHT_MAX {
            let Some(next) = self.queue.front() else {
                break;
            };
            if !keys.insert((Arc::clone(&next.topic), next.key.clone())) {
                break;
            }
            let Some(record) = self.queue.pop_front() else {
                break;
            };
            let bus = self.bus.clone();
            writes.push(async move {
                let result = bus.produce(record.clone()).await.map(|_| ());
                (record, result)
            });
        }
        join_all(writes).boxed()
    }
}
