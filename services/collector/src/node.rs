//! Keeps up with the engine: who is there, what happens to them, and the node's heartbeat.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use kit::backoff::{Backoff, seed_of};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use units::{ContainerEvent, ContainerId, EventKind, NodeFacts, NodeId, NodeInventory};

use crate::containers::{Action, Containers, EngineEvent, Specs};
use crate::docker::{Client, DockerError, Listed, PARALLEL_INSPECTS};
use crate::errands::{self, Brought, Errands};
use crate::events::{EngineFound, Instruments, RequestFailed};
use crate::extras::Extras;
use crate::host::send;
use crate::inspect::{Details, Told};
use crate::inspects::{Answer, Inspects};
use crate::logs::{Orders, Seen};
use crate::outbox::{Outbox, Parcel};
use crate::pacing::Pacing;
use crate::roster::{Engine, Roster};

const CONNECT_BASE: Duration = Duration::from_millis(200);
const CONNECT_CAP: Duration = Duration::from_secs(10);
/// Every container is inspected anew once in this time: events say what happened, and hardly anything changes without one.
const REFRESH_ROUND: Duration = Duration::from_secs(900);
/// Time between two of the steps in which a round is made.
const REFRESH_STEP: Duration = Duration::from_secs(5);
/// The log takes records of up to a megabyte.
const INVENTORY_BYTES_MAX: usize = 900_000;
/// Who takes a container out of its network to put it back under another name has done so after this.
const NETWORKS_SETTLE: Duration = Duration::from_secs(1);

/// What the node's keeper works with.
pub(crate) struct Keeper {
    pub(crate) node: NodeId,
    /// What is configured of the node; it goes before what the engine says.
    pub(crate) facts: NodeFacts,
    pub(crate) address: String,
    pub(crate) cgroup: &'static str,
    pub(crate) inventory_interval: Duration,
    pub(crate) health: kit::health::Dependency,
    pub(crate) outbox: Outbox,
    pub(crate) roster: watch::Sender<Arc<Roster>>,
    pub(crate) logs: Orders,
    pub(crate) meta: wire::Meta,
    pub(crate) layer_interval: Option<Duration>,
    pub(crate) extras: Arc<Extras>,
    pub(crate) partitions: u32,
    pub(crate) instruments: Instruments,
    /// The newest event that an earlier run is known to have sent.
    pub(crate) last_event_ns: Option<i64>,
}

/// The table and what is published from it.
pub(crate) struct Node {
    keeper: Keeper,
    containers: Containers,
    /// Where events go on after a gap.
    last_event_ns: Option<i64>,
    refreshed: Option<ContainerId>,
    inspects: Inspects,
    errands: Errands,
    pacing: Pacing,
    /// The containers as they were told last, for as long as nothing changes.
    told: Option<Box<RawValue>>,
}

enum Event {
    Shutdown,
    Engine(Result<EngineEvent, DockerError>),
    Inspected(ContainerId, Box<Result<Option<Details>, DockerError>>),
    Brought(Brought),
    InventoryDue,
    RefreshDue,
}

/// Why following the engine ended.
enum Ended {
    Shutdown,
    Lost(DockerError),
}

impl Node {
    pub(crate) fn new(keeper: Keeper) -> Self {
        Node {
            containers: Containers::new(keeper.node.clone()),
            last_event_ns: keeper.last_event_ns,
            pacing: Pacing::new(keeper.inventory_interval, Instant::now()),
            errands: Errands::new(keeper.layer_interval),
            keeper,
            refreshed: None,
            inspects: Inspects::default(),
            told: None,
        }
    }

    /// Follows the engine until `shutdown`, through its absences. While it is away no inventory is sent: what the node holds is
    /// not known then, and saying the last of it again would hide that.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut waits = Backoff::new(
            CONNECT_BASE,
            CONNECT_CAP,
            seed_of(self.keeper.node.as_str()),
        );
        loop {
            let connect = Client::connect(&self.keeper.address, self.keeper.cgroup);
            let error = match shutdown.run_until_cancelled(connect).await {
                None => return,
                Some(Err(error)) => error,
                Some(Ok(client)) => {
                    let found_at = Instant::now();
                    match self.follow(&client, &shutdown).await {
                        Ended::Shutdown => return,
                        Ended::Lost(error) => {
                            if found_at.elapsed() > CONNECT_CAP {
                                waits.reset();
                            }
                            error
                        }
                    }
                }
            };
            self.keeper.health.down(kit::boot::chain(&error));
            self.keeper
                .roster
                .send_replace(Arc::new(self.containers.roster(Engine::Away)));
            let wait = waits.next().unwrap_or(CONNECT_CAP);
            if shutdown
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn follow(&mut self, client: &Client, shutdown: &CancellationToken) -> Ended {
        self.inspects.clear();
        self.errands.done();
        // Asked for before the list is: what happens in between is in the events.
        let since_ns = self
            .last_event_ns
            .unwrap_or_else(|| kit::now().as_millis().saturating_mul(1_000_000));
        let mut events = pin!(client.events(since_ns));
        let listed = match shutdown.run_until_cancelled(client.list()).await {
            None => return Ended::Shutdown,
            Some(Err(error)) => return Ended::Lost(error),
            Some(Ok(listed)) => listed,
        };
        EngineFound {
            address: &self.keeper.address,
            version: &client.engine.version,
            containers: listed.details.len() + listed.slow.len(),
        }
        .emit();
        self.keeper.logs.engine(client.docker());
        self.take_list(listed).await;
        self.last_event_ns.get_or_insert(since_ns);
        self.keeper.health.up();
        self.tell_sampler();
        let mut refresh = tokio::time::interval(REFRESH_STEP);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answers = FuturesUnordered::new();
        let mut errands = FuturesUnordered::new();
        loop {
            if let Some(errand) = self.errands.start(&self.containers) {
                errands.push(errands::run(client, errand));
            }
            while let Some(id) = self.inspects.start(PARALLEL_INSPECTS) {
                let known = self.containers.get(&id);
                let was_in = known.is_some_and(|it| !it.record.is_isolated());
                answers.push(async move {
                    let answer = inspected(client, &id, was_in).await;
                    (id, answer)
                });
            }
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => Event::Shutdown,
                () = tokio::time::sleep_until(self.pacing.due()) => Event::InventoryDue,
                event = events.next() => {
                    Event::Engine(event.unwrap_or_else(|| Err(client.events_ended())))
                }
                Some((id, answer)) = answers.next(), if !answers.is_empty() => {
                    Event::Inspected(id, Box::new(answer))
                }
                Some(brought) = errands.next(), if !errands.is_empty() => Event::Brought(brought),
                _ = refresh.tick() => Event::RefreshDue,
            };
            match event {
                Event::Shutdown => return Ended::Shutdown,
                Event::Engine(Err(error)) => return Ended::Lost(error),
                Event::Engine(Ok(event)) => self.take_event(client, &event).await,
                Event::Inspected(id, answer) => {
                    if let Err(error) = self.take_answer(&id, *answer).await {
                        return Ended::Lost(error);
                    }
                }
                Event::Brought(brought) => self.take_brought(brought).await,
                Event::InventoryDue => self.send_inventory(client).await,
                Event::RefreshDue => self.want_refresh(),
            }
        }
    }

    /// The engine said all it has: at the start, or after a gap.
    async fn take_list(&mut self, listed: Listed) {
        let first = self.last_event_ns.is_none();
        let now = kit::now();
        let mut details = listed.details;
        for id in &listed.slow {
            details.extend(self.containers.get(id).cloned());
            self.inspects.want(id);
        }
        let gone = self.containers.replace(details);
        for details in &gone {
            let told = self
                .containers
                .tell_of(&details.record, now, EventKind::Removed);
            self.publish(&told).await;
            self.keeper.logs.removed(details.record.id.clone()).await;
        }
        let present: Vec<Details> = self.containers.iter().cloned().collect();
        let known = present.iter().map(|details| details.record.id.clone());
        let ids = known.chain(listed.slow).collect();
        self.keeper.logs.keep_only(ids).await;
        for details in &present {
            if !first {
                let told = self
                    .containers
                    .tell_of(&details.record, now, EventKind::Gap);
                self.publish(&told).await;
            }
            let seen = if first { Seen::AtStart } else { Seen::Later };
            let node = &self.keeper.node;
            self.keeper.logs.described(node, details, seen).await;
        }
        self.changed();
    }

    async fn take_event(&mut self, client: &Client, event: &EngineEvent) {
        self.last_event_ns = self.last_event_ns.max(Some(event.at_ns));
        if !self.containers.is_news(event) {
            return;
        }
        if let Some(told) = self.containers.tell(event) {
            self.publish(&told).await;
            // Before anything is asked: a container that lives for milliseconds is gone with the answer, and its log too.
            let described = self.containers.get(&event.id);
            let described = described.filter(|details| details.told == Told::Inspect);
            let known = described.map(|details| details.log.clone());
            let expected = client.expected_log(&event.id);
            self.keeper
                .logs
                .happened(event.action, told, known, expected)
                .await;
        }
        self.containers.note(event);
        match event.action {
            Action::Destroy => {
                self.inspects.removed(&event.id);
            }
            Action::Health(_) | Action::Kill | Action::OutOfMemory => {
                if self.inspects.overtaken(&event.id) {
                    self.inspects.want(&event.id);
                }
            }
            Action::Create
            | Action::Start
            | Action::Die
            | Action::Pause
            | Action::Unpause
            | Action::Update
            | Action::Rename
            | Action::Network => {
                self.inspects.overtaken(&event.id);
                self.inspects.want(&event.id);
            }
        }
        self.changed();
        self.tell_sampler();
    }

    async fn take_answer(
        &mut self,
        id: &ContainerId,
        answer: Result<Option<Details>, DockerError>,
    ) -> Result<(), DockerError> {
        let verdict = self.inspects.done(id);
        let details = match answer {
            Ok(details) => details,
            // The next round of refreshing asks again.
            Err(error) if error.is_slow() => {
                RequestFailed { error: &error }.emit();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let changed = match (verdict, details) {
            (Answer::Drop, _) => false,
            (Answer::Take, None) => self.containers.forget(id).is_some(),
            (Answer::Take, Some(details)) => {
                let changed = self.containers.learn(details.clone());
                if changed {
                    let node = &self.keeper.node;
                    self.keeper
                        .logs
                        .described(node, &details, Seen::Later)
                        .await;
                }
                changed
            }
        };
        if changed {
            self.changed();
            self.tell_sampler();
        }
        Ok(())
    }

    /// What a slow question gave; what it did not give is asked again when its time comes.
    async fn take_brought(&mut self, brought: Brought) {
        self.errands.done();
        let keeper = &self.keeper;
        let error = match brought {
            Brought::Layer(id, Ok(bytes)) => {
                if let Some(bytes) = bytes {
                    keeper.extras.layer(&id, bytes);
                }
                return;
            }
            Brought::State(state) => match *state {
                Ok(state) => {
                    let points = errands::points(keeper.node.clone(), &state, &self.containers);
                    let to = &keeper.outbox;
                    send(
                        to,
                        keeper.partitions,
                        points,
                        &keeper.meta,
                        &keeper.instruments,
                    )
                    .await;
                    return;
                }
                Err(error) => error,
            },
            Brought::Layer(_, Err(error)) => error,
        };
        RequestFailed { error: &error }.emit();
    }

    /// Wants the next few containers of the round.
    fn want_refresh(&mut self) {
        let steps = REFRESH_ROUND.as_secs() / REFRESH_STEP.as_secs();
        let count = (self.containers.len() as u64).div_ceil(steps) as usize;
        for id in self.containers.ids_after(self.refreshed.as_ref(), count) {
            self.inspects.want(&id);
            self.refreshed = Some(id);
        }
    }

    fn tell_sampler(&self) {
        self.keeper
            .roster
            .send_replace(Arc::new(self.containers.roster(Engine::Answering)));
    }

    fn changed(&mut self) {
        self.told = None;
        self.pacing.changed();
    }

    async fn send_inventory(&mut self, client: &Client) {
        let told = self.told.take();
        let mut inventory = NodeInventory {
            node: self.keeper.node.clone(),
            at: kit::now(),
            steady: Some(kit::steady()),
            capacity: client.capacity,
            engine: client.engine.clone(),
            facts: self.keeper.facts.clone().over(&client.facts),
            containers: told.unwrap_or_else(|| self.containers.told(Specs::Told)),
        };
        let mut record = wire::encode(&inventory, &self.keeper.meta);
        if record.size_bytes() > INVENTORY_BYTES_MAX {
            // So many containers that what they were made from does not fit: that they are there is worth more.
            inventory.containers = self.containers.told(Specs::LeftOut);
            record = wire::encode(&inventory, &self.keeper.meta);
        }
        self.told = Some(inventory.containers);
        self.pacing.sent(Instant::now(), record.size_bytes());
        self.keeper.outbox.send(Parcel::inventory(record)).await;
    }

    async fn publish(&self, event: &ContainerEvent) {
        let record = wire::encode(event, &self.keeper.meta);
        let at_ns = event.at_unix_ns;
        let at_ns = at_ns.unwrap_or_else(|| event.at.as_millis().saturating_mul(1_000_000));
        let parcel = Parcel::event(record, at_ns);
        self.keeper.outbox.send(parcel).await;
    }
}

/// What the engine says of a container. One that is in none of its networks all of a sudden is asked about once more before it is
/// believed: told of as isolated it would count as lost.
async fn inspected(
    client: &Client,
    id: &ContainerId,
    was_in: bool,
) -> Result<Option<Details>, DockerError> {
    let answer = client.inspect(id).await?;
    let is_out = answer.as_ref().is_some_and(|it| it.record.is_isolated());
    if !(was_in && is_out) {
        return Ok(answer);
    }
    tokio::time::sleep(NETWORKS_SETTLE).await;
    client.inspect(id).await
}
