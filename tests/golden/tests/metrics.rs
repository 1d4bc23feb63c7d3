//! The reference of what is collected, `deploy/metrics.md`, is what the tables in the code say.
//!
//! `HOMEOSTAT_BLESS=1 cargo test -p golden --test metrics` writes it anew.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use units::{Metric, MetricKind, NodeMetric};

const HEAD: &str = "# What is collected

Counters rise from a beginning of their own (a container's start, a collector's, a boot), and a fall is a new beginning; gauges
are levels. What could not be read is absent, never zero.

## Of each container, every second

Metrics of the samples on `homeostat.samples`, numbers of the column `metrics` that names them in this order. TCP numbers are read every ten seconds and sizes of layers every five minutes, and
said with each sample in between.

| metric | kind | what |
|---|---|---|
";

const NODE: &str = "
## Of each node

Series on the same topic, every ten seconds; those of the engine every minute. Labels are in `code`.

| series | kind | what |
|---|---|---|
";

const TAIL: &str = "
## Of applications

What containers labelled `io.homeostat.scrape` serve, under the names they give it, every fifteen seconds.

## Who talks to whom

One link for each container and peer, every ten seconds: address and, where it is known on the node, service of the peer, who
opened the connections, the port, how many there are, the median of their round-trip times, and segments sent again.
";

fn word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    }
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    for metric in Metric::ALL {
        let (column, kind) = (metric.column(), word(metric.kind()));
        writeln!(text, "| `{column}` | {kind} | {} |", metric.description()).unwrap();
    }
    text += NODE;
    for metric in NodeMetric::ALL {
        let (name, kind) = (metric.name(), word(metric.kind()));
        writeln!(text, "| `{name}` | {kind} | {} |", metric.description()).unwrap();
    }
    text + TAIL
}

#[test]
fn the_reference_of_metrics_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/metrics.md");
    let fresh = reference();
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), fresh);
}
