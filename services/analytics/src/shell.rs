//! The loop: records in, through the partitions' cores, signals and forecasts out, checkpoints and commits in between.

mod models;
mod tailed;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{BusError, Fetched, Record, Subscription, TopicPartition};
use kit::backoff::{Backoff, seed_of};
use kit::health::Dependency;
use kit::{Context, EvenClock};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument as _;
use wire::{Checkpoint, Meta, topic};

use crate::checkpoint;
use crate::core::{Core, Effect, Event};
use crate::events::{
    CheckpointUnreadable, CheckpointWritten, Counted, ForecastTold, LogTrouble, Meters, News,
    PartitionsAssigned, PartitionsRevoked, RecordPassedOver, RecordRead, RecordUnreadable, Resumed,
    SamplesHandled, SignalTold,
};
use crate::feedback::Heard;
use crate::learning::Learning;
use crate::merge::{Content, Pending, Source};
use crate::outbox::Outbox;
use crate::partition::Partition;
use crate::tails::Tails;
use crate::{Config, Error};

const GROUP: &str = "homeostat-analytics";
/// Silence is looked for, and metrics are counted, this often at most.
const TICK: Duration = Duration::from_secs(1);
/// After a pause of this length, in which this process was given no time or did not read, silence was its own and not the nodes'.
const STALL: Duration = Duration::from_secs(4);
/// The last checkpoint may take this long; without it, a little more is read again after the restart.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// First and longest wait before the log is opened again; tries go on until shutdown.
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(10);
/// Kinds of unreadable records that are said once each; further kinds are only counted.
const COMPLAINTS_MAX: usize = 64;

/// The role at work.
pub(crate) struct Shell {
    config: Config,
    context: Context,
    meta: Meta,
    meters: Meters,
    log: Dependency,
    assignment: Dependency,
    partitions: BTreeMap<u32, Partition>,
    outbox: Outbox,
    feedback: Heard,
    learning: Learning,
    /// Of the topic of samples; known once partitions are assigned.
    partition_count: u32,
    complaints: HashSet<String>,
    clock: EvenClock,
    checkpoint_at: Instant,
    /// When silence was last looked for.
    ticked_at: Instant,
}

/// How following the log ended.
enum Followed {
    ToTheEnd,
    UntilItBroke,
}

impl Shell {
    pub(crate) fn new(config: Config, context: Context) -> Self {
        let meters = Meters::new(&context.metrics);
        Shell {
            meta: Meta::new(context.producer.clone()),
            log: context.health.dependency(kit::boot::LOG),
            assignment: context.health.dependency("assignment"),
            outbox: Outbox::new(context.bus.clone(), meters.clone(), &context.producer),
            partitions: BTreeMap::new(),
            feedback: Heard::default(),
            learning: Learning::new(config.training.clone()),
            partition_count: 0,
            complaints: HashSet::new(),
            clock: EvenClock::new(),
            checkpoint_at: Instant::now() + config.checkpoint_every.get(),
            ticked_at: Instant::now(),
            config,
            context,
            meters,
        }
    }

    /// Returns after the shutdown, or when the log was closed.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let seed = seed_of(&self.context.producer);
        let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed);
        while let Some((mut subscription, mut tails)) = self.open(&mut waits).await? {
            match self
                .follow(&mut subscription, &mut tails, &mut waits)
                .await?
            {
                Followed::ToTheEnd => {
                    self.drain(&subscription).await;
                    self.learning.settle().await;
                    break;
                }
                Followed::UntilItBroke => {
                    self.partitions.clear();
                    self.forget_strangers();
                }
            }
        }
        Ok(())
    }

    /// Opens what is read, until it works or the process is to end.
    async fn open(&mut self, waits: &mut Backoff) -> Result<Option<(Subscription, Tails)>, Error> {
        let shutdown = self.context.shutdown.clone();
        loop {
            let bus = &self.context.bus;
            let opened = shutdown.run_until_cancelled(async {
                let tails = Tails::open(bus).await?;
                let subscription = bus.subscribe(GROUP, &[topic::SAMPLES, topic::LOGS]).await?;
                Ok((subscription, tails))
            });
            match opened.await {
                None => return Ok(None),
                Some(Ok(opened)) => {
                    self.log.up();
                    self.feedback = Heard::default();
                    return Ok(Some(opened));
                }
                Some(Err(error @ BusError::Closed)) => return Err(Error::Log(error)),
                Some(Err(error)) => {
                    LogTrouble {
                        doing: "read samples, logs, inventory, feedback, signals and models",
                        error: &error,
                    }
                    .emit(&self.log);
                }
            }
            let wait = waits.next().unwrap_or(RETRY_CAP);
            if shutdown
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return Ok(None);
            }
        }
    }

    async fn follow(
        &mut self,
        subscription: &mut Subscription,
        tails: &mut Tails,
        waits: &mut Backoff,
    ) -> Result<Followed, Error> {
        let shutdown = self.context.shutdown.clone();
        let mut tick = tokio::time::interval(TICK.min(self.config.checkpoint_every.get()));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.partitions.values().filter_map(Partition::due).min();
            let idle = Instant::now() + TICK;
            let has_room = self.outbox.has_room();
            let result = tokio::select! {
                () = shutdown.cancelled() => return Ok(Followed::ToTheEnd),
                written = self.outbox.drive(), if !self.outbox.is_empty() => written,
                fetched = subscription.next(), if has_room => match fetched {
                    Ok(fetched) => {
                        waits.reset();
                        self.fetched(fetched, subscription).await
                    }
                    Err(error) => Err(error),
                },
                tailed = tails.next(), if has_room => tailed.map(|tailed| self.tailed(tailed)),
                done = self.learning.finished(), if self.learning.is_busy() => {
                    self.trained(done);
                    Ok(())
                }
                () = tokio::time::sleep_until(due.unwrap_or(idle)), if due.is_some() => Ok(()),
                _ = tick.tick() => self.tick(subscription).await,
            };
            match result {
                Ok(()) => self.release(),
                Err(error @ BusError::Closed) => return Err(Error::Log(error)),
                Err(error) => {
                    LogTrouble {
                        doing: "follow the log",
                        error: &error,
                    }
                    .emit(&self.log);
                    let wait = waits.next().unwrap_or(RETRY_CAP);
                    tokio::time::sleep(wait).await;
                    return Ok(Followed::UntilItBroke);
                }
            }
        }
    }

    /// Writes what is left, within its time.
    async fn drain(&mut self, subscription: &Subscription) {
        match tokio::time::timeout(DRAIN_MAX, self.checkpoint(subscription)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                LogTrouble {
                    doing: "write the last checkpoint",
                    error: &error,
                }
                .emit(&self.log);
            }
            Err(_) => tracing::warn!("the last checkpoint was not written in time"),
        }
    }

    async fn fetched(
        &mut self,
        fetched: Fetched,
        subscription: &Subscription,
    ) -> Result<(), BusError> {
        match fetched {
            Fetched::Record(record) => {
                self.read(record);
                Ok(())
            }
            Fetched::Assigned(partitions) => self.assigned(&partitions).await,
            Fetched::Revoked(partitions) => {
                let shutdown = self.context.shutdown.clone();
                let told = shutdown
                    .run_until_cancelled(self.checkpoint(subscription))
                    .await;
                let revoked = numbers(&partitions);
                self.partitions
                    .retain(|number, _| !revoked.contains(number));
                self.forget_strangers();
                PartitionsRevoked {
                    partitions: revoked.into_iter().collect(),
                }
                .emit();
                self.assignment.down("partitions are being shared out anew");
                told.unwrap_or(Ok(()))
            }
        }
    }

    async fn assigned(&mut self, partitions: &[TopicPartition]) -> Result<(), BusError> {
        let mut wanted = numbers(partitions);
        PartitionsAssigned {
            partitions: wanted.iter().copied().collect(),
        }
        .emit();
        wanted.retain(|number| !self.partitions.contains_key(number));
        if !wanted.is_empty() {
            let checkpoints = self.checkpoints().await?;
            self.partition_count = self.context.bus.partitions(topic::SAMPLES).await?;
            let models = self.models(&wanted).await?;
            let now = Instant::now();
            for number in wanted {
                let mut partition = self.load(number, &checkpoints, now);
                let at = self.clock.now();
                for feedback in self.feedback.iter() {
                    partition.handle(at, Event::Feedback(feedback));
                }
                for (_, model) in models.iter().filter(|(of, _)| *of == number) {
                    partition.handle(at, Event::Model(Arc::clone(model)));
                }
                self.partitions.insert(number, partition);
            }
        }
        self.assignment.up();
        Ok(())
    }

    async fn checkpoints(&mut self) -> Result<Vec<Checkpoint>, BusError> {
        let records = self.context.bus.read_latest(topic::CHECKPOINTS).await?;
        let mut checkpoints = Vec::with_capacity(records.len());
        for record in &records {
            match wire::decode(record) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(error) => self.unreadable(&error),
            }
        }
        Ok(checkpoints)
    }

    fn load(&mut self, number: u32, checkpoints: &[Checkpoint], now: Instant) -> Partition {
        let settings = self.config.settings();
        match checkpoint::read(number, checkpoints) {
            Ok(Some(mut restored)) => {
                restored.core = restored.core.with_settings(settings);
                let mut partition = Partition::resumed(number, restored, now);
                partition.handle(self.clock.now(), Event::Resumed);
                Resumed {
                    partition: number,
                    counts: partition.counts(),
                }
                .emit();
                return partition;
            }
            Ok(None) => {}
            Err(error) => CheckpointUnreadable {
                partition: number,
                error: &error,
            }
            .emit(),
        }
        Partition::fresh(number, Core::new(settings), now)
    }

    fn read(&mut self, record: Record) {
        RecordRead {
            topic: &record.position.topic,
        }
        .emit(&self.meters);
        let source = match &*record.position.topic {
            topic::SAMPLES => Source::Samples,
            _ => Source::Logs,
        };
        if let Some(partition) = self.partitions.get_mut(&record.position.partition) {
            partition.push(source, &record, Instant::now());
        }
    }

    /// Handles the records whose turn it is.
    fn release(&mut self) {
        let numbers: Vec<u32> = self.partitions.keys().copied().collect();
        for number in numbers {
            while let Some(partition) = self.partitions.get_mut(&number) {
                let Some(pending) = partition.pop(Instant::now()) else {
                    break;
                };
                partition.handled(&pending);
                self.handle_record(number, pending);
            }
        }
    }

    fn handle_record(&mut self, number: u32, pending: Pending) {
        let span = tracing::info_span!("analyse", partition = number, offset = pending.offset);
        let carried = pending.traceparent;
        if let Some(traceparent) = &carried {
            kit::trace::follow(&span, traceparent);
        }
        let traceparent = kit::trace::traceparent(&span).or(carried);
        let _entered = span.enter();
        match pending.content {
            Content::Samples(rows) => {
                self.handle(number, Event::Samples { rows, traceparent });
                let now = kit::now();
                SamplesHandled {
                    read_at: pending.at,
                    now,
                }
                .emit(&self.meters);
            }
            Content::Logs(lines) => self.handle(number, Event::Logs { lines, traceparent }),
            Content::Links(links) => self.handle(number, Event::Links { links, traceparent }),
            Content::NodePoints(points) => self.node_points(number, points, traceparent),
            Content::PassedOver { schema } => RecordPassedOver {
                topic: topic::SAMPLES,
                schema,
            }
            .emit(&self.meters),
            Content::Unreadable(error) => self.unreadable(&error),
        }
    }

    fn handle(&mut self, number: u32, event: Event) {
        let now = self.clock.now();
        let Some(partition) = self.partitions.get_mut(&number) else {
            return;
        };
        for effect in partition.handle(now, event) {
            let record = match effect {
                Effect::Signal(signal) => {
                    SignalTold { signal: &signal }.emit(&self.meters);
                    wire::encode(&signal, &self.meta.within(signal.traceparent.clone()))
                }
                Effect::Forecast {
                    forecast,
                    traceparent,
                } => {
                    ForecastTold.emit(&self.meters);
                    wire::encode(&forecast, &self.meta.within(traceparent))
                }
                Effect::Learn(row) => {
                    self.learning.row(&row);
                    continue;
                }
            };
            self.outbox.push(record);
        }
    }

    async fn tick(&mut self, subscription: &Subscription) -> Result<(), BusError> {
        let numbers: Vec<u32> = self.partitions.keys().copied().collect();
        let listened = self.ticked_at.elapsed() < STALL && self.outbox.has_room();
        self.ticked_at = Instant::now();
        for number in numbers {
            if !listened {
                self.handle(number, Event::Resumed);
            }
            self.handle(number, Event::Tick);
        }
        self.learn();
        let counts = self.partitions.values().map(Partition::counts).collect();
        let rows = self.learning.rows();
        Counted { counts, rows }.emit(&self.meters);
        if Instant::now() < self.checkpoint_at {
            return Ok(());
        }
        let shutdown = self.context.shutdown.clone();
        let written = shutdown
            .run_until_cancelled(self.checkpoint(subscription))
            .await;
        self.checkpoint_at = Instant::now() + self.config.checkpoint_every.get();
        written.unwrap_or(Ok(()))
    }

    /// Signals first, then the states that no longer tell them, then the positions those states stand for.
    async fn checkpoint(&mut self, subscription: &Subscription) -> Result<(), BusError> {
        let began = Instant::now();
        let span = tracing::debug_span!("checkpoint");
        async {
            self.outbox.flush().await?;
            let at = self.clock.now();
            let mut bytes = 0;
            let mut changed = Vec::new();
            for (number, partition) in &mut self.partitions {
                let Some(records) = partition.checkpoint(at) else {
                    continue;
                };
                changed.push(*number);
                for record in records {
                    bytes += record.state.len();
                    self.outbox.push(wire::encode(&record, &self.meta));
                }
            }
            if changed.is_empty() {
                return Ok(());
            }
            self.outbox.flush().await?;
            let mut done = Vec::new();
            for number in changed {
                if let Some(partition) = self.partitions.get_mut(&number) {
                    done.extend(partition.covered());
                }
            }
            subscription.commit(&done).await?;
            CheckpointWritten {
                at,
                bytes,
                took: began.elapsed(),
            }
            .emit(&self.meters);
            Ok(())
        }
        .instrument(span)
        .await
    }

    fn unreadable(&mut self, error: &wire::DecodeError) {
        let kind = format!("{} {}", error.topic, error.schema);
        let full = self.complaints.len() >= COMPLAINTS_MAX;
        let news = match !full && self.complaints.insert(kind) {
            true => News::First,
            false => News::Again,
        };
        RecordUnreadable { error, news }.emit(&self.meters);
    }
}

/// Both topics have the same partitions, and a member gets the same of each.
fn numbers(partitions: &[TopicPartition]) -> BTreeSet<u32> {
    partitions
        .iter()
        .map(|partition| partition.partition)
        .collect()
}
