//! Evidence of several kinds, each weighed with how rare it has been in this subject.

use serde::{Deserialize, Serialize};

use super::metric::{Surprise, WAYS, Way};
use super::tail::{Scale, Shape, Tail};
use super::view::{self, Mix, Pool, View};

/// Rows before evidence is compared with its own history.
const FIRST_ROWS: u64 = 20;

/// One kind of evidence.
struct Kind {
    /// The figures it is the mean of.
    views: &'static [View],
    /// Gain of its mean over the last rows; 1: this row alone.
    gain: f32,
    /// What it counts where there are many metrics, and the logarithm of how many times as much it counts where there is only one:
    /// with fewer metrics that could agree, a moment is worth less and what lasts is worth more.
    weight: f32,
    alone: f32,
}

const KINDS: [Kind; 3] = [
    // Several metrics far out for two rows or so.
    Kind {
        views: &[
            View::of(Mix::Farthest, 1.0, Pool::Square),
            View::of(Mix::Most, 1.0, Pool::Mean),
            View::of(Mix::Only(Way::Jump), 1.0, Pool::Top(6)),
        ],
        gain: 0.6,
        weight: 1.0,
        alone: 0.0,
    },
    // A spike that several metrics share; a single metric can confirm none.
    Kind {
        views: &[
            View::of(Mix::Only(Way::Jump), 0.5, Pool::Mean),
            View::of(Mix::Only(Way::Spread), 0.0, Pool::Top(3)),
        ],
        gain: 1.0,
        weight: 0.51,
        alone: -3.25,
    },
    // A few metrics a little out for long.
    Kind {
        views: &[
            View::of(Mix::Only(Way::Lasting), 0.0, Pool::Top(1)),
            View::of(Mix::Both, 1.0, Pool::Top(3)),
        ],
        gain: 0.37,
        weight: 0.55,
        alone: 0.5,
    },
];

const SHAPE: Shape = Shape {
    scale: Scale::Linear,
    low: 0.0,
    width: 0.05,
    bins: 200,
    share: 0.05,
    prior_excess: 0.41,
    prior_weight: 40.0,
    memory: f32::INFINITY,
    learn_up_to: 2.5,
    excess_min: 0.02,
};

/// Every kind of evidence about one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Evidence {
    kinds: [History; KINDS.len()],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct History {
    mean: f32,
    tail: Tail,
}

impl Evidence {
    pub(super) fn new() -> Self {
        Evidence {
            kinds: std::array::from_fn(|_| History {
                mean: 0.0,
                tail: Tail::new(&SHAPE),
            }),
        }
    }

    /// The strongest kind of evidence in this row, in decades. `history_share` of it is how rare it has been here, and the rest the
    /// figure itself, so that a quiet subject's trifles stay trifles. `room` is overwritten.
    pub(super) fn observe(
        &mut self,
        metrics: &[[Surprise; WAYS]],
        rows: u64,
        history_share: f32,
        room: &mut Vec<f32>,
    ) -> f32 {
        let one = 1.0 / metrics.len().max(1) as f32;
        let mut most = 0.0_f32;
        for (kind, history) in KINDS.iter().zip(&mut self.kinds) {
            let figure = view::mean(kind.views, metrics, room);
            history.mean += kind.gain * (figure - history.mean);
            let rare = if rows > FIRST_ROWS {
                history.tail.surprise(&SHAPE, history.mean)
            } else {
                0.0
            };
            history.tail.learn(&SHAPE, history.mean);
            let evidence = (1.0 - history_share) * history.mean + history_share * rare;
            most = most.max(kind.weight * (kind.alone * one).exp() * evidence);
        }
        most
    }
}
