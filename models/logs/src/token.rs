//! The tokens of a message, as they stand after masking.

use serde::{Deserialize, Serialize};

/// What stands for a value in a template.
pub(crate) const WILDCARD: &str = "<*>";

/// How a token may take part in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A value, or a position that was found to hold values. It agrees with anything.
    Wild,
    /// Text around a masked value, such as `rhost=<*>`. It agrees with the same text only.
    Partial,
    /// A word, or a key with a word for its value. It agrees with the same word, until its position has had many.
    Plain,
    /// What looks like a name rather than a word, such as `org.apache.Job`. A different name in its place is no other template.
    Ident,
}

/// Identity of a token's text; one for all wild tokens.
pub(crate) const WILD_HASH: u64 = 1;

/// A hash of bytes, the same everywhere and always (FNV-1a over words of eight bytes, then mixed as in `SplitMix64`).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut state = OFFSET ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word: [u8; 8] = word.try_into().expect("chunks_exact gives eight bytes");
        state = mix(state ^ u64::from_le_bytes(word));
    }
    for byte in words.remainder() {
        state = (state ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    mix(state)
}

/// Spreads every bit of `value` over all others.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A token in the text of [`Tokens`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) hash: u64,
    pub(crate) kind: Kind,
}

/// The tokens of one message. One value is filled again and again, so that no line costs an allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) text: String,
    pub(crate) all: Vec<Token>,
}

impl Tokens {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.all.clear();
    }

    pub(crate) fn text_of(&self, token: &Token) -> &str {
        &self.text[token.start..token.end]
    }

    /// Adds the text written since `start` as a token, unless it says again what the one before it says of values: a list of
    /// values is one value.
    pub(crate) fn close(&mut self, start: usize, hash: u64, kind: Kind) {
        let repeats = matches!(kind, Kind::Wild | Kind::Partial);
        if repeats && self.all.last().is_some_and(|last| last.hash == hash) {
            self.text.truncate(start);
            return;
        }
        self.all.push(Token {
            start,
            end: self.text.len(),
            hash,
            kind,
        });
    }

    /// Adds a value.
    pub(crate) fn wildcard(&mut self) {
        let start = self.text.len();
        self.text.push_str(WILDCARD);
        self.close(start, WILD_HASH, Kind::Wild);
    }

    /// What tells these tokens from others.
    pub(crate) fn signature(&self) -> u64 {
        self.all.iter().fold(self.all.len() as u64, |state, token| {
            mix(state.rotate_left(5) ^ token.hash)
        })
    }
}
