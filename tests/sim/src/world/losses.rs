//! What actuators do for the case that their hosts are lost, where that is looked at ([`super::options::Mix::Losses`]): heartbeats, leases
//! by a clock that does not step, containers that are stopped when one is over, and how containers are made, told beforehand.

mod hosts;
pub(super) mod scene;

use std::collections::BTreeMap;
use std::time::Duration;

use bus::NewRecord;
use control::Event;
use units::{
    ContainerId, ContainerState, Fenced, Heartbeat, ImageSource, Limits, Mode, StandingExport,
    Timestamp,
};

use super::World;
use super::agenda::Happening;
use super::container::Container;
use super::log::{Author, Topic};
use super::options::{Flaw, Options};

/// How long a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(6);
/// Heartbeats are sent so often …
const BEAT_EVERY: Duration = Duration::from_millis(1_500);
/// … and by one that is cut off the lease is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// An engine takes so long to stop what its actuator fences: half a lease at most.
const STOPS_WITHIN_MS: (u64, u64) = (100, 2_900);
/// This share of the looks of a host that is cut off sends a heartbeat that comes into the log late: one in twenty of those that would
/// have been sent.
const LATE: f64 = 0.05 / 3.0;
const LATE_BY_S: (u64, u64) = (1, 40);
/// What a flawed core takes a lease for: heartbeats still come twice in it, or all hosts would seem to come and go.
const SHORT_LEASE: Duration = Duration::from_millis(3_100);

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// By number of the node; none where nothing of this is looked at.
    pub(super) hosts: Vec<Host>,
    late: Vec<NewRecord>,
    exports: u64,
    /// Containers that were stopped for want of a lease.
    pub(super) fenced: u64,
    /// Services of which two run that must not, and since when.
    pub(super) twice: BTreeMap<usize, Timestamp>,
    /// Containers of which nothing is promised: while their host was cut off its actuator was not there to stop them, their host started
    /// them again when it came back, or people did; and when that was last so.
    pub(super) unpromised: BTreeMap<ContainerId, Timestamp>,
}

/// One host's part.
#[derive(Debug)]
pub(super) struct Host {
    /// By true time, which goes on as a clock does that is not set.
    lease_until: Timestamp,
    /// Its heartbeats have been acknowledged since then, without a gap.
    pub(super) well_since: Option<Timestamp>,
    /// It has been up and has reached the log since then.
    pub(super) there_since: Option<Timestamp>,
    /// It has not, since then.
    pub(super) away_since: Option<Timestamp>,
    told: BTreeMap<ContainerId, (u32, Limits)>,
}

impl Host {
    fn new(now: Timestamp) -> Self {
        Host {
            lease_until: now + LEASE,
            well_since: None,
            there_since: None,
            away_since: None,
            told: BTreeMap::new(),
        }
    }

    /// A lease begins.
    pub(super) fn leases(&mut self, now: Timestamp) {
        self.lease_until = now + LEASE;
    }

    fn note(&mut self, is_there: bool, is_well: bool, now: Timestamp) {
        let since = |it: Option<Timestamp>, so: bool| so.then(|| it.unwrap_or(now));
        self.well_since = since(self.well_since, is_well);
        self.there_since = since(self.there_since, is_there);
        self.away_since = since(self.away_since, !is_there);
    }
}

/// The event as a flawed core takes it.
pub(super) fn distorted(event: Event, options: &Options) -> Event {
    match event {
        Event::Heartbeat(mut beat) if options.has(Flaw::TakesLeasesForShort) => {
            beat.lease = SHORT_LEASE;
            Event::Heartbeat(beat)
        }
        other => other,
    }
}

impl World {
    /// The first of everything that happens here.
    pub(super) fn losses_later(&mut self) {
        if !self.options.is_losing() {
            return;
        }
        for at in 0..self.nodes.len() {
            self.losses.hosts.push(Host::new(self.now));
            let wait = self.dice.beats.millis(1, 1_499);
            self.agenda.note(self.now + wait, Happening::Beat(at));
        }
        self.loss_later();
    }

    /// An actuator says that it is there. One that cannot looks whether it may still run what it runs.
    pub(super) fn beat(&mut self, at: usize) {
        let now = self.now;
        let node = &self.nodes[at];
        let runs = node.up && node.actuator.up;
        let is_there = node.up && node.connected;
        self.losses.hosts[at].note(is_there, is_there && runs, now);
        let wait = match runs && is_there {
            true => {
                self.say_beat(at);
                BEAT_EVERY
            }
            false => {
                if runs && self.dice.beats.chance(LATE) {
                    self.delay_beat(at);
                }
                LOOK_EVERY
            }
        };
        if runs && self.losses.hosts[at].lease_until <= now {
            self.fence(at);
        }
        self.judge_twice();
        self.agenda.note(now + wait, Happening::Beat(at));
    }

    /// An actuator starts, and has a lease to be acknowledged in. What ran while its host was cut off, and it was not there, is stopped late.
    pub(super) fn leases_anew(&mut self, at: usize) {
        let Some(host) = self.losses.hosts.get_mut(at) else {
            return;
        };
        host.leases(self.now);
        let node = &self.nodes[at];
        if !node.connected {
            let alone = node.containers.values().filter(|it| runs_alone(it));
            let alone: Vec<ContainerId> = alone.map(|it| it.id.clone()).collect();
            for id in &alone {
                self.unpromised(id);
            }
        }
    }

    fn heartbeat(&self, at: usize) -> Heartbeat {
        let node = &self.nodes[at];
        let fenced = node.containers.values();
        let fenced = fenced.filter_map(|it| Some((it.id.clone(), it.fenced_at?)));
        Heartbeat {
            node: node.id.clone(),
            at: node.clock(self.now),
            lease: LEASE,
            healed: Vec::new(),
            fenced: fenced
                .map(|(container, at)| Fenced { container, at })
                .collect(),
        }
    }

    fn say_beat(&mut self, at: usize) {
        let beat = self.heartbeat(at);
        self.send(Topic::Heartbeats, &beat, Some(at), Author::Role);
        self.losses.hosts[at].leases(self.now);
    }

    fn delay_beat(&mut self, at: usize) {
        let beat = self.heartbeat(at);
        match super::log::encode(&beat, self.log.meta()) {
            Ok(record) => {
                let which = self.losses.late.len();
                self.losses.late.push(record);
                let wait = self.dice.beats.secs(LATE_BY_S.0, LATE_BY_S.1);
                self.agenda
                    .note(self.now + wait, Happening::LateBeat(which));
            }
            Err(problem) => self.oracle.codec(self.now, problem),
        }
    }

    /// A heartbeat that was made long ago comes into the log.
    pub(super) fn late_beat(&mut self, which: usize) {
        let record = self.losses.late[which].clone();
        self.append(Topic::Heartbeats, record, self.now, Author::Role);
    }

    /// The lease is over: what must not run twice is stopped, also what was started in the meantime.
    fn fence(&mut self, at: usize) {
        if self.options.has(Flaw::NeverFences) {
            return;
        }
        let now = self.now;
        let node = &mut self.nodes[at];
        let (boot, clock) = (node.boot, node.clock(now));
        let mut stopping = Vec::new();
        for container in node.containers.values_mut() {
            if runs_alone(container) && container.fenced_at.is_none() {
                container.fenced_at = Some(clock);
                stopping.push(container.id.clone());
            }
        }
        for id in stopping {
            self.losses.fenced += 1;
            self.note(|_| format!("{id} is fenced"));
            let (least, most) = STOPS_WITHIN_MS;
            let takes = self.dice.beats.millis(least, most);
            self.agenda
                .note(now + takes, Happening::Fenced(at, boot, id));
        }
    }

    /// An engine has stopped what was fenced.
    pub(super) fn fenced(&mut self, at: usize, boot: u32, id: &ContainerId) {
        let node = &self.nodes[at];
        let container = node.containers.get(id);
        if node.boot == boot && node.up && container.is_some_and(Container::is_fenced) {
            self.stop_container(at, id, Author::Role);
            self.say_inventory(at);
        }
    }

    /// Tells how what may run elsewhere is made, and takes back what does not run.
    pub(super) fn say_exports(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(host) = self.losses.hosts.get(at) else {
            return;
        };
        if !node.connected || !node.actuator.up {
            return;
        }
        let all = node.containers.values();
        let movable = all.filter(|it| {
            let policy = &it.policy;
            policy.movable && policy.mode == Mode::Act && it.state == ContainerState::Running
        });
        let due: BTreeMap<ContainerId, (u32, Limits)> = movable
            .map(|it| (it.id.clone(), (it.image, it.limits)))
            .collect();
        let gone = host.told.keys().filter(|it| !due.contains_key(it));
        let gone: Vec<ContainerId> = gone.cloned().collect();
        let new = due.iter().filter(|(id, it)| host.told.get(id) != Some(it));
        let new: Vec<ContainerId> = new.map(|(id, _)| id.clone()).collect();
        for id in gone {
            let record = self.log.tombstone(Topic::Exports, id.as_str());
            self.append(Topic::Exports, record, self.now, Author::Role);
        }
        for id in new {
            self.say_export(at, &id);
        }
        self.losses.hosts[at].told = due;
    }

    fn say_export(&mut self, at: usize, id: &ContainerId) {
        let node = &self.nodes[at];
        let Some(container) = node.containers.get(id) else {
            return;
        };
        self.losses.exports += 1;
        let sealed = format!("standing {} of {id}", self.losses.exports);
        let export = StandingExport {
            container: id.clone(),
            name: container.name.clone(),
            service: self.services[container.service].id.clone(),
            node: node.id.clone(),
            at: node.clock(self.now),
            sealed: sealed.clone(),
            image: ImageSource::Registry,
        };
        self.exported.insert(sealed, container.clone());
        self.send(Topic::Exports, &export, Some(at), Author::Role);
    }

    /// Nothing is promised of this one from now on.
    pub(super) fn unpromised(&mut self, id: &ContainerId) {
        if self.options.is_losing() {
            self.losses.unpromised.insert(id.clone(), self.now);
        }
    }
}

/// No two of it may run at once, and it does.
fn runs_alone(container: &Container) -> bool {
    let policy = &container.policy;
    let runs = matches!(
        container.state,
        ContainerState::Running | ContainerState::Restarting | ContainerState::Paused
    );
    runs && policy.singleton && policy.movable && policy.mode == Mode::Act
}
