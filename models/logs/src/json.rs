//! The message in a line that is a JSON object.

/// Keys that hold the message, the best first.
pub(crate) const KEYS: [&[u8]; 6] = [b"msg", b"message", b"event", b"log", b"error", b"err"];

/// The text under the best key of the object in `line`, escapes as they stand; `None` where the line is no object or has none.
pub(crate) fn message(line: &str) -> Option<&str> {
    let line = line.trim();
    if !line.starts_with('{') || !line.ends_with('}') {
        return None;
    }
    let bytes = line.as_bytes();
    let mut best: Option<(usize, &str)> = None;
    let mut key: Option<&[u8]> = None;
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => key = None,
            b'"' => {
                let end = string_end(bytes, at)?;
                let text = &line[at + 1..end];
                let is_key = bytes[end + 1..]
                    .iter()
                    .find(|byte| !byte.is_ascii_whitespace())
                    == Some(&b':');
                if depth == 1 && is_key {
                    key = Some(text.as_bytes());
                } else if depth == 1 && !text.is_empty() {
                    let rank = key.and_then(|key| KEYS.iter().position(|known| *known == key));
                    best = match (rank, best) {
                        (Some(rank), Some((known, _))) if known <= rank => best,
                        (Some(rank), _) => Some((rank, text)),
                        (None, _) => best,
                    };
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    best.map(|(_, text)| text)
}

/// Where the string ends that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_at_the_top() {
        let line =
            r#"{"level":"info","ctx":{"msg":"inner"},"msg": "cart \"7\" is full","n":[1,"msg"]}"#;
        assert_eq!(message(line), Some(r#"cart \"7\" is full"#));
        assert_eq!(
            message(r#"{"error":"no route","message":"cannot pay"}"#),
            Some("cannot pay")
        );
    }

    #[test]
    fn what_is_no_object_has_none() {
        for line in [
            "",
            "{}",
            "{\"msg\":7}",
            "{msg}",
            "text",
            "{\"msg\":\"never closed}",
        ] {
            assert_eq!(message(line), None, "{line}");
        }
    }
}
