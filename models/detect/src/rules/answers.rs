//! What callers get from one replica, as the balancer before it counts: how many of its answers fail, and how long they take. Each
//! replica is compared with its fellows at the same time, so that what all of them meet (a slow database, a busy hour) is nobody's
//! oddness. Two replicas are enough: failing, and being slow, is on one side only.
//!
//! Shares are told apart by the two-proportion z test with the pooled share (NIST/SEMATECH e-Handbook of Statistical Methods, 7.3.3).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, Point, Ratio, Severity, Steady};

use super::confidence;
use super::page::label;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, number, percent};

/// Of pages, five seconds apart by default.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 2,
    of: 3,
    calm: 6,
};

/// What the names of a balancer's series begin with.
const OF_BALANCERS: &str = "haproxy_server_";
const RESPONSES: &str = "haproxy_server_http_responses_total";
const CONNECTION_ERRORS: &str = "haproxy_server_connection_errors_total";
const RESPONSE_ERRORS: &str = "haproxy_server_response_errors_total";
const RESPONSE_TIME: &str = "haproxy_server_response_time_average_seconds";
/// The label of [`RESPONSES`] and its value of those that failed.
const CODE: &str = "code";
const FAILED: &str = "5xx";

/// Shares are taken over the pages of so long, or the last one where they are further apart.
const WINDOW: Duration = Duration::from_secs(30);
/// Between two pages lies no more than this, or their counters are not compared.
const GAP_MAX: Duration = Duration::from_secs(180);
/// Fewer answers of the replica, or of its fellows together, say nothing.
const ANSWERS_MIN: f64 = 20.0;
/// So many fail, …
const FAILED_MIN: f64 = 5.0;
/// … at least this share of them, …
const SHARE_MIN: f64 = 0.02;
/// … this many times the share of the fellows, …
const TIMES_MIN: f64 = 4.0;
/// … and so many standard errors above it.
const DISTANCE_MIN: f64 = 4.0;
/// From this share on it is critical.
const SHARE_CRITICAL: f64 = 0.5;
/// Its answers take this many times as long as its fellows' do, …
const SLOWER_MIN: f64 = 1.5;
/// … and so much longer, in seconds: a balancer counts whole milliseconds.
const LONGER_MIN_S: f64 = 0.005;
/// Below this many times as long, and of fewer failures than [`TIMES_MIN`] by half, it is as its fellows are.
const SLOWER_CALM: f64 = 1.25;

/// Whether a series is one of a balancer's, of whatever it counts.
pub(crate) fn is_of_balancer(point: &Point) -> bool {
    point.name.starts_with(OF_BALANCERS)
}

/// Whether a series is one that is looked at.
pub(crate) fn is_followed(point: &Point) -> bool {
    [RESPONSES, CONNECTION_ERRORS, RESPONSE_ERRORS, RESPONSE_TIME].contains(&point.name.as_str())
}

/// Answers and how many of them failed: counted since some time, or within some.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    answers: f64,
    failed: f64,
}

impl Count {
    fn share(self) -> f64 {
        self.failed / self.answers.max(1.0)
    }
}

impl std::ops::Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count {
            answers: self.answers + other.answers,
            failed: self.failed + other.failed,
        }
    }
}

/// What a balancer told of one container so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answers {
    last: Option<(Steady, Count)>,
    recent: VecDeque<(Steady, Count)>,
    /// The mean of its newest answers, in seconds.
    mean_s: Option<f64>,
    /// How many times as long as its fellows' its answers take by its nature.
    usual_times: Option<f64>,
}

/// What is compared of a replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Served {
    count: Count,
    mean_s: Option<f64>,
}

impl Answers {
    /// Its process was started again, or a balancer begins to count anew.
    pub(crate) fn forget(&mut self) {
        *self = Answers {
            usual_times: self.usual_times,
            ..Answers::default()
        };
    }

    /// Takes a page.
    pub(crate) fn advance(&mut self, points: &[&Point], run: Steady) {
        let mut total = Count::default();
        let mut mean_s: Option<f64> = None;
        for point in points {
            match point.name.as_str() {
                RESPONSES => {
                    total.answers += point.value;
                    if label(&point.labels, CODE) == Some(FAILED) {
                        total.failed += point.value;
                    }
                }
                CONNECTION_ERRORS | RESPONSE_ERRORS => {
                    total.answers += point.value;
                    total.failed += point.value;
                }
                // Of several balancers, what the callers of the slowest meet.
                RESPONSE_TIME => mean_s = Some(mean_s.unwrap_or(0.0).max(point.value)),
                _other => {}
            }
        }
        let last = self.last.replace((run, total));
        let Some((at, before)) = last else { return };
        let is_later = run > at && run.since(at) <= GAP_MAX;
        if !is_later || total.answers < before.answers || total.failed < before.failed {
            self.recent.clear();
            self.mean_s = None;
            return;
        }
        let count = Count {
            answers: total.answers - before.answers,
            failed: total.failed - before.failed,
        };
        self.recent.retain(|(at, _)| run.since(*at) < WINDOW);
        self.recent.push_back((run, count));
        self.mean_s = mean_s;
    }

    /// What it has to show of the time up to `run`; none where it was asked for too little.
    pub(crate) fn served(&self, run: Steady) -> Option<Served> {
        let (at, _) = self.last?;
        let lately = run.since(at) <= WINDOW;
        let counts = self.recent.iter().map(|(_, count)| *count);
        let count = counts.fold(Count::default(), std::ops::Add::add);
        (lately && count.answers > 0.0).then_some(Served {
            count,
            mean_s: self.mean_s,
        })
    }

    /// Takes what is so now for its way: it is on a slower machine, or does other work.
    pub(crate) fn accustom(&mut self, fellows: &[Served]) {
        let fellows_s = typical_s(fellows);
        let times = self.mean_s.zip(fellows_s).map(|(own, other)| own / other);
        self.usual_times = times.filter(|it| it.is_finite() && *it > 1.0);
    }

    /// Judges it beside its fellows.
    pub(crate) fn judge(
        &self,
        name: &ContainerName,
        run: Steady,
        fellows: &[Served],
        lasting: Duration,
    ) -> Reading {
        let own = match self.served(run) {
            Some(own) if own.count.answers >= ANSWERS_MIN => own,
            Some(_) | None => return Reading::Unknown,
        };
        let counts = fellows.iter().map(|it| it.count);
        let others = counts.fold(Count::default(), std::ops::Add::add);
        if others.answers < ANSWERS_MIN {
            return Reading::Unknown;
        }
        let told = Told { name, lasting };
        let failing = told.failures(own.count, others);
        let slow = own.mean_s.zip(typical_s(fellows));
        let slow = slow.map_or(Reading::Unknown, |(own_s, others_s)| {
            told.slowness(own_s, others_s, self.usual_times.unwrap_or(1.0))
        });
        match (failing, slow) {
            (Reading::Violates(mut failing), Reading::Violates(slow)) => {
                failing.proofs.extend(slow.proofs);
                Reading::Violates(failing)
            }
            (violates @ Reading::Violates(_), _) | (_, violates @ Reading::Violates(_)) => violates,
            (Reading::Between, _) | (_, Reading::Between) => Reading::Between,
            (Reading::Normal | Reading::Unknown, Reading::Normal | Reading::Unknown) => {
                Reading::Normal
            }
        }
    }
}

/// The median of those that tell one.
fn typical_s(fellows: &[Served]) -> Option<f64> {
    let mut all: Vec<f64> = fellows.iter().filter_map(|it| it.mean_s).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// Standard errors between two shares.
fn distance(own: Count, others: Count) -> f64 {
    let pooled = (own + others).share();
    let variance = pooled * (1.0 - pooled) * (1.0 / own.answers + 1.0 / others.answers);
    match variance > 0.0 {
        true => (own.share() - others.share()) / variance.sqrt(),
        false => 0.0,
    }
}

/// Whose answers, and for how long they have been so.
struct Told<'a> {
    name: &'a ContainerName,
    lasting: Duration,
}

impl Told<'_> {
    fn failures(&self, own: Count, others: Count) -> Reading {
        let (share, usual) = (own.share(), others.share());
        let floor = SHARE_MIN.max(TIMES_MIN * usual);
        let far = distance(own, others);
        if own.failed < FAILED_MIN || share < floor || far < DISTANCE_MIN {
            let is_calm = share < floor / 2.0 || far < DISTANCE_MIN / 2.0;
            return match is_calm {
                true => Reading::Normal,
                false => Reading::Between,
            };
        }
        Reading::Violates(Finding {
            severity: match share >= SHARE_CRITICAL {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            score: Ratio::saturating(1.0 - DISTANCE_MIN / (2.0 * far)),
            confidence: confidence(own.answers as u32),
            reason: format!(
                "{} fails {} of its requests ({} of {}) for {}, its fellow replicas {} of theirs",
                self.name,
                percent(share),
                number(own.failed),
                number(own.answers),
                duration(self.lasting),
                percent(usual),
            ),
            proofs: vec![Proof::derived(
                "requests_failed_share",
                "1",
                share,
                (0.0, floor),
            )],
        })
    }

    fn slowness(&self, own_s: f64, others_s: f64, usual_times: f64) -> Reading {
        let expected_s = others_s * usual_times;
        let floor_s = (expected_s * SLOWER_MIN).max(expected_s + LONGER_MIN_S);
        if own_s < floor_s {
            let is_calm = own_s < (expected_s * SLOWER_CALM).max(expected_s + LONGER_MIN_S / 2.0);
            return match is_calm {
                true => Reading::Normal,
                false => Reading::Between,
            };
        }
        let millis = |seconds: f64| number(seconds * 1_000.0);
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(1.0 - floor_s / (2.0 * own_s)),
            confidence: confidence(0),
            reason: format!(
                "{} answers in {} ms on average for {}, its fellow replicas in {} ms",
                self.name,
                millis(own_s),
                duration(self.lasting),
                millis(others_s),
            ),
            proofs: vec![Proof::derived(
                "response_time_average_seconds",
                "s",
                own_s,
                (0.0, floor_s),
            )],
        })
    }
}

#[cfg(test)]
mod tests {
    use units::{NodeId, SeriesKind, ServiceId, Timestamp};

    use super::*;

    /// A page every five seconds.
    const EVERY_S: u64 = 5;

    fn points(answers: f64, failed: f64, mean_s: f64) -> Vec<Point> {
        let point = |name: &str, labels: &str, value| Point {
            at: Timestamp::EPOCH,
            steady: Steady::from_millis(0),
            node: NodeId::from("node-a"),
            service: Some(ServiceId::from("web")),
            container: None,
            name: name.to_owned(),
            labels: labels.to_owned(),
            kind: SeriesKind::Counter,
            value,
        };
        vec![
            point(RESPONSES, "code=\"2xx\",proxy=\"web\"", answers - failed),
            point(RESPONSES, "code=\"5xx\",proxy=\"web\"", failed),
            point(CONNECTION_ERRORS, "proxy=\"web\"", 0.0),
            point(RESPONSE_TIME, "proxy=\"web\"", mean_s),
        ]
    }

    /// One that answers so many requests a second, of which so many fail, in so many milliseconds.
    #[derive(Clone, Copy)]
    struct Way {
        per_s: f64,
        failing: f64,
        ms: f64,
    }

    const ORDINARY: Way = Way {
        per_s: 100.0,
        failing: 0.001,
        ms: 10.0,
    };

    struct Pair {
        pages: u64,
        totals: [(f64, f64); 2],
        answers: [Answers; 2],
    }

    impl Pair {
        fn new() -> Pair {
            Pair {
                pages: 0,
                totals: [(0.0, 0.0); 2],
                answers: [Answers::default(), Answers::default()],
            }
        }

        fn run(&self) -> Steady {
            Steady::from_millis(self.pages * EVERY_S * 1_000)
        }

        /// Takes a page of each, and tells what the first is found to be.
        fn page(&mut self, ways: [Way; 2]) -> Reading {
            self.pages += 1;
            let run = self.run();
            for ((way, total), answers) in ways.iter().zip(&mut self.totals).zip(&mut self.answers)
            {
                let more = way.per_s * EVERY_S as f64;
                *total = (total.0 + more, total.1 + (more * way.failing).round());
                let page = points(total.0, total.1, way.ms / 1_000.0);
                answers.advance(&page.iter().collect::<Vec<_>>(), run);
            }
            let fellows: Vec<Served> = self.answers[1].served(run).into_iter().collect();
            let name = ContainerName::from("web-1");
            self.answers[0].judge(&name, run, &fellows, Duration::ZERO)
        }

        fn last(&mut self, pages: usize, ways: [Way; 2]) -> Reading {
            let mut last = Reading::Unknown;
            for _ in 0..pages {
                last = self.page(ways);
            }
            last
        }
    }

    fn reason(reading: Reading) -> String {
        match reading {
            Reading::Violates(finding) => finding.reason,
            Reading::Between => "between".to_owned(),
            Reading::Normal => "normal".to_owned(),
            Reading::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn one_that_fails_a_fifth_of_its_requests_is_told_by_its_second_page() {
        let failing = Way {
            failing: 0.2,
            ..ORDINARY
        };
        let mut pair = Pair::new();
        assert_eq!(reason(pair.page([failing, ORDINARY])), "unknown");
        let told = reason(pair.page([failing, ORDINARY]));
        let says = "web-1 fails 20% of its requests (100 of 500)";
        assert!(told.starts_with(says), "{told}");
        // Once it does no more, the failures leave the window.
        assert_eq!(reason(pair.last(8, [ORDINARY; 2])), "normal");
    }

    #[test]
    fn what_all_of_them_meet_is_nobodys_oddness() {
        let bad = Way {
            failing: 0.3,
            ms: 400.0,
            ..ORDINARY
        };
        assert_eq!(reason(Pair::new().last(6, [bad; 2])), "normal");
    }

    #[test]
    fn one_that_takes_twice_as_long_is_told_and_what_is_its_way_is_not() {
        let slow = Way {
            ms: 20.0,
            ..ORDINARY
        };
        let mut pair = Pair::new();
        let told = reason(pair.last(2, [slow, ORDINARY]));
        assert!(told.starts_with("web-1 answers in 20.0 ms"), "{told}");
        let fellows: Vec<Served> = pair.answers[1].served(pair.run()).into_iter().collect();
        pair.answers[0].accustom(&fellows);
        assert_eq!(reason(pair.last(2, [slow, ORDINARY])), "normal");
        // The balancer counts whole milliseconds: one and three are no difference.
        let quick = [3.0, 1.0].map(|ms| Way { ms, ..ORDINARY });
        assert_eq!(reason(Pair::new().last(6, quick)), "normal");
    }

    #[test]
    fn few_requests_say_nothing() {
        let few = Way {
            per_s: 0.5,
            failing: 0.5,
            ms: 90.0,
        };
        assert_eq!(reason(Pair::new().last(6, [few, ORDINARY])), "unknown");
        assert_eq!(reason(Pair::new().last(6, [ORDINARY, few])), "unknown");
    }

    #[test]
    fn a_balancer_that_counts_anew_tells_nothing_of_the_time_before() {
        let failing = Way {
            failing: 0.2,
            ..ORDINARY
        };
        let mut pair = Pair::new();
        let _told = pair.last(4, [failing, ORDINARY]);
        pair.totals = [(0.0, 0.0); 2];
        assert_eq!(reason(pair.page([ORDINARY; 2])), "unknown");
        assert_eq!(reason(pair.page([ORDINARY; 2])), "normal");
    }

    proptest::proptest! {
        /// Two that are alike are told apart in less than one of a thousand pages.
        #[test]
        fn chance_alone_is_seldom_told(seed in 0u64..500, failing in 0.0f64..0.2, ms in 2.0f64..400.0) {
            let mut noise = crate::testing::Noise::seeded(seed);
            let mut pair = Pair::new();
            let mut told = 0;
            for _ in 0..200 {
                let ways = [0, 1].map(|_| Way {
                    failing: noise.poisson(500.0 * failing) / 500.0,
                    ms: ms * (1.0 + 0.05 * noise.normal()),
                    per_s: 100.0,
                });
                told += u32::from(matches!(pair.page(ways), Reading::Violates(_)));
            }
            proptest::prop_assert!(told <= 1, "{told} of 200");
        }

        #[test]
        fn whatever_a_page_tells_is_borne(values in proptest::collection::vec(-1e300f64..1e300, 3..30)) {
            let mut pair = Pair::new();
            for three in values.chunks_exact(3) {
                let page = points(three[0], three[1], three[2]);
                pair.pages += 1;
                let run = pair.run();
                pair.answers[0].advance(&page.iter().collect::<Vec<_>>(), run);
                let _told = pair.last(1, [ORDINARY; 2]);
                proptest::prop_assert!(pair.answers[0].recent.len() <= 7);
            }
        }
    }
}
