//! The log lines of one service: each to its container, and what is new to all of them.

use units::{LogLine, Signal, SignalKind, Steady, Subject};

use crate::clock::Moment;
use crate::container::Surroundings;
use crate::gate::Scene;
use crate::logs::Delivery;
use crate::rules::novelty;
use crate::service::Service;
use crate::template::LineTemplate;

impl Service {
    /// Takes a line, written at `now`. Lines of containers without a sample yet are not counted.
    pub(crate) fn line(
        &mut self,
        line: &LogLine,
        template: Option<&LineTemplate<'_>>,
        now: Moment,
        around: &Surroundings<'_>,
        out: &mut Vec<Signal>,
    ) {
        let Some(container) = self.containers.get_mut(&line.container) else {
            return;
        };
        let delivery = container.line(line, template, now.run, around, out);
        let settled = |started: Steady| now.run.since(started) >= novelty::AFTER_START;
        let settled = container.started(now.run).is_none_or(settled);
        let (Delivery::First, true, Some(template)) = (delivery, settled, template) else {
            return;
        };
        let reading = self.novelties.read(line, template, now.at);
        if matches!(reading, crate::gate::Reading::Violates(_)) {
            // Its containers' nodes have only the time of day in common.
            let scene = scene(&line.service, Moment::of(now.at), around);
            let kind = SignalKind::LogNovelty;
            out.extend(self.gates.step(kind, reading, novelty::CONFIRM, &scene));
        }
    }

    /// Ends the novelty of lines that stopped, or are known by now.
    pub(crate) fn settle_novelties(&mut self, scene: &Scene<'_>, out: &mut Vec<Signal>) {
        let kind = SignalKind::LogNovelty;
        if self.gates.is_open(kind) && self.novelties.is_over(scene.now.at) {
            let why = "none of the new lines came for a minute, or they are known by now";
            out.extend(self.gates.resolve(kind, why, scene));
        }
    }
}

fn scene<'a>(service: &units::ServiceId, now: Moment, around: &Surroundings<'a>) -> Scene<'a> {
    Scene {
        now,
        subject: Subject::service(service.clone()),
        traceparent: around.traceparent,
        update_every: around.settings.update_every,
    }
}
