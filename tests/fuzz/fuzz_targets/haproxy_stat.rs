//! What HAProxy tells of its servers.
#![no_main]

use formats::haproxy::{SERIES, servers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let answer = String::from_utf8_lossy(data);
    let mut given = 0;
    let read = servers(&answer, |server| {
        given += 1;
        assert!(server.values.len() <= SERIES.len());
        assert!(server.values.iter().all(|(_, value)| value.is_finite()));
    });
    assert!(read.is_ok() || given == 0);
    assert!(given <= answer.lines().count());
});
