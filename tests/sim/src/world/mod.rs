//! The whole loop in a simulated world: hosts with engines and clocks, collectors, detectors, controllers and actuators, and a log between
//! them, all driven by one seed.
//!
//! Real are the decision core (`control`), the auditor (`audit`), the forecasts (`forecast`) and the codecs (`wire`): every record is
//! encoded when it is written and decoded by each of its readers. Modelled are the engines, the actuator's and the controller's shells,
//! which are bound to Docker and Kafka, and a stand-in for the detectors. After each step the world itself, not the core's idea of it, is
//! held against the invariants of the design; then the faults stop, and all must come to rest.
//!
//! Nothing here reads a clock or a global random number: the same seed with the same options gives the same journal, byte for byte.

mod actuator;
mod agenda;
mod analytics;
mod calm;
mod container;
mod controller;
mod dice;
mod engine;
mod entries;
mod faults;
mod guard;
mod jobs;
mod limits;
mod log;
mod losses;
mod many;
mod moves;
mod node;
mod options;
mod oracle;
mod orders;
mod scene;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bus::NewRecord;
use units::{ContainerState, Timestamp};

pub use many::run_all;
pub use options::{Broken, Flaw, Invariant, Mix, Options, Run};

use agenda::{Agenda, Happening};
use analytics::Analytics;
use controller::Controller;
use dice::Dice;
use log::{Author, Log, Topic};
use losses::Losses;
use node::Node;
use oracle::Oracle;
use scene::Service;

/// Every world begins at this time.
const BEGINS: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// All is quiet for this long before the first fault: detectors and controllers settle.
const QUIET: Duration = Duration::from_secs(30);
/// Containers that people took away remembered; what matters is the last twenty seconds.
const TAKEN_MAX: usize = 64;
/// Steps after which a seed is given up as one that does not come to an end; an hour takes some twenty thousand.
const STEPS_MAX: u64 = 5_000_000;

/// A stream of chance for each purpose.
#[derive(Debug)]
struct Streams {
    faults: Dice,
    engine: Dice,
    actuator: Dice,
    controller: Dice,
    log: Dice,
    orders: Dice,
    moves: Dice,
    jobs: Dice,
    beats: Dice,
    losses: Dice,
}

/// Everything there is.
#[derive(Debug)]
struct World {
    options: Options,
    now: Timestamp,
    agenda: Agenda,
    dice: Streams,
    nodes: Vec<Node>,
    services: Vec<Service>,
    /// How containers are made, as their nodes told.
    exported: BTreeMap<String, container::Container>,
    log: Log,
    controllers: Vec<Controller>,
    analytics: Analytics,
    oracle: Oracle,
    /// The log takes so many times as long.
    log_slow: u32,
    echoes: f64,
    faults: u64,
    /// Images that were ordered.
    orders: u32,
    calm: bool,
    /// There is hardly room for more than there is.
    is_tight: bool,
    /// Containers that people took away lately: of which service, and since when they did not serve.
    taken: VecDeque<(usize, Timestamp)>,
    losses: Losses,
    story: VecDeque<String>,
}

/// Runs one seed to its end: to the first broken invariant, or through all its faults to rest.
pub fn run(seed: u64, options: &Options) -> Run {
    let mut world = World::new(seed, options);
    let calm_at = BEGINS + options.duration;
    let give_up_at = calm_at + options.rest_within;
    let mut rested_after = None;
    while let Some((at, happening)) = world.agenda.next() {
        if !world.calm && at >= calm_at {
            world.now = calm_at;
            world.calm_down();
        }
        if at >= give_up_at || world.oracle.step >= STEPS_MAX {
            break;
        }
        world.now = at;
        world.oracle.step += 1;
        let looked = happening == Happening::Analyse;
        world.happen(happening);
        if world.oracle.is_broken() {
            break;
        }
        if looked && world.calm && world.unrest().is_none() {
            rested_after = Some(world.now.since(calm_at));
            break;
        }
    }
    world.report(seed, rested_after)
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let now = BEGINS;
        let (mut nodes, mut services) = scene::set(seed, now);
        if options.is_losing() {
            losses::scene::add(seed, now, &mut nodes, &mut services);
        }
        let stream = |purpose: &str| Dice::new(seed, purpose);
        let mut world = World {
            options: options.clone(),
            now,
            agenda: Agenda::default(),
            dice: Streams {
                faults: stream("faults"),
                engine: stream("engine"),
                actuator: stream("actuator"),
                controller: stream("controller"),
                log: stream("log"),
                orders: stream("orders"),
                moves: stream("crowds"),
                jobs: stream("queue"),
                beats: stream("heartbeats"),
                losses: stream("losses"),
            },
            oracle: Oracle::new(options.promised.clone(), nodes.len()),
            nodes,
            services,
            exported: BTreeMap::new(),
            log: Log::new(),
            controllers: Vec::new(),
            analytics: Analytics::default(),
            log_slow: 1,
            echoes: 0.02,
            faults: 0,
            orders: 0,
            calm: false,
            is_tight: scene::is_tight(seed),
            taken: VecDeque::new(),
            losses: Losses::default(),
            story: VecDeque::new(),
        };
        for at in 0..world.nodes.len() {
            let first = world.dice.engine.millis(1, 4_999);
            world.agenda.note(now + first, Happening::Node(at));
        }
        world
            .agenda
            .note(now + analytics::LOOK_EVERY, Happening::Analyse);
        world
            .agenda
            .note(now + Duration::from_secs(1), Happening::Claim);
        world.agenda.note(now + QUIET, Happening::Fault);
        world.order_later();
        world.crowd_later(seed);
        world.jobs_later();
        world.losses_later();
        world
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Node(at) => self.look(at),
            Happening::Analyse => self.analyse(),
            Happening::Fault => self.fault(),
            Happening::Over(fault) => self.over(fault),
            Happening::Controller(of) => self.control(of),
            Happening::Written(of, token) => self.written(of, token),
            Happening::Claim => self.claim(),
            Happening::Commands(at) => self.read_commands(at),
            Happening::Act(at, life, command) => self.act(at, life, command),
            Happening::Done(at, boot, number) => self.done(at, boot, number),
            Happening::Actuator(at) => self.start_actuator(at),
            Happening::Echo(topic, place) => self.echo(topic, place),
            Happening::Deploy(of, turn) => self.deploy(of, turn),
            Happening::Order(of) => self.order(of),
            Happening::Crowded(at) => self.crowd(at),
            Happening::Jobs(of) => self.change_jobs(of),
            Happening::Beat(at) => self.beat(at),
            Happening::LateBeat(which) => self.late_beat(which),
            Happening::Fenced(at, boot, id) => self.fenced(at, boot, &id),
            Happening::Loss => self.lose(),
        }
    }

    /// Notes a line for the report, if any are wanted.
    fn note(&mut self, line: impl FnOnce(&World) -> String) {
        let most = self.options.story_lines;
        if most == 0 {
            return;
        }
        let line = format!("{} step {}: {}", self.now, self.oracle.step, line(self));
        self.story.push_back(line);
        if self.story.len() > most {
            self.story.pop_front();
        }
    }

    /// A record comes into the log, and its readers are told.
    fn append(&mut self, topic: Topic, record: NewRecord, made_at: Timestamp, author: Author) {
        let place = self.log.write(topic, record, self.now, made_at, author);
        if self.is_echoed(topic, author) {
            let wait = self.dice.log.millis(1, 4_000);
            self.agenda
                .note(self.now + wait, Happening::Echo(topic, place));
        }
        if topic == Topic::Commands {
            for at in 0..self.nodes.len() {
                let wait = self.dice.log.millis(1, 150);
                self.agenda.note(self.now + wait, Happening::Commands(at));
            }
            return;
        }
        for of in 0..self.controllers.len() {
            let lag = self.controllers[of].lag[topic as usize];
            self.wake(of, self.now + lag);
        }
    }

    /// What keeps the world from being at rest, if anything does.
    fn unrest(&self) -> Option<String> {
        for node in &self.nodes {
            for container in node.containers.values() {
                let runs = container.state == ContainerState::Running && container.serves();
                if self.is_stood_in(container) {
                    continue;
                }
                if container.wanted && !(runs && container.ill.is_none()) {
                    let (name, state) = (&container.name, container.state);
                    let (health, ill) = (container.health, container.ill);
                    return Some(format!("{name} is {state} and {health}, ill with {ill:?}"));
                }
            }
        }
        for (number, service) in self.services.iter().enumerate() {
            let all = self.nodes.iter().flat_map(|node| node.containers.values());
            let mine = || all.clone().filter(|it| it.service == number);
            let willing = mine().all(|it| it.policy.mode == units::Mode::Act);
            let count = mine().filter(|it| it.counts()).count();
            if service.scale.is_none() && count > service.replicas as usize {
                return Some(format!(
                    "{} has {count} replicas, and had {}",
                    service.id, service.replicas
                ));
            }
            if let (Some(scale), true) = (&service.scale, willing)
                && (count < scale.min as usize || count > scale.max as usize)
            {
                let (min, max) = (scale.min, scale.max);
                return Some(format!(
                    "{} has {count} replicas, not {min}..{max}",
                    service.id
                ));
            }
        }
        let open = self.open_signals();
        if !open.is_empty() {
            return Some(format!("signals are open: {}", open.join("; ")));
        }
        let unfinished = self.oracle.unfinished();
        if !unfinished.is_empty() {
            return Some(format!("plans are not over: {unfinished:?}"));
        }
        let rests = self.leader_rests().and_then(|()| self.orders_rest());
        let rests = rests.and_then(|()| self.losses_rest());
        rests.and_then(|()| self.jobs_rest()).err()
    }

    fn report(self, seed: u64, rested_after: Option<Duration>) -> Run {
        let unrest = match (&self.oracle.broken, rested_after) {
            (None, None) => Some(
                self.unrest()
                    .unwrap_or("it takes too many steps".to_owned()),
            ),
            (Some(_), _) | (None, Some(_)) => None,
        };
        Run {
            seed,
            steps: self.oracle.step,
            faults: self.faults,
            plans: self.oracle.decided,
            taken_over: self.oracle.taken_over,
            fenced: self.losses.fenced,
            preempted: self.oracle.preempted,
            commands: self.oracle.commands,
            leaders: self.controllers.len() as u64,
            journal_hash: self.log.journal_hash(),
            broken: self.oracle.broken,
            unconverged: unrest,
            rested_after,
            story: self.story.into(),
        }
    }
}
