//! Reading the topics: one task each, into one bounded channel.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{BusError, From, Tailed};
use control::Event;
use kit::Context;
use kit::backoff::{Backoff, seed_of};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use units::Generation;

use crate::config::Config;
use crate::events::{Meters, News, RecordRead, RecordUnreadable};
use crate::sources::{Back, Source, Told, sources};

/// Events waiting for the core. When it is full the readers wait, and the log keeps what comes.
const CHANNEL_MAX: usize = 1_024;
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(5);
/// Schemas remembered as said to be unreadable; beyond it each is said at debug level only.
const SAID_MAX: usize = 64;

/// What a reader tells.
pub(crate) enum Input {
    /// Something the core is to know.
    Event(Event),
    /// A claim to lead, ours among them.
    Claim(Generation),
    /// A topic was read to the end it had when leading began.
    CaughtUp,
    /// A topic cannot be read any more.
    Failed {
        topic: &'static str,
        source: BusError,
    },
}

/// The readers of one leadership. Dropping it ends them.
pub(crate) struct Readers {
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// Topics that have yet to be caught up with.
    pub(crate) behind: usize,
    context: Context,
    meters: Meters,
    send: mpsc::Sender<Input>,
    /// Ends the tasks when dropped.
    tasks: JoinSet<()>,
}

/// How long a topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// As long as somebody listens.
    Dropped,
    /// To the end it had when reading began.
    CaughtUp,
}

impl Readers {
    /// Starts reading everything a leader must know.
    pub(crate) fn start(config: &Config, context: &Context, meters: &Meters) -> Readers {
        let (send, inputs) = mpsc::channel(CHANNEL_MAX);
        let mut tasks = JoinSet::new();
        let sources = sources(config);
        let behind = sources.len();
        for source in sources {
            let (context, meters) = (context.clone(), meters.clone());
            tasks.spawn(read(source, Until::Dropped, context, meters, send.clone()));
        }
        Readers {
            inputs,
            behind,
            context: context.clone(),
            meters: meters.clone(),
            send,
            tasks,
        }
    }

    /// Reads a topic once more, to the end it has now, which is one more to catch up with.
    pub(crate) fn again(&mut self, source: Source) {
        self.behind = self.behind.saturating_add(1);
        let (context, meters) = (self.context.clone(), self.meters.clone());
        let send = self.send.clone();
        self.tasks
            .spawn(read(source, Until::CaughtUp, context, meters, send));
    }
}

/// Reads until the receiver is gone, the topic cannot be read any more, or as far as it is to be read.
async fn read(
    source: Source,
    until: Until,
    context: Context,
    meters: Meters,
    send: mpsc::Sender<Input>,
) {
    let topic = source.topic;
    let mut tail = open(&source, &context).await;
    let mut said = BTreeSet::new();
    loop {
        let input = match tail.next().await {
            Ok(Tailed::CaughtUp) => Some(Input::CaughtUp),
            Ok(Tailed::Record(record)) => {
                RecordRead { topic }.emit(&meters);
                match source.decode(&record) {
                    Ok(Told::Event(event)) => Some(Input::Event(event)),
                    Ok(Told::Claim(generation)) => Some(Input::Claim(generation)),
                    Ok(Told::Nothing) => None,
                    Err(error) => {
                        let fresh = said.len() < SAID_MAX && said.insert(error.schema.clone());
                        let news = if fresh { News::First } else { News::Again };
                        RecordUnreadable {
                            topic,
                            error: &error,
                            news,
                        }
                        .emit(&meters);
                        None
                    }
                }
            }
            Err(source) => {
                // Nobody listens any more, or the role ends with this.
                let _ = send.send(Input::Failed { topic, source }).await;
                return;
            }
        };
        let is_over = until == Until::CaughtUp && matches!(input, Some(Input::CaughtUp));
        if let Some(input) = input
            && send.send(input).await.is_err()
        {
            return;
        }
        if is_over {
            return;
        }
    }
}

/// Opens the topic, trying until the log answers.
async fn open(source: &Source, context: &Context) -> bus::Tail {
    let log = context.health.dependency(kit::boot::LOG);
    let seed = seed_of(&context.producer) ^ seed_of(source.topic);
    let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed);
    let from = match source.back {
        Back::Everything => From::Beginning,
        Back::For(back) => From::Time((kit::now() - back).as_millis()),
    };
    loop {
        match context.bus.tail(source.topic, from).await {
            Ok(tail) => return tail,
            Err(error) => log.down(kit::boot::chain(&error)),
        }
        tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
    }
}
