//! Names in networks (the engine's own DNS): a container answers to the name of its service while it serves, and not while it starts or
//! is about to be taken away.
//!
//! The engine changes a name only by taking a container out of the network and putting it back, and a container that is in a network
//! is in its DNS. What is given up with care keeps its address across that: the kernel holds on to connections whose address comes back,
//! and sends again what was lost in between, so nobody notices but by a fifth of a second. The engine gives a certain address only in networks whose
//! range somebody chose; in others the name is kept to the end. An address that was asked for would be asked for again with each start, when another may
//! have it, so a container has it only until it has its name again, rests, starts or is sick.
//!
//! What is to be put back stands in the ledger before anything is taken out.

mod config;
mod events;
mod keep;
mod leave;
mod place;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use units::ContainerId;

pub use config::Dns;
pub(crate) use keep::keep;
pub(crate) use leave::{Parted, Parting, parting};
pub(crate) use place::{Owed, name_to_come};

use events::{Change, NameChanged};
use place::Stage;

use crate::engine::{Engine, EngineError};
use crate::ledger::{Ledger, LedgerError};

type Debts = BTreeMap<ContainerId, BTreeMap<String, Owed>>;

/// The names of this node's containers.
#[derive(Debug)]
pub(crate) struct Names {
    drain: Duration,
    ledger: Ledger,
    /// As in the ledger.
    owed: Mutex<Debts>,
    /// One at a time looks whether another has the name, and gives its own up: two would each see the other's.
    leaving: tokio::sync::Mutex<()>,
}

/// Why a name was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Names {
    /// With what an earlier process left to be put back.
    pub(crate) async fn open(config: &Dns, ledger: &Ledger) -> Result<Self, LedgerError> {
        let mut owed = Debts::new();
        for (container, network, debt) in ledger.owed_places().await? {
            owed.entry(container).or_default().insert(network, debt);
        }
        Ok(Names {
            drain: config.drain.get(),
            ledger: ledger.clone(),
            owed: Mutex::new(owed),
            leaving: tokio::sync::Mutex::default(),
        })
    }

    /// A container as it was before it was taken out of a network, or given an address to keep.
    pub(crate) fn as_it_was(
        &self,
        mut found: ContainerInspectResponse,
    ) -> ContainerInspectResponse {
        let owed = self.owed_to(&ContainerId::from(found.id.as_deref().unwrap_or_default()));
        let settings = found.network_settings.get_or_insert_default();
        let networks = settings.networks.get_or_insert_default();
        for (network, Owed { asked, stage }) in owed {
            match networks.get_mut(&network) {
                Some(endpoint) => endpoint.ipam_config = asked.ipam_config,
                None if stage == Stage::Between => {
                    networks.insert(network, asked);
                }
                None => {}
            }
        }
        found
    }

    fn owed_to(&self, container: &ContainerId) -> BTreeMap<String, Owed> {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.get(container).cloned().unwrap_or_default()
    }

    fn debtors(&self) -> Vec<ContainerId> {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.keys().cloned().collect()
    }

    /// Writes down what is to be put back. When this returns, it is on disk.
    async fn owe(
        &self,
        container: &ContainerId,
        network: &str,
        debt: Owed,
    ) -> Result<(), LedgerError> {
        self.ledger.owe_place(container, network, &debt).await?;
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let places = owed.entry(container.clone()).or_default();
        places.insert(network.to_owned(), debt);
        Ok(())
    }

    /// It is as it was.
    async fn settle(&self, container: &ContainerId, network: &str) -> Result<(), LedgerError> {
        self.ledger.settle_place(container, network).await?;
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = owed.get_mut(container) {
            places.remove(network);
            if places.is_empty() {
                owed.remove(container);
            }
        }
        Ok(())
    }

    /// Somebody decided where it is since, and nothing is put back any more.
    ///
    /// # Errors
    /// When the ledger cannot be written; what it still holds is put back after all.
    pub(crate) async fn forget(&self, container: &ContainerId) -> Result<(), LedgerError> {
        for network in self.owed_to(container).keys() {
            self.settle(container, network).await?;
        }
        Ok(())
    }

    /// Does what is to be done about one place.
    async fn take(
        &self,
        engine: &Engine,
        container: &ContainerId,
        network: &str,
        step: &place::Step,
    ) -> Result<(), NameError> {
        let change = match step {
            place::Step::Connect(asked) => {
                engine.connect(container, network, asked).await?;
                Change::PutBack
            }
            place::Step::Swap { wanted, nameless } => {
                let debt = Owed {
                    asked: (**nameless).clone(),
                    stage: Stage::Between,
                };
                self.owe(container, network, debt).await?;
                engine.disconnect(container, network).await?;
                engine.connect(container, network, wanted).await?;
                match wanted == nameless {
                    true => Change::PutBack,
                    false => Change::Given,
                }
            }
            place::Step::Settle => return Ok(self.settle(container, network).await?),
        };
        self.settle(container, network).await?;
        NameChanged {
            container,
            network,
            change,
        }
        .emit();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{EndpointIpamConfig, EndpointSettings};

    use super::*;

    #[tokio::test]
    async fn a_command_sees_a_container_as_it_was_also_after_a_crash() {
        let ledger = Ledger::open(None).unwrap();
        let container = ContainerId::from("0123");
        let asked = |alias: &str| EndpointSettings {
            aliases: Some(vec![alias.to_owned()]),
            ..EndpointSettings::default()
        };
        let names = Names::open(&Dns::default(), &ledger).await.unwrap();
        for (network, stage) in [
            ("kept", Stage::Nameless),
            ("between", Stage::Between),
            ("left", Stage::Nameless),
        ] {
            let asked = asked(network);
            let debt = Owed { asked, stage };
            names.owe(&container, network, debt).await.unwrap();
        }
        names.settle(&container, "other").await.unwrap();

        let again = Names::open(&Dns::default(), &ledger).await.unwrap();
        assert_eq!(again.debtors(), std::slice::from_ref(&container));
        let mut found = ContainerInspectResponse {
            id: Some("0123".to_owned()),
            ..ContainerInspectResponse::default()
        };
        let settings = found.network_settings.get_or_insert_default();
        let fixed = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig::default()),
            ..asked("kept")
        };
        let networks = settings.networks.get_or_insert_default();
        networks.insert("kept".to_owned(), fixed);
        let seen = again.as_it_was(found).network_settings.unwrap();
        let seen: BTreeMap<_, _> = seen.networks.unwrap().into_iter().collect();
        assert_eq!(
            seen,
            BTreeMap::from([
                ("between".to_owned(), asked("between")),
                ("kept".to_owned(), asked("kept")),
            ])
        );
        again.settle(&container, "left").await.unwrap();
        again.forget(&container).await.unwrap();
        assert!(again.debtors().is_empty());
        assert!(ledger.owed_places().await.unwrap().is_empty());
    }
}
