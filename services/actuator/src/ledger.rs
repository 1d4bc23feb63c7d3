//! The actuator's memory of commands, on disk: what makes each run at most once, whatever is read twice and whenever the
//! process ends.
//!
//! A command is [`Stage::Begun`] on disk before the engine is asked, and [`Stage::Done`] with its outcome before that is
//! published. What is found begun at a start is looked into and never run again; what is done is answered from here.

mod failover;
mod names;
mod offline;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use offline::{Restarted, ended};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};
use serde::{Deserialize, Serialize};
use units::{Attachment, Command, CommandId, Generation, Limits, Outcome, Timestamp};

/// Commands stay in their topic for 7 days; an entry outlives the last chance to read its command again.
const KEPT_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Beyond this many entries the oldest go early. Theirs have expired, so a command read again is refused as that instead of
/// being answered with what became of it; it still does not run again.
const ENTRIES_MAX: usize = 100_000;
/// The ledger is small and read by key.
const CACHE_BYTES: usize = 1024 * 1024;
const FILE_NAME: &str = "actuator-ledger.redb";

const COMMANDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("commands");
const GENERATION: TableDefinition<'_, (), u64> = TableDefinition::new("generation");
/// Servers of load balancers that are this node's.
const SERVERS: TableDefinition<'_, &str, ()> = TableDefinition::new("servers");

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process has it.
    #[error(
        "the ledger {} is in use by another process; stop that one, or give each its own state_dir", path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error(
        "cannot open the ledger {}; check that the directory can be written, and move the file away if it is damaged", path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// Reading or writing it failed.
    #[error("cannot use the ledger {}; check the disk and its free space", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// An entry is not what this version writes.
    #[error("cannot read command {command} in the ledger {}; move the file away if it is damaged", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The engine may have been asked. Goes to `Done`, by the answer or by looking into it after a restart.
    Begun {
        /// What it changes, as it was.
        #[serde(flatten)]
        before: Before,
    },
    /// Answered for good.
    Done {
        /// With this.
        outcome: Outcome,
    },
}

/// What a command changes, as it was before: what its outcome tells, and what it is put back to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// The limits, for a command that changes them.
    pub(crate) previous: Option<Limits>,
    /// The networks, for a command that takes a container out of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) networks: Vec<Attachment>,
}

/// One command in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    pub(crate) began_at: Timestamp,
    #[serde(flatten)]
    pub(crate) stage: Stage,
}

/// Whether a command may run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Admission {
    /// Nothing is known of it.
    New,
    /// It has an entry, with this stage.
    Known(Box<Stage>),
    /// A leader of this newer generation has spoken.
    Stale(Generation),
}

/// The ledger. Cheap to clone; clones share the file.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: Option<PathBuf>,
    /// Closed after a failure, as the store wants, and opened again with the next use: a full disk must not be for ever.
    database: Mutex<Option<Database>>,
    /// Held to read by whoever uses it, on a thread that outlives whoever waits for it.
    uses: Arc<tokio::sync::RwLock<()>>,
}

impl Ledger {
    /// Opens the ledger in `state_dir`, made when missing; one in memory without.
    pub(crate) fn open(state_dir: Option<&Path>) -> Result<Self, LedgerError> {
        let path = state_dir.map(|dir| dir.join(FILE_NAME));
        let database = open(path.as_deref())?;
        Ok(Ledger(Arc::new(Shared {
            path,
            database: Mutex::new(Some(database)),
            uses: Arc::default(),
        })))
    }

    /// Looks a command up, and remembers its generation when it is the newest.
    pub(crate) async fn admit(&self, command: &Command) -> Result<Admission, LedgerError> {
        let command = command.clone();
        self.with(move |store| {
            if let Some(entry) = store.read(&command.id)? {
                return Ok(Admission::Known(Box::new(entry.stage)));
            }
            let newest = store.raise(command.generation)?;
            Ok(if command.generation < newest {
                Admission::Stale(newest)
            } else {
                Admission::New
            })
        })
        .await
    }

    /// Remembers a generation when it is the newest, and says which is.
    pub(crate) async fn raise(&self, generation: Generation) -> Result<Generation, LedgerError> {
        self.with(move |store| store.raise(generation)).await
    }

    /// Writes a command down as begun, unless it is known or out of date by now. When this returns `New`, it is on disk.
    pub(crate) async fn begin(&self, entry: Entry) -> Result<Admission, LedgerError> {
        self.with(move |store| store.begin(&entry)).await
    }

    /// Writes an answer down. When this returns, it is on disk.
    pub(crate) async fn finish(
        &self,
        command: Command,
        outcome: Outcome,
    ) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.put(&Entry {
                began_at: outcome.began_at,
                command: command.clone(),
                stage: Stage::Done {
                    outcome: outcome.clone(),
                },
            })
        })
        .await
    }

    /// The commands that were begun and not answered.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Entry>, LedgerError> {
        self.with(|store| {
            let entries = store.all()?.into_iter();
            Ok(entries
                .filter(|entry| matches!(entry.stage, Stage::Begun { .. }))
                .collect())
        })
        .await
    }

    /// Forgets what is too old to be read again, and the oldest beyond [`ENTRIES_MAX`]. Says how many it forgot.
    pub(crate) async fn prune(&self, now: Timestamp) -> Result<usize, LedgerError> {
        self.with(move |store| store.prune(now, ENTRIES_MAX)).await
    }

    /// The servers of load balancers that are this node's, by their names.
    pub(crate) async fn servers(&self) -> Result<Vec<String>, LedgerError> {
        self.with(|store| store.servers()).await
    }

    /// Writes servers down as this node's. When this returns, it is on disk.
    pub(crate) async fn own_servers(&self, names: Vec<String>) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(SERVERS)?;
                for name in &names {
                    table.insert(name.as_str(), ())?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Forgets servers that are gone.
    pub(crate) async fn disown_servers(&self, names: Vec<String>) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(SERVERS)?;
                for name in &names {
                    table.remove(name.as_str())?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Waits until nobody uses it, those among them that nobody waits for any more.
    pub(crate) async fn idle(&self) {
        drop(self.0.uses.write().await);
    }

    /// Runs on a thread that may block: each use ends in an fsync.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let shared = Arc::clone(&self.0);
        let using = Arc::clone(&shared.uses).read_owned().await;
        let used = tokio::task::spawn_blocking(move || {
            let done = shared.with(work);
            drop(shared);
            drop(using);
            done
        });
        let done = used.await;
        done.expect("the ledger's work does not panic, and is only cancelled with the runtime")
    }
}

impl Shared {
    fn with<T>(
        &self,
        work: impl FnOnce(&Store<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match slot.take() {
            Some(database) => database,
            None => open(self.path.as_deref())?,
        };
        let result = work(&Store {
            path: self.path.as_deref(),
            database: &database,
        });
        if !matches!(result, Err(LedgerError::Storage { .. })) || self.path.is_none() {
            *slot = Some(database);
        }
        result
    }
}

fn open(path: Option<&Path>) -> Result<Database, LedgerError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let shown = shown(path);
    let result = match path {
        None => builder.create_with_backend(redb::backends::InMemoryBackend::new()),
        Some(path) => {
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.map_err(DatabaseError::from)
                .and_then(|()| builder.create(path))
        }
    };
    let database = result.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => LedgerError::InUse {
            path: shown.clone(),
        },
        other => LedgerError::Open {
            path: shown.clone(),
            source: Box::new(other.into()),
        },
    })?;
    // Reading expects the tables to be there.
    let store = Store {
        path,
        database: &database,
    };
    store.write(|write| {
        write.open_table(COMMANDS)?;
        write.open_table(GENERATION)?;
        write.open_table(SERVERS)?;
        failover::make(write)?;
        names::make(write)?;
        offline::make(write)
    })?;
    Ok(database)
}

fn shown(path: Option<&Path>) -> PathBuf {
    path.map_or_else(|| PathBuf::from("in memory"), Path::to_path_buf)
}

/// The open ledger.
struct Store<'a> {
    path: Option<&'a Path>,
    database: &'a Database,
}

impl Store<'_> {
    fn read(&self, command: &CommandId) -> Result<Option<Entry>, LedgerError> {
        let found = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(COMMANDS)?;
            Ok(table.get(command.as_str())?.map(|it| it.value().to_vec()))
        };
        let found = found().map_err(|error| self.storage(error))?;
        found
            .map(|json| self.decode(command.as_str(), &json))
            .transpose()
    }

    fn newest(&self) -> Result<Generation, LedgerError> {
        let read = || -> Result<Generation, redb::Error> {
            let table = self.database.begin_read()?.open_table(GENERATION)?;
            Ok(Generation(table.get(())?.map_or(0, |it| it.value())))
        };
        read().map_err(|error| self.storage(error))
    }

    fn raise(&self, generation: Generation) -> Result<Generation, LedgerError> {
        let newest = self.newest()?;
        if generation <= newest {
            return Ok(newest);
        }
        self.write(|write| {
            write.open_table(GENERATION)?.insert((), generation.0)?;
            Ok(())
        })?;
        Ok(generation)
    }

    fn begin(&self, entry: &Entry) -> Result<Admission, LedgerError> {
        if let Some(known) = self.read(&entry.command.id)? {
            return Ok(Admission::Known(Box::new(known.stage)));
        }
        let newest = self.newest()?;
        if entry.command.generation < newest {
            return Ok(Admission::Stale(newest));
        }
        self.put(entry)?;
        Ok(Admission::New)
    }

    fn put(&self, entry: &Entry) -> Result<(), LedgerError> {
        let json = serde_json::to_vec(entry)
            .expect("an entry has text keys and no failing serialiser, so JSON takes it");
        self.write(|write| {
            let mut table = write.open_table(COMMANDS)?;
            table.insert(entry.command.id.as_str(), json.as_slice())?;
            Ok(())
        })
    }

    fn servers(&self) -> Result<Vec<String>, LedgerError> {
        let read = || -> Result<Vec<String>, redb::Error> {
            let table = self.database.begin_read()?.open_table(SERVERS)?;
            let mut names = Vec::new();
            for row in table.iter()? {
                names.push(row?.0.value().to_owned());
            }
            Ok(names)
        };
        read().map_err(|error| self.storage(error))
    }

    fn all(&self) -> Result<Vec<Entry>, LedgerError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(COMMANDS)?;
            let mut found = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
            for row in table.iter()? {
                let (command, json) = row?;
                found.push((command.value().to_owned(), json.value().to_vec()));
            }
            Ok(found)
        };
        let rows = read().map_err(|error| self.storage(error))?;
        rows.iter()
            .map(|(command, json)| self.decode(command, json))
            .collect()
    }

    /// Only answered commands go: one that was begun must be looked into first.
    fn prune(&self, now: Timestamp, entries_max: usize) -> Result<usize, LedgerError> {
        let mut done: Vec<(Timestamp, Entry)> = Vec::new();
        for entry in self.all()? {
            if let Stage::Done { outcome } = &entry.stage {
                done.push((outcome.at, entry));
            }
        }
        done.sort_by_key(|(at, _)| *at);
        let too_many = done.len().saturating_sub(entries_max);
        let old: Vec<&Entry> = done
            .iter()
            .enumerate()
            .filter(|(index, (at, entry))| {
                now.since(*at) > KEPT_FOR || (*index < too_many && now > entry.command.deadline)
            })
            .map(|(_, (_, entry))| entry)
            .collect();
        if old.is_empty() {
            return Ok(0);
        }
        self.write(|write| {
            let mut table = write.open_table(COMMANDS)?;
            for entry in &old {
                table.remove(entry.command.id.as_str())?;
            }
            Ok(())
        })?;
        Ok(old.len())
    }

    /// One transaction, on disk when this returns.
    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), LedgerError> {
        let attempt = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            change(&write)?;
            write.commit()?;
            Ok(())
        };
        attempt().map_err(|error| self.storage(error))
    }

    fn decode(&self, command: &str, json: &[u8]) -> Result<Entry, LedgerError> {
        serde_json::from_slice(json).map_err(|source| LedgerError::Entry {
            path: shown(self.path),
            command: command.to_owned(),
            source,
        })
    }

    fn storage(&self, error: redb::Error) -> LedgerError {
        LedgerError::Storage {
            path: shown(self.path),
            source: Box::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use units::{Action, ContainerId, NodeId, OutcomeResult, PlanId, ServiceId};

    use super::*;

    fn command(index: usize, generation: u64) -> Command {
        let plan = PlanId::from("web-restart-1");
        Command {
            id: CommandId::of(&plan, index),
            plan,
            generation: Generation(generation),
            service: ServiceId::from("web"),
            node: NodeId::from("a"),
            issued_at: Timestamp::from_millis(1),
            deadline: Timestamp::from_millis(10_000),
            action: Action::Restart {
                container: ContainerId::from("c1"),
                name: "web".into(),
                grace: Duration::from_secs(10),
            },
            approval: None,
            update: None,
            relocation: None,
            traceparent: None,
        }
    }

    fn entry(command: &Command) -> Entry {
        Entry {
            command: command.clone(),
            began_at: Timestamp::from_millis(5),
            stage: Stage::Begun {
                before: Before::default(),
            },
        }
    }

    fn outcome(command: &Command, at_ms: i64) -> Outcome {
        Outcome {
            command: command.id.clone(),
            plan: command.plan.clone(),
            node: command.node.clone(),
            began_at: Timestamp::from_millis(5),
            at: Timestamp::from_millis(at_ms),
            result: OutcomeResult::Vanished,
            traceparent: None,
            note: None,
        }
    }

    #[test]
    fn what_an_older_version_wrote_down_as_begun_is_read() {
        let stage: Stage = serde_json::from_str(r#"{"stage":"begun","previous":null}"#).unwrap();
        let before = Before::default();
        assert_eq!(stage, Stage::Begun { before });
        let written = serde_json::to_string(&stage).unwrap();
        assert_eq!(written, r#"{"stage":"begun","previous":null}"#);
    }

    #[tokio::test]
    async fn a_command_begins_once_and_is_answered_the_same_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let first = command(0, 3);
        {
            let ledger = Ledger::open(Some(dir.path())).unwrap();
            assert_eq!(ledger.admit(&first).await.unwrap(), Admission::New);
            assert_eq!(ledger.begin(entry(&first)).await.unwrap(), Admission::New);
            let again = ledger.begin(entry(&first)).await.unwrap();
            assert_eq!(
                again,
                Admission::Known(Box::new(Stage::Begun {
                    before: Before::default(),
                }))
            );
        }
        let ledger = Ledger::open(Some(dir.path())).unwrap();
        assert_eq!(ledger.unfinished().await.unwrap(), [entry(&first)]);
        let answer = outcome(&first, 9);
        ledger.finish(first.clone(), answer.clone()).await.unwrap();
        drop(ledger);

        let ledger = Ledger::open(Some(dir.path())).unwrap();
        assert!(ledger.unfinished().await.unwrap().is_empty());
        let known = Admission::Known(Box::new(Stage::Done { outcome: answer }));
        assert_eq!(ledger.admit(&first).await.unwrap(), known);
    }

    #[tokio::test]
    async fn the_newest_generation_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        {
            let ledger = Ledger::open(Some(dir.path())).unwrap();
            assert_eq!(ledger.raise(Generation(7)).await.unwrap(), Generation(7));
        }
        let ledger = Ledger::open(Some(dir.path())).unwrap();
        let stale = Admission::Stale(Generation(7));
        assert_eq!(ledger.admit(&command(0, 6)).await.unwrap(), stale);
        assert_eq!(ledger.begin(entry(&command(0, 6))).await.unwrap(), stale);
        assert_eq!(ledger.admit(&command(1, 7)).await.unwrap(), Admission::New);
    }

    #[tokio::test]
    async fn only_one_process_has_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let _held = Ledger::open(Some(dir.path())).unwrap();
        let error = Ledger::open(Some(dir.path())).unwrap_err();
        assert!(matches!(error, LedgerError::InUse { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&dir.path().display().to_string())
        );
    }

    #[tokio::test]
    async fn old_answers_go_and_begun_commands_stay() {
        let ledger = Ledger::open(None).unwrap();
        let (old, fresh, begun) = (command(0, 1), command(1, 1), command(2, 1));
        let day_ms = 24 * 60 * 60 * 1000;
        ledger
            .finish(old.clone(), outcome(&old, day_ms))
            .await
            .unwrap();
        ledger
            .finish(fresh.clone(), outcome(&fresh, 9 * day_ms))
            .await
            .unwrap();
        ledger.begin(entry(&begun)).await.unwrap();
        let now = Timestamp::from_millis(10 * day_ms);
        assert_eq!(ledger.prune(now).await.unwrap(), 1);
        assert_eq!(ledger.admit(&old).await.unwrap(), Admission::New);
        assert!(matches!(
            ledger.admit(&fresh).await.unwrap(),
            Admission::Known(_)
        ));
        assert_eq!(ledger.unfinished().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn beyond_the_bound_the_oldest_expired_go() {
        let ledger = Ledger::open(None).unwrap();
        for index in 0..5 {
            let command = command(index, 1);
            let at_ms = 20_000 + i64::try_from(index).unwrap();
            ledger
                .finish(command.clone(), outcome(&command, at_ms))
                .await
                .unwrap();
        }
        let now = Timestamp::from_millis(30_000);
        let pruned = ledger.with(move |store| store.prune(now, 3)).await.unwrap();
        assert_eq!(pruned, 2);
        assert_eq!(ledger.admit(&command(0, 1)).await.unwrap(), Admission::New);
        assert!(matches!(
            ledger.admit(&command(2, 1)).await.unwrap(),
            Admission::Known(_)
        ));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), vec![7_u8; 9000]).unwrap();
        let error = Ledger::open(Some(dir.path())).unwrap_err();
        let LedgerError::Open { path, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(path, &dir.path().join(FILE_NAME));
    }
}
