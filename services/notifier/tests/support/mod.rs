//! A receiver that answers by a script and checks what it gets by its protocol's rules, and a notifier to run
//! against it over the log in memory.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bus::Bus;
use kit::Context;
use kit::config::{HumanDuration, Secret};
use notifier::{Config, Error, Kind, SinkConfig};
use serde_json::Value;
use tokio::task::JoinHandle;
use units::{
    Confidence, ContainerId, ContainerName, NodeId, Ratio, ServiceId, Severity, Signal, SignalId,
    SignalKind, SignalPhase, Subject, Timestamp,
};
use wire::Meta;

/// Nothing in these tests takes this long; a condition not met by then is never met.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One answer of the script; after its end everything is taken.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16),
    RetryAfter(u16, u64),
    Slow(Duration),
}

#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
    pub(crate) at: Instant,
    pub(crate) answered: u16,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<Script>>,
}

struct Script {
    kind: Kind,
    answers: VecDeque<Answer>,
    got: Vec<Got>,
}

impl Receiver {
    pub(crate) async fn start(kind: Kind, answers: &[Answer]) -> Self {
        let answers = answers.iter().cloned().collect();
        let state = Arc::new(Mutex::new(Script {
            kind,
            answers,
            got: Vec::new(),
        }));
        let router = Router::new().fallback(receive).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { address, state }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.state.lock().unwrap().got.clone()
    }

    /// What it took, by event: a webhook's type, PagerDuty's action, Slack's text.
    pub(crate) fn taken(&self) -> Vec<String> {
        let taken = self.got().into_iter().filter(|got| got.answered < 300);
        taken.map(|got| label(&got)).collect()
    }

    pub(crate) async fn wait_taken(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} messages taken"), || {
            self.taken().len() >= count
        })
        .await;
        self.taken()
    }

    pub(crate) async fn wait_got(&self, count: usize) -> Vec<Got> {
        eventually(&format!("{count} requests"), || self.got().len() >= count).await;
        self.got()
    }

    pub(crate) fn sink(&self) -> SinkConfig {
        let kind = self.state.lock().unwrap().kind;
        let mut sink = SinkConfig {
            allow_http: true,
            timeout: HumanDuration::from_millis(500),
            ..SinkConfig::new(kind)
        };
        match kind {
            Kind::Slack => {
                let url = format!("http://{}/services/T0/B0/secret-part", self.address);
                sink.url = Some(Secret::new(url));
            }
            Kind::Webhook => {
                sink.endpoint = Some(format!("http://{}/hook", self.address));
                sink.secret = Some(Secret::new(SIGNING_SECRET));
            }
            Kind::PagerDuty => {
                sink.endpoint = Some(format!("http://{}", self.address));
                sink.routing_key = Some(Secret::new(ROUTING_KEY));
            }
        }
        sink
    }
}

pub(crate) fn label(got: &Got) -> String {
    let text = |key: &str| got.body[key].as_str().map(str::to_owned);
    text("type")
        .or_else(|| text("event_action"))
        .or_else(|| text("text"))
        .unwrap_or_else(|| "change".to_owned())
}

async fn receive(
    State(state): State<Arc<Mutex<Script>>>,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&raw).unwrap_or(Value::Null);
    let (kind, answer) = {
        let mut script = state.lock().unwrap();
        (script.kind, script.answers.pop_front())
    };
    let (answered, response) = match answer {
        Some(Answer::Status(code)) => (code, status(code).into_response()),
        Some(Answer::RetryAfter(code, seconds)) => {
            let header = [("retry-after", seconds.to_string())];
            (code, (status(code), header, "rate_limited").into_response())
        }
        Some(Answer::Slow(time)) => {
            tokio::time::sleep(time).await;
            (599, status(200).into_response())
        }
        None => by_protocol(kind, uri.path(), &body),
    };
    let raw = raw.to_vec();
    let path = uri.path().to_owned();
    let got = Got {
        path,
        headers,
        raw,
        body,
        at: Instant::now(),
        answered,
    };
    state.lock().unwrap().got.push(got);
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

/// What the services say to a message of the wrong form.
fn by_protocol(kind: Kind, path: &str, body: &Value) -> (u16, Response) {
    let (code, text) = match kind {
        Kind::Webhook => (204, ""),
        Kind::Slack if body["text"].is_string() && body["blocks"].is_array() => (200, "ok"),
        Kind::Slack => (400, "invalid_payload"),
        Kind::PagerDuty => {
            let keyed = body["routing_key"] == ROUTING_KEY;
            let right = match (path, body["event_action"].as_str()) {
                ("/v2/enqueue", Some("trigger")) => {
                    body["payload"]["summary"].is_string()
                        && body["payload"]["source"].is_string()
                        && body["payload"]["severity"].is_string()
                }
                ("/v2/enqueue", Some("resolve")) => body["dedup_key"].is_string(),
                ("/v2/change/enqueue", None) => body["payload"]["summary"].is_string(),
                (_, _) => false,
            };
            match keyed && right {
                true => (202, "{\"status\":\"success\"}"),
                false => (400, "{\"status\":\"invalid event\"}"),
            }
        }
    };
    (code, (status(code), text).into_response())
}

/// A notifier at work.
pub(crate) struct Running {
    pub(crate) context: Context,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) fn start(bus: &Bus, sinks: &[(&str, SinkConfig)]) -> Self {
        let sinks = sinks
            .iter()
            .map(|(name, sink)| ((*name).to_owned(), sink.clone()));
        Running::with(
            bus,
            Config {
                sinks: sinks.collect(),
                ..Config::default()
            },
        )
    }

    pub(crate) fn with(bus: &Bus, config: Config) -> Self {
        let context = Context::new(bus.clone(), "notifier", "node-a");
        let task = tokio::spawn(notifier::run(config, context.clone()));
        Running { context, task }
    }

    pub(crate) async fn stop(self) {
        self.context.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// Ends it between any two of its steps, as a crash does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// A sample of its metrics, by the beginning of its line.
    pub(crate) fn metric(&self, beginning: &str) -> Option<f64> {
        let text = self.context.metrics.encode();
        let line = text.lines().find(|line| line.starts_with(beginning))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

pub(crate) async fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !met() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn log() -> Bus {
    let bus = Bus::memory();
    bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
    bus
}

/// A signal about a service of this name, `after_ms` after its opening.
pub(crate) fn signal(service: &str, phase: SignalPhase, after_ms: i64) -> Signal {
    let opened_at = Timestamp::from_millis(1_790_000_000_000);
    let subject = Subject::container(
        ServiceId::from(service),
        NodeId::from("node-a"),
        ContainerId::from("4f1d2c3b4a59"),
        ContainerName::from(service),
    );
    let fingerprint = subject.fingerprint(SignalKind::Hang);
    Signal {
        id: SignalId::of(&fingerprint, opened_at),
        fingerprint,
        phase,
        kind: SignalKind::Hang,
        subject,
        severity: Severity::Critical,
        score: Ratio::saturating(0.999),
        confidence: Confidence::High,
        opened_at,
        at: Timestamp::from_millis(opened_at.as_millis() + after_ms),
        reason: "it gets requests and does no work".to_owned(),
        evidence: Vec::new(),
        traceparent: None,
    }
}

pub(crate) async fn publish<T: wire::Json>(bus: &Bus, record: &T) {
    bus.produce(wire::encode(record, &Meta::new("test")))
        .await
        .unwrap();
}

pub(crate) async fn publish_signals(bus: &Bus, signals: &[Signal]) {
    for signal in signals {
        publish(bus, signal).await;
    }
}
