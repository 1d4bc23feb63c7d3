//! Container logs: from the bytes of the engine to lines with level and trace id.
//!
//! The stages, in the order a reader goes through them: [`json_file`] or [`local`] gives pieces, [`join`] makes lines of them,
//! [`multiline`] makes one line of a stack trace, [`limit`] says whether there is room for it, [`level`] and [`trace`] read it,
//! [`redact`] removes secrets, and [`text`] makes text of what may be none. An ordinary line is borrowed all the way.

pub mod join;
pub mod json_file;
pub mod level;
pub mod limit;
pub mod local;
pub mod multiline;
mod needles;
pub mod redact;
pub mod text;
pub mod trace;
