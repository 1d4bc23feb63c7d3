//! Configuration: the sinks, each under a name of the operator's own.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::config::{HumanDuration, Invalid, Secret, Validate};
use serde::{Deserialize, Serialize};
use units::Severity;

use crate::sink::Sink;

/// More sinks than this are refused: each has a queue and a task.
const MAX_SINKS: usize = 50;

/// The section `notifier`.
///
/// ```toml
/// [notifier.sinks.team]
/// kind = "slack"
/// url = { file = "/run/secrets/slack-url" }
/// min_severity = "warning"
///
/// [notifier.sinks.duty]
/// kind = "pagerduty"
/// routing_key = { env = "PAGERDUTY_KEY" }
/// min_severity = "critical"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who is told, by name. None: nobody is, and the notifier is idle.
    pub sinks: BTreeMap<String, SinkConfig>,
    /// What lay in the log longer than this before it was read is not told any more, as when a sink is configured for
    /// the first time. Default `1h`.
    pub max_age: HumanDuration,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// `webhook`, `slack` or `pagerduty`.
    pub kind: Kind,
    /// `slack` and `webhook`: where to post. For Slack it is the secret itself.
    #[serde(default)]
    pub url: Option<Secret>,
    /// `webhook`: where to post, when the address is no secret. `pagerduty`: another base than
    /// `https://events.pagerduty.com`, such as that of the EU.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// `pagerduty`: the integration key of the service.
    #[serde(default)]
    pub routing_key: Option<Secret>,
    /// `webhook`: what messages are signed with, as `whsec_` and base64. Without it they are not signed.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// `webhook`: the secret before this one; messages carry both signatures while receivers change over.
    #[serde(default)]
    pub previous_secret: Option<Secret>,
    /// Allows an address that begins with `http://`. Default false.
    #[serde(default)]
    pub allow_http: bool,
    /// Conditions below this are not told. Default `warning`.
    #[serde(default = "default_severity")]
    pub min_severity: Severity,
    /// Whether the end of a condition is told. Default true.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Whether actions and their verdicts are told. Default true.
    #[serde(default = "yes")]
    pub send_actions: bool,
    /// How long one attempt may take. Default `15s`.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// How long after it came up a message is still tried. Default `30m`.
    #[serde(default = "default_retry_deadline")]
    pub retry_deadline: HumanDuration,
}

/// What a sink speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Standard Webhooks 1.0.
    Webhook,
    /// A Slack incoming webhook.
    Slack,
    /// PagerDuty Events API v2.
    PagerDuty,
}

fn default_severity() -> Severity {
    Severity::Warning
}

fn yes() -> bool {
    true
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(15)
}

fn default_retry_deadline() -> HumanDuration {
    HumanDuration::from_secs(30 * 60)
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sinks: BTreeMap::new(),
            max_age: HumanDuration::from_secs(60 * 60),
        }
    }
}

impl SinkConfig {
    /// A sink of this kind with every default and no address yet.
    pub fn new(kind: Kind) -> Self {
        SinkConfig {
            kind,
            url: None,
            endpoint: None,
            routing_key: None,
            secret: None,
            previous_secret: None,
            allow_http: false,
            min_severity: default_severity(),
            send_resolved: yes(),
            send_actions: yes(),
            timeout: default_timeout(),
            retry_deadline: default_retry_deadline(),
        }
    }
}

impl Config {
    /// The sinks, ready to use.
    pub(crate) fn build(&self) -> Result<Vec<Sink>, Vec<Invalid>> {
        let mut sinks = Vec::new();
        let mut problems = Vec::new();
        if self.sinks.len() > MAX_SINKS {
            let message = format!("{} sinks are more than {MAX_SINKS}", self.sinks.len());
            problems.push(Invalid::new("sinks", message).suggest("fan out behind a webhook"));
        }
        for (name, config) in &self.sinks {
            match Sink::new(name, config) {
                Ok(sink) => sinks.push(sink),
                Err(found) => {
                    let key = format!("sinks.{name}");
                    problems.extend(found.into_iter().map(|problem| problem.under(&key)));
                }
            }
        }
        if problems.is_empty() {
            Ok(sinks)
        } else {
            Err(problems)
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = self.build().err().unwrap_or_default();
        if self.max_age.get() < Duration::from_secs(60) {
            let message = format!("{} is too short to outlast a restart", self.max_age);
            problems.push(Invalid::new("max_age", message).suggest("use 1m or more"));
        }
        problems
    }
}
