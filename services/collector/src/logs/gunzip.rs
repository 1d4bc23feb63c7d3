//! A rotated file that the engine compressed, read front to back as if it were plain.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use flate2::bufread::MultiGzDecoder;

/// Unpacked bytes of one file: far beyond any `max-size` in use. What lies behind is not read.
const UNPACKED_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// The unpacked bytes, of which those from `from` on can be read again.
#[derive(Debug)]
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<BufReader<File>>,
    /// Unpacked and not passed yet; never more than the largest buffer asked for.
    carry: Vec<u8>,
    from: u64,
}

impl Gunzip {
    /// Begins at the front of the file. Clones of its descriptor must not be unpacked at the same time: they share its cursor.
    ///
    /// # Errors
    /// When the file has no front to go to.
    pub(super) fn new(mut file: File) -> io::Result<Gunzip> {
        file.rewind()?;
        Ok(Gunzip {
            decoder: MultiGzDecoder::new(BufReader::new(file)),
            carry: Vec::new(),
            from: 0,
        })
    }

    /// Fills the buffer with what is at `offset`, which must not be before that of an earlier call; fewer bytes at the end.
    ///
    /// # Errors
    /// When the file cannot be read or unpacked.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pass(offset)?;
        let had = self.carry.len();
        if had < buffer.len() && self.from < UNPACKED_BYTES_MAX {
            let more = (buffer.len() - had) as u64;
            self.decoder
                .by_ref()
                .take(more)
                .read_to_end(&mut self.carry)?;
        }
        let len = self.carry.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.carry[..len]);
        Ok(len)
    }

    /// Lets go of what is before `offset`.
    fn pass(&mut self, offset: u64) -> io::Result<()> {
        let ahead = offset.saturating_sub(self.from);
        let carried =
            usize::try_from(ahead).map_or(self.carry.len(), |it| it.min(self.carry.len()));
        self.carry.drain(..carried);
        let rest = ahead - carried as u64;
        io::copy(&mut self.decoder.by_ref().take(rest), &mut io::sink())?;
        self.from += ahead;
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn packed(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn it_reads_like_a_plain_file(
            text in proptest::collection::vec(any::<u8>(), 0..500),
            steps in proptest::collection::vec((0_u64..100, 0_usize..80), 0..20),
        ) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&packed(&text)).unwrap();
            let mut gunzip = Gunzip::new(file).unwrap();
            let mut offset = 0;
            for (skip, size) in steps {
                offset += skip;
                let mut buffer = vec![0; size];
                let len = gunzip.read_at(&mut buffer, offset).unwrap();
                let rest = text.get(offset as usize..).unwrap_or_default();
                prop_assert_eq!(&buffer[..len], &rest[..size.min(rest.len())]);
            }
        }
    }

    #[test]
    fn what_is_no_gzip_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"plain").unwrap();
        assert!(Gunzip::new(file).unwrap().read_at(&mut [0; 8], 0).is_err());
    }
}
