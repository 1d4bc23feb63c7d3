//! Generic webhooks after Standard Webhooks 1.0 (standardwebhooks.com): a thin envelope of type, timestamp and data,
//! signed with HMAC-SHA256 over id, timestamp and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use units::{BreakerEntry, Evidence, PlanEntry, Signal};

use super::text::clip;
use super::{Endpoint, Message, headline};
use crate::notice::{Condition, Notice};

/// The specification asks senders to stay under it.
#[cfg(test)]
pub(super) const MAX_BODY_BYTES: usize = 20_000;

const MAX_NAME_CHARS: usize = 200;
const MAX_TEXT_CHARS: usize = 700;
const MAX_LINE_CHARS: usize = 160;
const MAX_EVIDENCE: usize = 8;
const MAX_STEPS: usize = 10;
const MAX_ALTERNATIVES: usize = 5;
const MAX_SERVICES: usize = 20;

/// Prefix of a secret's text, after the specification.
const SECRET_PREFIX: &str = "whsec_";
/// The specification's bounds on the random bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key to sign with.
#[derive(Clone)]
pub(crate) struct SigningKey(Vec<u8>);

/// A text that is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not whsec_ followed by 24 to 64 random bytes in base64; make one with `echo whsec_$(openssl rand -base64 32)`"
)]
pub(crate) struct NotASigningKey;

impl SigningKey {
    /// Reads `whsec_<base64>`.
    pub(crate) fn parse(text: &str) -> Result<Self, NotASigningKey> {
        let encoded = text
            .trim()
            .strip_prefix(SECRET_PREFIX)
            .ok_or(NotASigningKey)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| NotASigningKey)?;
        if SECRET_BYTES.contains(&bytes.len()) {
            Ok(SigningKey(bytes))
        } else {
            Err(NotASigningKey)
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// The value of `webhook-signature`: one signature a key, so that receivers can take either while a secret is
/// changed. `None` without keys.
pub(crate) fn signature(
    keys: &[SigningKey],
    id: &str,
    unix_seconds: i64,
    body: &[u8],
) -> Option<String> {
    let signatures: Vec<_> = keys
        .iter()
        .map(|key| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of every length");
            mac.update(format!("{id}.{unix_seconds}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

/// The message for a notice.
pub(crate) fn message(notice: &Notice) -> Message {
    let data = match notice {
        Notice::Condition {
            condition: Condition::Signal(signal),
            ..
        } => Data::Signal(Box::new(SignalData::new(signal))),
        Notice::Condition {
            condition: Condition::Breaker(entry),
            ..
        } => Data::Breaker(BreakerData::new(entry)),
        Notice::Plan(entry) => Data::Plan(Box::new(PlanData::new(entry))),
        Notice::Test { .. } => Data::Test {},
    };
    let envelope = Envelope {
        r#type: notice.event_type(),
        timestamp: notice.at().to_string(),
        summary: clip(&headline(notice), MAX_NAME_CHARS),
        data,
    };
    let body = serde_json::to_vec(&envelope)
        .expect("the envelope has text keys and no failing serialiser, so JSON takes it");
    Message {
        endpoint: Endpoint::Main,
        body,
    }
}

#[derive(Serialize)]
struct Envelope {
    r#type: &'static str,
    timestamp: String,
    summary: String,
    data: Data,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Signal(Box<SignalData>),
    Breaker(BreakerData),
    Plan(Box<PlanData>),
    Test {},
}

#[derive(Serialize)]
struct SignalData {
    id: String,
    fingerprint: String,
    kind: &'static str,
    severity: &'static str,
    service: Option<String>,
    node: Option<String>,
    container: Option<String>,
    container_name: Option<String>,
    score: f64,
    confidence: &'static str,
    opened_at: String,
    reason: String,
    evidence: Vec<EvidenceData>,
    evidence_left_out: usize,
    traceparent: Option<String>,
}

#[derive(Serialize)]
struct EvidenceData {
    feature: String,
    unit: String,
    observed: f64,
    expected_low: f64,
    expected_high: f64,
    since: String,
}

#[derive(Serialize)]
struct PlanData {
    id: String,
    service: String,
    action: &'static str,
    phase: &'static str,
    cause: String,
    signals: Vec<String>,
    steps: Vec<StepData>,
    steps_left_out: usize,
    expected: String,
    alternatives: Vec<String>,
    verdict: Option<&'static str>,
    verdict_reason: Option<String>,
    undo_of: Option<String>,
    deadline: String,
    traceparent: Option<String>,
}

#[derive(Serialize)]
struct StepData {
    node: String,
    action: String,
}

#[derive(Serialize)]
struct BreakerData {
    open_until: Option<String>,
    reason: String,
    services: Vec<String>,
    services_left_out: usize,
}

fn name(text: &str) -> String {
    clip(text, MAX_NAME_CHARS)
}

fn line(text: &str) -> String {
    clip(text, MAX_LINE_CHARS)
}

impl SignalData {
    fn new(signal: &Signal) -> Self {
        let subject = &signal.subject;
        SignalData {
            id: name(signal.id.as_str()),
            fingerprint: name(signal.fingerprint.as_str()),
            kind: signal.kind.as_str(),
            severity: signal.severity.as_str(),
            service: subject.service.as_ref().map(|it| name(it.as_str())),
            node: subject.node.as_ref().map(|it| name(it.as_str())),
            container: subject.container.as_ref().map(|it| name(it.as_str())),
            container_name: subject.name.as_ref().map(|it| name(it.as_str())),
            score: signal.score.get(),
            confidence: signal.confidence.as_str(),
            opened_at: signal.opened_at.to_string(),
            reason: clip(&signal.reason, MAX_TEXT_CHARS),
            evidence: signal
                .evidence
                .iter()
                .take(MAX_EVIDENCE)
                .map(EvidenceData::new)
                .collect(),
            evidence_left_out: signal.evidence.len().saturating_sub(MAX_EVIDENCE),
            traceparent: signal.traceparent.as_deref().map(name),
        }
    }
}

impl EvidenceData {
    fn new(evidence: &Evidence) -> Self {
        EvidenceData {
            feature: line(&evidence.feature),
            unit: clip(&evidence.unit, 20),
            observed: evidence.observed,
            expected_low: evidence.expected_low,
            expected_high: evidence.expected_high,
            since: evidence.since.to_string(),
        }
    }
}

impl PlanData {
    fn new(entry: &PlanEntry) -> Self {
        let plan = &entry.plan;
        let step = |step: &units::Step| StepData {
            node: clip(step.node.as_str(), 64),
            action: line(&step.action.to_string()),
        };
        PlanData {
            id: name(plan.id.as_str()),
            service: name(plan.service.as_str()),
            action: plan.kind.as_str(),
            phase: entry.phase.as_str(),
            cause: clip(&plan.cause.reason, MAX_TEXT_CHARS),
            signals: plan
                .cause
                .signals
                .iter()
                .take(MAX_STEPS)
                .map(|id| line(id.as_str()))
                .collect(),
            steps: plan.steps.iter().take(MAX_STEPS).map(step).collect(),
            steps_left_out: plan.steps.len().saturating_sub(MAX_STEPS),
            expected: clip(&plan.expected.text, MAX_TEXT_CHARS),
            alternatives: plan
                .alternatives
                .iter()
                .take(MAX_ALTERNATIVES)
                .map(|it| line(it))
                .collect(),
            verdict: entry.verdict.as_ref().map(|it| it.kind.as_str()),
            verdict_reason: entry
                .verdict
                .as_ref()
                .map(|it| clip(&it.reason, MAX_TEXT_CHARS)),
            undo_of: plan.undo_of.as_ref().map(|it| name(it.as_str())),
            deadline: plan.deadline.to_string(),
            traceparent: plan.traceparent.as_deref().map(name),
        }
    }
}

impl BreakerData {
    fn new(entry: &BreakerEntry) -> Self {
        BreakerData {
            open_until: entry.open_until.map(|it| it.to_string()),
            reason: clip(&entry.reason, MAX_TEXT_CHARS),
            services: entry
                .services
                .iter()
                .take(MAX_SERVICES)
                .map(|it| line(it.as_str()))
                .collect(),
            services_left_out: entry.services.len().saturating_sub(MAX_SERVICES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own test vectors.
    #[test]
    fn signs_as_the_specification_says() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            std::slice::from_ref(&key),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signed.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let both = signature(&[key.clone(), key], "a", 1, b"").unwrap();
        assert_eq!(
            both.split(' ').count(),
            2,
            "old and new while a secret is changed"
        );
        assert_eq!(signature(&[], "a", 1, b""), None);
    }

    #[test]
    fn short_and_unprefixed_secrets_are_refused() {
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_?",
        ] {
            assert_eq!(
                SigningKey::parse(text).err(),
                Some(NotASigningKey),
                "{text}"
            );
        }
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(***)");
    }
}
