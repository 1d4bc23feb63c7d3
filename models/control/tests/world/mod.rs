//! A small world: nodes with containers, the topics as lists, an actuator that runs each command once, and a core at the helm.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test binary uses its part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit::{Auditor, Bounds};
use control::{Config, Core, Effect, Event};
use units::{
    Action, ActionKind, Approval, Attachment, Command, CommandId, Confidence, ContainerEvent,
    ContainerId, ContainerName, ContainerRecord, ContainerState, EngineInfo, EventKind, Fenced,
    Forecast, ForecastPoint, Generation, HealthState, Heartbeat, Image, ImageChange, ImageSource,
    JournalEntry, Limits, LoadMetric, LoadUnit, MetricLoad, Millicores, Mode, NetworkSpec,
    NodeCapacity, NodeFacts, NodeId, NodeInventory, Outcome, OutcomeResult, Phase, PlanEntry,
    PlanId, Policy, Ratio, Refusal, ScalePolicy, ScaleTarget, SeriesSelector, ServiceId, Severity,
    Signal, SignalId, SignalKind, SignalPhase, Sizing, StandingExport, Subject, Timestamp, Update,
    UpdateId,
};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn acting() -> Config {
    Config {
        max_mode: Mode::Act,
        ..Config::default()
    }
}

pub fn bounds(config: &Config) -> Bounds {
    Bounds {
        max_mode: config.max_mode,
        node_concurrent: config.budget.node_concurrent,
        global_concurrent: config.budget.global_concurrent,
        service_hourly: config.budget.service_hourly,
        global_hourly: config.budget.global_hourly,
    }
}

pub fn policy(scale: Option<(u32, u32)>) -> Policy {
    Policy {
        mode: Mode::Act,
        heal: true,
        scale: scale.map(|(min, max)| ScalePolicy {
            min,
            max,
            target: ScaleTarget::Cpu(Ratio::saturating(0.7)),
        }),
        ..Policy::default()
    }
}

/// The same, with a promise of 99.9 %.
pub fn promising(min: u32, max: u32) -> Policy {
    Policy {
        scale: Some(ScalePolicy {
            min,
            max,
            target: ScaleTarget::Slo(Ratio::saturating(0.001)),
        }),
        ..policy(None)
    }
}

/// The same, by a series.
pub fn counted_by(target: &str, min: u32, max: u32) -> Policy {
    let labels = [
        ("io.homeostat.scale", format!("{min}..{max}")),
        ("io.homeostat.scale.target", target.to_owned()),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
    let (read, problems) = Policy::from_labels(&labels);
    assert_eq!(problems, Vec::new());
    Policy {
        scale: read.scale,
        ..policy(None)
    }
}

pub struct World {
    pub now: Timestamp,
    pub config: Config,
    pub core: Core,
    pub auditor: Auditor,
    pub generation: Generation,
    pub nodes: BTreeMap<NodeId, Vec<ContainerRecord>>,
    pub journal: Vec<JournalEntry>,
    pub commands: Vec<Command>,
    pub signals: Vec<Signal>,
    pub outcomes: Vec<Outcome>,
    pub forecasts: Vec<Forecast>,
    pub events: Vec<ContainerEvent>,
    pub inventories: BTreeMap<NodeId, NodeInventory>,
    /// The actuators' ledger.
    pub done: BTreeMap<CommandId, Outcome>,
    pub heard: Generation,
    /// What forecasts say is needed.
    pub usage: Option<units::Usage>,
    /// How containers are made, as their nodes told.
    pub exported: BTreeMap<String, ContainerRecord>,
    /// Nodes on which nothing can be made as it was elsewhere.
    pub broken: Vec<NodeId>,
    /// What every node says it has.
    pub capacity_of_nodes: NodeCapacity,
    /// Nodes that are gone or cut off: their collectors are not heard.
    pub down: BTreeSet<NodeId>,
    /// Nodes whose actuators send heartbeats while they are not down, with what was fenced there.
    pub beating: BTreeMap<NodeId, Vec<Fenced>>,
    pub exports: BTreeMap<ContainerId, StandingExport>,
    pub zones: BTreeMap<NodeId, String>,
}

impl World {
    /// Nobody leads yet.
    pub fn new(config: Config) -> Self {
        World {
            now: Timestamp::from_millis(1_700_000_000_000),
            core: Core::new(config.clone()),
            auditor: Auditor::new(bounds(&config)),
            config,
            generation: Generation(0),
            nodes: BTreeMap::new(),
            journal: Vec::new(),
            commands: Vec::new(),
            signals: Vec::new(),
            outcomes: Vec::new(),
            forecasts: Vec::new(),
            events: Vec::new(),
            inventories: BTreeMap::new(),
            done: BTreeMap::new(),
            heard: Generation(0),
            usage: None,
            exported: BTreeMap::new(),
            broken: Vec::new(),
            capacity_of_nodes: NodeCapacity::default(),
            down: BTreeSet::new(),
            beating: BTreeMap::new(),
            exports: BTreeMap::new(),
            zones: BTreeMap::new(),
        }
    }

    pub fn with(mut self, node: &str, name: &str, service: &str, policy: Policy) -> Self {
        let created = self.now - secs(86_400);
        self.nodes
            .entry(NodeId::from(node))
            .or_default()
            .push(ContainerRecord {
                id: ContainerId::new(format!("id-{name}")),
                name: ContainerName::from(name),
                service: ServiceId::from(service),
                image: "image:1".to_owned(),
                state: ContainerState::Running,
                health: HealthState::Healthy,
                restarts: 0,
                created_at: Some(created),
                started_at: Some(created),
                finished_at: None,
                exit_code: None,
                limits: Limits::default(),
                policy,
                label_problems: Vec::new(),
                replica_of: None,
                made_by: None,
                copy_obstacles: Vec::new(),
                spec: None,
            });
        self
    }

    pub fn leading(mut self) -> Self {
        self.tell_inventory();
        self.take_over();
        self
    }

    /// A new core reads the topics and leads: what a restarted controller does.
    pub fn take_over(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
        self.core = Core::new(self.config.clone());
        let history = [
            self.outcomes
                .iter()
                .cloned()
                .map(|it| Event::Outcome(Box::new(it)))
                .collect::<Vec<_>>(),
            self.events
                .iter()
                .cloned()
                .map(|it| Event::Container(Box::new(it)))
                .collect(),
            self.journal
                .iter()
                .cloned()
                .map(|it| Event::Journal(Box::new(it)))
                .collect(),
            self.inventories
                .values()
                .cloned()
                .map(|it| Event::Inventory(Box::new(it)))
                .collect(),
            self.forecasts
                .iter()
                .cloned()
                .map(|it| Event::Forecast(Box::new(it)))
                .collect(),
            self.signals
                .iter()
                .cloned()
                .map(|it| Event::Signal(Box::new(it)))
                .collect(),
            self.exports
                .values()
                .cloned()
                .map(|it| Event::Export(Box::new(it)))
                .collect(),
        ];
        for event in history.into_iter().flatten() {
            assert_eq!(
                self.core.handle(self.now, event),
                Vec::new(),
                "nothing is decided while reading"
            );
        }
        self.tell(Event::Recovered);
        self.tell(Event::Leading(self.generation));
    }

    /// Tells the core, audits what it wants, and writes it to the topics.
    pub fn tell(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.core.handle(self.now, event);
        for effect in &effects {
            match effect {
                Effect::Journal(entry) => {
                    if let JournalEntry::Plan(entry) = &**entry
                        && entry.phase == Phase::Decided
                    {
                        let found = self.auditor.check(&entry.plan, self.now);
                        assert_eq!(found, Vec::new(), "{:#?}", entry.plan);
                    }
                    self.auditor.observe_entry(entry);
                    self.journal.push((**entry).clone());
                }
                Effect::Command(command) => {
                    let found = self.auditor.check_command(command, self.now);
                    assert_eq!(found, Vec::new(), "{command:#?}");
                    self.commands.push((**command).clone());
                }
            }
        }
        effects
    }

    /// Time goes by; nodes speak every second, and the core is ticked at each deadline.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let next = (self.now + secs(1)).min(end);
            while let Some(at) = self
                .core
                .deadline()
                .filter(|at| *at > self.now && *at < next)
            {
                self.now = at;
                self.tell(Event::Tick);
            }
            self.now = next;
            self.tell_inventory();
            self.tell(Event::Tick);
        }
    }

    /// A moment later, because a node does not speak twice in the same millisecond.
    pub fn tell_inventory(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
            if !self.down.contains(&node) {
                self.beat(&node);
                self.tell_node(&node);
            }
        }
    }

    fn beat(&mut self, node: &NodeId) {
        let Some(fenced) = self.beating.get(node) else {
            return;
        };
        let beat = Heartbeat {
            node: node.clone(),
            at: self.now,
            lease: secs(6),
            fenced: fenced.clone(),
            healed: Vec::new(),
        };
        self.auditor.observe_heartbeat(&beat, self.now);
        self.tell(Event::Heartbeat(Box::new(beat)));
    }

    /// The actuators of all nodes are there, and tell how what may be moved is made.
    pub fn beats(mut self) -> Self {
        for (node, containers) in self.nodes.clone() {
            self.beating.insert(node.clone(), Vec::new());
            for record in containers.into_iter().filter(|it| it.policy.movable) {
                let sealed = format!("standing {}", record.id);
                let export = StandingExport {
                    container: record.id.clone(),
                    name: record.name.clone(),
                    service: record.service.clone(),
                    node: node.clone(),
                    at: self.now,
                    sealed: sealed.clone(),
                    image: ImageSource::Registry,
                };
                self.exported.insert(sealed, record.clone());
                self.exports.insert(record.id, export.clone());
                self.tell(Event::Export(Box::new(export)));
            }
        }
        self
    }

    pub fn tell_node(&mut self, node: &NodeId) {
        let inventory = NodeInventory {
            node: node.clone(),
            at: self.now,
            steady: None,
            capacity: self.capacity_of_nodes,
            engine: EngineInfo::default(),
            facts: NodeFacts {
                zone: self.zones.get(node).cloned(),
                ..NodeFacts::default()
            },
            containers: self.nodes[node].clone(),
        };
        self.inventories.insert(node.clone(), inventory.clone());
        self.auditor.observe_inventory(&inventory);
        self.tell(Event::Inventory(Box::new(inventory)));
    }

    pub fn container(&mut self, name: &str) -> &mut ContainerRecord {
        let all = self.nodes.values_mut().flatten();
        all.into_iter()
            .find(|record| record.name.as_str() == name)
            .unwrap()
    }

    pub fn place(&self, name: &str) -> (NodeId, ContainerRecord) {
        for (node, containers) in &self.nodes {
            if let Some(record) = containers
                .iter()
                .find(|record| record.name.as_str() == name)
            {
                return (node.clone(), record.clone());
            }
        }
        panic!("no container {name}");
    }

    pub fn open(&mut self, kind: SignalKind, name: &str, severity: Severity) -> Signal {
        let (node, record) = self.place(name);
        let subject = Subject::container(record.service, node, record.id, record.name);
        self.open_about(kind, subject, severity)
    }

    pub fn open_about(&mut self, kind: SignalKind, subject: Subject, severity: Severity) -> Signal {
        let fingerprint = subject.fingerprint(kind);
        let signal = Signal {
            id: SignalId::of(&fingerprint, self.now),
            fingerprint,
            phase: SignalPhase::Open,
            kind,
            reason: format!("{subject} has {kind}"),
            subject,
            severity,
            score: Ratio::saturating(0.99),
            confidence: Confidence::High,
            opened_at: self.now,
            at: self.now,
            evidence: Vec::new(),
            traceparent: None,
        };
        self.say(signal.clone());
        signal
    }

    pub fn resolve(&mut self, signal: &Signal) {
        self.say(Signal {
            phase: SignalPhase::Resolve,
            at: self.now,
            ..signal.clone()
        });
    }

    pub fn say(&mut self, signal: Signal) {
        self.signals.push(signal.clone());
        self.tell(Event::Signal(Box::new(signal)));
    }

    /// A person approves a plan.
    pub fn approve(&mut self, plan: &PlanId) {
        let entry = JournalEntry::Approval(Approval {
            plan: plan.clone(),
            at: self.now,
            by: Some("ada".to_owned()),
        });
        self.journal.push(entry.clone());
        self.auditor.observe_entry(&entry);
        self.tell(Event::Journal(Box::new(entry)));
    }

    /// A person orders another image.
    pub fn order(&mut self, service: &str, image: &str) -> Update {
        let service = ServiceId::from(service);
        let order = Update {
            id: UpdateId::of(&service, self.now),
            service,
            image: image.to_owned(),
            at: self.now,
            by: Some("ada".to_owned()),
        };
        let entry = JournalEntry::Update(order.clone());
        self.journal.push(entry.clone());
        self.auditor.observe_entry(&entry);
        self.tell(Event::Journal(Box::new(entry)));
        order
    }

    pub fn happen(&mut self, name: &str, kind: EventKind) {
        let (node, record) = self.place(name);
        let event = ContainerEvent {
            at: self.now,
            at_unix_ns: None,
            node,
            service: record.service,
            container: record.id,
            name: record.name,
            kind,
        };
        self.events.push(event.clone());
        self.tell(Event::Container(Box::new(event)));
    }

    /// A forecast of flat load in millicores, by as many replicas as run.
    pub fn load(&mut self, service: &str, observed: f64, throttled: f64) {
        let all = self.nodes.values().flatten();
        let running = all.filter(|record| {
            record.service.as_str() == service && record.state == ContainerState::Running
        });
        let replicas = u32::try_from(running.count()).unwrap();
        self.tell_load(service, observed, throttled, replicas, None);
    }

    /// A load for which so many replicas keep what was promised.
    pub fn load_sized(&mut self, service: &str, observed: f64, sized: u32) {
        let sizing = Sizing {
            replicas: sized,
            expected: observed * 1.1,
            spread: observed / 10.0,
            price: 40.0,
            slo: Ratio::saturating(0.001),
            broken: Ratio::saturating(0.0),
        };
        let replicas = u32::try_from(self.replicas(service)).unwrap();
        self.tell_load(service, observed, 0.0, replicas, Some(sizing));
    }

    /// The load, given by so many replicas, whatever the inventory says.
    pub fn load_of(&mut self, service: &str, observed: f64, replicas: u32) {
        self.tell_load(service, observed, 0.0, replicas, None);
    }

    fn tell_load(
        &mut self,
        service: &str,
        observed: f64,
        throttled: f64,
        replicas: u32,
        sizing: Option<Sizing>,
    ) {
        self.tell_loads(service, observed, throttled, replicas, sizing, Vec::new());
    }

    fn tell_loads(
        &mut self,
        service: &str,
        observed: f64,
        throttled: f64,
        replicas: u32,
        sizing: Option<Sizing>,
        loads: Vec<MetricLoad>,
    ) {
        let service = ServiceId::from(service);
        let forecast = Forecast {
            at: self.now,
            metric: LoadMetric::CpuMillicores,
            observed,
            recent_peak: observed,
            replicas,
            replica_capacity: self.capacity(&service).unwrap_or(Millicores(250)),
            throttled,
            method: "flat".to_owned(),
            points: [15, 30, 60]
                .map(|ahead| ForecastPoint {
                    ahead: secs(ahead),
                    expected: observed,
                    low: observed,
                    high: observed,
                })
                .to_vec(),
            startup_s: None,
            sizing,
            usage: self.usage,
            loads,
            service,
        };
        self.forecasts.push(forecast.clone());
        self.tell(Event::Forecast(Box::new(forecast)));
    }

    /// A forecast of little CPU that tells a series read now, by so many containers of so many.
    pub fn load_told(&mut self, service: &str, metric: &str, total: f64, told: (u32, u32)) {
        let (containers, ready) = told;
        let points = [15, 30, 60].map(|ahead| ForecastPoint {
            ahead: secs(ahead),
            expected: total,
            low: total,
            high: total,
        });
        let load = MetricLoad {
            metric: SeriesSelector::parse(metric).unwrap(),
            at: self.now,
            unit: match metric.ends_with("_total") {
                true => LoadUnit::PerSecond,
                false => LoadUnit::Level,
            },
            total,
            recent_peak: total,
            points: points.to_vec(),
            containers,
            missing: ready - containers,
        };
        self.tell_loads(service, 10.0, 0.0, ready, None, vec![load]);
    }

    fn capacity(&self, service: &ServiceId) -> Option<Millicores> {
        let mut all = self.nodes.values().flatten();
        all.find(|record| record.service == *service)?.limits.cpu
    }

    /// A second of time with the same load, so many times.
    pub fn carry(&mut self, service: &str, observed: f64, throttled: f64, seconds: u64) {
        for _ in 0..seconds {
            self.pass(secs(1));
            self.load(service, observed, throttled);
        }
    }

    /// The actuators do what they were sent, and answer.
    pub fn actuate(&mut self) -> Vec<Outcome> {
        let outcomes = self.engine();
        for outcome in &outcomes {
            self.answer(outcome.clone());
        }
        self.tell_inventory();
        outcomes
    }

    /// The same; what was made, by its image, shows at once what it does.
    pub fn engine_and_answers(
        &mut self,
        before: &[ContainerId],
        does: &dyn Fn(&mut ContainerRecord),
    ) {
        let outcomes = self.engine();
        for record in self.nodes.values_mut().flatten() {
            if !before.contains(&record.id) {
                does(record);
            }
        }
        for outcome in outcomes {
            self.answer(outcome);
        }
        self.tell_inventory();
    }

    pub fn answer(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome.clone());
        self.tell(Event::Outcome(Box::new(outcome)));
    }

    /// Carries every command out that was not yet, each once, and returns what is to be told.
    pub fn engine(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for command in self.commands.clone() {
            if self.done.contains_key(&command.id) || self.down.contains(&command.node) {
                continue;
            }
            let result = self.carry_out(&command);
            let outcome = Outcome {
                command: command.id.clone(),
                plan: command.plan.clone(),
                node: command.node.clone(),
                began_at: self.now,
                at: self.now,
                result,
                traceparent: None,
                note: None,
            };
            self.done.insert(command.id.clone(), outcome.clone());
            outcomes.push(outcome);
        }
        outcomes
    }

    fn carry_out(&mut self, command: &Command) -> OutcomeResult {
        let refuse = |refusal| OutcomeResult::Refused {
            refusal,
            reason: String::new(),
        };
        if command.generation < self.heard {
            return refuse(Refusal::StaleGeneration);
        }
        self.heard = command.generation;
        if command.deadline < self.now {
            return refuse(Refusal::Expired);
        }
        let now = self.now;
        let containers = self.nodes.get_mut(&command.node).unwrap();
        if let Action::CreateReplica {
            origin: Some(origin),
            name,
            ..
        } = &command.action
        {
            if self.broken.contains(&command.node) {
                return OutcomeResult::Failed {
                    error: "no such network".to_owned(),
                };
            }
            let record = self.exported[&origin.sealed].clone();
            let record = made(command, name, record, now);
            let created = Some(record.id.clone());
            containers.push(record);
            return succeeded(created);
        }
        let Some(place) = containers
            .iter()
            .position(|record| record.id == *command.action.target())
        else {
            return OutcomeResult::Vanished;
        };
        if let Action::Export { .. } = &command.action {
            let told = format!("sealed for {}", command.id);
            self.exported
                .insert(told.clone(), containers[place].clone());
            return OutcomeResult::Succeeded {
                created: None,
                previous: None,
                image: None,
                sealed: Some(told),
                networks: Vec::new(),
            };
        }
        let (mut created, mut previous, mut pulled) = (None, None, None);
        let mut networks = Vec::new();
        match &command.action {
            Action::Restart { .. } => {
                containers[place].started_at = Some(now);
                containers[place].state = ContainerState::Running;
                containers[place].health = HealthState::Healthy;
            }
            Action::Recreate { image, .. } => {
                let record = &mut containers[place];
                record.id = ContainerId::new(format!("id-{}", command.id));
                record.created_at = Some(now);
                record.started_at = Some(now);
                record.state = ContainerState::Running;
                record.health = HealthState::Healthy;
                run_image(record, image.as_ref());
                created = Some(record.id.clone());
            }
            Action::UpdateLimits { limits, .. } => {
                let record = &mut containers[place];
                let before = record.limits;
                record.limits.cpu = limits.cpu.or(before.cpu);
                record.limits.memory = limits.memory.or(before.memory);
                previous = Some(before);
            }
            Action::CreateReplica { name, image, .. } => {
                let mut record = made(command, name, containers[place].clone(), now);
                run_image(&mut record, image.as_ref());
                created = Some(record.id.clone());
                containers.push(record);
            }
            Action::RemoveReplica { .. } => {
                if containers[place].made_by.is_none() {
                    return refuse(Refusal::NotOurs);
                }
                containers.remove(place);
            }
            Action::PullImage { reference, .. } => {
                pulled = Some(Image {
                    reference: reference.clone(),
                    id: format!("sha256:{reference}"),
                });
            }
            Action::Stop { .. } => {
                containers[place].state = ContainerState::Exited;
                containers[place].finished_at = Some(now);
                containers[place].exit_code = Some(143);
            }
            Action::Isolate { .. } => networks = attach(&mut containers[place], &[]),
            Action::Rejoin { networks, .. } => {
                attach(&mut containers[place], networks);
            }
            Action::Export { .. } => {}
        }
        OutcomeResult::Succeeded {
            networks,
            sealed: None,
            created,
            previous,
            image: pulled,
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &PlanEntry> {
        self.journal.iter().filter_map(|entry| match entry {
            JournalEntry::Plan(entry) => Some(&**entry),
            JournalEntry::Breaker(_)
            | JournalEntry::Approval(_)
            | JournalEntry::Update(_)
            | JournalEntry::Node(_) => None,
        })
    }

    pub fn in_phase(&self, phase: Phase) -> Vec<&PlanEntry> {
        self.entries()
            .filter(|entry| entry.phase == phase)
            .collect()
    }

    pub fn last(&self) -> &PlanEntry {
        self.entries().last().expect("something was journaled")
    }

    /// What the commands sent say, in order.
    pub fn sent(&self) -> Vec<String> {
        self.commands
            .iter()
            .map(|command| command.action.to_string())
            .collect()
    }

    pub fn count(&self, kind: ActionKind) -> usize {
        self.commands
            .iter()
            .filter(|command| command.action.kind() == kind)
            .count()
    }

    pub fn replicas(&self, service: &str) -> usize {
        self.nodes
            .values()
            .flatten()
            .filter(|record| record.service.as_str() == service)
            .count()
    }
}

/// A container made like another.
fn made(
    command: &Command,
    name: &ContainerName,
    template: ContainerRecord,
    now: Timestamp,
) -> ContainerRecord {
    ContainerRecord {
        replica_of: Some(template.id),
        id: ContainerId::new(format!("id-{}", command.id)),
        name: name.clone(),
        made_by: Some(command.plan.clone()),
        created_at: Some(now),
        started_at: Some(now),
        state: ContainerState::Running,
        health: HealthState::Healthy,
        ..template
    }
}

fn succeeded(created: Option<ContainerId>) -> OutcomeResult {
    OutcomeResult::Succeeded {
        created,
        previous: None,
        image: None,
        sealed: None,
        networks: Vec::new(),
    }
}

/// A container is in these networks from now on; those it was in.
fn attach(record: &mut ContainerRecord, networks: &[Attachment]) -> Vec<Attachment> {
    let mut spec = record.spec.as_deref().cloned().unwrap_or_default();
    let before = spec.networks.iter().map(|it| Attachment {
        network: it.name.clone(),
        aliases: it.aliases.clone(),
    });
    let before = before.collect();
    let after = networks.iter().map(|it| NetworkSpec {
        name: it.network.clone(),
        aliases: it.aliases.clone(),
        addresses: Vec::new(),
    });
    spec.networks = after.collect();
    record.spec = Some(spec.into());
    before
}

fn run_image(record: &mut ContainerRecord, change: Option<&ImageChange>) {
    if let (Some(change), Some(spec)) = (change, &record.spec) {
        let mut spec = (**spec).clone();
        spec.image_digest = change.to.id.clone();
        record.image = change.to.reference.clone();
        record.spec = Some(spec.into());
    }
}
