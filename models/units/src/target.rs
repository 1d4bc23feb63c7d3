//! What the number of replicas of a service follows.

use serde::{Deserialize, Serialize};

use crate::{Ratio, SeriesSelector, ServiceId};

/// More cannot be promised: what is rarer than nine seconds a day is not learnt from days.
const SLO_PERCENT_MAX: f64 = 99.99;

/// What scaling steers by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleTarget {
    /// CPU use as a share of a replica's CPU limit; of one core where it has none.
    Cpu(Ratio),
    /// The share of seconds in which more CPU may be asked for than there is. The head-room for it is found, not stated.
    Slo(Ratio),
    /// What the pages of containers tell.
    Metric(Box<MetricTarget>),
}

impl ScaleTarget {
    /// The other service that tells the load; nothing where the scaled one does.
    pub fn teller(&self) -> Option<&ServiceId> {
        match self {
            ScaleTarget::Cpu(_) | ScaleTarget::Slo(_) => None,
            ScaleTarget::Metric(target) => target.service.as_ref(),
        }
    }
}

/// How much of a series a replica is to carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTarget {
    /// The other service whose containers tell it, such as a queue; absent where the scaled ones do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// Which series. All that it selects within a container are summed.
    pub metric: SeriesSelector,
    /// What a replica is to carry of it: of a gauge its value, of a counter what it rises by in a second. Above 0, finite.
    pub per_replica: f64,
}

const HELP: &str = "write the CPU share to keep as cpu=70%, the share of seconds in which the load must be met as slo=99.9%, or what a replica is to carry of a series as metric:NAME=20, of one that another service tells as metric@SERVICE:NAME=100";

const VALUE: &str = "write what one replica is to carry behind the name as a number above 0, such as metric:jobs_waiting=100; of a counter that is what it counts in a second, without a unit";

/// Reads the label `scale.target`.
pub(crate) fn parse_target(word: &str) -> Result<ScaleTarget, &'static str> {
    match word.strip_prefix("metric") {
        Some(rest) if rest.starts_with([':', '@']) => parse_metric(rest),
        Some(_) | None => parse_share(word),
    }
}

/// `:NAME=VALUE` or `@SERVICE:NAME=VALUE`.
fn parse_metric(rest: &str) -> Result<ScaleTarget, &'static str> {
    let (service, series) = rest
        .split_once(':')
        .ok_or("name the other service's series as metric@SERVICE:NAME=100")?;
    let service = match service.strip_prefix('@').map(str::trim) {
        None => None,
        Some("") => {
            return Err("name the service behind the @, as metric@broker:jobs_waiting=100");
        }
        Some(service) => Some(ServiceId::from(service)),
    };
    let (metric, value) = series.rsplit_once('=').ok_or(VALUE)?;
    let metric = SeriesSelector::parse(metric.trim()).map_err(|error| error.0)?;
    let per_replica: f64 = value.trim().parse().map_err(|_| VALUE)?;
    if !per_replica.is_finite() || per_replica <= 0.0 {
        return Err(VALUE);
    }
    Ok(ScaleTarget::Metric(Box::new(MetricTarget {
        service,
        metric,
        per_replica,
    })))
}

fn parse_share(word: &str) -> Result<ScaleTarget, &'static str> {
    let (what, percent) = word.split_once('=').ok_or(HELP)?;
    if what.trim() == "requests" {
        return Err(
            "requests are counted by the application itself: name its counter as metric:http_requests_total=50, which is 50 a second",
        );
    }
    let percent = percent.strip_suffix('%').ok_or(HELP)?;
    let percent: f64 = percent.trim().parse().map_err(|_| HELP)?;
    match what.trim() {
        "cpu" if (1.0..=100.0).contains(&percent) => {
            Ok(ScaleTarget::Cpu(Ratio::saturating(percent / 100.0)))
        }
        "cpu" => Err("the CPU share must be between 1% and 100%"),
        "slo" if (50.0..=SLO_PERCENT_MAX).contains(&percent) => {
            Ok(ScaleTarget::Slo(Ratio::saturating(1.0 - percent / 100.0)))
        }
        "slo" => Err(
            "the share of seconds in which the load must be met has to be between 50% and 99.99%",
        ),
        _ => Err(HELP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(word: &str) -> MetricTarget {
        match parse_target(word).unwrap() {
            ScaleTarget::Metric(target) => *target,
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn a_series_is_named_with_what_a_replica_carries_of_it() {
        let own = metric("metric:http_requests_in_flight=20");
        assert_eq!((own.service, own.per_replica), (None, 20.0));
        assert_eq!(own.metric.name(), "http_requests_in_flight");
        let others = metric("metric@shop/queue:jobs_waiting=100");
        assert_eq!(others.service, Some(ServiceId::from("shop/queue")));
        let one = metric("metric:wait_seconds{quantile=\"0.99\"}=0.25");
        assert_eq!(one.metric.to_string(), "wait_seconds{quantile=\"0.99\"}");
        assert_eq!(one.per_replica, 0.25);
    }

    #[test]
    fn what_cannot_be_followed_is_said_with_what_to_write() {
        for (word, says) in [
            ("requests=50/s", "metric:http_requests_total=50"),
            ("metric:jobs=0", "number above 0"),
            ("metric:jobs=-1", "number above 0"),
            ("metric:jobs=inf", "number above 0"),
            ("metric:jobs=50/s", "without a unit"),
            ("metric:jobs", "behind the name"),
            ("metric:=5", "metric:jobs_waiting=100"),
            ("metric@:jobs=5", "behind the @"),
            ("metric@queue=5", "metric@SERVICE:NAME=100"),
            ("metrics=5", "metric:NAME=20"),
        ] {
            let said = parse_target(word).unwrap_err();
            assert!(said.contains(says), "{word}: {said}");
        }
    }

    #[test]
    fn a_target_is_written_and_read_the_same() {
        for word in ["cpu=60%", "slo=50%", "metric@queue:jobs{q=\"a\"}=7"] {
            let target = parse_target(word).unwrap();
            let text = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<ScaleTarget>(&text).unwrap(), target);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_what_is_read_can_be_divided_by(word in "metric[:@]?.{0,30}=?[0-9.e-]{0,5}|.*") {
            if let Ok(ScaleTarget::Metric(target)) = parse_target(&word) {
                proptest::prop_assert!(target.per_replica > 0.0 && target.per_replica.is_finite());
            }
        }
    }
}
