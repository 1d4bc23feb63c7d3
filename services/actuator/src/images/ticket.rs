//! Who may have an image: tickets, and how often each was shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use units::{NodeId, Timestamp};

use super::OFFERED_FOR;
use crate::seal::{MoveKey, NONCE_BYTES, SealError};

/// What a sealed ticket is good for.
const PURPOSE: &[u8] = b"homeostat: a ticket for an image, 1";
/// Transfers begun with one ticket: an actuator that is killed in the middle of one begins again.
const TIMES_MAX: u32 = 4;
/// Tickets remembered at once. Far more than moves of one node in the time that one is good for; more of them are not taken.
const REMEMBERED_MAX: usize = 4_096;

/// Lets whoever has it have one image. It is the node's own note to itself: sealed and given away, it comes back as it was, whatever became
/// of the process meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// Who gives it.
    pub(super) node: NodeId,
    /// Its id there.
    pub(super) image: String,
    /// By the clock of that node.
    pub(super) until: Timestamp,
}

/// Why an image is not given, though the ticket was made with the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Declined {
    #[error("this is {here}: correct actuator.images.address of {node}")]
    Elsewhere { here: NodeId, node: NodeId },
    #[error("what it offered was good for {} min, and is over", OFFERED_FOR.as_secs() / 60)]
    Over,
    #[error("it was begun {TIMES_MAX} times already, and a move has no more tries")]
    Spent,
    #[error("too many were asked for at once; it is tried again with the next move")]
    TooMany,
}

impl Ticket {
    pub(super) fn seal(&self, key: &MoveKey) -> Result<Vec<u8>, SealError> {
        let plain = serde_json::to_vec(self).expect("texts and a number are always JSON");
        key.seal_bytes(&plain, PURPOSE)
    }

    /// None for what was not sealed as a ticket under this key.
    pub(super) fn open(key: &MoveKey, sealed: &[u8]) -> Option<Self> {
        let plain = key.open_bytes(sealed, PURPOSE)?;
        serde_json::from_slice(&plain).ok()
    }
}

/// How often each ticket was shown, for as long as it is good. What a process forgets when it ends is no secret: whoever shows a ticket
/// again gets what only the key opens.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// By the nonce under which it was sealed, which no two share.
    times: BTreeMap<[u8; NONCE_BYTES], (u32, Timestamp)>,
}

impl Begun {
    pub(super) fn take(
        &mut self,
        sealed: &[u8],
        ticket: &Ticket,
        here: &NodeId,
        now: Timestamp,
    ) -> Result<(), Declined> {
        if ticket.node != *here {
            return Err(Declined::Elsewhere {
                here: here.clone(),
                node: ticket.node.clone(),
            });
        }
        self.times.retain(|_, (_, until)| *until >= now);
        let nonce = sealed.first_chunk::<NONCE_BYTES>();
        let (Some(nonce), true) = (nonce, ticket.until >= now) else {
            return Err(Declined::Over);
        };
        if self.times.len() >= REMEMBERED_MAX && !self.times.contains_key(nonce) {
            return Err(Declined::TooMany);
        }
        let (times, _) = self.times.entry(*nonce).or_insert((0, ticket.until));
        if *times >= TIMES_MAX {
            return Err(Declined::Spent);
        }
        *times += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MoveKey {
        MoveKey::of([7; 32])
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn ticket() -> Ticket {
        Ticket {
            node: NodeId::from("a"),
            image: "sha256:1".to_owned(),
            until: at(1_000),
        }
    }

    fn take(begun: &mut Begun, sealed: &[u8], now: i64) -> Result<(), Declined> {
        let ticket = Ticket::open(&key(), sealed).unwrap();
        begun.take(sealed, &ticket, &NodeId::from("a"), at(now))
    }

    #[test]
    fn a_ticket_comes_back_as_it_was_given_and_is_nothing_else() {
        let sealed = ticket().seal(&key()).unwrap();
        assert_eq!(Ticket::open(&key(), &sealed), Some(ticket()));
        assert_ne!(sealed, ticket().seal(&key()).unwrap(), "no two are alike");
        assert_eq!(Ticket::open(&MoveKey::of([8; 32]), &sealed), None);
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert_eq!(Ticket::open(&key(), &other), None, "{at}");
        }
        // Sealed for something else, under the same key.
        let plain = serde_json::to_vec(&ticket()).unwrap();
        let other = key().seal_bytes(&plain, b"something else").unwrap();
        assert_eq!(Ticket::open(&key(), &other), None);
    }

    #[test]
    fn a_ticket_is_good_for_some_tries_until_its_time_is_over() {
        let mut begun = Begun::default();
        let sealed = ticket().seal(&key()).unwrap();
        for _ in 0..TIMES_MAX {
            assert_eq!(take(&mut begun, &sealed, 1_000), Ok(()));
        }
        assert_eq!(take(&mut begun, &sealed, 1_000), Err(Declined::Spent));
        let another = ticket().seal(&key()).unwrap();
        assert_eq!(take(&mut begun, &another, 1_000), Ok(()));
        assert_eq!(take(&mut begun, &another, 1_001), Err(Declined::Over));
        assert!(begun.times.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn a_ticket_of_another_node_names_the_setting_that_leads_astray() {
        let other = Ticket {
            node: NodeId::from("b"),
            ..ticket()
        };
        let sealed = other.seal(&key()).unwrap();
        let told = take(&mut Begun::default(), &sealed, 0).unwrap_err();
        let told = told.to_string();
        assert!(
            told.contains("this is a") && told.contains("actuator.images.address of b"),
            "{told}"
        );
    }

    #[test]
    fn only_so_many_are_remembered_and_those_that_are_known_still_count() {
        let mut begun = Begun::default();
        let first = ticket().seal(&key()).unwrap();
        assert_eq!(take(&mut begun, &first, 0), Ok(()));
        for number in 1..REMEMBERED_MAX {
            let mut sealed = vec![0; NONCE_BYTES];
            sealed[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let taken = begun.take(&sealed, &ticket(), &NodeId::from("a"), at(0));
            assert_eq!(taken, Ok(()));
        }
        let one_more = ticket().seal(&key()).unwrap();
        assert_eq!(take(&mut begun, &one_more, 0), Err(Declined::TooMany));
        assert_eq!(take(&mut begun, &first, 0), Ok(()));
        let later = Ticket {
            until: at(5_000),
            ..ticket()
        };
        let later = later.seal(&key()).unwrap();
        assert_eq!(take(&mut begun, &later, 1_001), Ok(()));
        assert_eq!(begun.times.len(), 1);
    }
}
