//! What the ledger holds of places in networks that containers are to have again.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use units::ContainerId;

use super::{Ledger, LedgerError};
use crate::names::Owed;

/// By container and network, as JSON.
const PLACES: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("places");

/// Reading expects the table to be there.
pub(super) fn make(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(PLACES)?;
    Ok(())
}

impl Ledger {
    /// What is to be put back, of which container and in which network.
    pub(crate) async fn owed_places(
        &self,
    ) -> Result<Vec<(ContainerId, String, Owed)>, LedgerError> {
        self.with(|store| {
            let read = || -> Result<Vec<_>, redb::Error> {
                let table = store.database.begin_read()?.open_table(PLACES)?;
                let mut places = Vec::new();
                for row in table.iter()? {
                    let (key, json) = row?;
                    let (container, network) = key.value();
                    // Of another version: nothing is known of it that could be put back.
                    if let Ok(owed) = serde_json::from_str(json.value()) {
                        places.push((ContainerId::from(container), network.to_owned(), owed));
                    }
                }
                Ok(places)
            };
            read().map_err(|error| store.storage(error))
        })
        .await
    }

    /// Writes down what is to be put back. When this returns, it is on disk.
    pub(crate) async fn owe_place(
        &self,
        container: &ContainerId,
        network: &str,
        owed: &Owed,
    ) -> Result<(), LedgerError> {
        let json = serde_json::to_string(owed);
        let json = json.expect("a place has text keys and no failing serialiser");
        let (container, network) = (container.clone(), network.to_owned());
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(PLACES)?;
                table.insert((container.as_str(), network.as_str()), json.as_str())?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets what was put back.
    pub(crate) async fn settle_place(
        &self,
        container: &ContainerId,
        network: &str,
    ) -> Result<(), LedgerError> {
        let (container, network) = (container.clone(), network.to_owned());
        self.with(move |store| {
            store.write(|write| {
                let mut table = write.open_table(PLACES)?;
                table.remove((container.as_str(), network.as_str()))?;
                Ok(())
            })
        })
        .await
    }
}
