//! One trace through three spans that know of each other only by a header, as a real receiver sees it.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use kit::telemetry::{Config, build};
use kit::trace::{follow, link, malformed, traceparent};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tracing::dispatcher::with_default;

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// An OTLP/HTTP receiver on loopback, on a runtime of its own.
struct Receiver {
    endpoint: String,
    received: Received,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let received = Received::default();
        let routes = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(received.clone());
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Receiver {
            endpoint,
            received,
            _runtime: runtime,
        }
    }

    /// Waits until that many spans have come, and gives each with its service's name.
    fn spans(&self, count: usize) -> Vec<(String, Span)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let spans = self
                .received
                .lock()
                .unwrap()
                .iter()
                .flat_map(named)
                .collect::<Vec<_>>();
            if spans.len() >= count {
                return spans;
            }
            assert!(Instant::now() < deadline, "only {} spans came", spans.len());
            std::thread::yield_now();
        }
    }
}

async fn receive(State(received): State<Received>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    received.lock().unwrap().push(request);
}

fn named(request: &ExportTraceServiceRequest) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for resource in &request.resource_spans {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        let service = attributes
            .iter()
            .find(|it| it.key == "service.name")
            .unwrap();
        let service = format!("{:?}", service.value);
        for scope in &resource.scope_spans {
            spans.extend(scope.spans.iter().map(|it| (service.clone(), it.clone())));
        }
    }
    spans
}

#[test]
fn a_receiver_sees_one_trace_over_three_spans_linked_by_headers() {
    let receiver = Receiver::start();
    let config = Config {
        otlp_endpoint: Some(receiver.endpoint.clone()),
        // A quiet log must not break the trace.
        log: "error".to_owned(),
        ..Config::default()
    };
    let (dispatch, telemetry) = build(&config, "test").unwrap();
    with_default(&dispatch, || {
        let collect = tracing::info_span!("collect");
        let header = traceparent(&collect).unwrap();
        assert!(header.ends_with("-01"), "sampled: {header}");
        drop(collect);

        let detect = tracing::info_span!("detect");
        follow(&detect, &header);
        let header = detect.in_scope(|| traceparent(&tracing::Span::current()).unwrap());
        drop(detect);

        let act = tracing::info_span!("act");
        follow(&act, &header);
        act.in_scope(|| tracing::info!("restarted"));
    });
    telemetry.shutdown();

    let spans = receiver.spans(3);
    let find = |name: &str| spans.iter().find(|(_, it)| it.name == name).unwrap();
    let (collect, detect, act) = (&find("collect").1, &find("detect").1, &find("act").1);
    assert!(find("act").0.contains("homeostat-test"));
    assert_eq!(collect.trace_id, detect.trace_id);
    assert_eq!(collect.trace_id, act.trace_id);
    assert!(collect.parent_span_id.is_empty());
    assert_eq!(detect.parent_span_id, collect.span_id);
    assert_eq!(act.parent_span_id, detect.span_id);
}

#[test]
fn a_span_over_many_records_links_to_each() {
    let receiver = Receiver::start();
    let config = Config {
        otlp_endpoint: Some(format!("{}/", receiver.endpoint)),
        log: "off".to_owned(),
        ..Config::default()
    };
    let (dispatch, telemetry) = build(&config, "test").unwrap();
    with_default(&dispatch, || {
        let batch = tracing::info_span!("batch");
        for _ in 0..2 {
            link(
                &batch,
                &traceparent(&tracing::info_span!("sample")).unwrap(),
            );
        }
    });
    telemetry.shutdown();
    let spans = receiver.spans(3);
    let (_, batch) = spans.iter().find(|(_, it)| it.name == "batch").unwrap();
    let mut linked: Vec<_> = batch.links.iter().map(|it| it.span_id.clone()).collect();
    let samples = spans.iter().filter(|(_, it)| it.name == "sample");
    let mut samples: Vec<_> = samples.map(|(_, it)| it.span_id.clone()).collect();
    linked.sort();
    samples.sort();
    assert_eq!(linked, samples);
}

#[test]
fn ids_are_made_and_passed_on_without_an_endpoint() {
    for sample_ratio in [0.0, 1.0] {
        let config = Config {
            log: "off".to_owned(),
            sample_ratio,
            ..Config::default()
        };
        let (dispatch, telemetry) = build(&config, "test").unwrap();
        with_default(&dispatch, || {
            let first = traceparent(&tracing::info_span!("first")).unwrap();
            let second = tracing::info_span!("second");
            follow(&second, &first);
            let second = traceparent(&second).unwrap();
            let (trace, span) = (&first[3..35], &first[36..52]);
            assert_eq!(&second[3..35], trace);
            assert_ne!(&second[36..52], span);
            assert_eq!(
                &first[52..],
                &second[52..],
                "what was decided stays decided"
            );
        });
        telemetry.shutdown();
    }
}

#[test]
fn malformed_headers_are_ignored_and_counted() {
    let config = Config {
        log: "off".to_owned(),
        ..Config::default()
    };
    let (dispatch, _telemetry) = build(&config, "test").unwrap();
    let bad = [
        "",
        "garbage",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let before = malformed();
    with_default(&dispatch, || {
        for header in bad
            .iter()
            .map(|it| (*it).to_owned())
            .chain(["0".repeat(100_000)])
        {
            let span = tracing::info_span!("work");
            follow(&span, &header);
            assert!(
                traceparent(&span).is_some(),
                "the span has a trace of its own"
            );
        }
    });
    assert_eq!(malformed() - before, bad.len() as u64 + 1);
}

#[test]
fn without_telemetry_there_is_no_header_and_no_failure() {
    let span = tracing::info_span!("work");
    assert_eq!(traceparent(&span), None);
    follow(
        &span,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
}

#[test]
fn a_receiver_that_is_away_does_not_hold_the_end_up() {
    let config = Config {
        otlp_endpoint: Some("http://127.0.0.1:9".to_owned()),
        log: "off".to_owned(),
        ..Config::default()
    };
    let (dispatch, telemetry) = build(&config, "test").unwrap();
    with_default(&dispatch, || drop(tracing::info_span!("lost")));
    let began = Instant::now();
    telemetry.shutdown();
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_log_filter_that_is_none_is_refused() {
    let config = Config {
        log: "info,=,".to_owned(),
        ..Config::default()
    };
    assert!(
        build(&config, "test")
            .unwrap_err()
            .to_string()
            .contains("telemetry.log")
    );
}

#[tokio::test]
async fn inside_a_runtime_it_starts_and_ends() {
    let receiver = tokio::task::spawn_blocking(Receiver::start).await.unwrap();
    let config = Config {
        otlp_endpoint: Some(receiver.endpoint.clone()),
        log: "off".to_owned(),
        ..Config::default()
    };
    let (dispatch, telemetry) = build(&config, "test").unwrap();
    with_default(&dispatch, || drop(tracing::info_span!("work")));
    telemetry.shutdown();
    drop(dispatch);
    assert_eq!(receiver.spans(1).len(), 1);
    // A runtime must not be dropped inside another.
    tokio::task::spawn_blocking(move || drop(receiver))
        .await
        .unwrap();
}
