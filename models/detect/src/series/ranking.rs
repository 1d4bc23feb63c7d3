//! The score: what ranks all rows of a subject well, alert or not.

use serde::{Deserialize, Serialize};

use super::metric::{Surprise, WAYS, Way};
use super::view::{Mix, Pool, View};

/// Decades at which the score is 0.9; twice as many are 0.99.
const SCORE_DECADES: f32 = 4.0;

/// A part of the score: a figure, the gain of its mean over the last rows, and its share.
struct Part {
    view: View,
    gain: f32,
    share: f32,
}

/// The moment, the last three rows, and jumps for themselves, which are rare in the same way in all subjects.
const PARTS: [Part; 4] = [
    Part {
        view: View::of(Mix::Most, 0.5, Pool::Mean),
        gain: 1.0,
        share: 0.5,
    },
    Part {
        view: View::of(Mix::Farthest, 1.0, Pool::Top(3)),
        gain: 0.3,
        share: 0.25,
    },
    Part {
        view: View::of(Mix::Only(Way::Jump), 1.0, Pool::Square),
        gain: 1.0,
        share: 0.125,
    },
    Part {
        view: View::of(Mix::Only(Way::Jump), 1.0, Pool::Top(6)),
        gain: 1.0,
        share: 0.125,
    },
];

/// The means behind one subject's score.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ranking {
    means: [f32; PARTS.len()],
}

impl Ranking {
    /// From 0 to 1. `room` is overwritten.
    pub(super) fn observe(&mut self, metrics: &[[Surprise; WAYS]], room: &mut Vec<f32>) -> f32 {
        let mut decades = 0.0;
        for (part, mean) in PARTS.iter().zip(&mut self.means) {
            *mean += part.gain * (part.view.figure(metrics, room) - *mean);
            decades += part.share * *mean;
        }
        (1.0 - 10_f32.powf(-decades.max(0.0) / SCORE_DECADES)).clamp(0.0, 1.0)
    }
}
