//! Writing what was decided, in order, one record at a time: a plan's entry is acknowledged before its commands go out.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bus::{BusError, NewRecord, Position};
use control::Effect;
use kit::Context;
use kit::backoff::{Backoff, seed_of};
use kit::health::Dependency;
use units::JournalEntry;
use wire::{Meta, topic};

use crate::events::{CommandSent, Journaled, Meters, WriteFailed};

/// Effects waiting to be written. At this many the leader takes in nothing more until the log takes some.
pub(crate) const QUEUE_MAX: usize = 1_024;
pub(crate) const RETRY_BASE: Duration = Duration::from_millis(100);
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(5);

type Write = Pin<Box<dyn Future<Output = Result<Position, BusError>> + Send>>;

/// The queue of one leadership. Dropping it leaves unwritten what is unwritten.
pub(crate) struct Writer {
    context: Context,
    meta: Meta,
    meters: Meters,
    log: Dependency,
    queue: VecDeque<Effect>,
    write: Option<Write>,
    waits: Backoff,
    /// The last write failed; the next waits first.
    failing: bool,
}

impl Writer {
    pub(crate) fn new(context: Context, meters: Meters) -> Self {
        let seed = seed_of(&context.producer);
        Writer {
            meta: Meta::new(context.producer.clone()),
            log: context.health.dependency(kit::boot::LOG),
            context,
            meters,
            queue: VecDeque::new(),
            write: None,
            waits: Backoff::new(RETRY_BASE, RETRY_CAP, seed),
            failing: false,
        }
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.queue.push_back(effect);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_MAX
    }

    /// Writes the first effect in the queue; waits for ever when there is none. Cancel-safe: a call that is dropped goes on with the next.
    pub(crate) async fn step(&mut self) {
        let Some(effect) = self.queue.front() else {
            return std::future::pending().await;
        };
        let write = match &mut self.write {
            Some(write) => write,
            None => {
                let record = encode(effect, &self.meta);
                let bus = self.context.bus.clone();
                let wait = if self.failing {
                    self.waits.next()
                } else {
                    None
                };
                self.write.insert(Box::pin(async move {
                    if let Some(wait) = wait {
                        tokio::time::sleep(wait).await;
                    }
                    bus.produce(record).await
                }))
            }
        };
        let result = write.await;
        self.write = None;
        match result {
            Ok(_) => self.written(),
            Err(error) => {
                WriteFailed {
                    topic: topic_of(effect),
                    error: &error,
                    queued: self.queue.len(),
                }
                .emit(&self.meters);
                self.log.down(kit::boot::chain(&error));
                self.failing = true;
            }
        }
    }

    fn written(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.waits.reset();
            self.log.up();
        }
        match self.queue.pop_front() {
            Some(Effect::Journal(entry)) => Journaled { entry: &entry }.emit(&self.meters),
            Some(Effect::Command(command)) => CommandSent { command: &command }.emit(&self.meters),
            None => {}
        }
    }
}

fn topic_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Journal(_) => topic::JOURNAL,
        Effect::Command(_) => topic::COMMANDS,
    }
}

fn encode(effect: &Effect, meta: &Meta) -> NewRecord {
    match effect {
        Effect::Journal(entry) => {
            let traceparent = match &**entry {
                JournalEntry::Plan(entry) => entry.plan.traceparent.clone(),
                JournalEntry::Breaker(_)
                | JournalEntry::Approval(_)
                | JournalEntry::Update(_)
                | JournalEntry::Node(_) => None,
            };
            wire::encode(&**entry, &meta.within(traceparent))
        }
        Effect::Command(command) => {
            wire::encode(&**command, &meta.within(command.traceparent.clone()))
        }
    }
}
