//! Every constant of the decisions, by name.

use std::time::Duration;

use units::{Bytes, Mode};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What the core decides by.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The ceiling over every container's own mode.
    pub max_mode: Mode,
    /// Inventory or forecasts older than this are no ground to act on.
    pub telemetry_stale: Duration,
    /// How long people's changes to a service keep the loop's hands off it.
    pub people_hold: Duration,
    /// Restarts.
    pub heal: Heal,
    /// Replicas.
    pub scale: Scale,
    /// Limits in place.
    pub resize: Resize,
    /// Other images, when people order them.
    pub update: Update,
    /// Moves to other nodes.
    pub relocate: Relocate,
    /// What ran on lost nodes.
    pub failover: Failover,
    /// How much may be done at all.
    pub budget: Budget,
    /// When everything is sick at once.
    pub breaker: Breaker,
    /// What keeps losing.
    pub ledger: Ledger,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_mode: Mode::Observe,
            telemetry_stale: Duration::from_secs(10),
            people_hold: MINUTE,
            heal: Heal::default(),
            scale: Scale::default(),
            resize: Resize::default(),
            update: Update::default(),
            relocate: Relocate::default(),
            failover: Failover::default(),
            budget: Budget::default(),
            breaker: Breaker::default(),
            ledger: Ledger::default(),
        }
    }
}

/// Restarting sick containers.
#[derive(Debug, Clone, PartialEq)]
pub struct Heal {
    /// How long a container may take to stop before it is killed.
    pub grace: Duration,
    /// A restart that has not begun after this is given up.
    pub deadline: Duration,
    /// A memory runaway that is not critical is acted on once it has been open this long.
    pub confirm_after: Duration,
    /// Least time between the first and second restart of a container; it doubles with each one more.
    pub backoff: Duration,
    /// A container left alone this long starts again from the first backoff.
    pub backoff_reset: Duration,
    /// Restarts of one container in an hour; then it is left to people.
    pub hourly: u32,
    /// A restart is judged this long after it was done.
    pub verdict_within: Duration,
}

impl Default for Heal {
    fn default() -> Self {
        Heal {
            grace: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            confirm_after: Duration::from_secs(30),
            backoff: Duration::from_secs(30),
            backoff_reset: MINUTE * 10,
            hourly: 5,
            verdict_within: MINUTE,
        }
    }
}

/// Adding and removing replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// How long a new replica takes until it serves: load is looked at that far ahead.
    pub startup: Duration,
    /// Forecasts in a row that must ask for more before more is added.
    pub up_confirmations: u32,
    /// The whole of this time must have asked for less before one is removed.
    pub down_window: Duration,
    /// After a removal that made things worse, none for this long.
    pub down_hold: Duration,
    /// A service whose label lets it come to none is stopped once nobody has asked for it this long, and not sooner after its start.
    pub idle_after: Duration,
    /// A load this share beside the target changes nothing.
    pub tolerance: f64,
    /// From this share of time spent waiting for the CPU limit, the load seen is taken as capped.
    pub throttled: f64,
    /// How long a replica may take to stop before it is killed.
    pub grace: Duration,
    /// A change that has not begun after this is given up.
    pub deadline: Duration,
    /// A change of replicas is judged at the latest this long after it was done.
    pub verdict_within: Duration,
}

impl Default for Scale {
    fn default() -> Self {
        Scale {
            startup: Duration::from_secs(30),
            up_confirmations: 2,
            down_window: MINUTE * 5,
            down_hold: MINUTE * 15,
            idle_after: MINUTE * 10,
            tolerance: 0.1,
            throttled: 0.1,
            grace: Duration::from_secs(10),
            deadline: MINUTE,
            verdict_within: MINUTE * 2,
        }
    }
}

/// Changing limits in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// Share of its CPU limit that a container is to use where no label says another.
    pub headroom: f64,
    /// A change of a limit by less than this share of it is not worth making.
    pub step_least: f64,
    /// A CPU limit is raised to this many times itself at most in one step: the next one is taken with what this one teaches.
    pub raise_most: f64,
    /// Uses of CPU are believed to call for a higher limit, without any sign that it is too low, after this much history.
    pub raise_history: Duration,
    /// An out-of-memory kill calls for a higher limit this long.
    pub oom_within: Duration,
    /// A memory limit that was too low is raised by this share of it …
    pub oom_share: f64,
    /// … and by this much at least.
    pub oom_least: Bytes,
    /// No limit is lowered before a service was watched for this long.
    pub lower_history: Duration,
    /// Least time between two lowerings of a service.
    pub lower_every: Duration,
    /// After a lowering that made things worse, none for this long; and no memory limit is lowered so long after an out-of-memory kill.
    pub lower_hold: Duration,
    /// A limit is lowered to this share of itself at the least in one step.
    pub lower_most: f64,
    /// No memory limit is lowered to less than this many times what was in use lately.
    pub memory_margin: f64,
    /// A change that has not begun after this is given up.
    pub deadline: Duration,
    /// A change is judged at the latest this long after it was done.
    pub verdict_within: Duration,
}

impl Default for Resize {
    fn default() -> Self {
        Resize {
            headroom: 0.7,
            step_least: 0.1,
            raise_most: 2.0,
            raise_history: HOUR,
            oom_within: MINUTE * 10,
            oom_share: 0.2,
            oom_least: Bytes(100_000_000),
            lower_history: HOUR * 24,
            lower_every: HOUR,
            lower_hold: HOUR * 2,
            lower_most: 0.5,
            memory_margin: 1.2,
            deadline: Duration::from_secs(30),
            verdict_within: MINUTE * 2,
        }
    }
}

/// Rolling an image out.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The first container of a new image is watched for this long before the others follow.
    pub bake: Duration,
    /// Each of the others is watched for this long before the next.
    pub soak: Duration,
    /// How long a container may take to stop before it is killed.
    pub grace: Duration,
    /// A pull that has not begun, or ended, after this is given up.
    pub pull_deadline: Duration,
    /// Any other step that has not begun after this is given up.
    pub deadline: Duration,
    /// Wait before a step that came to nothing is tried again; it doubles with each one more.
    pub retry: Duration,
}

impl Default for Update {
    fn default() -> Self {
        Update {
            bake: MINUTE,
            soak: Duration::from_secs(15),
            grace: Duration::from_secs(10),
            pull_deadline: MINUTE * 10,
            deadline: MINUTE,
            retry: Duration::from_secs(30),
        }
    }
}

/// Moving containers to other nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Relocate {
    /// A node must have been short of something for so long before anything is moved away from it.
    pub after: Duration,
    /// After a move from or to a node, so long is waited for what it brings before the next.
    pub settle: Duration,
    /// Containers of one node that is to be drained on their way at once.
    pub drain_parallel: u32,
    /// The new container, and the service without the old one, are watched for this long at least.
    pub soak: Duration,
    /// How long a container may take to stop before it is killed.
    pub grace: Duration,
    /// The new container must have been begun by then, its image pulled.
    pub create_deadline: Duration,
    /// Any other step that has not begun after this is given up.
    pub deadline: Duration,
    /// Wait before a step that came to nothing is tried again; it doubles with each one more.
    pub retry_step: Duration,
    /// A service whose move went wrong is left where it is for so long.
    pub retry: Duration,
}

impl Default for Relocate {
    fn default() -> Self {
        Relocate {
            after: MINUTE * 2,
            settle: MINUTE * 3,
            drain_parallel: 3,
            soak: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            create_deadline: MINUTE * 10,
            deadline: MINUTE,
            retry_step: Duration::from_secs(30),
            retry: HOUR,
        }
    }
}

/// What ran on a lost node runs elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Failover {
    /// A node is lost when neither its actuator nor its collector has been heard for so long, or for as long as the actuator says that its
    /// leases last, if that is more.
    pub lease: Duration,
    /// Of more than this share of the nodes at once, and of more than one, it is only said that they are lost. With 0 of all.
    pub nodes_share: f64,
}

impl Default for Failover {
    fn default() -> Self {
        Failover {
            lease: Duration::from_secs(6),
            nodes_share: 0.1,
        }
    }
}

/// How much may be done, all kinds of action together. One service has one plan at a time, always.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Plans whose commands are out, on one node.
    pub node_concurrent: u32,
    /// Plans whose commands are out, everywhere.
    pub global_concurrent: u32,
    /// Steps in an hour, for one service.
    pub service_hourly: u32,
    /// Steps in an hour, everywhere.
    pub global_hourly: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            node_concurrent: 2,
            global_concurrent: 5,
            service_hourly: 20,
            global_hourly: 100,
        }
    }
}

/// The common-cause breaker: many subjects sick at once are one cause that no restart cures.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// Critical signals that opened within this time of one another count as at once.
    pub window: Duration,
    /// Fewest services sick at once that open it.
    pub services_min: u32,
    /// Share of the known services sick at once that opens it, when that is more.
    pub share: f64,
    /// How long acting stops; again as long while it is not calm.
    pub hold: Duration,
    /// A node silent for this long is taken as gone, and no longer as silent.
    pub node_forgotten: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            window: Duration::from_secs(30),
            services_min: 3,
            share: 0.5,
            hold: MINUTE * 2,
            node_forgotten: MINUTE * 15,
        }
    }
}

/// What keeps losing is left alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// Verdicts in a row that did not help before a kind of action is left alone for a service.
    pub losses: u32,
    /// For how long.
    pub quarantine: Duration,
    /// Wait after a change of replicas that failed or did not help; it doubles with each one more.
    pub backoff: Duration,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            losses: 3,
            quarantine: HOUR,
            backoff: Duration::from_secs(30),
        }
    }
}
