//! How many replicas a service needs, from what arrives, what is expected, and the one thing an operator states: the share of
//! seconds that may see a backlog.
//!
//! Each second without a backlog has a price in replica-seconds. For a price, the replicas wanted follow from what is expected and
//! from the tail of the errors forecasts have made: one more is wanted while the backlog seconds it avoids are worth more than it
//! costs. Which price keeps the promise nobody has to say: [`Sizer`] runs a shadow of the service for every price, patience and
//! view of the future, over the very load that comes in, and takes the cheapest whose shadow has kept the promise lately. How much
//! of the promise is left is what the real replicas have used of it.
//!
//! What this module does not do: it orders nothing, knows no clock, no budget of actions and no other service, and takes the
//! start-up time and the capacity of a replica as given. The core goes by what its shell was told of it.

mod choice;
mod shadow;
mod tail;

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use choice::{Candidate, Choice};
use shadow::{Aim, Shadow};
use tail::Tail;
use units::{Coming, Expected, Outlook, Ratio};

/// Seconds between decisions.
pub const DECIDE_EVERY_S: u64 = 10;
/// Seconds to see before the first decision.
const FIRST_DECISION_S: u64 = 60;
/// Seconds between choices of a price.
const CHOOSE_EVERY_S: u64 = 600;
/// The longest start-up time; shadows keep a place for every second of it.
pub const STARTUP_MAX_S: u32 = 3_600;
/// The most replicas: the search for how many are wanted ends there.
pub const REPLICAS_MAX: u32 = 10_000;
/// Fewer replicas than the load less so many spreads are never wanted.
const SEARCH_BELOW: f64 = 3.0;
/// More replicas are not looked at once this is how likely a backlog is.
const SEARCH_UNTIL: f64 = 1e-7;
/// No more replicas than for this many times the highest load seen, or this many times what is expected.
const PEAK_MARGIN: f64 = 1.2;
const EXPECTED_MARGIN: f64 = 1.5;
/// The highest load seen sinks by this share a day.
const PEAK_LOST_A_DAY: f64 = 0.1;
/// Fewer requests that wait are rounding.
const BACKLOG_MIN: f64 = 1e-9;
const DAY_S: f64 = 86_400.0;

/// Why a service cannot be sized.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SizingError {
    /// Not between one second and the longest.
    #[error("a start-up time of {0} s cannot be planned with; it has to be 1 to {STARTUP_MAX_S} s")]
    Startup(u32),
    /// Nothing, or no number.
    #[error(
        "a replica that serves {0} requests a second cannot be planned with; measure its capacity"
    )]
    Capacity(f64),
    /// No replicas between the two.
    #[error("{min} to {max} replicas is no range; it has to lie within 1 and {REPLICAS_MAX}")]
    Replicas {
        /// At least so many.
        min: u32,
        /// At most so many.
        max: u32,
    },
    /// A promise nobody can keep.
    #[error(
        "no backlog at all cannot be promised; state a share of seconds above 0, such as 0.001"
    )]
    Slo,
}

/// What is known of a service.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// From the order of a replica until it serves, in seconds.
    pub startup_s: u32,
    /// The share of seconds that may see a backlog.
    pub slo: Ratio,
    /// Requests a second that one replica serves at most.
    pub replica_capacity: f64,
    /// At least so many replicas.
    pub min: u32,
    /// At most so many replicas.
    pub max: u32,
}

impl Settings {
    fn check(&self) -> Result<(), SizingError> {
        if !(1..=STARTUP_MAX_S).contains(&self.startup_s) {
            return Err(SizingError::Startup(self.startup_s));
        }
        if !(self.replica_capacity.is_finite() && self.replica_capacity > 0.0) {
            return Err(SizingError::Capacity(self.replica_capacity));
        }
        let (min, max) = (self.min, self.max);
        if min == 0 || max < min || max > REPLICAS_MAX {
            return Err(SizingError::Replicas { min, max });
        }
        if self.slo.get() <= 0.0 {
            return Err(SizingError::Slo);
        }
        Ok(())
    }
}

/// The replicas of a service at the end of a second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Replicas {
    /// Serving.
    pub ready: u32,
    /// Ordered, not yet serving.
    pub starting: u32,
    /// What both will have served with within the next start-up time, in replica-seconds.
    pub upcoming: f64,
    /// Requests that wait.
    pub backlog: f64,
}

/// One second of a service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second {
    /// Requests that arrived in it.
    pub arrived: f64,
    /// What to expect when a replica ordered now is ready.
    pub outlook: Outlook,
    /// The replicas at its end.
    pub replicas: Replicas,
}

/// Which expectation replicas are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// The level stays.
    Steady,
    /// A rise goes on.
    Rising,
}

impl View {
    const ALL: [View; 2] = [View::Steady, View::Rising];
}

/// What replicas are ordered by now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stance {
    /// The expectation.
    pub view: View,
    /// What a second without a backlog is worth, in replica-seconds.
    pub price: f64,
    /// Replicas stay until none of the last so many seconds wanted them.
    pub patience_s: u32,
}

/// One candidate: its shadow, and what it has wanted lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rehearsal {
    stance: Stance,
    shadow: Shadow,
    /// What was wanted within the patience and by nothing later exceeded, falling.
    wanted: VecDeque<(u64, u32)>,
    candidate: Candidate,
}

/// What follows from a view of the future.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sight {
    view: View,
    tail: Tail,
    /// Expectations of the next seconds, nearest first.
    made: VecDeque<Expected>,
}

/// Sizes one service, second by second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sizer {
    settings: Settings,
    second: u64,
    peak: f64,
    sights: [Sight; View::ALL.len()],
    rehearsals: Vec<Rehearsal>,
    choice: Choice,
    /// For the real replicas, as a shadow has it for its own.
    draining: u32,
}

impl Sizer {
    /// A sizer that knows nothing yet and is careful.
    ///
    /// # Errors
    /// Settings that cannot be planned with.
    pub fn new(settings: Settings) -> Result<Self, SizingError> {
        settings.check()?;
        let rehearsal = |stance| Rehearsal {
            stance,
            shadow: Shadow::new(&settings),
            wanted: VecDeque::new(),
            candidate: Candidate::default(),
        };
        let rehearsals: Vec<Rehearsal> = choice::stances().map(rehearsal).collect();
        Ok(Sizer {
            settings,
            second: 0,
            peak: 0.0,
            sights: View::ALL.map(|view| Sight {
                view,
                tail: Tail::default(),
                made: VecDeque::new(),
            }),
            choice: Choice::new(settings.slo, settings.startup_s),
            rehearsals,
            draining: 0,
        })
    }

    /// Takes the next second. Every [`DECIDE_EVERY_S`] seconds it answers with the number of replicas to have from now on.
    pub fn observe(&mut self, second: &Second) -> Option<u32> {
        for rehearsal in &mut self.rehearsals {
            let backlog = rehearsal.shadow.serve(second.arrived);
            let replicas = rehearsal.shadow.replicas();
            rehearsal.candidate.second(replicas, backlog);
        }
        self.choice.second(second.replicas.backlog);
        self.peak = (self.peak * (1.0 - PEAK_LOST_A_DAY / DAY_S)).max(second.arrived);
        for sight in &mut self.sights {
            sight.learn(second, self.settings.startup_s);
        }
        self.second += 1;
        let due = self.second.is_multiple_of(DECIDE_EVERY_S) && self.second > FIRST_DECISION_S;
        let wanted = due.then(|| self.decide(second));
        if self.second.is_multiple_of(CHOOSE_EVERY_S) {
            for sight in &mut self.sights {
                sight.tail.refresh();
            }
            let candidates = self.rehearsals.iter_mut().map(|one| &mut one.candidate);
            self.choice.choose(self.second, candidates);
        }
        wanted
    }

    /// Other bounds from now on; what was learnt stays.
    ///
    /// # Errors
    /// A range that cannot be planned with; nothing changes then.
    pub fn set_range(&mut self, min: u32, max: u32) -> Result<(), SizingError> {
        let settings = Settings {
            min,
            max,
            ..self.settings
        };
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// The share of the last seconds in which the real replicas had a backlog; older ones count less.
    pub fn broken(&self) -> Ratio {
        self.choice.broken()
    }

    /// What replicas are ordered by now.
    pub fn stance(&self) -> Stance {
        self.rehearsals[self.choice.chosen()].stance
    }

    fn decide(&mut self, second: &Second) -> u32 {
        let replicas = &second.replicas;
        let mut answer = replicas.ready.saturating_add(replicas.starting);
        for sight in &self.sights {
            let expected = sight.view.of(&second.outlook);
            let chances = self.settings.chances(&sight.tail, expected);
            let most = self.settings.most(self.peak, expected.load);
            for (place, rehearsal) in self.rehearsals.iter_mut().enumerate() {
                if rehearsal.stance.view != sight.view {
                    continue;
                }
                let price = rehearsal.stance.price;
                let wanted = chances.worthwhile(price).min(most);
                let patient = rehearsal.patient(self.second, wanted);
                let base = self
                    .settings
                    .ready_for(second.outlook.coming, price, patient);
                let aim = Aim {
                    base,
                    load: expected.load,
                    price,
                    settings: &self.settings,
                };
                if rehearsal.shadow.order(&aim) {
                    rehearsal.candidate.acted();
                }
                if place == self.choice.chosen() {
                    answer = aim.at(replicas, &mut self.draining);
                }
            }
        }
        answer
    }
}

impl View {
    fn of(self, outlook: &Outlook) -> Expected {
        match self {
            View::Steady => outlook.steady,
            View::Rising => outlook.rising,
        }
    }
}

impl Sight {
    /// Holds what was expected of this second against it, and keeps what is expected now.
    fn learn(&mut self, second: &Second, startup_s: u32) {
        if self.made.len() >= startup_s as usize
            && let Some(expected) = self.made.pop_front()
        {
            self.tail
                .learn((second.arrived - expected.load) / expected.spread);
        }
        self.made.push_back(self.view.of(&second.outlook));
    }
}

impl Rehearsal {
    /// The most that was wanted within the patience.
    fn patient(&mut self, now: u64, wanted: u32) -> u32 {
        while self.wanted.back().is_some_and(|(_, less)| *less <= wanted) {
            self.wanted.pop_back();
        }
        self.wanted.push_back((now, wanted));
        let patience = u64::from(self.stance.patience_s);
        while self
            .wanted
            .front()
            .is_some_and(|(at, _)| now - at >= patience)
        {
            self.wanted.pop_front();
        }
        self.wanted.front().map_or(wanted, |(_, most)| *most)
    }
}

/// How likely a backlog is with each number of replicas.
#[derive(Debug)]
struct Chances {
    from: u32,
    backlog: Vec<f64>,
}

impl Chances {
    /// The number of replicas that cost least with the backlog seconds they leave.
    fn worthwhile(&self, price: f64) -> u32 {
        let mut best = (f64::INFINITY, 0);
        for (more, chance) in (0..).zip(&self.backlog) {
            if f64::from(more) > best.0 {
                break;
            }
            let cost = f64::from(more) + price * chance;
            if cost < best.0 {
                best = (cost, more);
            }
        }
        self.from + best.1
    }
}

impl Settings {
    fn chances(&self, tail: &Tail, expected: Expected) -> Chances {
        let low = (expected.load - SEARCH_BELOW * expected.spread) / self.replica_capacity;
        // Negative and not-a-number become zero, what is too large the largest.
        let from = (low.floor() as u32).clamp(self.min, self.max);
        let mut backlog = Vec::new();
        for replicas in from..=self.max {
            let capacity = f64::from(replicas) * self.replica_capacity;
            let chance = tail.above((capacity - expected.load) / expected.spread);
            backlog.push(chance);
            if chance < SEARCH_UNTIL {
                break;
            }
        }
        Chances { from, backlog }
    }

    /// No more than this is wanted.
    fn most(&self, peak: f64, load: f64) -> u32 {
        let load = (PEAK_MARGIN * peak).max(EXPECTED_MARGIN * load);
        self.enough_for(load)
    }

    fn enough_for(&self, load: f64) -> u32 {
        ((load / self.replica_capacity).ceil() as u32).clamp(self.min, self.max)
    }

    /// Enough for a burst that may come, where being ready for it is worth its cost: a burst that is not met leaves a backlog for
    /// a start-up time and until that is worked off; replicas for it cost their own start-up and the time of waiting for it.
    fn ready_for(&self, coming: Option<Coming>, price: f64, base: u32) -> u32 {
        let Some(coming) = coming else {
            return base;
        };
        let ready = self.enough_for(coming.level + 2.0 * coming.level.max(0.0).sqrt());
        let startup_s = f64::from(self.startup_s);
        let worth = price * coming.chance * (1.5 * startup_s + 10.0);
        let cost = f64::from(ready.saturating_sub(base)) * (startup_s + coming.window_s);
        match ready > base && worth > cost {
            true => ready,
            false => base,
        }
    }
}

#[cfg(test)]
mod tests;
