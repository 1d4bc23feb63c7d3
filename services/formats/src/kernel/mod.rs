//! Files of a cgroup or a process, read each second: parsers that allocate nothing.
//!
//! One pass over the bytes, into plain structs. Both generations of cgroups are known; the formats are those of the kernel's
//! `Documentation/admin-guide/cgroup-v1`, `cgroup-v2.rst` and `Documentation/accounting/psi.rst`. What is missing or malformed
//! is left absent, never zero. Numbers that do not fit 64 bits are malformed, and sums stop at the largest number.

mod cgroup;
mod net;
mod pressure;
mod process;
mod text;

pub use cgroup::{CpuStat, IoStat, MemoryEvents, MemoryStat, Operations, cfs_limit, cpu_max};
pub use net::{Interface, NetCounters, interfaces, multicast_interfaces, net_dev};
pub use pressure::Pressure;
pub use process::process_start_ms;
pub use text::{find, for_each_pair, limit, number};

#[cfg(test)]
pub(crate) use net::NET_DEV_HEAD;
pub(crate) use text::{decimal, integer, lines, words};

/// Times in `/proc/stat` and `cpuacct.stat` are in clock ticks of 1/100 s: USER_HZ, fixed for user space on every architecture
/// that Docker runs on.
pub const USER_HZ: u64 = 100;
