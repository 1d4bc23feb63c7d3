//! Reading a whole topic without a group.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Embedded;
use super::cursors::{Cursor, Cursors};
use crate::{BusError, From, Tailed};

/// A reader of all partitions of a topic.
#[derive(Debug)]
pub(crate) struct EmbeddedTail {
    log: Arc<Embedded>,
    cursors: Cursors,
    wake: Arc<Notify>,
    /// The ends as of opening, until they are reached.
    ends: Option<Vec<u64>>,
}

impl EmbeddedTail {
    pub(crate) async fn open(
        log: Arc<Embedded>,
        topic: &str,
        from: From,
    ) -> Result<Self, BusError> {
        log.check_open()?;
        let topic = log.topic(topic)?;
        let wake = Arc::new(Notify::new());
        topic.add_reader(&wake);
        let mut ends = Vec::new();
        let mut list = Vec::new();
        for partition in 0..topic.partition_count() {
            let end = topic.end(partition)?;
            let next = match from {
                From::Beginning => 0,
                From::End => end,
                From::Time(time_ms) => log.offset_at(&topic, partition, time_ms).await?,
            };
            ends.push(end);
            list.push(Cursor {
                topic: Arc::clone(&topic),
                partition,
                next,
            });
        }
        Ok(Self {
            cursors: Cursors::new(Arc::clone(&log), list),
            log,
            wake,
            ends: Some(ends),
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Tailed, BusError> {
        loop {
            self.log.check_open()?;
            if self
                .ends
                .as_ref()
                .is_some_and(|ends| self.cursors.reached(ends))
            {
                self.ends = None;
                return Ok(Tailed::CaughtUp);
            }
            if let Some(record) = self.cursors.next().await? {
                return Ok(Tailed::Record(record));
            }
            if self.ends.is_none() {
                self.wake.notified().await;
            }
        }
    }
}
