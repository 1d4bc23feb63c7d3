//! Text within limits.

use std::time::Duration;

use units::Bytes;

/// At most `limit` characters, the last one an ellipsis when something was cut.
pub(super) fn clip(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => {
            let kept = text.chars().take(limit.saturating_sub(1));
            kept.chain(std::iter::once('…')).collect()
        }
    }
}

/// As [`clip`], and on one line.
pub(super) fn clip_line(text: &str, limit: usize) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clip(&line, limit)
}

/// Escapes what Slack reads as markup (`&`, `<`, `>`) within `limit` characters of the result: an entity is never
/// cut in two.
pub(super) fn slack_escape(text: &str, limit: usize) -> String {
    let mut escaped = String::new();
    let mut used = 0;
    let mut fits_with_ellipsis = 0;
    for c in text.chars() {
        let mut raw = [0; 4];
        let piece: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => c.encode_utf8(&mut raw),
        };
        let chars = piece.chars().count();
        if used + chars > limit {
            escaped.truncate(fits_with_ellipsis);
            escaped.push('…');
            return escaped;
        }
        escaped.push_str(piece);
        used += chars;
        if used < limit {
            fits_with_ellipsis = escaped.len();
        }
    }
    escaped
}

/// Such as `1m 35s`; the two largest parts.
pub(super) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        (_, _, _) => format!("{days}d {}h", hours % 24),
    }
}

/// A number with its unit.
pub(super) fn human_number(value: f64, unit: &str) -> String {
    let rest = unit.strip_prefix("bytes");
    if let Some(rest) = rest
        && value.is_finite()
        && value >= 0.0
    {
        return format!("{}{rest}", Bytes(value as u64));
    }
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    format!("{value:.digits$} {}", clip(unit, 20))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_counts_characters_and_says_that_it_cut() {
        assert_eq!(clip("añ😀b", 4), "añ😀b");
        assert_eq!(clip("añ😀bc", 4), "añ😀…");
        assert_eq!(clip("", 4), "");
        assert_eq!(clip_line("a\nb\u{7}c", 9), "a b c");
    }

    #[test]
    fn escaping_stays_within_its_limit_and_cuts_no_entity() {
        assert_eq!(
            slack_escape("<!channel> & co", 100),
            "&lt;!channel&gt; &amp; co"
        );
        for limit in 1..40 {
            let escaped = slack_escape("a<b>&c<<d😀&&e", limit);
            assert!(escaped.chars().count() <= limit, "{limit}: {escaped}");
            let bare = escaped
                .replace("&amp;", "")
                .replace("&lt;", "")
                .replace("&gt;", "");
            assert!(!bare.contains('&'), "{limit}: {escaped}");
        }
    }

    #[test]
    fn durations_and_numbers_read_as_people_say_them() {
        assert_eq!(human_duration(Duration::from_secs(59)), "59s");
        assert_eq!(human_duration(Duration::from_secs(3_700)), "1h 1m");
        assert_eq!(human_duration(Duration::from_secs(90_000)), "1d 1h");
        assert_eq!(human_number(2_097_152.0, "bytes/s"), "2.0 MiB/s");
        assert_eq!(human_number(0.254, "cores"), "0.25 cores");
        assert_eq!(human_number(1_234.5, "lines/s"), "1234 lines/s");
    }
}
