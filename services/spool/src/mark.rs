//! The mark's file: 8 bytes of magic, the mark, and a CRC-32 (IEEE) of both. It is replaced whole, by renaming.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"HMSMARK1";
const FILE_BYTES: usize = 20;
const NAME: &str = "mark";
const NAME_NEW: &str = "mark.new";

/// Ids at or above this are never reached; a mark or a segment's name that says so is damaged.
pub(crate) const ID_MAX: u64 = 1 << 62;

/// The mark as last written; none when there is none or it is damaged, and then everything still there is given again.
pub(crate) fn read(directory: &Path) -> io::Result<Option<u64>> {
    let bytes = match fs::read(directory.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(decode(&bytes))
}

/// Replaces the mark. After a crash it is the old one or the new one.
pub(crate) fn write(directory: &Path, mark: u64) -> io::Result<()> {
    let new = directory.join(NAME_NEW);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&encode(mark))?;
    file.sync_data()?;
    fs::rename(&new, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

fn encode(mark: u64) -> [u8; FILE_BYTES] {
    let mut bytes = [0; FILE_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&mark.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let mut number = [0; 8];
    number.copy_from_slice(bytes.get(8..16)?);
    let mark = u64::from_le_bytes(number);
    (mark < ID_MAX && bytes == encode(mark)).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_mark_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        write(directory.path(), 7).unwrap();
        write(directory.path(), 77).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(77));
        for bit in 0..FILE_BYTES * 8 {
            let mut bytes = encode(77);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None);
        }
        assert_eq!(decode(&encode(77)[..19]), None);
        assert_eq!(decode(&encode(u64::MAX)), None);
    }
}
