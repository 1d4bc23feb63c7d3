//! `/proc/PID/stat`: one line of a process; see proc_pid_stat(5).

use super::USER_HZ;

/// `starttime` is the 22nd field, and the 20th after the name, which stands in brackets and may hold any character.
const START_AFTER_NAME: usize = 19;

/// When the process began, in milliseconds since boot, time asleep included; the kernel counts in hundredths of a second.
pub fn process_start_ms(text: &[u8]) -> Option<u64> {
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[end_of_name + 1..]).ok()?;
    let ticks: u64 = rest
        .split_ascii_whitespace()
        .nth(START_AFTER_NAME)?
        .parse()
        .ok()?;
    ticks.checked_mul(1_000 / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"42 (a) R (b) 1 2) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2\n";
        assert_eq!(process_start_ms(line), Some(123_450));
        assert_eq!(process_start_ms(b"42 (a) S 1"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            process_start_ms(&bytes);
        }
    }
}
