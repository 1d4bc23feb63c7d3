//! What the miner of log templates says of a line. Mining is none of this crate's work: whoever hands over a line does it.

use std::fmt;

use units::LogSeverity;

/// Names a template of log lines, as its miner numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

/// Whether a template is new to the service that a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not, or the service is not known well enough to say so.
    Known,
    /// No line of the service was like it until some minutes ago at most.
    New,
}

/// The template of one line.
#[derive(Clone, Copy)]
pub struct LineTemplate<'a> {
    /// Which.
    pub id: TemplateId,
    /// Whether it is new.
    pub standing: Standing,
    /// Lines of the service that it was found among.
    pub among: u64,
    /// Its text, `<*>` where values stand. It is written out only where it is kept.
    pub text: &'a dyn fmt::Display,
}

/// Levels that say by themselves that something is odd.
pub(crate) fn is_grave(severity: LogSeverity) -> bool {
    severity >= LogSeverity::Warn
}
