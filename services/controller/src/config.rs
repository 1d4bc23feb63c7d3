//! The controller's configuration: every constant of the decisions, by name.

use kit::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};
use units::{Bytes, Mode};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// Section `[controller]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The ceiling over every container's `io.homeostat.mode`: `observe`, `suggest` or `act`.
    pub max_mode: Mode,
    /// Inventory or forecasts older than this are no ground to act on. Clocks of nodes must agree better than this.
    pub telemetry_stale: HumanDuration,
    /// Section `[controller.people]`.
    pub people: People,
    /// Section `[controller.heal]`.
    pub heal: Heal,
    /// Section `[controller.scale]`.
    pub scale: Scale,
    /// Section `[controller.resize]`.
    pub resize: Resize,
    /// Section `[controller.update]`.
    pub update: Update,
    /// Section `[controller.relocate]`.
    pub relocate: Relocate,
    /// Section `[controller.failover]`.
    pub failover: Failover,
    /// Section `[controller.budget]`.
    pub budget: Budget,
    /// Section `[controller.breaker]`.
    pub breaker: Breaker,
    /// Section `[controller.ledger]`.
    pub ledger: Ledger,
}

/// People and deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct People {
    /// How long a change somebody else made to a service keeps the loop's hands off it.
    pub hold: HumanDuration,
}

/// Restarting sick containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heal {
    /// How long a container may take to stop before it is killed.
    pub grace: HumanDuration,
    /// A restart that has not begun after this is given up.
    pub deadline: HumanDuration,
    /// A memory runaway that is not critical is acted on once it has been open this long.
    pub confirm_after: HumanDuration,
    /// Least time between the first and second restart of a container; it doubles with each one more.
    pub backoff: HumanDuration,
    /// A container left alone this long starts again from the first backoff.
    pub backoff_reset: HumanDuration,
    /// Restarts of one container in an hour; then it is left to people.
    pub hourly: u32,
    /// A restart is judged this long after it was done.
    pub verdict_within: HumanDuration,
}

/// Adding and removing replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scale {
    /// How long a new replica takes until it serves: load is looked at that far ahead.
    pub startup: HumanDuration,
    /// Forecasts in a row, 1 to 16, that must ask for more before more is added.
    pub up_confirmations: u32,
    /// The whole of this time must have asked for less before one is removed; at most 1 h.
    pub down_window: HumanDuration,
    /// After a removal that made things worse, none for this long.
    pub down_hold: HumanDuration,
    /// A service with `io.homeostat.scale=0..N` is stopped once nobody has asked for it this long; at most 1 h.
    pub idle_after: HumanDuration,
    /// A load this share beside the target changes nothing, 0 to 0.5.
    pub tolerance: f64,
    /// From this share of time spent waiting for the CPU limit, above 0 up to 1, the load seen is taken as capped.
    pub throttled: f64,
    /// How long a replica may take to stop before it is killed.
    pub grace: HumanDuration,
    /// A change that has not begun after this is given up.
    pub deadline: HumanDuration,
    /// A change of replicas is judged at the latest this long after it was done.
    pub verdict_within: HumanDuration,
}

/// Changing limits in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resize {
    /// Share of its CPU limit that a container is to use where no label says less, 0.1 to 1.
    pub headroom: f64,
    /// A change of a limit by less than this share of it is not worth making, 0.01 to 0.5.
    pub step_least: f64,
    /// A CPU limit is raised to this many times itself at most in one step, 1.2 to 10.
    pub raise_most: f64,
    /// Use of CPU alone, without any sign that the limit is too low, calls for a higher one after this much history.
    pub raise_history: HumanDuration,
    /// An out-of-memory kill calls for a higher limit this long; at most 1 h.
    pub oom_within: HumanDuration,
    /// A memory limit that was too low is raised by this share of it, 0.1 to 1 …
    pub oom_share: f64,
    /// … and by so many bytes at least.
    pub oom_least: Bytes,
    /// No limit is lowered before a service was watched for this long.
    pub lower_history: HumanDuration,
    /// Least time between two lowerings of a service; at most 2 h.
    pub lower_every: HumanDuration,
    /// After a lowering that made things worse, and of memory after an out-of-memory kill, none for this long; at most 2 h.
    pub lower_hold: HumanDuration,
    /// A limit is lowered to this share of itself at the least in one step, 0.1 to 0.9.
    pub lower_most: f64,
    /// No memory limit is lowered to less than this many times what was in use in the last hour, 1.05 to 10.
    pub memory_margin: f64,
    /// A change that has not begun after this is given up.
    pub deadline: HumanDuration,
    /// A change is judged at the latest this long after it was done; at most 1 h.
    pub verdict_within: HumanDuration,
}

/// Rolling an image out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Update {
    /// The first container of a new image is watched for this long before the others follow; at most 1 h.
    pub bake: HumanDuration,
    /// Each of the others is watched for this long before the next; at most 1 h.
    pub soak: HumanDuration,
    /// How long a container may take to stop before it is killed.
    pub grace: HumanDuration,
    /// A pull that has not begun, or ended, after this is given up.
    pub pull_deadline: HumanDuration,
    /// Any other step that has not begun after this is given up.
    pub deadline: HumanDuration,
    /// Wait before a step that came to nothing is tried again; it doubles with each one more.
    pub retry: HumanDuration,
}

/// Moving containers to other nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relocate {
    /// A node must have been short of something for so long before anything is moved away from it.
    pub after: HumanDuration,
    /// After a move from or to a node, so long is waited for what it brings before the next; at most 1 h.
    pub settle: HumanDuration,
    /// Containers of one node that is to be drained on their way at once.
    pub drain_parallel: u32,
    /// The new container, and the service without the old one, are watched for this long at least; at most 1 h.
    pub soak: HumanDuration,
    /// How long a container may take to stop before it is killed.
    pub grace: HumanDuration,
    /// The new container must have been begun by then, its image pulled.
    pub create_deadline: HumanDuration,
    /// Any other step that has not begun after this is given up.
    pub deadline: HumanDuration,
    /// Wait before a step that came to nothing is tried again; it doubles with each one more.
    pub retry_step: HumanDuration,
    /// A service whose move went wrong is left where it is for so long; at most 2 h.
    pub retry: HumanDuration,
}

/// What ran on a lost node runs elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Failover {
    /// A node is lost when neither its actuator nor its collector has been heard for so long, or for as long as its actuator says that its
    /// leases last (`actuator.lease`), if that is more.
    pub lease: HumanDuration,
    /// Of more than this share of the nodes at once, and of more than one, it is only said that they are lost; 0 to only say it of any.
    pub nodes_share: f64,
}

/// How much may be done, all kinds of action together. One service has one plan at a time, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Plans being carried out at once on one node.
    pub node_concurrent: u32,
    /// Plans being carried out at once everywhere.
    pub global_concurrent: u32,
    /// Steps in an hour for one service.
    pub service_hourly: u32,
    /// Steps in an hour everywhere.
    pub global_hourly: u32,
}

/// The common-cause breaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Critical signals that opened within this time of one another count as at once.
    pub window: HumanDuration,
    /// Fewest services sick at once that open it.
    pub services_min: u32,
    /// Share of the known services sick at once that opens it, when that is more; above 0 up to 1.
    pub share: f64,
    /// How long acting stops; again as long while it is not calm.
    pub hold: HumanDuration,
    /// A node silent for this long is taken as gone, and no longer as silent.
    pub node_forgotten: HumanDuration,
}

/// What keeps losing is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Verdicts in a row that did not help before a kind of action is left alone for a service.
    pub losses: u32,
    /// For how long; at most 1 h.
    pub quarantine: HumanDuration,
    /// Wait after a change of replicas that failed or did not help; it doubles with each one more.
    pub backoff: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        let core = control::Config::default();
        Config {
            max_mode: core.max_mode,
            telemetry_stale: core.telemetry_stale.into(),
            people: People::default(),
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

/// A section, its type in the core, its keys that are durations and its other keys: defaults and conversion follow.
macro_rules! section {
    ($section:ident: durations [$($duration:ident),*] plain [$($plain:ident),*]) => {
        impl Default for $section {
            fn default() -> Self {
                let core = control::config::$section::default();
                $section {
                    $($duration: core.$duration.into(),)*
                    $($plain: core.$plain,)*
                }
            }
        }

        impl $section {
            fn core(&self) -> control::config::$section {
                control::config::$section {
                    $($duration: self.$duration.get(),)*
                    $($plain: self.$plain,)*
                }
            }
        }
    };
}

section!(Heal: durations [grace, deadline, confirm_after, backoff, backoff_reset, verdict_within] plain [hourly]);
section!(Scale: durations [startup, down_window, down_hold, idle_after, grace, deadline, verdict_within] plain [up_confirmations, tolerance, throttled]);
section!(Resize: durations [raise_history, oom_within, lower_history, lower_every, lower_hold, deadline, verdict_within] plain [headroom, step_least, raise_most, oom_share, oom_least, lower_most, memory_margin]);
section!(Update: durations [bake, soak, grace, pull_deadline, deadline, retry] plain []);
section!(Relocate: durations [after, settle, soak, grace, create_deadline, deadline, retry_step, retry] plain [drain_parallel]);
section!(Failover: durations [lease] plain [nodes_share]);
section!(Budget: durations [] plain [node_concurrent, global_concurrent, service_hourly, global_hourly]);
section!(Breaker: durations [window, hold, node_forgotten] plain [services_min, share]);
section!(Ledger: durations [quarantine, backoff] plain [losses]);

impl Default for People {
    fn default() -> Self {
        People {
            hold: control::Config::default().people_hold.into(),
        }
    }
}

impl Config {
    /// What the core decides by.
    pub fn core(&self) -> control::Config {
        control::Config {
            max_mode: self.max_mode,
            telemetry_stale: self.telemetry_stale.get(),
            people_hold: self.people.hold.get(),
            heal: self.heal.core(),
            scale: self.scale.core(),
            resize: self.resize.core(),
            update: self.update.core(),
            relocate: self.relocate.core(),
            failover: self.failover.core(),
            budget: self.budget.core(),
            breaker: self.breaker.core(),
            ledger: self.ledger.core(),
        }
    }

    /// What the auditor holds every plan against.
    pub(crate) fn bounds(&self) -> audit::Bounds {
        audit::Bounds {
            max_mode: self.max_mode,
            node_concurrent: self.budget.node_concurrent,
            global_concurrent: self.budget.global_concurrent,
            service_hourly: self.budget.service_hourly,
            global_hourly: self.budget.global_hourly,
        }
    }

    fn durations(&self) -> [(&'static str, HumanDuration); 36] {
        [
            ("telemetry_stale", self.telemetry_stale),
            ("heal.deadline", self.heal.deadline),
            ("heal.backoff", self.heal.backoff),
            ("heal.backoff_reset", self.heal.backoff_reset),
            ("heal.verdict_within", self.heal.verdict_within),
            ("scale.startup", self.scale.startup),
            ("scale.down_window", self.scale.down_window),
            ("scale.down_hold", self.scale.down_hold),
            ("scale.idle_after", self.scale.idle_after),
            ("scale.deadline", self.scale.deadline),
            ("scale.verdict_within", self.scale.verdict_within),
            ("resize.raise_history", self.resize.raise_history),
            ("resize.oom_within", self.resize.oom_within),
            ("resize.lower_history", self.resize.lower_history),
            ("resize.lower_every", self.resize.lower_every),
            ("resize.lower_hold", self.resize.lower_hold),
            ("resize.deadline", self.resize.deadline),
            ("resize.verdict_within", self.resize.verdict_within),
            ("update.bake", self.update.bake),
            ("update.soak", self.update.soak),
            ("update.pull_deadline", self.update.pull_deadline),
            ("update.deadline", self.update.deadline),
            ("update.retry", self.update.retry),
            ("relocate.after", self.relocate.after),
            ("relocate.settle", self.relocate.settle),
            ("relocate.soak", self.relocate.soak),
            ("relocate.create_deadline", self.relocate.create_deadline),
            ("relocate.deadline", self.relocate.deadline),
            ("relocate.retry_step", self.relocate.retry_step),
            ("relocate.retry", self.relocate.retry),
            ("failover.lease", self.failover.lease),
            ("breaker.window", self.breaker.window),
            ("breaker.hold", self.breaker.hold),
            ("breaker.node_forgotten", self.breaker.node_forgotten),
            ("ledger.quarantine", self.ledger.quarantine),
            ("ledger.backoff", self.ledger.backoff),
        ]
    }
}

impl Config {
    /// What is looked back on, with the hours that is remembered for.
    fn looked_back(&self) -> [(&'static str, HumanDuration, u32); 17] {
        [
            ("scale.down_window", self.scale.down_window, 1),
            ("scale.verdict_within", self.scale.verdict_within, 1),
            ("heal.verdict_within", self.heal.verdict_within, 1),
            ("heal.backoff_reset", self.heal.backoff_reset, 1),
            ("scale.down_hold", self.scale.down_hold, 1),
            ("scale.idle_after", self.scale.idle_after, 1),
            ("resize.oom_within", self.resize.oom_within, 1),
            ("resize.verdict_within", self.resize.verdict_within, 1),
            ("resize.lower_every", self.resize.lower_every, 2),
            ("resize.lower_hold", self.resize.lower_hold, 2),
            ("update.bake", self.update.bake, 1),
            ("update.soak", self.update.soak, 1),
            ("relocate.settle", self.relocate.settle, 1),
            ("relocate.soak", self.relocate.soak, 1),
            ("relocate.retry", self.relocate.retry, 2),
            ("ledger.quarantine", self.ledger.quarantine, 1),
            ("people.hold", self.people.hold, 1),
        ]
    }

    fn shares(&self) -> [(&'static str, f64, f64, f64); 10] {
        [
            ("scale.tolerance", self.scale.tolerance, 0.0, 0.5),
            ("scale.throttled", self.scale.throttled, 0.01, 1.0),
            ("resize.headroom", self.resize.headroom, 0.1, 1.0),
            ("failover.nodes_share", self.failover.nodes_share, 0.0, 0.5),
            ("resize.step_least", self.resize.step_least, 0.01, 0.5),
            ("resize.raise_most", self.resize.raise_most, 1.2, 10.0),
            ("resize.oom_share", self.resize.oom_share, 0.1, 1.0),
            ("resize.lower_most", self.resize.lower_most, 0.1, 0.9),
            (
                "resize.memory_margin",
                self.resize.memory_margin,
                1.05,
                10.0,
            ),
            ("breaker.share", self.breaker.share, 0.01, 1.0),
        ]
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let hour = SECOND * 3_600;
        let mut problems = Vec::new();
        for (key, duration) in self.durations() {
            if duration.get() < SECOND {
                problems.push(
                    Invalid::new(key, format!("{duration} is too short"))
                        .suggest("write 1s or more"),
                );
            }
        }
        for (key, duration, hours) in self.looked_back() {
            if duration.get() > hour * hours {
                problems.push(
                    Invalid::new(key, format!("{duration} is longer than is looked back"))
                        .suggest(format!("write {hours}h or less")),
                );
            }
        }
        for (key, share, low, high) in self.shares() {
            if !(low..=high).contains(&share) {
                problems.push(
                    Invalid::new(key, format!("{share} is out of range"))
                        .suggest(format!("write a number from {low} to {high}")),
                );
            }
        }
        if !(1..=16).contains(&self.scale.up_confirmations) {
            let message = format!(
                "{} forecasts in a row are not kept",
                self.scale.up_confirmations
            );
            problems.push(
                Invalid::new("scale.up_confirmations", message)
                    .suggest("write a number from 1 to 16"),
            );
        }
        for (key, count) in [
            ("heal.hourly", self.heal.hourly),
            ("budget.node_concurrent", self.budget.node_concurrent),
            ("budget.global_concurrent", self.budget.global_concurrent),
            ("budget.service_hourly", self.budget.service_hourly),
            ("budget.global_hourly", self.budget.global_hourly),
            ("breaker.services_min", self.breaker.services_min),
            ("ledger.losses", self.ledger.losses),
            ("relocate.drain_parallel", self.relocate.drain_parallel),
        ] {
            if count == 0 {
                problems.push(
                    Invalid::new(key, "0 would stop everything")
                        .suggest("write 1 or more; to stop acting set max_mode = \"observe\""),
                );
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_is_the_cores_and_only_observes() {
        let config = Config::default();
        assert_eq!(config.problems(), Vec::new());
        assert_eq!(config.core(), control::Config::default());
        assert_eq!(config.max_mode, Mode::Observe);
    }

    #[test]
    fn every_mistake_is_named_with_its_key() {
        let mut config = Config::default();
        config.scale.down_window = HumanDuration::from_secs(7_200);
        config.heal.backoff = HumanDuration::from_millis(1);
        config.breaker.share = 0.0;
        config.scale.up_confirmations = 0;
        config.budget.global_hourly = 0;
        let keys: Vec<String> = config
            .problems()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        let expected = [
            "heal.backoff",
            "scale.down_window",
            "breaker.share",
            "scale.up_confirmations",
            "budget.global_hourly",
        ];
        assert_eq!(keys, expected);
    }
}
