//! Images that go from one engine to another, where no registry has them.
//!
//! An actuator that listens offers the image of each container that it tells of for a move: an address and a ticket, which travel in what
//! it seals for the other node ([`crate::seal`]), so that nobody without the key has them. Whoever shows the ticket gets what the engine
//! saves of that one image ([`serve`]), in sealed parts ([`parts`]), which go into the other engine as they come ([`fetch`]). What came is
//! then held against what was told of the image (`moving`).
//!
//! The connection is plain TCP: both ends have a key already, and without it nothing on it can be read, changed, cut short or put in
//! another order unseen. Nothing is offered of containers that are told of in case this node is lost: nobody would be there to give it.

mod config;
mod events;
mod fetch;
mod parts;
mod serve;
mod ticket;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use units::{NodeId, Timestamp};

use crate::config::Config;
use crate::seal::{MoveKey, SealError};

pub use config::Images;
pub(crate) use fetch::{NotFetched, fetch};
pub(crate) use serve::serve;

use ticket::{Begun, Declined, Ticket};

/// An offer is good for as long as steps of its move are begun; a move that is decided later has one of its own.
const OFFERED_FOR: Duration = Duration::from_secs(30 * 60);
/// Images sent at once; further ones wait for their turn. Each reads and writes as fast as the disk and the line allow.
const SENT_AT_ONCE: usize = 2;
/// The most bytes of an image, as the engine saves it: at 100 Mbit/s it takes some twenty minutes, which is more than it is given.
const IMAGE_BYTES_MAX: u64 = 16 << 30;
/// A transfer ends within this, as the pull of an image does.
const SENT_WITHIN: Duration = Duration::from_secs(600);
const GIB: u64 = 1 << 30;

/// Why images cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The address is taken, or is not one of this host.
    #[error(
        "images cannot be offered at {address}: set actuator.images.listen to a free address of this host, or leave it out"
    )]
    Bind {
        /// The address configured.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others would not know where to ask.
    #[error(
        "images are offered on every address of this host, and none of them is known to others: set actuator.images.address"
    )]
    NoAddress,
    /// Nobody could be told.
    #[error(
        "images are offered to who has the key for moves, and there is none: set actuator.move_key_file"
    )]
    NoKey,
}

/// Where another node gets an image, and with what. It travels sealed.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Offer {
    /// Host and port.
    pub(crate) address: String,
    /// In base64.
    ticket: String,
}

/// What this node offers.
pub(crate) struct Offers {
    node: NodeId,
    /// Host and port, as others reach them.
    address: String,
    begun: Mutex<Begun>,
    turns: Semaphore,
}

impl Offers {
    /// Listens, where the configuration wants that.
    ///
    /// # Errors
    /// When the address is taken, or there is no key, or others would not know where this is.
    pub(crate) async fn open(
        config: &Config,
        node: &NodeId,
        key: Option<&MoveKey>,
    ) -> Result<(Option<Self>, Option<TcpListener>), OfferError> {
        let Some(address) = config.images.listen else {
            return Ok((None, None));
        };
        key.ok_or(OfferError::NoKey)?;
        let bind = |source| OfferError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let bound = listener.local_addr().map_err(bind)?;
        let reached = reached(config, bound.ip()).ok_or(OfferError::NoAddress)?;
        events::Offered {
            listen: bound,
            reached: &reached,
        }
        .emit();
        let offers = Offers {
            node: node.clone(),
            address: with_port(&reached, bound.port()),
            begun: Mutex::default(),
            turns: Semaphore::new(SENT_AT_ONCE),
        };
        Ok((Some(offers), Some(listener)))
    }

    /// Offers an image of this node's engine, by its id.
    ///
    /// # Errors
    /// When there are no random bytes to be had.
    pub(crate) fn of(&self, key: &MoveKey, image: &str) -> Result<Offer, SealError> {
        let ticket = Ticket {
            node: self.node.clone(),
            image: image.to_owned(),
            until: kit::now() + OFFERED_FOR,
        };
        Ok(Offer {
            address: self.address.clone(),
            ticket: STANDARD.encode(ticket.seal(key)?),
        })
    }

    /// Takes a ticket for one transfer.
    fn take(&self, sealed: &[u8], ticket: &Ticket, now: Timestamp) -> Result<(), Declined> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.take(sealed, ticket, &self.node, now)
    }
}

/// The address that others reach this node at.
fn reached(config: &Config, listen: IpAddr) -> Option<String> {
    let own = config.images.address.clone();
    let by_balancers = || config.haproxy.address.map(|it| it.to_string());
    own.or_else(by_balancers)
        .or_else(|| (!listen.is_unspecified()).then(|| listen.to_string()))
}

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::Haproxy;

    #[test]
    fn a_node_is_reached_where_it_is_said_or_else_where_balancers_reach_it_or_where_it_listens() {
        let everywhere = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let mut config = Config::default();
        assert_eq!(reached(&config, everywhere), None);
        let own = IpAddr::from([10, 0, 0, 9]);
        assert_eq!(reached(&config, own).as_deref(), Some("10.0.0.9"));
        config.haproxy = Haproxy {
            address: Some(IpAddr::from([10, 0, 0, 5])),
            ..Haproxy::default()
        };
        assert_eq!(reached(&config, own).as_deref(), Some("10.0.0.5"));
        config.images.address = Some("node-a.example.org".to_owned());
        let told = reached(&config, everywhere);
        assert_eq!(told.as_deref(), Some("node-a.example.org"));
    }

    #[test]
    fn an_address_of_version_6_is_told_apart_from_its_port() {
        assert_eq!(with_port("node-a", 8475), "node-a:8475");
        assert_eq!(with_port("10.0.0.5", 8475), "10.0.0.5:8475");
        assert_eq!(with_port("fd00::5", 8475), "[fd00::5]:8475");
    }

    #[tokio::test]
    async fn nobody_listens_unless_told_to_and_what_is_missing_is_named() {
        let node = NodeId::from("a");
        let key = MoveKey::of([7; 32]);
        let (offers, listener) = Offers::open(&Config::default(), &node, Some(&key))
            .await
            .unwrap();
        assert!(offers.is_none() && listener.is_none());
        let mut config = Config::default();
        config.images.listen = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let open = async |key| {
            let opened = Offers::open(&config, &node, key).await;
            opened.err().unwrap().to_string()
        };
        assert!(open(None).await.contains("actuator.move_key_file"));
        assert!(open(Some(&key)).await.contains("actuator.images.address"));
    }
}
