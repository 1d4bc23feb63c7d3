//! A page: its lines in order, counted.

use super::family::{Class, Families};
use super::labels::{Labels, Refusal};
use super::line::{self, Comment, What};

/// Which of the two formats a page is in; they differ in the unit of timestamps and in how a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: timestamps in milliseconds.
    Prometheus,
    /// OpenMetrics 1.0: timestamps in seconds; the last line is `# EOF`, and a page without it is not whole.
    OpenMetrics,
}

impl Format {
    /// What to ask an application for, as the value of `Accept`.
    pub const ACCEPT: &'static str =
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    /// By the `Content-Type` of the answer; what does not say OpenMetrics is Prometheus.
    pub fn of(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

/// How much of a page is taken. Memory does not depend on them: nothing is kept of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a page. What is behind is not read, and counted in [`Scraped::bytes_passed_over`].
    pub bytes_max: usize,
    /// Series given. Those beyond are counted in [`Scraped::over_limit`].
    pub series_max: u64,
    /// Bytes of the name and labels of one series, as written. Longer ones are counted in [`Scraped::over_limit`].
    pub series_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 4 * 1024 * 1024,
            series_max: 5_000,
            series_bytes_max: 2_048,
        }
    }
}

/// The kind of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesKind {
    /// Only rises, until it begins anew.
    Counter,
    /// Rises and falls. Also the series of info, state-set and gauge-histogram families.
    Gauge,
    /// A bucket (`_bucket`, label `le`), the `_sum` or the `_count` of a histogram: all but the sum of negative values only rise.
    Histogram,
    /// A quantile (label `quantile`), the `_sum` or the `_count` of a summary: the last two rise as a counter's.
    Summary,
    /// Nothing was said of it.
    Unknown,
}

/// One series at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point<'p> {
    /// The name as on the page, suffixes such as `_total` included.
    pub name: &'p str,
    /// Its labels.
    pub labels: Labels<'p>,
    /// Its kind.
    pub kind: SeriesKind,
    /// Its value; finite.
    pub value: f64,
    /// When it was measured, in milliseconds since 1970, where the page says so; else it is of the time of the scrape.
    pub at_unix_ms: Option<i64>,
}

/// The first malformed line of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the page has {what}")]
pub struct Problem {
    /// Counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: What,
}

/// What became of a page. Every line of a series is in exactly one of the first five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scraped {
    /// Series given.
    pub series: u64,
    /// Series beyond the limits, not given.
    pub over_limit: u64,
    /// Lines that could not be read, not given. Malformed `TYPE` lines are among them.
    pub malformed: u64,
    /// Series that are NaN or infinite, not given: they say that there is nothing to say.
    pub not_finite: u64,
    /// Series that tell when a counter began, not given.
    pub created: u64,
    /// Bytes behind the last whole line within [`Limits::bytes_max`], not read.
    pub bytes_passed_over: u64,
    /// The first malformed line.
    pub first_problem: Option<Problem>,
    /// Whether `# EOF` was met. A page of [`Format::OpenMetrics`] without is not whole.
    pub ended: bool,
}

/// Reads a page and gives its series in order, at most [`Limits::series_max`].
///
/// A malformed line costs itself only: what applications serve is seldom perfect, and a series lost is better than all lost.
pub fn parse<'p>(
    page: &'p [u8],
    format: Format,
    limits: &Limits,
    mut each: impl FnMut(Point<'p>),
) -> Scraped {
    let (whole, passed_over) = split(page, limits.bytes_max);
    let mut reader = Reader {
        format,
        limits,
        families: Families::default(),
        scraped: Scraped {
            bytes_passed_over: passed_over as u64,
            ..Scraped::default()
        },
    };
    for (line, number) in whole.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        match reader.line(line) {
            Ok(None) => {}
            Ok(Some(point)) => {
                reader.scraped.series += 1;
                each(point);
            }
            Err(Refusal::OverLimit) => reader.scraped.over_limit += 1,
            Err(Refusal::Malformed(what)) => {
                let scraped = &mut reader.scraped;
                scraped.malformed += 1;
                scraped
                    .first_problem
                    .get_or_insert(Problem { line: number, what });
            }
        }
    }
    reader.scraped
}

/// The page, or its whole lines within the limit; and how many bytes that leaves out.
fn split(page: &[u8], bytes_max: usize) -> (&[u8], usize) {
    let Some(within) = page.get(..bytes_max).filter(|_| page.len() > bytes_max) else {
        return (page, 0);
    };
    let end = within
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    (&page[..end], page.len() - end)
}

struct Reader<'p, 'l> {
    format: Format,
    limits: &'l Limits,
    families: Families<'p>,
    scraped: Scraped,
}

impl<'p> Reader<'p, '_> {
    fn line(&mut self, line: &'p [u8]) -> Result<Option<Point<'p>>, Refusal> {
        let text = std::str::from_utf8(line).map_err(|_| Refusal::Malformed(What::Encoding))?;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        if self.scraped.ended && self.format == Format::OpenMetrics {
            return Err(Refusal::Malformed(What::AfterEnd));
        }
        match line::comment(text).map_err(Refusal::Malformed)? {
            Some(Comment::Type(name, kind)) => self.families.declare(name, kind),
            Some(Comment::End) => self.scraped.ended = true,
            Some(Comment::Other) => {}
            None if line.ends_with(b"\n") => return self.series(text),
            None => return Err(Refusal::Malformed(What::Unended)),
        }
        Ok(None)
    }

    fn series(&mut self, text: &'p str) -> Result<Option<Point<'p>>, Refusal> {
        let series = line::series(text, self.format)?;
        let kind = match self.families.class(series.name) {
            Class::Series(kind) => kind,
            Class::Created => {
                self.scraped.created += 1;
                return Ok(None);
            }
        };
        if !series.value.is_finite() {
            self.scraped.not_finite += 1;
            return Ok(None);
        }
        let bytes = series.name.len() + series.labels.bytes();
        if self.scraped.series >= self.limits.series_max || bytes > self.limits.series_bytes_max {
            return Err(Refusal::OverLimit);
        }
        Ok(Some(Point {
            name: series.name,
            labels: series.labels,
            kind,
            value: series.value,
            at_unix_ms: series.at_unix_ms,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'p>(page: &'p str, format: Format, limits: &Limits) -> (Vec<Point<'p>>, Scraped) {
        let mut points = Vec::new();
        let scraped = parse(page.as_bytes(), format, limits, |point| points.push(point));
        (points, scraped)
    }

    fn told(page: &str, format: Format) -> (Vec<String>, Scraped) {
        let (points, scraped) = read(page, format, &Limits::default());
        let line = |point: &Point<'_>| {
            let (kind, identity) = (point.kind, point.labels.identity());
            let at = point
                .at_unix_ms
                .map_or(String::new(), |at| format!(" @{at}"));
            format!("{kind:?} {}{{{identity}}} {}{at}", point.name, point.value)
        };
        (points.iter().map(line).collect(), scraped)
    }

    #[test]
    fn a_page_of_prometheus_is_read() {
        let page = "\
# HELP http_requests_total Requests, by \\\"code\\\".
# TYPE http_requests_total counter
http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000
http_requests_total { code = \"400\" , } 3e0\t-1

# A remark
#TYPE is one too
\tqueue_depth 7\r
# TYPE rpc_seconds summary
rpc_seconds{quantile=\"0.99\"} NaN
rpc_seconds_sum 1.5
rpc_seconds_count 2
# TYPE took histogram
took_bucket{le=\"0.1\"} 5
took_bucket{le=\"+Inf\"} 6 # {trace_id=\"a#b\"} 0.67 1
# TYPE took_created gauge
took_created 1.7e9
limit +Inf
";
        let (series, scraped) = told(page, Format::Prometheus);
        assert_eq!(
            series,
            [
                "Counter http_requests_total{code=\"200\",method=\"post\"} 1027 @1395066363000",
                "Counter http_requests_total{code=\"400\"} 3 @-1",
                "Unknown queue_depth{} 7",
                "Summary rpc_seconds_sum{} 1.5",
                "Summary rpc_seconds_count{} 2",
                "Histogram took_bucket{le=\"0.1\"} 5",
                "Histogram took_bucket{le=\"+Inf\"} 6",
            ]
        );
        let counted = Scraped {
            series: 7,
            not_finite: 2,
            created: 1,
            ..Scraped::default()
        };
        assert_eq!(scraped, counted);
    }

    #[test]
    fn a_page_of_open_metrics_is_read() {
        let page = "\
# TYPE requests counter
# UNIT requests requests
# HELP requests All of them.
requests_total{code=\"200\"} 5 1520879607.789 # {trace_id=\"x\"} 1 1520879607.1
requests_created{code=\"200\"} 1520430000.123
# TYPE build info
build_info{version=\"1.2\"} 1
# EOF";
        let (series, scraped) = told(page, Format::OpenMetrics);
        assert_eq!(
            series,
            [
                "Counter requests_total{code=\"200\"} 5 @1520879607789",
                "Gauge build_info{version=\"1.2\"} 1",
            ]
        );
        assert!(scraped.ended);
        assert_eq!((scraped.created, scraped.malformed), (1, 0));
    }

    #[test]
    fn a_malformed_line_costs_itself_and_the_first_is_told() {
        for (line, what) in [
            ("1up 1", What::Name),
            ("{code=\"1\"} 1", What::Name),
            ("up-1 1", What::Name),
            ("up", What::Value),
            ("up one", What::Value),
            ("up{a=\"1\"}", What::Value),
            ("up{a=1} 1", What::Label),
            ("up{a=\"1\",a=\"1\"} 1", What::LabelTwice),
            ("up 1 1.5", What::Timestamp),
            ("up 1 2 3", What::Trailing),
            ("# TYPE up speed", What::Type),
            ("# TYPE up", What::Type),
            ("# TYPE u-p gauge", What::Type),
        ] {
            let page = format!("first 1\n{line}\nnor-this\nlast 2\n");
            let (series, scraped) = told(&page, Format::Prometheus);
            assert_eq!(series.len(), 2, "{line}");
            assert_eq!(scraped.malformed, 2, "{line}");
            assert_eq!(
                scraped.first_problem,
                Some(Problem { line: 2, what }),
                "{line}"
            );
        }
        let mut seen = 0;
        let scraped = parse(
            b"a 1\nb{c=\"\xff\"} 2\nd 3\n",
            Format::Prometheus,
            &Limits::default(),
            |_| seen += 1,
        );
        let what = What::Encoding;
        assert_eq!(
            (seen, scraped.first_problem),
            (2, Some(Problem { line: 2, what }))
        );
        let text = scraped.first_problem.unwrap().to_string();
        assert_eq!(
            text,
            "line 2 of the page has bytes that are not UTF-8; encode the page so"
        );
    }

    #[test]
    fn a_page_that_is_cut_gives_no_cut_value() {
        let (series, scraped) = told("up 1\nrequests 12", Format::OpenMetrics);
        assert_eq!(series, ["Unknown up{} 1"]);
        assert!(!scraped.ended);
        let what = What::Unended;
        assert_eq!(scraped.first_problem, Some(Problem { line: 2, what }));
        let (_, scraped) = told("up 1 1e999\n# EOF\n\nup 1\n", Format::OpenMetrics);
        let what = What::Timestamp;
        assert_eq!(scraped.first_problem, Some(Problem { line: 1, what }));
        assert_eq!(scraped.malformed, 2);
    }

    #[test]
    fn what_is_beyond_a_limit_is_counted() {
        let page = "a 1\nb 2\nlong{l=\"0123456789\"} 3\nd 4\ne 5\n";
        let limits = Limits {
            bytes_max: page.len() - 1,
            series_max: 2,
            series_bytes_max: 10,
        };
        let (points, scraped) = read(page, Format::Prometheus, &limits);
        assert_eq!(
            points.iter().map(|point| point.name).collect::<String>(),
            "ab"
        );
        assert_eq!((scraped.series, scraped.over_limit), (2, 2));
        assert_eq!((scraped.malformed, scraped.bytes_passed_over), (0, 4));
        let limits = Limits {
            bytes_max: page.len(),
            ..limits
        };
        assert_eq!(
            read(page, Format::Prometheus, &limits).1.bytes_passed_over,
            0
        );
    }

    #[test]
    fn the_format_is_known_by_the_content_type() {
        for (content_type, format) in [
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                Format::OpenMetrics,
            ),
            ("Application/OpenMetrics-Text", Format::OpenMetrics),
            ("text/plain; version=0.0.4", Format::Prometheus),
            ("", Format::Prometheus),
        ] {
            assert_eq!(Format::of(content_type), format, "{content_type}");
        }
    }

    fn any_format() -> impl Strategy<Value = Format> {
        prop::sample::select(vec![Format::Prometheus, Format::OpenMetrics])
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(page in prop::collection::vec(any::<u8>(), 0..400), format in any_format()) {
            parse(&page, format, &Limits::default(), |point| { point.labels.identity(); });
        }

        #[test]
        fn limits_hold_and_every_series_is_counted_once(
            page in "((# TYPE )?[ab]{1,2}(_total|_created)?( ?[{]([ab]=\"[\\\\n\"x]{0,3}\",?){0,3}[}])?( ?(1|-2.5|NaN|gauge|counter|#))?( 12)?\n){0,12}",
            series_max in 0..5_u64,
            series_bytes_max in 0..12_usize,
            bytes_max in 0..300_usize,
            format in any_format(),
        ) {
            let limits = Limits { bytes_max, series_max, series_bytes_max };
            let (points, scraped) = read(&page, format, &limits);
            prop_assert_eq!(points.len() as u64, scraped.series);
            prop_assert!(scraped.series <= series_max);
            for point in &points {
                prop_assert!(point.value.is_finite());
                prop_assert!(point.name.len() + point.labels.identity().len() <= series_bytes_max * 2);
            }
            let read_bytes = page.len() - scraped.bytes_passed_over as usize;
            prop_assert!(read_bytes <= bytes_max);
            let lines = page[..read_bytes].lines().filter(|line| !line.is_empty());
            let types = lines.clone().filter(|line| line.starts_with('#')).count() as u64;
            let all = lines.count() as u64;
            let counted = scraped.series + scraped.over_limit + scraped.malformed + scraped.not_finite + scraped.created;
            prop_assert!(counted <= all && counted >= all - types, "{scraped:?} of {all}");
        }

        #[test]
        fn series_that_were_written_are_read(
            values in prop::collection::vec((-1e300..1e300_f64, any::<Option<i64>>()), 0..20),
            label in "[a-z ]{0,5}",
        ) {
            let mut page = String::from("# TYPE load gauge\n");
            for (number, (value, at)) in values.iter().enumerate() {
                let at = at.map_or(String::new(), |at| at.to_string());
                page += &format!("load{{n=\"{number}\",l=\"{label}\"}} {value:e} {at}\n");
            }
            let (points, scraped) = read(&page, Format::Prometheus, &Limits::default());
            prop_assert_eq!(scraped.first_problem, None);
            let told: Vec<_> = points.iter().map(|point| (point.value, point.at_unix_ms)).collect();
            prop_assert_eq!(told, values);
            prop_assert!(points.iter().all(|point| point.kind == SeriesKind::Gauge));
        }
    }
}
