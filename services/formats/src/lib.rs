//! The formats a collector reads: log files of the engine, the kernel's text files and socket messages, and the pages of
//! applications that tell their own metrics.
//!
//! Everything here is a function of bytes, and of a time that is handed in. It opens nothing, and no bytes make it panic or
//! take memory without bound.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod diag;
pub mod host;
pub mod kernel;
pub mod log;
pub mod scrape;
