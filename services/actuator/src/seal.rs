//! What moves between nodes, sealed: how a container is made holds the secrets of its environment, and travels in a log that many read.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under one key that the actuators share, with a random nonce for each text. What a text
//! is good for is bound to it as associated data: this container, from this node to that, in this move. Nothing here is printed.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{ContainerInspectResponse, ImageConfig};
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use units::{NodeId, Relocation, Timestamp};

use crate::images::Offer;

/// The most characters of a sealed text. A plan holds it once and a record of the log takes a megabyte; what the engine says of a
/// container is some ten thousand bytes, so one with more is refused rather than cut.
pub(crate) const SEALED_MAX: usize = 256 * 1024;
/// Of the layout and of what is inside.
const VERSION: u8 = 1;
pub(crate) const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
/// A file of a key is smaller; a larger one is refused unread.
const FILE_BYTES_MAX: u64 = 1024;
/// Permissions of others than the owner.
const OTHERS: u32 = 0o077;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key for moves in {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others than its owner may read it.
    #[error(
        "the key for moves in {path} is open to others than its owner (mode {mode:o}): chmod 600 {path}",
        path = path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key.
    #[error(
        "{} holds no key for moves, which is 32 bytes as 64 hex digits or in base64; make one with `openssl rand -hex 32`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Why something cannot be sealed, or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error(
        "how it is made takes {length} characters sealed, and at most {SEALED_MAX} travel; its environment or its labels are very large"
    )]
    TooLong { length: usize },
    #[error("this system gives no random bytes: {0}")]
    NoRandom(String),
    #[error(
        "what was sealed for this move does not open: it was damaged, made for another move, or sealed with another key; give both nodes the same actuator.move_key_file"
    )]
    Closed,
    #[error(
        "what was sealed for this move is of version {found}, and this actuator reads {VERSION}; bring both nodes to the same release"
    )]
    OtherVersion { found: u8 },
}

/// How a container is made, as it is told to the node where it goes.
// Without `Debug`, so that it cannot be printed.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Exported {
    /// Where it was told.
    pub(crate) node: NodeId,
    /// The engine's own words.
    pub(crate) inspect: ContainerInspectResponse,
    pub(crate) image: ExportedImage,
    /// Where that is given, for as long as its node is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offer: Option<Offer>,
}

/// The image it runs.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct ExportedImage {
    pub(crate) id: String,
    /// What the container was made from.
    pub(crate) reference: String,
    /// Where registries have it; none for one that was built where it runs.
    pub(crate) repo_digests: Vec<String>,
    pub(crate) os: String,
    pub(crate) architecture: String,
    /// Digests of its layers, which are the same wherever it is stored.
    pub(crate) layers: Vec<String>,
    pub(crate) config: ImageConfig,
}

/// The key that actuators share.
pub(crate) struct MoveKey {
    cipher: XChaCha20Poly1305,
    /// What marks begin with.
    marking: Sha256,
}

impl fmt::Debug for MoveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MoveKey")
    }
}

impl MoveKey {
    /// Reads the key from its file: 32 bytes as hex digits or base64, for its owner's eyes alone.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or holds something else. Its content is not quoted.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |reason: String| KeyError::Unreadable {
            path: path.to_owned(),
            reason,
        };
        let io = |error: std::io::Error| unreadable(error.to_string());
        let file = std::fs::File::open(path).map_err(io)?;
        let told = file.metadata().map_err(io)?;
        if !told.is_file() || told.len() > FILE_BYTES_MAX {
            let reason = format!("it is no file of at most {FILE_BYTES_MAX} bytes");
            return Err(unreadable(reason));
        }
        let mode = told.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            let path = path.to_owned();
            return Err(KeyError::Open { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let text = std::str::from_utf8(&bytes).ok();
        let key = text.and_then(|text| key(text.trim()));
        key.map(MoveKey::new).ok_or_else(|| KeyError::Malformed {
            path: path.to_owned(),
        })
    }

    fn new(key: Key) -> Self {
        MoveKey {
            cipher: XChaCha20Poly1305::new(&key),
            marking: Sha256::new().chain_update([VERSION]).chain_update(key),
        }
    }

    /// A mark by which it is known whether the same would be sealed again, under the same key. It tells nothing to whoever has not got
    /// that.
    pub(crate) fn mark(&self, exported: &Exported) -> String {
        // By way of a value, whose keys are in order: the engine's own are in another with each answer.
        let plain = serde_json::to_value(exported)
            .expect("what came as JSON has text keys and no failing serialiser, so JSON takes it");
        let digest = self.marking.clone().chain_update(plain.to_string());
        STANDARD.encode(digest.finalize())
    }

    /// Seals it for one move, in base64.
    ///
    /// # Errors
    /// When it is too long, or there are no random bytes to be had.
    pub(crate) fn seal(
        &self,
        exported: &Exported,
        relocation: &Relocation,
    ) -> Result<String, SealError> {
        let plain = serde_json::to_vec(exported)
            .expect("what came as JSON has text keys and no failing serialiser, so JSON takes it");
        let mut whole = vec![VERSION];
        whole.extend(self.seal_bytes(&plain, &bound_to(relocation))?);
        let text = STANDARD.encode(whole);
        match text.len() {
            length if length > SEALED_MAX => Err(SealError::TooLong { length }),
            _ => Ok(text),
        }
    }

    /// Opens what was sealed for this move.
    ///
    /// # Errors
    /// When it was sealed otherwise, or is longer than anything that is sealed.
    pub(crate) fn open(&self, text: &str, relocation: &Relocation) -> Result<Exported, SealError> {
        if text.len() > SEALED_MAX {
            return Err(SealError::TooLong { length: text.len() });
        }
        let whole = STANDARD.decode(text).map_err(|_| SealError::Closed)?;
        let (&version, rest) = whole.split_first().ok_or(SealError::Closed)?;
        if version != VERSION {
            return Err(SealError::OtherVersion { found: version });
        }
        let plain = self.open_bytes(rest, &bound_to(relocation));
        // What the parser would say quotes what it read.
        serde_json::from_slice(&plain.ok_or(SealError::Closed)?).map_err(|_| SealError::Closed)
    }

    /// Seals some bytes for a purpose, with a nonce of their own before them.
    ///
    /// # Errors
    /// When there are no random bytes to be had.
    pub(crate) fn seal_bytes(&self, plain: &[u8], purpose: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = MoveKey::nonce()?;
        let payload = Payload {
            msg: plain,
            aad: purpose,
        };
        let sealed = self.cipher.encrypt(&nonce, payload);
        let sealed = sealed.expect("the cipher takes 256 GiB, which is more than memory holds");
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed so, for the same purpose; None for everything else.
    pub(crate) fn open_bytes(&self, sealed: &[u8], purpose: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: purpose,
        };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
    }

    /// One that nothing else was sealed with.
    ///
    /// # Errors
    /// When there are no random bytes to be had.
    pub(crate) fn nonce() -> Result<XNonce, SealError> {
        XNonce::try_generate().map_err(|error| SealError::NoRandom(error.to_string()))
    }

    /// What seals, for what has nonces of its own.
    pub(crate) fn cipher(&self) -> &XChaCha20Poly1305 {
        &self.cipher
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: [u8; KEY_BYTES]) -> Self {
        MoveKey::new(Key::from(bytes))
    }
}

fn key(text: &str) -> Option<Key> {
    let bytes = match text.len() {
        length if length == KEY_BYTES * 2 => unhex(text)?,
        _ => STANDARD.decode(text).ok()?,
    };
    let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
    Some(Key::from(bytes))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|it| it.to_digit(16)).collect();
    let digits = digits?;
    let bytes = digits.chunks(2).map(|it| match it {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect()
}

/// What a sealed text is good for, each part with its length before it, so that no two moves read alike. What is told in case a node is lost
/// is told before anybody knows where its container will go, and when: it is good for that one container's failover, wherever to.
fn bound_to(relocation: &Relocation) -> Vec<u8> {
    let Relocation {
        container,
        name: _,
        from,
        to,
        at,
        lost,
    } = relocation;
    let (to, at) = match lost {
        true => ("", Timestamp::EPOCH),
        false => (to.as_str(), *at),
    };
    let mut bytes = vec![VERSION];
    for part in [from.as_str(), to, container.as_str()] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(&at.as_millis().to_le_bytes());
    bytes.push(u8::from(*lost));
    bytes
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerConfig;
    use units::{ContainerId, ContainerName};

    use super::*;

    const SECRET: &str = "PASSWORD=correct horse battery staple";

    fn exported(env: &[&str]) -> Exported {
        Exported {
            node: NodeId::from("a"),
            inspect: ContainerInspectResponse {
                id: Some("c1".to_owned()),
                config: Some(ContainerConfig {
                    env: Some(env.iter().map(|it| (*it).to_owned()).collect()),
                    ..ContainerConfig::default()
                }),
                ..ContainerInspectResponse::default()
            },
            image: ExportedImage {
                id: "sha256:1".to_owned(),
                reference: "shop/web:3".to_owned(),
                repo_digests: Vec::new(),
                os: "linux".to_owned(),
                architecture: "amd64".to_owned(),
                layers: Vec::new(),
                config: ImageConfig::default(),
            },
            offer: None,
        }
    }

    fn relocation() -> Relocation {
        Relocation {
            container: ContainerId::from("c1"),
            name: ContainerName::from("web"),
            from: NodeId::from("a"),
            to: NodeId::from("b"),
            at: Timestamp::from_millis(1),
            lost: false,
        }
    }

    fn key_of(byte: u8) -> MoveKey {
        MoveKey::of([byte; KEY_BYTES])
    }

    fn error(opened: Result<Exported, SealError>) -> SealError {
        opened.err().unwrap()
    }

    #[test]
    fn what_is_sealed_in_case_its_node_is_lost_opens_for_that_alone_wherever_it_goes() {
        let key = key_of(7);
        let lost = Relocation {
            lost: true,
            ..relocation()
        };
        let sealed = key.seal(&exported(&[SECRET]), &lost).unwrap();
        let elsewhere = Relocation {
            to: NodeId::from("c"),
            at: Timestamp::from_millis(2),
            ..lost.clone()
        };
        assert!(key.open(&sealed, &elsewhere).unwrap() == exported(&[SECRET]));
        let another = Relocation {
            container: ContainerId::from("c2"),
            ..lost.clone()
        };
        for other in [relocation(), another] {
            assert_eq!(error(key.open(&sealed, &other)), SealError::Closed);
        }
    }

    #[test]
    fn a_mark_is_of_what_is_sealed_and_of_the_key() {
        let mark = |key: u8, env: &[&str]| key_of(key).mark(&exported(env));
        assert_eq!(mark(7, &[SECRET]), mark(7, &[SECRET]));
        assert_ne!(mark(7, &[SECRET]), mark(7, &["A=1"]));
        assert_ne!(mark(7, &[SECRET]), mark(8, &[SECRET]));
        let with = |labels: [(&str, &str); 3]| {
            let mut exported = exported(&[SECRET]);
            let config = exported.inspect.config.get_or_insert_default();
            let pairs = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
            config.labels = Some(pairs.into());
            key_of(7).mark(&exported)
        };
        let (a, b, c) = (("a", "1"), ("b", "2"), ("c", "3"));
        assert_eq!(with([a, b, c]), with([c, b, a]));
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_for_the_same_move_alone() {
        let key = key_of(7);
        let sealed = key.seal(&exported(&[SECRET]), &relocation()).unwrap();
        assert!(key.open(&sealed, &relocation()).unwrap() == exported(&[SECRET]));
        let again = key.seal(&exported(&[SECRET]), &relocation()).unwrap();
        assert_ne!(sealed, again, "no two are alike");
        assert_eq!(
            error(key_of(8).open(&sealed, &relocation())),
            SealError::Closed
        );
        let others = [
            Relocation {
                container: ContainerId::from("c2"),
                ..relocation()
            },
            Relocation {
                from: NodeId::from("b"),
                ..relocation()
            },
            Relocation {
                to: NodeId::from("c"),
                ..relocation()
            },
            Relocation {
                at: Timestamp::from_millis(2),
                ..relocation()
            },
            Relocation {
                lost: true,
                ..relocation()
            },
            // The same letters, cut elsewhere.
            Relocation {
                from: NodeId::from("ab"),
                to: NodeId::from(""),
                ..relocation()
            },
        ];
        for other in others {
            assert_eq!(
                error(key.open(&sealed, &other)),
                SealError::Closed,
                "{other}"
            );
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_neither_made_nor_opened() {
        let long = "A=".to_owned() + &"x".repeat(SEALED_MAX);
        let sealed = key_of(7).seal(&exported(&[&long]), &relocation());
        assert!(matches!(sealed, Err(SealError::TooLong { length }) if length > SEALED_MAX));
        let opened = key_of(7).open(&"A".repeat(SEALED_MAX + 1), &relocation());
        assert!(matches!(error(opened), SealError::TooLong { .. }));
    }

    #[test]
    fn nothing_that_is_printed_tells_the_key_or_the_environment() {
        let key = key_of(0x41);
        assert_eq!(format!("{key:?}"), "MoveKey");
        let sealed = key.seal(&exported(&[SECRET]), &relocation()).unwrap();
        let bytes = STANDARD.decode(&sealed).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("correct horse"));
        // Sealed well, and no export.
        let nonce = XNonce::from([1; NONCE_BYTES]);
        let payload = Payload {
            msg: br#"{"node":"correct horse"}"#,
            aad: &bound_to(&relocation()),
        };
        let mut whole = vec![VERSION];
        whole.extend_from_slice(&nonce);
        whole.extend(key.cipher.encrypt(&nonce, payload).unwrap());
        let told = error(key.open(&STANDARD.encode(whole), &relocation())).to_string();
        assert!(!told.contains("correct horse"), "{told}");
        let other = STANDARD.encode([VERSION + 1]);
        let told = error(key.open(&other, &relocation())).to_string();
        assert!(told.contains("version 2"), "{told}");
    }

    fn written(text: &str, mode: u32) -> Result<MoveKey, KeyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("move.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        MoveKey::read(&path)
    }

    #[test]
    fn a_key_is_hex_or_base64_and_nobody_elses() {
        let hex = "07".repeat(KEY_BYTES);
        let base64 = STANDARD.encode([7; KEY_BYTES]);
        let sealed = key_of(7).seal(&exported(&[]), &relocation()).unwrap();
        for text in [hex.clone(), format!("{hex}\n"), base64 + "\n"] {
            let key = written(&text, 0o600).unwrap();
            assert!(key.open(&sealed, &relocation()).is_ok(), "{text}");
        }
        for mode in [0o640, 0o604, 0o644] {
            let told = written(&hex, mode).unwrap_err().to_string();
            assert!(
                told.contains("chmod 600") && told.contains("move.key"),
                "{told}"
            );
        }
        for text in [
            "",
            "secret",
            &hex[2..],
            &format!("{hex}07"),
            &"zz".repeat(32),
        ] {
            let told = written(text, 0o600).unwrap_err().to_string();
            assert!(told.contains("openssl rand -hex 32"), "{told}");
            assert!(text.is_empty() || !told.contains(text), "{told}");
        }
        let long = written(&"0".repeat(2_000), 0o600).unwrap_err();
        assert!(matches!(long, KeyError::Unreadable { .. }));
        let nowhere = MoveKey::read(Path::new("/nowhere/move.key")).unwrap_err();
        assert!(nowhere.to_string().contains("/nowhere/move.key"));
    }

    proptest::proptest! {
        #[test]
        fn a_text_with_any_byte_flipped_stays_closed(at in proptest::prelude::any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let sealed = key_of(7).seal(&exported(&[SECRET]), &relocation()).unwrap();
            let mut bytes = STANDARD.decode(&sealed).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            proptest::prop_assert!(key_of(7).open(&STANDARD.encode(bytes), &relocation()).is_err());
        }

        #[test]
        fn any_text_is_taken_without_panic(text in ".{0,200}") {
            proptest::prop_assert!(key_of(7).open(&text, &relocation()).is_err());
        }
    }
}
