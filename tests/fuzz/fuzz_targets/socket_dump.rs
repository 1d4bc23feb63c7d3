//! Datagrams of a socket dump, and the counters of /proc/PID/net/snmp.
#![no_main]

use formats::diag::{LINKS_MAX, Summary, read, tcp_counters};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = tcp_counters(data);
    // The sequence is taken from the input, so that a dump can be an answer.
    let sequence = data
        .get(8..12)
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let mut summary = Summary::new();
    let _ = read(data, sequence, |socket| summary.add(socket));
    let found = summary.finish();
    assert!(found.links.len() <= LINKS_MAX);
    if let (Some(median), Some(high)) = (found.rtt_median, found.rtt_p99) {
        assert!(median <= high);
    }
});
