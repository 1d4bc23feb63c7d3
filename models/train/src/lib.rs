//! Multivariate models of a service, trained on its own history: which of its metrics go together, and which shapes it takes.
//!
//! [`train`] makes a [`Model`] of a [`History`]; [`Model::score`] tells how rare a row is and which metrics weigh most; [`compare`]
//! says whether a new model is at least as good as the present one; an [`Artefact`] is a model with where it came from, as JSON;
//! a [`Schedule`] says whose turn it is to be trained; [`Averager`] makes rows of containers' samples; [`Pasts`] holds the last of
//! them; [`renew`] does all that one training is.
//!
//! Everything here is a function of what it is given: seeds and times are parameters, the same history and seed give the same model.
//! What this crate does not do: it reads and writes nothing, raises no signal, and knows nothing of data sets or labels.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod artefact;
mod compare;
mod error;
mod fit;
mod held_back;
mod history;
mod model;
mod past;
mod recent;
mod relations;
mod renew;
mod samples;
mod scale;
mod schedule;
mod settings;
mod shapes;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use artefact::{Artefact, Content, Provenance, SCHEMA};
pub use compare::{Choice, Why, compare};
pub use error::{ArtefactError, TrainError};
pub use fit::{Trained, train};
pub use held_back::{ALARM_SCORE, Figures, HeldBack};
pub use history::History;
pub use model::{Columns, Model, Score, Weight};
pub use past::{Past, Pasts};
pub use recent::Recent;
pub use renew::{Renewal, renew};
pub use samples::{Averaged, Averager};
pub use schedule::{Budget, Schedule};
pub use settings::{Cost, TrainSettings};
