//! An image on its way, in sealed parts: what is asked, and what is answered.
//!
//! Asked is with [`ASKS`], the length of the ticket (16 bits) and the ticket. Answered is with the version and the beginning of the nonces,
//! then parts: their kind, their length (32 bits) and what is sealed. Numbers have their lowest byte first.
//!
//! Sealing follows STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance",
//! 2015): each part has a nonce of 19 bytes that are the transfer's own, the number of the part, and its kind. So none opens at another
//! place, or as the last one where more were sent; and the ticket is bound to all of them, so that none is of another image.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::seal::{MoveKey, NONCE_BYTES, SealError};

/// What a request begins with.
const ASKS: &[u8] = b"homeostat image 1\n";
/// A sealed ticket names a node and an image; both are short.
const TICKET_BYTES_MAX: usize = 2_048;
const VERSION: u8 = 1;
/// What parts are good for; the ticket follows.
const PURPOSE: &[u8] = b"homeostat: parts of an image, 1";
const PREFIX_BYTES: usize = NONCE_BYTES - 4 - 1;
const TAG_BYTES: usize = 16;
/// Bytes of the image in one part. Larger ones save nothing, and memory is taken for one at each end.
pub(super) const PART_BYTES_MAX: usize = 256 * 1024;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the image, and more comes.
    More = 0,
    /// That was all of it.
    Last = 1,
    /// No more comes, and this is why.
    Failed = 2,
    /// Nothing for now: it is still there.
    Wait = 3,
}

impl Kind {
    const fn of(byte: u8) -> Option<Kind> {
        match byte {
            0 => Some(Kind::More),
            1 => Some(Kind::Last),
            2 => Some(Kind::Failed),
            3 => Some(Kind::Wait),
            4.. => None,
        }
    }
}

/// A part, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    More(Vec<u8>),
    Last,
    Failed(String),
    Wait,
}

/// Why no part is had, or sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    /// The connection.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is no part, or not the next one.
    #[error(
        "what came does not open: it was damaged on its way, or is of another image or of another actuator.move_key_file"
    )]
    Foreign,
    /// The other end is of another release.
    #[error("what came is of version {found}, and this actuator reads {VERSION}")]
    OtherVersion { found: u8 },
    #[error(transparent)]
    Seal(#[from] SealError),
    /// So many parts no transfer has.
    #[error("there are more parts than can be numbered")]
    Endless,
}

/// Where in a transfer its end is.
struct Place {
    cipher: XChaCha20Poly1305,
    prefix: [u8; PREFIX_BYTES],
    /// Of the next part.
    number: u32,
    bound_to: Vec<u8>,
}

impl Place {
    fn new(key: &MoveKey, ticket: &[u8], prefix: [u8; PREFIX_BYTES]) -> Self {
        Place {
            cipher: key.cipher().clone(),
            prefix,
            number: 0,
            bound_to: [PURPOSE, ticket].concat(),
        }
    }

    /// The nonce of the next part, which is no other's.
    fn next(&mut self, kind: Kind) -> Result<XNonce, PartError> {
        let mut nonce = [0; NONCE_BYTES];
        let (prefix, rest) = nonce.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(&self.prefix);
        rest[..4].copy_from_slice(&self.number.to_le_bytes());
        rest[4] = kind as u8;
        self.number = self.number.checked_add(1).ok_or(PartError::Endless)?;
        Ok(XNonce::from(nonce))
    }
}

/// The end that sends.
pub(super) struct Sealer(Place);

impl Sealer {
    /// With it what an answer begins with.
    pub(super) fn new(key: &MoveKey, ticket: &[u8]) -> Result<(Self, Vec<u8>), PartError> {
        let random = MoveKey::nonce()?;
        let prefix = *random
            .first_chunk::<PREFIX_BYTES>()
            .expect("a nonce is longer than its beginning");
        let head = [&[VERSION], &prefix[..]].concat();
        Ok((Sealer(Place::new(key, ticket, prefix)), head))
    }

    /// The next part, as it is sent.
    pub(super) fn seal(&mut self, kind: Kind, plain: &[u8]) -> Result<Vec<u8>, PartError> {
        let nonce = self.0.next(kind)?;
        let payload = Payload {
            msg: plain,
            aad: &self.0.bound_to,
        };
        let sealed = self.0.cipher.encrypt(&nonce, payload);
        let sealed = sealed.expect("the cipher takes 256 GiB, which is more than a part has");
        let length = u32::try_from(sealed.len()).expect("a part has far fewer bytes than 4 GiB");
        Ok([&[kind as u8], &length.to_le_bytes()[..], &sealed].concat())
    }
}

/// The end that reads.
pub(super) struct Opener(Place);

impl Opener {
    /// From what an answer begins with.
    pub(super) async fn read<R: AsyncRead + Unpin>(
        from: &mut R,
        key: &MoveKey,
        ticket: &[u8],
    ) -> Result<Self, PartError> {
        match from.read_u8().await? {
            VERSION => {}
            found => return Err(PartError::OtherVersion { found }),
        }
        let mut prefix = [0; PREFIX_BYTES];
        from.read_exact(&mut prefix).await?;
        Ok(Opener(Place::new(key, ticket, prefix)))
    }

    /// The next part.
    pub(super) async fn next<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
    ) -> Result<Part, PartError> {
        let kind = Kind::of(from.read_u8().await?).ok_or(PartError::Foreign)?;
        let length = usize::try_from(from.read_u32_le().await?).unwrap_or(usize::MAX);
        if length > PART_BYTES_MAX + TAG_BYTES {
            return Err(PartError::Foreign);
        }
        let mut sealed = vec![0; length];
        from.read_exact(&mut sealed).await?;
        let nonce = self.0.next(kind)?;
        let payload = Payload {
            msg: &sealed,
            aad: &self.0.bound_to,
        };
        let opened = self.0.cipher.decrypt(&nonce, payload);
        let plain = opened.map_err(|_| PartError::Foreign)?;
        Ok(match kind {
            Kind::More => Part::More(plain),
            Kind::Last => Part::Last,
            Kind::Failed => Part::Failed(String::from_utf8_lossy(&plain).into_owned()),
            Kind::Wait => Part::Wait,
        })
    }
}

/// Asks for what a ticket is good for.
pub(super) async fn ask<W: AsyncWrite + Unpin>(to: &mut W, ticket: &[u8]) -> Result<(), PartError> {
    let length = u16::try_from(ticket.len()).map_err(|_| PartError::Foreign)?;
    let request = [ASKS, &length.to_le_bytes()[..], ticket].concat();
    Ok(to.write_all(&request).await?)
}

/// The ticket that somebody shows.
pub(super) async fn asked<R: AsyncRead + Unpin>(from: &mut R) -> Result<Vec<u8>, PartError> {
    let mut asks = [0; ASKS.len()];
    from.read_exact(&mut asks).await?;
    let length = usize::from(from.read_u16_le().await?);
    if asks != *ASKS || length > TICKET_BYTES_MAX {
        return Err(PartError::Foreign);
    }
    let mut ticket = vec![0; length];
    from.read_exact(&mut ticket).await?;
    Ok(ticket)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICKET: &[u8] = b"a ticket";

    fn key() -> MoveKey {
        MoveKey::of([7; 32])
    }

    /// What is sent of an image in these pieces, part by part.
    fn sent(pieces: &[Vec<u8>], last: Option<Kind>) -> Vec<Vec<u8>> {
        let (mut sealer, head) = Sealer::new(&key(), TICKET).unwrap();
        let mut parts = vec![head];
        for piece in pieces {
            parts.push(sealer.seal(Kind::More, piece).unwrap());
        }
        parts.extend(last.map(|it| sealer.seal(it, b"why").unwrap()));
        parts
    }

    /// What is made of it at the other end: the image, or nothing.
    fn received(key: &MoveKey, ticket: &[u8], bytes: &[u8]) -> Result<Vec<Vec<u8>>, PartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let mut from = bytes;
            let mut opener = Opener::read(&mut from, key, ticket).await?;
            let mut pieces = Vec::new();
            loop {
                match opener.next(&mut from).await? {
                    Part::More(piece) => pieces.push(piece),
                    Part::Last => return Ok(pieces),
                    Part::Wait => {}
                    Part::Failed(reason) => {
                        return Err(PartError::Io(std::io::Error::other(reason)));
                    }
                }
            }
        })
    }

    fn pieces() -> Vec<Vec<u8>> {
        vec![b"one".to_vec(), Vec::new(), b"two".to_vec()]
    }

    #[test]
    fn an_image_comes_as_it_was_sent_and_nobody_else_reads_it() {
        let bytes = sent(&pieces(), Some(Kind::Last)).concat();
        assert_eq!(received(&key(), TICKET, &bytes).unwrap(), pieces());
        assert!(!bytes.windows(3).any(|it| it == b"one"));
        let other = MoveKey::of([8; 32]);
        for (key, ticket) in [(&other, TICKET), (&key(), b"another ticket")] {
            let told = received(key, ticket, &bytes);
            assert!(matches!(told, Err(PartError::Foreign)));
        }
        let again = sent(&pieces(), Some(Kind::Last)).concat();
        assert_ne!(bytes, again, "no two transfers are alike");
    }

    #[test]
    fn waiting_is_no_part_of_the_image_and_a_reason_comes_through() {
        let (mut sealer, head) = Sealer::new(&key(), TICKET).unwrap();
        let mut bytes = head;
        bytes.extend(sealer.seal(Kind::Wait, b"").unwrap());
        bytes.extend(sealer.seal(Kind::More, b"one").unwrap());
        let mut whole = bytes.clone();
        whole.extend(sealer.seal(Kind::Last, b"").unwrap());
        assert_eq!(received(&key(), TICKET, &whole).unwrap(), [b"one"]);
        let failed = sent(&pieces(), Some(Kind::Failed)).concat();
        let told = received(&key(), TICKET, &failed).unwrap_err();
        assert_eq!(told.to_string(), "why");
    }

    #[test]
    fn what_says_it_is_of_another_kind_or_version_or_too_long_is_not_taken() {
        let parts = sent(&pieces(), Some(Kind::Last));
        let mut bytes = parts.concat();
        // More is on its way, and somebody says that this was all.
        bytes[parts[0].len()] = Kind::Last as u8;
        let told = received(&key(), TICKET, &bytes);
        assert!(matches!(told, Err(PartError::Foreign)));
        let mut bytes = parts.concat();
        bytes[0] = VERSION + 1;
        let told = received(&key(), TICKET, &bytes);
        assert!(matches!(told, Err(PartError::OtherVersion { found: 2 })));
        let mut bytes = parts.concat();
        let length = parts[0].len() + 1;
        bytes[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let told = received(&key(), TICKET, &bytes);
        assert!(matches!(told, Err(PartError::Foreign)));
    }

    #[tokio::test]
    async fn a_ticket_is_shown_and_nothing_else_is_taken_for_one() {
        let mut bytes = Vec::new();
        ask(&mut bytes, TICKET).await.unwrap();
        assert_eq!(asked(&mut &bytes[..]).await.unwrap(), TICKET);
        for length in 0..bytes.len() {
            assert!(asked(&mut &bytes[..length]).await.is_err(), "{length}");
        }
        let http = b"GET /images/json HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(asked(&mut &http[..]).await.is_err());
        let long = [ASKS, &u16::MAX.to_le_bytes()[..], &[0; 65_535]].concat();
        assert!(matches!(
            asked(&mut &long[..]).await,
            Err(PartError::Foreign)
        ));
    }

    fn some_pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)
    }

    proptest! {
        #[test]
        fn one_that_is_cut_anywhere_is_never_taken_for_whole(pieces in some_pieces(), at in any::<prop::sample::Index>()) {
            let bytes = sent(&pieces, Some(Kind::Last)).concat();
            prop_assert!(received(&key(), TICKET, &bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn one_with_parts_in_another_order_is_not_taken(pieces in some_pieces(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
            let mut parts = sent(&pieces, Some(Kind::Last));
            let (a, b) = (1 + a.index(parts.len() - 1), 1 + b.index(parts.len() - 1));
            prop_assume!(a != b);
            parts.swap(a, b);
            prop_assert!(received(&key(), TICKET, &parts.concat()).is_err());
        }

        #[test]
        fn one_with_a_part_left_out_or_twice_is_not_taken(pieces in some_pieces(), at in any::<prop::sample::Index>()) {
            let parts = sent(&pieces, Some(Kind::Last));
            let at = 1 + at.index(parts.len() - 2);
            let mut fewer = parts.clone();
            fewer.remove(at);
            prop_assert!(received(&key(), TICKET, &fewer.concat()).is_err());
            let mut more = parts.clone();
            more.insert(at, parts[at].clone());
            prop_assert!(received(&key(), TICKET, &more.concat()).is_err());
        }

        #[test]
        fn one_with_any_bit_flipped_is_not_taken(pieces in some_pieces(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = sent(&pieces, Some(Kind::Last)).concat();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(received(&key(), TICKET, &bytes).is_err());
        }

        #[test]
        fn a_part_of_another_transfer_of_the_same_image_is_not_taken(pieces in some_pieces(), at in any::<prop::sample::Index>()) {
            let mut parts = sent(&pieces, Some(Kind::Last));
            let others = sent(&pieces, Some(Kind::Last));
            let at = 1 + at.index(parts.len() - 1);
            parts[at] = others[at].clone();
            prop_assert!(received(&key(), TICKET, &parts.concat()).is_err());
        }

        #[test]
        fn any_bytes_are_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(received(&key(), TICKET, &bytes).is_err());
        }
    }
}
