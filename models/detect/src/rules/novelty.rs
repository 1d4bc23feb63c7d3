//! Log novelty: a service logs a line, again and again, that it never logged before.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{LogLine, LogSeverity, Ratio, Severity, Timestamp};

use super::confidence;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::template::{LineTemplate, Standing, TemplateId, is_grave};
use crate::text::{duration, excerpt};

/// A reading violates only once lines repeated; when they stop, [`Novelties::is_over`] says so.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 1,
    of: 1,
    calm: 1,
};

/// A container's first lines after a start are seldom seen, and no news.
pub(crate) const AFTER_START: Duration = Duration::from_secs(120);

/// Of warnings and errors, so many lines within so long are again and again.
const REPEATS: usize = 3;
const REPEATS_WITHIN: Duration = Duration::from_secs(10);
/// Of lines below that level it takes so many within so long, and that they have come for a while: a job that runs for the first
/// time has much to tell.
const MANY: u32 = 300;
const MANY_WITHIN: Duration = Duration::from_secs(30);
const MANY_AFTER: Duration = Duration::from_secs(120);
/// New lines are told again at most this often.
const READ_EVERY: Duration = Duration::from_secs(1);
/// It is over when none came for this long.
const OVER_AFTER: Duration = Duration::from_secs(60);
/// New templates of one service that are followed at one time; the one that was heard of least lately is left.
const FOLLOWED_MAX: usize = 16;

/// The new templates of one service, and how often they came of late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Novelties(BTreeMap<u64, Novel>);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Novel {
    first: Timestamp,
    /// When the last lines were written, at most [`REPEATS`].
    recent: VecDeque<Timestamp>,
    /// Lines since `window`, which is not longer ago than [`MANY_WITHIN`].
    count: u32,
    window: Timestamp,
    all: u32,
    read: Option<Timestamp>,
}

impl Novelties {
    /// Takes a line, written at `at`.
    pub(crate) fn read(
        &mut self,
        line: &LogLine,
        template: &LineTemplate<'_>,
        at: Timestamp,
    ) -> Reading {
        match template.standing {
            Standing::Known => return Reading::Unknown,
            Standing::New => {}
        }
        let TemplateId(id) = template.id;
        self.make_room(id, at);
        let novel = self.0.entry(id).or_insert_with(|| Novel::starting(at));
        novel.count(at);
        let again = match is_grave(line.severity) {
            true => novel.repeats(at),
            false => novel.count >= MANY && at.since(novel.first) >= MANY_AFTER,
        };
        let read_lately = |read| at.since(read) < READ_EVERY;
        if !again || novel.read.is_some_and(read_lately) {
            return Reading::Unknown;
        }
        novel.read = Some(at);
        let since = novel.recent.front().copied().unwrap_or(at);
        let lines = f64::from(novel.all);
        let severity = match line.severity >= LogSeverity::Error {
            true => Severity::Warning,
            false => Severity::Info,
        };
        Reading::Violates(Finding {
            severity,
            score: Ratio::saturating(1.0 - lines / (template.among as f64 + 1.0)),
            confidence: confidence(u32::try_from(template.among).unwrap_or(u32::MAX)),
            reason: format!(
                "{} logs what {} never logged before, {} times, the last {} within {}: {}",
                line.name,
                line.service,
                novel.all,
                novel.recent.len(),
                duration(at.since(since)),
                excerpt(&line.text),
            ),
            proofs: vec![Proof::derived(
                "new_template_lines",
                "lines",
                lines,
                (0.0, 0.0),
            )],
        })
    }

    /// Whether no new line has come for a while; forgets those that stopped.
    pub(crate) fn is_over(&mut self, at: Timestamp) -> bool {
        self.0
            .retain(|_, novel| at.since(novel.last()) < OVER_AFTER);
        self.0.values().all(|novel| novel.read.is_none())
    }

    fn make_room(&mut self, id: u64, at: Timestamp) {
        if self.0.contains_key(&id) || self.0.len() < FOLLOWED_MAX {
            return;
        }
        self.is_over(at);
        let least = self.0.iter().min_by_key(|(_, novel)| novel.last());
        if let (Some((least, _)), true) = (least, self.0.len() >= FOLLOWED_MAX) {
            let least = *least;
            self.0.remove(&least);
        }
    }
}

impl Novel {
    fn starting(at: Timestamp) -> Self {
        Novel {
            first: at,
            window: at,
            ..Novel::default()
        }
    }

    fn count(&mut self, at: Timestamp) {
        if self.recent.len() == REPEATS {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        if at.since(self.window) > MANY_WITHIN {
            self.window = at;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.all = self.all.saturating_add(1);
    }

    fn repeats(&self, at: Timestamp) -> bool {
        let first = self.recent.front().copied().unwrap_or(at);
        self.recent.len() == REPEATS && at.since(first) <= REPEATS_WITHIN
    }

    fn last(&self) -> Timestamp {
        self.recent.back().copied().unwrap_or_default()
    }
}
