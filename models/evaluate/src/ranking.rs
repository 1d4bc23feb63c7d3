//! How well scores rank points, one point at a time.

use crate::series::LabelledSeries;

/// Area under the precision-recall curve by average precision: the sum over distinct scores of precision times the rise in recall.
/// Points of equal score are one step, so that their order does not matter. None where no point is in an event.
pub(crate) fn auc_pr(series: &LabelledSeries) -> Option<f64> {
    let inside = series.inside();
    let positive = series.points_inside();
    if positive == 0 {
        return None;
    }
    let mut order: Vec<usize> = (0..series.points()).collect();
    order.sort_unstable_by(|a, b| series.scores[*b].total_cmp(&series.scores[*a]));
    let (mut area, mut taken, mut found, mut recall) = (0.0, 0, 0, 0.0);
    for step in order.chunk_by(|a, b| series.scores[*a] == series.scores[*b]) {
        taken += step.len();
        found += step.iter().filter(|at| inside[**at]).count();
        let reached = found as f64 / positive as f64;
        area += (reached - recall) * (found as f64 / taken as f64);
        recall = reached;
    }
    Some(area)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{high_in, noise, series};

    #[test]
    fn known_areas() {
        let events = [(3, 4)];
        assert_eq!(auc_pr(&series(&high_in(10, &events), &events)), Some(1.0));
        // Everything is one step: the base rate.
        assert_eq!(auc_pr(&series(&[0.4; 10], &events)), Some(0.2));
        assert_eq!(auc_pr(&series(&[0.4; 10], &[])), None);
        // Found at the second and the fourth place: (1/2 + 2/4) / 2.
        let mut scores = vec![0.0; 10];
        scores[0] = 0.9;
        scores[3] = 0.8;
        scores[1] = 0.7;
        scores[4] = 0.6;
        let area = auc_pr(&series(&scores, &events)).unwrap();
        assert!((area - 0.5).abs() < 1e-12, "{area}");
    }

    #[test]
    fn noise_is_worth_the_base_rate() {
        let scores: Vec<f64> = (0..4_000).map(|at| noise(1, at)).collect();
        let area = auc_pr(&series(&scores, &[(500, 699), (3_000, 3_199)])).unwrap();
        assert!((area - 0.1).abs() < 0.03, "{area}");
    }
}
