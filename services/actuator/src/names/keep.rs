//! Giving containers of this node their name as they come to serve, and putting right what was left half done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary};
use tokio::time::MissedTickBehavior;
use units::{ContainerId, LABEL_DNS, LABEL_REPLICA_OF, Mode};

use super::events::{NotChanged, NotManaged};
use super::place::{Managed, Owed, Stand, Step, steps};
use super::{NameError, Names};
use crate::engine::Engine;
use crate::handler::Handler;

/// How often the containers are looked at: one that serves has its name after this.
const EVERY: Duration = Duration::from_secs(1);
/// Containers that are put back into a network in one round; the rest comes in the next.
const CHANGES_MAX: usize = 16;

/// Keeps names in step until the shutdown, as far as this node may act; what is owed is put back whatever it may.
pub(crate) async fn keep(handler: Arc<Handler>) {
    if handler.ceiling < Mode::Suggest && handler.names.debtors().is_empty() {
        return;
    }
    let shutdown = handler.shutdown.clone();
    let mut keeper = Keeper {
        handler,
        right: HashMap::new(),
        told: HashMap::new(),
    };
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A round is never left in the middle: a container would be out of its network.
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        keeper.round().await;
    }
}

struct Keeper {
    handler: Arc<Handler>,
    /// The places of each container that serves, by the engine's ids for them, at which nothing is to be done.
    right: HashMap<ContainerId, BTreeSet<String>>,
    /// What kept a container from having its name, as it was told last.
    told: HashMap<ContainerId, String>,
}

impl Keeper {
    /// The engine and the ledger tell their health what is wrong with them.
    async fn round(&mut self) {
        let handler = Arc::clone(&self.handler);
        let Ok(listed) = handler.engine.labelled(LABEL_DNS).await else {
            return;
        };
        let listed: BTreeMap<ContainerId, &ContainerSummary> = listed
            .iter()
            .filter_map(|it| Some((ContainerId::from(it.id.as_deref()?), it)))
            .collect();
        self.right.retain(|id, _| listed.contains_key(id));
        self.told.retain(|id, _| listed.contains_key(id));
        let mut changes = 0;
        for container in handler.names.debtors() {
            if listed.contains_key(&container) {
                continue;
            }
            // What was removed is owed nothing.
            if let Err(error) = handler.names.forget(&container).await {
                handler.ledger_health.down(error);
            }
        }
        for (container, summary) in &listed {
            if changes == CHANGES_MAX || handler.shutdown.is_cancelled() {
                return;
            }
            let owed = handler.names.owed_to(container);
            let may_name = may_name(handler.ceiling, summary);
            if owed.is_empty() && !may_name {
                continue;
            }
            let places = ids_of_places(summary);
            if owed.is_empty() && self.right.get(container) == Some(&places) {
                continue;
            }
            match self.look(container, &owed, may_name).await {
                Looked::Right => {
                    self.told.remove(container);
                    self.right.insert(container.clone(), places);
                }
                Looked::Changed => changes += 1,
                Looked::Later => {}
            }
        }
    }

    async fn look(
        &mut self,
        container: &ContainerId,
        owed: &BTreeMap<String, Owed>,
        may_name: bool,
    ) -> Looked {
        let handler = Arc::clone(&self.handler);
        // A command works on it, or waits to: the next round is early enough.
        let Some(_lock) = handler.locks.acquire_at_once(container) else {
            return Looked::Later;
        };
        let Ok(found) = handler.engine.inspect(container).await else {
            return Looked::Later;
        };
        let alias = match Managed::of(&found) {
            Managed::As(alias) => alias,
            Managed::Cannot(reason) => {
                NotManaged { container, reason }.emit();
                return Looked::Right;
            }
            Managed::No => return Looked::Right,
        };
        let mut steps = steps(&found, &alias, owed);
        steps.retain(|(network, _)| may_name || owed.contains_key(network));
        if steps.is_empty() {
            return match Stand::of(&found) {
                Stand::Serves => Looked::Right,
                Stand::Starts | Stand::Sick | Stand::Waits | Stand::Stopped => Looked::Later,
            };
        }
        for (network, step) in &steps {
            if let Err(error) = done(&handler.names, &handler.engine, &found, network, step).await {
                self.tell(container, network, &error);
            }
        }
        Looked::Changed
    }

    /// Says once what keeps a container from having its name.
    fn tell(&mut self, container: &ContainerId, network: &str, error: &NameError) {
        if let NameError::Ledger(error) = error {
            self.handler.ledger_health.down(error);
        }
        let error = error.to_string();
        if self.told.get(container) != Some(&error) {
            let error = error.as_str();
            NotChanged {
                container,
                network,
                error,
            }
            .emit();
        }
        self.told.insert(container.clone(), error);
    }
}

/// What came of looking at one container.
enum Looked {
    Right,
    Changed,
    Later,
}

/// Does one step. A network that is gone has no place to be put back into.
async fn done(
    names: &Names,
    engine: &Engine,
    found: &ContainerInspectResponse,
    network: &str,
    step: &Step,
) -> Result<(), NameError> {
    let container = ContainerId::from(found.id.as_deref().unwrap_or_default());
    match names.take(engine, &container, network, step).await {
        Err(NameError::Engine(error))
            if error.is_missing() && !engine.has_network(network).await? =>
        {
            Ok(names.settle(&container, network).await?)
        }
        other => other,
    }
}

/// Whether a container may be given its name without being asked about: where only what a person approved is done, one that was made
/// under such an approval, which is not complete without it.
fn may_name(ceiling: Mode, summary: &ContainerSummary) -> bool {
    let labels = summary.labels.as_ref();
    match ceiling {
        Mode::Act => true,
        Mode::Suggest => labels.is_some_and(|it| it.contains_key(LABEL_REPLICA_OF)),
        Mode::Observe => false,
    }
}

fn ids_of_places(summary: &ContainerSummary) -> BTreeSet<String> {
    let settings = summary.network_settings.as_ref();
    let networks = settings.and_then(|it| it.networks.as_ref());
    let places = networks.into_iter().flatten();
    places
        .filter_map(|(_, endpoint)| endpoint.endpoint_id.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_act_only_what_was_made_under_an_approval_is_given_its_name() {
        let theirs = ContainerSummary::default();
        let made = ContainerSummary {
            labels: Some(HashMap::from([(
                LABEL_REPLICA_OF.to_owned(),
                "0123".to_owned(),
            )])),
            ..ContainerSummary::default()
        };
        let may = |ceiling| (may_name(ceiling, &theirs), may_name(ceiling, &made));
        assert_eq!(may(Mode::Act), (true, true));
        assert_eq!(may(Mode::Suggest), (false, true));
        assert_eq!(may(Mode::Observe), (false, false));
    }
}
