//! This node's part in failover: it says that it is there, stops what must not run twice when nobody hears that, and tells beforehand
//! how its containers are made, so that another node can make them.
//!
//! Nobody grants a lease. The log's acknowledgement of a heartbeat is one ([`Lease`]): who is cut off from the log gets none, and stops
//! its singletons by itself ([`fence`]). The heartbeats of all nodes are in one partition, so whoever reads one of another node has read
//! all that were acknowledged before it.
//!
//! A node that is cut off for longer heals on by itself, by the last policy it was given ([`offline`]).
//!
//! A node takes part where it may act and has a key for moves: without either nothing of it could be made elsewhere. One that takes no
//! part sends no heartbeats, stops nothing, and takes back what it told when it did take part.

mod beat;
mod events;
mod fence;
mod fences;
mod lease;
mod offline;
mod standing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use kit::Context;
use units::{Action, ContainerId, Mode, Policy};

use crate::Config;
use crate::guard::labels_of;
use crate::handler::Handler;
use crate::ledger::{Ledger, LedgerError};
use crate::seal::MoveKey;

use events::Meters;
use fences::Fences;
use lease::Lease;
use offline::Offline;

/// Another one with every boot.
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";
const LABEL_SINGLETON: &str = "io.homeostat.singleton";

/// What a node that takes part knows.
#[derive(Debug)]
pub(crate) struct Failover {
    length: Duration,
    lease: Mutex<Lease>,
    fences: Fences,
    offline: Offline,
    meters: Meters,
}

impl Failover {
    /// Begins with one lease's length in which to be acknowledged, and with what an earlier run stopped. Processes that begin one after
    /// the other and are not acknowledged have one such length together, or a crash loop would be a lease without end. None where this
    /// node takes no part.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub(crate) async fn open(
        config: &Config,
        key: Option<&MoveKey>,
        ledger: &Ledger,
        context: &Context,
    ) -> Result<Option<Self>, LedgerError> {
        if key.is_none() || config.max_mode < Mode::Act {
            return Ok(None);
        }
        // Without it every boot is the same one: a lease may then begin too early, and is the shorter.
        let boot = std::fs::read_to_string(BOOT_FILE).unwrap_or_default();
        let began = ledger.unheard_since(boot, kit::steady()).await?;
        let length = config.lease.get();
        Ok(Some(Failover {
            length,
            lease: Mutex::new(Lease::beginning(length, began)),
            fences: Fences::new(ledger.fenced().await?),
            offline: Offline::new(ledger.policy().await?, ledger.healed().await?),
            meters: Meters::new(&context.metrics),
        }))
    }

    /// Whether it was stopped because the lease was over, and not started since.
    pub(crate) fn has_fenced(&self, container: &ContainerId) -> bool {
        self.fences.has(container)
    }

    /// Whether an action would have a singleton run that is to be stopped at once.
    pub(crate) fn forbids(&self, action: &Action, container: &ContainerInspectResponse) -> bool {
        let starts_one = match action {
            Action::Restart { .. } | Action::Recreate { .. } | Action::CreateReplica { .. } => true,
            Action::UpdateLimits { .. }
            | Action::RemoveReplica { .. }
            | Action::PullImage { .. }
            | Action::Stop { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => false,
        };
        let (policy, _) = Policy::from_labels(&labels_of(container));
        starts_one && is_singleton(&policy) && self.left().is_zero()
    }

    fn left(&self) -> Duration {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.left(kit::steady())
    }

    /// Since when the lease is over, as a time.
    fn over_for(&self, now: units::Steady) -> Duration {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.over_for(now)
    }

    fn acknowledged(&self, sent: units::Steady) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.acknowledged(sent);
    }
}

/// Whether no two of it may run at once, and another node may take its place. Its node allows acting.
fn is_singleton(policy: &Policy) -> bool {
    policy.singleton && policy.movable && policy.mode == Mode::Act
}

/// Takes this node's part until the shutdown.
pub(crate) async fn keep(handler: Arc<Handler>) {
    let all = futures::future::join5(
        beat::beat(Arc::clone(&handler)),
        fence::fence(Arc::clone(&handler)),
        offline::follow(Arc::clone(&handler)),
        offline::heal(Arc::clone(&handler)),
        standing::keep(handler),
    );
    all.await;
}
