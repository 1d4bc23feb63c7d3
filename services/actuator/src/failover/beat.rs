//! Saying that this node is there.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::MissedTickBehavior;
use units::{Heartbeat, Steady};

use super::Failover;
use super::events::{Acknowledged, BeatLost};
use crate::events::News;
use crate::handler::Handler;

/// Heartbeats in a lease: three may be lost, or answered late, before it is over.
const BEATS_IN_A_LEASE: u32 = 4;
/// Heartbeats that wait for their answer at once. A log that is away keeps them until it is back; beyond so many, two leases' worth, no
/// more are sent until one is answered.
const UNANSWERED_MAX: usize = 8;

/// Whether the ledger knows that this process was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    NotYet,
    OnDisk,
}

/// Sends heartbeats until the shutdown.
pub(super) async fn beat(handler: Arc<Handler>) {
    let Some(failover) = &handler.failover else {
        return;
    };
    let beats = beats(&handler, failover);
    handler.shutdown.run_until_cancelled(beats).await;
}

async fn beats(handler: &Handler, failover: &Failover) {
    let mut every = tokio::time::interval(failover.length / BEATS_IN_A_LEASE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = FuturesUnordered::new();
    let mut news = News::First;
    let mut heard = Heard::NotYet;
    loop {
        tokio::select! {
            _ = every.tick(), if unanswered.len() < UNANSWERED_MAX => {
                unanswered.push(send(handler, failover));
            }
            Some((sent, answer)) = unanswered.next() => match answer {
                Ok(()) => {
                    failover.acknowledged(sent);
                    if heard == Heard::NotYet && handler.ledger.heard().await.is_ok() {
                        heard = Heard::OnDisk;
                    }
                    news = News::First;
                    let topic = wire::topic::HEARTBEATS;
                    Acknowledged { topic }.emit(&handler.meters);
                }
                Err(error) => {
                    BeatLost { error: &error, news }.emit(&handler.meters);
                    news = News::Again;
                }
            },
        }
    }
}

/// Sends one. When that was is read before it can be on its way.
async fn send(handler: &Handler, failover: &Failover) -> (Steady, Result<(), bus::BusError>) {
    let sent = kit::steady();
    let beat = Heartbeat {
        node: handler.node.clone(),
        at: kit::now(),
        lease: failover.length,
        fenced: failover.fences.told(),
        healed: failover.offline.told(),
    };
    let produced = handler.bus.produce(wire::encode(&beat, &handler.meta));
    (sent, produced.await.map(drop))
}
