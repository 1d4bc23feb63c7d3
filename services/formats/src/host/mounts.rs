//! `/proc/PID/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::kernel::{integer, lines, words};

/// File systems told of; what a machine has beyond these is left out, in the order in which they were mounted.
pub const MOUNTS_MAX: usize = 64;

/// File systems that are images, always full and never written.
const IMAGES: [&[u8]; 5] = [b"squashfs", b"iso9660", b"udf", b"erofs", b"cramfs"];

/// A mounted file system whose space is worth asking for with `statvfs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, as seen by the process whose file was read.
    pub point: PathBuf,
    /// Major and minor number of the device, as `stat` gives them for the files on it.
    pub device: (u32, u32),
    /// What is mounted: `/dev/sda1`, or the name of a ZFS data set.
    pub source: String,
    /// The type of the file system: `ext4`.
    pub kind: String,
    extent: Extent,
}

/// How much of a file system a mount shows. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// All of it.
    Whole,
    /// A directory or file of it: a bind mount or a subvolume.
    Part,
}

/// The file systems that have a disk behind them, each once: by the first mount that shows all of it, or else by the first.
///
/// Left out are those in memory, of the kernel and of containers (`tmpfs`, `proc`, `overlay`), images, and those of the
/// network, of which `statvfs` can hang. At most [`MOUNTS_MAX`].
pub fn mounts(text: &[u8]) -> Vec<Mount> {
    let mut found: Vec<Mount> = Vec::new();
    for mount in lines(text).filter_map(parse) {
        let known = found.iter().position(|known| known.device == mount.device);
        match known {
            Some(at) if mount.extent < found[at].extent => found[at] = mount,
            None if found.len() < MOUNTS_MAX => found.push(mount),
            Some(_) | None => {}
        }
    }
    found
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw`: ids, device, what of the file system is mounted where,
/// options, any number of optional fields, a hyphen, and then type, source and options of the file system.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut words = words(line).skip(2);
    let (device, root, point) = (words.next()?, words.next()?, words.next()?);
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    let (kind, source) = (words.next()?, words.next()?);
    if !has_disk(kind, source) {
        return None;
    }
    let colon = device.iter().position(|byte| *byte == b':')?;
    let part = |digits: &[u8]| u32::try_from(integer(digits)?).ok();
    Some(Mount {
        point: PathBuf::from(OsString::from_vec(unescape(point))),
        device: (part(&device[..colon])?, part(&device[colon + 1..])?),
        source: String::from_utf8_lossy(&unescape(source)).into_owned(),
        kind: String::from_utf8_lossy(kind).into_owned(),
        extent: if root == b"/" {
            Extent::Whole
        } else {
            Extent::Part
        },
    })
}

/// The device's number does not tell: btrfs and ZFS have numbers of their own, as `tmpfs` has.
fn has_disk(kind: &[u8], source: &[u8]) -> bool {
    if kind == b"fuse" || kind.starts_with(b"fuse.") || IMAGES.contains(&kind) {
        // `fuseblk` has a disk; the source of others may be `/dev/fuse`.
        return false;
    }
    kind == b"zfs" || (source.starts_with(b"/dev/") && kind != b"devtmpfs")
}

/// Undoes the kernel's escapes: a backslash and three octal digits for what would end a word.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        if let [
            b'\\',
            high @ b'0'..=b'3',
            middle @ b'0'..=b'7',
            low @ b'0'..=b'7',
            after @ ..,
        ] = rest
        {
            plain.push((high - b'0') * 64 + (middle - b'0') * 8 + (low - b'0'));
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn points(text: &str) -> Vec<PathBuf> {
        mounts(text.as_bytes())
            .into_iter()
            .map(|mount| mount.point)
            .collect()
    }

    #[test]
    fn what_has_no_disk_is_left_out() {
        let text = "22 27 0:21 / /proc rw - proc proc rw\n\
            24 27 0:6 / /dev rw - devtmpfs /dev/none rw\n\
            25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw\n\
            27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard\n\
            40 27 0:40 / /var/lib/docker/overlay2/a/merged rw - overlay overlay rw,lowerdir=b\n\
            41 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro\n\
            42 27 0:41 / /mnt/nfs rw - nfs4 server:/export rw\n\
            43 27 0:42 / /run/doc rw - fuse.portal /dev/fuse rw\n\
            44 27 8:17 / /mnt/ntfs rw - fuseblk /dev/sdb1 rw\n\
            45 27 0:50 / /tank rw - zfs tank rw\n\
            46 27 0:51 /@home /home rw - btrfs /dev/sdc rw\n";
        assert_eq!(
            points(text),
            ["/", "/mnt/ntfs", "/tank", "/home"].map(PathBuf::from)
        );
        let root = &mounts(text.as_bytes())[0];
        assert_eq!(root.device, (254, 0));
        assert_eq!(
            (root.source.as_str(), root.kind.as_str()),
            ("/dev/vda", "ext4")
        );
    }

    #[test]
    fn each_device_is_told_of_once_and_best_as_a_whole() {
        let text = "1 0 8:1 /var/lib/docker/containers/a/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n\
            2 0 8:1 / /host rw - ext4 /dev/sda1 rw\n\
            3 0 8:1 / /again rw - ext4 /dev/sda1 rw\n\
            4 0 8:2 /a /a rw - xfs /dev/sda2 rw\n\
            5 0 8:2 /b /b rw - xfs /dev/sda2 rw\n";
        assert_eq!(points(text), ["/host", "/a"].map(PathBuf::from));
    }

    #[test]
    fn escapes_are_undone() {
        let text = "1 0 8:1 / /mnt/my\\040disk\\134x\\9 rw - ext4 /dev/sda1 rw\n";
        assert_eq!(points(text), [Path::new("/mnt/my disk\\x\\9")]);
    }

    #[test]
    fn there_is_a_bound() {
        let text: String = (0..2 * MOUNTS_MAX)
            .map(|at| format!("1 0 8:{at} / /mnt/{at} rw - ext4 /dev/sd rw\n"))
            .collect();
        assert_eq!(mounts(text.as_bytes()).len(), MOUNTS_MAX);
    }

    proptest! {
        #[test]
        fn any_path_survives_its_escapes(path in "/[a-z \t\n\\\\é0-9]{0,20}") {
            let escaped: String = path
                .chars()
                .map(|char| match char {
                    ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(char)),
                    other => other.to_string(),
                })
                .collect();
            prop_assert_eq!(unescape(escaped.as_bytes()), path.into_bytes());
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "(1 0 |8:1|/| - |ext4|/dev/sda|\\\\[0-9]{0,3}|[0-9]{1,12}|[ :\n-]){0,60}") {
            prop_assert!(mounts(text.as_bytes()).len() <= MOUNTS_MAX);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (mounts(&bytes), unescape(&bytes));
        }
    }
}
