//! Golden tests: scripts of events in, the core's plans and reasons out, kept as files and compared to the letter.
//!
//! A file `control/NAME.script` makes a test; `control/NAME.expected` is what it must print. After a wanted change,
//! `HOMEOSTAT_BLESS=1 cargo test -p golden` writes the expected files anew: read the difference before you commit it.
//! `wire/` and `payloads/` hold the files of the golden tests beside the codecs and the notifier.
#![allow(
    clippy::unwrap_used,
    reason = "this crate is test code; a script that cannot be read ends the test"
)]

mod render;
mod script;
mod world;

pub use script::{Played, play, play_killed};
