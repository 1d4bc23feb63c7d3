//! From the surprises of many metrics to one figure of their subject.

use super::metric::{Surprise, WAYS, Way};

/// How the ways of one metric become one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// The largest of level, jump and spread: how far the value itself is out.
    Farthest,
    /// The largest of all ways.
    Most,
    /// The mean of all ways and the largest but spread, half and half.
    Both,
    /// One way alone.
    Only(Way),
}

/// How the metrics become one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// Mean of so many largest: a fault moves several metrics at once, a freak of one metric does not.
    Top(usize),
    /// Root of the mean square over all.
    Square,
    /// Mean over all.
    Mean,
}

/// One figure of a subject.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    pub(super) mix: Mix,
    /// Weight of the size of a deviation; the rest is its own tail's.
    pub(super) size: f32,
    pub(super) pool: Pool,
}

impl View {
    pub(super) const fn of(mix: Mix, size: f32, pool: Pool) -> View {
        View { mix, size, pool }
    }

    /// The figure of these metrics, in decades. `room` is overwritten; it saves an allocation per value.
    pub(super) fn figure(self, metrics: &[[Surprise; WAYS]], room: &mut Vec<f32>) -> f32 {
        if metrics.is_empty() {
            return 0.0;
        }
        room.clear();
        room.extend(metrics.iter().map(|ways| self.of_metric(ways)));
        match self.pool {
            Pool::Square => {
                let sum: f32 = room.iter().map(|one| one * one).sum();
                (sum / room.len() as f32).sqrt()
            }
            Pool::Mean => room.iter().sum::<f32>() / room.len() as f32,
            Pool::Top(top) => {
                let top = room.len().min(top);
                if top < room.len() {
                    room.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a));
                    // The order within the few depends on the others; the sum should not.
                    room[..top].sort_unstable_by(f32::total_cmp);
                }
                room[..top].iter().sum::<f32>() / top as f32
            }
        }
    }

    /// The figure of one metric, in decades.
    pub(super) fn of_metric(self, ways: &[Surprise; WAYS]) -> f32 {
        let of = |way: Way| ways[way as usize].blend(self.size);
        match self.mix {
            Mix::Only(way) => of(way),
            Mix::Farthest => of(Way::Level).max(of(Way::Jump)).max(of(Way::Spread)),
            Mix::Most => Way::ALL.into_iter().map(of).fold(0.0, f32::max),
            Mix::Both => {
                let most = of(Way::Level)
                    .max(of(Way::Jump))
                    .max(of(Way::Texture))
                    .max(of(Way::Lasting));
                let mean = Way::ALL.into_iter().map(of).sum::<f32>() / WAYS as f32;
                0.5 * (mean + most)
            }
        }
    }
}

/// The mean of several figures.
pub(super) fn mean(views: &[View], metrics: &[[Surprise; WAYS]], room: &mut Vec<f32>) -> f32 {
    let sum: f32 = views.iter().map(|view| view.figure(metrics, room)).sum();
    sum / views.len().max(1) as f32
}
