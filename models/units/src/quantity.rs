//! Quantities that cross function boundaries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number that is not the quantity it was given as.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantityError {
    /// Not between 0 and 1.
    #[error("ratio {0} is not between 0 and 1; write 70% as 0.7")]
    Ratio(f64),
}

/// CPU in thousandths of a core.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millicores(pub u64);

impl Millicores {
    /// One whole core.
    pub const CORE: Millicores = Millicores(1_000);

    /// From cores, rounded to the nearest thousandth; negative and not-a-number become zero.
    pub fn from_cores(cores: f64) -> Self {
        Millicores((cores * 1_000.0).round().max(0.0) as u64)
    }

    /// In cores.
    pub fn as_cores(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

/// An amount of memory or data.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// From mebibytes.
    pub const fn from_mib(mib: u64) -> Self {
        Bytes(mib * 1024 * 1024)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        match unit {
            0 => write!(f, "{} B", self.0),
            _ => write!(f, "{value:.1} {}", UNITS[unit]),
        }
    }
}

/// A share between 0 and 1, both included.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

impl Ratio {
    /// A ratio, refused outside 0..=1.
    pub fn new(value: f64) -> Result<Self, QuantityError> {
        if (0.0..=1.0).contains(&value) {
            Ok(Ratio(value))
        } else {
            Err(QuantityError::Ratio(value))
        }
    }

    /// A ratio pressed into 0..=1; not-a-number becomes zero.
    pub fn saturating(value: f64) -> Self {
        if value.is_nan() {
            return Ratio(0.0);
        }
        Ratio(value.clamp(0.0, 1.0))
    }

    /// The number between 0 and 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = QuantityError;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        Ratio::new(value)
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> f64 {
        ratio.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}%", self.0 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_outside_its_range_is_refused_with_the_way_to_write_it() {
        let error = Ratio::new(70.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ratio 70 is not between 0 and 1; write 70% as 0.7"
        );
        assert!(Ratio::new(f64::NAN).is_err());
        assert_eq!(Ratio::saturating(f64::NAN).get(), 0.0);
    }

    #[test]
    fn bytes_are_shown_in_binary_units() {
        assert_eq!(Bytes(512).to_string(), "512 B");
        assert_eq!(Bytes::from_mib(96).to_string(), "96.0 MiB");
    }

    #[test]
    fn cores_round_to_thousandths() {
        assert_eq!(Millicores::from_cores(0.2504), Millicores(250));
        assert_eq!(Millicores::from_cores(-1.0), Millicores(0));
        assert_eq!(Millicores::from_cores(f64::NAN), Millicores(0));
    }
}
