//! Hosts: an engine with its containers, the collector's side, and clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::NewRecord;
use units::{
    Bytes, ContainerEvent, ContainerId, ContainerState, EngineInfo, EventKind, Millicores,
    NodeCapacity, NodeFacts, NodeId, NodeInventory, Steady, Timestamp,
};

use super::World;
use super::actuator::Actuator;
use super::agenda::Happening;
use super::container::Container;
use super::engine::{Mood, Operation};
use super::log::{Author, Topic};

/// The collector looks this often, and at once after the actuator did something.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Records waiting on a node for the log; beyond it the oldest are lost, as in a full spool.
const SPOOL_MAX: usize = 4_096;

/// A record that waits for the log.
#[derive(Debug, Clone)]
pub(super) struct Spooled {
    topic: Topic,
    record: NewRecord,
    made_at: Timestamp,
    author: Author,
}

/// One host.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    pub(super) up: bool,
    pub(super) boot: u32,
    pub(super) booted_at: Timestamp,
    /// It reaches the log.
    pub(super) connected: bool,
    /// Where it stands, if it says so.
    pub(super) zone: Option<String>,
    /// Its time of day less the true one.
    pub(super) clock_off_ms: i64,
    /// When its clock was last set, by true time.
    pub(super) clock_set_at: Timestamp,
    /// Cores, in millicores, and the share that something else takes.
    pub(super) cpu_millicores: f64,
    pub(super) stolen: f64,
    pub(super) looked_at: Timestamp,
    pub(super) said_at: Timestamp,
    pub(super) mood: Mood,
    pub(super) operations: BTreeMap<u64, Operation>,
    pub(super) count: u64,
    pub(super) actuator: Actuator,
    pub(super) spool: Vec<Spooled>,
}

impl Node {
    pub(super) fn new(id: NodeId, cpu_millicores: f64, now: Timestamp) -> Self {
        Node {
            id,
            containers: BTreeMap::new(),
            up: true,
            boot: 0,
            booted_at: now - Duration::from_secs(86_400),
            connected: true,
            zone: None,
            clock_off_ms: 0,
            clock_set_at: Timestamp::EPOCH,
            cpu_millicores,
            stolen: 0.0,
            looked_at: now,
            said_at: now,
            mood: Mood::default(),
            operations: BTreeMap::new(),
            count: 0,
            actuator: Actuator::default(),
            spool: Vec::new(),
        }
    }

    /// Somebody sets its time of day.
    pub(super) fn set_clock(&mut self, off_ms: i64, now: Timestamp) {
        (self.clock_off_ms, self.clock_set_at) = (off_ms, now);
    }

    /// Its time of day.
    pub(super) fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis() + self.clock_off_ms)
    }

    /// An id no container of the world had before.
    pub(super) fn fresh(&mut self) -> ContainerId {
        self.count += 1;
        ContainerId::new(format!("{}-{:04x}", self.id, self.count))
    }
}

impl World {
    /// A node's processes go on, and its collector looks.
    pub(super) fn look(&mut self, at: usize) {
        self.agenda.note(self.now + LOOK_EVERY, Happening::Node(at));
        if !self.nodes[at].up {
            return;
        }
        self.advance(at);
        self.share_cpu(at);
        self.say_inventory(at);
        self.say_exports(at);
    }

    fn advance(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let (since, clock) = (node.looked_at, node.clock(now));
        node.looked_at = now;
        let mut told = Vec::new();
        for container in node.containers.values_mut() {
            let service = &self.services[container.service];
            for kind in container.advance(since, now, clock, service.startup, service.checked) {
                told.push((container.id.clone(), kind));
            }
        }
        for (container, kind) in told {
            self.tell(at, &container, kind, Author::Role);
        }
    }

    /// Requests go to what works, evenly; a node's processes share what it has.
    fn share_cpu(&mut self, at: usize) {
        let now = self.now;
        let mut working = vec![0_u32; self.services.len()];
        for container in self.nodes.iter().flat_map(|node| node.containers.values()) {
            if container.works(now) {
                working[container.service] += 1;
            }
        }
        let node = &mut self.nodes[at];
        let has = node.cpu_millicores * (1.0 - node.stolen);
        let mut asked = 0.0;
        for container in node.containers.values_mut() {
            let share = match container.works(now) {
                true => {
                    let demand = self.services[container.service].demand;
                    demand / f64::from(working[container.service].max(1))
                }
                false => 0.0,
            };
            container.use_millicores = share.min(container.capacity());
            container.throttled = match share > container.use_millicores {
                true => 1.0 - container.use_millicores / share,
                false => 0.0,
            };
            asked += container.use_millicores;
        }
        if asked > has {
            for container in node.containers.values_mut() {
                container.use_millicores *= has / asked;
            }
        }
    }

    /// Writes what the node holds.
    pub(super) fn say_inventory(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        // Two in the same millisecond cannot be told apart; the next look tells.
        if !node.up || node.said_at == now {
            return;
        }
        node.said_at = now;
        let mut containers: Vec<_> = node
            .containers
            .values()
            .map(|it| it.record(&self.services[it.service].id))
            .collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let inventory = NodeInventory {
            node: node.id.clone(),
            at: node.clock(now),
            steady: Some(Steady::from_millis(
                now.since(node.booted_at).as_millis() as u64
            )),
            capacity: NodeCapacity {
                cpu: Millicores(node.cpu_millicores as u64),
                memory: Bytes::from_mib(16_384),
            },
            engine: EngineInfo::default(),
            facts: NodeFacts {
                zone: node.zone.clone(),
                ..NodeFacts::default()
            },
            containers,
        };
        self.send(Topic::Inventory, &inventory, Some(at), Author::Role);
    }

    /// Writes what the engine tells of a container.
    pub(super) fn tell(&mut self, at: usize, id: &ContainerId, kind: EventKind, author: Author) {
        let node = &mut self.nodes[at];
        let Some(container) = node.containers.get(id) else {
            return;
        };
        let clock = node.clock(self.now);
        node.count += 1;
        let event = ContainerEvent {
            at: clock,
            at_unix_ns: Some(clock.as_millis() * 1_000_000 + (node.count % 1_000_000) as i64),
            node: node.id.clone(),
            service: self.services[container.service].id.clone(),
            container: id.clone(),
            name: container.name.clone(),
            kind,
        };
        self.note(|_| format!("{} {:?} by {author:?}", event.name, event.kind));
        self.send(Topic::Events, &event, Some(at), author);
    }

    /// Writes a record; what a node that is cut off writes waits there.
    pub(super) fn send<T: wire::Json + PartialEq>(
        &mut self,
        topic: Topic,
        value: &T,
        from: Option<usize>,
        author: Author,
    ) {
        let record = match super::log::encode(value, self.log.meta()) {
            Ok(record) => record,
            Err(problem) => {
                self.oracle.codec(self.now, problem);
                return;
            }
        };
        match from {
            Some(at) if !self.nodes[at].connected => {
                let spool = &mut self.nodes[at].spool;
                if spool.len() == SPOOL_MAX {
                    spool.remove(0);
                }
                spool.push(Spooled {
                    topic,
                    record,
                    made_at: self.now,
                    author,
                });
            }
            Some(_) | None => self.append(topic, record, self.now, author),
        }
    }

    /// The node reaches the log again.
    pub(super) fn reconnect(&mut self, at: usize) {
        self.nodes[at].connected = true;
        // A host that is off sends nothing that waits on it. Where that is not looked at it does, as it always did.
        if self.options.is_losing() && !self.nodes[at].up {
            return;
        }
        for waiting in std::mem::take(&mut self.nodes[at].spool) {
            self.append(
                waiting.topic,
                waiting.record,
                waiting.made_at,
                waiting.author,
            );
        }
        self.agenda.note(self.now, Happening::Commands(at));
    }

    /// The host loses power: nothing on it goes on, its clocks stand.
    pub(super) fn die(&mut self, at: usize) {
        let now = self.now;
        let starts_again = self.starts_again();
        let node = &mut self.nodes[at];
        node.up = false;
        let clock = node.clock(now);
        for (_, operation) in std::mem::take(&mut node.operations) {
            self.oracle.ended(&operation.command.id);
        }
        let node = &mut self.nodes[at];
        for container in node.containers.values_mut() {
            let ran = matches!(
                container.state,
                ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
            );
            if ran {
                // The engine finds it ended when it starts, and starts it again by its restart policy.
                container.end(now, clock, 137);
                let starts = starts_again && container.fenced_at.is_none();
                container.again_at = starts.then_some(now);
            }
        }
        node.actuator.stop();
    }

    /// The host boots.
    pub(super) fn boot(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        if node.up {
            return;
        }
        node.up = true;
        node.boot += 1;
        node.booted_at = now;
        node.looked_at = now;
        let clock = node.clock(now);
        let mut started = Vec::new();
        for container in node.containers.values_mut() {
            if container.state == ContainerState::Exited && container.again_at.is_some() {
                let service = &self.services[container.service];
                container.start(now, clock, service.startup, service.checked);
                started.push(container.id.clone());
            }
        }
        for id in started {
            self.tell(at, &id, EventKind::Started, Author::Role);
        }
        self.agenda
            .note(now + Duration::from_secs(2), Happening::Actuator(at));
        self.booted(at);
    }
}
