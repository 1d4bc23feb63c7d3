//! One sink's worker: takes from the lane, keeps the sink's pace, tries until it is delivered or given up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kit::Context;
use kit::backoff::{Backoff, seed_of};
use reqwest::Client;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::bucket::Bucket;
use crate::events::{self, AttemptFailed, Delivered, GivenUp, Suspended};
use crate::http::{self, Failure, FailureKind};
use crate::lane::{Entry, Lane, Settlement, Suppression};
use crate::notice::Notice;
use crate::payload::Message;
use crate::sink::{Sink, Target};

/// First ceiling of the wait after a failed attempt, and the highest; attempts end at the sink's retry deadline.
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(60);
/// PagerDuty asks for half a minute and more after a 429, and says no time of its own.
const PAGERDUTY_BASE: Duration = Duration::from_secs(30);
const PAGERDUTY_CAP: Duration = Duration::from_secs(240);
/// Waits that a receiver named are stretched by up to a tenth, so that all senders do not come back at once.
const RETRY_AFTER_SPREAD: u32 = 10;
/// After so many refusals of the sender itself, a sink is left alone: some services ban who does not stop.
const SUSPEND_AFTER: u32 = 5;
/// For so long; then one message finds out whether it works again.
const SUSPENSION: Duration = Duration::from_secs(10 * 60);
/// An attempt under way when the process is to end gets this long.
const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// What the reader and a worker share.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) sink: Sink,
    lane: Mutex<Lane>,
    offered: Notify,
}

impl Channel {
    pub(crate) fn new(sink: Sink) -> Self {
        let lane = Mutex::new(Lane::new(sink.rules));
        Channel {
            sink,
            lane,
            offered: Notify::new(),
        }
    }

    /// A panic elsewhere cannot leave a lane half written, so a poisoned lock is still good.
    pub(crate) fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the worker that there may be something to do.
    pub(crate) fn wake(&self) {
        self.offered.notify_one();
    }
}

/// Whether a sink takes messages at all.
#[derive(Debug, Clone, Copy)]
enum Standing {
    /// It does, or refused the sender so many times in a row; goes to `Suspended` after too many.
    Trusted { refusals: u32 },
    /// It is left alone until then; the next message after that is tried, and one refusal is enough.
    Suspended { until: Instant },
}

pub(crate) struct Worker {
    channel: Arc<Channel>,
    client: Client,
    context: Context,
    bucket: Bucket,
    backoff: Backoff,
    standing: Standing,
}

/// The process is to end: what is not settled comes again.
struct Interrupted;

impl Worker {
    pub(crate) fn new(channel: Arc<Channel>, client: Client, context: Context) -> Self {
        let seed = seed_of(&format!("{}/{}", context.producer, channel.sink.name));
        let bucket = Bucket::new(channel.sink.target.interval());
        Worker {
            channel,
            client,
            context,
            bucket,
            backoff: Backoff::new(RETRY_BASE, RETRY_CAP, seed),
            standing: Standing::Trusted { refusals: 0 },
        }
    }

    /// Works until shutdown.
    pub(crate) async fn run(mut self) {
        let channel = Arc::clone(&self.channel);
        let name = Arc::clone(&channel.sink.name);
        let shutdown = self.context.shutdown.clone();
        loop {
            let (entries, suppressed) = self.take();
            events::suppressed(&self.context.metrics, &name, &suppressed);
            events::waiting(&self.context.metrics, &name, &channel.lane());
            let Some(first) = entries.first() else {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = channel.offered.notified() => continue,
                }
            };
            let event = first.notice.event_type();
            let span = tracing::info_span!("notify", sink = %name, event, notices = entries.len());
            if let Some(traceparent) = first.notice.traceparent() {
                kit::trace::follow(&span, traceparent);
            }
            for other in entries.iter().skip(1) {
                if let Some(traceparent) = other.notice.traceparent() {
                    kit::trace::link(&span, traceparent);
                }
            }
            let Ok(settlement) = self.deliver(&entries).instrument(span).await else {
                return;
            };
            let mut lane = channel.lane();
            for entry in entries {
                lane.settle(entry, settlement);
            }
        }
    }

    fn take(&self) -> (Vec<Entry>, Vec<Suppression>) {
        let mut lane = self.channel.lane();
        match self.channel.sink.target {
            Target::Slack { .. } => lane.take_digest(),
            Target::Webhook { .. } | Target::PagerDuty { .. } => {
                let (entry, suppressed) = lane.take();
                (entry.into_iter().collect(), suppressed)
            }
        }
    }

    /// One message, for one notice or for several.
    fn message(&self, entries: &[Entry]) -> Option<Message> {
        let target = &self.channel.sink.target;
        match entries {
            [only] => target.message(&only.notice),
            several => {
                let notices: Vec<_> = several.iter().map(|entry| &entry.notice).collect();
                target.digest(&notices)
            }
        }
    }

    async fn deliver(&mut self, entries: &[Entry]) -> Result<Settlement, Interrupted> {
        let (Some(first), Some(message)) = (entries.first(), self.message(entries)) else {
            // The sink has no place for it: there is nothing to be told.
            return Ok(Settlement::Delivered);
        };
        if let Standing::Suspended { until } = self.standing
            && Instant::now() < until
        {
            self.give_up(entries, 0, "the sink is suspended");
            return Ok(Settlement::NeverArrived);
        }
        self.backoff.reset();
        let deadline = first.queued + self.channel.sink.retry_deadline;
        let mut worst = Settlement::NeverArrived;
        for attempts in 1.. {
            let wait = self.bucket.take(Instant::now());
            pause(wait, &self.context.shutdown).await?;
            let failure = match self.attempt(&message, &first.notice).await? {
                Ok(()) => {
                    self.delivered(entries, attempts);
                    return Ok(Settlement::Delivered);
                }
                Err(failure) => failure,
            };
            if may_have_arrived(failure.kind) {
                worst = Settlement::MayHaveArrived;
            }
            let again_in = self.retry_in(failure.kind, attempts);
            let again_in = again_in.filter(|wait| Instant::now() + *wait < deadline);
            let metrics = &self.context.metrics;
            AttemptFailed {
                sink: &self.channel.sink.name,
                failure: &failure,
                again_in,
            }
            .emit(metrics);
            self.judge(&failure);
            let Some(wait) = again_in else {
                self.give_up(entries, attempts, &failure.to_string());
                break;
            };
            pause(wait, &self.context.shutdown).await?;
        }
        Ok(worst)
    }

    async fn attempt(
        &self,
        message: &Message,
        notice: &Notice,
    ) -> Result<Result<(), Failure>, Interrupted> {
        let id = notice.message_id();
        let attempt = http::attempt(&self.client, &self.channel.sink, message, &id, kit::now());
        let drained = async {
            self.context.shutdown.cancelled().await;
            sleep(DRAIN_GRACE).await;
        };
        tokio::select! {
            result = attempt => Ok(result),
            () = drained => Err(Interrupted),
        }
    }

    fn delivered(&mut self, entries: &[Entry], attempts: u32) {
        self.standing = Standing::Trusted { refusals: 0 };
        let (sink, now) = (&self.channel.sink.name, kit::now());
        for Entry { notice, .. } in entries {
            let delivered = Delivered {
                sink,
                notice,
                attempts,
                now,
            };
            delivered.emit(&self.context.metrics);
        }
    }

    fn give_up(&self, entries: &[Entry], attempts: u32, why: &str) {
        let sink = &self.channel.sink.name;
        for Entry { notice, .. } in entries {
            let given_up = GivenUp {
                sink,
                notice,
                attempts,
                why,
            };
            given_up.emit(&self.context.metrics);
        }
    }

    /// How long to wait before the next attempt; none where another one is no use.
    fn retry_in(&mut self, kind: FailureKind, attempts: u32) -> Option<Duration> {
        let own = self.backoff.next().unwrap_or(RETRY_CAP);
        match kind {
            FailureKind::RateLimited { after: Some(after) }
            | FailureKind::Server { after: Some(after) } => {
                let spread = own.min(after / RETRY_AFTER_SPREAD);
                Some(after + spread)
            }
            FailureKind::RateLimited { after: None } => match self.channel.sink.target {
                Target::PagerDuty { .. } => {
                    let doubled =
                        PAGERDUTY_BASE.saturating_mul(1 << attempts.saturating_sub(1).min(8));
                    Some(doubled.min(PAGERDUTY_CAP) + own)
                }
                Target::Webhook { .. } | Target::Slack { .. } => Some(own),
            },
            FailureKind::Server { after: None }
            | FailureKind::Unreachable
            | FailureKind::NoAnswer => Some(own),
            FailureKind::Unauthorised
            | FailureKind::Gone
            | FailureKind::Moved
            | FailureKind::Refused => None,
        }
    }

    /// Leaves alone a sink that refuses the sender rather than the message.
    fn judge(&mut self, failure: &Failure) {
        match failure.kind {
            FailureKind::Unauthorised | FailureKind::Gone => {}
            FailureKind::RateLimited { .. }
            | FailureKind::Server { .. }
            | FailureKind::Unreachable
            | FailureKind::NoAnswer
            | FailureKind::Moved
            | FailureKind::Refused => return,
        }
        let refusals = match self.standing {
            Standing::Trusted { refusals } => refusals + 1,
            Standing::Suspended { .. } => SUSPEND_AFTER,
        };
        if refusals < SUSPEND_AFTER {
            self.standing = Standing::Trusted { refusals };
            return;
        }
        self.standing = Standing::Suspended {
            until: Instant::now() + SUSPENSION,
        };
        Suspended {
            sink: &self.channel.sink.name,
            failure,
            pause: SUSPENSION,
        }
        .emit();
    }
}

const fn may_have_arrived(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Server { .. } | FailureKind::NoAnswer => true,
        FailureKind::RateLimited { .. }
        | FailureKind::Unreachable
        | FailureKind::Unauthorised
        | FailureKind::Gone
        | FailureKind::Moved
        | FailureKind::Refused => false,
    }
}

async fn pause(wait: Duration, shutdown: &CancellationToken) -> Result<(), Interrupted> {
    if wait.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = shutdown.cancelled() => Err(Interrupted),
        () = sleep(wait) => Ok(()),
    }
}
