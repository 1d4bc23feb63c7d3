//! Numbers as a tired operator reads them.

use std::time::Duration;

use units::Bytes;

/// A share as a percentage: one decimal below ten, none above.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 10.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// Bytes in binary units.
pub(crate) fn bytes(value: f64) -> String {
    Bytes(value.max(0.0) as u64).to_string()
}

/// A number with no more digits than it deserves.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        small if small < 0.095 => format!("{value:.2}"),
        middling if middling < 99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A duration in its two largest units.
pub(crate) fn duration(value: Duration) -> String {
    let seconds = (value.as_millis() + 500) / 1_000;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A log line fit for a sentence: at most 120 characters, control characters as spaces.
pub(crate) fn excerpt(line: &str) -> String {
    const LONGEST: usize = 120;
    let tidy = |c: char| if c.is_control() { ' ' } else { c };
    let mut text: String = line.trim().chars().take(LONGEST).map(tidy).collect();
    if line.trim().chars().nth(LONGEST).is_some() {
        text.pop();
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(percent(0.001), "0.1%");
        assert_eq!(percent(0.97), "97%");
        assert_eq!(number(10.24), "10.2");
        assert_eq!(number(0.06), "0.06");
        assert_eq!(number(1234.5), "1234");
        assert_eq!(duration(Duration::from_millis(3_900)), "4 s");
        assert_eq!(duration(Duration::from_secs(90)), "1 min 30 s");
        assert_eq!(duration(Duration::from_secs(7_200)), "2 h");
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        let long = "ä".repeat(200);
        let cut = excerpt(&long);
        assert_eq!(cut.chars().count(), 120);
        assert!(cut.ends_with('…'));
        assert_eq!(excerpt(" a\tb\u{1b}c \n"), "a b c");
    }
}
