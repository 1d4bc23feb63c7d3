//! Scripted faults, each with the cause an operator would name.

use units::*;

use crate::testing::*;
use crate::{CauseKind, Incident, Incidents, NotFound, Origin};

fn only(incidents: &Incidents) -> &Incident {
    assert_eq!(incidents.all().len(), 1, "{:#?}", incidents.all());
    &incidents.all()[0]
}

/// Kind, subject and sentence of the first cause.
fn first(incident: &Incident) -> (CauseKind, String, &str) {
    let cause = &incident.causes[0];
    (cause.kind, cause.subject.to_string(), &cause.sentence)
}

#[test]
fn a_noisy_neighbour_is_named_and_not_those_that_wait() {
    let mut story = vec![
        Told::Signal(risen(
            SignalKind::CpuAnomaly,
            replica("batch", "node-a"),
            0,
            "cpu",
        )),
        Told::Signal(signal(
            SignalKind::NetworkDelay,
            replica("web", "node-a"),
            12,
        )),
        Told::Signal(signal(SignalKind::Hang, replica("api", "node-a"), 20)),
    ];
    let incidents = told(at(30), &story);
    let incident = only(&incidents);
    assert_eq!(
        first(incident),
        (
            CauseKind::NoisyNeighbour,
            "batch-1".to_owned(),
            "batch-1 took more CPU of node node-a than it ever did, and api and web beside it suffered"
        )
    );
    assert_eq!(incident.causes[0].origin, Origin::Host);
    assert_eq!(incident.causes[0].evidence.len(), 3);
    // The node's own word makes it surer, and does not take its place.
    let node = Subject::node(NodeId::from("node-a"));
    story.push(Told::Signal(risen(
        SignalKind::NodePressure,
        node,
        8,
        "node_cpu_busy",
    )));
    let confirmed = told(at(30), &story);
    assert_eq!(first(only(&confirmed)).0, CauseKind::NoisyNeighbour);
    assert!(only(&confirmed).causes[0].score.get() > incident.causes[0].score.get());
}

#[test]
fn a_slow_dependency_is_named_and_not_its_callers_even_when_they_are_seen_first() {
    let story = [
        calls("web", "api"),
        calls("api", "db"),
        Told::Signal(signal(SignalKind::ErrorLogs, replica("web", "node-a"), 0)),
        Told::Signal(signal(
            SignalKind::Overload,
            Subject::service(ServiceId::from("api")),
            3,
        )),
        Told::Signal(signal(SignalKind::Hang, replica("db", "node-b"), 8)),
    ];
    let incidents = told(at(30), &story);
    let incident = only(&incidents);
    assert_eq!(
        first(incident),
        (
            CauseKind::Dependency,
            "db-1".to_owned(),
            "db-1 gets requests and does no work; api and web depend on it and turned sick with it"
        )
    );
    assert_eq!(incident.causes[0].origin, Origin::Container);
    assert_eq!(incident.opened_at, at(0));
}

#[test]
fn a_dependency_is_found_through_compose_and_through_a_silent_service() {
    let containers = vec![
        composed("web", &["api"]),
        composed("api", &["db"]),
        composed("db", &[]),
    ];
    let story = [
        inventory("node-a", 0, containers),
        Told::Signal(signal(
            SignalKind::MemoryRunaway,
            replica("db", "node-a"),
            0,
        )),
        Told::Signal(signal(SignalKind::ErrorLogs, replica("web", "node-a"), 400)),
    ];
    let incidents = told(at(500), &story);
    assert_eq!(first(only(&incidents)).1, "db-1");
}

#[test]
fn a_deploy_just_before_a_crash_loop_is_named_with_the_image() {
    let mut old = container("web", -50_000, "sha256:old");
    old.id = ContainerId::from("old-id");
    let story = [
        inventory("node-a", -1_000, vec![old]),
        inventory("node-a", 1, vec![container("web", 0, "sha256:new")]),
        event("web", "node-a", 0, EventKind::Created),
        event("web", "node-a", 5, EventKind::Died { exit_code: Some(1) }),
        Told::Signal(signal(SignalKind::CrashLoop, replica("web", "node-a"), 20)),
    ];
    let incidents = told(at(30), &story);
    let incident = only(&incidents);
    assert_eq!(
        first(incident),
        (
            CauseKind::Deploy,
            "web-1".to_owned(),
            "web-1 was made from image shop/web:sha256:new, where shop/web:sha256:old ran before, 20 s before web turned sick"
        )
    );
    assert_eq!(incident.causes[1].kind, CauseKind::Workload);
    let ended = "web-1 ended with exit code 1";
    assert!(
        incident.causes[1]
            .evidence
            .iter()
            .any(|fact| fact.text == ended)
    );
}

#[test]
fn a_deploy_long_before_is_not_blamed() {
    let story = [
        inventory("node-a", 1, vec![container("web", 0, "sha256:new")]),
        Told::Signal(signal(SignalKind::CrashLoop, replica("web", "node-a"), 500)),
        Told::Signal(signal(SignalKind::Hang, replica("api", "node-b"), 500)),
    ];
    let incidents = told(at(600), &story);
    assert_eq!(incidents.all().len(), 2);
    for incident in incidents.all() {
        assert_eq!(first(incident).0, CauseKind::Workload);
    }
}

#[test]
fn one_new_image_in_two_services_is_one_incident() {
    let mut before = vec![
        container("web", -50_000, "sha256:old"),
        container("api", -50_000, "sha256:old"),
    ];
    for (record, id) in before.iter_mut().zip(["old-web", "old-api"]) {
        record.id = ContainerId::from(id);
    }
    let story = [
        inventory("node-a", -10, vec![before.remove(0)]),
        inventory("node-b", -10, vec![before.remove(0)]),
        inventory("node-a", 1, vec![container("web", 0, "sha256:new")]),
        inventory("node-b", 1, vec![container("api", 2, "sha256:new")]),
        Told::Signal(signal(SignalKind::CrashLoop, replica("web", "node-a"), 20)),
        Told::Signal(signal(SignalKind::ErrorLogs, replica("api", "node-b"), 40)),
    ];
    let incidents = told(at(60), &story);
    let incident = only(&incidents);
    assert_eq!(first(incident).0, CauseKind::Deploy);
}

#[test]
fn two_unrelated_faults_at_the_same_time_stay_two() {
    let story = [
        calls("web", "db"),
        Told::Signal(signal(SignalKind::Hang, replica("web", "node-a"), 0)),
        Told::Signal(signal(SignalKind::CrashLoop, replica("mail", "node-b"), 1)),
    ];
    let incidents = told(at(10), &story);
    let mut names: Vec<_> = incidents.all().iter().map(|it| first(it).1).collect();
    names.sort();
    assert_eq!(names, ["mail-1", "web-1"]);
}

#[test]
fn incidents_merge_when_a_signal_relates_to_both_and_are_found_by_their_old_ids() {
    let web = signal(SignalKind::ErrorLogs, replica("web", "node-a"), 0);
    let mail = signal(SignalKind::ErrorLogs, replica("mail", "node-b"), 5);
    let db = signal(SignalKind::Hang, replica("db", "node-c"), 6);
    let mut story = vec![
        calls("web", "db"),
        calls("mail", "db"),
        Told::Signal(web),
        Told::Signal(mail),
    ];
    let two = told(at(10), &story);
    let old: Vec<_> = two.all().iter().map(|it| it.id.clone()).collect();
    assert_eq!(old.len(), 2);
    story.push(Told::Signal(db.clone()));
    let one = told(at(10), &story);
    let merged = only(&one);
    assert_eq!(first(merged).1, "db-1");
    for id in &old {
        assert_eq!(one.find(id.as_str()).unwrap().id, merged.id);
    }
    assert_eq!(one.find(db.id.as_str()).unwrap().id, merged.id);
    assert_eq!(one.of_signal(&db.id).unwrap().id, merged.id);
    assert!(old.contains(&merged.id));
    assert!(matches!(one.find("zzz"), Err(NotFound::Unknown(_))));
    let unclear = two.find("i").unwrap_err();
    assert!(
        unclear.to_string().contains("2 incidents' ids"),
        "{unclear}"
    );
}

#[test]
fn a_node_out_of_memory_is_the_hosts_fault() {
    let node = Subject::node(NodeId::from("node-a"));
    let story = [
        Told::Signal(risen(
            SignalKind::NodePressure,
            node,
            0,
            "node_memory_available_bytes",
        )),
        event("web", "node-a", 10, EventKind::OutOfMemory),
        event("api", "node-a", 14, EventKind::OutOfMemory),
        Told::Signal(signal(SignalKind::CrashLoop, replica("web", "node-a"), 60)),
        Told::Signal(signal(SignalKind::CrashLoop, replica("api", "node-a"), 70)),
    ];
    let incidents = told(at(90), &story);
    let incident = only(&incidents);
    assert_eq!(
        first(incident),
        (
            CauseKind::Node,
            "node node-a".to_owned(),
            "node node-a is short of memory; api and web on it turned sick"
        )
    );
    assert_eq!(incident.causes[0].origin, Origin::Host);
    let killed = "the kernel killed web-1 for want of memory";
    assert!(
        incident.causes[0]
            .evidence
            .iter()
            .any(|fact| fact.text == killed)
    );
}

#[test]
fn who_fills_the_nodes_memory_is_named_before_the_node() {
    let node = Subject::node(NodeId::from("node-a"));
    let story = [
        Told::Signal(signal(
            SignalKind::MemoryRunaway,
            replica("leak", "node-a"),
            0,
        )),
        Told::Signal(risen(
            SignalKind::NodePressure,
            node,
            30,
            "node_memory_available_bytes",
        )),
        Told::Signal(signal(SignalKind::CrashLoop, replica("web", "node-a"), 60)),
    ];
    let incidents = told(at(90), &story);
    assert_eq!(first(only(&incidents)).0, CauseKind::NoisyNeighbour);
    assert_eq!(first(only(&incidents)).1, "leak-1");
}

#[test]
fn several_services_sick_at_once_on_one_node_point_to_it() {
    let sick = ["a", "b", "c", "d"];
    let story: Vec<Told> = sick
        .iter()
        .zip(0..)
        .map(|(name, n)| {
            Told::Signal(signal(
                SignalKind::UnusualPattern,
                replica(name, "node-a"),
                n,
            ))
        })
        .collect();
    let incidents = told(at(10), &story);
    assert_eq!(first(only(&incidents)).0, CauseKind::Node);
    // Crash loops and errors have no more in common than the machine.
    let story: Vec<Told> = sick
        .iter()
        .map(|name| Told::Signal(signal(SignalKind::CrashLoop, replica(name, "node-a"), 0)))
        .collect();
    assert_eq!(told(at(10), &story).all().len(), 4);
}

#[test]
fn troubles_one_after_the_other_on_one_node_do_not_point_to_it() {
    let hog = signal(SignalKind::CpuAnomaly, replica("batch", "node-a"), 0);
    let later = signal(SignalKind::OddReplica, replica("web", "node-a"), 55);
    let at_once = told(
        at(60),
        &[Told::Signal(hog.clone()), Told::Signal(later.clone())],
    );
    assert_eq!(at_once.all().len(), 1);
    let story = [
        Told::Signal(hog.clone()),
        Told::Signal(over(hog, 30)),
        Told::Signal(later),
    ];
    assert_eq!(told(at(60), &story).all().len(), 2);
}

#[test]
fn what_a_container_keeps_and_says_is_its_own_doing() {
    let leak = signal(SignalKind::MemoryRunaway, replica("cache", "node-a"), 0);
    let storm = signal(SignalKind::LogStorm, replica("chat", "node-a"), 20);
    let incidents = told(at(30), &[Told::Signal(leak), Told::Signal(storm)]);
    assert_eq!(incidents.all().len(), 2);
    for incident in incidents.all() {
        assert_eq!(first(incident).0, CauseKind::Workload);
    }
}

#[test]
fn homeostats_own_action_is_named() {
    let story = [
        limits_lowered("web", 0, &[]),
        // The engine tells of it too; that is not somebody else's change.
        event("web", "node-a", 0, EventKind::Updated),
        Told::Signal(signal(SignalKind::Throttling, replica("web", "node-a"), 9)),
    ];
    let incidents = told(at(30), &story);
    let incident = only(&incidents);
    let (kind, subject, sentence) = first(incident);
    assert_eq!((kind, subject.as_str()), (CauseKind::Action, "web-1"));
    assert!(
        sentence.starts_with("Homeostat itself acted (set limits of web-1"),
        "{sentence}"
    );
    assert!(
        incident
            .causes
            .iter()
            .all(|it| it.kind != CauseKind::Change)
    );
}

#[test]
fn an_action_is_not_blamed_for_the_signal_it_answers() {
    let hang = signal(SignalKind::Hang, replica("web", "node-a"), 9);
    let story = [
        limits_lowered("web", 10, std::slice::from_ref(&hang.id)),
        Told::Signal(hang),
    ];
    let incidents = told(at(30), &story);
    assert_eq!(first(only(&incidents)).0, CauseKind::Workload);
    assert_eq!(only(&incidents).causes.len(), 1);
}

#[test]
fn limits_changed_by_a_person_are_named() {
    let story = [
        event("web", "node-a", 0, EventKind::Updated),
        Told::Signal(signal(SignalKind::Throttling, replica("web", "node-a"), 12)),
    ];
    let incidents = told(at(30), &story);
    assert_eq!(
        first(only(&incidents)),
        (
            CauseKind::Change,
            "web-1".to_owned(),
            "limits or restart policy of web-1 were changed, 12 s before web turned sick"
        )
    );
}

#[test]
fn of_replicas_made_together_the_sick_one_is_named() {
    let replicas = ["web-1", "web-2", "web-3"].map(|name| {
        let mut record = container("web", 0, "sha256:1");
        record.id = ContainerId::from(name);
        record.name = ContainerName::from(name);
        record
    });
    let sick = Subject::container(
        ServiceId::from("web"),
        NodeId::from("node-a"),
        replicas[1].id.clone(),
        replicas[1].name.clone(),
    );
    let story = [
        inventory("node-a", 1, replicas.to_vec()),
        Told::Signal(signal(SignalKind::OddReplica, sick, 60)),
    ];
    let incidents = told(at(90), &story);
    for cause in &only(&incidents).causes {
        assert_eq!(cause.subject.to_string(), "web-2", "{}", cause.sentence);
    }
}

#[test]
fn a_dependency_that_somebody_stopped_is_named_though_it_has_no_signal() {
    let story = [
        calls("web", "db"),
        event("db", "node-b", 0, EventKind::Stopping { signal: None }),
        Told::Signal(signal(SignalKind::ErrorLogs, replica("web", "node-a"), 4)),
    ];
    let incidents = told(at(30), &story);
    assert_eq!(first(only(&incidents)).0, CauseKind::Stop);
    assert_eq!(first(only(&incidents)).1, "db-1");
}

#[test]
fn slow_connections_point_to_the_one_in_the_middle() {
    let story = [
        calls("web", "db"),
        calls("web", "cache"),
        Told::Signal(signal(SignalKind::NetworkDelay, replica("db", "node-b"), 0)),
        Told::Signal(signal(
            SignalKind::NetworkDelay,
            replica("cache", "node-c"),
            1,
        )),
        Told::Signal(signal(
            SignalKind::NetworkDelay,
            replica("web", "node-a"),
            2,
        )),
    ];
    let incidents = told(at(30), &story);
    assert_eq!(first(only(&incidents)).1, "web-1");
}

#[test]
fn an_incident_is_over_with_its_last_signal_and_what_comes_much_later_is_another() {
    let hang = signal(SignalKind::Hang, replica("web", "node-a"), 0);
    let errors = signal(SignalKind::ErrorLogs, replica("web", "node-a"), 10);
    let later = signal(SignalKind::Hang, replica("web", "node-a"), 3_000);
    let mut story = vec![
        Told::Signal(hang.clone()),
        Told::Signal(errors.clone()),
        Told::Signal(over(hang, 30)),
    ];
    assert!(only(&told(at(40), &story)).is_open());
    story.push(Told::Signal(over(errors, 50)));
    assert_eq!(only(&told(at(60), &story)).resolved_at, Some(at(50)));
    story.push(Told::Signal(later));
    let incidents = told(at(3_010), &story);
    let open: Vec<bool> = incidents.all().iter().map(Incident::is_open).collect();
    assert_eq!(open, [true, false]);
}

#[test]
fn lost_telemetry_is_no_ones_symptom() {
    let story = [
        Told::Signal(signal(
            SignalKind::TelemetryLost,
            replica("web", "node-a"),
            0,
        )),
        Told::Signal(signal(SignalKind::Hang, replica("web", "node-a"), 1)),
    ];
    assert_eq!(told(at(10), &story).all().len(), 2);
}

#[test]
fn who_waits_for_the_disk_is_not_blamed_where_somebody_else_takes_it() {
    let waits = |service, opened| {
        risen(
            SignalKind::IoAnomaly,
            replica(service, "node-a"),
            opened,
            "io_waiting_share",
        )
    };
    let takes = risen(
        SignalKind::IoAnomaly,
        replica("batch", "node-a"),
        6,
        "io_bytes_per_second",
    );
    let story = [Told::Signal(waits("db", 0)), Told::Signal(takes)];
    let incidents = told(at(30), &story);
    let incident = only(&incidents);
    assert_eq!(
        first(incident),
        (
            CauseKind::NoisyNeighbour,
            "batch-1".to_owned(),
            "batch-1 took more disk of node node-a than it ever did, and db beside it suffered"
        )
    );
    let blamed = incident.causes.iter();
    let neighbours: Vec<String> = blamed
        .filter(|cause| cause.kind == CauseKind::NoisyNeighbour)
        .map(|cause| cause.subject.to_string())
        .collect();
    assert_eq!(neighbours, ["batch-1"]);
    // Two that wait, and nobody is known to take more: neither is named as the other's trouble.
    let both = [Told::Signal(waits("db", 0)), Told::Signal(waits("web", 4))];
    let incidents = told(at(30), &both);
    let causes = &only(&incidents).causes;
    assert!(
        causes.iter().all(|it| it.kind != CauseKind::NoisyNeighbour),
        "{causes:#?}"
    );
}

#[test]
fn who_alone_waits_for_the_disk_is_taken_to_keep_it_busy() {
    let waits = risen(
        SignalKind::IoAnomaly,
        replica("batch", "node-a"),
        0,
        "io_waiting_share",
    );
    let slow = signal(SignalKind::Hang, replica("api", "node-a"), 10);
    let story = [Told::Signal(waits), Told::Signal(slow)];
    let incidents = told(at(30), &story);
    assert_eq!(
        first(only(&incidents)),
        (
            CauseKind::NoisyNeighbour,
            "batch-1".to_owned(),
            "batch-1 alone waited for the disk of node node-a as it never did, and api beside it suffered"
        )
    );
}

#[test]
fn samples_of_several_containers_that_stop_at_once_point_to_their_node() {
    let missing = |service, opened| {
        let subject = replica(service, "node-a");
        Told::Signal(signal(SignalKind::TelemetryMissing, subject, opened))
    };
    let story = [missing("web", 0), missing("api", 1), missing("db", 1)];
    let incidents = told(at(30), &story);
    let (kind, subject, _) = first(only(&incidents));
    assert_eq!((kind, subject), (CauseKind::Node, "node node-a".to_owned()));
}
