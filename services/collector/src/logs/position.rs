//! How far each container's log was delivered, kept across restarts: one small file a container, replaced whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use units::ContainerId;

use super::batch::Told;

/// A file, whatever its name is by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    /// When it was made, nanoseconds since 1970, where the file system knows: an inode is given to another file at once.
    born_ns: Option<i64>,
}

impl FileId {
    pub(super) fn of(metadata: &fs::Metadata) -> FileId {
        let born = metadata.created().ok();
        let since = born.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
            born_ns: since.and_then(|it| i64::try_from(it.as_nanos()).ok()),
        }
    }
}

/// Where to go on reading, and how to count from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    /// Of the next line of each stream, standard output first. In front, so that positions of one log are ordered by them.
    pub(super) sequences: [u64; 2],
    pub(super) file: FileId,
    /// A hash of the file's first frame, by which it is known once it was compressed into another file.
    pub(super) first: Option<u64>,
    /// That of the file before it, while this one has no frame yet by which it could be known.
    pub(super) before: Option<u64>,
    /// Of the next byte.
    pub(super) offset: u64,
    /// Lines lost that no line has told of yet.
    pub(super) lost: u64,
    /// Lines dropped by the rate limit that no line has told of yet.
    pub(super) limited: u64,
}

impl Position {
    /// Of two positions of one log the one further on.
    fn later(self, other: Position) -> Position {
        let lines = |it: &Position| it.sequences.iter().sum::<u64>();
        if lines(&other) > lines(&self) {
            other
        } else {
            self
        }
    }
}

/// The positions of all containers.
#[derive(Debug)]
pub(super) struct Positions {
    directory: Option<PathBuf>,
    delivered: BTreeMap<ContainerId, Option<Position>>,
    /// Where logs were left that may be opened again before all that was read of them has been delivered.
    closed: BTreeMap<ContainerId, Position>,
    unsaved: BTreeSet<ContainerId>,
    /// Positions of what waits in the spool, from before this process started: they may be later than those saved.
    spooled: BTreeMap<ContainerId, Position>,
    history: History,
}

/// Whether this collector has run here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    /// It has: a log without a position appeared while it was away.
    Known,
    /// It has not: logs without a position are older than it.
    Fresh,
}

/// A directory or file of positions that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}; check that the directory is writable and has space", path.display())]
pub(crate) struct PositionError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl PositionError {
    fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PositionError {
        let path = path.to_owned();
        move |source| PositionError {
            action,
            path,
            source,
        }
    }
}

impl Positions {
    /// Opens the directory, making it if need be. Without one, positions are kept in memory only.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn open(directory: Option<PathBuf>) -> Result<Positions, PositionError> {
        let mut history = History::Fresh;
        if let Some(path) = &directory {
            if path.exists() {
                history = History::Known;
            }
            fs::create_dir_all(path).map_err(PositionError::new("make", path))?;
        }
        Ok(Positions {
            directory,
            delivered: BTreeMap::new(),
            closed: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            spooled: BTreeMap::new(),
            history,
        })
    }

    /// Lines up to `position` are in the spool, as found at the start.
    pub(super) fn spooled(&mut self, id: ContainerId, position: Position) {
        let later = self
            .spooled
            .get(&id)
            .map_or(position, |it| it.later(position));
        self.spooled.insert(id, later);
    }

    pub(super) fn history(&self) -> History {
        self.history
    }

    /// From now on the log of `id` is followed; gives where it was left.
    pub(super) fn track(&mut self, id: &ContainerId) -> Option<Position> {
        if let Some(position) = self.closed.remove(id) {
            return Some(position);
        }
        if let Some(position) = self.delivered.get(id) {
            return *position;
        }
        let position = match (self.load(id), self.spooled.remove(id)) {
            (Some(saved), Some(spooled)) => Some(saved.later(spooled)),
            (saved, spooled) => saved.or(spooled),
        };
        self.delivered.insert(id.clone(), position);
        position
    }

    /// Rows of the container were dropped after they had been read. They are told with its next line, also after a restart.
    pub(super) fn untold(&mut self, id: &ContainerId, told: Told) {
        if let Some(Some(position)) = self.delivered.get_mut(id) {
            position.lost += told.lines + told.lost;
            position.limited += told.limited;
            self.unsaved.insert(id.clone());
        }
    }

    /// The log was read up to `position`, and is not followed for now.
    pub(super) fn close(&mut self, id: &ContainerId, position: Position) {
        self.closed.insert(id.clone(), position);
    }

    /// Everything before `position` was delivered. Ids that are not tracked any more are passed over.
    pub(super) fn advance(&mut self, id: &ContainerId, position: Position) {
        if let Some(slot) = self.delivered.get_mut(id)
            && *slot != Some(position)
        {
            *slot = Some(position);
            self.unsaved.insert(id.clone());
        }
    }

    /// The container is gone: so is its position.
    pub(super) fn forget(&mut self, id: &ContainerId) {
        self.delivered.remove(id);
        self.closed.remove(id);
        self.unsaved.remove(id);
        self.spooled.remove(id);
        if let Some(path) = self.file(id) {
            // It may never have been written.
            let _ = fs::remove_file(path);
        }
    }

    /// Removes what is kept of containers that are not among `alive`.
    pub(super) fn keep_only(&mut self, alive: &BTreeSet<ContainerId>) {
        self.spooled.retain(|id, _| alive.contains(id));
        let Some(Ok(entries)) = self.directory.as_ref().map(fs::read_dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(id) = id.map(ContainerId::from)
                && !alive.contains(&id)
            {
                self.forget(&id);
            }
        }
    }

    /// Writes down what has changed.
    ///
    /// # Errors
    /// When a file cannot be written; it is tried again with the next call.
    pub(super) fn save(&mut self) -> Result<(), PositionError> {
        while let Some(id) = self.unsaved.first().cloned() {
            if let (Some(path), Some(Some(position))) = (self.file(&id), self.delivered.get(&id)) {
                write_whole(&path, position)?;
            }
            self.unsaved.remove(&id);
        }
        Ok(())
    }

    fn load(&self, id: &ContainerId) -> Option<Position> {
        let text = fs::read(self.file(id)?).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn file(&self, id: &ContainerId) -> Option<PathBuf> {
        // Ids are hex; whatever else one may be must not lead out of the directory.
        let plain = id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric());
        let directory = self.directory.as_ref().filter(|_| plain)?;
        Some(directory.join(format!("{id}.json")))
    }
}

/// A reader sees the old file or the new one, never half of one.
fn write_whole(path: &Path, position: &Position) -> Result<(), PositionError> {
    let new = path.with_extension("new");
    let json = serde_json::to_vec(position).expect("numbers have a JSON form");
    fs::write(&new, json).map_err(PositionError::new("write", &new))?;
    fs::rename(&new, path).map_err(PositionError::new("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64) -> Position {
        Position {
            sequences: [7, 0],
            file: FileId {
                device: 1,
                inode: 2,
                born_ns: Some(3),
            },
            first: None,
            before: None,
            offset,
            lost: 0,
            limited: 0,
        }
    }

    #[test]
    fn positions_outlive_the_process_until_the_container_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("logs");
        let id = ContainerId::from("abc");
        let mut positions = Positions::open(Some(directory.clone())).unwrap();
        assert_eq!(positions.history(), History::Fresh);
        assert_eq!(positions.track(&id), None);
        positions.advance(&id, position(10));
        positions.advance(&ContainerId::from("stranger"), position(10));
        positions.save().unwrap();
        positions.advance(&id, position(20));

        let mut positions = Positions::open(Some(directory.clone())).unwrap();
        assert_eq!(positions.history(), History::Known);
        assert_eq!(
            positions.track(&id),
            Some(position(10)),
            "what was not saved is not known"
        );
        positions.forget(&id);
        positions.advance(&id, position(30));
        positions.save().unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn a_log_opened_again_goes_on_where_it_was_read_to_whatever_was_delivered() {
        let id = ContainerId::from("abc");
        let mut positions = Positions::open(None).unwrap();
        positions.track(&id);
        positions.advance(&id, position(10));
        positions.close(&id, position(30));
        assert_eq!(positions.track(&id), Some(position(30)));
        positions.close(&id, position(40));
        positions.forget(&id);
        assert_eq!(positions.track(&id), None);
    }

    #[test]
    fn what_waits_in_the_spool_counts_when_it_is_later_than_what_was_saved() {
        let directory = tempfile::tempdir().unwrap();
        let id = ContainerId::from("abc");
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        positions.track(&id);
        positions.advance(&id, position(10));
        positions.save().unwrap();
        let later = |lines| Position {
            sequences: [7, lines],
            ..position(20)
        };
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        positions.spooled(id.clone(), later(2));
        positions.spooled(id.clone(), later(1));
        assert_eq!(positions.track(&id), Some(later(2)));
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        positions.spooled(
            id.clone(),
            Position {
                sequences: [3, 0],
                ..position(5)
            },
        );
        assert_eq!(positions.track(&id), Some(position(10)));
        positions.untold(
            &id,
            Told {
                lines: 2,
                lost: 1,
                limited: 0,
            },
        );
        positions.save().unwrap();
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        assert_eq!(positions.track(&id).unwrap().lost, 3);
    }

    #[test]
    fn a_damaged_file_is_no_position_and_strangers_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("abc.json"), b"{\"file\":").unwrap();
        fs::write(directory.path().join("gone.json"), b"{}").unwrap();
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        assert_eq!(positions.track(&ContainerId::from("abc")), None);
        positions.keep_only(&BTreeSet::from([ContainerId::from("abc")]));
        assert!(directory.path().join("abc.json").exists());
        assert!(!directory.path().join("gone.json").exists());
    }

    #[test]
    fn an_id_never_leads_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mut positions = Positions::open(Some(directory.path().join("logs"))).unwrap();
        let id = ContainerId::from("../escape");
        positions.track(&id);
        positions.advance(&id, position(1));
        positions.save().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
