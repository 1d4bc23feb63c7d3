//! The controllers' files, v1 and v2.

use std::ops::ControlFlow;

use super::USER_HZ;
use super::text::{find, for_each_pair, integer, is_limit, lines, number, words};

const NANOS_PER_TICK: u64 = 1_000_000_000 / USER_HZ;
const NANOS_PER_MICRO: u64 = 1_000;

/// What a cgroup has used of the CPUs, and how its limit held it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuStat {
    /// Time used, in nanoseconds.
    pub usage_ns: Option<u64>,
    /// Time used in user mode, in nanoseconds.
    pub user_ns: Option<u64>,
    /// Time used in kernel mode, in nanoseconds.
    pub system_ns: Option<u64>,
    /// Periods in which the limit was enforced. It stands still while there is no limit.
    pub periods: Option<u64>,
    /// Periods in which the limit was hit.
    pub throttled_periods: Option<u64>,
    /// Time spent waiting for the limit, in nanoseconds.
    pub throttled_ns: Option<u64>,
}

impl CpuStat {
    /// `cpu.stat` of v1 or v2. The keys do not collide: v1 counts nanoseconds in `throttled_time`, v2 microseconds in `*_usec`.
    /// v1 has the limit's keys only.
    pub fn parse(text: &[u8]) -> CpuStat {
        let mut stat = CpuStat::default();
        for_each_pair(text, |key, value| {
            let nanos = Some(value.saturating_mul(NANOS_PER_MICRO));
            match key {
                b"usage_usec" => stat.usage_ns = nanos,
                b"user_usec" => stat.user_ns = nanos,
                b"system_usec" => stat.system_ns = nanos,
                b"nr_periods" => stat.periods = Some(value),
                b"nr_throttled" => stat.throttled_periods = Some(value),
                b"throttled_usec" => stat.throttled_ns = nanos,
                b"throttled_time" => stat.throttled_ns = Some(value),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        stat
    }

    /// v1 `cpuacct.stat`: time in user and kernel mode, in clock ticks.
    pub fn parse_cpuacct(text: &[u8]) -> CpuStat {
        let nanos = |ticks: u64| ticks.saturating_mul(NANOS_PER_TICK);
        let [user, system] = find(text, [b"user", b"system"]);
        CpuStat {
            user_ns: user.map(nanos),
            system_ns: system.map(nanos),
            ..CpuStat::default()
        }
    }
}

/// v1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`: the limit in cores. A quota of -1 is no limit.
pub fn cfs_limit(quota: &[u8], period: &[u8]) -> Option<f64> {
    cores(number(quota)?, number(period)?)
}

/// v2 `cpu.max`, the quota or `max` and then the period: the limit in cores.
pub fn cpu_max(text: &[u8]) -> Option<f64> {
    let mut words = words(text);
    let quota = integer(words.next()?)?;
    let period = integer(words.next()?)?;
    cores(quota, period)
}

fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// What of `memory.stat` tells how a cgroup's memory is used, its descendants' included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStat {
    /// Anonymous memory, in bytes.
    pub anonymous: Option<u64>,
    /// Page cache, in bytes.
    pub cache: Option<u64>,
    /// Page cache not used lately, in bytes: what a working set is without.
    pub inactive_file: Option<u64>,
    /// Swap in use, in bytes. v1 only: v2 has `memory.swap.current`.
    pub swap: Option<u64>,
    /// Page faults that had to read from disk.
    pub major_faults: Option<u64>,
    /// The least limit of the cgroup and of those above it, in bytes; absent when none of them has one. v1 only.
    pub limit: Option<u64>,
}

impl MemoryStat {
    /// v1: the keys that begin with `total_` count the descendants too.
    pub fn parse_v1(text: &[u8]) -> MemoryStat {
        let [
            hierarchical,
            cache,
            anonymous,
            swap,
            major_faults,
            inactive_file,
        ] = find(
            text,
            [
                b"hierarchical_memory_limit",
                b"total_cache",
                b"total_rss",
                b"total_swap",
                b"total_pgmajfault",
                b"total_inactive_file",
            ],
        );
        MemoryStat {
            anonymous,
            cache,
            inactive_file,
            swap,
            major_faults,
            limit: hierarchical.filter(is_limit),
        }
    }

    /// v2.
    pub fn parse_v2(text: &[u8]) -> MemoryStat {
        let [anonymous, cache, inactive_file, major_faults] =
            find(text, [b"anon", b"file", b"inactive_file", b"pgmajfault"]);
        MemoryStat {
            anonymous,
            cache,
            inactive_file,
            major_faults,
            ..MemoryStat::default()
        }
    }
}

/// How often memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEvents {
    /// Times the limit was hit. v2 only: v1 has `memory.failcnt`.
    pub limit_hits: Option<u64>,
    /// Processes killed for want of memory, whoever's limit it was. Absent before Linux 4.13.
    pub oom_kills: Option<u64>,
}

impl MemoryEvents {
    /// v1 `memory.oom_control` or v2 `memory.events`.
    pub fn parse(text: &[u8]) -> MemoryEvents {
        let [limit_hits, oom_kills] = find(text, [b"max", b"oom_kill"]);
        MemoryEvents {
            limit_hits,
            oom_kills,
        }
    }
}

/// v1 block I/O of one kind, summed over devices: bytes or operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations {
    /// Of reads.
    pub read: u64,
    /// Of writes.
    pub write: u64,
}

impl Operations {
    /// `blkio.throttle.io_service_bytes` or `blkio.throttle.io_serviced`: lines of `8:0 Read 4096`. An empty file is a cgroup
    /// that did no I/O yet: zero, as the kernel would say.
    pub fn parse(text: &[u8]) -> Operations {
        let mut sum = Operations::default();
        for line in lines(text) {
            let mut words = words(line);
            let _device = words.next();
            let slot = match words.next() {
                Some(b"Read") => &mut sum.read,
                Some(b"Write") => &mut sum.write,
                Some(_) | None => continue,
            };
            let value = words.next().and_then(integer).unwrap_or(0);
            *slot = slot.saturating_add(value);
        }
        sum
    }
}

/// v2 block I/O, summed over devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoStat {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl IoStat {
    /// `io.stat`: lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. Empty means no I/O yet.
    pub fn parse(text: &[u8]) -> IoStat {
        let mut sum = IoStat::default();
        for word in lines(text).flat_map(words) {
            let Some(equals) = word.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let slot = match &word[..equals] {
                b"rbytes" => &mut sum.read_bytes,
                b"wbytes" => &mut sum.written_bytes,
                b"rios" => &mut sum.reads,
                b"wios" => &mut sum.writes,
                _ => continue,
            };
            *slot = slot.saturating_add(integer(&word[equals + 1..]).unwrap_or(0));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_limit_is_quota_by_period() {
        assert_eq!(cfs_limit(b"-1\n", b"100000\n"), None);
        assert_eq!(cfs_limit(b"50000\n", b"100000\n"), Some(0.5));
        assert_eq!(cpu_max(b"max 100000\n"), None);
        assert_eq!(cpu_max(b"150000 100000\n"), Some(1.5));
        assert_eq!(cpu_max(b"150000 0\n"), None);
    }

    #[test]
    fn cpu_time_is_in_nanoseconds_whoever_counted() {
        let v2 = CpuStat::parse(b"usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnice_usec 7\nnr_periods 50\nnr_throttled 10\nthrottled_usec 750000\n");
        let v1 = CpuStat {
            usage_ns: number(b"2500000000\n"),
            ..CpuStat::parse(
                b"nr_periods 50\nnr_throttled 10\nthrottled_time 750000000\nnr_bursts 0\n",
            )
        };
        let times = CpuStat::parse_cpuacct(b"user 150\nsystem 100\n");
        assert_eq!(
            CpuStat {
                user_ns: times.user_ns,
                system_ns: times.system_ns,
                ..v1
            },
            v2
        );
        assert_eq!(CpuStat::parse(b"nr_periods x\n"), CpuStat::default());
    }

    #[test]
    fn memory_is_read_with_its_descendants() {
        let v1 = MemoryStat::parse_v1(
            b"cache 1\nrss 2\nhierarchical_memory_limit 67108864\ntotal_cache 3\ntotal_rss 4\ntotal_rss_huge 9\ntotal_swap 5\ntotal_swapcached 9\ntotal_pgmajfault 6\ntotal_inactive_file 7\n",
        );
        let expected = MemoryStat {
            anonymous: Some(4),
            cache: Some(3),
            inactive_file: Some(7),
            swap: Some(5),
            major_faults: Some(6),
            limit: Some(67_108_864),
        };
        assert_eq!(v1, expected);
        let unlimited = MemoryStat::parse_v1(b"hierarchical_memory_limit 9223372036854771712\n");
        assert_eq!(unlimited, MemoryStat::default());

        let v2 = MemoryStat::parse_v2(b"anon 4\nfile 3\nfile_mapped 9\nanon_thp 9\ninactive_anon 9\ninactive_file 7\npgfault 9\npgmajfault 6\n");
        let expected = MemoryStat {
            swap: None,
            limit: None,
            ..expected
        };
        assert_eq!(v2, expected);
    }

    #[test]
    fn kills_are_told_from_mere_want() {
        let v1 = MemoryEvents::parse(b"oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        assert_eq!((v1.limit_hits, v1.oom_kills), (None, Some(1)));
        let v2 =
            MemoryEvents::parse(b"low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 9\n");
        assert_eq!((v2.limit_hits, v2.oom_kills), (Some(3), Some(1)));
    }

    #[test]
    fn block_devices_are_summed_and_totals_left_out() {
        let v1 = Operations::parse(
            b"8:0 Read 4096\n8:0 Write 100\n8:0 Sync 9\n8:0 Total 4196\n254:0 Read 4\nTotal 4200\n",
        );
        let expected = Operations {
            read: 4100,
            write: 100,
        };
        assert_eq!(v1, expected);
        let v2 = IoStat::parse(b"8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=9 dios=9\n254:0 rbytes=4 wbytes=0 rios=1 wios=18446744073709551615\n");
        let expected = IoStat {
            read_bytes: 4100,
            written_bytes: 8192,
            reads: 2,
            writes: u64::MAX,
        };
        assert_eq!(v2, expected);
        assert_eq!(IoStat::parse(b""), IoStat::default());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            every_parser(&bytes);
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "(total_rss|nr_periods|usage_usec|rbytes=|user|8:0 Read|max|[0-9]{1,25}|[ \n:=-]){0,60}") {
            every_parser(text.as_bytes());
        }

        #[test]
        fn the_order_and_company_of_keys_do_not_matter(values: [u64; 4], shuffled in Just([0_usize, 1, 2, 3, 4, 5]).prop_shuffle()) {
            let lines = [
                format!("anon {}\n", values[0]),
                format!("file {}\n", values[1]),
                format!("inactive_file {}\n", values[2]),
                format!("pgmajfault {}\n", values[3]),
                "active_file 1\n".to_owned(),
                "file_dirty 2\n".to_owned(),
            ];
            let text: String = shuffled.iter().map(|at| lines[*at].as_str()).collect();
            let stat = MemoryStat::parse_v2(text.as_bytes());
            let read = [stat.anonymous, stat.cache, stat.inactive_file, stat.major_faults];
            prop_assert_eq!(read, values.map(Some));
        }
    }

    fn every_parser(bytes: &[u8]) {
        let _ = (cfs_limit(bytes, bytes), cpu_max(bytes));
        let _ = (CpuStat::parse(bytes), CpuStat::parse_cpuacct(bytes));
        let _ = (MemoryStat::parse_v1(bytes), MemoryStat::parse_v2(bytes));
        let _ = (
            MemoryEvents::parse(bytes),
            Operations::parse(bytes),
            IoStat::parse(bytes),
        );
    }
}
