//! Who leads: the group member that holds the only partition of the election topic.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bus::{BusError, Fetched, Subscription};
use kit::Context;
use kit::backoff::{Backoff, seed_of};
use kit::health::Dependency;
use units::Generation;
use wire::{Claim, Meta, topic};

use crate::Error;
use crate::config::Config;
use crate::events::{Elected, Following, Meters};
use crate::session::{End, Session};
use crate::sources::generation_of;

const GROUP: &str = "homeostat-controller";
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(5);

/// A controller that leads when it is elected.
pub(crate) struct Candidate {
    config: Config,
    context: Context,
    meters: Meters,
    log: Dependency,
    election: Dependency,
    waits: Backoff,
}

/// What the candidate is.
enum Standing {
    /// Another one leads, or none yet.
    Follower,
    /// Holds the partition; the claim is being written. Kept across turns: dropped and begun again it would be written twice.
    Elected(Claiming),
    /// Leads, or reads to do so.
    Leader(Box<Session>),
    /// A newer claim was seen; the group is about to take the partition away.
    Superseded,
}

type Claiming = Pin<Box<dyn Future<Output = Result<Generation, BusError>> + Send>>;

/// What happened to a candidate.
enum Turn {
    Fetched(Result<Fetched, BusError>),
    Claimed(Result<Generation, BusError>),
    Ended(Result<End, Error>),
    Shutdown,
}

impl Candidate {
    pub(crate) fn new(config: Config, context: Context) -> Self {
        Candidate {
            meters: Meters::new(&context.metrics),
            log: context.health.dependency(kit::boot::LOG),
            election: context.health.dependency("election"),
            waits: Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(&context.producer)),
            config,
            context,
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let Some(mut subscription) = self.join().await else {
            return Ok(());
        };
        let mut standing = Standing::Follower;
        Following { why: "starting" }.emit(&self.meters);
        loop {
            // The group comes first: what was taken away must not be used once more.
            let turn = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => Turn::Shutdown,
                fetched = subscription.next() => Turn::Fetched(fetched),
                turn = turn(&mut standing) => turn,
            };
            standing = match turn {
                Turn::Shutdown => {
                    if let Standing::Leader(mut session) = standing {
                        session.drain().await;
                    }
                    Following {
                        why: "shutting down",
                    }
                    .emit(&self.meters);
                    return Ok(());
                }
                Turn::Fetched(fetched) => self.fetched(standing, fetched.map_err(Error::Election)?),
                Turn::Claimed(claimed) => self.claimed(claimed),
                Turn::Ended(end) => {
                    let End::Superseded(newer) = end?;
                    Following {
                        why: &format!("generation {newer} has claimed to lead"),
                    }
                    .emit(&self.meters);
                    Standing::Superseded
                }
            };
        }
    }

    /// Joins the group, trying until the log answers. None when the process is to end.
    async fn join(&mut self) -> Option<Subscription> {
        loop {
            let attempt = self.context.bus.subscribe(GROUP, &[topic::ELECTION]);
            match self.context.shutdown.run_until_cancelled(attempt).await? {
                Ok(subscription) => {
                    self.waits.reset();
                    return Some(subscription);
                }
                Err(error) => self.log.down(kit::boot::chain(&error)),
            }
            self.pause().await?;
        }
    }

    async fn pause(&mut self) -> Option<()> {
        let wait = self.waits.next().unwrap_or(RETRY_CAP);
        self.context
            .shutdown
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
    }

    fn fetched(&self, standing: Standing, fetched: Fetched) -> Standing {
        match fetched {
            // Claims of others and our own; readers follow them where it matters.
            Fetched::Record(_) => standing,
            Fetched::Assigned(partitions) => {
                self.election.up();
                if partitions.is_empty() {
                    Following {
                        why: "another controller leads",
                    }
                    .emit(&self.meters);
                    Standing::Follower
                } else {
                    self.elected(Duration::ZERO)
                }
            }
            Fetched::Revoked(partitions) => {
                if partitions.is_empty() {
                    return standing;
                }
                // Dropping the session drops its unsent commands with it.
                Following {
                    why: "the election topic was reassigned",
                }
                .emit(&self.meters);
                Standing::Follower
            }
        }
    }

    /// Begins to write the claim, after a wait.
    fn elected(&self, wait: Duration) -> Standing {
        let context = self.context.clone();
        Standing::Elected(Box::pin(async move {
            tokio::time::sleep(wait).await;
            claim(&context).await
        }))
    }

    fn claimed(&mut self, claimed: Result<Generation, BusError>) -> Standing {
        match claimed {
            Ok(generation) => {
                self.waits.reset();
                self.log.up();
                Elected { generation }.emit();
                let session = Session::new(&self.config, &self.context, &self.meters, generation);
                Standing::Leader(Box::new(session))
            }
            Err(error) => {
                self.log.down(kit::boot::chain(&error));
                let wait = self.waits.next().unwrap_or(RETRY_CAP);
                self.elected(wait)
            }
        }
    }
}

/// The next thing that happens to a candidate of itself; never for a follower.
async fn turn(standing: &mut Standing) -> Turn {
    match standing {
        Standing::Follower | Standing::Superseded => std::future::pending().await,
        Standing::Elected(claiming) => Turn::Claimed(claiming.await),
        Standing::Leader(session) => Turn::Ended(session.work().await),
    }
}

/// Writes the claim whose offset is the generation.
async fn claim(context: &Context) -> Result<Generation, BusError> {
    let claim = Claim {
        candidate: context.producer.to_string(),
        at: kit::now(),
    };
    let meta = Meta::new(Arc::clone(&context.producer));
    let position = context.bus.produce(wire::encode(&claim, &meta)).await?;
    Ok(generation_of(&position))
}
