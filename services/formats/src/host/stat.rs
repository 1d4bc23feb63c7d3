//! `/proc/stat`.

use crate::kernel::{USER_HZ, integer, lines, words};

/// What the machine's CPUs have done since boot, all of them together, in seconds.
///
/// Without `guest` and `guest_nice`, which are within `user` and `nice`, the modes add up to the whole time of all CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CpuTimes {
    /// Programs.
    pub user: Option<f64>,
    /// Programs of lowered priority.
    pub nice: Option<f64>,
    /// The kernel, on behalf of programs.
    pub system: Option<f64>,
    /// Nothing to do.
    pub idle: Option<f64>,
    /// Nothing to do while a disk was waited for. It can fall.
    pub iowait: Option<f64>,
    /// Interrupts.
    pub irq: Option<f64>,
    /// Work put off by interrupts.
    pub softirq: Option<f64>,
    /// Taken by the hypervisor for other machines.
    pub steal: Option<f64>,
    /// Virtual machines.
    pub guest: Option<f64>,
    /// Virtual machines of lowered priority.
    pub guest_nice: Option<f64>,
}

/// What `/proc/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stat {
    /// Time by mode; absent as a whole when there is no line of all CPUs.
    pub cpu: Option<CpuTimes>,
    /// CPUs that are online.
    pub cpus: usize,
    /// Context switches since boot.
    pub context_switches: Option<u64>,
    /// When the machine was booted, in seconds since 1970-01-01 UTC by its present clock.
    pub boot_time_secs: Option<u64>,
    /// Processes and threads made since boot.
    pub forks: Option<u64>,
    /// Tasks that run or could.
    pub running: Option<u64>,
    /// Tasks that wait for a disk.
    pub blocked: Option<u64>,
}

impl Stat {
    /// Lines of a name and numbers. Those of interrupts, which are long, are passed over.
    pub fn parse(text: &[u8]) -> Stat {
        let mut stat = Stat::default();
        for line in lines(text) {
            let mut words = words(line);
            let Some(name) = words.next() else { continue };
            let slot = match name {
                b"cpu" => {
                    stat.cpu = Some(CpuTimes::parse(words));
                    continue;
                }
                b"ctxt" => &mut stat.context_switches,
                b"btime" => &mut stat.boot_time_secs,
                b"processes" => &mut stat.forks,
                b"procs_running" => &mut stat.running,
                b"procs_blocked" => &mut stat.blocked,
                other => {
                    stat.cpus += usize::from(is_one_cpu(other));
                    continue;
                }
            };
            *slot = words.next().and_then(integer);
        }
        stat
    }
}

impl CpuTimes {
    fn parse<'t>(mut ticks: impl Iterator<Item = &'t [u8]>) -> CpuTimes {
        let mut next = || Some(integer(ticks.next()?)? as f64 / USER_HZ as f64);
        // In the order of the columns.
        CpuTimes {
            user: next(),
            nice: next(),
            system: next(),
            idle: next(),
            iowait: next(),
            irq: next(),
            softirq: next(),
            steal: next(),
            guest: next(),
            guest_nice: next(),
        }
    }
}

fn is_one_cpu(name: &[u8]) -> bool {
    name.strip_prefix(b"cpu")
        .is_some_and(|index| integer(index).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_machine_of_two_cpus() {
        let text = b"cpu  150 2 100 4000 7 0 3 25 50 0\ncpu0 100 1 50 2000 7 0 3 20 50 0\ncpu1 50 1 50 2000 0 0 0 5 0 0\n\
            intr 99 1 2 3\nctxt 12345\nbtime 1700000000\nprocesses 678\nprocs_running 3\nprocs_blocked 1\nsoftirq 5 1 2\n";
        let expected = Stat {
            cpu: Some(CpuTimes {
                user: Some(1.5),
                nice: Some(0.02),
                system: Some(1.0),
                idle: Some(40.0),
                iowait: Some(0.07),
                irq: Some(0.0),
                softirq: Some(0.03),
                steal: Some(0.25),
                guest: Some(0.5),
                guest_nice: Some(0.0),
            }),
            cpus: 2,
            context_switches: Some(12_345),
            boot_time_secs: Some(1_700_000_000),
            forks: Some(678),
            running: Some(3),
            blocked: Some(1),
        };
        assert_eq!(Stat::parse(text), expected);
    }

    #[test]
    fn what_is_not_there_stays_absent() {
        assert_eq!(Stat::parse(b""), Stat::default());
        let old = Stat::parse(b"cpu 100 x 300\nctxt\n");
        let cpu = old.cpu.unwrap();
        assert_eq!((cpu.user, cpu.nice), (Some(1.0), None));
        assert_eq!((cpu.system, cpu.idle), (Some(3.0), None));
        assert_eq!(old.context_switches, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "(cpu|cpu1|ctxt|btime|[0-9]{1,25}|[ \n]|\\PC){0,60}") {
            let _ = Stat::parse(text.as_bytes());
        }
    }
}
