//! Within which bounds an operator lets limits be changed, read from a label such as `cpu=100m..2000m,memory=64Mi..1Gi`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Millicores};

/// An engine gives no less CPU than this.
const CPU_LEAST: Millicores = Millicores(10);
/// An engine refuses a memory limit below this.
const MEMORY_LEAST: Bytes = Bytes::from_mib(6);

/// The least and the most a limit may be set to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRange<T> {
    /// The least.
    pub min: T,
    /// The most.
    pub max: T,
}

impl<T: Ord + Copy> LimitRange<T> {
    /// The nearest limit within it.
    pub fn clamp(&self, limit: T) -> T {
        limit.max(self.min).min(self.max)
    }

    /// Whether a limit lies within it.
    pub fn contains(&self, limit: T) -> bool {
        self.min <= limit && limit <= self.max
    }
}

impl<T: fmt::Display> fmt::Display for LimitRange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// How far the limits of a container may be changed in place. A part that is absent is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsPolicy {
    /// CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<LimitRange<Millicores>>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<LimitRange<Bytes>>,
}

/// Reads the label's value; what is wrong with it, and what to write, otherwise.
pub(crate) fn parse(text: &str) -> Result<LimitsPolicy, &'static str> {
    let mut policy = LimitsPolicy {
        cpu: None,
        memory: None,
    };
    for part in text.split(',') {
        let (key, bounds) = part
            .split_once('=')
            .ok_or("write it as cpu=100m..2000m,memory=64Mi..1Gi; either part may be left out")?;
        match key.trim() {
            "cpu" if policy.cpu.is_none() => policy.cpu = Some(cpu(bounds)?),
            "memory" if policy.memory.is_none() => policy.memory = Some(memory(bounds)?),
            "cpu" | "memory" => return Err("name cpu and memory once each"),
            _ => return Err("only limits of cpu and memory are changed; name no other"),
        }
    }
    Ok(policy)
}

fn cpu(bounds: &str) -> Result<LimitRange<Millicores>, &'static str> {
    let range = range(bounds, parse_cpu)
        .ok_or("write the least and most CPU as 100m..2000m or, in cores, 0.1..2")?;
    if range.min < CPU_LEAST {
        return Err("the least CPU must be 10m or more: engines give no less");
    }
    if range.min > range.max {
        return Err("the least CPU must not exceed the most");
    }
    Ok(range)
}

fn memory(bounds: &str) -> Result<LimitRange<Bytes>, &'static str> {
    let range =
        range(bounds, parse_memory).ok_or("write the least and most memory as 64Mi..1Gi")?;
    if range.min < MEMORY_LEAST {
        return Err("the least memory must be 6Mi or more: engines refuse less");
    }
    if range.min > range.max {
        return Err("the least memory must not exceed the most");
    }
    Ok(range)
}

fn range<T>(bounds: &str, read: impl Fn(&str) -> Option<T>) -> Option<LimitRange<T>> {
    let (min, max) = bounds.split_once("..")?;
    Some(LimitRange {
        min: read(min.trim())?,
        max: read(max.trim())?,
    })
}

/// `250m` or cores such as `0.25`.
fn parse_cpu(word: &str) -> Option<Millicores> {
    if let Some(thousandths) = word.strip_suffix('m') {
        return thousandths.parse().ok().map(Millicores);
    }
    let cores: f64 = word.parse().ok()?;
    // Beyond a million cores it is a slip of the pen.
    (0.0..=1e6)
        .contains(&cores)
        .then(|| Millicores::from_cores(cores))
}

/// Whole bytes, or a whole number of them with a unit: powers of 1,000 or, with an `i`, of 1,024.
fn parse_memory(word: &str) -> Option<Bytes> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let unit = UNITS
        .iter()
        .find_map(|(suffix, bytes)| Some((word.strip_suffix(suffix)?, *bytes)));
    let (digits, bytes) = unit.unwrap_or((word, 1));
    let count: u64 = digits.trim().parse().ok()?;
    count.checked_mul(bytes).map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_or_one_are_read_in_either_order() {
        let cpu = LimitRange {
            min: Millicores(100),
            max: Millicores(2_000),
        };
        let memory = LimitRange {
            min: Bytes::from_mib(64),
            max: Bytes::from_mib(1_024),
        };
        for text in [
            "cpu=100m..2000m,memory=64Mi..1Gi",
            "memory = 65536Ki .. 1024Mi , cpu = 0.1 .. 2",
        ] {
            let read = parse(text).unwrap();
            assert_eq!((read.cpu, read.memory), (Some(cpu), Some(memory)), "{text}");
        }
        assert_eq!(parse("cpu=100m..2").unwrap().memory, None);
        let decimal = parse("memory=100M..1000000000").unwrap().memory.unwrap();
        assert_eq!(
            (decimal.min, decimal.max),
            (Bytes(100_000_000), Bytes(1_000_000_000))
        );
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        for (text, words) in [
            ("", "cpu=100m..2000m,memory=64Mi..1Gi"),
            ("100m..200m", "cpu=100m..2000m"),
            ("cpu=100m", "100m..2000m"),
            ("cpu=2000m..100m", "must not exceed the most"),
            ("cpu=1m..1", "10m or more"),
            ("cpu=-1..1", "100m..2000m"),
            ("cpu=1..2,cpu=1..3", "once each"),
            ("memory=64m..1g", "64Mi..1Gi"),
            ("memory=1Mi..1Gi", "6Mi or more"),
            ("memory=1Gi..64Mi", "must not exceed the most"),
            ("pids=1..2", "cpu and memory"),
            ("memory=18446744073709551615Ti..1Gi", "64Mi..1Gi"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_range_that_was_written_is_read_back(
            least in 10_u64..5_000, more in 0_u64..100_000, mib in 6_u64..10_000, more_mib in 0_u64..1_000_000,
        ) {
            let text = format!("cpu={least}m..{}m,memory={mib}Mi..{}Mi", least + more, mib + more_mib);
            let read = parse(&text).unwrap();
            let cpu = LimitRange { min: Millicores(least), max: Millicores(least + more) };
            let memory = LimitRange { min: Bytes::from_mib(mib), max: Bytes::from_mib(mib + more_mib) };
            proptest::prop_assert_eq!(read, LimitsPolicy { cpu: Some(cpu), memory: Some(memory) });
        }

        #[test]
        fn what_is_pressed_into_a_range_lies_within_it(limit in 0_u64..1_000, min in 0_u64..1_000, more in 0_u64..1_000) {
            let range = LimitRange { min, max: min + more };
            proptest::prop_assert!(range.contains(range.clamp(limit)));
            proptest::prop_assert_eq!(range.clamp(limit) == limit, range.contains(limit));
        }
    }
}
