//! `/proc/meminfo`.

use crate::kernel::find;

/// How the machine's memory is used, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemInfo {
    /// All that the kernel manages.
    pub total: Option<u64>,
    /// Not used for anything.
    pub free: Option<u64>,
    /// What programs could have without swapping, as the kernel estimates it. Absent before Linux 3.14.
    pub available: Option<u64>,
    /// Cache of block devices.
    pub buffers: Option<u64>,
    /// Cache of files, shared memory included.
    pub cached: Option<u64>,
    /// Shared memory and tmpfs.
    pub shared: Option<u64>,
    /// Memory of the kernel itself that it can give up.
    pub slab_reclaimable: Option<u64>,
    /// Waiting to be written to disk.
    pub dirty: Option<u64>,
    /// Being written to disk.
    pub writeback: Option<u64>,
    /// All swap space.
    pub swap_total: Option<u64>,
    /// Swap space not in use.
    pub swap_free: Option<u64>,
}

impl MemInfo {
    /// Lines of `MemTotal:       16384 kB`.
    pub fn parse(text: &[u8]) -> MemInfo {
        let values = find(
            text,
            [
                b"MemTotal:",
                b"MemFree:",
                b"MemAvailable:",
                b"Buffers:",
                b"Cached:",
                b"Shmem:",
                b"SReclaimable:",
                b"Dirty:",
                b"Writeback:",
                b"SwapTotal:",
                b"SwapFree:",
            ],
        );
        // The kernel's `kB` are units of 1024 bytes.
        let [
            total,
            free,
            available,
            buffers,
            cached,
            shared,
            slab_reclaimable,
            dirty,
            writeback,
            swap_total,
            swap_free,
        ] = values.map(|kib| kib.map(|kib| kib.saturating_mul(1024)));
        MemInfo {
            total,
            free,
            available,
            buffers,
            cached,
            shared,
            slab_reclaimable,
            dirty,
            writeback,
            swap_total,
            swap_free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_machine() {
        let text = b"MemTotal:        1000 kB\nMemFree:          200 kB\nMemAvailable:     700 kB\nBuffers:            1 kB\n\
            Cached:           500 kB\nSwapCached:         9 kB\nDirty:              2 kB\nWriteback:          3 kB\n\
            Shmem:              4 kB\nSReclaimable:       5 kB\nSwapTotal:          0 kB\nSwapFree:           0 kB\n\
            WritebackTmp:       9 kB\nHugePages_Total:       9\n";
        let expected = MemInfo {
            total: Some(1_024_000),
            free: Some(204_800),
            available: Some(716_800),
            buffers: Some(1024),
            cached: Some(512_000),
            shared: Some(4096),
            slab_reclaimable: Some(5120),
            dirty: Some(2048),
            writeback: Some(3072),
            swap_total: Some(0),
            swap_free: Some(0),
        };
        assert_eq!(MemInfo::parse(text), expected);
        assert_eq!(MemInfo::parse(b"MemTotal: much kB\n"), MemInfo::default());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "(MemTotal:|Cached:|kB|[0-9]{1,25}|[ \n]|\\PC){0,60}") {
            let _ = MemInfo::parse(text.as_bytes());
        }
    }
}
