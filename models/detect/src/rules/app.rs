//! What an application tells of itself on its page of metrics: how many errors it counts, and how long its calls take.
//!
//! Names and labels say what a series is, as Prometheus and OpenTelemetry recommend them: counters of errors, counters with a
//! status of the 500s, and histograms or summaries of durations, of which count and sum are read and no buckets. All labels of a
//! family count together. Other series are left: an arbitrary number that changes says nothing to anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, Point, Ratio, SeriesKind, Severity, Steady};

use super::answers::is_of_balancer;
use super::confidence;
use super::page::label;
use super::rate::{Bounds, UsualRate};
use crate::baseline::Baseline;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, number};

/// Of pages, fifteen seconds apart by default.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 2,
    of: 3,
    calm: 3,
};

/// Families of durations followed in one container; of more the later ones are left.
const FAMILIES_MAX: usize = 8;
/// Between two pages lies no more than this, or their counters are not compared.
const GAP_MAX: Duration = Duration::from_secs(180);
/// Errors, in errors a second.
const ERRORS: Bounds = Bounds {
    rate_min: 0.2,
    times_usual_min: 4.0,
};
const ERRORS_SPREAD_MIN: f64 = 0.03;
/// A mean over fewer calls between two pages says nothing.
const CALLS_MIN: f64 = 5.0;
/// Calls take this many times what they usually take, …
const TIMES_USUAL_MIN: f64 = 3.0;
/// … this much longer, in seconds, …
const LONGER_MIN_S: f64 = 0.02;
/// … and this many spreads longer.
const DISTANCE_MIN: f64 = 5.0;
/// Least spread of a mean duration, in seconds.
const DURATION_SPREAD_MIN_S: f64 = 0.001;
/// Calls that are slow for longer than a short job are worth a look.
const WARNING_AFTER: Duration = Duration::from_secs(120);

/// What runtimes tell of themselves under their own names is not of calls.
const RUNTIMES: [&str; 7] = [
    "go_",
    "process_",
    "jvm_",
    "python_",
    "nodejs_",
    "dotnet_",
    "promhttp_",
];
const STATUS_LABELS: [&str; 6] = [
    "code",
    "status",
    "status_code",
    "http_status",
    "http_status_code",
    "http_response_status_code",
];
const ERROR_WORDS: [&str; 6] = [
    "error",
    "errors",
    "failed",
    "failures",
    "exceptions",
    "panics",
];

/// What a series is to this rule.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role<'a> {
    Errors,
    /// Seconds that all calls of a family took, in so many seconds a unit.
    Sum(&'a str, f64),
    /// Calls of a family.
    Count(&'a str),
}

/// Whether a series of an application is one that is looked at.
pub(crate) fn is_followed(point: &Point) -> bool {
    roles(point).next().is_some()
}

fn roles(point: &Point) -> impl Iterator<Item = Role<'_>> {
    let name = point.name.as_str();
    let counts = match point.kind {
        SeriesKind::Counter => true,
        SeriesKind::Unknown => name.ends_with("_total"),
        SeriesKind::Histogram | SeriesKind::Summary => name.ends_with("_count"),
        SeriesKind::Gauge => false,
    };
    // What a balancer counts of a container is not on the container's own page.
    let is_other = RUNTIMES.iter().any(|prefix| name.starts_with(prefix)) || is_of_balancer(point);
    let is_error = counts && !is_other && (names_errors(name) || has_failed(&point.labels));
    let of_calls = match point.kind {
        SeriesKind::Histogram | SeriesKind::Summary if !is_other => durations(name),
        SeriesKind::Histogram
        | SeriesKind::Summary
        | SeriesKind::Counter
        | SeriesKind::Gauge
        | SeriesKind::Unknown => None,
    };
    is_error.then_some(Role::Errors).into_iter().chain(of_calls)
}

fn names_errors(name: &str) -> bool {
    name.split('_').any(|word| ERROR_WORDS.contains(&word))
}

/// Whether its labels say that the server failed: a status of the 500s, or so written.
fn has_failed(labels: &str) -> bool {
    STATUS_LABELS.iter().any(|name| {
        label(labels, name).is_some_and(|status| status.len() == 3 && status.starts_with('5'))
    })
}

fn durations(name: &str) -> Option<Role<'_>> {
    let (family, is_sum) = match (name.strip_suffix("_sum"), name.strip_suffix("_count")) {
        (Some(family), _) => (family, true),
        (None, Some(family)) => (family, false),
        (None, None) => return None,
    };
    let has = |words: &[&str]| family.split('_').any(|word| words.contains(&word));
    let seconds = if has(&["seconds"]) {
        1.0
    } else if has(&["milliseconds", "ms"]) {
        0.001
    } else {
        return None;
    };
    Some(match is_sum {
        true => Role::Sum(family, seconds),
        false => Role::Count(family),
    })
}

/// What one container's page told, and what is usual of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct App {
    last: Option<Steady>,
    errors: Option<f64>,
    usual_errors: Option<UsualRate>,
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Family {
    calls: f64,
    seconds: f64,
    usual: Baseline,
}

/// Totals of one page.
#[derive(Default)]
struct Page<'a> {
    errors: Option<f64>,
    families: BTreeMap<&'a str, (f64, f64)>,
}

impl<'a> Page<'a> {
    fn read(points: &[&'a Point]) -> Self {
        let mut page = Page::default();
        for point in points {
            for role in roles(point) {
                match role {
                    Role::Errors => {
                        page.errors = Some(page.errors.unwrap_or(0.0) + point.value);
                    }
                    Role::Sum(family, unit_s) => {
                        page.families.entry(family).or_default().1 += point.value * unit_s;
                    }
                    Role::Count(family) => {
                        page.families.entry(family).or_default().0 += point.value;
                    }
                }
            }
        }
        page
    }
}

/// Calls that take far longer than they did.
struct Slow<'a> {
    family: &'a str,
    mean_s: f64,
    usual_s: f64,
    score: f64,
    samples: u32,
}

/// What is to be learnt of a page that did not violate.
#[derive(Default)]
pub(crate) struct Lesson {
    errors_per_s: Option<f64>,
    means_s: Vec<(String, f64)>,
}

impl App {
    /// Its process was started again: counters begin anew.
    pub(crate) fn forget(&mut self) {
        self.last = None;
        self.errors = None;
    }

    /// Takes a page and judges it.
    pub(crate) fn read(
        &mut self,
        name: &ContainerName,
        points: &[&Point],
        run: Steady,
        lasting: Duration,
    ) -> (Reading, Lesson) {
        let page = Page::read(points);
        let elapsed = self.last.map(|last| run.since(last));
        let comparable = |it: &Duration| !it.is_zero() && *it <= GAP_MAX;
        let elapsed_s = elapsed.filter(comparable).map(|it| it.as_secs_f64());
        let lesson = self.advance(&page, run, elapsed_s);
        if lesson.errors_per_s.is_none() && lesson.means_s.is_empty() {
            return (Reading::Unknown, lesson);
        }
        let errors = self.judge_errors(name, &lesson, lasting);
        let slow = self.judge_calls(name, &lesson, lasting);
        let reading = match (errors, slow) {
            (Reading::Violates(mut errors), Reading::Violates(slow)) => {
                errors.proofs.extend(slow.proofs);
                Reading::Violates(errors)
            }
            (violates @ Reading::Violates(_), _) | (_, violates @ Reading::Violates(_)) => violates,
            (Reading::Between, _) | (_, Reading::Between) => Reading::Between,
            (Reading::Normal, _) | (_, Reading::Normal) => Reading::Normal,
            (Reading::Unknown, Reading::Unknown) => Reading::Unknown,
        };
        (reading, lesson)
    }

    /// Learns a page that was ordinary.
    pub(crate) fn learn(&mut self, lesson: &Lesson) {
        if let Some(errors_per_s) = lesson.errors_per_s {
            let fresh = || UsualRate::with_spread(ERRORS_SPREAD_MIN);
            self.usual_errors
                .get_or_insert_with(fresh)
                .learn(errors_per_s);
        }
        for (family, mean_s) in &lesson.means_s {
            if let Some(family) = self.families.get_mut(family) {
                family.usual.learn(*mean_s);
            }
        }
    }

    /// Takes what is so now for usual.
    pub(crate) fn relearn(&mut self) {
        self.usual_errors = None;
        for family in self.families.values_mut() {
            family.usual = Baseline::new(DURATION_SPREAD_MIN_S);
        }
    }

    /// Takes the totals of a page, and gives what happened since the one before. A fall is a restart and tells nothing.
    fn advance(&mut self, page: &Page<'_>, run: Steady, elapsed_s: Option<f64>) -> Lesson {
        let mut lesson = Lesson::default();
        // The first error of all makes a series that was not there: before it there were none.
        let before = self.errors.unwrap_or(0.0);
        if let (Some(elapsed_s), Some(now)) = (elapsed_s, page.errors.or(self.errors)) {
            lesson.errors_per_s = (now >= before).then(|| (now - before) / elapsed_s);
        } else if let (Some(_), false) = (elapsed_s, page.families.is_empty()) {
            lesson.errors_per_s = Some(0.0);
        }
        self.errors = page.errors.or(self.errors);
        for (name, (calls, seconds)) in &page.families {
            if let Some(family) = self.families.get_mut(*name) {
                let (more, took) = (calls - family.calls, seconds - family.seconds);
                if elapsed_s.is_some() && more >= CALLS_MIN && took >= 0.0 {
                    lesson.means_s.push(((*name).to_owned(), took / more));
                }
                family.calls = *calls;
                family.seconds = *seconds;
            } else if self.families.len() < FAMILIES_MAX {
                let family = Family {
                    calls: *calls,
                    seconds: *seconds,
                    usual: Baseline::new(DURATION_SPREAD_MIN_S),
                };
                self.families.insert((*name).to_owned(), family);
            }
        }
        self.last = Some(run);
        lesson
    }

    fn judge_errors(&self, name: &ContainerName, lesson: &Lesson, lasting: Duration) -> Reading {
        let (Some(rate), Some(usual)) = (lesson.errors_per_s, &self.usual_errors) else {
            return Reading::Unknown;
        };
        let high = match usual.judge(rate, ERRORS) {
            Ok(high) => high,
            Err(reading) => return reading,
        };
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: high.score,
            confidence: high.confidence,
            reason: format!(
                "{name} counts {} errors/s on its page of metrics for {}, usually {}",
                number(rate),
                duration(lasting),
                number(high.level)
            ),
            proofs: vec![Proof::derived(
                "app_errors_per_second",
                "errors/s",
                rate,
                (0.0, high.floor),
            )],
        })
    }

    fn judge_calls(&self, name: &ContainerName, lesson: &Lesson, lasting: Duration) -> Reading {
        let mut worst: Option<Slow<'_>> = None;
        let mut calm = Reading::Unknown;
        for (family, mean_s) in &lesson.means_s {
            let Some(known) = self.families.get(family) else {
                continue;
            };
            let Some(usual_s) = known.usual.level() else {
                continue;
            };
            let longer_s = mean_s - usual_s;
            let far = known.usual.distance(*mean_s) >= DISTANCE_MIN;
            if far && longer_s >= LONGER_MIN_S.max((TIMES_USUAL_MIN - 1.0) * usual_s) {
                let times = |slow: &Slow<'_>| slow.mean_s / slow.usual_s.max(DURATION_SPREAD_MIN_S);
                let slow = Slow {
                    family,
                    mean_s: *mean_s,
                    usual_s,
                    score: known.usual.score(*mean_s),
                    samples: known.usual.samples(),
                };
                if worst.as_ref().is_none_or(|it| times(it) < times(&slow)) {
                    worst = Some(slow);
                }
            } else if far && longer_s >= LONGER_MIN_S.max(usual_s) {
                calm = Reading::Between;
            } else if matches!(calm, Reading::Unknown) {
                calm = Reading::Normal;
            }
        }
        worst.map_or(calm, |slow| Reading::Violates(slow.finding(name, lasting)))
    }
}

impl Slow<'_> {
    fn finding(&self, name: &ContainerName, lasting: Duration) -> Finding {
        let millis = |seconds: f64| number(seconds * 1_000.0);
        let bound = TIMES_USUAL_MIN * self.usual_s;
        Finding {
            severity: match lasting >= WARNING_AFTER {
                true => Severity::Warning,
                false => Severity::Info,
            },
            score: Ratio::saturating(self.score),
            confidence: confidence(self.samples),
            reason: format!(
                "{name}: {} took {} ms on average for {}, usually {} ms",
                self.family,
                millis(self.mean_s),
                duration(lasting),
                millis(self.usual_s)
            ),
            proofs: vec![Proof::derived(
                "app_seconds_per_call",
                "s",
                self.mean_s,
                (0.0, bound),
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use units::{NodeId, ServiceId, Timestamp};

    use super::*;

    fn point(name: &str, labels: &str, kind: SeriesKind, value: f64) -> Point {
        Point {
            at: Timestamp::EPOCH,
            steady: Steady::from_millis(0),
            node: NodeId::from("node-a"),
            service: Some(ServiceId::from("web")),
            container: None,
            name: name.to_owned(),
            labels: labels.to_owned(),
            kind,
            value,
        }
    }

    #[test]
    fn names_and_labels_say_what_a_series_is() {
        let role = |name: &str, labels: &str, kind| {
            let point = point(name, labels, kind, 1.0);
            roles(&point)
                .map(|role| format!("{role:?}"))
                .collect::<Vec<_>>()
        };
        use SeriesKind::{Counter, Gauge, Histogram, Unknown};
        let errors = ["Errors"];
        assert_eq!(role("app_errors_total", "", Counter), errors);
        assert_eq!(
            role(
                "http_requests_total",
                "method=\"GET\",code=\"503\"",
                Counter
            ),
            errors
        );
        assert_eq!(
            role("http_requests_total", "code=\"200\"", Counter),
            [""; 0]
        );
        assert_eq!(role("db_failures_total", "", Unknown), errors);
        assert_eq!(role("errors_now", "", Gauge), [""; 0]);
        assert_eq!(role("mirror_total", "", Counter), [""; 0]);
        assert_eq!(
            role("http_request_duration_seconds_sum", "", Histogram),
            ["Sum(\"http_request_duration_seconds\", 1.0)"]
        );
        assert_eq!(
            role("rpc_ms_count", "status=\"500\"", Histogram),
            ["Errors", "Count(\"rpc_ms\")"]
        );
        assert_eq!(
            role("http_request_duration_seconds_bucket", "", Histogram),
            [""; 0]
        );
        assert_eq!(role("go_gc_duration_seconds_sum", "", Histogram), [""; 0]);
        let responses = "haproxy_server_http_responses_total";
        assert_eq!(role(responses, "code=\"5xx\"", Counter), [""; 0]);
    }

    /// Tells pages fifteen seconds apart, of errors and of milliseconds a call, at ten calls a second; gives what was said of each.
    fn said(pages: impl Iterator<Item = (f64, f64)>) -> Vec<Option<String>> {
        let mut app = App::default();
        let (mut errors, mut calls, mut seconds) = (0.0, 0.0, 0.0);
        let mut told = Vec::new();
        for (index, (errors_per_s, ms)) in pages.enumerate() {
            errors += 15.0 * errors_per_s;
            calls += 150.0;
            seconds += 150.0 * ms / 1_000.0;
            let mut page = vec![
                point("calls_seconds_sum", "", SeriesKind::Histogram, seconds),
                point("calls_seconds_count", "", SeriesKind::Histogram, calls),
            ];
            if errors > 0.0 {
                page.push(point("calls_errors_total", "", SeriesKind::Counter, errors));
            }
            let page: Vec<&Point> = page.iter().collect();
            let run = Steady::from_millis(index as u64 * 15_000);
            let name = ContainerName::from("web-1");
            let (reading, lesson) = app.read(&name, &page, run, Duration::ZERO);
            told.push(match reading {
                Reading::Violates(finding) => Some(finding.reason),
                Reading::Between | Reading::Normal | Reading::Unknown => {
                    app.learn(&lesson);
                    None
                }
            });
        }
        told
    }

    #[test]
    fn the_first_errors_and_slow_calls_are_told_and_ordinary_life_is_not() {
        let ordinary = |page: usize| (0.0, 8.0 + (page % 5) as f64);
        let quiet = said((0..200).map(ordinary));
        assert_eq!(quiet.iter().flatten().count(), 0, "{quiet:?}");
        let fails = said((0..60).map(|page| match page < 50 {
            true => ordinary(page),
            false => (2.0, 9.0),
        }));
        assert_eq!(fails.iter().flatten().count(), 10, "{fails:?}");
        let first = fails[50].as_deref().unwrap_or_default();
        assert!(first.starts_with("web-1 counts 2.0 errors/s"), "{first}");
        let slow = said((0..60).map(|page| match page < 50 {
            true => ordinary(page),
            false => (0.0, 90.0),
        }));
        let first = slow[50].as_deref().unwrap_or_default();
        assert!(
            first.starts_with("web-1: calls_seconds took 90.0 ms"),
            "{first}"
        );
        // Twice as slow for a while is a busy hour.
        let busy = said((0..90).map(|page| match page < 50 {
            true => ordinary(page),
            false => (0.01, 20.0),
        }));
        assert_eq!(busy.iter().flatten().count(), 0, "{busy:?}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_page_tells_state_is_bounded(names in proptest::collection::vec("[a-z]{1,4}_(seconds|ms)_(sum|count)", 0..60), value in -1e12f64..1e12) {
            let mut app = App::default();
            for run in 0..3u64 {
                let page: Vec<Point> = names
                    .iter()
                    .map(|name| point(name, "", SeriesKind::Histogram, value * run as f64))
                    .collect();
                let page: Vec<&Point> = page.iter().collect();
                let name = ContainerName::from("web-1");
                let (_, lesson) = app.read(&name, &page, Steady::from_millis(run * 15_000), Duration::ZERO);
                app.learn(&lesson);
            }
            proptest::prop_assert!(app.families.len() <= FAMILIES_MAX);
        }
    }
}
