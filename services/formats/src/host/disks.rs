//! `/proc/diskstats`.

use crate::kernel::{integer, lines, words};

/// Disks told of; what a machine has beyond these is left out, in the kernel's order.
pub const DISKS_MAX: usize = 256;

/// The kernel's sectors have this many bytes, whatever the disk's are.
const SECTOR_BYTES: u64 = 512;

/// Block devices that are no disks: files, memory, and drives for discs and floppies.
const NOT_DISKS: [&str; 5] = ["loop", "ram", "zram", "sr", "fd"];

/// Whether a disk's traffic is told of once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// A disk of its own.
    Plain,
    /// Made of other block devices, which count the same traffic: device mapper (LVM, encryption), RAID, bcache, DRBD.
    Stacked,
}

/// What a whole disk has done since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk<'t> {
    /// The kernel's name for it: `sda`, `nvme0n1`, `dm-0`.
    pub name: &'t str,
    /// Whether it is one of its own; sums over disks are over these.
    pub kind: DiskKind,
    /// Reads done.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Time that reads took, each counted, in milliseconds.
    pub read_ms: u64,
    /// Writes done.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Time that writes took, each counted, in milliseconds.
    pub write_ms: u64,
    /// Requests under way, now.
    pub in_flight: u64,
    /// Time in which something was under way, in milliseconds: its rate is the share of time the disk was busy.
    pub io_ms: u64,
    /// The same, weighted by how many requests were under way: its rate is the mean length of the queue.
    pub weighted_ms: u64,
}

/// The whole disks of the machine. Partitions are left out, and so are devices that are no disks. Lines that are cut short or
/// malformed are passed over.
pub fn disks(text: &[u8]) -> impl Iterator<Item = Disk<'_>> {
    // The kernel lists a disk's partitions right behind the disk, so a name that goes on from it is a partition's.
    let mut whole = "";
    lines(text)
        .filter_map(Disk::parse)
        .filter(move |disk| {
            if is_partition(disk.name, whole) {
                return false;
            }
            whole = disk.name;
            !NOT_DISKS
                .iter()
                .any(|prefix| is_numbered(disk.name, prefix))
        })
        .take(DISKS_MAX)
}

impl Disk<'_> {
    /// `major minor name`, then of reads and of writes: done, merged, sectors, milliseconds; then requests under way,
    /// milliseconds, and milliseconds weighted. More columns follow on newer kernels.
    fn parse(line: &[u8]) -> Option<Disk<'_>> {
        let mut words = words(line).skip(2);
        let name = std::str::from_utf8(words.next()?).ok()?;
        let mut columns = [0; 11];
        for column in &mut columns {
            *column = integer(words.next()?)?;
        }
        let [
            reads,
            _,
            sectors_read,
            read_ms,
            writes,
            _,
            sectors_written,
            write_ms,
            in_flight,
            io_ms,
            weighted_ms,
        ] = columns;
        Some(Disk {
            name,
            kind: kind(name),
            reads,
            read_bytes: sectors_read.saturating_mul(SECTOR_BYTES),
            read_ms,
            writes,
            written_bytes: sectors_written.saturating_mul(SECTOR_BYTES),
            write_ms,
            in_flight,
            io_ms,
            weighted_ms,
        })
    }
}

fn kind(name: &str) -> DiskKind {
    const STACKED: [&str; 4] = ["dm-", "md", "bcache", "drbd"];
    // RAID can have names too: `md_home`, `md-home`.
    if STACKED.iter().any(|prefix| is_numbered(name, prefix))
        || ["md_", "md-"].iter().any(|prefix| name.starts_with(prefix))
    {
        DiskKind::Stacked
    } else {
        DiskKind::Plain
    }
}

/// `sda1` of `sda`, `nvme0n1p1` of `nvme0n1`: the number follows a `p` where the disk's own name ends in a digit.
fn is_partition(name: &str, whole: &str) -> bool {
    let Some(rest) = name.strip_prefix(whole).filter(|_| !whole.is_empty()) else {
        return false;
    };
    if whole.ends_with(|last: char| last.is_ascii_digit()) {
        is_numbered(rest, "p")
    } else {
        is_numbered(rest, "")
    }
}

/// Whether `name` is `prefix` and a number.
fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<&str> {
        disks(text.as_bytes()).map(|disk| disk.name).collect()
    }

    fn listing(names: &[&str]) -> String {
        names
            .iter()
            .map(|name| format!(" 8 0 {name} 1 2 3 4 5 6 7 8 9 10 11 12 13\n"))
            .collect()
    }

    #[test]
    fn columns_are_told_apart_and_sectors_are_bytes() {
        let text = " 254       0 vda 88260 22744 4085114 17783 17761 45445 6032664 22288 2 9988 40841 4764 45 915256 676 1439 93\n";
        let expected = Disk {
            name: "vda",
            kind: DiskKind::Plain,
            reads: 88_260,
            read_bytes: 4_085_114 * 512,
            read_ms: 17_783,
            writes: 17_761,
            written_bytes: 6_032_664 * 512,
            write_ms: 22_288,
            in_flight: 2,
            io_ms: 9988,
            weighted_ms: 40_841,
        };
        assert_eq!(disks(text.as_bytes()).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn partitions_and_what_is_no_disk_are_left_out() {
        let text = listing(&[
            "loop0",
            "ram0",
            "zram0",
            "sr0",
            "fd0",
            "sda",
            "sda1",
            "sda15",
            "sdaa",
            "sdaa1",
            "nvme0n1",
            "nvme0n1p1",
            "nvme1n1",
            "mmcblk0",
            "mmcblk0p2",
            "xvda1",
            "xvdb",
            "cciss!c0d0",
            "cciss!c0d0p1",
        ]);
        let expected = [
            "sda",
            "sdaa",
            "nvme0n1",
            "nvme1n1",
            "mmcblk0",
            "xvda1",
            "xvdb",
            "cciss!c0d0",
        ];
        assert_eq!(names(&text), expected);
    }

    #[test]
    fn stacked_disks_are_told_as_such() {
        let text = listing(&[
            "sda", "dm-0", "md127", "md127p1", "md_home", "bcache0", "drbd1",
        ]);
        let stacked: Vec<_> = disks(text.as_bytes())
            .filter(|disk| disk.kind == DiskKind::Stacked)
            .map(|disk| disk.name)
            .collect();
        assert_eq!(stacked, ["dm-0", "md127", "md_home", "bcache0", "drbd1"]);
    }

    #[test]
    fn there_is_a_bound() {
        let many: Vec<String> = (0..2 * DISKS_MAX).map(|at| format!("dm-{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(names(&listing(&many)).len(), DISKS_MAX);
        assert_eq!(names("8 0 sda 1 2 3\n8 0 sdb\n8\n"), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn no_near_miss_makes_it_panic(text in "(8 0 |sda|dm-|é|[0-9]{1,25}|[ \n]){0,80}") {
            let _ = disks(text.as_bytes()).count();
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = disks(&bytes).count();
        }
    }
}
