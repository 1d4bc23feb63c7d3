//! What bounds a miner.

use serde::{Deserialize, Serialize};

/// Settings of a [`crate::TemplateMiner`]. They are part of its state: another bound would be another miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Templates kept. When there are more, the least useful sixteenth of them is forgotten and counted. At least 16.
    pub max_templates: usize,
    /// Tokens of a message that are read; what follows them becomes one `<*>`. From 2 to 256.
    pub max_tokens: usize,
    /// Bytes of a line that are read; the rest is as if it were not there. From 64 to 65 536.
    pub max_line_bytes: usize,
}

impl Settings {
    /// The same, within the bounds named at each.
    pub(crate) fn clamped(self) -> Self {
        Settings {
            max_templates: self.max_templates.max(16),
            max_tokens: self.max_tokens.clamp(2, 256),
            max_line_bytes: self.max_line_bytes.clamp(64, 65_536),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_templates: 2_000,
            max_tokens: 64,
            max_line_bytes: 2_048,
        }
    }
}
