//! The store of the local back end: redb files written by one thread and read by everyone.

mod batch;
mod codec;
mod tables;
mod writer;

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Builder, Database, DatabaseError, StorageError};
use tokio::sync::{Semaphore, oneshot};

use self::batch::States;
use self::tables::Contents;
pub(super) use self::tables::StoredTopic;
use self::writer::{Op, WriteError, Writer};
use super::segment::{Chunk, Keep, Segment};
use super::{Topic, Topics, lock};
use crate::{BusError, Cause, LocalConfig, NewRecord, Position, TopicPartition};

/// The name of the store's file in its directory.
const FILE_NAME: &str = "log.redb";
/// What may wait for the writer. Producers wait for room beyond it.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// What even the smallest operation counts as, so that the queue is bounded in number too.
const OP_BYTES: usize = 256;
/// What of each partition's newest records stays in memory, so that readers at the end need no disk.
const NEWEST_BYTES: u64 = 128 * 1024;
/// How long closing waits for the writer.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// How long reads wait while a store that failed is being opened again.
const REOPEN_LIMIT: Duration = Duration::from_secs(30);
/// How long letting go of the file waits for reads under way.
const READERS_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at something that another thread does.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Opens the store's file. Tests put a failing disk behind it.
type OpenFile = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// The file, and how it fares.
pub(in crate::embedded) struct Store {
    dir: PathBuf,
    file: PathBuf,
    open_file: OpenFile,
    database: RwLock<Handle>,
    /// Why the last write failed, if it did.
    failure: Mutex<Option<WriteError>>,
}

/// The open file.
enum Handle {
    Open(Arc<Database>),
    /// A write failed; redb wants the file opened anew before it goes on.
    Failed,
    Closed,
}

/// The store as the log sees it.
pub(in crate::embedded) struct Disk {
    store: Arc<Store>,
    /// Unbounded in itself: every operation in it holds room of `queue`.
    ops: Mutex<Option<mpsc::Sender<Op>>>,
    queue: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What was found on opening.
pub(in crate::embedded) struct Opened {
    pub(in crate::embedded) disk: Disk,
    pub(in crate::embedded) topics: Arc<Topics>,
    pub(in crate::embedded) offsets: HashMap<(String, TopicPartition), u64>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("dir", &self.store.dir)
            .finish_non_exhaustive()
    }
}

/// What a partition keeps in memory when the disk has everything.
pub(in crate::embedded) const fn keep_newest() -> Keep {
    Keep::Newest {
        max_bytes: NEWEST_BYTES,
    }
}

impl Disk {
    pub(in crate::embedded) fn open(config: &LocalConfig) -> Result<Opened, BusError> {
        let cache_bytes = usize::try_from(config.cache_bytes).unwrap_or(usize::MAX);
        let open_file = move |file: &Path| Builder::new().set_cache_size(cache_bytes).create(file);
        Self::open_with(config, Box::new(open_file))
    }

    fn open_with(config: &LocalConfig, open_file: OpenFile) -> Result<Opened, BusError> {
        let dir = config.dir.clone();
        fs::create_dir_all(&dir).map_err(|error| BusError::Open {
            dir: dir.clone(),
            source: error.into(),
        })?;
        let file = dir.join(FILE_NAME);
        let (database, contents) = open_contents(&dir, &file, &open_file)?;
        let topics = Arc::new(Topics::default());
        for stored in &contents.topics {
            let segment = |partition| {
                let state = contents
                    .partitions
                    .get(&(stored.id, partition))
                    .copied()
                    .unwrap_or_default();
                Segment::new(state.end, state.last_ms, keep_newest())
            };
            topics.insert(Topic::new(stored, segment));
        }
        let store = Arc::new(Store {
            dir: dir.clone(),
            file,
            open_file,
            database: RwLock::new(Handle::Open(Arc::new(database))),
            failure: Mutex::new(None),
        });
        let (ops, receiver) = mpsc::channel();
        let writer = Writer {
            ops: receiver,
            store: Arc::clone(&store),
            topics: Arc::clone(&topics),
            states: contents.partitions,
            linger: Duration::from_millis(config.linger_ms),
        };
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| BusError::Open {
                dir,
                source: error.into(),
            })?;
        let disk = Self {
            store,
            ops: Mutex::new(Some(ops)),
            queue: Arc::new(Semaphore::new(QUEUE_BYTES)),
            thread: Mutex::new(Some(thread)),
        };
        Ok(Opened {
            disk,
            topics,
            offsets: contents.offsets,
        })
    }

    pub(in crate::embedded) async fn append(
        &self,
        topic: Arc<Topic>,
        partition: u32,
        record: NewRecord,
    ) -> Result<Position, BusError> {
        let room = self.room(record.size_bytes()).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Op::Append {
            topic,
            partition,
            record,
            room,
            reply,
        })?;
        answer.await.map_err(|_| BusError::Closed)?
    }

    pub(in crate::embedded) async fn commit(
        &self,
        group: &str,
        offsets: Vec<(u32, u32, u64)>,
    ) -> Result<(), BusError> {
        let room = self.room(OP_BYTES).await?;
        let (reply, answer) = oneshot::channel();
        let group = group.to_owned();
        self.send(Op::Commit {
            group,
            offsets,
            room,
            reply,
        })?;
        answer.await.map_err(|_| BusError::Closed)?
    }

    pub(in crate::embedded) async fn put_topics(
        &self,
        topics: Vec<StoredTopic>,
    ) -> Result<(), BusError> {
        let (reply, answer) = oneshot::channel();
        self.send(Op::PutTopics { topics, reply })?;
        answer.await.map_err(|_| BusError::Closed)?
    }

    /// Reads from disk, off the async threads.
    pub(in crate::embedded) fn read(
        &self,
        topic: &Topic,
        partition: u32,
        from: u64,
    ) -> tokio::task::JoinHandle<Result<Chunk, BusError>> {
        let store = Arc::clone(&self.store);
        let (id, name) = (topic.id, Arc::clone(&topic.name));
        tokio::task::spawn_blocking(move || {
            store.read(&name, |database| {
                match tables::read_chunk(database, (id, &name), partition, from) {
                    Ok(Ok(chunk)) => Ok(chunk),
                    Ok(Err(bad_row)) => Err(bad_row.into()),
                    Err(error) => Err(error.into()),
                }
            })
        })
    }

    pub(in crate::embedded) async fn offset_at(
        &self,
        topic: &Topic,
        partition: u32,
        time_ms: i64,
    ) -> Result<u64, BusError> {
        let store = Arc::clone(&self.store);
        let (id, name) = (topic.id, Arc::clone(&topic.name));
        let search = move || {
            store.read(&name, |database| {
                Ok(tables::offset_at(database, id, partition, time_ms)?)
            })
        };
        // The task is never aborted, so it ends early only by the runtime's end.
        tokio::task::spawn_blocking(search)
            .await
            .map_err(|_| BusError::Closed)?
    }

    pub(in crate::embedded) fn status(&self) -> Result<(), BusError> {
        match &*lock(&self.store.failure) {
            Some(error) => Err(self.store.write_error(error)),
            None => Ok(()),
        }
    }

    /// Writes what is queued and lets go of the file, or gives up waiting for it.
    pub(in crate::embedded) async fn close(&self) {
        let Some(ops) = lock(&self.ops).take() else {
            return;
        };
        let (reply, answer) = oneshot::channel();
        if ops.send(Op::Close { reply }).is_err() {
            return;
        }
        if tokio::time::timeout(CLOSE_LIMIT, answer).await.is_err() {
            tracing::warn!(dir = %self.store.dir.display(), "the local log did not close in time");
        }
    }

    async fn room(&self, bytes: usize) -> Result<tokio::sync::OwnedSemaphorePermit, BusError> {
        // Records are limited to a megabyte, so the number fits and room for one always comes.
        let permits = bytes.max(OP_BYTES) as u32;
        let queue = Arc::clone(&self.queue);
        queue
            .acquire_many_owned(permits)
            .await
            .map_err(|_| BusError::Closed)
    }

    fn send(&self, op: Op) -> Result<(), BusError> {
        let ops = lock(&self.ops);
        let ops = ops.as_ref().ok_or(BusError::Closed)?;
        ops.send(op).map_err(|_| BusError::Closed)
    }
}

impl Drop for Disk {
    /// Waits for the writer to finish what is queued, so that the directory is free once the last handle is gone.
    fn drop(&mut self) {
        drop(lock(&self.ops).take());
        let writer = lock(&self.thread).take();
        if writer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(dir = %self.store.dir.display(), "the writer of the local log panicked");
        }
    }
}

impl Store {
    fn is_open(&self) -> bool {
        matches!(
            &*self.database.read().unwrap_or_else(PoisonError::into_inner),
            Handle::Open(_)
        )
    }

    /// The open file. If a write had failed it is opened again, and the state of its partitions told anew.
    fn open_again(&self) -> Result<(Arc<Database>, Option<States>), WriteError> {
        if let Handle::Open(database) =
            &*self.database.read().unwrap_or_else(PoisonError::into_inner)
        {
            return Ok((Arc::clone(database), None));
        }
        let (database, contents) =
            open_contents(&self.dir, &self.file, &self.open_file).map_err(into_cause)?;
        let database = Arc::new(database);
        self.set_handle(Handle::Open(Arc::clone(&database)));
        tracing::info!(dir = %self.dir.display(), "the local log is open again");
        Ok((database, Some(contents.partitions)))
    }

    /// Lets go of the file after a failed write.
    fn shut(&self) {
        self.release(Handle::Failed);
    }

    fn close(&self) {
        self.release(Handle::Closed);
    }

    fn set_failure(&self, failure: Option<WriteError>) {
        *lock(&self.failure) = failure;
    }

    fn write_error(&self, error: &WriteError) -> BusError {
        BusError::Write {
            dir: self.dir.clone(),
            source: Arc::clone(error),
        }
    }

    fn set_handle(&self, handle: Handle) -> Handle {
        let mut current = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, handle)
    }

    /// The file's lock is free only when the last user has dropped the database. Reads take milliseconds.
    fn release(&self, handle: Handle) {
        let Handle::Open(mut database) = self.set_handle(handle) else {
            return;
        };
        let limit = Instant::now() + READERS_LIMIT;
        loop {
            match Arc::try_unwrap(database) {
                Ok(last) => return drop(last),
                Err(shared) if Instant::now() < limit => database = shared,
                Err(_) => return,
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Reads, waiting a while for a store that failed to be open again.
    fn read<T>(
        &self,
        topic: &Arc<str>,
        read: impl Fn(&Database) -> Result<T, Cause>,
    ) -> Result<T, BusError> {
        let limit = Instant::now() + REOPEN_LIMIT;
        loop {
            let current = match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
                Handle::Open(database) => Some(Arc::clone(database)),
                Handle::Failed => None,
                Handle::Closed => return Err(BusError::Closed),
            };
            let result = match current {
                Some(database) => catch_unwind(AssertUnwindSafe(|| read(&database)))
                    .unwrap_or_else(|_| Err("the store panicked; its file may be damaged".into())),
                None => Err("the store is not open after a failed write".into()),
            };
            match result {
                Ok(value) => return Ok(value),
                // A failed write makes reads fail too, until the writer has opened the file again.
                Err(source)
                    if Instant::now() >= limit
                        || self.is_open() && lock(&self.failure).is_none() =>
                {
                    return Err(BusError::Read {
                        dir: self.dir.clone(),
                        topic: Arc::clone(topic),
                        source,
                    });
                }
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

fn into_cause(error: BusError) -> WriteError {
    Arc::new(error)
}

/// Opens the file and reads what is kept in memory of it.
fn open_contents(
    dir: &Path,
    file: &Path,
    open_file: &OpenFile,
) -> Result<(Database, Contents), BusError> {
    let corrupt = |source: Cause| BusError::Corrupt {
        file: file.to_owned(),
        source,
    };
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = open_file(file).map_err(|error| open_error(dir, file, error))?;
        if !tables::exist(&database).map_err(|error| corrupt(error.into()))? {
            tables::create(&database).map_err(|error| BusError::Open {
                dir: dir.to_owned(),
                source: error.into(),
            })?;
        }
        let contents = tables::load(&database).map_err(|error| corrupt(error.into()))?;
        let contents = contents.map_err(|bad_row| corrupt(bad_row.into()))?;
        Ok((database, contents))
    }));
    opened.unwrap_or_else(|_| Err(corrupt("the store panicked while reading it".into())))
}

fn open_error(dir: &Path, file: &Path, error: DatabaseError) -> BusError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            BusError::Locked {
                dir: dir.to_owned(),
            }
        }
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() != std::io::ErrorKind::InvalidData =>
        {
            BusError::Open {
                dir: dir.to_owned(),
                source: error.into(),
            }
        }
        damaged => BusError::Corrupt {
            file: file.to_owned(),
            source: damaged.into(),
        },
    }
}

#[cfg(test)]
mod tests;
