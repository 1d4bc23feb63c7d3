//! A service under a recorded load, second by second, whose replicas a policy adds and removes.
//!
//! The model is that of the reference simulator under `shared/bench/control`, section "scale.py: the model, exactly" of its README,
//! and the rivals are those defined there; its printed table is reproduced by a test. A load is requests a second; every replica
//! serves equally many, is paid for from its order on, and starts for a fixed time. Requests wait as long as they must.
//!
//! What it leaves out: latency, failed starts, uneven balancing, drain time, and limits of hosts.

mod arrivals;
mod clairvoyant;
mod fleet;
mod homeostat;
mod rivals;

pub use arrivals::{Arrivals, ScaleError};

use fleet::Fleet;
use homeostat::Homeostat;
use rivals::{Hpa, Keda, Nomad};
use units::Ratio;

/// Fewest and most replicas.
pub const REPLICAS_MIN: u32 = 2;
/// The most replicas.
pub const REPLICAS_MAX: u32 = 400;
/// The utilisation rivals aim at unless told otherwise.
pub const TARGET: f64 = 0.7;
/// Policies see so many seconds before they decide for the first time.
const FIRST_DECISION_S: usize = 60;
const DAY_S: usize = 86_400;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// This project's own.
    Homeostat,
    /// Kubernetes' horizontal pod autoscaler on CPU.
    Hpa,
    /// KEDA on requests a second.
    Keda,
    /// Nomad's autoscaler with a target value.
    Nomad,
}

/// Where counting begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScoreFrom {
    /// After the first day.
    SecondDay,
    /// After this share of the load.
    Share(Ratio),
}

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    /// Who decides.
    pub policy: Policy,
    /// From order to readiness, in seconds.
    pub startup_s: u32,
    /// The share of seconds that may see a backlog; only this project's policy asks for it.
    pub slo: Ratio,
    /// The utilisation aimed at; only rivals ask for it.
    pub target: f64,
    /// Where counting begins.
    pub score_from: ScoreFrom,
}

/// What came of it, from where counting begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Seconds a day that ended with a backlog.
    pub violation_seconds_per_day: f64,
    /// Their share of all seconds.
    pub violation_ratio: f64,
    /// Replica-hours, those of starting replicas included.
    pub replica_hours: f64,
    /// Those, divided by what one who knows the future needs for no backlog at all.
    pub cost_ratio: f64,
    /// Changes of the number of replicas a day.
    pub actions_per_day: f64,
}

/// What a policy sees at the end of a second.
#[derive(Debug)]
struct Seen<'a> {
    second: usize,
    arrived: f64,
    fleet: &'a Fleet,
}

trait Scaler {
    /// Takes a second.
    fn observe(&mut self, seen: &Seen<'_>);
    /// Seconds between decisions.
    fn period_s(&self) -> usize;
    /// The number of replicas from now on.
    fn decide(&mut self, seen: &Seen<'_>) -> u32;
}

/// Runs a policy over a load.
///
/// # Errors
/// A load, a start-up time or a promise that cannot be simulated.
pub fn run(arrivals: &Arrivals, setup: &Setup) -> Result<Figures, ScaleError> {
    let from = arrivals.first_counted(setup.score_from)?;
    let capacity = arrivals.replica_capacity();
    let mut scaler: Box<dyn Scaler> = match setup.policy {
        Policy::Homeostat => Box::new(Homeostat::new(setup.startup_s, setup.slo, capacity)?),
        Policy::Hpa => Box::new(Hpa::new(setup.target)),
        Policy::Keda => Box::new(Keda::new(setup.target, capacity)),
        Policy::Nomad => Box::new(Nomad::new(setup.target)),
    };
    let mut fleet = Fleet::new(setup.startup_s, capacity)?;
    let (mut paid, mut broken, mut actions) = (0_u64, 0_u64, 0_u64);
    for (second, &arrived) in arrivals.per_second().iter().enumerate() {
        let backlog = fleet.serve(arrived);
        if second >= from {
            paid += u64::from(fleet.replicas());
            broken += u64::from(backlog);
        }
        let seen = Seen {
            second,
            arrived,
            fleet: &fleet,
        };
        scaler.observe(&seen);
        if (second + 1).is_multiple_of(scaler.period_s()) && second >= FIRST_DECISION_S {
            let wanted = scaler.decide(&seen).clamp(REPLICAS_MIN, REPLICAS_MAX);
            let acted = fleet.set(wanted);
            actions += u64::from(acted && second >= from);
        }
    }
    let seconds = (arrivals.per_second().len() - from) as f64;
    let days = seconds / DAY_S as f64;
    let least = clairvoyant::replica_seconds(arrivals, setup.startup_s, from);
    Ok(Figures {
        violation_seconds_per_day: broken as f64 / days,
        violation_ratio: broken as f64 / seconds,
        replica_hours: paid as f64 / 3_600.0,
        cost_ratio: paid as f64 / least as f64,
        actions_per_day: actions as f64 / days,
    })
}

#[cfg(test)]
mod tests;
