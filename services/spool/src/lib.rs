//! A spool on disk: what was read and not delivered yet, oldest first, bounded by size and age, and safe against a crash.
#![cfg_attr(test, allow(clippy::unwrap_used))]
