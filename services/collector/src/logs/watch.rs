//! A thread that opens rotated files the moment the engine makes them, however busy the reader is.
//!
//! It watches the directories of the logs for files that come and go, not for writes: those would wake it for each line.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::shelf::Shelf;

/// Directories watched: more containers than an engine is used with. The logs of others are looked at before each read.
const WATCHES_MAX: usize = 4096;
/// Events of one read of the kernel's queue.
const EVENTS_BYTES: usize = 16 * 1024;
/// The thread does little, and is of use only when it does it at once.
const NICE: i32 = -15;

/// Watches the directories of logs.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    /// The watch that is taken away to end the thread.
    bell: i32,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    inotify: OwnedFd,
    watches: Mutex<Watches>,
    /// Tells the reader that there is something new.
    woken: Arc<Notify>,
}

/// By the number of the watch.
type Watches = HashMap<i32, Weak<Shelf>>;

/// Whether a log's directory is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Yes,
    /// It is not there yet, or there is no room for more: the log is to be looked at before each read.
    No,
}

impl Watcher {
    /// Starts the thread. `woken` is told after each change.
    ///
    /// # Errors
    /// When the kernel gives no inotify instance, or no thread.
    pub(super) fn start(woken: Arc<Notify>) -> io::Result<Watcher> {
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
        let bell = inotify::add_watch(&inotify, "/", WatchFlags::DELETE_SELF)?;
        let shared = Arc::new(Shared {
            inotify,
            watches: Mutex::default(),
            woken,
        });
        let thread = std::thread::Builder::new()
            .name("log-watch".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(bell)
            })?;
        Ok(Watcher {
            shared,
            bell,
            thread: Some(thread),
        })
    }

    /// Watches the directory of a log for as long as its shelf lives. What is new before that is for the caller to look at.
    pub(super) fn watch(&self, shelf: &Arc<Shelf>) -> Watched {
        let Some(directory) = shelf.path().parent() else {
            return Watched::No;
        };
        let mut watches = self.shared.lock();
        self.shared.forget_dropped(&mut watches);
        if watches.len() >= WATCHES_MAX {
            return Watched::No;
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.shared.inotify, directory, flags) {
            Ok(number) => {
                watches.insert(number, Arc::downgrade(shelf));
                Watched::Yes
            }
            Err(_) => Watched::No,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The kernel says that a watch is gone, and that wakes the thread. It takes no time beyond a look at one directory.
        let rung = inotify::remove_watch(&self.shared.inotify, self.bell);
        if let (Ok(()), Some(thread)) = (rung, self.thread.take()) {
            // A panic has been told by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the bell is taken away, or the kernel gives no more events.
    fn run(&self, bell: i32) {
        // On Linux this is about the calling thread. Without CAP_SYS_NICE it runs as all others do, and may come too late where
        // the machine is busy and the files are small.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let (number, events) = match reader.next() {
                Ok(event) => (event.wd(), event.events()),
                Err(Errno::INTR) => continue,
                // Each log is then looked at before it is read, since nothing is watched any more.
                Err(_) => return self.lock().clear(),
            };
            if number == bell {
                if events.contains(ReadFlags::IGNORED) {
                    return;
                }
                continue;
            }
            for shelf in self.changed(number, events) {
                // An error is met again, and told, by the reader.
                let _ = shelf.look();
            }
            self.woken.notify_one();
        }
    }

    /// The logs that an event may be about: where the kernel's queue ran over, all.
    fn changed(&self, number: i32, events: ReadFlags) -> Vec<Arc<Shelf>> {
        let mut watches = self.lock();
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return watches.values().filter_map(Weak::upgrade).collect();
        }
        if events.contains(ReadFlags::IGNORED) {
            watches.remove(&number);
            return Vec::new();
        }
        let shelf = watches.get(&number).and_then(Weak::upgrade);
        shelf.into_iter().collect()
    }

    fn forget_dropped(&self, watches: &mut Watches) {
        watches.retain(|number, shelf| {
            let lives = shelf.strong_count() > 0;
            if !lives {
                // It may be gone with its directory.
                let _ = inotify::remove_watch(&self.inotify, *number);
            }
            lives
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::shelf::{Pinned, rotated};
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_file_that_is_made_and_removed_at_once_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x-json.log");
        let woken = Arc::new(Notify::new());
        let watcher = Watcher::start(Arc::clone(&woken)).unwrap();
        let shelf = Arc::new(Shelf::new(path.clone(), Pinned::default()));
        assert_eq!(watcher.watch(&shelf), Watched::Yes);
        fs::write(&path, "1\n").unwrap();
        while !shelf.has_next() {
            woken.notified().await;
        }
        shelf.take().unwrap();
        fs::rename(&path, rotated(&path, 1)).unwrap();
        fs::write(&path, "2\n").unwrap();
        while !shelf.has_next() {
            woken.notified().await;
        }
        fs::remove_file(&path).unwrap();
        let held = shelf.take().unwrap();
        assert_eq!(held.file.metadata().unwrap().len(), 2);
        drop(watcher);
    }

    #[tokio::test]
    async fn watches_go_with_their_shelves() {
        let directory = tempfile::tempdir().unwrap();
        let watcher = Watcher::start(Arc::default()).unwrap();
        for name in ["a", "b"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            let shelf = Arc::new(Shelf::new(path.join("x"), Pinned::default()));
            assert_eq!(watcher.watch(&shelf), Watched::Yes);
        }
        assert_eq!(watcher.shared.lock().len(), 1);
        let absent = Arc::new(Shelf::new(directory.path().join("c/x"), Pinned::default()));
        assert_eq!(watcher.watch(&absent), Watched::No);
    }
}
