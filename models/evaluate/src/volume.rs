//! How well scores rank events, with soft edges.

use crate::series::{LabelledSeries, Span};

/// Thresholds tried, evenly by rank.
const THRESHOLDS: usize = 250;

/// Volume under the range precision-recall surface: Paparrizos, Boniol, Palpanas, Tsay, Elmore and Franklin, "Volume Under the
/// Surface", PVLDB 15(11), 2022, section 4. Labels get soft edges of 0 to `buffer_max_points` points (half on each side), falling as
/// a square root; each gives an area under its precision-recall curve, and their mean is the volume. None where no point is in an
/// event.
///
/// What does not depend on the edges is counted once, and each edge visits the points in edges alone, not the whole series.
pub(crate) fn vus_pr(series: &LabelledSeries, buffer_max_points: usize) -> Option<f64> {
    if series.events.is_empty() {
        return None;
    }
    let mut surface = Surface::new(series);
    let areas = (0..=buffer_max_points).map(|buffer| surface.area(buffer));
    Some(areas.sum::<f64>() / (buffer_max_points + 1) as f64)
}

/// A number for each threshold, highest threshold first.
type PerThreshold = [f64; THRESHOLDS];

struct Surface<'a> {
    events: &'a [Span],
    inside: Vec<bool>,
    /// For each point the first threshold that it reaches.
    ranks: Vec<usize>,
    /// Points in events.
    positive: f64,
    /// Points that reach the threshold.
    predicted: PerThreshold,
    /// Of these, points in events.
    found: PerThreshold,
    /// For each event the lowest rank within `reach` of it.
    lowest: Vec<usize>,
    reach: usize,
    /// Weights of points in edges while they are added up; zero between calls.
    weights: Vec<f64>,
}

impl<'a> Surface<'a> {
    fn new(series: &'a LabelledSeries) -> Surface<'a> {
        let ranks = ranks(&series.scores);
        let inside = series.inside();
        let mut predicted = [0.0; THRESHOLDS];
        let mut found = [0.0; THRESHOLDS];
        for (rank, inside) in ranks.iter().zip(&inside) {
            predicted[*rank] += 1.0;
            found[*rank] += f64::from(u8::from(*inside));
        }
        let lowest = series.events.iter().map(|event| {
            let within = &ranks[event.first..=event.last];
            within.iter().copied().min().unwrap_or(THRESHOLDS - 1)
        });
        Surface {
            events: &series.events,
            positive: series.points_inside() as f64,
            predicted: cumulated(predicted),
            found: cumulated(found),
            lowest: lowest.collect(),
            reach: 0,
            weights: vec![0.0; ranks.len()],
            inside,
            ranks,
        }
    }

    /// Area under the curve with edges of this many points. Must be asked in rising order.
    fn area(&mut self, buffer: usize) -> f64 {
        let half = buffer / 2;
        self.reach_out(half);
        let soft = self.found_in_edges(buffer, half);
        let existing = self.existing(half);
        let (mut area, mut before) = (0.0, 0.0);
        for at in 0..THRESHOLDS {
            let found = self.found[at] + soft[at];
            let recall = (found / (self.positive + soft[at] / 2.0)).min(1.0) * existing[at];
            area += (recall - before) * (found / self.predicted[at]);
            before = recall;
        }
        area
    }

    fn reach_out(&mut self, half: usize) {
        while self.reach < half {
            self.reach += 1;
            for (event, lowest) in self.events.iter().zip(&mut self.lowest) {
                if let Some(before) = event.first.checked_sub(self.reach) {
                    *lowest = self.ranks[before].min(*lowest);
                }
                if let Some(after) = self.ranks.get(event.last + self.reach) {
                    *lowest = (*after).min(*lowest);
                }
            }
        }
    }

    /// Weight of the points in edges that reach each threshold. Edges of neighbours add up to 1 at most.
    fn found_in_edges(&mut self, buffer: usize, half: usize) -> PerThreshold {
        let by_distance: Vec<f64> = (0..=half)
            .map(|distance| (1.0 - distance as f64 / buffer as f64).sqrt())
            .collect();
        for event in self.events {
            for (at, distance) in edge(*event, half, self.ranks.len()) {
                self.weights[at] += by_distance[distance];
            }
        }
        let mut soft = [0.0; THRESHOLDS];
        for event in self.events {
            for (at, _) in edge(*event, half, self.ranks.len()) {
                // A point that is in two edges is met twice, and has no weight left the second time.
                let weight = std::mem::take(&mut self.weights[at]).min(1.0);
                if !self.inside[at] {
                    soft[self.ranks[at]] += weight;
                }
            }
        }
        cumulated(soft)
    }

    /// Share of events, joined where their edges meet, of which some point reaches each threshold.
    fn existing(&self, half: usize) -> PerThreshold {
        let mut first_found = [0.0; THRESHOLDS];
        let mut joined = 0.0;
        let mut current: Option<(usize, usize)> = None;
        for (event, lowest) in self.events.iter().zip(&self.lowest) {
            let begin = event.first.saturating_sub(half);
            let end = (event.last + half).min(self.ranks.len() - 1);
            current = Some(match current {
                Some((end_before, rank)) if begin <= end_before => (end, rank.min(*lowest)),
                Some((_, rank)) => {
                    joined += 1.0;
                    first_found[rank] += 1.0;
                    (end, *lowest)
                }
                None => (end, *lowest),
            });
        }
        if let Some((_, rank)) = current {
            joined += 1.0;
            first_found[rank] += 1.0;
        }
        cumulated(first_found).map(|count| count / joined)
    }
}

/// Points up to `half` after and before an event, each with its distance.
fn edge(event: Span, half: usize, points: usize) -> impl Iterator<Item = (usize, usize)> {
    let after =
        (event.last + 1..points.min(event.last + half + 1)).map(move |at| (at, at - event.last));
    let before =
        (event.first.saturating_sub(half)..event.first).map(move |at| (at, event.first - at));
    after.chain(before)
}

/// For each score the first of the thresholds, which fall, that it reaches.
fn ranks(scores: &[f64]) -> Vec<usize> {
    let mut falling = scores.to_vec();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    let last = (falling.len() - 1) as f64;
    let thresholds: Vec<f64> = crate::numbers::evenly(0.0, last, THRESHOLDS)
        .map(|place| falling[place as usize])
        .collect();
    scores
        .iter()
        .map(|score| thresholds.partition_point(|threshold| threshold > score))
        .collect()
}

fn cumulated(mut counts: PerThreshold) -> PerThreshold {
    let mut sum = 0.0;
    for count in &mut counts {
        sum += *count;
        *count = sum;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{high_in, noise, series};

    /// The definition, point by point and threshold by threshold.
    fn slow(series: &LabelledSeries, buffer_max: usize) -> f64 {
        let n = series.points();
        let mut falling = series.scores.clone();
        falling.sort_by(|a, b| b.total_cmp(a));
        let inside = series.inside();
        let positive = inside.iter().filter(|it| **it).count() as f64;
        let mut volume = 0.0;
        for buffer in 0..=buffer_max {
            let half = buffer / 2;
            let weight = |at: usize| {
                let near = series.events.iter().map(|event| {
                    let distance = if at < event.first {
                        event.first - at
                    } else {
                        at.saturating_sub(event.last)
                    };
                    match distance {
                        0 => 1.0,
                        far if far > half => 0.0,
                        near => (1.0 - near as f64 / buffer as f64).sqrt(),
                    }
                });
                near.sum::<f64>().min(1.0)
            };
            let weights: Vec<f64> = (0..n).map(weight).collect();
            let mut segments = vec![0; n];
            let mut joined = 0;
            let mut end: Option<usize> = None;
            for event in &series.events {
                let begin = event.first.saturating_sub(half);
                if end.is_none_or(|end| begin > end) {
                    joined += 1;
                }
                end = Some((event.last + half).min(n - 1));
                segments[begin..=event.last + half.min(n - 1 - event.last)].fill(joined);
            }
            let mut before = 0.0;
            for step in 0..THRESHOLDS {
                let place = if step + 1 == THRESHOLDS {
                    n - 1
                } else {
                    (step as f64 * ((n - 1) as f64 / (THRESHOLDS - 1) as f64)) as usize
                };
                let on: Vec<usize> = (0..n)
                    .filter(|at| series.scores[*at] >= falling[place])
                    .collect();
                let found: f64 = on.iter().map(|at| weights[*at]).sum();
                let soft: f64 = on
                    .iter()
                    .filter(|at| !inside[**at])
                    .map(|at| weights[*at])
                    .sum();
                let met: std::collections::BTreeSet<usize> = on
                    .iter()
                    .map(|at| segments[*at])
                    .filter(|it| *it > 0)
                    .collect();
                let recall =
                    (found / (positive + soft / 2.0)).min(1.0) * met.len() as f64 / joined as f64;
                volume += (recall - before) * found / on.len() as f64;
                before = recall;
            }
        }
        volume / (buffer_max + 1) as f64
    }

    #[test]
    fn the_fast_form_is_the_definition() {
        let events = [(0, 3), (40, 44), (47, 47), (60, 80), (100, 103), (297, 299)];
        for seed in 0..4 {
            let mut scores: Vec<f64> = (0..300)
                .map(|at| (noise(seed, at) * 50.0).round() / 50.0)
                .collect();
            for at in [42, 62, 63, 101] {
                scores[at] += 0.4;
            }
            let series = series(&scores, &events);
            let (fast, slow) = (vus_pr(&series, 21).unwrap(), slow(&series, 21));
            assert!((fast - slow).abs() < 1e-12, "{fast} {slow}");
        }
    }

    #[test]
    fn without_edges_a_perfect_score_fills_the_surface() {
        let events = [(30, 49), (200, 219)];
        let perfect = series(&high_in(1_000, &events), &events);
        assert!((vus_pr(&perfect, 0).unwrap() - 1.0).abs() < 1e-12);
        assert!(vus_pr(&perfect, 20).unwrap() > 0.6);
        assert_eq!(vus_pr(&series(&[0.5; 10], &[]), 10), None);
    }
}
