//! Stories: what happened, and which cause comes first.

mod bounds;
mod stories;
