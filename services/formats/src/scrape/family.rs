//! Families: what a `TYPE` line says of the series that follow it. Sections "Metric types" of OpenMetrics 1.0 and "Comments, help
//! text, and type information" of the Prometheus text format.

use super::page::SeriesKind;

/// The family that the lines now are of. A page has each family's lines together, so no other has to be kept; series that are
/// not of it are of unknown kind.
#[derive(Debug, Default)]
pub(super) struct Families<'p> {
    current: Option<Family<'p>>,
    before: Option<Family<'p>>,
}

#[derive(Debug, Clone, Copy)]
struct Family<'p> {
    name: &'p str,
    kind: FamilyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

/// What a series is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Series(SeriesKind),
    /// When a counter began: no measurement.
    Created,
}

impl FamilyKind {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }

    /// Nothing for a suffix that families of this kind have not.
    fn class(self, suffix: &str) -> Option<Class> {
        let kind = match (self, suffix) {
            (Self::Counter | Self::Histogram | Self::Summary, "_created") => {
                return Some(Class::Created);
            }
            (Self::Counter, "" | "_total") => SeriesKind::Counter,
            (Self::Gauge | Self::StateSet, "") => SeriesKind::Gauge,
            (Self::Info, "" | "_info") => SeriesKind::Gauge,
            (Self::GaugeHistogram, "_bucket" | "_gsum" | "_gcount") => SeriesKind::Gauge,
            (Self::Histogram, "_bucket" | "_sum" | "_count") => SeriesKind::Histogram,
            (Self::Summary, "" | "_sum" | "_count") => SeriesKind::Summary,
            (
                Self::Counter
                | Self::Gauge
                | Self::Histogram
                | Self::GaugeHistogram
                | Self::Summary
                | Self::Info
                | Self::StateSet
                | Self::Unknown,
                _,
            ) => return None,
        };
        Some(Class::Series(kind))
    }
}

impl<'p> Families<'p> {
    pub(super) fn declare(&mut self, name: &'p str, kind: FamilyKind) {
        self.before = self.current.replace(Family { name, kind });
    }

    pub(super) fn class(&self, name: &str) -> Class {
        let of_current = || {
            let family = self.current?;
            let class = family.kind.class(name.strip_prefix(family.name)?)?;
            Some(if self.current_is_created() {
                Class::Created
            } else {
                class
            })
        };
        of_current().unwrap_or(Class::Series(SeriesKind::Unknown))
    }

    /// In the Prometheus format, the Python client tells when counters began as families of gauges that follow theirs.
    fn current_is_created(&self) -> bool {
        let found = || {
            let current = self.current.filter(|it| it.kind == FamilyKind::Gauge)?;
            let of = current.name.strip_suffix("_created")?;
            let before = self.before?.name;
            let kind = self.before?.kind;
            let same = before == of || before.strip_suffix("_total") == Some(of);
            (same && kind.class("_created").is_some()).then_some(())
        };
        found().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(declared: &[(&'static str, FamilyKind)], name: &str) -> Class {
        let mut families = Families::default();
        for (name, kind) in declared {
            families.declare(name, *kind);
        }
        families.class(name)
    }

    #[test]
    fn series_have_the_kind_of_their_family_by_their_suffix() {
        use FamilyKind::*;
        for (family, suffix, kind) in [
            (Counter, "", SeriesKind::Counter),
            (Counter, "_total", SeriesKind::Counter),
            (Counter, "_bucket", SeriesKind::Unknown),
            (Gauge, "", SeriesKind::Gauge),
            (Gauge, "_created", SeriesKind::Unknown),
            (Histogram, "_bucket", SeriesKind::Histogram),
            (Histogram, "", SeriesKind::Unknown),
            (GaugeHistogram, "_gsum", SeriesKind::Gauge),
            (Summary, "", SeriesKind::Summary),
            (Summary, "_count", SeriesKind::Summary),
            (Info, "_info", SeriesKind::Gauge),
            (StateSet, "", SeriesKind::Gauge),
            (Unknown, "", SeriesKind::Unknown),
        ] {
            let class = after(&[("jobs", family)], &format!("jobs{suffix}"));
            assert_eq!(class, Class::Series(kind), "{family:?} {suffix}");
        }
        assert_eq!(after(&[], "jobs"), Class::Series(SeriesKind::Unknown));
        assert_eq!(
            after(&[("jobs", Gauge)], "jobsite"),
            Class::Series(SeriesKind::Unknown)
        );
    }

    #[test]
    fn when_a_counter_began_is_no_series_but_a_gauge_of_that_name_is() {
        use FamilyKind::*;
        for family in [Counter, Histogram, Summary] {
            assert_eq!(after(&[("jobs", family)], "jobs_created"), Class::Created);
        }
        let follows = [("jobs_total", Counter), ("jobs_created", Gauge)];
        assert_eq!(after(&follows, "jobs_created"), Class::Created);
        let alone = [("sales_total", Counter), ("jobs_created", Gauge)];
        assert_eq!(
            after(&alone, "jobs_created"),
            Class::Series(SeriesKind::Gauge)
        );
    }
}
