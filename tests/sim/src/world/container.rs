//! Containers, as their engine and as the world knows them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use units::{
    Attachment, Bytes, CommandId, ContainerId, ContainerName, ContainerRecord, ContainerSpec,
    ContainerState, EventKind, HealthState, Image, Limits, Millicores, NetworkSpec, PlanId, Policy,
    ServiceId, Timestamp,
};

/// Ends that count as one loop.
pub(super) const LOOP_WITHIN: Duration = Duration::from_secs(120);
/// Share of its memory limit that a process holds after its start.
const MEMORY_AT_START: f64 = 0.3;
/// A crashing process lives this long.
const CRASHES_AFTER: Duration = Duration::from_secs(4);
/// The engine's own wait before it starts a crashed container again grows up to this.
const BACKOFF_MOST: Duration = Duration::from_secs(60);
const IMAGE_ID: &str = "sha256:";
/// Ends remembered.
const ENDS_MAX: usize = 16;

/// What is wrong with a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ill {
    /// It takes requests and does no work; its health check knows nothing of that.
    Hung,
    /// Its health check fails, and rightly.
    Failing,
    /// It takes this share of its memory limit more each second.
    Leaking(f64),
    /// It ends soon after each start.
    Crashing,
    /// Its health check fails although it works.
    Slandered,
    /// Its health check passes although it should not.
    Flattered,
}

/// How an illness goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// By a restart.
    Restart,
    /// By a new container, or once its cause is gone.
    Patience,
    /// It is its node that makes it sick: by a new container on another, or once its cause is gone.
    Elsewhere,
    /// Not before its cause is gone, wherever it is.
    Nowhere,
}

/// One container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) name: ContainerName,
    pub(super) service: usize,
    pub(super) policy: Policy,
    pub(super) state: ContainerState,
    pub(super) health: HealthState,
    pub(super) restarts: u64,
    /// By its node's clock, as all times that an engine tells.
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) exit_code: Option<i64>,
    pub(super) limits: Limits,
    pub(super) replica_of: Option<ContainerId>,
    pub(super) made_by: Option<PlanId>,
    pub(super) command: Option<CommandId>,
    /// Which build of its service's image it runs.
    pub(super) image: u32,
    /// Somebody wants it to run.
    pub(super) wanted: bool,
    /// It was stopped because another serves in its place on another node.
    pub(super) is_replaced: bool,
    /// It is in no network: no request reaches it.
    pub(super) is_isolated: bool,
    /// A plan stopped it because nobody asked for it.
    pub(super) rests: bool,
    /// People stopped it, and have not started it since.
    pub(super) stopped_by_hand: bool,
    pub(super) ill: Option<(Ill, Cure)>,
    /// Share of its memory limit.
    pub(super) memory: f64,
    /// From here on by true time: when its process began, when it can serve, when it stopped serving, since when it counts.
    pub(super) began_at: Timestamp,
    pub(super) ready_at: Timestamp,
    pub(super) ceased_at: Option<Timestamp>,
    pub(super) counts_since: Timestamp,
    pub(super) again_at: Option<Timestamp>,
    /// Its own actuator stopped it for want of a lease, or does so, and it was not started since: when, by its node's clock.
    pub(super) fenced_at: Option<Timestamp>,
    /// Ends by itself, newest last.
    pub(super) ends: VecDeque<Timestamp>,
    /// CPU it uses, in millicores, and the share of its time it waits for its limit.
    pub(super) use_millicores: f64,
    pub(super) throttled: f64,
}

impl Container {
    pub(super) fn record(&self, service: &ServiceId) -> ContainerRecord {
        ContainerRecord {
            id: self.id.clone(),
            name: self.name.clone(),
            service: service.clone(),
            image: image(self.image).reference,
            state: self.state,
            health: self.health,
            restarts: self.restarts,
            created_at: Some(self.created_at),
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            limits: self.limits,
            policy: self.policy.clone(),
            label_problems: Vec::new(),
            replica_of: self.replica_of.clone(),
            made_by: self.made_by.clone(),
            copy_obstacles: Vec::new(),
            spec: Some(Arc::new(ContainerSpec {
                image_digest: image(self.image).id,
                network_mode: "shop".to_owned(),
                networks: self.networks(),
                ..ContainerSpec::default()
            })),
        }
    }

    /// Each has a network of its own, so that none is cut off from others when it moves.
    fn networks(&self) -> Vec<NetworkSpec> {
        let own = self.own_network();
        let network = NetworkSpec {
            name: own.network,
            aliases: own.aliases,
            addresses: Vec::new(),
        };
        (!self.is_isolated).then_some(network).into_iter().collect()
    }

    /// The network it was made in.
    pub(super) fn own_network(&self) -> Attachment {
        Attachment {
            network: format!("shop-{}", self.name),
            aliases: Vec::new(),
        }
    }

    /// Its engine would say that it serves.
    pub(super) fn serves(&self) -> bool {
        self.state == ContainerState::Running
            && !self.is_isolated
            && matches!(self.health, HealthState::None | HealthState::Healthy)
    }

    /// It does its work.
    pub(super) fn works(&self, now: Timestamp) -> bool {
        let fit = match self.ill {
            Some((Ill::Hung | Ill::Failing | Ill::Crashing | Ill::Flattered, _)) => false,
            Some((Ill::Leaking(_) | Ill::Slandered, _)) | None => true,
        };
        self.state == ContainerState::Running && !self.is_isolated && self.ready_at <= now && fit
    }

    /// It is a replica, or will be.
    pub(super) fn counts(&self) -> bool {
        if self.is_isolated {
            return false;
        }
        match self.state {
            ContainerState::Running | ContainerState::Paused => true,
            ContainerState::Created => self.made_by.is_some(),
            ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => false,
        }
    }

    /// Its own actuator stopped it, or does so, because no two of it may run.
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced_at.is_some() && self.policy.singleton && self.policy.movable
    }

    /// What its limit allows.
    pub(super) fn capacity(&self) -> f64 {
        self.limits.cpu.unwrap_or(Millicores::CORE).0 as f64
    }

    /// The memory it holds, where it has a limit.
    pub(super) fn held(&self) -> Option<Bytes> {
        let limit = self.limits.memory?;
        Some(Bytes((limit.0 as f64 * self.memory) as u64))
    }

    /// Its engine changes its limits; it holds what it held.
    pub(super) fn resize(&mut self, limits: &Limits) -> Limits {
        let before = self.limits;
        self.limits.cpu = limits.cpu.or(before.cpu);
        self.limits.memory = limits.memory.or(before.memory);
        if let (Some(from), Some(to)) = (before.memory, self.limits.memory) {
            self.memory *= from.0 as f64 / to.0.max(1) as f64;
        }
        before
    }

    /// Its process begins. `clock` is its node's.
    pub(super) fn start(
        &mut self,
        now: Timestamp,
        clock: Timestamp,
        startup: Duration,
        checked: Checked,
    ) {
        if !self.counts() {
            self.counts_since = now;
        }
        (self.wanted, self.rests, self.stopped_by_hand) = (true, false, false);
        self.state = ContainerState::Running;
        self.health = match checked {
            Checked::Yes => HealthState::Starting,
            Checked::No => HealthState::None,
        };
        self.started_at = Some(clock);
        self.finished_at = None;
        self.exit_code = None;
        (self.again_at, self.fenced_at) = (None, None);
        self.memory = MEMORY_AT_START;
        self.began_at = now;
        self.ready_at = now + startup;
        if let Some((Ill::Leaking(_) | Ill::Hung | Ill::Failing, Cure::Restart)) = self.ill {
            self.ill = None;
        }
        self.note_serving(now);
    }

    /// Its process ends.
    pub(super) fn end(&mut self, now: Timestamp, clock: Timestamp, code: i64) {
        self.state = ContainerState::Exited;
        self.finished_at = Some(clock);
        self.exit_code = Some(code);
        self.use_millicores = 0.0;
        self.note_serving(now);
    }

    /// What has become of it since the last look. Tells what the engine would tell.
    pub(super) fn advance(
        &mut self,
        since: Timestamp,
        now: Timestamp,
        clock: Timestamp,
        startup: Duration,
        checked: Checked,
    ) -> Vec<EventKind> {
        let mut told = Vec::new();
        if self.state == ContainerState::Restarting && self.again_at.is_some_and(|at| at <= now) {
            self.restarts += 1;
            self.start(now, clock, startup, checked);
            told.push(EventKind::Started);
        }
        if self.state != ContainerState::Running {
            return told;
        }
        let crashes =
            matches!(self.ill, Some((Ill::Crashing, _))) && self.began_at + CRASHES_AFTER <= now;
        if let Some((Ill::Leaking(share), _)) = self.ill {
            self.memory += share * now.since(since).as_secs_f64();
        }
        let code = match (crashes, self.memory >= 1.0) {
            (_, true) => {
                told.push(EventKind::OutOfMemory);
                Some(137)
            }
            (true, false) => Some(1),
            (false, false) => None,
        };
        if let Some(code) = code {
            self.crash(now, clock, code);
            told.push(EventKind::Died {
                exit_code: Some(code),
            });
            return told;
        }
        if checked == Checked::Yes
            && let Some(health) = self.check(now)
        {
            self.health = health;
            told.push(EventKind::Health { state: health });
        }
        self.note_serving(now);
        told
    }

    fn crash(&mut self, now: Timestamp, clock: Timestamp, code: i64) {
        self.end(now, clock, code);
        self.state = ContainerState::Restarting;
        self.ends.push_back(now);
        if self.ends.len() > ENDS_MAX {
            self.ends.pop_front();
        }
        let lately = self.ends_since(now - LOOP_WITHIN);
        let wait = Duration::from_secs(1 << lately.min(6)).min(BACKOFF_MOST);
        self.again_at = Some(now + wait);
    }

    pub(super) fn ends_since(&self, since: Timestamp) -> usize {
        self.ends.iter().filter(|at| **at >= since).count()
    }

    /// The health check's new word, when it changes its mind.
    fn check(&self, now: Timestamp) -> Option<HealthState> {
        let fails = match self.ill {
            Some((Ill::Failing | Ill::Slandered, _)) => true,
            Some((Ill::Hung | Ill::Leaking(_) | Ill::Crashing | Ill::Flattered, _)) | None => false,
        };
        let next = match (self.ready_at <= now, fails) {
            (false, _) => self.health,
            (true, true) => HealthState::Unhealthy,
            (true, false) => HealthState::Healthy,
        };
        (next != self.health).then_some(next)
    }

    pub(super) fn note_serving(&mut self, now: Timestamp) {
        if self.serves() {
            self.ceased_at = None;
        } else if self.ceased_at.is_none() {
            self.ceased_at = Some(now);
        }
    }
}

/// A build of an image as the engine tells it.
pub(super) fn image(build: u32) -> Image {
    Image {
        reference: format!("image:{build}"),
        id: format!("{IMAGE_ID}{build}"),
    }
}

/// The build of an image that a command names.
pub(super) fn build_of(image: &Image) -> Option<u32> {
    image.id.strip_prefix(IMAGE_ID)?.parse().ok()
}

/// Whether the service has a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    Yes,
    No,
}
