//! The end that gets an image.

use std::pin::pin;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use units::NodeId;

use super::events::Fetched;
use super::parts::{Opener, Part, PartError, ask};
use super::{GIB, IMAGE_BYTES_MAX, Offer, SENT_WITHIN};
use crate::engine::{Engine, EngineError, Loaded};
use crate::seal::MoveKey;

/// The other node answers within this.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// The other node says something within this, if only that nothing comes for now.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// The engine lets go of an image that was cut within this, or is left to it.
const LET_GO_WITHIN: Duration = Duration::from_secs(10);
/// Parts that the line may be ahead of the engine.
const AHEAD: usize = 4;

/// Why an image did not come from another node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFetched {
    #[error(
        "nobody answers at {address}: {reason}; let this node connect there, and check actuator.images of {node}"
    )]
    Unreachable {
        node: NodeId,
        address: String,
        reason: String,
    },
    #[error(
        "what answers at {address} turned this node away: it is no actuator, or one with another actuator.move_key_file; check actuator.images.address of {node}"
    )]
    TurnedAway { node: NodeId, address: String },
    #[error("{node} said nothing for {} s in the middle of it", HEARD_WITHIN.as_secs())]
    Silent { node: NodeId },
    #[error("the connection to {node} ended in the middle of it: {reason}")]
    Cut { node: NodeId, reason: String },
    #[error("{node} sent something else: {reason}")]
    Wrong { node: NodeId, reason: String },
    #[error("{node} does not give it: {reason}")]
    Declined { node: NodeId, reason: String },
    #[error(
        "it has more than {} GiB, and no more are taken from a node; push it to a registry",
        IMAGE_BYTES_MAX / GIB
    )]
    TooLarge,
    #[error(
        "it took longer than {} s; push it to a registry, from which it comes in several tries",
        SENT_WITHIN.as_secs()
    )]
    Late,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Gets an image from another node into this one's engine. The ids that the engine gave it, where it tells them.
///
/// # Errors
/// When it did not come in full. The engine has nothing of it then.
pub(crate) async fn fetch(
    engine: &Engine,
    key: &MoveKey,
    node: &NodeId,
    offer: &Offer,
) -> Result<Vec<String>, NotFetched> {
    let began = Instant::now();
    let mut line = Line::open(key, node, offer).await?;
    // What is not given at all is no matter of the engine's.
    let Some(first) = line.next().await? else {
        return Ok(Vec::new());
    };
    let (to, from) = mpsc::channel(AHEAD);
    let body = futures::stream::unfold(from, |mut from| async {
        from.recv().await.map(|part| (part, from))
    });
    let mut loading = pin!(engine.load(body, SENT_WITHIN));
    let mut loaded = None;
    let passed = {
        let mut passing = pin!(line.pass(first, to));
        loop {
            tokio::select! {
                passed = &mut passing => break passed,
                done = &mut loading, if loaded.is_none() => loaded = Some(done),
            }
        }
    };
    if let Err(error) = passed {
        if loaded.is_none() {
            // Whatever it says: it was not the image.
            let _ = timeout(LET_GO_WITHIN, loading).await;
        }
        return Err(error);
    }
    let loaded = match loaded {
        Some(loaded) => loaded,
        None => loading.await,
    };
    let loaded = match loaded? {
        Loaded::Late => return Err(NotFetched::Late),
        // It was not: the line would have said so.
        Loaded::Cut => Vec::new(),
        Loaded::Whole(ids) => ids,
    };
    Fetched {
        node,
        bytes: line.bytes,
        took: began.elapsed(),
    }
    .emit();
    Ok(loaded)
}

/// The way from the other end.
struct Line<'a> {
    node: &'a NodeId,
    connection: BufReader<TcpStream>,
    opener: Opener,
    bytes: u64,
}

impl<'a> Line<'a> {
    /// Connects, and shows the ticket.
    async fn open(key: &MoveKey, node: &'a NodeId, offer: &Offer) -> Result<Self, NotFetched> {
        let Offer { address, ticket } = offer;
        let unreachable = |reason: String| NotFetched::Unreachable {
            node: node.clone(),
            address: address.clone(),
            reason,
        };
        let late = |_| unreachable(format!("no answer in {} s", CONNECTED_WITHIN.as_secs()));
        let connected = timeout(CONNECTED_WITHIN, TcpStream::connect(address)).await;
        let connected = connected.map_err(late)?;
        let connected = connected.map_err(|error| unreachable(error.to_string()))?;
        let ticket = STANDARD.decode(ticket).unwrap_or_default();
        let mut connection = BufReader::new(connected);
        let shown = async {
            ask(&mut connection, &ticket).await?;
            Opener::read(&mut connection, key, &ticket).await
        };
        let opener = match timeout(HEARD_WITHIN, shown).await {
            Ok(Ok(opener)) => opener,
            Ok(Err(PartError::Io(_))) => {
                return Err(NotFetched::TurnedAway {
                    node: node.clone(),
                    address: address.clone(),
                });
            }
            Ok(Err(error)) => return Err(failed(node, &error)),
            Err(_) => return Err(NotFetched::Silent { node: node.clone() }),
        };
        Ok(Line {
            node,
            connection,
            opener,
            bytes: 0,
        })
    }

    /// What comes next of the image; None after its end.
    async fn next(&mut self) -> Result<Option<Bytes>, NotFetched> {
        loop {
            let next = timeout(HEARD_WITHIN, self.opener.next(&mut self.connection)).await;
            let node = self.node;
            let next = next.map_err(|_| NotFetched::Silent { node: node.clone() })?;
            match next.map_err(|error| failed(node, &error))? {
                Part::Wait => {}
                Part::Last => return Ok(None),
                Part::Failed(reason) => {
                    let node = node.clone();
                    return Err(NotFetched::Declined { node, reason });
                }
                Part::More(piece) => {
                    self.bytes += piece.len() as u64;
                    if self.bytes > IMAGE_BYTES_MAX {
                        return Err(NotFetched::TooLarge);
                    }
                    return Ok(Some(piece.into()));
                }
            }
        }
    }

    /// Passes on what comes, with an error at the end where that is not the image's.
    async fn pass(
        &mut self,
        first: Bytes,
        to: mpsc::Sender<std::io::Result<Bytes>>,
    ) -> Result<(), NotFetched> {
        let mut piece = first;
        loop {
            if to.send(Ok(piece)).await.is_err() {
                // The engine takes no more, and says why.
                return Ok(());
            }
            piece = match self.next().await {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let cut = std::io::Error::other("the rest of the image did not come");
                    let _ = to.send(Err(cut)).await;
                    return Err(error);
                }
            };
        }
    }
}

fn failed(node: &NodeId, error: &PartError) -> NotFetched {
    let (node, reason) = (node.clone(), error.to_string());
    match error {
        PartError::Io(_) => NotFetched::Cut { node, reason },
        PartError::Foreign
        | PartError::OtherVersion { .. }
        | PartError::Seal(_)
        | PartError::Endless => NotFetched::Wrong { node, reason },
    }
}
