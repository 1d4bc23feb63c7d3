//! What the kernel counts for a container: where its cgroup files are, how they are kept open, and what they say.
//!
//! `layout` finds the directories, `reader` keeps the descriptors, `metrics` takes from
//! `formats::kernel`, which reads the text, what goes into a sample. All of them know cgroup v1 (controllers
//! joined or apart), v2, and hybrid hosts, where controllers are on v1 and pressure is on v2.

mod kept;
mod layout;
mod metrics;
mod overview;
mod reader;
mod still;

pub(crate) use kept::Buffer;
pub(crate) use layout::{Host, LocateError};
pub(crate) use overview::Overview;
pub(crate) use reader::{LimitFiles, Network, Reader};
