//! The behaviour every back end has to show. Each function takes any log and uses topics and groups of its own.

mod group;
mod log;
mod recording;
mod tools;

pub(crate) use group::*;
pub(crate) use log::*;
pub(crate) use recording::*;
