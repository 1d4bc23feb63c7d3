//! Small arithmetic, with the roundings of NumPy: thresholds must come out the same to the last bit, because a score equal to a
//! threshold is an alarm and the next smaller one is none.

/// Numbers that are added one after another.
const SUMMED_AT_ONCE: usize = 128;

/// The middle value, or the mean of the two in the middle; none of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[values.len() / 2 - 1] + upper) / 2.0)
}

/// The mean; none of nothing.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sum by halves, so that a million small numbers do not each lose what does not fit beside a large sum.
pub(crate) fn sum(values: &[f64]) -> f64 {
    if values.len() <= SUMMED_AT_ONCE {
        return values.iter().sum();
    }
    let (left, right) = values.split_at(values.len() / 2);
    sum(left) + sum(right)
}

/// `count` (two or more) numbers at even distances, both ends among them.
pub(crate) fn evenly(first: f64, last: f64, count: usize) -> impl Iterator<Item = f64> {
    let step = (last - first) / (count - 1) as f64;
    (0..count).map(move |index| {
        if index + 1 == count {
            last
        } else {
            index as f64 * step + first
        }
    })
}

/// The quantile at `share` (0 to 1) of sorted values, of which there is at least one, with a straight line between neighbours:
/// method 7 of Hyndman and Fan (The American Statistician 50, 1996). The line is drawn from the nearer neighbour.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = last as f64 * share;
    if place >= last as f64 {
        return sorted[last];
    }
    let below = place.floor();
    let (low, high) = (sorted[below as usize], sorted[below as usize + 1]);
    let (part, rise) = (place - below, high - low);
    if part >= 0.5 {
        high - rise * (1.0 - part)
    } else {
        low + rise * part
    }
}

/// A number in at most `digits` (one or more) significant digits, without trailing zeros, in scientific notation where it is very
/// large or very small: what C's `%g` writes.
pub fn general(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string().to_lowercase();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("Rust writes a finite number in this notation with an e");
    let exponent: i32 = exponent
        .parse()
        .expect("Rust writes a whole number behind the e");
    if (-4..digits as i32).contains(&exponent) {
        let decimals = (digits as i32 - 1 - exponent) as usize;
        return shortened(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{}e{sign}{:02}",
        shortened(mantissa),
        exponent.unsigned_abs()
    )
}

fn shortened(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 10.0]), Some(3.0));
    }

    #[test]
    fn long_sums_keep_what_is_small() {
        let sum = sum(&vec![-0.11; 1_000_000]);
        assert!((sum + 110_000.0).abs() < 1e-9, "{sum}");
        assert_eq!(super::sum(&[]), 0.0);
    }

    #[test]
    fn quantiles_lie_on_the_line_between_neighbours_and_on_equal_ones_exactly() {
        let sorted = [0.0, 1.0, 1.0, 4.0];
        let found = [0.0, 1.0 / 6.0, 0.5, 0.9, 1.0].map(|share| quantile(&sorted, share));
        assert_eq!(found[..3], [0.0, 0.5, 1.0]);
        assert!((found[3] - 3.1).abs() < 1e-12);
        assert_eq!(found[4], 4.0);
        assert_eq!(quantile(&[0.1, 0.1, 0.1], 0.37), 0.1);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
    }

    #[test]
    fn even_distances_end_where_they_should() {
        assert_eq!(
            evenly(0.0, 1.0, 5).collect::<Vec<_>>(),
            [0.0, 0.25, 0.5, 0.75, 1.0]
        );
        assert_eq!(evenly(0.0, 0.9, 10).last(), Some(0.9));
        assert_eq!(evenly(0.0, 0.0, 3).collect::<Vec<_>>(), [0.0; 3]);
    }

    #[test]
    fn numbers_are_written_short() {
        let written = [
            0.5,
            1.0,
            0.0,
            123_456.7,
            1_234_567.0,
            0.000_012_3,
            -0.25,
            0.1 + 0.2,
        ]
        .map(|value| general(value, 6));
        assert_eq!(
            written,
            [
                "0.5",
                "1",
                "0",
                "123457",
                "1.23457e+06",
                "1.23e-05",
                "-0.25",
                "0.3"
            ]
        );
        assert_eq!(general(0.999_96, 4), "1");
        assert_eq!(general(31.848, 4), "31.85");
        assert_eq!(general(f64::NAN, 4), "nan");
    }
}
