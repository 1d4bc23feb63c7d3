//! What the ledger holds for failover: what was stopped when the lease was over, and what was told in case this node is lost.

use std::collections::BTreeMap;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use units::{ContainerId, Steady, Timestamp};

use super::{Ledger, LedgerError, Store};

/// Containers that were stopped and were not started since: when that began, in milliseconds since the Unix epoch.
const FENCED: TableDefinition<'_, &str, i64> = TableDefinition::new("fenced");
/// Containers whose making was told, with the mark of what was told; an empty one where that is not known to be in the log.
const EXPORTED: TableDefinition<'_, &str, &str> = TableDefinition::new("exported");

/// The first process of this boot that began and was not acknowledged by the log yet: milliseconds of the steady clock, by the boot.
const UNHEARD: TableDefinition<'_, &str, u64> = TableDefinition::new("unheard");

/// Reading expects the tables to be there.
pub(super) fn make(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(FENCED)?;
    write.open_table(EXPORTED)?;
    write.open_table(UNHEARD)?;
    Ok(())
}

impl Ledger {
    /// What was stopped when the lease was over, and when.
    pub(crate) async fn fenced(&self) -> Result<BTreeMap<ContainerId, Timestamp>, LedgerError> {
        self.with(|store| store.fenced()).await
    }

    /// Writes down the whole of what is stopped. When this returns, it is on disk.
    pub(crate) async fn put_fenced(
        &self,
        fenced: BTreeMap<ContainerId, Timestamp>,
    ) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(FENCED)?;
                table.retain(|container, _| fenced.contains_key(&ContainerId::from(container)))?;
                for (container, at) in &fenced {
                    table.insert(container.as_str(), at.as_millis())?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Since when processes of this boot have begun without one being acknowledged: now, for the first. When this returns, it is on disk.
    pub(crate) async fn unheard_since(
        &self,
        boot: String,
        now: Steady,
    ) -> Result<Steady, LedgerError> {
        self.with(move |store| {
            let read = || -> Result<Option<u64>, redb::Error> {
                let table = store.database.begin_read()?.open_table(UNHEARD)?;
                Ok(table.get(boot.as_str())?.map(|it| it.value()))
            };
            if let Some(since) = read().map_err(|error| store.storage(error))? {
                return Ok(Steady::from_millis(since));
            }
            store.write(|write| {
                let mut table = write.open_table(UNHEARD)?;
                table.retain(|_, _| false)?;
                table.insert(boot.as_str(), now.as_millis())?;
                Ok(())
            })?;
            Ok(now)
        })
        .await
    }

    /// This process was acknowledged.
    pub(crate) async fn heard(&self) -> Result<(), LedgerError> {
        self.with(|store| {
            store.write(|write| {
                write.open_table(UNHEARD)?.retain(|_, _| false)?;
                Ok(())
            })
        })
        .await
    }

    /// What was told in case this node is lost: the mark of each container's.
    pub(crate) async fn exported(&self) -> Result<BTreeMap<ContainerId, String>, LedgerError> {
        self.with(|store| store.exported()).await
    }

    /// Writes down what is told of a container. When this returns, it is on disk.
    pub(crate) async fn put_exported(
        &self,
        container: ContainerId,
        mark: String,
    ) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(EXPORTED)?;
                table.insert(container.as_str(), mark.as_str())?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets what was taken back.
    pub(crate) async fn drop_exported(&self, container: ContainerId) -> Result<(), LedgerError> {
        self.with(move |store| {
            store.write(|write| {
                write.open_table(EXPORTED)?.remove(container.as_str())?;
                Ok(())
            })
        })
        .await
    }
}

impl Store<'_> {
    fn fenced(&self) -> Result<BTreeMap<ContainerId, Timestamp>, LedgerError> {
        let read = || -> Result<BTreeMap<ContainerId, Timestamp>, redb::Error> {
            let table = self.database.begin_read()?.open_table(FENCED)?;
            let mut fenced = BTreeMap::new();
            for row in table.iter()? {
                let (container, at) = row?;
                let at = Timestamp::from_millis(at.value());
                fenced.insert(ContainerId::from(container.value()), at);
            }
            Ok(fenced)
        };
        read().map_err(|error| self.storage(error))
    }

    fn exported(&self) -> Result<BTreeMap<ContainerId, String>, LedgerError> {
        let read = || -> Result<BTreeMap<ContainerId, String>, redb::Error> {
            let table = self.database.begin_read()?.open_table(EXPORTED)?;
            let mut exported = BTreeMap::new();
            for row in table.iter()? {
                let (container, mark) = row?;
                let container = ContainerId::from(container.value());
                exported.insert(container, mark.value().to_owned());
            }
            Ok(exported)
        };
        read().map_err(|error| self.storage(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn processes_that_are_not_heard_have_one_beginning_together() {
        let ledger = Ledger::open(None).unwrap();
        let since = async |boot: &str, now: u64| {
            let now = Steady::from_millis(now);
            ledger.unheard_since(boot.to_owned(), now).await.unwrap()
        };
        assert_eq!(since("b1", 1).await, Steady::from_millis(1));
        assert_eq!(since("b1", 2).await, Steady::from_millis(1));
        assert_eq!(since("b2", 3).await, Steady::from_millis(3));
        ledger.heard().await.unwrap();
        assert_eq!(since("b2", 4).await, Steady::from_millis(4));
    }

    #[tokio::test]
    async fn what_was_stopped_and_told_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (ContainerId::from("a"), ContainerId::from("b"));
        let at = Timestamp::from_millis;
        let ledger = Ledger::open(Some(dir.path())).unwrap();
        let both = BTreeMap::from([(a.clone(), at(1)), (b.clone(), at(2))]);
        ledger.put_fenced(both.clone()).await.unwrap();
        ledger.put_exported(a.clone(), "m1".into()).await.unwrap();
        ledger.put_exported(b.clone(), "m2".into()).await.unwrap();
        drop(ledger);

        let ledger = Ledger::open(Some(dir.path())).unwrap();
        assert_eq!(ledger.fenced().await.unwrap(), both);
        let one = BTreeMap::from([(b.clone(), at(3))]);
        ledger.put_fenced(one.clone()).await.unwrap();
        assert_eq!(ledger.fenced().await.unwrap(), one);
        ledger.drop_exported(a).await.unwrap();
        let left = BTreeMap::from([(b, "m2".to_owned())]);
        assert_eq!(ledger.exported().await.unwrap(), left);
    }
}
