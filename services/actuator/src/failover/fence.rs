//! Stopping what must not run twice while this node's lease is over.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};
use units::{ContainerId, Policy};

use super::events::{ContainerFenced, LeaseTurned, NotFenced};
use super::{LABEL_SINGLETON, is_singleton};
use crate::engine::EngineError;
use crate::guard::{labels_of, name_of};
use crate::handler::Handler;
use crate::prepare::{is_kept, kept_stopped};

/// How often the lease is looked at, and, while it is over, what runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A container has this part of the lease to end by itself. No time of its own: whoever takes its place has to know.
const GRACE_PARTS: u32 = 2;
/// A command about the container has so long to end; what it begins anew after that is stopped again.
const LOCKED_WITHIN: Duration = Duration::from_secs(1);
/// Requests under way have so long to end.
const DRAINED_WITHIN: Duration = Duration::from_secs(2);
/// Containers that are stopped at once; the others follow.
const STOPS_MAX: usize = 64;

/// Stops singletons whenever the lease is over, until the shutdown.
pub(super) async fn fence(handler: Arc<Handler>) {
    if handler.failover.is_none() {
        return;
    }
    let shutdown = handler.shutdown.clone();
    let mut fence = Fence {
        handler,
        stops: JoinSet::new(),
        stopping: HashSet::new(),
        refused: HashSet::new(),
        was_over: false,
    };
    let rounds = async {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => fence.round().await,
                Some(ended) = fence.stops.join_next() => fence.ended(ended),
            }
        }
    };
    shutdown.run_until_cancelled(rounds).await;
    // The engine goes on with what it was asked.
    fence.stops.shutdown().await;
}

struct Fence {
    handler: Arc<Handler>,
    stops: JoinSet<(ContainerId, Stopped)>,
    stopping: HashSet<ContainerId>,
    /// Those that are not stopped, told of once.
    refused: HashSet<ContainerId>,
    was_over: bool,
}

/// What came of stopping one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// It was stopped, or is tried again.
    Asked,
    /// It could not be had back.
    Never,
}

impl Fence {
    async fn round(&mut self) {
        let handler = Arc::clone(&self.handler);
        let Some(failover) = &handler.failover else {
            return;
        };
        let left = failover.left();
        failover.meters.lease.set(left.as_secs_f64());
        let is_over = left.is_zero();
        if is_over != self.was_over {
            self.was_over = is_over;
            let turned = match is_over {
                true => LeaseTurned::Over,
                false => LeaseTurned::Back,
            };
            turned.emit(failover.length);
        }
        if !is_over && failover.fences.is_empty() {
            return;
        }
        // The engine tells its health itself what is wrong with it.
        let Ok(found) = handler.engine.labelled(LABEL_SINGLETON).await else {
            return;
        };
        let found: BTreeMap<ContainerId, ContainerSummary> = found
            .into_iter()
            .filter_map(|it| Some((ContainerId::from(it.id.as_deref()?), it)))
            .collect();
        if is_over {
            self.stop(&found);
        } else {
            self.refused.clear();
        }
        failover.fences.retain(|container| {
            let is_there = found.get(container);
            let is_under_way = is_over || self.stopping.contains(container);
            is_there.is_some_and(|it| !runs(it) || is_under_way)
        });
        failover.fences.save(&handler).await;
    }

    fn stop(&mut self, found: &BTreeMap<ContainerId, ContainerSummary>) {
        for (container, summary) in found {
            if self.stops.len() >= STOPS_MAX {
                return;
            }
            let labels = summary.labels.clone().unwrap_or_default();
            let (policy, _) = Policy::from_labels(&labels.into_iter().collect());
            let is_known = self.refused.contains(container) || self.stopping.contains(container);
            if is_known || !runs(summary) || !is_singleton(&policy) {
                continue;
            }
            self.stopping.insert(container.clone());
            let (handler, container) = (Arc::clone(&self.handler), container.clone());
            self.stops.spawn(async move {
                let stopped = stop(&handler, &container).await;
                (container, stopped)
            });
        }
    }

    fn ended(&mut self, ended: Result<(ContainerId, Stopped), tokio::task::JoinError>) {
        match ended {
            Ok((container, stopped)) => {
                self.stopping.remove(&container);
                if stopped == Stopped::Never {
                    self.refused.insert(container);
                }
            }
            // One of them panicked: all are looked at anew, and what is stopped twice is stopped.
            Err(_) => self.stopping.clear(),
        }
    }
}

/// Whether a container's process is there, or will be by itself.
fn runs(found: &ContainerSummary) -> bool {
    matches!(
        found.state,
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::RESTARTING)
    )
}

async fn stop(handler: &Handler, container: &ContainerId) -> Stopped {
    let Some(failover) = &handler.failover else {
        return Stopped::Asked;
    };
    let lock = timeout(LOCKED_WITHIN, handler.locks.acquire(container));
    let _lock = lock.await.ok();
    let found = match handler.engine.inspect(container).await {
        Ok(found) => found,
        // Gone, or looked for again.
        Err(_) => return Stopped::Asked,
    };
    if !failover.left().is_zero() {
        return Stopped::Asked;
    }
    let name = name_of(&found);
    if !is_kept(&found) {
        // It is told to nobody how it is made, so nobody makes it elsewhere.
        let reason = "stopped, it would be gone (--rm), so it is left running";
        NotFenced {
            name: &name,
            reason,
        }
        .emit();
        return Stopped::Never;
    }
    failover.fences.add(container, kit::now());
    failover.fences.save(handler).await;
    ContainerFenced { name: &name }.emit(&failover.meters);
    let grace = failover.length / GRACE_PARTS;
    if let Err(error) = stopped(handler, container, &found, grace).await
        && !error.is_missing()
    {
        let reason = error.to_string();
        NotFenced {
            name: &name,
            reason: &reason,
        }
        .emit();
    }
    Stopped::Asked
}

/// Takes it out of its balancers, sees that its engine does not start it by itself, and stops it. Nothing but the last may fail it.
async fn stopped(
    handler: &Handler,
    container: &ContainerId,
    found: &ContainerInspectResponse,
    grace: Duration,
) -> Result<(), EngineError> {
    let (policy, _) = Policy::from_labels(&labels_of(found));
    let out = handler
        .balancers
        .leave(container, &policy, DRAINED_WITHIN)
        .await;
    if let Some(body) = kept_stopped(found) {
        // Where it fails, it is started again with its engine at the worst, and stopped again.
        let _ = handler.engine.update(container, &body).await;
    }
    let answer = handler.engine.stop(container, grace).await;
    drop(out);
    answer
}
