//! Which stance is the cheapest that keeps the promise.

use serde::{Deserialize, Serialize};
use units::Ratio;

use super::{BACKLOG_MIN, DAY_S, Stance, View};

/// Prices of a second without a backlog, in replica-seconds: so many, from the first on each this many times the one before.
const PRICES: i32 = 14;
const PRICE_FIRST: f64 = 8.0;
const PRICE_RATIO: f64 = 1.8;
/// Patience, in seconds.
const PATIENCE_S: [u32; 5] = [30, 60, 120, 240, 480];
/// What a change of the number of replicas counts as, in replica-seconds: so much, and this share of the start-up time more.
const ACTION_COST: f64 = 100.0;
const ACTION_COST_STARTUPS: f64 = 0.5;
/// The part of the promise that is planned with.
const PROMISE_USED: f64 = 0.95;
/// After so many days half of that is; the rest with time.
const PROMISE_HALF_DAYS: f64 = 0.5;
/// What the real replicas have left of the promise is added to the plan by this share, within these bounds.
const FEEDBACK: f64 = 0.5;
const FEEDBACK_MIN: f64 = 0.5;
const FEEDBACK_MAX: f64 = 1.6;
/// Half of what was seen is forgotten after this share of the time there was, but not before, and not later than this.
const HALF_LIFE_SHARE: f64 = 0.2;
const HALF_LIFE_MIN_S: f64 = 6.0 * 3_600.0;
const HALF_LIFE_MAX_S: f64 = 3.0 * DAY_S;
/// The first stance is kept until so much time was seen.
const CAREFUL_S: u64 = 7_200;

/// Every stance there is, the first by view, then by price.
pub(super) fn stances() -> impl Iterator<Item = Stance> {
    View::ALL.into_iter().flat_map(|view| {
        (0..PRICES).flat_map(move |step| {
            PATIENCE_S.map(|patience_s| Stance {
                view,
                price: PRICE_FIRST * PRICE_RATIO.powi(step),
                patience_s,
            })
        })
    })
}

/// The most careful of the steady stances.
const FIRST: usize = PRICES as usize * PATIENCE_S.len() - 1;

/// What a stance has cost lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Candidate {
    replica_seconds: f64,
    backlog_seconds: f64,
    actions: f64,
}

impl Candidate {
    /// A second passed, at whose end so many requests wait.
    pub(super) fn second(&mut self, replicas: u32, backlog: f64) {
        self.replica_seconds += f64::from(replicas);
        self.backlog_seconds += f64::from(u8::from(backlog > BACKLOG_MIN));
    }

    /// The number of replicas changed.
    pub(super) fn acted(&mut self) {
        self.actions += 1.0;
    }

    fn forget(&mut self, kept: f64) {
        self.replica_seconds *= kept;
        self.backlog_seconds *= kept;
        self.actions *= kept;
    }
}

/// The stance taken, and what is left of the promise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Choice {
    slo: f64,
    action_cost: f64,
    seconds: f64,
    /// With a backlog of the real replicas.
    broken: f64,
    chosen: usize,
}

impl Choice {
    pub(super) fn new(slo: Ratio, startup_s: u32) -> Self {
        Choice {
            slo: slo.get(),
            action_cost: ACTION_COST + ACTION_COST_STARTUPS * f64::from(startup_s),
            seconds: 0.0,
            broken: 0.0,
            chosen: FIRST,
        }
    }

    pub(super) fn chosen(&self) -> usize {
        self.chosen
    }

    /// A second of the real replicas passed, at whose end so many requests wait.
    pub(super) fn second(&mut self, backlog: f64) {
        self.seconds += 1.0;
        self.broken += f64::from(u8::from(backlog > BACKLOG_MIN));
    }

    /// The share of the seconds remembered with a backlog of the real replicas.
    pub(super) fn broken(&self) -> Ratio {
        Ratio::saturating(self.broken / self.seconds.max(1.0))
    }

    /// The share of seconds with a backlog that is planned with.
    fn budget(&self, second: u64) -> f64 {
        let days = second as f64 / DAY_S;
        let sure = PROMISE_USED * days / (days + PROMISE_HALF_DAYS);
        let used = self.broken / self.seconds.max(1.0) / (PROMISE_USED * self.slo);
        let left = (1.0 + FEEDBACK * (1.0 - used)).clamp(FEEDBACK_MIN, FEEDBACK_MAX);
        sure * left * self.slo
    }

    /// Takes the cheapest stance whose shadow has kept the promise, or where none has, one of those that broke it least.
    pub(super) fn choose<'a>(
        &mut self,
        second: u64,
        candidates: impl Iterator<Item = &'a mut Candidate>,
    ) {
        let candidates: Vec<&mut Candidate> = candidates.collect();
        let fewest = candidates.iter().map(|one| one.backlog_seconds);
        let fewest = fewest.fold(f64::INFINITY, f64::min);
        let allowed = (self.budget(second) * self.seconds).max(fewest);
        let mut best = f64::INFINITY;
        let mut chosen = FIRST;
        for (place, one) in candidates.iter().enumerate() {
            let cost = one.replica_seconds + self.action_cost * one.actions;
            if one.backlog_seconds <= allowed && cost < best {
                best = cost;
                chosen = place;
            }
        }
        if second >= CAREFUL_S {
            self.chosen = chosen;
        }
        let half_life = (HALF_LIFE_SHARE * second as f64).clamp(HALF_LIFE_MIN_S, HALF_LIFE_MAX_S);
        let kept = 0.5_f64.powf(super::CHOOSE_EVERY_S as f64 / half_life);
        for one in candidates {
            one.forget(kept);
        }
        self.seconds *= kept;
        self.broken *= kept;
    }
}
