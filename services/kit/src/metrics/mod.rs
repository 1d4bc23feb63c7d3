//! The metrics of a process: one registry, shared by every role in it.
//!
//! Roles in one process share families, so the labels of a metric stand in the table of [`MetricName`] and not
//! in a type of one role's own.

mod names;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{self, text};
use prometheus_client::metrics::family::{Family as Series, MetricConstructor};
use prometheus_client::registry::{Metric, Registry};

pub use names::{
    ACTION_BUCKETS_SECONDS, DELAY_BUCKETS_SECONDS, Kind, MetricName, Unit, WORK_BUCKETS_SECONDS,
};

/// A metric has at most this many series. Further label values are counted together, under [`OVERFLOW`] in
/// each label, so that a fleet with odd names cannot fill the memory of the process or of Prometheus.
pub const MAX_SERIES_PER_METRIC: usize = 2_000;
/// The label value that stands for the series beyond [`MAX_SERIES_PER_METRIC`].
pub const OVERFLOW: &str = "overflow";

/// One counter series. Cheap to clone; clones share the count.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// One gauge series. Cheap to clone; clones share the value.
pub type Gauge = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;
/// One histogram series. Cheap to clone; clones share the buckets.
pub type Histogram = prometheus_client::metrics::histogram::Histogram;

/// The series of one counter.
pub type Counters = Family<Counter>;
/// The series of one gauge.
pub type Gauges = Family<Gauge>;
/// The series of one histogram.
pub type Histograms = Family<Histogram>;

type Labels = Vec<(&'static str, String)>;

/// The registry of a process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    registry: Registry,
    families: BTreeMap<MetricName, AnyFamily>,
}

enum AnyFamily {
    Counter(Counters),
    Gauge(Gauges),
    Histogram(Histograms),
}

/// The series of one metric, one per combination of label values. Cheap to clone.
pub struct Family<M> {
    name: MetricName,
    series: Held<M>,
}

/// A metric without labels is one series, there from the start.
enum Held<M> {
    One(M),
    Many {
        series: Series<Labels, M, Construct<M>>,
        /// How many series there are. Locked to add or end one, not to use one that is there.
        count: Arc<Mutex<usize>>,
    },
}

/// Makes the first sample of a series.
struct Construct<M>(fn(MetricName) -> M, MetricName);

impl Metrics {
    /// A registry that says of its process which `role` it is and in which `version`, and what it costs.
    pub fn new(role: &str, version: &str) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::ProcessCollector));
        registry.register_collector(Box::new(crate::trace::MalformedCollector));
        let metrics = Metrics {
            inner: Arc::new(Mutex::new(Inner {
                registry,
                families: BTreeMap::new(),
            })),
        };
        let build_info = metrics.gauge(MetricName::BuildInfo);
        build_info
            .with(&[("role", role), ("version", version)])
            .set(1.0);
        metrics
    }

    /// The series of a counter.
    ///
    /// # Panics
    /// When the table says the metric is no counter: a mistake in the program, found the first time it runs.
    pub fn counter(&self, name: MetricName) -> Counters {
        match self.family(name) {
            AnyFamily::Counter(family) => family,
            AnyFamily::Gauge(_) | AnyFamily::Histogram(_) => refuse(name, "counter"),
        }
    }

    /// The series of a gauge.
    ///
    /// # Panics
    /// When the table says the metric is no gauge: a mistake in the program, found the first time it runs.
    pub fn gauge(&self, name: MetricName) -> Gauges {
        match self.family(name) {
            AnyFamily::Gauge(family) => family,
            AnyFamily::Counter(_) | AnyFamily::Histogram(_) => refuse(name, "gauge"),
        }
    }

    /// The series of a histogram; its buckets stand in the table.
    ///
    /// # Panics
    /// When the table says the metric is no histogram: a mistake in the program, found the first time it runs.
    pub fn histogram(&self, name: MetricName) -> Histograms {
        match self.family(name) {
            AnyFamily::Histogram(family) => family,
            AnyFamily::Counter(_) | AnyFamily::Gauge(_) => refuse(name, "histogram"),
        }
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        text::encode(&mut text, &inner.registry)
            .expect("writing to a string fails only when a metric refuses, and ours do not");
        text
    }

    fn family(&self, name: MetricName) -> AnyFamily {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.families.get(&name) {
            return known.clone();
        }
        let registry = &mut inner.registry;
        let family = match name.kind() {
            Kind::Counter => AnyFamily::Counter(register(registry, name, |_| Counter::default())),
            Kind::Gauge => AnyFamily::Gauge(register(registry, name, |_| Gauge::default())),
            Kind::Histogram(_) => AnyFamily::Histogram(register(registry, name, new_histogram)),
        };
        inner.families.insert(name, family.clone());
        family
    }
}

impl<M: Clone> Family<M> {
    /// The series with these label values. Give exactly the labels the table lists; in a release build a
    /// missing one is empty and an unknown one is left out.
    pub fn with(&self, labels: &[(&'static str, &str)]) -> M {
        debug_assert!(
            labels.len() == self.name.labels().len()
                && labels.iter().all(|it| self.name.labels().contains(&it.0)),
            "{} has the labels {:?}, not {labels:?}",
            self.name.name(),
            self.name.labels(),
        );
        let (series, count) = match &self.series {
            Held::One(one) => return one.clone(),
            Held::Many { series, count } => (series, count),
        };
        let wanted = self.wanted(labels);
        if let Some(known) = series.get(&wanted) {
            return known.clone();
        }
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        if series.get(&wanted).is_none() {
            if *count >= MAX_SERIES_PER_METRIC {
                let overflow = self.labels(|_| OVERFLOW.to_owned());
                return series.get_or_create_owned(&overflow);
            }
            *count += 1;
        }
        series.get_or_create_owned(&wanted)
    }

    /// Ends the series with these label values, as when a service is gone. A metric without labels stays.
    pub fn remove(&self, labels: &[(&'static str, &str)]) {
        if let Held::Many { series, count } = &self.series {
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            if series.remove(&self.wanted(labels)) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Ends all series, as before setting a gauge afresh from a full recount. A metric without labels stays.
    pub fn clear(&self) {
        if let Held::Many { series, count } = &self.series {
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            series.clear();
            *count = 0;
        }
    }

    fn wanted(&self, given: &[(&'static str, &str)]) -> Labels {
        self.labels(|name| {
            let given = given.iter().find(|(given, _)| *given == name);
            given.map_or_else(String::new, |(_, value)| (*value).to_owned())
        })
    }

    fn labels(&self, value: impl Fn(&str) -> String) -> Labels {
        let names = self.name.labels().iter();
        names.map(|name| (*name, value(name))).collect()
    }
}

fn register<M>(registry: &mut Registry, name: MetricName, new: fn(MetricName) -> M) -> Family<M>
where
    M: Clone + Metric,
    Series<Labels, M, Construct<M>>: Metric,
{
    let series = if name.labels().is_empty() {
        let one = new(name);
        enter(registry, name, one.clone());
        Held::One(one)
    } else {
        let series = Series::new_with_constructor(Construct(new, name));
        enter(registry, name, series.clone());
        Held::Many {
            series,
            count: Arc::default(),
        }
    };
    Family { name, series }
}

fn enter(registry: &mut Registry, name: MetricName, metric: impl Metric) {
    let (stem, unit) = stem_and_unit(name);
    match unit {
        Some(unit) => registry.register_with_unit(stem, name.help(), unit, metric),
        None => registry.register(stem, name.help(), metric),
    }
}

/// The encoder appends the unit to the name by itself.
fn stem_and_unit(name: MetricName) -> (&'static str, Option<prometheus_client::registry::Unit>) {
    use prometheus_client::registry::Unit as Encoded;
    let Some(suffix) = name.unit().suffix() else {
        return (name.name(), None);
    };
    let stem = name.name().strip_suffix(suffix);
    let stem = stem.and_then(|it| it.strip_suffix('_'));
    match stem {
        Some(stem) => (stem, Some(Encoded::Other(suffix.to_owned()))),
        None => (name.name(), None),
    }
}

fn new_histogram(name: MetricName) -> Histogram {
    match name.kind() {
        Kind::Histogram(bounds) => Histogram::new(bounds.iter().copied()),
        Kind::Counter | Kind::Gauge => Histogram::new([]),
    }
}

fn refuse(name: MetricName, asked: &str) -> ! {
    panic!(
        "metric {} was asked for as a {asked} but the table of metric names says {:?}",
        name.name(),
        name.kind()
    )
}

impl Clone for AnyFamily {
    fn clone(&self) -> Self {
        match self {
            AnyFamily::Counter(family) => AnyFamily::Counter(family.clone()),
            AnyFamily::Gauge(family) => AnyFamily::Gauge(family.clone()),
            AnyFamily::Histogram(family) => AnyFamily::Histogram(family.clone()),
        }
    }
}

impl<M: Clone> Clone for Family<M> {
    fn clone(&self) -> Self {
        let series = match &self.series {
            Held::One(one) => Held::One(one.clone()),
            Held::Many { series, count } => Held::Many {
                series: series.clone(),
                count: count.clone(),
            },
        };
        Family {
            name: self.name,
            series,
        }
    }
}

impl<M> fmt::Debug for Family<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.name).finish()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl<M> MetricConstructor<M> for Construct<M> {
    fn new_metric(&self) -> M {
        (self.0)(self.1)
    }
}

impl<M> Clone for Construct<M> {
    fn clone(&self) -> Self {
        Construct(self.0, self.1)
    }
}

impl<M> fmt::Debug for Construct<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Construct").field(&self.1).finish()
    }
}

/// Writes one sample of a metric that is read when scraped.
pub(crate) fn encode_sample(
    encoder: &mut encoding::DescriptorEncoder<'_>,
    name: MetricName,
    sample: &impl encoding::EncodeMetric,
) -> Result<(), fmt::Error> {
    let (stem, unit) = stem_and_unit(name);
    // The registry adds the full stop to its own help texts, and leaves a collector's as they are.
    let help = format!("{}.", name.help());
    let metric = encoder.encode_descriptor(stem, &help, unit.as_ref(), sample.metric_type())?;
    sample.encode(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_names_units_labels_and_the_end_mark() {
        let metrics = Metrics::new("collector", "1.2.3");
        metrics
            .counter(MetricName::DecodeFailures)
            .with(&[("topic", "homeostat.samples"), ("reason", "version")])
            .inc_by(3);
        metrics
            .histogram(MetricName::TickDuration)
            .with(&[])
            .observe(0.02);
        metrics.gauge(MetricName::Leader).with(&[]).set(1.0);
        let text = metrics.encode();
        for line in [
            "homeostat_decode_failures_total{topic=\"homeostat.samples\",reason=\"version\"} 3",
            "# TYPE homeostat_tick_duration_seconds histogram",
            "# UNIT homeostat_tick_duration_seconds seconds",
            "homeostat_tick_duration_seconds_bucket{le=\"0.025\"} 1",
            "# HELP homeostat_leader One when this controller leads, else zero.",
            "homeostat_leader 1.0",
            "homeostat_build_info{role=\"collector\",version=\"1.2.3\"} 1.0",
            "# UNIT process_resident_memory_bytes bytes",
            "# HELP process_cpu_seconds Processor time this process has used, user and system.",
        ] {
            assert!(text.lines().any(|it| it == line), "no `{line}` in\n{text}");
        }
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
        assert!(
            text.contains("\nhomeostat_traceparents_malformed_total "),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn asking_twice_gives_the_same_series() {
        let metrics = Metrics::new("up", "0");
        let labels = [("topic", "homeostat.logs")];
        metrics
            .counter(MetricName::RecordsProduced)
            .with(&labels)
            .inc();
        metrics
            .clone()
            .counter(MetricName::RecordsProduced)
            .with(&labels)
            .inc();
        let text = metrics.encode();
        assert!(text.contains("homeostat_records_produced_total{topic=\"homeostat.logs\"} 2\n"));
        assert_eq!(
            text.matches("# TYPE homeostat_records_produced ").count(),
            1
        );
    }

    #[test]
    #[should_panic(expected = "metric homeostat_leader was asked for as a counter")]
    fn another_kind_than_the_table_says_is_refused() {
        Metrics::new("up", "0").counter(MetricName::Leader);
    }

    #[test]
    #[should_panic(expected = "homeostat_plans has the labels [\"action\", \"phase\"]")]
    fn other_labels_than_the_table_lists_are_refused() {
        Metrics::new("up", "0")
            .counter(MetricName::Plans)
            .with(&[("action", "restart")]);
    }

    #[test]
    fn series_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new("controller", "0");
        let replicas = metrics.counter(MetricName::RecordsConsumed);
        for topic in 0..MAX_SERIES_PER_METRIC + 50 {
            replicas.with(&[("topic", &topic.to_string())]).inc();
        }
        replicas.with(&[("topic", "0")]).inc();
        let text = metrics.encode();
        assert!(text.contains("homeostat_records_consumed_total{topic=\"overflow\"} 50\n"));
        assert!(text.contains("homeostat_records_consumed_total{topic=\"0\"} 2\n"));
    }

    #[test]
    fn a_removed_series_is_gone() {
        let metrics = Metrics::new("controller", "0");
        let replicas = metrics.gauge(MetricName::ServiceReplicas);
        replicas.with(&[("service", "web")]).set(2.0);
        replicas.with(&[("service", "db")]).set(1.0);
        replicas.remove(&[("service", "web")]);
        let text = metrics.encode();
        assert!(!text.contains("service=\"web\""));
        assert!(text.contains("service=\"db\""));
    }
}
