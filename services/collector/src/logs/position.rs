//! How far each container's log was delivered, and what was told of it, kept across restarts: one small file a container,
//! replaced whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use units::ContainerId;

use super::batch::{Covers, Span, Spans, Told};

/// Containers that are gone and may have lines on their way. Of more, what a full disk drops may go untold.
const GONE_MAX: usize = 4096;

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
    /// What the lines before told.
    #[serde(default)]
    pub(super) told: Told,
}

/// What is in a container's file.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    position: Option<Position>,
    heard: Option<Told>,
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
    /// What the lines that arrived told, as far as that is known. A record that begins further on has a gap before it.
    heard: BTreeMap<ContainerId, Told>,
    /// The partition that a container's lines went to last.
    homes: BTreeMap<ContainerId, u32>,
    /// Containers that are gone, until nothing of them is on its way.
    gone: BTreeSet<ContainerId>,
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
            heard: BTreeMap::new(),
            homes: BTreeMap::new(),
            gone: BTreeSet::new(),
            history,
        })
    }

    /// An entry of this partition is in the spool, as found at the start.
    pub(super) fn spooled(&mut self, partition: u32, covers: Covers) {
        for (id, position) in covers.positions {
            let later = self
                .spooled
                .get(&id)
                .map_or(position, |it| it.later(position));
            self.spooled.insert(id, later);
        }
        let ids = covers.told.into_keys();
        self.homes.extend(ids.map(|id| (id, partition)));
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
        let kept = self.load(id);
        let was_gone = self.gone.remove(id);
        let saved = kept.and_then(|it| it.position).filter(|_| !was_gone);
        let position = furthest(saved, self.spooled.remove(id));
        // Of a log that nothing was read of yet, nothing was told.
        let heard = match (kept, position) {
            (Some(kept), _) => kept.heard,
            (None, None) => Some(Told::default()),
            (None, Some(_)) => None,
        };
        if let Some(heard) = heard {
            self.heard.entry(id.clone()).or_insert(heard);
        }
        if kept.is_none() || saved != position {
            self.unsaved.insert(id.clone());
        }
        self.delivered.insert(id.clone(), position);
        position
    }

    /// What is missing between what arrived and rows that are sent now; nothing where it is not known what arrived.
    pub(super) fn missing(&mut self, id: &ContainerId, span: Span) -> Told {
        self.known(id)
            .map_or_else(Told::default, |heard| span.from.since(heard))
    }

    /// Rows arrived.
    pub(super) fn heard(&mut self, told: &Spans) {
        for (id, span) in told {
            self.hear(id, span.to);
        }
    }

    /// Rows of the container, before which `told` was told, go to this partition. After another one it is open which of the two
    /// is sent first, so what is dropped of the earlier is not told: it would be said of lines that only come later.
    pub(super) fn goes_to(&mut self, id: &ContainerId, partition: u32, told: Told) {
        match self.homes.get(id) {
            Some(home) if *home == partition => return,
            Some(_) => self.hear(id, told),
            None => {}
        }
        self.homes.insert(id.clone(), partition);
    }

    fn hear(&mut self, id: &ContainerId, told: Told) {
        let known = self.known(id);
        let is_known = self.delivered.contains_key(id)
            || self.homes.contains_key(id)
            || self.gone.contains(id);
        // Else it is gone, and its file would stay.
        if is_known {
            let heard = known.map_or(told, |it| it.or(told));
            self.heard.insert(id.clone(), heard);
            self.unsaved.insert(id.clone());
        }
    }

    fn known(&mut self, id: &ContainerId) -> Option<Told> {
        if let Some(heard) = self.heard.get(id) {
            return Some(*heard);
        }
        // Entries of the spool are sent also before the log is followed.
        let heard = self.load(id)?.heard?;
        self.heard.insert(id.clone(), heard);
        Some(heard)
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

    /// The container is gone: so is its position, and all else with the next [`Positions::sweep`].
    pub(super) fn forget(&mut self, id: &ContainerId) {
        self.delivered.remove(id);
        self.closed.remove(id);
        self.spooled.remove(id);
        if self.gone.len() < GONE_MAX {
            if self.load(id).is_some() {
                self.known(id);
                self.unsaved.insert(id.clone());
            }
            self.gone.insert(id.clone());
        } else {
            self.remove(id);
        }
    }

    /// Removes what is kept of containers that are gone, save those that have something on its way.
    pub(super) fn sweep(&mut self, is_on_its_way: impl Fn(&ContainerId) -> bool) {
        for id in self.gone.clone() {
            if !is_on_its_way(&id) {
                self.gone.remove(&id);
                self.remove(&id);
            }
        }
    }

    fn remove(&mut self, id: &ContainerId) {
        self.unsaved.remove(id);
        self.heard.remove(id);
        self.homes.remove(id);
        if let Some(path) = self.file(id) {
            // It may never have been written.
            let _ = fs::remove_file(path);
        }
    }

    /// Removes what is kept of containers that are not among `alive`.
    pub(super) fn keep_only(&mut self, alive: &BTreeSet<ContainerId>) {
        let spooled = self.spooled.keys().chain(self.homes.keys());
        let gone: BTreeSet<ContainerId> =
            spooled.filter(|id| !alive.contains(*id)).cloned().collect();
        gone.iter().for_each(|id| self.forget(id));
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
            if let Some(path) = self.file(&id) {
                let kept = Kept {
                    position: self.position(&id),
                    heard: self.heard.get(&id).copied(),
                };
                write_whole(&path, &kept)?;
            }
            self.unsaved.remove(&id);
        }
        Ok(())
    }

    /// Where the log is to be gone on with.
    fn position(&self, id: &ContainerId) -> Option<Position> {
        match self.delivered.get(id) {
            Some(position) => *position,
            None if self.gone.contains(id) => None,
            None => furthest(
                self.load(id).and_then(|it| it.position),
                self.spooled.get(id).copied(),
            ),
        }
    }

    fn load(&self, id: &ContainerId) -> Option<Kept> {
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

fn furthest(saved: Option<Position>, spooled: Option<Position>) -> Option<Position> {
    match (saved, spooled) {
        (Some(saved), Some(spooled)) => Some(saved.later(spooled)),
        (saved, spooled) => saved.or(spooled),
    }
}

/// A reader sees the old file or the new one, never half of one.
fn write_whole(path: &Path, kept: &Kept) -> Result<(), PositionError> {
    let new = path.with_extension("new");
    let json = serde_json::to_vec(kept).expect("numbers have a JSON form");
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
            told: Told::default(),
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
        positions.sweep(|_| true);
        assert_eq!(positions.load(&id).unwrap().position, None);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        positions.sweep(|_| false);
        positions.heard(&told(&id, 0, 1));
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
        positions.spooled(0, covers(&id, later(2)));
        positions.spooled(0, covers(&id, later(1)));
        assert_eq!(positions.track(&id), Some(later(2)));
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        let earlier = Position {
            sequences: [3, 0],
            ..position(5)
        };
        positions.spooled(0, covers(&id, earlier));
        assert_eq!(positions.track(&id), Some(position(10)));
    }

    fn covers(id: &ContainerId, position: Position) -> Covers {
        Covers {
            positions: BTreeMap::from([(id.clone(), position)]),
            ..Covers::default()
        }
    }

    fn told(id: &ContainerId, from: u64, to: u64) -> Spans {
        let told = |lines| Told {
            lines: [lines, 0],
            ..Told::default()
        };
        let span = Span {
            from: told(from),
            to: told(to),
        };
        BTreeMap::from([(id.clone(), span)])
    }

    /// Lines missing before the rows of this span.
    fn missing(positions: &mut Positions, id: &ContainerId, from: u64) -> u64 {
        let span = told(id, from, from + 1)[id];
        positions.missing(id, span).lines()
    }

    #[test]
    fn what_is_missing_is_what_was_told_and_not_heard_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Positions::open(Some(directory.path().to_owned())).unwrap();
        let id = ContainerId::from("abc");
        let mut positions = open();
        assert_eq!(missing(&mut positions, &id, 5), 0, "nothing is known of it");
        positions.track(&id);
        assert_eq!(missing(&mut positions, &id, 5), 5);
        positions.heard(&told(&id, 5, 8));
        positions.heard(&told(&id, 2, 4));
        assert_eq!(missing(&mut positions, &id, 8), 0);
        assert_eq!(missing(&mut positions, &id, 7), 0, "it comes again");
        assert_eq!(missing(&mut positions, &id, 10), 2);
        positions.save().unwrap();

        // Entries of the spool are sent before the log is followed, and also once the container is gone.
        let mut positions = open();
        let entry = Covers {
            told: told(&id, 10, 11),
            ..covers(&id, position(10))
        };
        positions.spooled(0, entry);
        assert_eq!(missing(&mut positions, &id, 10), 2);
        positions.heard(&told(&id, 10, 11));
        positions.save().unwrap();
        let mut positions = open();
        positions.keep_only(&BTreeSet::new());
        assert_eq!(missing(&mut positions, &id, 12), 1);
        positions.heard(&told(&id, 12, 13));
        positions.save().unwrap();
        let mut positions = open();
        assert_eq!(missing(&mut positions, &id, 13), 0);
        positions.keep_only(&BTreeSet::new());
        positions.sweep(|_| false);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn entries_of_the_spool_are_heard_of_without_a_position_and_a_log_that_was_forgotten_is_a_new_one()
     {
        let directory = tempfile::tempdir().unwrap();
        let id = ContainerId::from("abc");
        let mut positions = Positions::open(Some(directory.path().to_owned())).unwrap();
        let covers = Covers {
            told: told(&id, 0, 3),
            ..Covers::default()
        };
        positions.spooled(0, covers);
        positions.heard(&told(&id, 0, 3));
        assert_eq!(missing(&mut positions, &id, 3), 0);
        assert_eq!(missing(&mut positions, &id, 5), 2);
        positions.track(&id);
        positions.advance(&id, position(10));
        positions.save().unwrap();
        positions.forget(&id);
        assert_eq!(positions.track(&id), None);
    }

    #[test]
    fn of_rows_that_wait_for_another_partition_none_is_said_to_be_missing() {
        let id = ContainerId::from("abc");
        let mut positions = Positions::open(None).unwrap();
        positions.track(&id);
        positions.goes_to(&id, 0, Told::default());
        assert_eq!(missing(&mut positions, &id, 4), 4);
        let from = told(&id, 4, 5)[&id].from;
        positions.goes_to(&id, 1, from);
        assert_eq!(missing(&mut positions, &id, 4), 0);
        assert_eq!(missing(&mut positions, &id, 2), 0);
        positions.goes_to(&id, 1, from);
        assert_eq!(missing(&mut positions, &id, 6), 2);
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
        positions.sweep(|_| false);
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
