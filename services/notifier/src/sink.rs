//! A sink as it is configured, checked once: what exists can be delivered to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kit::config::{Invalid, Secret};
use reqwest::Url;

use crate::bucket::{PAGERDUTY_INTERVAL, SLACK_INTERVAL, WEBHOOK_INTERVAL};
use crate::config::{Kind, SinkConfig};
use crate::lane::{Rules, Wanted};
use crate::notice::Notice;
use crate::payload::webhook::SigningKey;
use crate::payload::{Endpoint, Message, pagerduty, slack, webhook};

const PAGERDUTY: &str = "https://events.pagerduty.com";
/// An attempt is given at least and at most this.
const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(120));
/// A message is tried at most this long.
const MAX_RETRY_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Somebody to tell.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(crate) name: Arc<str>,
    pub(crate) target: Target,
    pub(crate) rules: Rules,
    pub(crate) timeout: Duration,
    pub(crate) retry_deadline: Duration,
}

/// Where, and in which words.
#[derive(Clone)]
pub(crate) enum Target {
    Webhook {
        url: Url,
        keys: Vec<SigningKey>,
    },
    Slack {
        url: Url,
    },
    PagerDuty {
        alerts: Url,
        changes: Url,
        routing_key: Secret,
    },
}

/// Addresses are secrets.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind_word())
    }
}

impl Target {
    pub(crate) const fn kind_word(&self) -> &'static str {
        match self {
            Target::Webhook { .. } => "webhook",
            Target::Slack { .. } => "slack",
            Target::PagerDuty { .. } => "pagerduty",
        }
    }

    /// The message for a notice, where this kind of sink has a place for it.
    pub(crate) fn message(&self, notice: &Notice) -> Option<Message> {
        match self {
            Target::Webhook { .. } => Some(webhook::message(notice)),
            Target::Slack { .. } => Some(slack::message(notice)),
            Target::PagerDuty { routing_key, .. } => {
                pagerduty::message(notice, routing_key.expose())
            }
        }
    }

    /// The message for several notices at once, for a sink that has one.
    pub(crate) fn digest(&self, notices: &[&Notice]) -> Option<Message> {
        match self {
            Target::Slack { .. } => Some(slack::digest(notices)),
            Target::Webhook { .. } | Target::PagerDuty { .. } => None,
        }
    }

    pub(crate) fn url(&self, endpoint: Endpoint) -> &Url {
        match (self, endpoint) {
            (Target::Webhook { url, .. } | Target::Slack { url }, _) => url,
            (Target::PagerDuty { alerts, .. }, Endpoint::Main) => alerts,
            (Target::PagerDuty { changes, .. }, Endpoint::Changes) => changes,
        }
    }

    /// The least time between two messages.
    pub(crate) const fn interval(&self) -> Duration {
        match self {
            Target::Webhook { .. } => WEBHOOK_INTERVAL,
            Target::Slack { .. } => SLACK_INTERVAL,
            Target::PagerDuty { .. } => PAGERDUTY_INTERVAL,
        }
    }

    /// Takes this sink's secrets out of a text that is to be shown.
    pub(crate) fn redact(&self, text: &str) -> String {
        let secrets = match self {
            Target::Webhook { url, .. } | Target::Slack { url } => {
                vec![url.as_str(), url.path()]
            }
            Target::PagerDuty { routing_key, .. } => vec![routing_key.expose()],
        };
        let secrets = secrets.into_iter().filter(|secret| secret.len() > 1);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

impl Sink {
    /// Checks a sink's configuration and finds all that is wrong with it.
    pub(crate) fn new(name: &str, config: &SinkConfig) -> Result<Self, Vec<Invalid>> {
        let mut problems = Vec::new();
        if name.is_empty() || name.len() > 64 {
            problems.push(Invalid::new(
                "",
                "the sink's name has to have 1 to 64 characters",
            ));
        }
        let (least, most) = TIMEOUT_BOUNDS;
        let timeout = config.timeout.get();
        if timeout < least || timeout > most {
            let message = format!("{} is not between 100ms and 2m", config.timeout);
            problems.push(Invalid::new("timeout", message).suggest("use 15s"));
        }
        let retry_deadline = config.retry_deadline.get();
        if retry_deadline > MAX_RETRY_DEADLINE {
            let message = format!("{} is longer than a day", config.retry_deadline);
            problems.push(Invalid::new("retry_deadline", message).suggest("use 30m"));
        }
        let target = match target(config) {
            Ok(target) => Some(target),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let wanted = |yes| if yes { Wanted::Yes } else { Wanted::No };
        let rules = Rules {
            min_severity: config.min_severity,
            resolved: wanted(config.send_resolved),
            plans: wanted(config.send_actions),
        };
        match target {
            Some(target) if problems.is_empty() => Ok(Sink {
                name: name.into(),
                target,
                rules,
                timeout,
                retry_deadline,
            }),
            Some(_) | None => Err(problems),
        }
    }
}

fn target(config: &SinkConfig) -> Result<Target, Vec<Invalid>> {
    let mut problems = strangers(config);
    let target = match config.kind {
        Kind::Slack => slack_target(config, &mut problems),
        Kind::Webhook => webhook_target(config, &mut problems),
        Kind::PagerDuty => pagerduty_target(config, &mut problems),
    };
    match target {
        Some(target) if problems.is_empty() => Ok(target),
        Some(_) | None => Err(problems),
    }
}

/// Keys that this kind of sink does not read: a mistake better said than ignored.
fn strangers(config: &SinkConfig) -> Vec<Invalid> {
    let set = [
        ("url", config.url.is_some(), config.kind != Kind::PagerDuty),
        (
            "endpoint",
            config.endpoint.is_some(),
            config.kind != Kind::Slack,
        ),
        (
            "routing_key",
            config.routing_key.is_some(),
            config.kind == Kind::PagerDuty,
        ),
        (
            "secret",
            config.secret.is_some(),
            config.kind == Kind::Webhook,
        ),
        (
            "previous_secret",
            config.previous_secret.is_some(),
            config.kind == Kind::Webhook,
        ),
    ];
    let strange = set
        .into_iter()
        .filter(|(_, is_set, reads)| *is_set && !reads);
    strange
        .map(|(key, ..)| {
            let kind = match config.kind {
                Kind::Webhook => "webhook",
                Kind::Slack => "slack",
                Kind::PagerDuty => "pagerduty",
            };
            Invalid::new(key, format!("a sink of kind {kind} does not use it")).suggest("remove it")
        })
        .collect()
}

fn slack_target(config: &SinkConfig, problems: &mut Vec<Invalid>) -> Option<Target> {
    let Some(url) = &config.url else {
        problems.push(
            Invalid::new(
                "url",
                "a slack sink needs the address of its incoming webhook",
            )
            .suggest("url = { file = \"/path/to/file\" }"),
        );
        return None;
    };
    let url = address("url", url.expose(), config, problems)?;
    Some(Target::Slack { url })
}

fn webhook_target(config: &SinkConfig, problems: &mut Vec<Invalid>) -> Option<Target> {
    let url = match (&config.url, &config.endpoint) {
        (Some(url), None) => address("url", url.expose(), config, problems),
        (None, Some(endpoint)) => address("endpoint", endpoint, config, problems),
        (None, None) | (Some(_), Some(_)) => {
            problems.push(
                Invalid::new(
                    "endpoint",
                    "a webhook sink needs one address, `url` or `endpoint`",
                )
                .suggest("endpoint = \"https://example.com/hook\", or url when it is a secret"),
            );
            None
        }
    };
    let mut keys = Vec::new();
    for (key, secret) in [
        ("secret", &config.secret),
        ("previous_secret", &config.previous_secret),
    ] {
        match secret.as_ref().map(|it| SigningKey::parse(it.expose())) {
            Some(Ok(parsed)) => keys.push(parsed),
            Some(Err(error)) => problems.push(Invalid::new(key, error.to_string())),
            None => {}
        }
    }
    Some(Target::Webhook { url: url?, keys })
}

fn pagerduty_target(config: &SinkConfig, problems: &mut Vec<Invalid>) -> Option<Target> {
    let routing_key = config.routing_key.clone();
    if routing_key.is_none() {
        problems.push(
            Invalid::new(
                "routing_key",
                "a pagerduty sink needs the integration key of a service",
            )
            .suggest("routing_key = { file = \"/path/to/file\" }"),
        );
    }
    let base = config.endpoint.as_deref().unwrap_or(PAGERDUTY);
    let base = address("endpoint", base, config, problems)?;
    let alerts = base.join("/v2/enqueue").ok()?;
    let changes = base.join("/v2/change/enqueue").ok()?;
    Some(Target::PagerDuty {
        alerts,
        changes,
        routing_key: routing_key?,
    })
}

/// The text itself is not repeated: it may be a secret.
fn address(key: &str, text: &str, config: &SinkConfig, problems: &mut Vec<Invalid>) -> Option<Url> {
    let Ok(url) = Url::parse(text.trim()) else {
        problems.push(
            Invalid::new(key, "is not an address")
                .suggest("write it like https://example.com/hook"),
        );
        return None;
    };
    match url.scheme() {
        "https" => Some(url),
        "http" if config.allow_http => Some(url),
        "http" => {
            problems.push(
                Invalid::new(key, "is not encrypted: it begins with http://").suggest(
                    "use https://, or set allow_http = true for a receiver on this machine",
                ),
            );
            None
        }
        other => {
            problems
                .push(Invalid::new(key, format!("begins with {other}://")).suggest("use https://"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(config: &SinkConfig) -> Vec<String> {
        let problems = Sink::new("x", config).err().unwrap_or_default();
        problems
            .into_iter()
            .map(|it| format!("{}: {}", it.key, it.message))
            .collect()
    }

    #[test]
    fn each_kind_says_what_it_lacks() {
        let complaint = |kind| complaints(&SinkConfig::new(kind));
        assert_eq!(
            complaint(Kind::Slack),
            ["url: a slack sink needs the address of its incoming webhook"]
        );
        assert_eq!(
            complaint(Kind::Webhook),
            ["endpoint: a webhook sink needs one address, `url` or `endpoint`"]
        );
        assert_eq!(
            complaint(Kind::PagerDuty),
            ["routing_key: a pagerduty sink needs the integration key of a service"]
        );
    }

    #[test]
    fn every_mistake_is_found_at_once_and_no_secret_shown() {
        let config = SinkConfig {
            url: Some(Secret::new("http://hooks.example/T0/secret")),
            routing_key: Some(Secret::new("k")),
            secret: Some(Secret::new("whsec_short")),
            timeout: kit::config::HumanDuration::from_millis(1),
            ..SinkConfig::new(Kind::Webhook)
        };
        let found = complaints(&config);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found
                .iter()
                .all(|it| !it.contains("T0") && !it.contains("short")),
            "{found:?}"
        );
    }

    #[test]
    fn secrets_are_taken_out_of_texts() {
        let config = SinkConfig {
            url: Some(Secret::new("https://hooks.slack.example/services/T0/B0/x")),
            ..SinkConfig::new(Kind::Slack)
        };
        let sink = Sink::new("team", &config).unwrap();
        let shown = sink.target.redact("no_service at /services/T0/B0/x");
        assert_eq!(shown, "no_service at ***");
        assert!(!format!("{sink:?}").contains("T0"), "{sink:?}");
    }

    #[test]
    fn pagerduty_has_an_address_for_alerts_and_one_for_changes() {
        let config = SinkConfig {
            routing_key: Some(Secret::new("0123456789abcdef0123456789abcdef")),
            endpoint: Some("https://events.eu.pagerduty.com".to_owned()),
            ..SinkConfig::new(Kind::PagerDuty)
        };
        let target = Sink::new("duty", &config).unwrap().target;
        assert_eq!(
            target.url(Endpoint::Main).as_str(),
            "https://events.eu.pagerduty.com/v2/enqueue"
        );
        assert_eq!(
            target.url(Endpoint::Changes).as_str(),
            "https://events.eu.pagerduty.com/v2/change/enqueue"
        );
    }
}
