//! What a container shows beside its own series: how its memory climbs, its connections, and how it compares with its siblings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerId, Link, Point, Sample, ServiceId, Signal, SignalKind, Steady, Subject};

use super::{Container, EXPLAINS, Surroundings};
use crate::clock::Moment;
use crate::counters::Rates;
use crate::features::Features;
use crate::gate::{Reading, Scene};
use crate::rules::absence::{self, Absence};
use crate::rules::answers::Answers;
use crate::rules::app::{self, App};
use crate::rules::leak::{Climb, Leak};
use crate::rules::links::{self, Links, Relearnt};
use crate::rules::memory::Memory;
use crate::rules::node::Risers;
use crate::rules::peers::{Recent, Replica, Standing, UPTIME_MIN};
use crate::rules::pulse::Told;
use crate::rules::standstill::{self, Standstill};
use crate::rules::tasks::{self, Tasks};
use crate::rules::waiting::Waiting;

/// What is known of a container beside its own series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// How it compares with its siblings.
    pub(crate) recent: Recent,
    links: Links,
    leak: Leak,
    waiting: Waiting,
    tasks: Tasks,
    app: App,
    /// What callers get from it.
    pub(crate) answers: Answers,
    standstill: Standstill,
    absence: Absence,
    /// Its memory runs away towards its limit, not merely upwards.
    near_limit: bool,
}

impl Beside {
    /// Takes a sample, and smooths its I/O.
    pub(super) fn advance(
        &mut self,
        features: &mut Features,
        sample: &Sample,
        run: Steady,
        uptime: Option<Duration>,
    ) {
        self.links.count(run, &sample.metrics);
        features.io_bytes = self.recent.advance(features, &sample.metrics);
        features.io_waiting = self.waiting.advance(features.io_waiting, uptime);
    }

    /// Forgets what belongs to one run of the process.
    pub(super) fn forget(&mut self) {
        self.recent.forget();
        self.links.forget();
        self.leak.forget();
        self.waiting.forget();
        self.tasks.forget();
        self.app.forget();
        self.answers.forget();
        self.standstill.pause();
        self.near_limit = false;
    }
}

impl Container {
    /// Takes a read of its sockets.
    pub(crate) fn links(
        &mut self,
        service: &ServiceId,
        id: &ContainerId,
        read: &[&Link],
        now: Moment,
        around: &Surroundings<'_>,
    ) -> Option<Signal> {
        let kind = SignalKind::NetworkDelay;
        let lasting = self.gates.held(kind, now);
        let relearn_after = around.settings.relearn_after;
        let reading = self
            .beside
            .links
            .read(&self.name, read, now.run, relearn_after, lasting);
        let scene = self.scene(service, id, now, around);
        match reading {
            Ok(reading) => self.gates.step(kind, reading, links::CONFIRM, &scene),
            Err(Relearnt) => self.gates.resolve(kind, "this is the new normal", &scene),
        }
    }

    /// Takes a page of what it tells of itself.
    pub(crate) fn page(
        &mut self,
        service: &ServiceId,
        id: &ContainerId,
        points: &[&Point],
        now: Moment,
        around: &Surroundings<'_>,
    ) -> Option<Signal> {
        let kind = SignalKind::AppAnomaly;
        let lasting = self.gates.held(kind, now);
        let app = &mut self.beside.app;
        let (reading, lesson) = app.read(&self.name, points, now.run, lasting);
        let scene = self.scene(service, id, now, around);
        let frozen = self.violating(kind, &reading, now.run);
        if frozen.is_some_and(|lasting| lasting >= around.settings.relearn_after) {
            self.frozen.remove(&kind);
            self.beside.app.relearn();
            return self.gates.resolve(kind, "this is the new normal", &scene);
        }
        if !matches!(reading, Reading::Violates(_)) {
            self.beside.app.learn(&lesson);
        }
        self.gates.step(kind, reading, app::CONFIRM, &scene)
    }

    /// Where it is told of what came without a sample.
    pub(crate) fn scene<'a>(
        &self,
        service: &ServiceId,
        id: &ContainerId,
        now: Moment,
        around: &Surroundings<'a>,
    ) -> Scene<'a> {
        Scene {
            now,
            subject: Subject::container(
                service.clone(),
                self.node.clone(),
                id.clone(),
                self.name.clone(),
            ),
            traceparent: around.traceparent,
            update_every: around.settings.update_every,
        }
    }

    /// Judges its memory: towards its limit, and how steadily it climbs.
    pub(super) fn read_memory(
        &mut self,
        sample: &Sample,
        now: Moment,
        around: &Surroundings<'_>,
    ) -> Reading {
        let Some(bytes) = self.features.memory_bytes else {
            return Reading::Unknown;
        };
        let metric = Features::memory_metric(&sample.metrics);
        let uptime = self.starts.uptime(now.run);
        let limit_bytes = self.features.memory_limit_bytes;
        self.beside.leak.advance(now.run, bytes);
        let near = limit_bytes.map(|limit_bytes| {
            self.growth.advance(now.run, bytes, limit_bytes);
            self.growth.read(&Memory {
                name: &self.name,
                metric,
                bytes,
                limit_bytes,
                uptime,
                usual: &self.usual.memory_bytes,
            })
        });
        self.beside.near_limit = matches!(near, Some(Reading::Violates(_)));
        let climbing = self.beside.leak.read(&Climb {
            name: &self.name,
            metric,
            bytes,
            limit_bytes,
            uptime,
            usual: &self.usual.memory_bytes,
            node: around.node,
            lasting: self.gates.held(SignalKind::MemoryRunaway, now),
        });
        match (near, climbing) {
            (Some(near @ Reading::Violates(_)), _) => near,
            (Some(Reading::Between), Reading::Normal) => Reading::Between,
            (_, climbing) => climbing,
        }
    }

    /// Looks whether what every sample has is in this one; a sample that has it ends what was missing.
    pub(super) fn read_absence(
        &mut self,
        sample: &Sample,
        around: &Surroundings<'_>,
        scene: &Scene<'_>,
    ) -> Option<Signal> {
        let kind = SignalKind::TelemetryMissing;
        let late = around.settings.telemetry_after;
        match self.beside.absence.read(sample, scene.now.run, late) {
            reading @ Reading::Violates(_) => {
                self.gates.step(kind, reading, absence::CONFIRM, scene)
            }
            Reading::Between | Reading::Normal | Reading::Unknown => {
                self.gates.resolve(kind, "its samples are back", scene)
            }
        }
    }

    /// Judges how near it is to the number of tasks it may have.
    pub(super) fn read_tasks(&mut self, sample: &Sample, scene: &Scene<'_>) -> Option<Signal> {
        let run = scene.now.run;
        let uptime = self.starts.uptime(run);
        let tasks = &mut self.beside.tasks;
        let reading = tasks.read(&self.name, &sample.metrics, run, uptime);
        self.gates
            .step(SignalKind::LimitNear, reading, tasks::CONFIRM, scene)
    }

    /// Takes what moved since the sample before.
    pub(super) fn follow_movement(&mut self, rates: &Rates, run: Steady) {
        let told = match self.gates.is_open(SignalKind::Standstill) {
            true => Told::Yes,
            false => Told::No,
        };
        self.beside.standstill.advance(run, rates, told);
    }

    /// Judges what does not move any more.
    pub(super) fn read_standstill(&mut self, scene: &Scene<'_>) -> Option<Signal> {
        let kind = SignalKind::Standstill;
        let run = scene.now.run;
        let reading = self.beside.standstill.read(&self.name, run);
        let lasting = self.violating(kind, &reading, run);
        if lasting.is_some_and(|lasting| lasting >= standstill::RELEARN_AFTER) {
            self.frozen.remove(&kind);
            self.beside.standstill = Standstill::default();
            return self.gates.resolve(kind, "this is the new normal", scene);
        }
        match self.is_explained(kind) && !self.gates.is_open(kind) {
            true => None,
            false => self.gates.step(kind, reading, standstill::CONFIRM, scene),
        }
    }

    /// How long a kind has violated without calm between.
    pub(crate) fn violating(
        &mut self,
        kind: SignalKind,
        reading: &Reading,
        run: Steady,
    ) -> Option<Duration> {
        match reading {
            Reading::Violates(_) => {
                self.frozen.entry(kind).or_insert(run);
            }
            Reading::Normal => {
                self.frozen.remove(&kind);
            }
            Reading::Between | Reading::Unknown => {}
        }
        self.frozen.get(&kind).map(|since| run.since(*since))
    }

    /// Whether something open or stirring says what a deviation of this kind is a symptom of. A climb far from any limit explains
    /// the memory alone.
    pub(super) fn is_explained(&self, kind: SignalKind) -> bool {
        EXPLAINS.iter().any(|cause| {
            let all = *cause != SignalKind::MemoryRunaway
                || self.beside.near_limit
                || kind == SignalKind::MemoryAnomaly;
            all && self.gates.is_stirring(*cause)
        })
    }

    /// How it is compared with its siblings; none while it is too young, or its numbers are few.
    pub(crate) fn as_replica(&self) -> Option<Replica<'_>> {
        let uptime = self.starts.uptime(self.last.run);
        let grown = uptime.is_none_or(|uptime| uptime >= UPTIME_MIN);
        let (rx, tx) = (self.usual.rx_bytes.level(), self.usual.tx_bytes.level());
        (grown && self.beside.recent.is_settled()).then(|| Replica {
            name: self.name.as_str(),
            recent: &self.beside.recent,
            usual_traffic: rx.zip(tx).map(|(rx, tx)| rx + tx),
            history: self.history(),
            standing: match self.gates.is_open(SignalKind::OddReplica) {
                true => Standing::Odd,
                false => Standing::Ordinary,
            },
        })
    }

    /// Whether it is known already what is wrong with it, so that it need not be called odd as well.
    pub(crate) fn is_sick(&self) -> bool {
        let kinds = [
            SignalKind::Hang,
            SignalKind::CrashLoop,
            SignalKind::Unhealthy,
        ];
        kinds.iter().any(|kind| self.gates.is_open(*kind))
            || (self.beside.near_limit && self.gates.is_open(SignalKind::MemoryRunaway))
    }

    /// Since when it has been odd without a break.
    pub(crate) fn odd_since(&mut self, run: Steady, odd: Option<()>) -> Option<Steady> {
        match odd {
            Some(()) => Some(*self.frozen.entry(SignalKind::OddReplica).or_insert(run)),
            None => {
                self.frozen.remove(&SignalKind::OddReplica);
                None
            }
        }
    }

    /// Takes its rises above the usual into account.
    pub(crate) fn rises(&self, risers: Risers) -> Risers {
        let rise = |now: Option<f64>, usual: &crate::baseline::Baseline| {
            now.unwrap_or(0.0) - usual.level().unwrap_or(0.0)
        };
        let (features, usual) = (&self.features, &self.usual);
        risers.note(
            &self.name,
            rise(features.cpu_cores, &usual.cpu_cores),
            rise(features.memory_bytes, &usual.memory_bytes),
            rise(features.io_bytes, &usual.io_bytes),
        )
    }
}
