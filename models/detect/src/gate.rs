//! From single readings to signals: n-of-m confirmation, one opening, paced updates, hysteresis before it resolves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Confidence, Evidence, Metric, Ratio, Severity, Signal, SignalId, SignalKind, SignalPhase,
    Subject, Timestamp,
};

use crate::clock::Moment;
use crate::feedback::Bar;

/// Numbers told with a signal: those that weigh most, which a rule names first.
const EVIDENCE_MAX: usize = 3;
/// Calm that one violating reading undoes: noise must not keep a signal open for ever.
const CALM_LOST: u32 = 3;

/// What one sample says about one kind of trouble.
pub(crate) enum Reading {
    /// It is there.
    Violates(Finding),
    /// Neither there nor clearly gone: confirms nothing, calms nothing.
    Between,
    /// It is not there.
    Normal,
    /// This sample cannot tell: the gate stays as it is.
    Unknown,
}

/// One number of a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) feature: String,
    pub(crate) metric: Option<Metric>,
    pub(crate) unit: String,
    pub(crate) observed: f64,
    pub(crate) expected: (f64, f64),
}

impl Proof {
    pub(crate) fn of(metric: Metric, unit: &str, observed: f64, expected: (f64, f64)) -> Self {
        Proof {
            metric: Some(metric),
            ..Proof::derived(metric.column(), unit, observed, expected)
        }
    }

    pub(crate) fn derived(feature: &str, unit: &str, observed: f64, expected: (f64, f64)) -> Self {
        Proof {
            feature: feature.to_owned(),
            metric: None,
            unit: unit.to_owned(),
            observed,
            expected,
        }
    }
}

/// Trouble seen in one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) score: Ratio,
    pub(crate) confidence: Confidence,
    pub(crate) reason: String,
    pub(crate) proofs: Vec<Proof>,
}

/// How many readings it takes to open and to resolve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirmation {
    /// Violating readings …
    pub(crate) needed: u32,
    /// … among the last so many, at most [`Confirmation::OF_MAX`].
    pub(crate) of: u32,
    /// Normal readings to resolve; a violating one between takes back three.
    pub(crate) calm: u32,
}

impl Confirmation {
    /// So many readings are remembered.
    pub(crate) const OF_MAX: u32 = u64::BITS;
}

/// Where and when readings are taken.
pub(crate) struct Scene<'a> {
    pub(crate) now: Moment,
    pub(crate) subject: Subject,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) update_every: Duration,
}

/// The state of one kind of trouble with one subject. Closed with an empty history is the calm state, and not stored; it
/// opens once confirmed, and goes back to calm when resolved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Gate {
    /// Which of the last readings violated, …
    history: u64,
    /// … and which of them so that they count: all, unless a bar is raised.
    counted: u64,
    since: Moment,
    calm: u32,
    open: Option<Opening>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Opening {
    opened_at: Timestamp,
    told: Moment,
    severity: Severity,
    finding: Finding,
    traceparent: Option<String>,
}

/// All gates of one subject that are not calm, and the bars that stand before them: at most one of each a kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gates {
    gates: BTreeMap<SignalKind, Gate>,
    bars: BTreeMap<SignalKind, Bar>,
}

impl Gates {
    /// Whether a signal of this kind is open.
    pub(crate) fn is_open(&self, kind: SignalKind) -> bool {
        self.opened_at(kind).is_some()
    }

    /// Since when a signal of this kind is open.
    pub(crate) fn opened_at(&self, kind: SignalKind) -> Option<Timestamp> {
        self.gates
            .get(&kind)?
            .open
            .as_ref()
            .map(|opening| opening.opened_at)
    }

    /// How long readings of this kind have violated: the one that showed it first stands for the second before it.
    pub(crate) fn held(&self, kind: SignalKind, now: Moment) -> Duration {
        let since = self.gates.get(&kind).map_or(now, |gate| gate.since);
        now.since(since) + Duration::from_secs(1)
    }

    /// Whether this kind is open, or a recent reading violated.
    pub(crate) fn is_stirring(&self, kind: SignalKind) -> bool {
        self.gates.contains_key(&kind)
    }

    /// The kinds and severities that are open.
    pub(crate) fn open(&self) -> impl Iterator<Item = (SignalKind, Severity)> + '_ {
        self.gates
            .iter()
            .filter_map(|(kind, gate)| gate.open.as_ref().map(|opening| (*kind, opening.severity)))
    }

    /// Raises the bar of a kind. What is open stays so.
    pub(crate) fn raise(&mut self, bar: &Bar) {
        self.bars.retain(|_, other| other.stands(bar.at));
        self.bars.insert(bar.kind, bar.clone());
    }

    /// Takes a reading.
    pub(crate) fn step(
        &mut self,
        kind: SignalKind,
        reading: Reading,
        confirmation: Confirmation,
        scene: &Scene<'_>,
    ) -> Option<Signal> {
        let violates = matches!(reading, Reading::Violates(_));
        if matches!(reading, Reading::Unknown) || (!violates && !self.gates.contains_key(&kind)) {
            return None;
        }
        let at = scene.now.at;
        let bar = self.bars.get(&kind).filter(|bar| bar.stands(at));
        let confirmation = bar.map_or(confirmation, |bar| bar.confirmation(confirmation, at));
        let counts = match &reading {
            Reading::Violates(finding) => bar.is_none_or(|bar| bar.admits(finding, at)),
            Reading::Between | Reading::Normal | Reading::Unknown => false,
        };
        let gate = self
            .gates
            .entry(kind)
            .or_insert_with(|| Gate::starting(scene.now));
        let mask = u64::MAX >> (u64::BITS - confirmation.of.clamp(1, Confirmation::OF_MAX));
        gate.history = ((gate.history << 1) | u64::from(violates)) & mask;
        gate.counted = ((gate.counted << 1) | u64::from(counts)) & mask;
        let signal = match reading {
            Reading::Violates(finding) => {
                gate.calm = gate.calm.saturating_sub(CALM_LOST);
                gate.violated(kind, finding, confirmation, scene)
            }
            Reading::Normal => {
                gate.calm += 1;
                if gate.open.is_some() && gate.calm >= confirmation.calm {
                    return self.resolve(kind, "it is back to normal", scene);
                }
                None
            }
            Reading::Between | Reading::Unknown => None,
        };
        if self
            .gates
            .get(&kind)
            .is_some_and(|gate| gate.open.is_none() && gate.history == 0)
        {
            self.gates.remove(&kind);
        }
        signal
    }

    /// Opens at a given time, whatever the history: for facts that need no confirmation and whose time is known. Where a bar is
    /// raised it takes a second for each reading more.
    pub(crate) fn open_at(
        &mut self,
        kind: SignalKind,
        opened_at: Timestamp,
        finding: Finding,
        scene: &Scene<'_>,
    ) -> Option<Signal> {
        let at = scene.now.at;
        let bar = self.bars.get(&kind).filter(|bar| bar.stands(at));
        let admitted = bar.is_none_or(|bar| bar.admits(&finding, at));
        let wait_s = bar.map_or(0, |bar| bar.more_readings(1, at));
        let gate = self
            .gates
            .entry(kind)
            .or_insert_with(|| Gate::starting(scene.now));
        if gate.open.is_some() {
            return gate.update(kind, finding, scene);
        }
        if !admitted || scene.now.since(gate.since) < Duration::from_secs(wait_s.into()) {
            return None;
        }
        gate.since.at = opened_at;
        Some(gate.open(kind, opened_at, finding, scene))
    }

    /// Ends this kind for a reason other than calm. Nothing is told when it was not open.
    pub(crate) fn resolve(
        &mut self,
        kind: SignalKind,
        why: &str,
        scene: &Scene<'_>,
    ) -> Option<Signal> {
        let mut gate = self.gates.remove(&kind)?;
        let opening = gate.open.as_mut()?;
        opening.finding.reason = format!("{}: {why}", scene.subject);
        opening.tell_now(scene);
        Some(opening.tell(kind, SignalPhase::Resolve, gate.since, scene))
    }

    /// Ends every kind but those kept.
    pub(crate) fn resolve_all_but(
        &mut self,
        keep: &[SignalKind],
        why: &str,
        scene: &Scene<'_>,
        out: &mut Vec<Signal>,
    ) {
        let kinds: Vec<SignalKind> = self
            .gates
            .keys()
            .copied()
            .filter(|kind| !keep.contains(kind))
            .collect();
        out.extend(
            kinds
                .into_iter()
                .filter_map(|kind| self.resolve(kind, why, scene)),
        );
    }
}

impl Gate {
    fn starting(since: Moment) -> Self {
        Gate {
            since,
            ..Gate::default()
        }
    }

    fn violated(
        &mut self,
        kind: SignalKind,
        finding: Finding,
        confirmation: Confirmation,
        scene: &Scene<'_>,
    ) -> Option<Signal> {
        if self.open.is_some() {
            return self.update(kind, finding, scene);
        }
        let counts = self.counted & 1 == 1;
        let confirmed = counts && self.counted.count_ones() >= confirmation.needed;
        confirmed.then(|| self.open(kind, scene.now.at, finding, scene))
    }

    fn open(
        &mut self,
        kind: SignalKind,
        opened_at: Timestamp,
        finding: Finding,
        scene: &Scene<'_>,
    ) -> Signal {
        let opening = Opening {
            opened_at,
            told: scene.now,
            severity: finding.severity,
            finding,
            traceparent: scene.traceparent.map(str::to_owned),
        };
        let signal = opening.tell(kind, SignalPhase::Open, self.since, scene);
        self.open = Some(opening);
        signal
    }

    /// Newer evidence is kept, and told when the pace allows or it became more severe: at most twice an opening.
    fn update(&mut self, kind: SignalKind, finding: Finding, scene: &Scene<'_>) -> Option<Signal> {
        let opening = self.open.as_mut()?;
        let raised = finding.severity > opening.severity;
        opening.severity = opening.severity.max(finding.severity);
        opening.finding = finding;
        if !raised && scene.now.since(opening.told) < scene.update_every {
            return None;
        }
        opening.tell_now(scene);
        Some(opening.tell(kind, SignalPhase::Update, self.since, scene))
    }
}

impl Opening {
    /// Each state of an opening is told at a later time than those before, or readers take it for an old one.
    fn tell_now(&mut self, scene: &Scene<'_>) {
        self.told = Moment {
            at: scene.now.at.max(self.told.at),
            run: scene.now.run,
        };
    }

    fn tell(
        &self,
        kind: SignalKind,
        phase: SignalPhase,
        since: Moment,
        scene: &Scene<'_>,
    ) -> Signal {
        let fingerprint = scene.subject.fingerprint(kind);
        let weightiest = self.finding.proofs.iter().take(EVIDENCE_MAX);
        let evidence = weightiest.map(|proof| Evidence {
            feature: proof.feature.clone(),
            metric: proof.metric,
            unit: proof.unit.clone(),
            observed: proof.observed,
            expected_low: proof.expected.0,
            expected_high: proof.expected.1,
            since: since.at,
        });
        Signal {
            id: SignalId::of(&fingerprint, self.opened_at),
            fingerprint,
            phase,
            kind,
            subject: scene.subject.clone(),
            severity: self.severity,
            score: self.finding.score,
            confidence: self.finding.confidence,
            opened_at: self.opened_at,
            at: self.told.at,
            reason: self.finding.reason.clone(),
            evidence: evidence.collect(),
            traceparent: self.traceparent.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::ServiceId;

    const RULE: Confirmation = Confirmation {
        needed: 3,
        of: 5,
        calm: 2,
    };
    const KIND: SignalKind = SignalKind::Hang;

    fn finding(severity: Severity) -> Reading {
        Reading::Violates(Finding {
            severity,
            score: Ratio::saturating(0.99),
            confidence: Confidence::Low,
            reason: "it is so".into(),
            proofs: vec![Proof::derived("probe", "1", 2.0, (0.0, 1.0))],
        })
    }

    fn scene(second: i64) -> Scene<'static> {
        Scene {
            now: Moment::of(Timestamp::from_millis(second * 1_000)),
            subject: Subject::service(ServiceId::from("web")),
            traceparent: None,
            update_every: Duration::from_secs(30),
        }
    }

    /// `!` violates, `#` violates critically, `.` normal, `~` between, `?` unknown; one a second.
    fn phases(script: &str) -> Vec<(i64, SignalPhase)> {
        let mut gates = Gates::default();
        let mut told = Vec::new();
        for (second, letter) in script.chars().enumerate() {
            let reading = match letter {
                '!' => finding(Severity::Warning),
                '#' => finding(Severity::Critical),
                '.' => Reading::Normal,
                '~' => Reading::Between,
                _ => Reading::Unknown,
            };
            let second = second as i64;
            let signal = gates.step(KIND, reading, RULE, &scene(second));
            told.extend(signal.map(|signal| (second, signal.phase)));
        }
        told
    }

    #[test]
    fn it_opens_once_confirmed_and_only_once() {
        assert_eq!(phases("!!"), []);
        assert_eq!(phases("!.!...!.!"), []);
        assert_eq!(phases("!.!.!"), [(4, SignalPhase::Open)]);
        assert_eq!(phases("!?!?!"), [(4, SignalPhase::Open)]);
        assert_eq!(phases("!!!!!!!!!!!!"), [(2, SignalPhase::Open)]);
    }

    #[test]
    fn it_resolves_after_calm_and_between_is_not_calm() {
        let resolved = [(2, SignalPhase::Open), (4, SignalPhase::Resolve)];
        assert_eq!(phases("!!!.."), resolved);
        assert_eq!(phases("!!!.!.!.~!."), [(2, SignalPhase::Open)]);
    }

    #[test]
    fn updates_are_paced_and_a_raise_is_told_at_once() {
        let quiet = format!("!!!{}", "!".repeat(40));
        assert_eq!(
            phases(&quiet),
            [(2, SignalPhase::Open), (32, SignalPhase::Update)]
        );
        assert_eq!(
            phases("!!!!###"),
            [(2, SignalPhase::Open), (4, SignalPhase::Update)]
        );
    }

    #[test]
    fn a_calm_gate_takes_no_memory_and_a_new_opening_has_a_new_id() {
        let mut gates = Gates::default();
        let mut ids = Vec::new();
        for round in [0, 100] {
            for second in 0..3 {
                let at = scene(round + second);
                let signal = gates.step(KIND, finding(Severity::Info), RULE, &at);
                ids.extend(signal.map(|signal| (signal.id, signal.fingerprint)));
            }
            assert!(gates.resolve(KIND, "gone", &scene(round + 4)).is_some());
            assert!(gates.gates.is_empty());
        }
        assert_ne!(ids[0].0, ids[1].0);
        assert_eq!(ids[0].1, ids[1].1);
    }
}
