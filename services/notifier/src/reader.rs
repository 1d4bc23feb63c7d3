//! The reader: from the log into the lanes, and back from the lanes to the commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{BusError, Fetched, Position, Record, Subscription, Tailed, TopicPartition};
use kit::Context;
use kit::metrics::MetricName;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use units::{JournalEntry, Signal, Timestamp};
use wire::{DecodeError, topic};

use crate::events;
use crate::feed::Feed;
use crate::lane::{Origin, Recalled};
use crate::notice::Notice;
use crate::progress::Progress;
use crate::worker::Channel;

/// The consumer group of all notifiers.
pub(crate) const GROUP: &str = "homeostat-notifier";
/// Reading back what was told before takes at most this long; what was not read back by then is not known, and a
/// condition that ends then is told by its severity alone.
const RECALL_DEADLINE: Duration = Duration::from_secs(60);
/// So many kinds of unreadable records are logged; more are counted only.
const MAX_LOGGED_SCHEMAS: usize = 64;

pub(crate) struct Reader {
    context: Context,
    channels: Vec<Arc<Channel>>,
    homes: HashMap<TopicPartition, Home>,
    progress: Progress,
    max_age: Duration,
    logged: HashSet<(String, String)>,
}

/// What is known of a partition.
#[derive(Debug)]
struct Home {
    feed: Feed,
    /// Records before this offset were there when reading began: an earlier process may have told them.
    replayed_until: u64,
    /// What to make of a record that is too old to tell: on the very first start nobody told it, later somebody may have.
    stale: Recalled,
}

impl Default for Home {
    fn default() -> Self {
        Home {
            feed: Feed::default(),
            replayed_until: 0,
            stale: Recalled::Untold,
        }
    }
}

impl Reader {
    pub(crate) fn new(context: Context, channels: Vec<Arc<Channel>>, max_age: Duration) -> Self {
        Reader {
            context,
            channels,
            homes: HashMap::new(),
            progress: Progress::default(),
            max_age,
            logged: HashSet::new(),
        }
    }

    /// Reads until shutdown, then lets the workers end what they have under way. Commits what every sink is done with.
    pub(crate) async fn run(
        mut self,
        mut subscription: Subscription,
        mut workers: JoinSet<()>,
    ) -> Result<(), BusError> {
        let shutdown = self.context.shutdown.clone();
        let settled = self.progress.settled();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                fetched = subscription.next() => match fetched? {
                    Fetched::Record(record) => self.record(record).await?,
                    Fetched::Assigned(_) => {}
                    Fetched::Revoked(partitions) => {
                        self.commit(&subscription).await;
                        self.revoke(&partitions);
                    }
                },
                () = settled.ready() => {}
                // A worker ends before shutdown by a panic alone; without it its sink would be silent for good.
                Some(Err(ended)) = workers.join_next() => if ended.is_panic() {
                    std::panic::resume_unwind(ended.into_panic());
                },
            }
            self.commit(&subscription).await;
        }
        // Bounded: a worker ends within the grace of the attempt it has under way.
        while workers.join_next().await.is_some() {}
        self.commit(&subscription).await;
        Ok(())
    }

    async fn commit(&mut self, subscription: &Subscription) {
        let done = self.progress.committable();
        if done.is_empty() {
            return;
        }
        if let Err(error) = subscription.commit(&done).await {
            // The next commit covers it; until then these records may come again.
            tracing::warn!(error = %kit::boot::chain(&error), "cannot commit what was notified");
        }
    }

    fn revoke(&mut self, partitions: &[TopicPartition]) {
        self.progress.revoke(partitions);
        for partition in partitions {
            self.homes.remove(partition);
        }
        for channel in &self.channels {
            channel.lane().revoke(partitions);
        }
    }

    async fn record(&mut self, record: Record) -> Result<(), BusError> {
        let name = record.position.topic.to_string();
        let consumed = self.context.metrics.counter(MetricName::RecordsConsumed);
        consumed.with(&[("topic", &name)]).inc();
        let home = record.position.topic_partition();
        if !self.homes.contains_key(&home) {
            let recalled = self.recall(&record).await?;
            self.homes.insert(home.clone(), recalled);
        }
        let known = self.homes.entry(home.clone()).or_default();
        let stale = known.stale;
        let origin = match record.position.offset < known.replayed_until {
            true => Origin::Replayed,
            false => Origin::Fresh,
        };
        let notice = match read(&mut known.feed, &record) {
            Ok(notice) => notice,
            Err(error) => {
                self.put_aside(&error);
                None
            }
        };
        let Some(notice) = notice else {
            self.progress.begin(&record.position, 0);
            return Ok(());
        };
        let age = kit::now().since(Timestamp::from_millis(record.timestamp_ms));
        if age > self.max_age {
            self.progress.begin(&record.position, 0);
            self.note(&notice, &home, stale);
            let sinks: Vec<_> = self.channels.iter().map(|it| &*it.sink.name).collect();
            events::stale(&self.context.metrics, &sinks);
            return Ok(());
        }
        self.offer(&notice, &record.position, origin);
        Ok(())
    }

    fn offer(&mut self, notice: &Notice, position: &Position, origin: Origin) {
        let ticket = self.progress.begin(position, self.channels.len());
        let now = (Instant::now(), kit::now());
        for (channel, ticket) in self.channels.iter().zip(std::iter::repeat(ticket)) {
            let Some(ticket) = ticket else { break };
            let suppressed = channel.lane().offer(notice.clone(), ticket, origin, now);
            let metrics = &self.context.metrics;
            events::suppressed(metrics, &channel.sink.name, &suppressed);
            events::waiting(metrics, &channel.sink.name, &channel.lane());
            channel.wake();
        }
    }

    /// Reads what lies before the first record that comes from a partition, to know which conditions people have
    /// been told of, and how far the partition reaches by now. What is older than the topic keeps is not known.
    async fn recall(&mut self, first: &Record) -> Result<Home, BusError> {
        let home = first.position.topic_partition();
        let mut recalled = Home::default();
        let mut tail = self
            .context
            .bus
            .tail(&home.topic, bus::From::Beginning)
            .await?;
        let until = tokio::time::Instant::now() + RECALL_DEADLINE;
        loop {
            let record = match timeout_at(until, tail.next()).await {
                Ok(tailed) => match tailed? {
                    Tailed::Record(record) => record,
                    Tailed::CaughtUp => break,
                },
                Err(_) => {
                    tracing::warn!(topic = %home.topic, "gave up reading what was notified before");
                    break;
                }
            };
            if record.position.topic_partition() != home {
                continue;
            }
            recalled.replayed_until = record.position.offset + 1;
            if record.position.offset >= first.position.offset {
                continue;
            }
            // Committed once, so this is no first start.
            recalled.stale = Recalled::Told;
            if let Ok(Some(notice)) = read(&mut recalled.feed, &record) {
                self.note(&notice, &home, Recalled::Told);
            }
        }
        Ok(recalled)
    }

    fn note(&self, notice: &Notice, home: &TopicPartition, recalled: Recalled) {
        for channel in &self.channels {
            channel.lane().recall(notice, home, recalled);
        }
    }

    fn put_aside(&mut self, error: &DecodeError) {
        let reason = error.problem.reason();
        let failures = self.context.metrics.counter(MetricName::DecodeFailures);
        failures
            .with(&[("topic", &error.topic), ("reason", reason)])
            .inc();
        let kind = (error.topic.clone(), error.schema.clone());
        if self.logged.len() < MAX_LOGGED_SCHEMAS && self.logged.insert(kind) {
            tracing::warn!(%error, "record put aside; further ones of its kind are only counted");
        }
    }
}

/// The notice of a record, by its topic.
fn read(feed: &mut Feed, record: &Record) -> Result<Option<Notice>, DecodeError> {
    if &*record.position.topic == topic::SIGNALS {
        let signal: Signal = wire::decode(record)?;
        Ok(feed.signal(signal))
    } else {
        let entry: JournalEntry = wire::decode(record)?;
        Ok(feed.journal(entry))
    }
}
