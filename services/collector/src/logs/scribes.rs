//! Who writes down which log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::Docker;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use units::ContainerId;

use super::scribe::{FILES, Scribe};
use super::{Command, Run, Seen};
use crate::inspect::{LogFile, Place};

/// What was written down of a container that is gone is kept for this long, to be read to its end.
const KEPT_AFTER: Duration = Duration::from_secs(60);

/// The scribes of a node.
#[derive(Debug)]
pub(super) struct Scribes {
    directory: PathBuf,
    /// Absent while the engine is away.
    docker: Option<Docker>,
    commands: mpsc::Sender<Command>,
    busy: BTreeMap<ContainerId, Busy>,
}

#[derive(Debug)]
struct Busy {
    task: JoinHandle<()>,
    /// The container was removed: with the last line its position goes too.
    removed: Arc<AtomicBool>,
}

impl Scribes {
    pub(super) fn new(directory: PathBuf, commands: mpsc::Sender<Command>) -> Scribes {
        Scribes {
            directory,
            docker: None,
            commands,
            busy: BTreeMap::new(),
        }
    }

    /// The engine answers; those who were at work go on by themselves.
    pub(super) fn engine(&mut self, docker: Docker) {
        self.docker = Some(docker);
    }

    /// Has the log of a container written down; gives the file, and whether more may come.
    pub(super) fn attend(&mut self, id: &ContainerId, run: Run, seen: Seen) -> (LogFile, Run) {
        let path = self.path(id);
        let log = LogFile {
            path: path.clone(),
            files_max: Some(FILES),
            place: Place::Own,
        };
        let is_busy = self
            .busy
            .get(id)
            .is_some_and(|busy| !busy.task.is_finished());
        if is_busy {
            return (log, Run::Live);
        }
        let wanted = match run {
            Run::Expected => false,
            Run::Live => true,
            // It may have said something that nobody wrote down.
            Run::Ended => !self.busy.contains_key(id),
        };
        let Some(docker) = self.docker.clone().filter(|_| wanted) else {
            return (log, run);
        };
        // What was said before this collector was there is not its business, as with files.
        let since_unix_s = match (seen, path.exists()) {
            (Seen::AtStart, false) => i32::try_from(kit::now().as_millis() / 1_000).unwrap_or(0),
            (Seen::AtStart, true) | (Seen::Later, _) => 0,
        };
        let scribe = Scribe::new(docker, id.clone(), path, since_unix_s);
        let removed = Arc::new(AtomicBool::new(false));
        let (commands, id, is_removed) = (self.commands.clone(), id.clone(), Arc::clone(&removed));
        let of = id.clone();
        let task = tokio::spawn(async move {
            scribe.run().await;
            let last = if is_removed.load(Ordering::Relaxed) {
                Command::Removed(of)
            } else {
                Command::Ended(of)
            };
            // The reader ends only with the process.
            let _ = commands.send(last).await;
        });
        self.busy.insert(id, Busy { task, removed });
        (log, Run::Live)
    }

    /// Whether a log is being written down; its end is told when all of it is.
    pub(super) fn writes(&self, id: &ContainerId) -> bool {
        self.busy
            .get(id)
            .is_some_and(|busy| !busy.task.is_finished())
    }

    /// A container is gone.
    pub(super) fn removed(&mut self, id: &ContainerId) {
        if let Some(busy) = self.busy.remove(id) {
            busy.removed.store(true, Ordering::Relaxed);
            let directory = self.path(id).parent().map(Path::to_owned);
            tokio::spawn(async move {
                tokio::time::sleep(KEPT_AFTER).await;
                if let Some(directory) = directory {
                    // What is left of it is swept by the next start.
                    let _ = tokio::fs::remove_dir_all(directory).await;
                }
            });
        }
    }

    /// Removes what was written down of containers that are not there any more.
    pub(super) fn keep_only(&self, there: &BTreeSet<ContainerId>) {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().map(ContainerId::from);
            if id.is_some_and(|id| !there.contains(&id)) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn path(&self, id: &ContainerId) -> PathBuf {
        self.directory
            .join(id.as_str())
            .join(format!("{id}-json.log"))
    }
}

impl Drop for Scribes {
    fn drop(&mut self) {
        for busy in self.busy.values() {
            busy.task.abort();
        }
    }
}
