//! The dashboard's queries and the alert rules on every metric of the table at once, before any loop runs.

use kit::metrics::{Kind, MetricName, Metrics};
use tokio_util::sync::CancellationToken;

use super::*;

/// Label values that the queries select by; others do not matter.
fn label_value(metric: MetricName, label: &str) -> &'static str {
    match (metric, label) {
        (MetricName::Signals, "phase") => "open",
        (MetricName::Deliveries, "result") => "delivered",
        (_, "state") => "running",
        (_, "action") => "restart",
        (_, _) => "some",
    }
}

/// Every metric of the table, moving.
fn advance(metrics: &Metrics) {
    for metric in MetricName::ALL.iter().copied() {
        let ours = metric.name().starts_with("homeostat_");
        // These are read by the registry itself.
        if !ours
            || matches!(
                metric,
                MetricName::BuildInfo | MetricName::TraceparentsMalformed
            )
        {
            continue;
        }
        let labels: Vec<_> = metric
            .labels()
            .iter()
            .map(|label| (*label, label_value(metric, label)))
            .collect();
        match metric.kind() {
            Kind::Counter => {
                metrics.counter(metric).with(&labels).inc();
            }
            Kind::Gauge => {
                metrics.gauge(metric).with(&labels).set(1.0);
            }
            Kind::Histogram(_) => metrics.histogram(metric).with(&labels).observe(0.2),
        }
    }
}

#[tokio::test]
async fn every_panel_answers_when_every_metric_moves() {
    let metrics = Metrics::new("collector", "0.0.0");
    let shutdown = CancellationToken::new();
    let health = kit::health::Health::default();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = kit::admin::serve(address, &metrics, &health, shutdown.clone())
        .await
        .unwrap();
    advance(&metrics);
    let prometheus = Prometheus::start(&[("homeostat-up", address)])
        .await
        .unwrap();
    let end = Instant::now() + START_DEADLINE;
    loop {
        advance(&metrics);
        let report = prometheus.check(&loop_dashboard(), &[]).await.unwrap();
        match report.ok() {
            Ok(()) => break,
            // Rates need two scrapes; nothing else is waited for.
            Err(_) if report.errors.is_empty() && Instant::now() < end => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(POLL).await;
    }
    shutdown.cancel();
}

#[tokio::test]
async fn a_wrong_query_and_an_empty_one_are_told_apart() {
    let metrics = Metrics::new("collector", "0.0.0");
    let shutdown = CancellationToken::new();
    let health = kit::health::Health::default();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = kit::admin::serve(address, &metrics, &health, shutdown.clone())
        .await
        .unwrap();
    let prometheus = Prometheus::start(&[("homeostat-up", address)])
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dashboard.json");
    let panel = |title: &str, query: &str| serde_json::json!({"type": "stat", "title": title, "targets": [{"expr": query}]});
    let dashboard = serde_json::json!({"panels": [
        panel("wrong", "sum(up"),
        panel("nothing", "homeostat_nowhere"),
        panel("quiet", "homeostat_nowhere_else"),
        panel("there", "homeostat_build_info{job=~\"$job\"}"),
    ]});
    fs::write(&file, dashboard.to_string()).unwrap();
    let may_be_empty = [
        MayBeEmpty {
            panel: "quiet",
            reason: "nothing happens in this test",
        },
        MayBeEmpty {
            panel: "there",
            reason: "a mistake, to be told",
        },
    ];
    let report = prometheus.check(&file, &may_be_empty).await.unwrap();
    assert_eq!(report.queries, 4);
    assert_eq!(report.errors.len(), 1, "{report:?}");
    assert_eq!(report.empty, ["nothing: homeostat_nowhere"]);
    assert_eq!(report.needlessly_allowed, ["there"]);
    assert!(report.ok().is_err());
    shutdown.cancel();
}

/// Runs promtool, which comes with Prometheus.
fn promtool(arguments: &[&str]) {
    let dashboards = loop_dashboard();
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(dashboards.parent().unwrap())
        .output()
        .expect("promtool comes with Debian's package prometheus: install it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

#[test]
fn alert_rules_are_sound_and_fire_when_they_should() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn prometheus_takes_the_configuration_of_compose() {
    promtool(&[
        "check",
        "config",
        "--syntax-only",
        "../deploy/prometheus/prometheus.yml",
    ]);
}
