//! The formats that are read on a host: log files of the engine, the kernel's text files and socket messages, the pages of
//! applications that tell their own metrics, and what HAProxy tells of its servers.
//!
//! Everything here is a function of bytes, and of a time that is handed in. It opens nothing, and no bytes make it panic or
//! take memory without bound.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod diag;
pub mod haproxy;
pub mod host;
pub mod kernel;
pub mod log;
pub mod scrape;
