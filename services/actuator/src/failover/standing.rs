//! Telling beforehand how the containers of this node are made that may run elsewhere, in case it is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use tokio::time::MissedTickBehavior;
use units::{
    ContainerId, ImageSource, Mode, Policy, Relocation, ServiceId, StandingExport, Timestamp,
};

use super::events::{ExportLost, Told, Untold, What};
use crate::engine::EngineError;
use crate::guard::{labels_of, name_of};
use crate::handler::Handler;
use crate::ledger::LedgerError;
use crate::moving;
use crate::prepare::Unprepared;
use crate::seal::{Exported, MoveKey, SealError};

/// How often it is looked whether what was told still holds.
const EVERY: Duration = Duration::from_secs(5);
/// More containers that may move than a host has. Beyond it no further ones are told of.
const STANDING_MAX: usize = 256;

/// Keeps what is told in step with what runs, until the shutdown. Where this node takes no part, what it told is taken back.
pub(super) async fn keep(handler: Arc<Handler>) {
    let shutdown = handler.shutdown.clone();
    let mut keeper = Keeper {
        handler,
        told: None,
        complaints: HashMap::new(),
    };
    let rounds = async {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if keeper.round().await == Next::Nothing {
                return;
            }
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}

struct Keeper {
    handler: Arc<Handler>,
    /// The marks of what was told, as in the ledger; none before that was read.
    told: Option<BTreeMap<ContainerId, String>>,
    /// Why containers are not told of, each said once.
    complaints: HashMap<ContainerId, String>,
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Round,
    Nothing,
}

/// Why a round was left.
enum Left {
    /// The engine told its health what is wrong with it.
    Engine,
    Ledger(LedgerError),
    Log(bus::BusError),
}

impl From<EngineError> for Left {
    fn from(_: EngineError) -> Self {
        Left::Engine
    }
}

impl From<LedgerError> for Left {
    fn from(error: LedgerError) -> Self {
        Left::Ledger(error)
    }
}

impl Keeper {
    async fn round(&mut self) -> Next {
        let handler = Arc::clone(&self.handler);
        let round = match (&handler.failover, &handler.key) {
            (Some(failover), Some(key)) => {
                let told = self.tell(key).await;
                let standing = self.told.as_ref().map_or(0, BTreeMap::len);
                let standing = u32::try_from(standing).unwrap_or(u32::MAX);
                failover.meters.standing.set(f64::from(standing));
                told.map(|()| Next::Round)
            }
            (None, _) | (_, None) => self.withdraw().await.map(|()| Next::Nothing),
        };
        match round {
            Ok(next) => return next,
            Err(Left::Engine) => {}
            Err(Left::Ledger(error)) => handler.ledger_health.down(error),
            Err(Left::Log(error)) => ExportLost { error: &error }.emit(&handler.meters),
        }
        Next::Round
    }

    /// Takes everything back.
    async fn withdraw(&mut self) -> Result<(), Left> {
        let told: Vec<ContainerId> = self.told().await?.keys().cloned().collect();
        for container in &told {
            self.take_back(container).await?;
        }
        Ok(())
    }

    /// Tells what is new or changed, and takes back what is gone or may not move any more.
    async fn tell(&mut self, key: &MoveKey) -> Result<(), Left> {
        let all = self.handler.engine.all().await?;
        let movable: BTreeMap<ContainerId, &ContainerSummary> = all
            .iter()
            .filter(|it| may_go(it))
            .filter_map(|it| Some((ContainerId::from(it.id.as_deref()?), it)))
            .collect();
        self.complaints.retain(|it, _| movable.contains_key(it));
        let told = self.told().await?.keys();
        let gone: Vec<ContainerId> = told
            .filter(|it| !movable.contains_key(it))
            .cloned()
            .collect();
        for container in &gone {
            self.take_back(container).await?;
        }
        let run = movable
            .iter()
            .filter(|(_, it)| it.state == Some(ContainerSummaryStateEnum::RUNNING));
        for (container, _) in run {
            self.one(key, container, &all).await?;
        }
        Ok(())
    }

    /// Tells of one container that runs, where that is not known.
    async fn one(
        &mut self,
        key: &MoveKey,
        container: &ContainerId,
        all: &[ContainerSummary],
    ) -> Result<(), Left> {
        let handler = Arc::clone(&self.handler);
        let exported = moving::standing(&handler.here(), container, &handler.node, all).await;
        let exported = match exported {
            Ok(Some(exported)) => exported,
            // It was stopped meanwhile, and stays told of as it was.
            Ok(None) => return Ok(()),
            Err(Unprepared::Refused(refused)) => {
                self.complain(container, &refused.reason);
                return self.take_back(container).await;
            }
            Err(Unprepared::Failed(reason)) => {
                self.complain(container, &reason);
                return Ok(());
            }
            // It went meanwhile: the next round sees that.
            Err(Unprepared::Engine(error)) if error.is_missing() => return Ok(()),
            Err(Unprepared::Engine(_) | Unprepared::Cut) => return Err(Left::Engine),
        };
        let mark = key.mark(&exported);
        let told = self.told().await?;
        if told.get(container) == Some(&mark) {
            return Ok(());
        }
        if told.len() >= STANDING_MAX && !told.contains_key(container) {
            self.complain(container, "there are too many on this node that may move");
            return Ok(());
        }
        match sealed(key, container, exported) {
            Ok(export) => self.send(export, mark).await,
            Err(error) => {
                self.complain(container, &error.to_string());
                self.take_back(container).await
            }
        }
    }

    /// It is in the ledger before it is in the log, so that it is taken back whatever ends in between.
    async fn send(&mut self, export: StandingExport, mark: String) -> Result<(), Left> {
        let handler = Arc::clone(&self.handler);
        let container = export.container.clone();
        let told = self.told().await?;
        if told.get(&container).is_none_or(|it| !it.is_empty()) {
            told.insert(container.clone(), String::new());
            let unsure = handler
                .ledger
                .put_exported(container.clone(), String::new());
            if let Err(error) = unsure.await {
                self.told = None;
                return Err(error.into());
            }
        }
        let produced = handler.bus.produce(wire::encode(&export, &handler.meta));
        produced.await.map_err(Left::Log)?;
        let name = export.name.as_str();
        let what = What::Standing;
        Told { name, what }.emit(&handler.meters);
        self.complaints.remove(&container);
        let put = handler.ledger.put_exported(container.clone(), mark.clone());
        put.await?;
        self.told().await?.insert(container, mark);
        Ok(())
    }

    /// Takes back what was told of a container, if anything was.
    async fn take_back(&mut self, container: &ContainerId) -> Result<(), Left> {
        let handler = Arc::clone(&self.handler);
        if !self.told().await?.contains_key(container) {
            return Ok(());
        }
        let gone = wire::tombstone::<StandingExport>(container.as_str(), &handler.meta);
        handler.bus.produce(gone).await.map_err(Left::Log)?;
        let (name, what) = (container.short(), What::TakenBack);
        Told { name, what }.emit(&handler.meters);
        handler.ledger.drop_exported(container.clone()).await?;
        self.told().await?.remove(container);
        Ok(())
    }

    async fn told(&mut self) -> Result<&mut BTreeMap<ContainerId, String>, Left> {
        let told = match self.told.take() {
            Some(told) => told,
            None => self.handler.ledger.exported().await?,
        };
        Ok(self.told.insert(told))
    }

    /// Says once of each container why it is not told of.
    fn complain(&mut self, container: &ContainerId, reason: &str) {
        if self
            .complaints
            .get(container)
            .is_some_and(|it| it == reason)
        {
            return;
        }
        let name = container.short();
        Untold { name, reason }.emit();
        self.complaints.insert(container.clone(), reason.to_owned());
    }
}

/// Whether the labels let it run elsewhere. Whether it runs is another question: what is stopped stays told of while it is there.
fn may_go(found: &ContainerSummary) -> bool {
    let labels = found.labels.clone().unwrap_or_default();
    let (policy, _) = Policy::from_labels(&labels.into_iter().collect());
    policy.movable && policy.mode == Mode::Act
}

/// Good for whatever node it goes to, and from whenever.
fn sealed(
    key: &MoveKey,
    container: &ContainerId,
    exported: Exported,
) -> Result<StandingExport, SealError> {
    let name = name_of(&exported.inspect);
    let relocation = Relocation {
        container: container.clone(),
        name: name.clone(),
        from: exported.node.clone(),
        to: "".into(),
        at: Timestamp::EPOCH,
        lost: true,
    };
    Ok(StandingExport {
        sealed: key.seal(&exported, &relocation)?,
        image: match exported.image.repo_digests.is_empty() {
            true => ImageSource::Node,
            false => ImageSource::Registry,
        },
        container: container.clone(),
        service: ServiceId::from_labels(&labels_of(&exported.inspect), &name),
        name,
        node: exported.node,
        at: kit::now(),
    })
}
