//! Carrying one trace through the log, as W3C trace context in a record's headers.
//!
//! A producer writes [`traceparent`] of the span it works in; a consumer opens its span and calls [`follow`]
//! with what it read before anything else happens in that span. Where one span handles many records, call
//! [`link`] for each instead.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::metrics::{MetricName, encode_sample};

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// No W3C traceparent of a version known today is longer; later versions may append fields.
const MAX_TRACEPARENT_BYTES: usize = 256;

/// Headers ignored since the process started.
static MALFORMED: AtomicU64 = AtomicU64::new(0);

/// The span's context as a header value; none for a span that no telemetry follows.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = HashMap::with_capacity(2);
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes the span a child of the one whose [`traceparent`] this is. Must come before the span is entered or
/// has children. Malformed input is ignored and counted.
pub fn follow(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // Refused only where no telemetry listens or the span has begun; its trace then starts here.
        let _ = span.set_parent(parent);
    }
}

/// Notes on the span that it also handles the record with this [`traceparent`], without being its child.
/// Malformed input is ignored and counted.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(context) = parse(traceparent) {
        span.add_link(context.span().span_context().clone());
    }
}

/// How many headers were ignored since the process started.
pub fn malformed() -> u64 {
    MALFORMED.load(Ordering::Relaxed)
}

fn parse(traceparent: &str) -> Option<opentelemetry::Context> {
    let context = (traceparent.len() <= MAX_TRACEPARENT_BYTES).then(|| {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &carrier)
    });
    let valid = context.filter(|it| it.span().span_context().is_valid());
    if valid.is_none() {
        MALFORMED.fetch_add(1, Ordering::Relaxed);
    }
    valid
}

/// Shows [`malformed`] in every registry of the process.
#[derive(Debug)]
pub(crate) struct MalformedCollector;

impl Collector for MalformedCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sample = ConstCounter::new(malformed());
        encode_sample(&mut encoder, MetricName::TraceparentsMalformed, &sample)
    }
}
