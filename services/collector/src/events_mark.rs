//! Up to where the engine's events are safe, kept across restarts: a collector that was killed asks for those after it again.

use std::path::PathBuf;

use crate::events::MarkUnsaved;
use crate::{Error, blocking};

/// The time of the newest event that is in the log or in the spool.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventsMark {
    /// Absent: kept in memory only.
    path: Option<PathBuf>,
    newest_ns: Option<i64>,
    saved_ns: Option<i64>,
}

impl EventsMark {
    /// Reads the mark an earlier run left; none when there is none, or it cannot be read.
    pub(crate) fn load(path: Option<PathBuf>) -> EventsMark {
        let text = path
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        let saved_ns = text.and_then(|text| text.trim().parse().ok());
        EventsMark {
            path,
            newest_ns: saved_ns,
            saved_ns,
        }
    }

    /// Where to go on, when that is known.
    pub(crate) fn newest_ns(&self) -> Option<i64> {
        self.newest_ns
    }

    /// An event is where no crash takes it away.
    pub(crate) fn safe(&mut self, at_ns: Option<i64>) {
        self.newest_ns = self.newest_ns.max(at_ns);
    }

    /// Whether there is something to write down.
    pub(crate) fn has_moved(&self) -> bool {
        self.path.is_some() && self.newest_ns != self.saved_ns
    }

    /// Writes the mark down if it has moved. What cannot be written is said, and tried again with the next call.
    ///
    /// # Errors
    /// When the thread panics.
    pub(crate) async fn save(&self) -> Result<EventsMark, Error> {
        let mark = self.clone();
        let (Some(path), Some(newest_ns)) = (mark.path.clone(), mark.newest_ns) else {
            return Ok(mark);
        };
        if mark.saved_ns == Some(newest_ns) {
            return Ok(mark);
        }
        let written = blocking("save where events are", move || {
            let new = path.with_extension("new");
            std::fs::write(&new, newest_ns.to_string())?;
            std::fs::rename(&new, &path)
        })
        .await?;
        match written {
            Ok(()) => Ok(EventsMark {
                saved_ns: Some(newest_ns),
                ..mark
            }),
            Err(error) => {
                MarkUnsaved { error: &error }.emit();
                Ok(mark)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_safe_event_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let mut mark = EventsMark::load(Some(path.clone()));
        assert_eq!(mark.newest_ns(), None);
        mark.safe(Some(7));
        mark.safe(Some(5));
        mark.safe(None);
        let mark = mark.save().await.unwrap();
        assert_eq!(mark.saved_ns, Some(7));
        assert_eq!(EventsMark::load(Some(path)).newest_ns(), Some(7));
    }
}
