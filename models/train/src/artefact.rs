//! A model as it is kept: with where it came from, as JSON.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use units::{ServiceId, Timestamp};

use crate::error::ArtefactError;
use crate::fit::Trained;
use crate::held_back::Figures;
use crate::history::History;
use crate::model::Model;
use crate::settings::{Cost, TrainSettings};

/// Version of the artefact. Another one is not read.
pub const SCHEMA: u32 = 1;
/// The largest artefact that is read: what a record of the log takes, less its surroundings.
const BYTES_MAX: usize = 900_000;

/// A model and its provenance under a digest of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// SHA-256 of the content's JSON, in hexadecimal: the model's version.
    digest: String,
    content: Content,
}

/// What the digest is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Version of the artefact.
    pub schema: u32,
    /// Whose model it is.
    pub service: ServiceId,
    /// Where it came from.
    pub provenance: Provenance,
    /// The model.
    pub model: Model,
}

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// When it was trained.
    pub trained_at: Timestamp,
    /// The first row of the history.
    pub from: Timestamp,
    /// The last row of the history.
    pub to: Timestamp,
    /// Rows of the history.
    pub rows: usize,
    /// Rows it was learned from and calibrated on.
    pub rows_used: usize,
    /// Containers in the history.
    pub subjects: usize,
    /// Metrics of the history it does not look at.
    pub left_out: Vec<String>,
    /// The seed: with it and the same history the same model comes about.
    pub seed: u64,
    /// The bounds it was trained under.
    pub settings: TrainSettings,
    /// The most it can have cost.
    pub cost: Cost,
    /// How it did on the newest rows, which it had not seen.
    pub held_back: Figures,
    /// Digest of the model it took the place of.
    pub previous: Option<String>,
}

impl Artefact {
    /// A model that was trained at `now` on `history`, to take the place of the one with the digest `previous`.
    pub fn new(
        service: ServiceId,
        history: &History,
        trained: Trained,
        (settings, seed): (TrainSettings, u64),
        previous: Option<String>,
        now: Timestamp,
    ) -> Self {
        let (from, to) = history.span().unwrap_or((now, now));
        let content = Content {
            schema: SCHEMA,
            service,
            provenance: Provenance {
                trained_at: now,
                from,
                to,
                rows: history.rows(),
                rows_used: trained.rows_used,
                subjects: history.subjects(),
                left_out: trained.left_out,
                seed,
                settings,
                cost: trained.cost,
                held_back: trained.held_back,
                previous,
            },
            model: trained.model,
        };
        Artefact {
            digest: digest(&content),
            content,
        }
    }

    /// Its version: a digest of the content.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The model and where it came from.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has text keys and finite numbers, which JSON takes")
    }

    /// Reads JSON and checks that it is whole: the digest is right and the parts fit together.
    ///
    /// # Errors
    /// When it is too large, no artefact, of another version, changed, or does not hold together.
    pub fn from_json(json: &[u8]) -> Result<Self, ArtefactError> {
        #[derive(Deserialize)]
        struct Versioned {
            content: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        if json.len() > BYTES_MAX {
            return Err(ArtefactError::TooLarge {
                bytes: json.len(),
                most: BYTES_MAX,
            });
        }
        let malformed = |error: serde_json::Error| ArtefactError::Malformed(error.to_string());
        // The version first: another one may look otherwise.
        let versioned: Versioned = serde_json::from_slice(json).map_err(malformed)?;
        if versioned.content.schema != SCHEMA {
            return Err(ArtefactError::Schema {
                found: versioned.content.schema,
                known: SCHEMA,
            });
        }
        let artefact: Artefact = serde_json::from_slice(json).map_err(malformed)?;
        let found = digest(&artefact.content);
        if found != artefact.digest {
            return Err(ArtefactError::Digest {
                said: artefact.digest,
                found,
            });
        }
        match artefact.content.model.problem() {
            Some(problem) => Err(ArtefactError::Shape(problem)),
            None => Ok(artefact),
        }
    }
}

fn digest(content: &Content) -> String {
    let json = serde_json::to_vec(content).expect("it has text keys, which JSON takes");
    let hash = Sha256::digest(&json);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
