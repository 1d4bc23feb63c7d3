//! Logs and traces of a process: text on a terminal and JSON otherwise, spans over OTLP/HTTP where an endpoint
//! is configured. Logs go to standard error; standard output belongs to what a command prints.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use serde::{Deserialize, Serialize};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Invalid, Validate};

/// Spans waiting for export. Beyond it new ones are dropped: telemetry about the loop must not hold the loop up.
const MAX_QUEUED_SPANS: usize = 4_096;
/// Spans are sent at least this often while there are any.
const EXPORT_INTERVAL: Duration = Duration::from_secs(2);
/// One export gives up after this long; its spans are lost.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// At the end of the process, spans that cannot be sent within this time are lost.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Logs and traces. Section `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which log lines appear: a level (`error`, `warn`, `info`, `debug`, `trace`) or directives such as
    /// `info,bus=debug`.
    pub log: String,
    /// How log lines look.
    pub format: Format,
    /// Where spans go, over OTLP/HTTP: a base address such as `http://127.0.0.1:4318`, to which `/v1/traces` is
    /// added. Unset: nowhere; trace ids are made and passed on all the same.
    pub otlp_endpoint: Option<String>,
    /// Which share of traces is recorded, between 0 and 1. A trace begun by another process keeps what was
    /// decided there.
    pub sample_ratio: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text where standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            log: "info".to_owned(),
            format: Format::Auto,
            otlp_endpoint: None,
            sample_ratio: 1.0,
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        if let Err(error) = filter(&self.log) {
            problems.push(
                Invalid::new("log", format!("not a log filter: {error}"))
                    .suggest("use a level such as `info`, or directives such as `info,bus=debug`"),
            );
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            problems.push(
                Invalid::new(
                    "sample_ratio",
                    format!("{} is not a share", self.sample_ratio),
                )
                .suggest("use a number between 0 and 1"),
            );
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && !is_http_url(endpoint)
        {
            problems.push(
                Invalid::new(
                    "otlp_endpoint",
                    format!("`{endpoint}` is not an HTTP address"),
                )
                .suggest("use an address such as `http://127.0.0.1:4318`"),
            );
        }
        problems
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter cannot be read.
    #[error(
        "telemetry.log is not a log filter, use a level such as `info` or directives such as `info,bus=debug`"
    )]
    Filter(#[source] ParseError),
    /// The exporter cannot be built.
    #[error("spans cannot be exported to {endpoint}, check telemetry.otlp_endpoint")]
    Exporter {
        /// The address configured.
        endpoint: String,
        /// What the exporter says.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The process has a subscriber already.
    #[error("telemetry was set up twice in one process")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// The running telemetry of a process. Shut it down at the end, or the last spans are lost.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Sets up logs and traces for the whole process. `role` becomes the service name of its spans.
pub fn init(config: &Config, role: &str) -> Result<Telemetry, Error> {
    let (dispatch, telemetry) = build(config, role)?;
    dispatch.try_init().map_err(Error::Installed)?;
    Ok(telemetry)
}

/// The same without setting it up for the process: for tests, and for a role that shares its process.
pub fn build(config: &Config, role: &str) -> Result<(Dispatch, Telemetry), Error> {
    let provider = tracer_provider(config, role)?;
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("homeostat"))
        .with_filter(span_filter());
    let lines = lines(look(config.format), std::io::stderr);
    let lines = lines.with_filter(filter(&config.log).map_err(Error::Filter)?);
    let subscriber = tracing_subscriber::registry().with(spans).with(lines);
    Ok((Dispatch::new(subscriber), Telemetry { provider }))
}

impl Telemetry {
    /// Sends what is left within a deadline, and says so in the log when it cannot. Blocks: call it after the
    /// runtime's work has ended.
    pub fn shutdown(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// How lines come out, once it is known where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Colour,
    Plain,
    Json,
}

/// Colour is for terminals, and not even there when the user says so (no-color.org).
fn look(format: Format) -> Look {
    let is_terminal = std::io::stderr().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    match format {
        Format::Auto if !is_terminal => Look::Json,
        Format::Auto | Format::Text if is_terminal && !no_colour => Look::Colour,
        Format::Auto | Format::Text => Look::Plain,
        Format::Json => Look::Json,
    }
}

fn lines<S, W>(look: Look, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match look {
        Look::Colour => lines.with_ansi(true).boxed(),
        Look::Plain => lines.with_ansi(false).boxed(),
        Look::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn tracer_provider(config: &Config, role: &str) -> Result<SdkTracerProvider, Error> {
    let ratio = config.sample_ratio.clamp(0.0, 1.0);
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let resource = Resource::builder()
        .with_service_name(format!("homeostat-{role}"))
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build();
    let builder = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_resource(resource);
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(builder.build());
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter {
            endpoint: endpoint.clone(),
            source,
        })?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUED_SPANS)
        .with_scheduled_delay(EXPORT_INTERVAL)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    Ok(builder.with_span_processor(processor).build())
}

fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(directives)
}

/// Spans are independent of the log filter, so that a quiet log does not break traces. The exporter's own HTTP
/// client is left out, or every export would make spans to export.
fn span_filter() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("hyper", LevelFilter::OFF)
        .with_target("hyper_util", LevelFilter::OFF)
        .with_target("reqwest", LevelFilter::OFF)
        .with_target("opentelemetry", LevelFilter::OFF)
        .with_target("opentelemetry_sdk", LevelFilter::OFF)
        .with_target("opentelemetry_otlp", LevelFilter::OFF)
}

fn is_http_url(text: &str) -> bool {
    text.parse::<axum::http::Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(look: Look) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::registry().with(lines(look, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let tick = tracing::info_span!("tick", node = "a").entered();
            tracing::warn!(containers = 3, "slow");
            drop(tick);
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_objects_with_level_message_fields_and_span() {
        let line: serde_json::Value = serde_json::from_str(&written(Look::Json)).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "slow");
        assert_eq!(line["containers"], 3);
        assert_eq!(line["span"]["node"], "a");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn text_lines_have_colour_only_where_asked() {
        let plain = written(Look::Plain);
        assert!(plain.contains(" WARN tick{node=\"a\"}: "), "{plain}");
        assert!(plain.contains("slow containers=3"), "{plain}");
        assert!(!plain.contains('\x1b'));
        assert!(written(Look::Colour).contains('\x1b'));
    }

    #[test]
    fn a_chosen_format_holds_wherever_lines_go() {
        assert_eq!(look(Format::Json), Look::Json);
        assert_ne!(look(Format::Text), Look::Json);
    }

    #[test]
    fn addresses_are_http_with_a_host() {
        for good in ["http://127.0.0.1:4318", "https://otel.example/x"] {
            assert!(is_http_url(good), "{good}");
        }
        for bad in ["", "127.0.0.1:4318", "/v1/traces", "grpc://x:4317"] {
            assert!(!is_http_url(bad), "{bad}");
        }
    }
}
