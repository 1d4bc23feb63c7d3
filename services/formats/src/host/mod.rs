//! Files of `/proc` that tell of the whole machine.
//!
//! Functions of bytes: the caller opens the files, of the host and not of its own container, and bounds how much of them it
//! reads. What is missing or malformed is left absent, never zero. The formats are those of proc(5) and of the kernel's
//! `Documentation/admin-guide/iostats.rst`.
//!
//! `/proc/pressure/{cpu,memory,io,irq}` have the format of a cgroup's: [`crate::kernel::Pressure`].

mod disks;
mod load;
mod memory;
mod mounts;
mod network;
mod stat;

pub use disks::{DISKS_MAX, Disk, DiskKind, disks};
pub use load::{FileHandles, LoadAverage, uptime_secs};
pub use memory::MemInfo;
pub use mounts::{MOUNTS_MAX, Mount, mounts};
pub use network::{INTERFACES_MAX, physical_interfaces};
pub use stat::{CpuTimes, Stat};
