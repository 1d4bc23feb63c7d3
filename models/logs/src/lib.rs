//! Log templates: which statement of a program wrote a line, found from the lines alone.
//!
//! A [`TemplateMiner`] takes lines one by one and says of each which template it belongs to and whether that one is new. It works
//! in three steps, each of one file: `header` finds where the message begins behind times, levels, threads and loggers; `mask`
//! cuts the message into tokens and replaces what is a value by its form (numbers, addresses, paths, units …); `miner` groups by
//! what is left. The base is Drain (He, Zhu, Zheng and Lyu, *Drain: An Online Log Parsing Approach with Fixed Depth Tree*, ICWS
//! 2017): groups by number of tokens and first token, a similarity within them, positions that differ become `<*>`. It departs
//! from it where two plain words differ: "VM Started" and "VM Paused" are two templates until a position has been seen with so
//! many words that it must be a value.
//!
//! A [`Catalog`] holds a miner for each service and says which templates are new to it.
//!
//! Everything is deterministic, in the order of the lines, and of bounded size; the whole state is serialisable, and one that was
//! written and read back goes on exactly as before.
//!
//! What this crate does not do: it redacts nothing (its caller has), reads no level from a text, knows no program or system, and
//! judges no rate. Of several lines in one text only the first is read.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bucket;
mod catalog;
mod header;
mod json;
mod mask;
mod miner;
mod settings;
mod shape;
mod template;
mod token;

pub use catalog::{Catalog, CatalogCounts, Seen, Standing};
pub use miner::{Match, Novelty, TemplateMiner};
pub use settings::Settings;
pub use template::{Counts, Template, TemplateId};
