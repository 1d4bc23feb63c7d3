//! Frames of the local driver, read on past what is malformed.
#![no_main]

use formats::log::local::{Frame, next};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while !rest.is_empty() {
        let step = match next(rest) {
            Frame::Incomplete => return,
            Frame::Entry { piece, len } => {
                assert!(piece.text.len() <= len);
                len
            }
            Frame::Malformed { skip } => skip,
        };
        assert!(step > 0, "reading goes on");
        // To skip may lead beyond what was read so far.
        rest = rest.get(step..).unwrap_or_default();
    }
});
