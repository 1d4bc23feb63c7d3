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

## Of servers of HAProxy

What the sockets of `collector.haproxy.sockets` tell of servers that are containers of the node, every five seconds, under the names of HAProxy's own
exporter for Prometheus. Labels: `proxy`, `server`, and `instance`, the socket. What HAProxy does not tell, such as responses where it does not look at HTTP,
is absent. A collector tells of its own node's containers alone, so that of each node needs the sockets of all HAProxies that balance containers there. What several tell of
a container is summed where a service is scaled by it, of those that answer; no signal is told of these series.

| metric | kind | what |
|---|---|---|
| `haproxy_server_sessions_total` | counter | sessions, which are requests where HAProxy looks at HTTP |
| `haproxy_server_http_responses_total` | counter | responses by `code`: `1xx` to `5xx`, and `other` |
| `haproxy_server_connection_errors_total` | counter | attempts to connect that failed |
| `haproxy_server_response_errors_total` | counter | responses that broke off or were none |
| `haproxy_server_retry_warnings_total` | counter | attempts to connect that were made again |
| `haproxy_server_redispatch_warnings_total` | counter | requests that went to another server instead |
| `haproxy_server_current_queue` | gauge | requests that wait for this server |
| `haproxy_server_current_sessions` | gauge | sessions under way |
| `haproxy_server_queue_time_average_seconds` | gauge | time in the queue, mean over the last 1024 requests |
| `haproxy_server_connect_time_average_seconds` | gauge | time to connect, likewise |
| `haproxy_server_response_time_average_seconds` | gauge | time until the response began, likewise |
| `haproxy_server_total_time_average_seconds` | gauge | time from the request to the end of the session, likewise |

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
