//! The end that gives an image.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::events::{NotAccepted, Sent, TurnedAway, Unsent};
use super::parts::{Kind, PART_BYTES_MAX, PartError, Sealer, asked};
use super::ticket::{Declined, Ticket};
use super::{GIB, IMAGE_BYTES_MAX, Offers, SENT_AT_ONCE, SENT_WITHIN};
use crate::engine::{Engine, EngineError};
use crate::handler::Handler;
use crate::seal::MoveKey;

/// Connections at once, those that have shown no ticket yet among them; a further one is not taken until one of them ends.
const CONNECTIONS_MAX: usize = 32;
/// Whoever connects shows a ticket within this.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// The other end is told so often that something is still coming, while nothing comes.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// The other end takes a part within this: its engine may be busy with what it has.
const TAKEN_WITHIN: Duration = Duration::from_secs(120);
/// After a connection could not be accepted, so long is waited: this process may have too many files open.
const ACCEPTED_AFTER: Duration = Duration::from_secs(1);
/// Pieces that the engine may be ahead of the line.
const AHEAD: usize = 4;
/// Characters of a reason that travel.
const REASON_MAX: usize = 2_000;

/// Why an image is not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    #[error(transparent)]
    Declined(#[from] Declined),
    #[error("its engine has no image {0} any more; push it to a registry")]
    NoImage(String),
    #[error(
        "it has {gib} GiB, and at most {max} GiB are given from node to node; push it to a registry",
        gib = bytes / GIB,
        max = IMAGE_BYTES_MAX / GIB
    )]
    TooLarge { bytes: u64 },
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The other end cannot be told.
    #[error("the other end is gone: {0}")]
    Gone(#[from] PartError),
}

/// What gives images.
struct Source<'a> {
    engine: &'a Engine,
    offers: &'a Offers,
}

/// Gives images to who shows tickets for them, until the shutdown; what is on its way then is left. Nothing where nothing is offered.
pub(crate) async fn serve(handler: Arc<Handler>, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return };
    let mut transfers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = handler.shutdown.cancelled() => return,
            _ended = transfers.join_next(), if !transfers.is_empty() => continue,
            accepted = listener.accept(), if transfers.len() < CONNECTIONS_MAX => accepted,
        };
        match accepted {
            Ok((connection, peer)) => {
                let handler = Arc::clone(&handler);
                transfers.spawn(async move { answer(&handler, connection, peer).await });
            }
            Err(error) => {
                NotAccepted { error: &error }.emit();
                tokio::time::sleep(ACCEPTED_AFTER).await;
            }
        }
    }
}

async fn answer(handler: &Handler, mut connection: TcpStream, peer: SocketAddr) {
    let (Some(key), Some(offers)) = (&handler.key, &handler.offers) else {
        return;
    };
    let source = Source {
        engine: &handler.engine,
        offers,
    };
    let shown = timeout(ASKED_WITHIN, asked(&mut connection)).await;
    let shown = shown.ok().and_then(Result::ok);
    let ticket = shown.and_then(|sealed| Some((Ticket::open(key, &sealed)?, sealed)));
    let Some((ticket, sealed)) = ticket else {
        // Whoever has no ticket learns nothing, not even what this is.
        TurnedAway { peer }.emit();
        return;
    };
    let began = Instant::now();
    let image = ticket.image.as_str();
    let sent = async {
        let mut line = Line::open(connection, key, &sealed).await?;
        let sent = source.send(&mut line, &ticket, &sealed).await;
        if let Err(error) = &sent {
            line.fail(error).await;
        }
        sent
    };
    match timeout(SENT_WITHIN, sent).await {
        Ok(Ok(bytes)) => Sent {
            image,
            peer,
            bytes,
            took: began.elapsed(),
        }
        .emit(),
        Ok(Err(error)) => Unsent {
            image,
            peer,
            reason: &error.to_string(),
        }
        .emit(),
        Err(_) => Unsent {
            image,
            peer,
            reason: "it took too long",
        }
        .emit(),
    }
}

impl Source<'_> {
    /// Gives an image, and says how many bytes it had.
    async fn send(&self, line: &mut Line, ticket: &Ticket, sealed: &[u8]) -> Result<u64, NotSent> {
        self.offers.take(sealed, ticket, kit::now())?;
        let turn = line.meanwhile(self.offers.turns.acquire()).await?;
        let image = ticket.image.as_str();
        let found = match self.engine.image(image).await {
            Err(error) if error.is_missing() => return Err(NotSent::NoImage(image.to_owned())),
            found => found?,
        };
        let bytes = u64::try_from(found.size.unwrap_or(0)).unwrap_or(0);
        if bytes > IMAGE_BYTES_MAX {
            return Err(NotSent::TooLarge { bytes });
        }
        let (to, from) = mpsc::channel(AHEAD);
        let saving = self.engine.save(image, to, SENT_WITHIN);
        let (saved, sent) = tokio::join!(saving, line.pass(from));
        drop(turn);
        let bytes = sent?;
        saved?;
        line.put(Kind::Last, &[]).await?;
        line.end().await?;
        Ok(bytes)
    }
}

/// The way to the other end.
struct Line {
    connection: TcpStream,
    sealer: Sealer,
}

impl Line {
    async fn open(connection: TcpStream, key: &MoveKey, ticket: &[u8]) -> Result<Line, PartError> {
        let (sealer, head) = Sealer::new(key, ticket)?;
        let mut line = Line { connection, sealer };
        line.write(&head).await?;
        Ok(line)
    }

    /// Waits for something, and tells the other end that.
    async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, PartError> {
        let mut wait = std::pin::pin!(wait);
        loop {
            match timeout(TOLD_EVERY, &mut wait).await {
                Ok(done) => return Ok(done),
                Err(_) => self.put(Kind::Wait, &[]).await?,
            }
        }
    }

    /// Passes on what comes of an image, and says how much that was.
    async fn pass(&mut self, mut from: mpsc::Receiver<Bytes>) -> Result<u64, NotSent> {
        let mut bytes = 0;
        while let Some(piece) = self.meanwhile(from.recv()).await? {
            bytes += piece.len() as u64;
            if bytes > IMAGE_BYTES_MAX {
                return Err(NotSent::TooLarge { bytes });
            }
            for part in piece.chunks(PART_BYTES_MAX) {
                self.put(Kind::More, part).await?;
            }
        }
        Ok(bytes)
    }

    async fn put(&mut self, kind: Kind, plain: &[u8]) -> Result<(), PartError> {
        let part = self.sealer.seal(kind, plain)?;
        self.write(&part).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), PartError> {
        let written = timeout(TAKEN_WITHIN, self.connection.write_all(bytes)).await;
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        Ok(written.map_err(|_| late())??)
    }

    /// Says why no more comes, if the other end is still there.
    async fn fail(&mut self, error: &NotSent) {
        let is_there = match error {
            NotSent::Gone(_) => false,
            NotSent::Declined(_)
            | NotSent::NoImage(_)
            | NotSent::TooLarge { .. }
            | NotSent::Engine(_) => true,
        };
        if is_there {
            let reason: String = error.to_string().chars().take(REASON_MAX).collect();
            // What the other end makes of it, it says itself.
            let _ = self.put(Kind::Failed, reason.as_bytes()).await;
            let _ = self.end().await;
        }
    }

    async fn end(&mut self) -> Result<(), PartError> {
        Ok(self.connection.shutdown().await?)
    }
}

// Whoever waits for a turn holds a connection: there must be more of these.
const _: () = assert!(CONNECTIONS_MAX > SENT_AT_ONCE);
