//! One container: its series, its rules and what is open about it.

mod around;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    ContainerName, ContainerState, LogLine, NodeId, Sample, Severity, Signal, SignalKind, Steady,
    Subject, Timestamp,
};

use crate::clock::Moment;
use crate::counters::Counters;
use crate::features::{Features, Usual};
use crate::gate::{Finding, Gates, Reading, Scene};
use crate::logs::{ContainerLogs, Delivery, Traffic, View};
use crate::rules::crash::{Run, Starts};
use crate::rules::deviation::Compared;
use crate::rules::lost::Losses;
use crate::rules::memory::Growth;
use crate::rules::node::NodeStanding;
use crate::rules::{crash, deviation, hang, health, lost, memory, throttling};
use crate::settings::Settings;
use crate::template::LineTemplate;
use around::Beside;

/// A second of log lines is judged when samples are this much past it: lines travel slower than samples.
const LOG_LAG: Duration = Duration::from_secs(2);
/// A line does not close seconds further ahead of the newest sample: where it says so, the time of day stepped and no sample has
/// told it yet.
const LOG_AHEAD_MAX: Duration = Duration::from_secs(5);

/// From so many packets a second on a container has traffic …
const TRAFFIC_MIN: f64 = 1.0;
/// … and below this share of the usual it has hardly any left.
const TRAFFIC_FALLEN: f64 = 0.25;

/// Kinds that say what is wrong: where one stirs, deviations are only its symptoms.
const EXPLAINS: [SignalKind; 5] = [
    SignalKind::Hang,
    SignalKind::CrashLoop,
    SignalKind::MemoryRunaway,
    SignalKind::Throttling,
    SignalKind::Unhealthy,
];

/// Kinds that outlive the run of the process they were seen in.
const OUTLIVES_RUN: [SignalKind; 5] = [
    SignalKind::CrashLoop,
    SignalKind::Unhealthy,
    SignalKind::ErrorLogs,
    SignalKind::TelemetryMissing,
    SignalKind::TelemetryLost,
];

/// The state of the detectors of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) node: NodeId,
    pub(crate) name: ContainerName,
    /// Its newest sample.
    pub(crate) last: Moment,
    pub(crate) state: ContainerState,
    pub(crate) features: Features,
    pub(crate) gates: Gates,
    counters: Counters,
    starts: Starts,
    usual: Usual,
    growth: Growth,
    logs: ContainerLogs,
    losses: Losses,
    /// Since when a series violates without a break, and is not learnt.
    frozen: BTreeMap<SignalKind, Steady>,
    pub(crate) beside: Beside,
}

/// What surrounds a container when it is judged.
pub(crate) struct Surroundings<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) service: ServiceStanding,
    pub(crate) node: NodeStanding,
}

/// Whether the service's load explains what its containers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceStanding {
    /// It does not.
    Ordinary,
    /// It is overloaded, or about to be called so.
    Overloaded,
}

impl Container {
    /// A container seen for the first time. A warm sibling of its service lends it its expectations.
    pub(crate) fn new(sample: &Sample, now: Moment, sibling: Option<&Container>) -> Self {
        Container {
            node: sample.node.clone(),
            name: sample.name.clone(),
            last: now.with_run(before(now.run, Duration::from_millis(1))),
            state: sample.state,
            features: Features::default(),
            gates: Gates::default(),
            counters: Counters::default(),
            starts: Starts::default(),
            usual: sibling.map_or_else(Usual::default, |elder| elder.usual.as_prior()),
            growth: Growth::default(),
            logs: sibling.map_or_else(ContainerLogs::default, |elder| elder.logs.as_prior()),
            losses: Losses::default(),
            frozen: BTreeMap::new(),
            beside: Beside::default(),
        }
    }

    /// Samples behind what is usual here.
    pub(crate) fn history(&self) -> u32 {
        self.usual.cpu_cores.samples()
    }

    /// Takes a sample, read at `now`, which is after its last one.
    pub(crate) fn observe(
        &mut self,
        sample: &Sample,
        now: Moment,
        around: &Surroundings<'_>,
        out: &mut Vec<Signal>,
    ) {
        self.last = now;
        self.state = sample.state;
        self.name = sample.name.clone();
        let scene = around.scene(sample, now);
        out.extend(self.read_absence(sample, around, &scene));
        if self.starts.advance(sample, now.run) == Run::New {
            self.start_over("it was started again", &scene, out);
        }
        let crashing = self.starts.read(&self.name, sample, now.run);
        out.extend(
            self.gates
                .step(SignalKind::CrashLoop, crashing, crash::CONFIRM, &scene),
        );
        self.read_losses(sample, &scene, out);
        self.close_seconds(before(now.run, LOG_LAG), around, &scene.subject, out);
        match sample.state {
            ContainerState::Running => self.observe_running(sample, around, &scene, out),
            ContainerState::Paused => self.start_over("it is paused", &scene, out),
            ContainerState::Restarting => self.start_over("it is being started again", &scene, out),
            ContainerState::Created | ContainerState::Exited | ContainerState::Dead => {
                self.start_over("it is not running", &scene, out);
                let why = "it is not running";
                out.extend(self.gates.resolve(SignalKind::Unhealthy, why, &scene));
                out.extend(self.gates.resolve(SignalKind::ErrorLogs, why, &scene));
            }
        }
    }

    /// Whether its process was started so lately that nothing about it is usual.
    pub(crate) fn is_young(&self, run: Steady, grace: Duration) -> bool {
        self.starts.uptime(run).is_some_and(|uptime| uptime < grace)
    }

    /// When its process was started, as far as that is known at `run`.
    pub(crate) fn started(&self, run: Steady) -> Option<Steady> {
        self.starts.uptime(run).map(|uptime| before(run, uptime))
    }

    /// Takes a log line, written at `run`.
    pub(crate) fn line(
        &mut self,
        line: &LogLine,
        template: Option<&LineTemplate<'_>>,
        run: Steady,
        around: &Surroundings<'_>,
        out: &mut Vec<Signal>,
    ) -> Delivery {
        let subject = Subject::container(
            line.service.clone(),
            line.node.clone(),
            line.container.clone(),
            line.name.clone(),
        );
        let until = run.min(self.last.run + LOG_AHEAD_MAX);
        self.close_seconds(until, around, &subject, out);
        self.logs.count(line, run, template)
    }

    /// Resolves everything: the container is not there any more.
    pub(crate) fn end(&mut self, why: &str, scene: &Scene<'_>, out: &mut Vec<Signal>) {
        self.gates.resolve_all_but(&[], why, scene, out);
    }

    /// Says that its samples stopped.
    pub(crate) fn missing(
        &mut self,
        opened_at: Timestamp,
        finding: Finding,
        scene: &Scene<'_>,
    ) -> Option<Signal> {
        self.gates
            .open_at(SignalKind::TelemetryMissing, opened_at, finding, scene)
    }

    /// Forgets what belongs to one run of the process, and resolves it.
    fn start_over(&mut self, why: &str, scene: &Scene<'_>, out: &mut Vec<Signal>) {
        self.counters.forget();
        self.growth.forget();
        self.beside.forget();
        self.features = Features::default();
        self.frozen.clear();
        self.logs.start_over();
        self.gates.resolve_all_but(&OUTLIVES_RUN, why, scene, out);
    }

    fn observe_running(
        &mut self,
        sample: &Sample,
        around: &Surroundings<'_>,
        scene: &Scene<'_>,
        out: &mut Vec<Signal>,
    ) {
        let now = scene.now;
        let rates = self.counters.advance(now.run, &sample.metrics);
        self.follow_movement(&rates, now.run);
        let before = std::mem::replace(&mut self.features, Features::of(&rates, &sample.metrics));
        let uptime = self.starts.uptime(now.run);
        self.beside
            .advance(&mut self.features, sample, now.run, uptime);
        let unhealthy = health::read(&self.name, sample.health, around.service);
        out.extend(
            self.gates
                .step(SignalKind::Unhealthy, unhealthy, health::CONFIRM, scene),
        );
        let growing = self.read_memory(sample, now, around);
        out.extend(
            self.gates
                .step(SignalKind::MemoryRunaway, growing, memory::CONFIRM, scene),
        );
        let starting = uptime.is_some_and(|uptime| uptime < around.settings.grace);
        if starting {
            return;
        }
        let lasting = self.gates.held(SignalKind::Hang, now);
        let hanging = hang::read(&self.name, (&before, &self.features), &self.usual, lasting);
        let hanging = around.node.explain(hanging);
        out.extend(
            self.gates
                .step(SignalKind::Hang, hanging, hang::CONFIRM, scene),
        );
        if around.service == ServiceStanding::Ordinary {
            let lasting = self.gates.held(SignalKind::Throttling, now);
            let waits = throttling::read(&self.name, &self.features, &self.usual, lasting);
            let waits = around.node.explain(waits);
            let confirm = throttling::CONFIRM;
            out.extend(
                self.gates
                    .step(SignalKind::Throttling, waits, confirm, scene),
            );
        }
        out.extend(self.read_tasks(sample, scene));
        out.extend(self.read_standstill(scene));
        self.compare(sample, around, scene, out);
    }

    fn read_losses(&mut self, sample: &Sample, scene: &Scene<'_>, out: &mut Vec<Signal>) {
        let kind = SignalKind::TelemetryLost;
        let reading = self.losses.read(&self.name, &sample.metrics, scene.now);
        if matches!(reading, Reading::Normal) && self.gates.is_open(kind) {
            let why = self.losses.settle();
            out.extend(self.gates.resolve(kind, &why, scene));
            return;
        }
        out.extend(self.gates.step(kind, reading, lost::CONFIRM, scene));
    }

    /// Compares with the usual, and learns what does not violate it. What violates it for long becomes the usual.
    fn compare(
        &mut self,
        sample: &Sample,
        around: &Surroundings<'_>,
        scene: &Scene<'_>,
        out: &mut Vec<Signal>,
    ) {
        let overloaded = around.service == ServiceStanding::Overloaded;
        let hanging = self.gates.is_stirring(SignalKind::Hang);
        let gates = &self.gates;
        let all = deviation::compare(
            &self.name,
            Features::memory_metric(&sample.metrics),
            (scene.now.at, &self.features),
            &self.usual,
            around.node,
            |kind| gates.held(kind, scene.now),
        );
        for Compared { of, reading, jumps } in all {
            let kind = of.kind();
            let strays = matches!(reading, Reading::Violates(_)) || !jumps.is_empty();
            for (series, value) in jumps {
                self.usual.habits.note(series, scene.now.at, value);
            }
            let frozen = self.violating(kind, &reading, scene.now.run);
            if frozen.is_some_and(|lasting| lasting >= around.settings.relearn_after) {
                self.frozen.remove(&kind);
                self.usual.forget(of);
                let why = "this is the new normal";
                out.extend(self.gates.resolve(kind, why, scene));
                continue;
            }
            let explained = overloaded || self.is_explained(kind);
            if !explained || self.gates.is_open(kind) {
                out.extend(self.gates.step(kind, reading, deviation::CONFIRM, scene));
            }
            if !strays && !hanging {
                self.usual.learn(of, &self.features);
            }
        }
    }

    /// Judges the seconds of log lines before `until`.
    fn close_seconds(
        &mut self,
        until: Steady,
        around: &Surroundings<'_>,
        subject: &Subject,
        out: &mut Vec<Signal>,
    ) {
        let view = View {
            name: &self.name,
            last: self.last,
            subject,
            around,
            started: self.started(self.last.run),
            traffic: self.traffic(),
        };
        for errors in self.logs.close_until(until, &view, &mut self.gates, out) {
            self.beside.recent.errors(errors);
        }
    }

    /// Whether it still has the traffic it had.
    fn traffic(&self) -> Traffic {
        let usual = self
            .usual
            .rx_packets
            .level()
            .filter(|usual| *usual >= TRAFFIC_MIN);
        match (usual, self.features.rx_packets) {
            (Some(usual), Some(now)) if now < usual * TRAFFIC_FALLEN => Traffic::Fallen,
            _ => Traffic::Usual,
        }
    }
}

impl<'a> Surroundings<'a> {
    fn scene(&self, sample: &Sample, now: Moment) -> Scene<'a> {
        let subject = Subject::container(
            sample.service.clone(),
            sample.node.clone(),
            sample.container.clone(),
            sample.name.clone(),
        );
        Scene {
            now,
            subject,
            traceparent: self.traceparent,
            update_every: self.settings.update_every,
        }
    }
}

/// So long before a moment of a run.
fn before(run: Steady, by: Duration) -> Steady {
    let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Steady::from_millis(run.as_millis().saturating_sub(by_ms))
}

/// What is open about a container, by kind and severity.
pub(crate) fn open(container: &Container) -> impl Iterator<Item = (SignalKind, Severity)> + '_ {
    container.gates.open()
}
