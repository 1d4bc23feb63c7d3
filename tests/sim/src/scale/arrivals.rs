//! A recorded load, and what a replica is worth under it.

use super::{DAY_S, REPLICAS_MIN, ScoreFrom};
use control::sizing::SizingError;

const MINUTE_S: usize = 60;
/// The busiest minutes need so many replicas at full use …
const BUSIEST_REPLICAS: f64 = 30.0;
/// … where these are the minutes at this quantile.
const BUSIEST_QUANTILE: f64 = 0.999;
/// Rounding is no need for another replica.
const ROUNDING: f64 = 1e-9;

/// Why a load cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScaleError {
    /// The first day is for learning.
    #[error("a load of {0} s is too short; it has to be longer than a day and a minute")]
    Short(usize),
    /// What arrived is no number of requests.
    #[error("second {second}: {requests} requests cannot have arrived")]
    Requests {
        /// Which second.
        second: usize,
        /// What is said to have arrived.
        requests: f64,
    },
    /// There is no load to speak of.
    #[error("the busiest minutes have no requests; there is nothing to scale for")]
    Idle,
    /// Nothing is left to be counted.
    #[error("counting would begin at second {from} of {seconds}; begin it earlier")]
    NothingCounted {
        /// The first second counted.
        from: usize,
        /// Seconds there are.
        seconds: usize,
    },
    /// The policy or the fleet cannot work with it.
    #[error(transparent)]
    Sizing(#[from] SizingError),
}

/// Requests of each second.
#[derive(Debug, Clone)]
pub struct Arrivals {
    per_second: Vec<f64>,
    capacity: f64,
}

impl Arrivals {
    /// Requests of one second after the other.
    ///
    /// # Errors
    /// A load too short, without requests, or with a second that is no number.
    pub fn new(per_second: Vec<f64>) -> Result<Self, ScaleError> {
        if per_second.len() <= DAY_S + MINUTE_S {
            return Err(ScaleError::Short(per_second.len()));
        }
        let wrong = |requests: &f64| !(requests.is_finite() && *requests >= 0.0);
        if let Some(second) = per_second.iter().position(wrong) {
            let requests = per_second[second];
            return Err(ScaleError::Requests { second, requests });
        }
        let minutes = per_second.chunks_exact(MINUTE_S).skip(DAY_S / MINUTE_S);
        let mut means: Vec<f64> = minutes
            .map(|minute| minute.iter().sum::<f64>() / MINUTE_S as f64)
            .collect();
        means.sort_by(f64::total_cmp);
        let capacity = quantile(&means, BUSIEST_QUANTILE) / BUSIEST_REPLICAS;
        if capacity <= 0.0 {
            return Err(ScaleError::Idle);
        }
        Ok(Arrivals {
            per_second,
            capacity,
        })
    }

    /// Requests of each second.
    pub fn per_second(&self) -> &[f64] {
        &self.per_second
    }

    /// Requests a second that one replica serves: a thirtieth of the 99.9th percentile of the minutes after the first day.
    pub fn replica_capacity(&self) -> f64 {
        self.capacity
    }

    /// Replicas a second needs for all of its requests to be served in it.
    pub(super) fn need(&self, requests: f64) -> u32 {
        let replicas = (requests / self.capacity - ROUNDING).ceil();
        (replicas as u32).max(REPLICAS_MIN)
    }

    pub(super) fn first_counted(&self, score_from: ScoreFrom) -> Result<usize, ScaleError> {
        let seconds = self.per_second.len();
        let from = match score_from {
            ScoreFrom::SecondDay => DAY_S,
            ScoreFrom::Share(share) => (share.get() * seconds as f64) as usize,
        };
        if from >= seconds {
            return Err(ScaleError::NothingCounted { from, seconds });
        }
        Ok(from)
    }
}

/// Linear between the values on both sides of the place.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place as usize];
    let above = sorted[(place as usize + 1).min(sorted.len() - 1)];
    below + (above - below) * place.fract()
}
