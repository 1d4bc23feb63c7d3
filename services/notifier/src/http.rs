//! One attempt to deliver, and what its answer means.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use units::Timestamp;

use crate::payload::{Message, webhook};
use crate::sink::{Sink, Target};

/// So much of an answer is read; the rest is not ours to store.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
/// So much of an answer is shown.
const MAX_SHOWN_CHARS: usize = 200;
/// A receiver that asks for a longer pause gets this one.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
const USER_AGENT: &str = concat!("Homeostat/", env!("CARGO_PKG_VERSION"));

/// An attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", kind.reason())]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// What was answered or went wrong, without secrets.
    pub(crate) detail: String,
}

/// What to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// 429: nothing was taken; later.
    RateLimited {
        /// When the receiver said so.
        after: Option<Duration>,
    },
    /// 5xx: may have been taken; later.
    Server {
        /// When the receiver said so.
        after: Option<Duration>,
    },
    /// No connection: nothing was taken; later.
    Unreachable,
    /// Sent, and no answer came in time: may have been taken; later.
    NoAnswer,
    /// 401, 403: nothing will be taken until the configuration changes.
    Unauthorised,
    /// 404, 410: nothing will be taken until the configuration changes.
    Gone,
    /// 3xx: the address is another one, and is not followed.
    Moved,
    /// Another 4xx: this message will never be taken.
    Refused,
}

impl FailureKind {
    /// A word for metrics.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            FailureKind::RateLimited { .. } => "rate_limited",
            FailureKind::Server { .. } => "server_error",
            FailureKind::Unreachable => "unreachable",
            FailureKind::NoAnswer => "no_answer",
            FailureKind::Unauthorised => "unauthorised",
            FailureKind::Gone => "gone",
            FailureKind::Moved => "moved",
            FailureKind::Refused => "refused",
        }
    }

    fn of(status: StatusCode, after: Option<Duration>) -> Self {
        match status.as_u16() {
            429 => FailureKind::RateLimited { after },
            401 | 403 => FailureKind::Unauthorised,
            404 | 410 => FailureKind::Gone,
            300..=399 => FailureKind::Moved,
            500..=599 => FailureKind::Server { after },
            _ => FailureKind::Refused,
        }
    }
}

/// The client for all sinks: no redirects, since a signed message is meant for one address.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .user_agent(USER_AGENT)
        .build()
}

/// Tries once.
pub(crate) async fn attempt(
    client: &Client,
    sink: &Sink,
    message: &Message,
    message_id: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let request = client
        .post(sink.target.url(message.endpoint).clone())
        .timeout(sink.timeout)
        .headers(headers(sink, message, message_id, now))
        .body(message.body.clone());
    let response = request.send().await.map_err(|error| transport(&error))?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(refusal(sink, response, now).await)
}

fn headers(sink: &Sink, message: &Message, message_id: &str, now: Timestamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let Target::Webhook { keys, .. } = &sink.target else {
        return headers;
    };
    let unix_seconds = now.as_millis().div_euclid(1_000);
    let signature = webhook::signature(keys, message_id, unix_seconds, &message.body);
    let values = [
        ("webhook-id", Some(message_id.to_owned())),
        ("webhook-timestamp", Some(unix_seconds.to_string())),
        ("webhook-signature", signature),
    ];
    for (name, value) in values {
        if let Some(value) = value.and_then(|it| HeaderValue::from_str(&it).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// A request's address is a secret, and stands in its error unless taken out.
fn transport(error: &reqwest::Error) -> Failure {
    let kind = if error.is_connect() || error.is_builder() {
        FailureKind::Unreachable
    } else {
        FailureKind::NoAnswer
    };
    let mut detail = if error.is_timeout() {
        "timed out"
    } else {
        "connection failed"
    }
    .to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    Failure { kind, detail }
}

async fn refusal(sink: &Sink, mut response: Response, now: Timestamp) -> Failure {
    let status = response.status();
    let header = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|it| it.to_str().ok());
    let header = header.and_then(|text| retry_after(text, now));
    let mut answer = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES - answer.len();
        answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if answer.len() == MAX_ANSWER_BYTES {
            break;
        }
    }
    let after = header.or_else(|| retry_after_in(&answer));
    let text = sink.target.redact(&String::from_utf8_lossy(&answer));
    let shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SHOWN_CHARS)
        .collect();
    Failure {
        kind: FailureKind::of(status, after),
        detail: format!("{status} {}", shown.trim()).trim_end().to_owned(),
    }
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            Timestamp::from_millis(date.timestamp().as_millisecond()).since(now)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Slack says it in the body as well.
fn retry_after_in(answer: &[u8]) -> Option<Duration> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let seconds = answer.get("retry_after")?.as_f64()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .map(|wait| wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_as_a_date_and_from_slacks_body() {
        let now = Timestamp::from_millis(1_445_412_420_000);
        assert_eq!(retry_after("30", now), Some(Duration::from_secs(30)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("999999", now), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("soon", now), None);
        let body = br#"{"retry_after":1,"ok":false,"error":"rate_limited"}"#;
        assert_eq!(retry_after_in(body), Some(Duration::from_secs(1)));
        assert_eq!(retry_after_in(b"rate_limited"), None);
    }

    #[test]
    fn answers_are_told_apart_as_the_protocols_say() {
        let reason = |code| FailureKind::of(StatusCode::from_u16(code).unwrap(), None).reason();
        let expected = [
            (302, "moved"),
            (400, "refused"),
            (401, "unauthorised"),
            (403, "unauthorised"),
            (404, "gone"),
            (410, "gone"),
            (413, "refused"),
            (429, "rate_limited"),
            (500, "server_error"),
            (503, "server_error"),
        ];
        for (code, word) in expected {
            assert_eq!(reason(code), word, "{code}");
        }
    }
}
