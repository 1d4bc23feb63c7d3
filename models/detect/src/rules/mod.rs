//! One rule a file: what it looks at, from which numbers on it holds, and the sentence it says.

pub(crate) mod absence;
pub(crate) mod answers;
pub(crate) mod app;
pub(crate) mod crash;
pub(crate) mod deviation;
pub(crate) mod errors;
pub(crate) mod hang;
pub(crate) mod health;
pub(crate) mod leak;
pub(crate) mod links;
pub(crate) mod lost;
pub(crate) mod memory;
pub(crate) mod node;
pub(crate) mod novelty;
pub(crate) mod page;
pub(crate) mod pattern;
pub(crate) mod peers;
pub(crate) mod pulse;
pub(crate) mod rate;
pub(crate) mod silence;
pub(crate) mod standstill;
pub(crate) mod storm;
pub(crate) mod tasks;
pub(crate) mod throttling;
pub(crate) mod trend;
pub(crate) mod waiting;

use units::Confidence;

const MEDIUM_SAMPLES: u32 = 3_600;
const HIGH_SAMPLES: u32 = 86_400;

/// How much a judgement against so many samples is worth, at one a second.
pub(crate) fn confidence(samples: u32) -> Confidence {
    match samples {
        few if few < MEDIUM_SAMPLES => Confidence::Low,
        some if some < HIGH_SAMPLES => Confidence::Medium,
        _ => Confidence::High,
    }
}
