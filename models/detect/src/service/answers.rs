//! Compares what callers get from the replicas of a service.

use units::{ContainerId, ContainerState, Point, ServiceId, Signal, SignalKind};

use super::{Service, elapsed};
use crate::clock::Moment;
use crate::container::Surroundings;
use crate::gate::Reading;
use crate::rules::answers::{CONFIRM, Served};

const KIND: SignalKind = SignalKind::RequestAnomaly;
/// Fellows that are compared with; more would say the same.
const FELLOWS_MAX: usize = 32;

impl Service {
    /// Takes what a balancer counts of one of its containers, read at `now`.
    pub(crate) fn answers(
        &mut self,
        (service, id): (&ServiceId, &ContainerId),
        points: &[&Point],
        now: Moment,
        around: &Surroundings<'_>,
    ) -> Option<Signal> {
        let fellows = self.fellows(id, now);
        let container = self.containers.get_mut(id)?;
        container.beside.answers.advance(points, now.run);
        let scene = container.scene(service, id, now, around);
        let is_young = container.is_young(now.run, around.settings.grace);
        if is_young || container.state != ContainerState::Running {
            return None;
        }
        if fellows.is_empty() {
            container.violating(KIND, &Reading::Normal, now.run);
            return container
                .gates
                .resolve(KIND, "it has no fellows to be compared with", &scene);
        }
        let lasting = container.gates.held(KIND, now);
        let answers = &container.beside.answers;
        let reading = answers.judge(&container.name, now.run, &fellows, lasting);
        let violating = container.violating(KIND, &reading, now.run);
        if violating.is_some_and(|it| it >= around.settings.relearn_after) {
            container.beside.answers.accustom(&fellows);
        }
        container.gates.step(KIND, reading, CONFIRM, &scene)
    }

    /// What the others have to show that are asked as well.
    fn fellows(&self, id: &ContainerId, now: Moment) -> Vec<Served> {
        let Some(own) = self.containers.get(id) else {
            return Vec::new();
        };
        let others = self.containers.iter().filter(|(it, _)| *it != id);
        let served = others.filter_map(|(_, container)| {
            // Their pages were read by another clock where they are on another node.
            let passed = elapsed((&container.node, container.last), (&own.node, now));
            let then = container.last.run + passed;
            let runs = container.state == ContainerState::Running;
            runs.then(|| container.beside.answers.served(then))
                .flatten()
        });
        served.take(FELLOWS_MAX).collect()
    }
}
