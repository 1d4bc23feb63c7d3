//! The topic of samples: what its records hold.

use bus::Record;
use units::{Link, Point, Sample};

use crate::error::DecodeError;
use crate::{header, links, series};

/// What one record of the topic of samples holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Telemetry {
    /// Containers' own numbers.
    Samples(Vec<Sample>),
    /// What applications and nodes tell.
    Series(Vec<Point>),
    /// Who talks to whom.
    Links(Vec<Link>),
}

/// Reads a record of the topic of samples, whatever it holds.
///
/// # Errors
/// When schema or version are not known, or the bytes are not such a batch.
pub fn decode_telemetry(record: &Record) -> Result<Telemetry, DecodeError> {
    if header::is(record, series::SCHEMA) {
        return series::decode_series(record).map(Telemetry::Series);
    }
    if header::is(record, links::SCHEMA) {
        return links::decode_links(record).map(Telemetry::Links);
    }
    crate::decode_samples(record).map(Telemetry::Samples)
}
