//! How a series rises over a short window.

use std::collections::VecDeque;

use units::Steady;

use crate::baseline::median;

/// Of the steps between two values so large a share must rise.
const RISING_MIN: (usize, usize) = (4, 5);

/// A steady rise, in the series' own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    pub(crate) per_second: f64,
    /// From the first value of the window to the last.
    pub(crate) grown: f64,
}

/// Puts a value into a window of so many; the oldest goes when it is full.
pub(crate) fn push(window: &mut VecDeque<(Steady, f32)>, capacity: usize, run: Steady, value: f64) {
    if window.len() == capacity {
        window.pop_front();
    }
    window.push_back((run, value as f32));
}

/// The rise of a window with at least `needed` values, most of whose steps rise.
pub(crate) fn trend(window: &VecDeque<(Steady, f32)>, needed: usize) -> Option<Trend> {
    if window.len() < needed.max(2) {
        return None;
    }
    let steps = window.len() - 1;
    let rising = window
        .iter()
        .zip(window.iter().skip(1))
        .filter(|(a, b)| b.1 > a.1)
        .count();
    let (share, of) = RISING_MIN;
    if rising * of < steps * share {
        return None;
    }
    let grown = f64::from(window.back()?.1) - f64::from(window.front()?.1);
    Some(Trend {
        per_second: slope(window.iter().copied(), window.len()),
        grown,
    })
}

/// The Theil–Sen slope (Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63, 1968) of `count` values, a
/// second.
pub(crate) fn slope(values: impl Iterator<Item = (Steady, f32)> + Clone, count: usize) -> f64 {
    let mut slopes = Vec::with_capacity(count * count.saturating_sub(1) / 2);
    for (index, (earlier, low)) in values.clone().enumerate() {
        for (later, high) in values.clone().skip(index + 1) {
            let elapsed = later.since(earlier).as_secs_f64();
            if elapsed > 0.0 {
                slopes.push((f64::from(high) - f64::from(low)) / elapsed);
            }
        }
    }
    median(&mut slopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(values: &[f64]) -> VecDeque<(Steady, f32)> {
        let mut window = VecDeque::new();
        for (second, value) in values.iter().enumerate() {
            push(
                &mut window,
                6,
                Steady::from_millis(second as u64 * 1_000),
                *value,
            );
        }
        window
    }

    #[test]
    fn the_oldest_goes_and_a_steady_rise_is_measured() {
        let full = window(&[900.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let rise = trend(&full, 6).unwrap();
        assert_eq!((rise.per_second, rise.grown), (2.0, 10.0));
        assert_eq!(trend(&full, 7), None);
    }

    #[test]
    fn what_goes_up_and_down_has_no_trend() {
        assert_eq!(trend(&window(&[0.0, 5.0, 1.0, 6.0, 2.0, 7.0]), 6), None);
        assert_eq!(trend(&window(&[3.0; 6]), 6), None);
    }
}
