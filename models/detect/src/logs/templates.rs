//! The rate of each template a container logs: now, and usually.
//!
//! Of the busiest templates alone: what speaks for a signal is among them. Which those are follows Misra and Gries, *Finding
//! repeated elements* (Science of Computer Programming 2, 1982): a template that has no place takes that of the least busy one
//! once lines without a place outnumber it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use units::{LogLine, LogSeverity};

use crate::gate::Proof;
use crate::template::{LineTemplate, TemplateId};
use crate::text::{excerpt, number, percent};

/// Templates followed in one container.
const FOLLOWED_MAX: usize = 12;
/// Seconds that the rate of now remembers …
const NOW_SECONDS: f32 = 4.0;
/// … and those of the usual one, once there were as many.
const USUAL_SECONDS: u32 = 600;
/// Below these a template that logs nothing is not followed any more.
const NOW_LEAST: f32 = 0.01;
const USUAL_LEAST: f32 = 0.001;
/// A template speaks for a rate when it makes at least this share of what is above the usual.
const SHARE_MIN: f32 = 0.2;

/// The busiest templates of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TemplateRates {
    followed: BTreeMap<u64, TemplateRate>,
    /// Lines of this second whose template is not followed, less those that found a place for it.
    unplaced: u32,
    /// Seconds behind the usual rates.
    learnt_seconds: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TemplateRate {
    /// Lines of this second.
    count: u32,
    now: f32,
    usual: f32,
    severity: LogSeverity,
    text: Box<str>,
    example: Box<str>,
}

/// The template whose rate rose most.
pub(crate) struct Risen {
    /// Of all lines that are above the usual rate.
    share: f32,
    now: f32,
    usual: f32,
    text: Box<str>,
    example: Box<str>,
}

impl TemplateRates {
    /// Counts a line into the open second.
    pub(crate) fn count(&mut self, line: &LogLine, template: &LineTemplate<'_>) {
        let TemplateId(id) = template.id;
        if let Some(rate) = self.followed.get_mut(&id) {
            rate.count = rate.count.saturating_add(1);
            rate.severity = rate.severity.max(line.severity);
            return;
        }
        if self.followed.len() >= FOLLOWED_MAX {
            self.unplaced = self.unplaced.saturating_add(1);
            let least = self.followed.iter().min_by(|(_, one), (_, other)| {
                let order = one.busy().total_cmp(&other.busy());
                order.then(one.usual.total_cmp(&other.usual))
            });
            let Some((least, rate)) = least else {
                return;
            };
            if rate.busy() > self.unplaced as f32 {
                return;
            }
            let least = *least;
            self.followed.remove(&least);
            self.unplaced = 0;
        }
        let rate = TemplateRate {
            count: 1,
            now: 0.0,
            usual: 0.0,
            severity: line.severity,
            text: excerpt(&template.text.to_string()).into(),
            example: excerpt(&line.text).into(),
        };
        self.followed.insert(id, rate);
    }

    /// Closes the open second.
    pub(crate) fn close(&mut self) {
        for rate in self.followed.values_mut() {
            rate.now += (rate.count as f32 - rate.now) / NOW_SECONDS;
            rate.count = 0;
        }
        self.unplaced = 0;
        self.followed
            .retain(|_, rate| rate.now >= NOW_LEAST || rate.usual >= USUAL_LEAST);
    }

    /// The second that was closed last was ordinary.
    pub(crate) fn learn(&mut self) {
        self.learnt_seconds = (self.learnt_seconds + 1).min(USUAL_SECONDS);
        for rate in self.followed.values_mut() {
            rate.usual += (rate.now - rate.usual) / self.learnt_seconds as f32;
        }
    }

    /// The template that makes most of what is above the usual, of those that log at this level or a graver one.
    pub(crate) fn risen(&self, least: LogSeverity) -> Option<Risen> {
        let above = |rate: &TemplateRate| (rate.now - rate.usual).max(0.0);
        let grave = || self.followed.values().filter(|rate| rate.severity >= least);
        let all: f32 = grave().map(above).sum();
        let most = grave().max_by(|one, other| above(one).total_cmp(&above(other)))?;
        let share = above(most) / all.max(f32::MIN_POSITIVE);
        (share >= SHARE_MIN).then(|| Risen {
            share,
            now: most.now,
            usual: most.usual,
            text: most.text.clone(),
            example: most.example.clone(),
        })
    }
}

impl TemplateRate {
    fn busy(&self) -> f32 {
        self.now + self.count as f32
    }
}

impl Risen {
    /// A clause of a sentence: which template, how much of it, and a line of it.
    pub(crate) fn clause(&self) -> String {
        let Risen { share, text, .. } = self;
        let share = percent(f64::from(*share));
        format!(
            "{share} of what rose is \"{text}\", usually {}/s, such as: {}",
            number(f64::from(self.usual)),
            self.example
        )
    }

    /// Its rate.
    pub(crate) fn proof(&self, times_usual: f64) -> Proof {
        let usual = f64::from(self.usual) * times_usual;
        let now = f64::from(self.now);
        Proof::derived("template_lines_per_second", "lines/s", now, (0.0, usual))
    }
}
