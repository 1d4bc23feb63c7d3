//! What trained models say of containers.

use units::{ContainerId, ContainerState, ServiceId, Signal, SignalKind};

use super::{Detector, subject};
use crate::container::ServiceStanding;
use crate::gate::{Reading, Scene};
use crate::rules::pattern::{self, PatternScore};

const KIND: SignalKind = SignalKind::UnusualPattern;

/// How a container stands, for whoever learns from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is not followed.
    Unknown,
    /// Nothing is known to be wrong with it.
    Sound,
    /// A rule says what is wrong with it: what it does now is not what it usually does.
    Sick,
}

impl Detector {
    /// How a container stands.
    pub fn condition(&self, service: &ServiceId, container: &ContainerId) -> Condition {
        let known = self.services.get(service);
        match known.and_then(|known| known.containers.get(container)) {
            None => Condition::Unknown,
            Some(container) if container.is_sick() => Condition::Sick,
            Some(_) => Condition::Sound,
        }
    }

    /// Takes what a model says of a container, as of its newest sample. Where something else about it is open, or its service is
    /// overloaded, that is the reason, and it is not said again in other words.
    pub fn pattern(
        &mut self,
        service: &ServiceId,
        id: &ContainerId,
        score: &PatternScore,
        traceparent: Option<&str>,
    ) -> Option<Signal> {
        let known = self.services.get(service)?;
        let overloaded = known.standing() == ServiceStanding::Overloaded;
        let container = known.containers.get(id)?;
        if container.state != ContainerState::Running {
            return None;
        }
        let now = container.last;
        let node = self.standing(&container.node, now);
        let update_every = self.settings.update_every;
        let container = self.services.get_mut(service)?.containers.get_mut(id)?;
        let scene = Scene {
            now,
            subject: subject(service, id, container),
            traceparent,
            update_every,
        };
        let told = container.gates.open().any(|(kind, _)| kind != KIND);
        let reading = match (overloaded || told) && !container.gates.is_open(KIND) {
            true => Reading::Unknown,
            false => {
                let started = container.started(now.run);
                let uptime = started.map(|started| now.run.since(started));
                let lasting = container.gates.held(KIND, now);
                node.explain(pattern::read(&container.name, score, uptime, lasting))
            }
        };
        container
            .gates
            .step(KIND, reading, pattern::CONFIRM, &scene)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use units::{Feedback, Metric, Opinion, SignalPhase};

    use super::*;
    use crate::rules::pattern::PatternFeature;
    use crate::testing::{Hung, Machine, World};

    fn score(decades: f64) -> PatternScore {
        PatternScore {
            decades,
            features: vec![PatternFeature {
                metric: Metric::CpuUsage,
                observed: 0.1,
                expected: (0.4, 0.6),
            }],
            learned: Duration::from_secs(90_000),
        }
    }

    /// Ten seconds, and then what a model says of them.
    fn row(world: &mut World, decades: f64) -> Option<Signal> {
        world.run(10);
        let (service, id) = ("patient".into(), "id-of-demo-patient".into());
        world.detector.pattern(&service, &id, &score(decades), None)
    }

    fn world() -> World {
        let mut world = World::new(3, vec![Machine::patient()]);
        world.run(60);
        world
    }

    /// Rows until a signal of that phase comes, and that.
    fn rows_until(world: &mut World, decades: f64, phase: SignalPhase) -> (u32, Signal) {
        let mut found = (1..200).filter_map(|rows| Some((rows, row(world, decades)?)));
        found.find(|(_, signal)| signal.phase == phase).unwrap()
    }

    #[test]
    fn it_takes_five_rows_to_open_and_six_to_resolve() {
        let mut world = world();
        assert_eq!(row(&mut world, 0.1), None);
        let (rows, open) = rows_until(&mut world, 4.0, SignalPhase::Open);
        assert_eq!((rows, open.kind), (5, KIND));
        assert_eq!(open.severity, units::Severity::Info);
        assert_eq!(open.evidence[0].expected_high, 0.6);
        assert_eq!(open.subject.to_string(), "demo-patient");
        let (rows, resolve) = rows_until(&mut world, 0.1, SignalPhase::Resolve);
        assert_eq!((rows, resolve.id), (6, open.id));
    }

    #[test]
    fn a_single_odd_row_smoothed_over_three_opens_nothing() {
        let mut world = world();
        for _ in 0..10 {
            for decades in [6.0, 6.0, 6.0, 2.5, 1.0, 0.5] {
                assert_eq!(row(&mut world, decades), None);
            }
        }
    }

    #[test]
    fn what_lasts_becomes_a_warning() {
        let mut world = world();
        rows_until(&mut world, 4.0, SignalPhase::Open);
        let told: Vec<Signal> = (0..80).filter_map(|_| row(&mut world, 4.0)).collect();
        let first = told
            .iter()
            .find(|it| it.severity == units::Severity::Warning);
        let opened_at = first.unwrap().opened_at;
        let waited = first.unwrap().at.since(opened_at);
        assert!((540..=600).contains(&waited.as_secs()), "{waited:?}");
    }

    #[test]
    fn where_a_rule_says_what_is_wrong_it_is_silent() {
        let mut world = world();
        let id = (
            ServiceId::from("patient"),
            ContainerId::from("id-of-demo-patient"),
        );
        assert_eq!(world.detector.condition(&id.0, &id.1), Condition::Sound);
        world.run(200);
        world.machine("demo-patient").hung = Hung::Yes;
        world.run_until(SignalKind::Hang, SignalPhase::Open);
        assert_eq!(world.detector.condition(&id.0, &id.1), Condition::Sick);
        for _ in 0..8 {
            assert_eq!(row(&mut world, 6.0), None);
        }
        let nobody = world.detector.condition(&id.0, &ContainerId::from("else"));
        assert_eq!(nobody, Condition::Unknown);
    }

    #[test]
    fn what_was_dismissed_must_last_longer_and_lie_further_out() {
        let mut world = world();
        let (_, open) = rows_until(&mut world, 4.0, SignalPhase::Open);
        rows_until(&mut world, 0.1, SignalPhase::Resolve);
        let dismissed = Feedback::of(&open, Opinion::Dismissed, open.at, None);
        world.detector.feedback(&dismissed);
        let same = (0..60).find_map(|_| row(&mut world, 4.0));
        assert_eq!(same, None, "it is as far out as what was dismissed");
    }
}
