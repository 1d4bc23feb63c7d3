//! The scripts' language: one event a line, `SECONDS VERB WORDS…`; `#` begins a comment.
//!
//! Between lines time passes second by second: heartbeats of every node (unless `silent`), then a tick.
//!
//! | verb | what happens |
//! |---|---|
//! | `container NAME service=S …` | a container is there from now on (see `world.rs` for its options) |
//! | `remove NAME` | it is gone, and the engine says so |
//! | `lead G` / `follow` | this controller leads under generation G / does not |
//! | `open KIND NAME [warning]` | a signal about a container, about a service as `@SERVICE`, or about a node as `^NODE` |
//! | `resolve KIND NAME` | it is over |
//! | `load SERVICE MILLICORES [throttled=SHARE]` | from now on forecasts each second say so |
//! | `told SERVICE SERIES NUMBER` | from now on its forecasts tell this of a series, by all its containers |
//! | `done` / `fail` / `vanish` | the outcome of every command that has none, with its effect on the world |
//! | `obey` | from now on every command is `done` within a second |
//! | `again` | every outcome so far is delivered once more |
//! | `killed NAME` | the kernel killed a process in it for want of memory |
//! | `person stops NAME` | the engine tells of a stop that is not ours |
//! | `order drain NODE` | a person wants it drained; `cordon`, `uncordon` |
//! | `update SERVICE IMAGE` | a person orders an image for it; one whose name ends with `:bad` never serves |
//! | `spoil NODE` | what is made there from now on never serves |
//! | `silent` | no heartbeats from now on |
//! | `restart G` | the controller is killed; another reads the journal and leads under generation G |
//! | `wait` | nothing: time passes until then |

mod killed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use control::{Config, Core, Effect, Event};
use units::{
    Action, Command, Confidence, ContainerEvent, ContainerName, EventKind, Fingerprint, Forecast,
    ForecastPoint, Generation, JournalEntry, LoadMetric, LoadUnit, MetricLoad, Millicores, NodeId,
    NodeOrder, NodeWanted, Outcome, OutcomeResult, Ratio, SeriesSelector, ServiceId, Severity,
    Signal, SignalId, SignalKind, SignalPhase, Subject, Timestamp, Update, UpdateId,
};

use crate::render;
use crate::world::{self, World};

pub use killed::{Played, play_killed};

/// Plays a script and returns what the core said.
pub fn play(script: &str) -> String {
    let mut stage = Stage::new();
    stage.play(script);
    stage.said
}

impl Stage {
    fn play(&mut self, script: &str) {
        for line in script.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let seconds: f64 = words[0]
                .parse()
                .unwrap_or_else(|_| panic!("{line}: begin with the seconds"));
            self.pass_until(Timestamp::from_millis((seconds * 1_000.0) as i64));
            self.line(&words[1..]);
        }
    }
}

struct Stage {
    now: Timestamp,
    core: Core,
    world: World,
    signals: BTreeMap<Fingerprint, Signal>,
    loads: BTreeMap<String, (f64, f64)>,
    /// By service: a series, and what is told of it.
    told: BTreeMap<String, (SeriesSelector, f64)>,
    commands: Vec<Command>,
    outcomes: Vec<Outcome>,
    journal: Vec<JournalEntry>,
    heartbeats: bool,
    obeys: bool,
    said: String,
    /// Of the controller that leads, once one did.
    generation: Option<Generation>,
    /// What controllers and actuators have written.
    records: usize,
    killed_after: Option<usize>,
    fewest: BTreeMap<ServiceId, usize>,
}

impl Stage {
    fn new() -> Stage {
        let mut stage = Stage {
            now: Timestamp::EPOCH,
            core: Core::new(Config {
                max_mode: units::Mode::Act,
                ..Config::default()
            }),
            world: World::default(),
            signals: BTreeMap::new(),
            loads: BTreeMap::new(),
            told: BTreeMap::new(),
            commands: Vec::new(),
            outcomes: Vec::new(),
            journal: Vec::new(),
            heartbeats: true,
            obeys: false,
            said: String::new(),
            generation: None,
            records: 0,
            killed_after: None,
            fewest: BTreeMap::new(),
        };
        stage.event(Event::Recovered);
        stage
    }

    fn pass_until(&mut self, until: Timestamp) {
        while self.now < until {
            self.now = until.min(self.now + Duration::from_secs(1));
            if self.heartbeats {
                self.heartbeat();
                self.forecasts();
            }
            if self.obeys && !self.unanswered().is_empty() {
                self.outcomes(&succeeded());
            }
            self.event(Event::Tick);
            for (service, serving) in self.world.serving() {
                let fewest = self.fewest.entry(service).or_insert(serving);
                *fewest = serving.min(*fewest);
            }
        }
    }

    fn line(&mut self, words: &[&str]) {
        let (verb, rest) = words.split_first().expect("a verb");
        match *verb {
            "container" => self.world.container(rest, self.now),
            "remove" => self.removed(rest[0]),
            "lead" => {
                self.heartbeat();
                self.lead(Generation(rest[0].parse().unwrap()));
            }
            "follow" => self.event(Event::Following),
            "open" => self.open(rest),
            "resolve" => self.resolve(rest),
            "load" => self.load(rest),
            "told" => self.told(rest),
            "done" => self.outcomes(&succeeded()),
            "fail" => self.outcomes(&OutcomeResult::Failed {
                error: "the engine said no".to_owned(),
            }),
            "vanish" => self.outcomes(&OutcomeResult::Vanished),
            "obey" => self.obeys = true,
            "again" => self.again(),
            "killed" => self.container_event(rest[0], EventKind::OutOfMemory),
            "person" => self.container_event(
                rest[1],
                EventKind::Stopping {
                    signal: Some("15".to_owned()),
                },
            ),
            "order" => self.order(rest[0], rest[1]),
            "spoil" => self.world.spoil(rest[0]),
            "update" => self.update(rest[0], rest[1]),
            "silent" => self.heartbeats = false,
            "restart" => self.restart(Generation(rest[0].parse().unwrap())),
            "wait" => {}
            other => panic!("no verb {other:?}"),
        }
    }

    fn event(&mut self, event: Event) {
        for effect in self.core.handle(self.now, event) {
            self.said.push_str(&render::effect(self.now, &effect));
            match effect {
                Effect::Command(command) => self.commands.push(*command),
                Effect::Journal(entry) => self.journal.push(*entry),
            }
            if self.is_last() {
                return self.succeed();
            }
        }
    }

    fn lead(&mut self, generation: Generation) {
        self.generation = Some(generation);
        self.event(Event::Leading(generation));
    }

    fn heartbeat(&mut self) {
        for inventory in self.world.heartbeats(self.now) {
            self.event(Event::Inventory(Box::new(inventory)));
        }
    }

    fn forecasts(&mut self) {
        for (service, (load, throttled)) in self.loads.clone() {
            let nodes = self.world.heartbeats(self.now);
            let running = nodes
                .iter()
                .flat_map(|node| &node.containers)
                .filter(|container| {
                    container.service.as_str() == service && container.is_serving()
                });
            let limits: Vec<Millicores> = running
                .filter_map(|container| container.limits.cpu)
                .collect();
            self.event(Event::Forecast(Box::new(Forecast {
                service: ServiceId::from(service.as_str()),
                at: self.now,
                metric: LoadMetric::CpuMillicores,
                observed: load,
                recent_peak: load,
                replicas: u32::try_from(limits.len()).unwrap(),
                replica_capacity: limits.first().copied().unwrap_or(Millicores::CORE),
                throttled,
                method: "script".to_owned(),
                points: flat(load),
                startup_s: None,
                sizing: None,
                usage: None,
                loads: self.series(&service).into_iter().collect(),
            })));
        }
    }

    fn series(&self, service: &str) -> Option<MetricLoad> {
        let (metric, total) = self.told.get(service)?;
        Some(MetricLoad {
            metric: metric.clone(),
            at: self.now,
            unit: LoadUnit::Level,
            total: *total,
            recent_peak: *total,
            points: flat(*total),
            containers: 1,
            missing: 0,
        })
    }

    fn subject(&self, word: &str) -> Subject {
        if let Some(node) = word.strip_prefix('^') {
            return Subject::node(NodeId::from(node));
        }
        match word.strip_prefix('@') {
            Some(service) => Subject::service(ServiceId::from(service)),
            None => {
                let ((_, node), record) = self.world.get(word);
                Subject::container(
                    record.service.clone(),
                    node,
                    record.id.clone(),
                    record.name.clone(),
                )
            }
        }
    }

    fn open(&mut self, words: &[&str]) {
        let kind = kind(words[0]);
        let subject = self.subject(words[1]);
        let fingerprint = subject.fingerprint(kind);
        let severity = if words.contains(&"warning") {
            Severity::Warning
        } else {
            Severity::Critical
        };
        let signal = Signal {
            id: SignalId::of(&fingerprint, self.now),
            fingerprint: fingerprint.clone(),
            phase: SignalPhase::Open,
            kind,
            severity,
            score: Ratio::saturating(0.99),
            confidence: Confidence::Medium,
            opened_at: self.now,
            at: self.now,
            reason: format!(
                "{} {}",
                words[1].trim_start_matches(['@', '^']),
                kind.as_str().replace('_', " ")
            ),
            subject,
            evidence: Vec::new(),
            traceparent: None,
        };
        self.signals.insert(fingerprint, signal.clone());
        self.event(Event::Signal(Box::new(signal)));
    }

    fn resolve(&mut self, words: &[&str]) {
        let fingerprint = self.subject(words[1]).fingerprint(kind(words[0]));
        let mut signal = self.signals.remove(&fingerprint).expect("it was opened");
        signal.phase = SignalPhase::Resolve;
        signal.at = self.now;
        self.event(Event::Signal(Box::new(signal)));
    }

    fn load(&mut self, words: &[&str]) {
        let throttled = words
            .iter()
            .find_map(|word| word.strip_prefix("throttled="));
        let throttled = throttled.map_or(0.0, |share| share.parse().unwrap());
        self.loads
            .insert(words[0].to_owned(), (words[1].parse().unwrap(), throttled));
    }

    fn told(&mut self, words: &[&str]) {
        let series = SeriesSelector::parse(words[1]).unwrap();
        let number = words[2].parse().unwrap();
        self.told.insert(words[0].to_owned(), (series, number));
        self.loads.entry(words[0].to_owned()).or_insert((1.0, 0.0));
    }

    /// The commands without an outcome; of those that were sent again, one.
    fn unanswered(&self) -> Vec<Command> {
        let mut known: BTreeSet<_> = self.outcomes.iter().map(|it| &it.command).collect();
        let open = self.commands.iter().filter(|it| known.insert(&it.id));
        open.cloned().collect()
    }

    fn outcomes(&mut self, result: &OutcomeResult) {
        let open = self.unanswered();
        assert!(
            !open.is_empty(),
            "no command waits for its outcome at {}",
            self.now.as_millis()
        );
        for command in open {
            let result = match result {
                OutcomeResult::Succeeded { .. } => self.carry_out(&command),
                other => other.clone(),
            };
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
            self.outcomes.push(outcome.clone());
            match self.is_last() {
                true => self.succeed(),
                false => self.event(Event::Outcome(Box::new(outcome))),
            }
        }
    }

    /// Does what it says, and tells what an actuator would: the limits of before, the networks, the new container of a recreation.
    fn carry_out(&mut self, command: &Command) -> OutcomeResult {
        let mut result = succeeded();
        let OutcomeResult::Succeeded {
            networks: left,
            created,
            previous,
            sealed,
            image: pulled,
        } = &mut result
        else {
            return result;
        };
        let (now, plan) = (self.now, &command.plan);
        let at = |name: &ContainerName| (name.to_string(), command.node.clone());
        match &command.action {
            Action::CreateReplica {
                name,
                origin: Some(origin),
                ..
            } => {
                let made = self.world.made_as_told(at(name), &origin.sealed, plan, now);
                *created = Some(made);
            }
            Action::CreateReplica {
                template,
                name,
                image,
                ..
            } => {
                let like = (template, image.as_ref());
                *created = Some(self.world.replica(at(name), like, plan, now));
            }
            Action::RemoveReplica { name, .. } => self.world.remove(&at(name)),
            Action::UpdateLimits { name, limits, .. } => {
                *previous = Some(self.world.limit(&at(name), limits));
            }
            Action::Stop { name, .. } => self.world.stop(&at(name), now),
            Action::Restart { name, .. } => self.world.start(&at(name), now),
            Action::Recreate { name, image, .. } => {
                *created = Some(self.world.recreate(&at(name), image.as_ref(), now));
            }
            Action::Isolate { name, .. } => *left = self.world.attach(&at(name), &[]),
            Action::Rejoin { name, networks, .. } => {
                self.world.attach(&at(name), networks);
            }
            Action::Export { name, .. } => *sealed = Some(self.world.export(&at(name))),
            Action::PullImage { reference, .. } => *pulled = Some(world::image(reference)),
        }
        result
    }

    fn again(&mut self) {
        for outcome in self.outcomes.clone() {
            self.event(Event::Outcome(Box::new(outcome)));
        }
    }

    fn order(&mut self, wanted: &str, node: &str) {
        let wanted = match wanted {
            "cordon" => NodeWanted::Cordoned,
            "drain" => NodeWanted::Drained,
            "uncordon" => NodeWanted::Open,
            other => panic!("no order {other}"),
        };
        let order = NodeOrder {
            node: NodeId::from(node),
            wanted,
            at: self.now,
            by: Some("ann".to_owned()),
        };
        let entry = JournalEntry::Node(order);
        self.journal.push(entry.clone());
        self.event(Event::Journal(Box::new(entry)));
    }

    fn update(&mut self, service: &str, image: &str) {
        let service = ServiceId::from(service);
        let order = Update {
            id: UpdateId::of(&service, self.now),
            service,
            image: image.to_owned(),
            at: self.now,
            by: Some("ann".to_owned()),
        };
        let entry = JournalEntry::Update(order);
        self.journal.push(entry.clone());
        self.event(Event::Journal(Box::new(entry)));
    }

    fn removed(&mut self, name: &str) {
        self.container_event(name, EventKind::Removed);
        let (at, _) = self.world.get(name);
        self.world.remove(&at);
    }

    fn container_event(&mut self, name: &str, kind: EventKind) {
        let ((_, node), record) = self.world.get(name);
        let event = ContainerEvent {
            at: self.now,
            at_unix_ns: None,
            node,
            service: record.service.clone(),
            container: record.id.clone(),
            name: record.name.clone(),
            kind,
        };
        self.event(Event::Container(Box::new(event)));
    }
}

fn succeeded() -> OutcomeResult {
    OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: None,
        previous: None,
        image: None,
    }
}

fn flat(load: f64) -> Vec<ForecastPoint> {
    let point = |seconds| ForecastPoint {
        ahead: Duration::from_secs(seconds),
        expected: load,
        low: load,
        high: load,
    };
    [15, 30, 60].map(point).into()
}

fn kind(word: &str) -> SignalKind {
    SignalKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == word)
        .unwrap_or_else(|| panic!("no kind {word}"))
}
