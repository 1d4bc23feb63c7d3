//! One trace follows a sample from the collector to the action it led to.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use e2e::homeostat::Homeostat;
use e2e::stack::Stack;
use e2e::wait::until;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use units::PlanEntry;

const REACTION: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_the_sample_to_the_restart() {
    let bodies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let endpoint = receiver(Arc::clone(&bodies)).await;
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::up("e2e-trace");
    let homeostat = Homeostat::start(
        &["up", "--mode", "act"],
        dir.path(),
        &[
            ("telemetry.otlp_endpoint", &endpoint),
            ("telemetry.sample_ratio", "1.0"),
        ],
    );
    homeostat.ready().await;
    homeostat.learnt().await;
    stack.patient("hang").await;
    let plan = until("the patient is restarted", REACTION, || async {
        let actions: Vec<PlanEntry> = homeostat.ask("actions").await?;
        let done = |entry: &PlanEntry| {
            entry.plan.service.as_str() == "patient" && !entry.outcomes.is_empty()
        };
        actions.into_iter().find(done)
    })
    .await;
    let traceparent = plan
        .plan
        .traceparent
        .expect("the plan carries the trace of the sample behind it");
    let trace = traceparent.split('-').nth(1).unwrap().to_owned();
    let along_the_way = ["sample", "analyse", "decide", "actuator.command"];
    until(
        "a span of each role belongs to that trace",
        REACTION,
        || async {
            let spans = spans(&bodies.lock().unwrap());
            let named = |name: &str| spans.contains(&(trace.clone(), name.to_owned()));
            along_the_way.iter().all(|name| named(name)).then_some(())
        },
    )
    .await;
}

/// Trace id and name of every span received.
fn spans(bodies: &[Bytes]) -> BTreeSet<(String, String)> {
    let requests = bodies
        .iter()
        .map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
    requests
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .map(|span| {
            (
                span.trace_id
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
                span.name,
            )
        })
        .collect()
}

/// An OTLP/HTTP receiver that keeps what it gets; returns its address.
async fn receiver(bodies: Arc<Mutex<Vec<Bytes>>>) -> String {
    let take = |State(bodies): State<Arc<Mutex<Vec<Bytes>>>>, body: Bytes| async move {
        bodies.lock().unwrap().push(body);
    };
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(bodies);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
