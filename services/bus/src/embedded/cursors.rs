//! Reading several partitions side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::segment::Chunk;
use super::{Embedded, Read, Topic};
use crate::{BusError, Record};

/// One partition and where to read on.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) topic: Arc<Topic>,
    pub(crate) partition: u32,
    pub(crate) next: u64,
}

/// Places in several partitions, read in turns so that a busy one does not starve the others.
#[derive(Debug)]
pub(crate) struct Cursors {
    log: Arc<Embedded>,
    list: Vec<Cursor>,
    turn: usize,
    /// Read and not yet handed out: one chunk at most.
    buffer: VecDeque<Record>,
    /// A read from disk under way. Kept here so that dropping the future that waits for it loses nothing.
    pending: Option<(usize, JoinHandle<Result<Chunk, BusError>>)>,
}

impl Cursors {
    pub(crate) fn new(log: Arc<Embedded>, list: Vec<Cursor>) -> Self {
        Self {
            log,
            list,
            turn: 0,
            buffer: VecDeque::new(),
            pending: None,
        }
    }

    /// The next record, or `None` when every partition is at its end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, BusError> {
        loop {
            if let Some(record) = self.buffer.pop_front() {
                return Ok(Some(record));
            }
            if let Some((index, handle)) = self.pending.as_mut() {
                let index = *index;
                let read = handle.await;
                self.pending = None;
                // The task is never aborted, so it ends early only by the runtime's end.
                let chunk = read.map_err(|_| BusError::Closed)??;
                self.take(index, chunk);
                continue;
            }
            if !self.start_read()? {
                return Ok(None);
            }
        }
    }

    /// Whether all partitions have been read, and handed out, up to these ends.
    pub(crate) fn reached(&self, ends: &[u64]) -> bool {
        self.buffer.is_empty()
            && self.pending.is_none()
            && self
                .list
                .iter()
                .zip(ends)
                .all(|(cursor, end)| cursor.next >= *end)
    }

    /// Reads the next partition that has something. False when none has.
    fn start_read(&mut self) -> Result<bool, BusError> {
        for _ in 0..self.list.len() {
            let index = self.turn;
            self.turn = (self.turn + 1) % self.list.len();
            let cursor = &self.list[index];
            if cursor.next >= cursor.topic.end(cursor.partition)? {
                continue;
            }
            match self
                .log
                .read(&cursor.topic, cursor.partition, cursor.next)?
            {
                Read::Memory(chunk) => self.take(index, chunk),
                Read::Disk(handle) => self.pending = Some((index, handle)),
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn take(&mut self, index: usize, chunk: Chunk) {
        self.list[index].next = chunk.next;
        self.buffer.extend(chunk.records);
    }
}
