//! A test message to one sink, as `homeostat notify test` sends it.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::http;
use crate::notice::Notice;

/// What became of a test message that a sink took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// `webhook`, `slack` or `pagerduty`.
    pub kind: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// Why a test message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The configuration has no such sink.
    #[error("there is no sink {name}; configured are: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The sink cannot be used as it is configured.
    #[error("sink {name} cannot be used: {problems}; `homeostat config check` says more")]
    Config {
        /// The sink.
        name: String,
        /// What is wrong.
        problems: String,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The sink did not take it.
    #[error("sink {name} did not take the test message: {reason}; check its address and key")]
    Refused {
        /// The sink.
        name: String,
        /// What it answered, without secrets.
        reason: String,
    },
}

/// Sends a test message to the sink of this name, once. On PagerDuty it is a change event, which pages nobody.
///
/// # Errors
/// When there is no such sink, or it did not take the message.
pub async fn probe(config: &Config, name: &str) -> Result<Receipt, ProbeError> {
    let known = || config.sinks.keys().cloned().collect::<Vec<_>>().join(", ");
    let Some(sink) = config.sinks.get(name) else {
        return Err(ProbeError::Unknown {
            name: name.to_owned(),
            known: known(),
        });
    };
    let sink = crate::sink::Sink::new(name, sink).map_err(|problems| {
        let problems: Vec<_> = problems
            .iter()
            .map(|it| format!("{}: {}", it.key, it.message))
            .collect();
        ProbeError::Config {
            name: name.to_owned(),
            problems: problems.join("; "),
        }
    })?;
    let client = http::client().map_err(ProbeError::Client)?;
    let notice = Notice::Test { at: kit::now() };
    let began = Instant::now();
    if let Some(message) = sink.target.message(&notice) {
        let id = notice.message_id();
        let attempt = http::attempt(&client, &sink, &message, &id, kit::now()).await;
        attempt.map_err(|failure| ProbeError::Refused {
            name: name.to_owned(),
            reason: failure.to_string(),
        })?;
    }
    Ok(Receipt {
        kind: sink.target.kind_word(),
        took: began.elapsed(),
    })
}
