//! Level and trace id of a line.
#![no_main]

use std::borrow::Cow;

use formats::log::{level, text, trace};
use libfuzzer_sys::fuzz_target;

const TRACE_ID_DIGITS: usize = 32;

fuzz_target!(|data: &[u8]| {
    let _ = level::severity(data);
    if let Some(id) = trace::trace_id(data) {
        assert_eq!(id.len(), TRACE_ID_DIGITS);
        assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
    let (shown, raw) = text::recoverable(Cow::Borrowed(data));
    assert_eq!(raw.is_none(), std::str::from_utf8(data).is_ok());
    assert_eq!(raw.as_deref().unwrap_or(shown.as_bytes()), data);
});
