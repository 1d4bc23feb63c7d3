//! `POST /api/v1/signals/{id}/ack` and `/dismiss`, and the desk that all writing of the console goes over.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bus::{Bus, BusError, NewRecord};
use bytes::Bytes;
use kit::Context;
use kit::metrics::{MetricName, Metrics};
use tokio::sync::Mutex;
use units::{Feedback, Opinion, SignalPhase};
use wire::Meta;

use crate::feedback::{Heard, Remark};
use crate::http::{Shared, problem};
use crate::trust::{self, Listens, Refused};
use crate::view::NotFound;
use crate::{approve, node, update};

/// A body holds one sentence; a larger one is refused unread.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// So many characters of a reason are taken; a longer one is refused.
const BECAUSE_CHARS_MAX: usize = 300;
/// Ids are shorter; a longer one is no id.
const ID_CHARS_MAX: usize = 100;
/// The log may take this long; then whoever asks is told that it did not answer.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// What it takes to write what people say.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) view: Shared,
    bus: Bus,
    meta: Meta,
    metrics: Metrics,
    pub(crate) listens: Listens,
    /// One at a time, so that the times of the records rise.
    pub(crate) turn: Arc<Mutex<()>>,
}

/// What was said may not be in the log.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log does not take it; it may have been written all the same. Look at the log and try again"
)]
pub(crate) struct Unwritten;

impl Desk {
    pub(crate) fn new(context: &Context, view: Shared, listens: Listens) -> Self {
        Desk {
            view,
            bus: context.bus.clone(),
            meta: Meta::new(Arc::clone(&context.producer)),
            metrics: context.metrics.clone(),
            listens,
            turn: Arc::default(),
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/api/v1/signals/{id}/ack", post(acknowledge))
            .route("/api/v1/signals/{id}/dismiss", post(dismiss))
            .route("/api/v1/approvals", post(approve::approve))
            .route("/api/v1/updates", get(update::list).post(update::order))
            .route("/api/v1/rollbacks", post(update::go_back))
            .route("/api/v1/nodes/{node}/orders", post(node::order))
            .route("/api/v1/nodes/{node}/removal", post(node::remove))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }
}

/// Why feedback was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0:?} is no signal's id; `homeostat signals` lists them")]
    BadId(String),
    #[error("the body is not {{\"because\": TEXT}} or {{}}: {0}")]
    BadBody(serde_json::Error),
    #[error(
        "the reason has more than {BECAUSE_CHARS_MAX} characters, or one that is no text; say it in a sentence"
    )]
    BadReason,
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error(
        "signal {0} is over; there is nothing to see to. If it should not have been told, dismiss it"
    )]
    Over(String),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl NotTaken {
    fn status(&self) -> StatusCode {
        match self {
            NotTaken::Refused(refused) => refused.status(),
            NotTaken::BadId(_) | NotTaken::BadBody(_) | NotTaken::BadReason => {
                StatusCode::BAD_REQUEST
            }
            NotTaken::NotFound(NotFound::Unknown(_)) => StatusCode::NOT_FOUND,
            NotTaken::NotFound(NotFound::Ambiguous(..)) | NotTaken::Over(_) => StatusCode::CONFLICT,
            NotTaken::Unwritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

async fn acknowledge(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(desk.take(&id, Opinion::Acknowledged, &headers, &body).await)
}

async fn dismiss(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(desk.take(&id, Opinion::Dismissed, &headers, &body).await)
}

fn answer(taken: Result<Heard, NotTaken>) -> Response {
    match taken {
        Ok(heard) => Json(heard).into_response(),
        Err(error) => problem(error.status(), error.to_string()),
    }
}

impl Desk {
    async fn take(
        &self,
        id: &str,
        opinion: Opinion,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Heard, NotTaken> {
        trust::check(headers, self.listens)?;
        let is_id = |id: &str| {
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if id.is_empty() || id.len() > ID_CHARS_MAX || !is_id(id) {
            return Err(NotTaken::BadId(id.chars().take(ID_CHARS_MAX).collect()));
        }
        let remark: Remark = serde_json::from_slice(body).map_err(NotTaken::BadBody)?;
        let because = reason(remark)?;
        let _turn = self.turn.lock().await;
        let now = kit::now();
        let feedback = {
            let view = self.view.read();
            let listed = view.find(id)?;
            let known = listed.said.as_ref().map(|said| said.opinion);
            if known == Some(opinion) || known == Some(Opinion::Dismissed) {
                // Said before: it counts once.
                return Ok(view.heard(listed, now));
            }
            if opinion == Opinion::Acknowledged && listed.signal.phase == SignalPhase::Resolve {
                return Err(NotTaken::Over(listed.signal.id.to_string()));
            }
            Feedback::of(&listed.signal, opinion, view.next_feedback_at(now), because)
        };
        self.write(&feedback).await?;
        Written {
            feedback: &feedback,
        }
        .emit();
        self.view.change(|view| view.feedback(feedback.clone()));
        let view = self.view.read();
        let listed = view.find(feedback.signal.as_str())?;
        Ok(view.heard(listed, now))
    }

    /// Writes a record; it is in the log when this is done.
    pub(crate) async fn write<T: wire::Json>(&self, said: &T) -> Result<(), Unwritten> {
        self.put::<T>(wire::encode(said, &self.meta)).await
    }

    /// Takes a record of a compacted topic back.
    pub(crate) async fn take_back<T: wire::Json>(&self, key: &str) -> Result<(), Unwritten> {
        self.put::<T>(wire::tombstone::<T>(key, &self.meta)).await
    }

    async fn put<T: wire::Json>(&self, record: NewRecord) -> Result<(), Unwritten> {
        let written = tokio::time::timeout(WRITE_MAX, self.bus.produce(record)).await;
        let failed = match written {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(Failed::Refused(error)),
            Err(_) => Some(Failed::Silent),
        };
        match failed {
            None => {
                let produced = self.metrics.counter(MetricName::RecordsProduced);
                produced.with(&[("topic", T::TOPIC)]).inc();
                Ok(())
            }
            Some(failed) => {
                failed.emit(T::TOPIC, &self.metrics);
                Err(Unwritten)
            }
        }
    }
}

/// A reason as it is kept: what would move the cursor of a terminal is no text.
fn reason(remark: Remark) -> Result<Option<String>, NotTaken> {
    let Some(because) = remark.because else {
        return Ok(None);
    };
    let because = because.trim();
    let is_long = because.chars().count() > BECAUSE_CHARS_MAX;
    match is_long || because.chars().any(char::is_control) {
        true => Err(NotTaken::BadReason),
        false => Ok((!because.is_empty()).then(|| because.to_owned())),
    }
}

/// Feedback is in the log.
struct Written<'a> {
    feedback: &'a Feedback,
}

impl Written<'_> {
    fn emit(self) {
        let feedback = self.feedback;
        tracing::info!(
            signal = %feedback.signal,
            kind = %feedback.kind,
            subject = %feedback.subject,
            because = feedback.because.as_deref(),
            "signal {}",
            feedback.opinion
        );
    }
}

/// A record may not be in the log.
enum Failed {
    Refused(BusError),
    Silent,
}

impl Failed {
    fn emit(self, topic: &'static str, metrics: &Metrics) {
        let failed = metrics.counter(MetricName::RecordsFailed);
        let labels = [("topic", topic), ("reason", "produce")];
        failed.with(&labels).inc();
        match self {
            Failed::Refused(error) => {
                tracing::warn!(error = %kit::boot::chain(&error), topic, "what was said was not written");
            }
            Failed::Silent => tracing::warn!(topic, "what was said was not written in time"),
        }
    }
}
