//! The loop: commands in, handlers started, positions committed once their outcomes are in the log.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{Fetched, Position, Record, Subscription};
use kit::backoff::{Backoff, seed_of};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use units::{Command, CommandId, Generation};

use crate::Error;
use crate::events::{CommandRead, CommandUnreadable, LeaderChanged, LogTrouble, News};
use crate::handler::{Handled, Handler};
use crate::ledger::Entry;
use crate::tracker::Tracker;

/// Commands of this node that are handled or wait for their turn. At this many no more are read.
const COMMANDS_MAX: usize = 64;
/// Records read and not committed, those for other nodes behind a long command among them. At this many no more are read.
const UNCOMMITTED_MAX: usize = 4_096;
/// Commands for other nodes are noted as read this often; those for this node at once.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// The ledger is cleared of what is too old this often.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
/// The engine is asked this often whether it is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// First and longest wait before the log is tried again; tries go on until shutdown.
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(10);
/// Kinds of unreadable records that are said once each; further kinds are only counted.
const COMPLAINTS_MAX: usize = 64;

/// What an earlier run of this process began and did not answer. Their containers are locked: nobody else works on one before it is
/// known what became of it.
pub(crate) struct Unfinished {
    entries: Vec<Entry>,
    _locks: Vec<OwnedMutexGuard<()>>,
}

impl Unfinished {
    /// To be asked before anything of this process works on a container.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) async fn of(handler: &Handler) -> Result<Self, Error> {
        let entries = handler.ledger.unfinished().await?;
        let targets: BTreeSet<_> = entries
            .iter()
            .map(|it| it.command.action.target())
            .collect();
        let locks = targets.into_iter();
        let locks = locks.filter_map(|it| handler.locks.acquire_at_once(it));
        Ok(Unfinished {
            _locks: locks.collect(),
            entries,
        })
    }
}

/// Reads commands until the shutdown, then waits for those under way.
pub(crate) struct Loop {
    pub(crate) handler: Arc<Handler>,
    pub(crate) tracker: Tracker,
    /// Commands under way, each with every position it was read at.
    pub(crate) running: HashMap<CommandId, Vec<Position>>,
    pub(crate) tasks: JoinSet<(CommandId, Handled)>,
    pub(crate) newest: Generation,
    pub(crate) complaints: HashSet<String>,
}

impl Loop {
    pub(crate) fn new(handler: Arc<Handler>) -> Self {
        Loop {
            handler,
            tracker: Tracker::default(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            newest: Generation::default(),
            complaints: HashSet::new(),
        }
    }

    /// Returns after the shutdown, when nothing is under way any more.
    pub(crate) async fn run(mut self, unfinished: Unfinished) -> Result<(), Error> {
        self.settle(unfinished).await;
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waits = self.waits();
        while let Some(mut subscription) = self.subscribe(&mut waits).await {
            match self
                .follow(&mut subscription, &mut prune, &mut waits)
                .await?
            {
                Followed::ToTheEnd => {
                    self.drain(&subscription).await?;
                    break;
                }
                Followed::UntilItBroke => self.tracker = Tracker::default(),
            }
        }
        Ok(())
    }

    /// Answers what an earlier run began, before anything new is read: those commands will be read again, and must be known
    /// as answered by then. An engine that is away is waited for.
    async fn settle(&self, unfinished: Unfinished) {
        for entry in unfinished.entries {
            match self.handler.settle(entry).await {
                Handled::Answered => {}
                Handled::Left => break,
            }
        }
    }

    async fn subscribe(&self, waits: &mut Backoff) -> Option<Subscription> {
        let group = format!("homeostat-actuator-{}", self.handler.node);
        let shutdown = &self.handler.shutdown;
        while !shutdown.is_cancelled() {
            let subscribed = self.handler.bus.subscribe(&group, &[wire::topic::COMMANDS]);
            match shutdown.run_until_cancelled(subscribed).await? {
                Ok(subscription) => return Some(subscription),
                Err(error) => self.trouble("read the commands", &error),
            }
            let wait = waits.next().unwrap_or(RETRY_CAP);
            let slept = shutdown.run_until_cancelled(tokio::time::sleep(wait));
            slept.await?;
        }
        None
    }

    async fn follow(
        &mut self,
        subscription: &mut Subscription,
        prune: &mut tokio::time::Interval,
        waits: &mut Backoff,
    ) -> Result<Followed, Error> {
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        let shutdown = self.handler.shutdown.clone();
        loop {
            let has_room = self.tasks.len() < COMMANDS_MAX && self.tracker.open() < UNCOMMITTED_MAX;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(Followed::ToTheEnd),
                Some(ended) = self.tasks.join_next() => {
                    self.ended(ended)?;
                    self.commit(subscription).await;
                }
                fetched = subscription.next(), if has_room => match fetched {
                    Ok(fetched) => {
                        waits.reset();
                        self.fetched(fetched, subscription).await?;
                    }
                    Err(error) => {
                        self.trouble("read the commands", &error);
                        let wait = waits.next().unwrap_or(RETRY_CAP);
                        let slept = shutdown.run_until_cancelled(tokio::time::sleep(wait));
                        slept.await;
                        return Ok(Followed::UntilItBroke);
                    }
                },
                _ = commit.tick() => self.commit(subscription).await,
                _ = prune.tick() => {
                    // What fails here fails for the next command too, and is said there.
                    let _ = self.handler.ledger.prune(kit::now()).await;
                }
            }
        }
    }

    async fn fetched(
        &mut self,
        fetched: Fetched,
        subscription: &Subscription,
    ) -> Result<(), Error> {
        match fetched {
            Fetched::Record(record) => self.record(&record).await?,
            Fetched::Assigned(_) => {}
            Fetched::Revoked(partitions) => {
                self.commit(subscription).await;
                for partition in &partitions {
                    self.tracker.revoked(partition);
                }
            }
        }
        Ok(())
    }

    async fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.tracker.read(&record.position);
        CommandRead.emit(&self.handler.meters);
        match wire::decode::<Command>(record) {
            Ok(command) if command.node == self.handler.node => {
                // At once, and not when its turn comes: an older one may be about to begin. Trouble with the ledger is told
                // by the handler, which needs it next.
                let _ = self.note_leader(&command).await;
                self.start(command, record.position.clone());
                Ok(())
            }
            Ok(command) => {
                self.note_leader(&command).await?;
                self.tracker.done(&record.position);
                Ok(())
            }
            Err(error) => {
                self.complain(&error);
                self.tracker.done(&record.position);
                Ok(())
            }
        }
    }

    /// Starts a command, unless it is under way: then this copy of it is dealt with when that one is.
    fn start(&mut self, command: Command, position: Position) {
        if let Some(positions) = self.running.get_mut(&command.id) {
            positions.push(position);
            return;
        }
        self.running.insert(command.id.clone(), vec![position]);
        let handler = Arc::clone(&self.handler);
        self.tasks.spawn(async move {
            let id = command.id.clone();
            (id, handler.handle(command).await)
        });
    }

    /// Every command, for this node or another, tells which leader speaks now.
    async fn note_leader(&mut self, command: &Command) -> Result<(), Error> {
        if command.generation > self.newest {
            self.handler.ledger.raise(command.generation).await?;
            self.hear(command.generation);
        }
        Ok(())
    }

    fn hear(&mut self, generation: Generation) {
        if generation > self.newest {
            self.newest = generation;
            LeaderChanged { generation }.emit();
        }
    }

    fn complain(&mut self, error: &wire::DecodeError) {
        let kind = format!("{} {}", error.schema, error.problem.reason());
        let is_first = self.complaints.len() < COMPLAINTS_MAX && self.complaints.insert(kind);
        let news = if is_first { News::First } else { News::Again };
        CommandUnreadable { error, news }.emit(&self.handler.meters);
    }

    fn ended(
        &mut self,
        ended: Result<(CommandId, Handled), tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let (command, handled) = ended.map_err(|_| Error::Panicked)?;
        let positions = self.running.remove(&command).unwrap_or_default();
        match handled {
            Handled::Answered => positions.iter().for_each(|it| self.tracker.done(it)),
            Handled::Left => {}
        }
        Ok(())
    }

    async fn commit(&mut self, subscription: &Subscription) {
        let ready = self.tracker.take_ready();
        if ready.is_empty() {
            return;
        }
        if let Err(error) = subscription.commit(&ready).await {
            self.trouble("note commands as read", &error);
            self.tracker.put_back(ready);
        }
    }

    /// Waits for the commands the engine works on; those that still waited for their turn end by themselves.
    async fn drain(&mut self, subscription: &Subscription) -> Result<(), Error> {
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended)?;
        }
        self.commit(subscription).await;
        Ok(())
    }

    fn trouble(&self, doing: &'static str, error: &bus::BusError) {
        LogTrouble { doing, error }.emit();
    }

    fn waits(&self) -> Backoff {
        Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(self.handler.node.as_str()))
    }
}

enum Followed {
    ToTheEnd,
    UntilItBroke,
}

/// Keeps the engine's health known when there is nothing to do.
pub(crate) async fn ping(handler: Arc<Handler>) {
    let shutdown = handler.shutdown.clone();
    let pings = async {
        loop {
            // The engine reports to its health itself.
            let _ = handler.engine.ping().await;
            tokio::time::sleep(PING_EVERY).await;
        }
    };
    shutdown.run_until_cancelled(pings).await;
}
