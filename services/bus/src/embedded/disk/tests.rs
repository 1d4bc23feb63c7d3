//! A disk that fills up or fails, and recovers.

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::super::{Embedded, EmbeddedTail, Storage};
use super::*;
use crate::{From, Retention, Tailed, TopicSpec};

const TOPIC: TopicSpec = TopicSpec {
    name: "t",
    partitions: 1,
    retention: Retention::Delete {
        max_age: Duration::from_secs(3600),
        max_bytes: 1 << 30,
    },
};

/// What is wrong with the disk.
#[derive(Debug, Default)]
struct Fault {
    /// The file cannot grow beyond where it has been written to.
    full: AtomicBool,
    /// Nothing reaches the platter.
    sync_fails: AtomicBool,
    written_to: AtomicU64,
}

#[derive(Debug)]
struct FaultyFile {
    file: FileBackend,
    fault: Arc<Fault>,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fault.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if self.fault.full.load(Ordering::SeqCst)
            && end > self.fault.written_to.load(Ordering::SeqCst)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.fault.written_to.fetch_max(end, Ordering::SeqCst);
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

fn open(dir: &Path, fault: &Arc<Fault>) -> Arc<Embedded> {
    let config = LocalConfig {
        dir: dir.to_owned(),
        linger_ms: 1,
        ..LocalConfig::default()
    };
    let fault = Arc::clone(fault);
    let open_file = move |file: &Path| {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(file)?;
        let file = FileBackend::new(file)?;
        let backend = FaultyFile {
            file,
            fault: Arc::clone(&fault),
        };
        Builder::new()
            .set_cache_size(1024 * 1024)
            .create_with_backend(backend)
    };
    let opened = Disk::open_with(&config, Box::new(open_file)).unwrap();
    Arc::new(Embedded::new(
        opened.topics,
        opened.offsets,
        Storage::Disk(opened.disk),
    ))
}

async fn append(log: &Embedded, value: String) -> Result<Position, BusError> {
    let record = NewRecord {
        topic: Arc::from("t"),
        key: Bytes::new(),
        value: Bytes::from(value),
        headers: Vec::new(),
        partition: None,
    };
    log.produce(record).await
}

async fn read_all(log: &Arc<Embedded>) -> Vec<(u64, Bytes)> {
    let mut tail = EmbeddedTail::open(Arc::clone(log), "t", From::Beginning)
        .await
        .unwrap();
    let mut records = Vec::new();
    while let Tailed::Record(record) = tail.next().await.unwrap() {
        records.push((record.position.offset, record.value));
    }
    records
}

/// Appends until the fault shows, checks that it is told, lifts it and checks that all goes on.
async fn fails_and_recovers(set: impl Fn(&Fault, bool)) {
    let dir = tempfile::tempdir().unwrap();
    let fault = Arc::new(Fault::default());
    let log = open(dir.path(), &fault);
    log.ensure_topics(&[TOPIC]).await.unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let value = format!("before {number} {}", "x".repeat(1_000));
        acknowledged.push((
            append(&log, value.clone()).await.unwrap().offset,
            Bytes::from(value),
        ));
    }

    set(&fault, true);
    let error = loop {
        let value = format!("during {}", "y".repeat(100_000));
        match append(&log, value.clone()).await {
            Ok(position) => acknowledged.push((position.offset, Bytes::from(value))),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1_000, "the fault never showed");
    };
    assert!(matches!(error, BusError::Write { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&dir.path().display().to_string()),
        "{error}"
    );
    assert!(matches!(log.status(), Err(BusError::Write { .. })));

    set(&fault, false);
    let value = "after".to_owned();
    let position = append(&log, value.clone()).await.unwrap();
    acknowledged.push((position.offset, Bytes::from(value)));
    log.status().unwrap();
    let stored = read_all(&log).await;
    assert!(
        acknowledged.iter().all(|one| stored.contains(one)),
        "an acknowledged record is missing"
    );
    log.close().await;
    drop(log);

    let log = open(dir.path(), &fault);
    assert_eq!(read_all(&log).await, stored);
    assert!(append(&log, "again".to_owned()).await.unwrap().offset > position.offset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_writing_goes_on_once_there_is_space() {
    fails_and_recovers(|fault, on| fault.full.store(on, Ordering::SeqCst)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sync_is_told_and_writing_goes_on_once_it_works() {
    fails_and_recovers(|fault, on| fault.sync_fails.store(on, Ordering::SeqCst)).await;
}

/// Nothing is written while nothing happens, and the store opens again on its own after a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_after_a_failed_write() {
    let dir = tempfile::tempdir().unwrap();
    let fault = Arc::new(Fault::default());
    let log = open(dir.path(), &fault);
    log.ensure_topics(&[TOPIC]).await.unwrap();
    for number in 0..20 {
        append(&log, format!("{number} {}", "x".repeat(50_000)))
            .await
            .unwrap();
    }
    fault.sync_fails.store(true, Ordering::SeqCst);
    append(&log, "lost".to_owned()).await.unwrap_err();
    fault.sync_fails.store(false, Ordering::SeqCst);
    // The first records are on disk only, and nobody writes.
    let stored = read_all(&log).await;
    assert!(stored.len() >= 20, "{} records", stored.len());
}
