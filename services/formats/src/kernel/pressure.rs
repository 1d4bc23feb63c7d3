//! Pressure stall information.

use super::text::{integer, lines, words};

/// How long tasks have waited for a resource, since boot or since the cgroup was made. The same for a cgroup's `cpu.pressure`,
/// `memory.pressure`, `io.pressure` and `irq.pressure`, and for the whole machine's under `/proc/pressure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Time in which some task waited, in microseconds. Interrupts have no such line.
    pub some_us: Option<u64>,
    /// Time in which all tasks waited, in microseconds. Of CPU it is there since Linux 5.13, and is always zero for the whole
    /// machine.
    pub full_us: Option<u64>,
}

impl Pressure {
    /// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=<µs>` and `full …`.
    pub fn parse(text: &[u8]) -> Pressure {
        let mut pressure = Pressure::default();
        for line in lines(text) {
            let mut words = words(line);
            let slot = match words.next() {
                Some(b"some") => &mut pressure.some_us,
                Some(b"full") => &mut pressure.full_us,
                Some(_) | None => continue,
            };
            *slot = words.find_map(|word| word.strip_prefix(b"total=").and_then(integer));
        }
        pressure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_lines_are_read() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        let expected = Pressure {
            some_us: Some(2_500_000),
            full_us: Some(9),
        };
        assert_eq!(Pressure::parse(text), expected);
    }

    #[test]
    fn what_is_not_there_stays_absent() {
        let text = b"full avg10=0.00 total=3\nsome avg10=0.00\n";
        let expected = Pressure {
            some_us: None,
            full_us: Some(3),
        };
        assert_eq!(Pressure::parse(text), expected);
        assert_eq!(Pressure::parse(b""), Pressure::default());
    }

    proptest! {
        #[test]
        fn no_near_miss_makes_it_panic(text in "(some|full|total=|avg10=0.00|[0-9]{1,25}|[ \n]){0,60}") {
            let _ = Pressure::parse(text.as_bytes());
        }
    }
}
