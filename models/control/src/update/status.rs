//! How far an order has come, for people.

use serde::{Deserialize, Serialize};
use units::Update;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePhase {
    /// The image is brought to the nodes; nothing that runs is touched.
    Pulling,
    /// One container runs the new image and is watched.
    Canary,
    /// The others follow, one at a time.
    Rolling,
    /// What was changed goes back, one at a time.
    RollingBack,
    /// Every replica runs the image; nothing more follows.
    Finished,
    /// What was changed is as it was before; nothing more follows.
    RolledBack,
    /// Nothing was changed and nothing will be.
    Refused,
}

impl UpdatePhase {
    /// Every phase.
    pub const ALL: [UpdatePhase; 7] = [
        UpdatePhase::Pulling,
        UpdatePhase::Canary,
        UpdatePhase::Rolling,
        UpdatePhase::RollingBack,
        UpdatePhase::Finished,
        UpdatePhase::RolledBack,
        UpdatePhase::Refused,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpdatePhase::Pulling => "pulling",
            UpdatePhase::Canary => "canary",
            UpdatePhase::Rolling => "rolling",
            UpdatePhase::RollingBack => "rolling_back",
            UpdatePhase::Finished => "finished",
            UpdatePhase::RolledBack => "rolled_back",
            UpdatePhase::Refused => "refused",
        }
    }

    /// Nothing more follows.
    pub const fn is_final(self) -> bool {
        match self {
            UpdatePhase::Finished | UpdatePhase::RolledBack | UpdatePhase::Refused => true,
            UpdatePhase::Pulling
            | UpdatePhase::Canary
            | UpdatePhase::Rolling
            | UpdatePhase::RollingBack => false,
        }
    }
}

/// How far the newest order of a service has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// The order.
    pub update: Update,
    /// Where it stands.
    pub phase: UpdatePhase,
    /// Replicas that run its image.
    pub done: u32,
    /// Replicas there are.
    pub of: u32,
    /// What it waits for, what is being done, or how it ended: one plain sentence.
    pub reason: String,
}
