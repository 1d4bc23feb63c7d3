//! Pieces joined to lines, and lines merged to traces: none is lost, none is made up, and none grows without bound.
//!
//! The first byte of each line of the input says which stream a piece is of, whether it ends its line, and how much time passes.
#![no_main]

use std::borrow::Cow;

use formats::log::join::{Joiner, LINE_BYTES_MAX};
use formats::log::json_file::Piece;
use formats::log::multiline::{MERGED_BYTES_MAX, MERGED_LINES_MAX, Merger};
use libfuzzer_sys::fuzz_target;
use units::LogStream;

#[derive(Default)]
struct Sum {
    lines: u64,
    bytes: usize,
}

impl Sum {
    fn add(&mut self, text: &[u8], lines: u32, cut_bytes: usize) {
        assert!(text.len() <= MERGED_BYTES_MAX.max(LINE_BYTES_MAX));
        assert!((1..=MERGED_LINES_MAX).contains(&lines));
        self.lines += u64::from(lines);
        // Newlines between merged lines are the merger's own.
        self.bytes += text.len() + cut_bytes - (lines as usize - 1);
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut joiner, mut merger) = (Joiner::default(), Merger::default());
    let (mut given, mut got) = (Sum::default(), Sum::default());
    let mut now_ms = 0;
    for (mark, line) in (0_u64..).zip(data.split(|byte| *byte == b'\n')) {
        let Some((flags, text)) = line.split_first() else {
            continue;
        };
        now_ms += u64::from(flags >> 2) * 100;
        let piece = Piece {
            text: Cow::Borrowed(text),
            stream: match flags & 1 {
                0 => LogStream::Stdout,
                _ => LogStream::Stderr,
            },
            at_unix_ns: 0,
            ends_line: flags & 2 == 0,
        };
        given.bytes += text.len();
        for merged in merger.expire(now_ms) {
            got.add(&merged.text, merged.lines, merged.cut_bytes);
        }
        if let Some(joined) = joiner.push(piece, mark) {
            given.lines += 1;
            for merged in merger.push(joined, now_ms) {
                got.add(&merged.text, merged.lines, merged.cut_bytes);
            }
        }
    }
    for joined in joiner.flush() {
        given.lines += 1;
        for merged in merger.push(joined, now_ms) {
            got.add(&merged.text, merged.lines, merged.cut_bytes);
        }
    }
    for merged in merger.flush() {
        got.add(&merged.text, merged.lines, merged.cut_bytes);
    }
    assert_eq!((got.lines, got.bytes), (given.lines, given.bytes));
});
