//! What holds whatever is told, and in whatever order.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use units::*;

use crate::testing::*;
use crate::weights::{KEPT, LINKS_MAX, NEWS_MAX, SIGNALS_EVICTED, SIGNALS_MAX, STORIES_MAX};
use crate::{Event, Incident, Incidents};

const SERVICES: [&str; 5] = ["web", "api", "db", "cache", "batch"];
const NODES: [&str; 2] = ["node-a", "node-b"];

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        6 => (select(&SERVICES[..]), select(&NODES[..])).prop_map(|(service, node)| replica(service, node)),
        2 => select(&SERVICES[..]).prop_map(|service| Subject::service(ServiceId::from(service))),
        1 => select(&NODES[..]).prop_map(|node| Subject::node(NodeId::from(node))),
    ]
}

/// One opening of a signal with some of its states.
fn any_signal() -> impl Strategy<Value = Vec<Told>> {
    (
        select(&SignalKind::ALL[..]),
        any_subject(),
        0..2_000_i64,
        1..900_i64,
        0..3_usize,
    )
        .prop_map(|(kind, subject, opened, lasts, states)| {
            let open = risen(kind, subject, opened, "cpu");
            let mut update = open.clone();
            update.phase = SignalPhase::Update;
            update.at = at(opened + lasts / 2);
            let end = over(open.clone(), opened + lasts);
            let mut told = vec![Told::Signal(open), Told::Signal(update), Told::Signal(end)];
            told.truncate(states + 1);
            told
        })
}

fn any_other() -> impl Strategy<Value = Told> {
    let service = || select(&SERVICES[..]);
    prop_oneof![
        (service(), service()).prop_map(|(caller, callee)| calls(caller, callee)),
        (service(), 0..2_000_i64).prop_map(|(service, done)| limits_lowered(service, done, &[])),
        // A container is on one node for as long as it is there.
        (service(), 0..2_000_i64, 0..4_u8).prop_map(|(service, when, kind)| {
            let kind = match kind {
                0 => EventKind::Created,
                1 => EventKind::Updated,
                2 => EventKind::OutOfMemory,
                _ => EventKind::Stopping { signal: None },
            };
            event(service, "node-a", when, kind)
        }),
    ]
}

fn any_story() -> impl Strategy<Value = Vec<Told>> {
    let signals = proptest::collection::vec(any_signal(), 0..12);
    // So few that nothing of one container is beyond its bound.
    let others = proptest::collection::vec(any_other(), 0..NEWS_MAX);
    (signals, others).prop_map(|(signals, others)| {
        let mut story: Vec<Told> = signals.into_iter().flatten().chain(others).collect();
        let containers = SERVICES.map(|service| container(service, -100, "sha256:1"));
        story.push(inventory("node-a", 0, containers.to_vec()));
        story
    })
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        story in any_story(),
        order in proptest::collection::vec(any::<Index>(), 60),
    ) {
        let expected = told(at(3_000), &story).all().to_vec();
        let mut shuffled = story.clone();
        for (position, index) in order.iter().enumerate() {
            if !story.is_empty() {
                let len = shuffled.len();
                shuffled.swap(position % len, index.index(len));
            }
            shuffled.push(shuffled[index.index(shuffled.len())].clone());
        }
        let again = told(at(3_000), &shuffled);
        prop_assert_eq!(again.all(), &expected[..]);
    }

    #[test]
    fn each_signal_is_in_one_incident_and_each_incident_has_a_cause(story in any_story()) {
        let incidents = told(at(3_000), &story);
        let mut seen: Vec<&SignalId> = incidents.all().iter().flat_map(|it| &it.signals).collect();
        let total = seen.len();
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), total);
        for one in &story {
            if let Told::Signal(signal) = one {
                prop_assert!(incidents.of_signal(&signal.id).is_some());
            }
        }
        for incident in incidents.all() {
            prop_assert!(incident.began_at <= incident.opened_at);
            let scores: Vec<f64> = incident.causes.iter().map(|it| it.score.get()).collect();
            prop_assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", scores);
            let of_service = incident.subjects.iter().any(|it| it.service.is_some());
            prop_assert!(!of_service || !incident.causes.is_empty());
        }
    }

    #[test]
    fn incidents_survive_the_wire(story in any_story()) {
        let incidents = told(at(3_000), &story);
        let json = serde_json::to_string(incidents.all()).unwrap();
        let back: Vec<Incident> = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back[..], incidents.all());
    }
}

#[test]
fn what_is_remembered_of_signals_is_bounded_and_open_incidents_are_the_last_to_go() {
    let mut incidents = Incidents::default();
    let open = signal(SignalKind::Hang, replica("kept", "node-k"), 0);
    incidents.handle(at(0), Event::Signal(&open));
    for n in 1..(SIGNALS_MAX + 3 * SIGNALS_EVICTED) as i64 {
        let node = format!("node-{n}");
        let one = signal(SignalKind::CrashLoop, replica(&node, &node), n);
        incidents.handle(at(n), Event::Signal(&over(one, n + 1)));
        assert!(incidents.remembered() <= SIGNALS_MAX);
    }
    assert!(incidents.of_signal(&open.id).is_some());
}

#[test]
fn links_and_changes_are_bounded() {
    let mut incidents = Incidents::default();
    let Told::Links(mut links) = calls("web", "db") else {
        unreachable!("calls tells links");
    };
    for n in 0..LINKS_MAX + 50 {
        links[0].peer_service = Some(ServiceId::new(format!("db-{n}")));
        incidents.handle(at(0), Event::Links(&links));
    }
    assert!(incidents.remembered() <= LINKS_MAX);
    let mut incidents = Incidents::default();
    for n in 0..STORIES_MAX + 50 {
        let Told::Container(mut event) = event("web", "node-a", 0, EventKind::Created) else {
            unreachable!("event tells an event");
        };
        event.container = ContainerId::new(format!("c{n}"));
        event.at = at(n as i64 / 100);
        incidents.handle(at(100), Event::Container(&event));
    }
    assert!(incidents.remembered() <= STORIES_MAX);
}

#[test]
fn what_is_over_for_a_day_is_forgotten() {
    let hang = signal(SignalKind::Hang, replica("web", "node-a"), 0);
    let mut incidents = told(
        at(10),
        &[
            Told::Signal(over(hang, 10)),
            calls("web", "db"),
            limits_lowered("web", 0, &[]),
            event("web", "node-a", 0, EventKind::Updated),
        ],
    );
    assert_eq!(incidents.all().len(), 1);
    let later = signal(SignalKind::Hang, replica("api", "node-b"), 100_000);
    incidents.handle(later.at, Event::Signal(&later));
    assert!(later.at.since(at(10)) > KEPT);
    assert_eq!(incidents.all().len(), 1);
    assert_eq!(incidents.remembered(), 1);
}
