//! The log lines of one container: counted by the second, and judged by it.

mod count;
mod service;
mod templates;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, LogLine, LogSeverity, Severity, Signal, SignalKind, Steady, Subject};

use crate::clock::Moment;
use crate::container::Surroundings;
use crate::gate::{Confirmation, Gates, Reading, Scene};
use crate::rules::errors::ErrorRate;
use crate::rules::pulse::Told;
use crate::rules::silence::Silence;
use crate::rules::storm::LineRate;
use crate::rules::{errors, silence, storm};
use crate::template::LineTemplate;

pub(crate) use count::{Delivery, LineCount, Second};
pub(crate) use templates::{Risen, TemplateRates};

/// A silence of this long is taken for the new normal.
const SILENCE_RELEARN_AFTER: Duration = Duration::from_secs(3_600);

/// What is known of the log of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerLogs {
    count: LineCount,
    errors: ErrorRate,
    rate: LineRate,
    silence: Silence,
    templates: TemplateRates,
    /// Since when a kind violates without a break, and is not learnt.
    frozen: BTreeMap<SignalKind, Steady>,
}

/// What a container is like when its seconds are closed.
pub(crate) struct View<'a> {
    pub(crate) name: &'a ContainerName,
    /// Its newest sample.
    pub(crate) last: Moment,
    pub(crate) subject: &'a Subject,
    pub(crate) around: &'a Surroundings<'a>,
    /// When its process was started, as far as that is known.
    pub(crate) started: Option<Steady>,
    pub(crate) traffic: Traffic,
}

/// Whether a container still has the traffic it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// It has, or never had any.
    Usual,
    /// It hardly has any more: what it logs of its requests, it cannot log.
    Fallen,
}

/// What is to be done with a second that was judged.
enum Lesson {
    /// It was ordinary: it is learnt.
    Learn,
    /// It violated.
    Pass,
    /// It violated for so long that it is the new normal.
    Relearn,
}

impl ContainerLogs {
    /// What a new replica takes over: the rate that is usual for its siblings, with little weight.
    pub(crate) fn as_prior(&self) -> Self {
        ContainerLogs {
            rate: self.rate.as_prior(),
            ..ContainerLogs::default()
        }
    }

    /// Its process was started again, is paused or ended: what belongs to its run is over.
    pub(crate) fn start_over(&mut self) {
        self.silence.pause();
        self.frozen.retain(|kind, _| *kind == SignalKind::ErrorLogs);
    }

    /// Counts a line, written at `run`, into the open second. One that was delivered twice counts once.
    pub(crate) fn count(
        &mut self,
        line: &LogLine,
        run: Steady,
        template: Option<&LineTemplate<'_>>,
    ) -> Delivery {
        let delivery = self.count.count(line, run);
        if delivery == Delivery::First {
            if line.severity >= LogSeverity::Error {
                self.errors.remember(line);
            }
            if let Some(template) = template {
                self.templates.count(line, template);
            }
        }
        delivery
    }

    /// Judges the seconds before `until`, oldest first, and gives the lines of level error or worse in each.
    pub(crate) fn close_until(
        &mut self,
        until: Steady,
        view: &View<'_>,
        gates: &mut Gates,
        out: &mut Vec<Signal>,
    ) -> Vec<f64> {
        let seconds = self.count.close_until(until);
        for second in &seconds {
            let scene = Scene {
                now: view.last.with_run(second.end),
                subject: view.subject.clone(),
                traceparent: view.around.traceparent,
                update_every: view.around.settings.update_every,
            };
            self.templates.close();
            self.judge_errors(second, view, &scene, gates, out);
            let uptime = view.started.map(|started| second.end.since(started));
            if uptime.is_none_or(|uptime| uptime >= view.around.settings.grace) {
                self.judge_rate(second, view, &scene, gates, out);
            }
            self.judge_silence(second, view, &scene, gates, out);
        }
        seconds.iter().map(|second| second.errors).collect()
    }

    fn judge_errors(
        &mut self,
        second: &Second,
        view: &View<'_>,
        scene: &Scene<'_>,
        gates: &mut Gates,
        out: &mut Vec<Signal>,
    ) {
        let kind = SignalKind::ErrorLogs;
        let lasting = gates.held(kind, scene.now);
        let risen = || self.templates.risen(LogSeverity::Error);
        let reading = self.errors.read(view.name, second, lasting, risen);
        let after = view.around.settings.relearn_after;
        let judged = (kind, errors::CONFIRM, after);
        match self.judge(judged, reading, scene, gates, out) {
            Lesson::Learn => self.errors.learn(second),
            Lesson::Pass => {}
            Lesson::Relearn => self.errors.relearn(),
        }
    }

    fn judge_rate(
        &mut self,
        second: &Second,
        view: &View<'_>,
        scene: &Scene<'_>,
        gates: &mut Gates,
        out: &mut Vec<Signal>,
    ) {
        let kind = SignalKind::LogStorm;
        let lasting = gates.held(kind, scene.now);
        let risen = || self.templates.risen(LogSeverity::Unknown);
        let reading = self.rate.read(view.name, second, lasting, risen);
        let after = view.around.settings.relearn_after;
        let judged = (kind, storm::CONFIRM, after);
        match self.judge(judged, reading, scene, gates, out) {
            Lesson::Learn => {
                self.rate.learn(second);
                self.templates.learn();
            }
            Lesson::Pass => {}
            Lesson::Relearn => self.rate.relearn(),
        }
    }

    fn judge_silence(
        &mut self,
        second: &Second,
        view: &View<'_>,
        scene: &Scene<'_>,
        gates: &mut Gates,
        out: &mut Vec<Signal>,
    ) {
        let kind = SignalKind::LogSilence;
        let told = match gates.is_open(kind) {
            true => Told::Yes,
            false => Told::No,
        };
        self.silence.advance(second, told);
        let reading = self.silence.read(view.name, second, view.traffic);
        let judged = (kind, silence::CONFIRM, SILENCE_RELEARN_AFTER);
        match self.judge(judged, reading, scene, gates, out) {
            Lesson::Learn | Lesson::Pass => {}
            Lesson::Relearn => self.silence = Silence::default(),
        }
    }

    /// Takes a reading to its gate. What violates is not learnt, until it has for so long that it is the new normal.
    fn judge(
        &mut self,
        (kind, confirmation, relearn_after): (SignalKind, Confirmation, Duration),
        reading: Reading,
        scene: &Scene<'_>,
        gates: &mut Gates,
        out: &mut Vec<Signal>,
    ) -> Lesson {
        let now = scene.now.run;
        let lesson = match &reading {
            Reading::Violates(_) => {
                self.frozen.entry(kind).or_insert(now);
                Lesson::Pass
            }
            Reading::Normal => {
                self.frozen.remove(&kind);
                Lesson::Learn
            }
            Reading::Between | Reading::Unknown => Lesson::Learn,
        };
        let lasting = self.frozen.get(&kind).map(|since| now.since(*since));
        if lasting.is_some_and(|lasting| lasting >= relearn_after) {
            self.frozen.remove(&kind);
            out.extend(gates.resolve(kind, "this is the new normal", scene));
            return Lesson::Relearn;
        }
        out.extend(gates.step(kind, reading, confirmation, scene));
        lesson
    }
}

/// How grave a rate is that has lasted for so long: one that passes may be a job's.
pub(crate) fn severity(lasting: Duration, warning_after: Duration) -> Severity {
    match lasting >= warning_after {
        true => Severity::Warning,
        false => Severity::Info,
    }
}
