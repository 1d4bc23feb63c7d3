//! One number of evidence as a line: the axis, the range that was expected on it, and what was observed.

use units::Evidence;

/// Cells of an axis on a narrow and on a wide terminal.
const CELLS_MIN: usize = 16;
const CELLS_MAX: usize = 64;
/// What stands beside an axis: the two ends, and what frames it.
const BESIDE: usize = 28;
/// An end of the expected range further off than this many times what is of interest is drawn as an arrow.
const FAR: f64 = 4.0;

const TRACK: char = '·';
const RANGE: char = '=';
const OBSERVED: char = '●';

/// The colours of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// None: it goes to a file or a program.
    Plain,
    /// Those of a terminal.
    Terminal,
}

/// Three significant digits are as many as a judgement needs.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.1..10.0 => format!("{value:.2}"),
        10.0..1_000.0 => format!("{value:.0}"),
        1_000.0..1e6 => format!("{:.1}k", value / 1e3),
        1e6..1e9 => format!("{:.1}M", value / 1e6),
        1e9.. => format!("{:.1}G", value / 1e9),
        _ => format!("{value:.4}"),
    }
}

/// The evidence on an axis, no wider than `columns`: `0 |··[====]·······●···| 0.63`. Numbers that are none are not drawn.
pub(crate) fn bar(evidence: &Evidence, columns: usize, ink: Ink) -> Option<String> {
    let axis = Axis::of(evidence)?;
    let cells = columns.saturating_sub(BESIDE).clamp(CELLS_MIN, CELLS_MAX);
    let mut drawn = vec![TRACK; cells];
    let (from, to) = (axis.cell(axis.low, cells), axis.cell(axis.high, cells));
    drawn[from..=to].fill(RANGE);
    drawn[from] = if axis.low_is_far { '<' } else { '[' };
    drawn[to] = if axis.high_is_far { '>' } else { ']' };
    drawn[axis.cell(evidence.observed, cells)] = OBSERVED;
    let text: String = drawn.into_iter().map(|cell| inked(cell, ink)).collect();
    Some(format!(
        "{} |{text}| {}",
        number(axis.from),
        number(axis.to)
    ))
}

fn inked(cell: char, ink: Ink) -> String {
    let colour = match (ink, cell) {
        (Ink::Plain, _) | (Ink::Terminal, TRACK) => return cell.to_string(),
        (Ink::Terminal, OBSERVED) => 31,
        (Ink::Terminal, _) => 32,
    };
    format!("\x1b[{colour}m{cell}\x1b[0m")
}

/// What is shown: from the one end to the other, and the expected range within.
struct Axis {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    low_is_far: bool,
    high_is_far: bool,
}

impl Axis {
    fn of(evidence: &Evidence) -> Option<Self> {
        let (observed, low, high) = (
            evidence.observed,
            evidence.expected_low,
            evidence.expected_high,
        );
        if !(observed.is_finite() && low.is_finite() && high.is_finite()) || low > high {
            return None;
        }
        // The bound next to what was observed must be seen, and that far around the two.
        let near = match observed - high > low - observed {
            true => high,
            false => low,
        };
        let reach = FAR * (observed - near).abs().max(near.abs()).max(observed.abs());
        let (shown_low, shown_high) = (low.max(near - reach), high.min(near + reach));
        let (mut from, mut to) = (shown_low.min(observed), shown_high.max(observed));
        let floor = 0.0;
        if from > floor && from < 0.9 * to {
            from = floor;
        }
        if to - from <= f64::MIN_POSITIVE {
            (from, to) = (from - 1.0, to + 1.0);
        }
        (to - from).is_finite().then_some(Axis {
            from,
            to,
            low: shown_low,
            high: shown_high,
            low_is_far: low < shown_low,
            high_is_far: high > shown_high,
        })
    }

    fn cell(&self, value: f64, cells: usize) -> usize {
        let share = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        (share * (cells - 1) as f64).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use units::Timestamp;

    fn evidence(observed: f64, expected: (f64, f64)) -> Evidence {
        Evidence {
            feature: "cpu".to_owned(),
            metric: None,
            unit: "cores".to_owned(),
            observed,
            expected_low: expected.0,
            expected_high: expected.1,
            since: Timestamp::EPOCH,
        }
    }

    fn drawn(observed: f64, expected: (f64, f64)) -> String {
        bar(&evidence(observed, expected), 44, Ink::Plain).unwrap()
    }

    #[test]
    fn the_range_and_what_was_observed_are_on_one_axis() {
        assert_eq!(drawn(15.0, (5.0, 8.0)), "0 |·····[==]······●| 15");
        assert_eq!(drawn(0.0, (8.0, 15.0)), "0 |●·······[======]| 15");
        assert_eq!(drawn(6.0, (0.0, 15.0)), "0 |[=====●========]| 15");
        assert_eq!(drawn(5.0, (0.0, 0.0)), "0 |]··············●| 5.00");
    }

    #[test]
    fn a_bound_far_off_is_an_arrow() {
        assert_eq!(drawn(30.0, (600.0, 1e9)), "0 |●··[===========>| 3.0k");
    }

    #[test]
    fn colours_are_for_terminals_alone() {
        let shown = bar(&evidence(15.0, (5.0, 8.0)), 44, Ink::Terminal).unwrap();
        assert!(shown.contains("\x1b[31m●\x1b[0m"), "{shown}");
        assert!(!drawn(15.0, (5.0, 8.0)).contains('\x1b'));
    }

    #[test]
    fn numbers_that_are_none_are_not_drawn() {
        for expected in [(f64::NAN, 1.0), (0.0, f64::INFINITY), (2.0, 1.0)] {
            assert_eq!(bar(&evidence(1.0, expected), 80, Ink::Plain), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_it_keeps_its_width(
            observed in any::<f64>(), low in any::<f64>(), width in any::<f64>(), columns in 0..500usize,
        ) {
            let evidence = evidence(observed, (low, low + width.abs()));
            if let Some(shown) = bar(&evidence, columns, Ink::Plain) {
                let cells = shown.split('|').nth(1).unwrap().chars().count();
                prop_assert!((CELLS_MIN..=CELLS_MAX).contains(&cells));
                prop_assert_eq!(shown.matches(OBSERVED).count(), 1);
            }
        }
    }
}
