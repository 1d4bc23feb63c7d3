//! The one thread that writes. It gathers what is queued, of all topics, into one durable transaction and then answers:
//! a thousand waiting appends cost one fsync.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Store;
use super::batch::{Batch, States, Swept};
use super::tables::StoredTopic;
use crate::embedded::{Topic, Topics};
use crate::{BusError, NewRecord, Position, Record};

/// A transaction is closed once it holds this much, however long it has waited.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// A transaction is closed once it holds this many operations.
const BATCH_OPS: usize = 4_096;
/// How often retention is applied where nothing else asks for it.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often a store that failed is opened again while nobody writes.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Why a write failed, told to everyone whose write was part of it.
pub(super) type WriteError = Arc<dyn Error + Send + Sync>;

/// Something to be made durable.
pub(super) enum Op {
    Append {
        topic: Arc<Topic>,
        partition: u32,
        record: NewRecord,
        /// Room in the queue, given back when the operation is done.
        room: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Position, BusError>>,
    },
    Commit {
        group: String,
        /// Topic number, partition, offset.
        offsets: Vec<(u32, u32, u64)>,
        room: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<(), BusError>>,
    },
    PutTopics {
        topics: Vec<StoredTopic>,
        reply: oneshot::Sender<Result<(), BusError>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// Someone to be told how it went.
enum Waiting {
    Append {
        topic: Arc<Topic>,
        record: Record,
        reply: oneshot::Sender<Result<Position, BusError>>,
    },
    Done(oneshot::Sender<Result<(), BusError>>),
    /// Could not even be put into the transaction.
    Appending(oneshot::Sender<Result<Position, BusError>>),
}

/// Why the writer stopped gathering.
enum Gathered {
    Ops(Vec<Op>),
    /// Nothing came for a while.
    Idle,
    /// These are the last ones.
    Last(Vec<Op>, Option<oneshot::Sender<()>>),
}

pub(super) struct Writer {
    pub(super) ops: Receiver<Op>,
    pub(super) store: Arc<Store>,
    pub(super) topics: Arc<Topics>,
    pub(super) states: States,
    pub(super) linger: Duration,
}

impl Writer {
    /// Runs until it is closed or every handle on the log is gone.
    pub(super) fn run(mut self) {
        let mut sweep_at = Instant::now();
        loop {
            let idle_until = if self.store.is_open() {
                sweep_at
            } else {
                Instant::now() + REOPEN_EVERY
            };
            let (ops, last) = match self.gather(idle_until) {
                Gathered::Ops(ops) => (ops, None),
                Gathered::Idle => (Vec::new(), None),
                Gathered::Last(ops, reply) => (ops, Some(reply)),
            };
            let sweep_due = last.is_none() && Instant::now() >= sweep_at;
            match self.write(ops, sweep_due) {
                Swept::Everything if sweep_due => sweep_at = Instant::now() + SWEEP_EVERY,
                Swept::Everything => {}
                Swept::MoreToDo => sweep_at = Instant::now(),
            }
            if let Some(reply) = last {
                self.store.close();
                if let Some(reply) = reply {
                    // Nobody may wait any more; the store is closed all the same.
                    let _gone = reply.send(());
                }
                return;
            }
        }
    }

    /// Waits for an operation, then a little longer for others to share its transaction.
    fn gather(&self, idle_until: Instant) -> Gathered {
        let wait = idle_until.saturating_duration_since(Instant::now());
        let first = match self.ops.recv_timeout(wait) {
            Ok(op) => op,
            Err(RecvTimeoutError::Timeout) => return Gathered::Idle,
            Err(RecvTimeoutError::Disconnected) => return Gathered::Last(Vec::new(), None),
        };
        let linger_until = Instant::now() + self.linger;
        let mut ops = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(op) = next {
            if let Op::Close { reply } = op {
                return Gathered::Last(ops, Some(reply));
            }
            bytes += op.bytes();
            ops.push(op);
            if bytes >= BATCH_BYTES || ops.len() >= BATCH_OPS {
                break;
            }
            let wait = linger_until.saturating_duration_since(Instant::now());
            // With the handles gone, the next round finds the queue at its end.
            next = self.ops.recv_timeout(wait).ok();
        }
        Gathered::Ops(ops)
    }

    /// Writes one transaction and answers everyone in it.
    fn write(&mut self, ops: Vec<Op>, sweep_due: bool) -> Swept {
        let was_open = self.store.is_open();
        let asked = !ops.is_empty();
        let mut waiting = Vec::with_capacity(ops.len());
        let mut room = Vec::with_capacity(ops.len());
        // A damaged page makes the store panic. That is this write's failure, not the end of the thread.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.transact(ops, sweep_due, &mut waiting, &mut room)
        }));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(Arc::from(Box::<dyn Error + Send + Sync>::from(
                "the store panicked; its file may be damaged",
            ))),
        };
        match outcome {
            Ok((changed, swept)) => {
                self.states.extend(changed);
                // Opening the file again is no proof that it can be written to.
                if asked {
                    self.store.set_failure(None);
                }
                answer(waiting);
                swept
            }
            Err(error) => {
                if was_open {
                    tracing::error!(dir = %self.store.dir.display(), error = %error, "cannot write to the local log");
                }
                self.store.set_failure(Some(Arc::clone(&error)));
                self.store.shut();
                refuse(waiting, &self.store, &error);
                // What was to be swept still is, once the store is open again.
                Swept::Everything
            }
        }
    }

    fn transact(
        &mut self,
        ops: Vec<Op>,
        sweep_due: bool,
        waiting: &mut Vec<Waiting>,
        room: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(States, Swept), WriteError> {
        let database = match self.store.open_again() {
            Ok((database, None)) => database,
            // The failed transaction may have become durable all the same: what the file says holds.
            Ok((database, Some(states))) => {
                self.states = states;
                database
            }
            Err(error) => {
                waiting.extend(ops.into_iter().filter_map(Op::into_waiting));
                return Err(error);
            }
        };
        let mut failure = None;
        let mut begun = Batch::begin(&database, &self.states).map_err(share);
        for op in ops {
            let result = match (&mut begun, &failure) {
                (Ok(batch), None) => put(batch, op, waiting, room),
                _ => {
                    waiting.extend(op.into_waiting());
                    Ok(())
                }
            };
            failure = failure.or(result.err());
        }
        if let Some(error) = failure {
            return Err(share(error));
        }
        let mut batch = begun?;
        let mut swept = Swept::Everything;
        if sweep_due {
            swept = batch.sweep(&self.topics.all()).map_err(share)?;
        }
        let changed = batch.commit().map_err(share)?;
        Ok((changed, swept))
    }
}

/// Puts an operation into the transaction, and who waits for it on the list.
fn put(
    batch: &mut Batch<'_>,
    op: Op,
    waiting: &mut Vec<Waiting>,
    room: &mut Vec<OwnedSemaphorePermit>,
) -> Result<(), redb::Error> {
    match op {
        Op::Append {
            topic,
            partition,
            record,
            room: permit,
            reply,
        } => {
            room.push(permit);
            match batch.append(&topic, partition, record) {
                Ok(record) => waiting.push(Waiting::Append {
                    topic,
                    record,
                    reply,
                }),
                Err(error) => {
                    waiting.push(Waiting::Appending(reply));
                    return Err(error);
                }
            }
        }
        Op::Commit {
            group,
            offsets,
            room: permit,
            reply,
        } => {
            room.push(permit);
            waiting.push(Waiting::Done(reply));
            for (topic, partition, offset) in offsets {
                batch.put_offset(&group, topic, partition, offset)?;
            }
        }
        Op::PutTopics { topics, reply } => {
            waiting.push(Waiting::Done(reply));
            for topic in &topics {
                batch.put_topic(topic)?;
            }
        }
        // Closing ends the gathering and never gets here.
        Op::Close { reply } => drop(reply),
    }
    Ok(())
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { record, .. } => record.size_bytes(),
            Self::Commit { .. } | Self::PutTopics { .. } | Self::Close { .. } => 0,
        }
    }

    fn into_waiting(self) -> Option<Waiting> {
        match self {
            Self::Append { reply, .. } => Some(Waiting::Appending(reply)),
            Self::Commit { reply, .. } | Self::PutTopics { reply, .. } => {
                Some(Waiting::Done(reply))
            }
            Self::Close { .. } => None,
        }
    }
}

/// Shows what is durable now to readers, then to those who wrote it.
fn answer(waiting: Vec<Waiting>) {
    let mut woken: Vec<Arc<Topic>> = Vec::new();
    let mut replies = Vec::with_capacity(waiting.len());
    for one in waiting {
        match one {
            Waiting::Append {
                topic,
                record,
                reply,
            } => {
                replies.push((reply, record.position.clone()));
                topic.push(record);
                if !woken.iter().any(|other| Arc::ptr_eq(other, &topic)) {
                    woken.push(topic);
                }
            }
            // Who dropped the call does not want the answer.
            Waiting::Done(reply) => drop(reply.send(Ok(()))),
            // Only a failed transaction has these, and it is refused as a whole.
            Waiting::Appending(reply) => drop(reply),
        }
    }
    for topic in woken {
        topic.wake_readers();
    }
    for (reply, position) in replies {
        drop(reply.send(Ok(position)));
    }
}

fn refuse(waiting: Vec<Waiting>, store: &Store, error: &WriteError) {
    for one in waiting {
        let error = store.write_error(error);
        match one {
            Waiting::Append { reply, .. } | Waiting::Appending(reply) => {
                drop(reply.send(Err(error)))
            }
            Waiting::Done(reply) => drop(reply.send(Err(error))),
        }
    }
}

fn share(error: redb::Error) -> WriteError {
    Arc::new(error)
}
