//! The id of the distributed trace that a line belongs to.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Most lines hold no `trace`, and one search says so. Its first letter may be a capital.
static RACE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("race"));

const ID_DIGITS: usize = 32;

/// Quotes, backslashes before them, blanks and the sign itself: what may stand between a key and its value.
const BETWEEN_BYTES_MAX: usize = 12;

/// The trace id in a line: 32 hex digits, not all zero, behind `trace_id`, `traceId`, `trace-id`, `trace.id` or `traceid` in
/// logfmt, JSON or plain text, or those of a `traceparent` (W3C Trace Context, section 3.2). The first one counts.
pub fn trace_id(text: &[u8]) -> Option<&str> {
    let mut from = 0;
    // Each turn goes on behind a find, so the loop ends with the text.
    while let Some(at) = RACE.find(&text[from..]) {
        let race = from + at;
        from = race + 4;
        if race > 0
            && matches!(text[race - 1], b't' | b'T')
            && let Some(digits) = value(&text[from..]).and_then(id)
        {
            return Some(std::str::from_utf8(digits).expect("hex digits are ASCII"));
        }
    }
    None
}

/// What follows the key, of which `trace` is read already.
fn value(rest: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = rest.strip_prefix(b"parent") {
        let (version, rest) = between(rest)?.split_first_chunk::<3>()?;
        let known = version[..2].iter().all(u8::is_ascii_hexdigit) && version[2] == b'-';
        return known.then_some(rest);
    }
    let rest = match rest {
        [b'_' | b'-' | b'.', rest @ ..] => rest,
        _ => rest,
    };
    match rest {
        [b'i' | b'I', b'd' | b'D', rest @ ..] => between(rest),
        _ => None,
    }
}

fn between(rest: &[u8]) -> Option<&[u8]> {
    let between = |byte: &&u8| matches!(byte, b'"' | b'\'' | b'\\' | b' ' | b'=' | b':' | b'[');
    let len = rest
        .iter()
        .take(BETWEEN_BYTES_MAX)
        .take_while(between)
        .count();
    (len > 0).then(|| &rest[len..])
}

fn id(rest: &[u8]) -> Option<&[u8]> {
    let (digits, rest) = rest.split_at_checked(ID_DIGITS)?;
    let ends = rest
        .first()
        .is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let valid =
        digits.iter().all(u8::is_ascii_hexdigit) && digits.iter().any(|digit| *digit != b'0');
    (ends && valid).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn ids_in_the_wild() {
        for line in [
            format!("level=info trace_id={ID} msg=x"),
            format!("{{\"level\":\"info\",\"traceId\":\"{ID}\"}}"),
            format!("{{\"trace.id\": \"{ID}\", \"x\":1}}"),
            format!("2026-01-02 INFO [traceId={ID}, spanId=00f067aa0ba902b7] x"),
            format!("trace-id: {ID}"),
            format!("TraceId {ID}"),
            format!("a backtrace of traces, traceid=\"{ID}\""),
            format!("{{\"msg\":\"{{\\\"trace_id\\\":\\\"{ID}\\\"}}\"}}"),
            format!("traceparent: 00-{ID}-00f067aa0ba902b7-01"),
            format!("\"traceparent\":\"00-{ID}-00f067aa0ba902b7-01\""),
        ] {
            assert_eq!(trace_id(line.as_bytes()), Some(ID), "{line}");
        }
    }

    #[test]
    fn what_is_no_id() {
        for line in [
            "",
            "trace",
            "trace_id=",
            "trace_id=short",
            "trace_id=00000000000000000000000000000000",
            "trace_id=4bf92f3577b34da6a3ce929d0e0e47360",
            "trace_id=4bf92f3577b34da6a3ce929d0e0e473g",
            "trace_id4bf92f3577b34da6a3ce929d0e0e4736",
            "grace_id=4bf92f3577b34da6a3ce929d0e0e4736",
            "span_id=4bf92f3577b34da6a3ce929d0e0e4736",
            "traceparent: 4bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert_eq!(trace_id(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            trace_id(&bytes);
        }

        #[test]
        fn what_it_finds_is_an_id(text in "(race|trace|Trace|parent|_|id|Id|=|:|\"|00-|[0-9a-f]{31,33}|0{32}){0,20}") {
            if let Some(id) = trace_id(text.as_bytes()) {
                prop_assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
                prop_assert!(text.contains(id));
            }
        }
    }
}
