//! A file that stays open, read in place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file longer than this is taken as unreadable: `memory.stat` has 2 KiB, `io.stat` of a host with a hundred disks 10 KiB.
const FILE_BYTES_MAX: usize = 256 * 1024;
const BUFFER_BYTES_START: usize = 16 * 1024;
/// The kernel hands out such files by the page and ends one early only for want of room for the next record, all of which are
/// far shorter than a quarter page. What is shorter than this is therefore the whole file, and the read that would say so is saved.
const COMPLETE_BELOW_BYTES: usize = 3 * 1024;

/// Where every file is read to, one after the other.
pub(crate) struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(vec![0; BUFFER_BYTES_START])
    }
}

/// A file kept open, until it fails.
#[derive(Debug)]
pub(super) struct Kept(pub(super) Option<File>);

impl Kept {
    pub(super) fn open(path: &Path) -> Kept {
        Kept(File::open(path).ok())
    }

    pub(super) const fn none() -> Kept {
        Kept(None)
    }

    /// The whole file as of now; closes it when it cannot be read.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
        let file = self.0.as_ref()?;
        match read_whole(file, buffer) {
            Some(len) => Some(&buffer.0[..len]),
            None => {
                self.0 = None;
                None
            }
        }
    }
}

fn read_whole(file: &File, buffer: &mut Buffer) -> Option<usize> {
    let mut len = 0;
    loop {
        if len == buffer.0.len() {
            if len >= FILE_BYTES_MAX {
                return None;
            }
            buffer.0.resize(len * 2, 0);
        }
        let read = match file.read_at(&mut buffer.0[len..], len as u64) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        len += read;
        if read == 0 || (read < COMPLETE_BELOW_BYTES && len < buffer.0.len()) {
            return Some(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_fails_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        // A directory opens, and fails to be read: as a vanished cgroup file does.
        let mut kept = Kept::open(directory.path());
        assert!(kept.0.is_some());
        assert_eq!(kept.read(&mut Buffer::default()), None);
        assert!(kept.0.is_none());
    }

    #[test]
    fn files_longer_than_the_buffer_are_read_whole_up_to_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long");
        let mut buffer = Buffer::default();
        fs::write(&path, vec![b'x'; 100_000]).unwrap();
        assert_eq!(Kept::open(&path).read(&mut buffer).unwrap().len(), 100_000);
        fs::write(&path, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
        assert_eq!(Kept::open(&path).read(&mut buffer), None);
    }
}
