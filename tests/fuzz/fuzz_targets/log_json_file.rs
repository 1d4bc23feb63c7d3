//! Lines of the json-file driver, one after the other as a reader cuts them.
#![no_main]

use std::borrow::Cow;

use formats::log::{json_file, text};
use libfuzzer_sys::fuzz_target;

/// A byte of a line becomes at most one replacement character.
const REPLACEMENT_BYTES: usize = 3;

fuzz_target!(|data: &[u8]| {
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let Some(piece) = json_file::parse(line) else {
            continue;
        };
        assert!(piece.text.len() <= line.len() * REPLACEMENT_BYTES);
        let bytes: Cow<'_, [u8]> = piece.text;
        let (shown, raw) = text::recoverable(bytes.clone());
        let whole = raw.as_deref().unwrap_or(shown.as_bytes());
        assert_eq!(whole, &*bytes, "the bytes can be had back");
    }
});
