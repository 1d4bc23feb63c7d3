//! What a container shows beside its own series: how its memory climbs, its connections, and how it compares with its siblings.

use serde::{Deserialize, Serialize};
use units::{ContainerId, Link, Sample, ServiceId, Signal, SignalKind, Steady, Subject};

use super::{Container, EXPLAINS, Surroundings};
use crate::clock::Moment;
use crate::features::Features;
use crate::gate::{Reading, Scene};
use crate::rules::leak::{Climb, Leak};
use crate::rules::links::{self, Links, Relearnt};
use crate::rules::memory::Memory;
use crate::rules::node::Risers;
use crate::rules::peers::{Recent, Replica, Standing, UPTIME_MIN};

/// What is known of a container beside its own series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// How it compares with its siblings.
    pub(crate) recent: Recent,
    links: Links,
    leak: Leak,
    /// Its memory runs away towards its limit, not merely upwards.
    near_limit: bool,
}

impl Beside {
    /// Takes a sample, and gives its I/O smoothed.
    pub(super) fn advance(
        &mut self,
        features: &Features,
        sample: &Sample,
        run: Steady,
    ) -> Option<f64> {
        self.links.count(run, &sample.metrics);
        self.recent.advance(features, &sample.metrics)
    }

    /// Forgets what belongs to one run of the process.
    pub(super) fn forget(&mut self) {
        self.recent.forget();
        self.links.forget();
        self.leak.forget();
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
        let subject = Subject::container(
            service.clone(),
            self.node.clone(),
            id.clone(),
            self.name.clone(),
        );
        let scene = Scene {
            now,
            subject,
            traceparent: around.traceparent,
            update_every: around.settings.update_every,
        };
        match reading {
            Ok(reading) => self.gates.step(kind, reading, links::CONFIRM, &scene),
            Err(Relearnt) => self.gates.resolve(kind, "this is the new normal", &scene),
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
