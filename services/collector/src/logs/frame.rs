//! How a log file holds its lines: as JSON ended by newlines, or as messages between their lengths.

use std::path::Path;

use formats::log::json_file::{self, Piece};
use formats::log::local::{self, Frame};
use memchr::{memchr, memrchr};

use crate::inspect::CACHE_NAME;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Of the engine's `json-file` driver.
    JsonFile,
    /// Of its `local` driver.
    Local,
}

/// A frame of the file: a line of JSON, or a message.
#[derive(Debug)]
pub(super) struct Framed<'a> {
    /// Where it begins.
    pub(super) start: usize,
    /// Where the next one begins.
    pub(super) end: usize,
    /// What it says; nothing where it is not what the engine writes.
    pub(super) piece: Option<Piece<'a>>,
}

impl Format {
    /// By where the engine puts the file: `local-logs/container.log`, `container-cached.log` or `<id>-json.log`.
    pub(super) fn of(path: &Path) -> Format {
        let directory = path.parent().and_then(Path::file_name);
        let is_local = directory.is_some_and(|name| name == "local-logs");
        let is_cache = path.file_name().is_some_and(|name| name == CACHE_NAME);
        if is_local || is_cache {
            Format::Local
        } else {
            Format::JsonFile
        }
    }

    /// How many bytes from the beginning are whole frames.
    pub(super) fn whole(self, bytes: &[u8]) -> usize {
        match self {
            Format::JsonFile => memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            Format::Local => {
                let mut frames = self.frames(bytes);
                frames.by_ref().for_each(drop);
                frames.at
            }
        }
    }

    /// The whole frames.
    pub(super) fn frames(self, bytes: &[u8]) -> Frames<'_> {
        Frames {
            format: self,
            bytes,
            at: 0,
        }
    }
}

/// Goes through whole frames; it ends at one that is not whole.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    format: Format,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Framed<'a>;

    #[inline]
    fn next(&mut self) -> Option<Framed<'a>> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let (len, piece) = match self.format {
            Format::JsonFile => {
                let end = memchr(b'\n', rest)?;
                (end + 1, json_file::parse(&rest[..end]))
            }
            Format::Local => match local::next(rest) {
                Frame::Entry { piece, len } => (len, Some(piece)),
                Frame::Malformed { skip } => (skip, None),
                Frame::Incomplete => return None,
            },
        };
        self.at += len;
        Some(Framed {
            start,
            end: self.at,
            piece,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_names_tell_the_format() {
        let json = Path::new("/var/lib/docker/containers/abc/abc-json.log");
        assert_eq!(Format::of(json), Format::JsonFile);
        let local = Path::new("/var/lib/docker/containers/abc/local-logs/container.log");
        assert_eq!(Format::of(local), Format::Local);
    }

    #[test]
    fn only_whole_frames_are_gone_through() {
        let line = "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}\n";
        let text = format!("{line}garbage\n{line}{{\"log\"");
        let frames: Vec<_> = Format::JsonFile.frames(text.as_bytes()).collect();
        let whole: Vec<_> = frames.iter().map(|it| it.piece.is_some()).collect();
        assert_eq!(whole, [true, false, true]);
        assert_eq!(
            frames[2].end,
            Format::JsonFile.whole(text.as_bytes()),
            "the torn end is left"
        );
    }
}
