//! What people said of signals, and the bars that follow from it. Pure: records in, answers out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use detect::{Bar, Bars, HEIGHT_MAX};
use serde::{Deserialize, Serialize};
use units::{Feedback, Opinion, Signal, SignalId, SignalKind, Subject, Timestamp};

/// Signals of which it is known what was said; the oldest go first.
const SPOKEN_OF_MAX: usize = 2_000;
/// Two records of feedback are at least so far apart: whoever follows them tells news from repeats by their times.
const STEP: Duration = Duration::from_millis(1);

/// What was said of a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What.
    pub opinion: Opinion,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// `GET /signals`: a signal with what was said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedSignal {
    /// The signal.
    #[serde(flatten)]
    pub signal: Signal,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// `GET /feedback`: a raised bar. It is that of a kind and a service, or node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BarStatus {
    /// What kind of signal.
    pub kind: SignalKind,
    /// What was dismissed last.
    pub subject: Subject,
    /// How often it was dismissed.
    pub dismissed: u32,
    /// When that was last.
    pub dismissed_at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How high it stands now: one for each dismissal, sinking with time.
    pub height: f64,
    /// The most that can be.
    pub height_max: f64,
    /// How many more readings, one a second, it takes at least before such a signal is told.
    pub more_readings: u32,
    /// How far out such a signal must lie: by so many times the bound it crosses. Absent where size does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<f64>,
    /// Until when it stands if nothing more is dismissed.
    pub until: Timestamp,
}

/// The body of `POST /signals/{id}/ack` and `/dismiss`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remark {
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// The signal, with what is said of it now.
    #[serde(flatten)]
    pub listed: ListedSignal,
    /// The bar that is raised now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<BarStatus>,
}

/// Everything that was said, as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Opinions {
    said: BTreeMap<SignalId, Feedback>,
    order: VecDeque<SignalId>,
    bars: Bars,
    newest: Timestamp,
}

impl Opinions {
    /// Takes a record. What is not newer than what is known of the signal changes nothing, and who dismissed one needs not
    /// acknowledge it.
    pub(crate) fn take(&mut self, feedback: Feedback) {
        self.newest = self.newest.max(feedback.at);
        self.bars.take(&feedback);
        match self.said.get(&feedback.signal) {
            Some(known) if known.at >= feedback.at || known.opinion == Opinion::Dismissed => return,
            Some(_) => {}
            None => self.order.push_back(feedback.signal.clone()),
        }
        self.said.insert(feedback.signal.clone(), feedback);
        while self.order.len() > SPOKEN_OF_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.said.remove(&oldest);
            }
        }
    }

    /// What was said of a signal.
    pub(crate) fn of(&self, signal: &SignalId) -> Option<Said> {
        self.said.get(signal).map(|feedback| Said {
            opinion: feedback.opinion,
            at: feedback.at,
            because: feedback.because.clone(),
        })
    }

    /// The time of the next record: now, and after all before it.
    pub(crate) fn next_at(&self, now: Timestamp) -> Timestamp {
        now.max(self.newest + STEP)
    }

    /// The bars that stand, highest first.
    pub(crate) fn bars(&self, now: Timestamp) -> Vec<BarStatus> {
        let mut bars: Vec<BarStatus> = self
            .bars
            .standing(now)
            .map(|bar| self.status(bar, now))
            .collect();
        bars.sort_by(|a, b| b.height.total_cmp(&a.height));
        bars
    }

    /// The bar that stands for a kind and subject.
    pub(crate) fn bar(
        &self,
        kind: SignalKind,
        subject: &Subject,
        now: Timestamp,
    ) -> Option<BarStatus> {
        let bar = self.bars.of(kind, subject, now)?;
        Some(self.status(bar, now))
    }

    fn status(&self, bar: &Bar, now: Timestamp) -> BarStatus {
        let last = |feedback: &&Feedback| feedback.kind == bar.kind && feedback.at == bar.at;
        let last = self.said.values().find(last);
        BarStatus {
            kind: bar.kind,
            subject: bar.subject.clone(),
            dismissed: bar.dismissed,
            dismissed_at: bar.at,
            because: last.and_then(|feedback| feedback.because.clone()),
            height: bar.height(now),
            height_max: HEIGHT_MAX,
            more_readings: bar.more_readings(1, now),
            beyond: bar.beyond(now),
            until: bar.until(),
        }
    }
}
