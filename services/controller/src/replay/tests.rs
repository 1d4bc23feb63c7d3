//! Small stories, replayed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use bus::{NewRecord, Position, Record};
use bytes::Bytes;
use kit::config::HumanDuration;
use proptest::prelude::*;
use units::{
    Confidence, ContainerEvent, ContainerId, ContainerName, ContainerRecord, ContainerState,
    EngineInfo, EventKind, Forecast, ForecastPoint, HealthState, LimitRange, Limits, LimitsPolicy,
    LoadMetric, LoadUnit, MetricLoad, MetricTarget, Millicores, Mode, NodeCapacity, NodeFacts,
    NodeId, NodeInventory, Phase, Policy, Ratio, ScalePolicy, ScaleTarget, SeriesSelector,
    ServiceId, Severity, Signal, SignalId, SignalKind, SignalPhase, Subject, Timestamp,
};
use wire::{Json, Meta};

use super::*;

fn second(second: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(second)
}

/// A recording in the making.
#[derive(Default)]
struct Tape {
    records: Vec<Record>,
    offsets: BTreeMap<String, u64>,
}

impl Tape {
    fn put<T: Json>(&mut self, at: Timestamp, value: &T) {
        let NewRecord {
            topic,
            key,
            value,
            headers,
            ..
        } = wire::encode(value, &Meta::new("test"));
        let next = self.offsets.entry(topic.to_string()).or_default();
        let position = Position {
            topic,
            partition: 0,
            offset: *next,
        };
        *next += 1;
        self.records.push(Record {
            position,
            timestamp_ms: at.as_millis(),
            key,
            value,
            headers,
        });
    }

    /// In the order of time, as a recorder leaves them.
    fn sorted(mut self) -> Vec<Record> {
        self.records
            .sort_by(|a, b| (a.timestamp_ms, &a.position).cmp(&(b.timestamp_ms, &b.position)));
        self.records
    }
}

fn container(service: &str, name: &str) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::new(format!("id-{name}")),
        name: ContainerName::from(name),
        service: ServiceId::from(service),
        image: "app:1".to_owned(),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: Some(second(0) - Duration::from_secs(3_600)),
        started_at: Some(second(0) - Duration::from_secs(3_600)),
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            mode: Mode::Act,
            heal: true,
            scale: Some(ScalePolicy {
                min: 1,
                max: 4,
                target: ScaleTarget::Cpu(Ratio::saturating(0.6)),
            }),
            ..Policy::default()
        },
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: None,
    }
}

fn inventory(at: Timestamp, containers: &[ContainerRecord]) -> NodeInventory {
    NodeInventory {
        node: NodeId::from("a"),
        at,
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: containers.to_vec(),
    }
}

fn signal(phase: SignalPhase, opened_at: Timestamp, at: Timestamp) -> Signal {
    let subject = Subject::container(
        ServiceId::from("web"),
        NodeId::from("a"),
        ContainerId::from("id-web-1"),
        ContainerName::from("web-1"),
    );
    let fingerprint = subject.fingerprint(SignalKind::Hang);
    Signal {
        id: SignalId::of(&fingerprint, opened_at),
        fingerprint,
        phase,
        kind: SignalKind::Hang,
        subject,
        severity: Severity::Critical,
        score: Ratio::saturating(0.99),
        confidence: Confidence::High,
        opened_at,
        at,
        reason: "web-1 gets requests and does no work".to_owned(),
        evidence: Vec::new(),
        traceparent: None,
    }
}

fn forecast(at: Timestamp, observed: f64) -> Forecast {
    let point = ForecastPoint {
        ahead: Duration::from_secs(30),
        expected: observed,
        low: observed,
        high: observed,
    };
    Forecast {
        service: ServiceId::from("web"),
        at,
        metric: LoadMetric::CpuMillicores,
        observed,
        recent_peak: observed,
        replicas: 1,
        replica_capacity: Millicores(1_000),
        throttled: 0.0,
        method: "last".to_owned(),
        points: vec![point],
        startup_s: None,
        sizing: None,
        usage: None,
        loads: Vec::new(),
    }
}

/// Ten minutes in which web-1 hangs from second 100 until it is restarted by somebody.
fn hang(until_s: u64) -> Tape {
    let mut tape = Tape::default();
    let held = [container("web", "web-1"), container("db", "db-1")];
    for at_s in (0..600).step_by(5) {
        tape.put(second(at_s), &inventory(second(at_s), &held));
    }
    let opened = second(100);
    tape.put(opened, &signal(SignalPhase::Open, opened, opened));
    for at_s in (130..until_s).step_by(30) {
        let update = signal(SignalPhase::Update, opened, second(at_s));
        tape.put(second(at_s), &update);
    }
    tape.put(second(until_s - 10), &stopped(until_s - 10));
    let over = signal(SignalPhase::Resolve, opened, second(until_s));
    tape.put(second(until_s), &over);
    tape
}

fn stopped(at_s: u64) -> ContainerEvent {
    ContainerEvent {
        at: second(at_s),
        at_unix_ns: None,
        node: NodeId::from("a"),
        service: ServiceId::from("web"),
        container: ContainerId::from("id-web-1"),
        name: ContainerName::from("web-1"),
        kind: EventKind::Stopping { signal: None },
    }
}

fn acting() -> Config {
    Config {
        max_mode: Mode::Act,
        ..Config::default()
    }
}

fn replayed(records: &[Record], from_s: u64, present: &Config, candidate: &Config) -> Report {
    let open = || Ok::<_, Infallible>(records.iter().cloned().map(Ok));
    replay(open, second(from_s), present, Some(candidate))
        .unwrap()
        .unwrap()
}

#[test]
fn what_a_candidate_would_have_done_is_told_beside_what_happened() {
    let records = hang(400).sorted();
    let report = replayed(&records, 0, &Config::default(), &acting());
    assert_eq!(report.recorded.slo_seconds, 300.0);
    assert_eq!(report.present.slo_seconds, 300.0);
    assert!(report.present.plans.is_empty());
    assert_eq!(report.present.differs_from, None);
    let candidate = report.candidate.unwrap();
    assert_eq!(candidate.actions, BTreeMap::from([("restart", 1)]));
    assert_eq!(
        (candidate.slo_seconds, candidate.slo_seconds_assumed_away),
        (1.0, 299.0)
    );
    let plan = &candidate.plans[0];
    assert_eq!(
        (plan.at, plan.outcome, plan.phase),
        (second(100), Source::Assumed, Phase::Judged)
    );
    assert_eq!(plan.steps, ["restart web-1"]);
    let differs = candidate.differs_from.unwrap();
    assert_eq!((differs.at, differs.services), (second(100), 1));
    assert_eq!(differs.seconds, 495.0);
    for figures in [&report.recorded, &report.present] {
        assert!(
            (figures.replica_hours - 2.0 * 595.0 / 3_600.0).abs() < 1e-9,
            "{}",
            figures.replica_hours
        );
    }
}

#[test]
fn a_recorded_plan_is_found_again_with_its_outcome() {
    let mut tape = hang(120);
    // What an acting controller wrote then, taken from a replay of it.
    let mut run = tape.records.clone();
    run.sort_by(|a, b| (a.timestamp_ms, &a.position).cmp(&(b.timestamp_ms, &b.position)));
    for (at, entry) in decided(&run) {
        tape.put(at, &entry);
    }
    let records = tape.sorted();
    let report = replayed(&records, 0, &acting(), &Config::default());
    assert_eq!(
        report.recorded.actions,
        BTreeMap::from([("restart", 1)]),
        "{:?}",
        report.recorded.plans
    );
    assert_eq!(report.present.actions, report.recorded.actions);
    assert_eq!(report.present.plans[0].outcome, Source::Recorded);
    assert_eq!(report.present.differs_from, None);
    assert_eq!(
        report.present.slo_seconds, 20.0,
        "the recording says what it did"
    );
    let candidate = report.candidate.unwrap();
    assert!(candidate.plans.is_empty());
    assert!(
        candidate
            .differs_from
            .unwrap()
            .what
            .starts_with("recorded, and not decided here"),
    );
}

/// The journal of the first plan that an acting policy makes of these records.
fn decided(records: &[Record]) -> Vec<(Timestamp, JournalEntry)> {
    let mut policy = crate::policy::Policy::new(&acting());
    let sources = sources(&acting());
    policy.handle(second(0), Event::Recovered);
    policy.handle(second(0), Event::Leading(units::Generation(1)));
    for record in records {
        let source = sources
            .iter()
            .find(|source| source.topic == &*record.position.topic)
            .unwrap();
        let Ok(Told::Event(event)) = source.decode(record) else {
            continue;
        };
        let now = Timestamp::from_millis(record.timestamp_ms);
        for ruling in policy.handle(now, event) {
            if let crate::policy::Ruling::Write(control::Effect::Journal(entry)) = ruling
                && let JournalEntry::Plan(entry) = *entry
            {
                let outcome = units::Outcome {
                    command: units::CommandId::of(&entry.plan.id, 0),
                    plan: entry.plan.id.clone(),
                    node: NodeId::from("a"),
                    began_at: now,
                    at: now,
                    result: units::OutcomeResult::Succeeded {
                        networks: Vec::new(),
                        sealed: None,
                        created: None,
                        previous: None,
                        image: None,
                    },
                    traceparent: None,
                    note: None,
                };
                let executed = PlanEntry {
                    at: now,
                    phase: Phase::Executed,
                    outcomes: vec![outcome],
                    ..(*entry).clone()
                };
                return [*entry, executed]
                    .map(|entry| (now, JournalEntry::Plan(Box::new(entry))))
                    .into();
            }
        }
    }
    Vec::new()
}

#[test]
fn replicas_that_only_a_candidate_has_carry_the_recorded_load_and_cost() {
    let mut tape = Tape::default();
    for at_s in (0..600).step_by(5) {
        let held = [container("web", "web-1")];
        tape.put(second(at_s), &inventory(second(at_s), &held));
    }
    for at_s in 0..600 {
        let load = if at_s < 100 { 300.0 } else { 1_100.0 };
        tape.put(second(at_s), &forecast(second(at_s), load));
    }
    let records = tape.sorted();
    let report = replayed(&records, 0, &Config::default(), &acting());
    let candidate = report.candidate.unwrap();
    assert_eq!(
        candidate.actions,
        BTreeMap::from([("create_replica", 1)]),
        "{:#?}",
        candidate.plans
    );
    assert!(report.recorded.over_capacity_seconds > 490.0);
    assert!(
        candidate.over_capacity_seconds < 20.0,
        "{}",
        candidate.over_capacity_seconds
    );
    let more = candidate.replica_hours - report.recorded.replica_hours;
    assert!((more * 3_600.0 - 495.0).abs() < 15.0, "{more}");
    assert_eq!(candidate.plans[0].verdict, Some(units::VerdictKind::Helped));
}

#[test]
fn limits_that_only_a_candidate_raises_carry_the_recorded_load() {
    let mut tape = Tape::default();
    let mut web = container("web", "web-1");
    web.limits.cpu = Some(Millicores(1_000));
    web.policy.limits = Some(LimitsPolicy {
        cpu: Some(LimitRange {
            min: Millicores(100),
            max: Millicores(4_000),
        }),
        memory: None,
    });
    for at_s in (0..600).step_by(5) {
        let told = inventory(second(at_s), std::slice::from_ref(&web));
        tape.put(second(at_s), &told);
    }
    for at_s in 0..600 {
        let load = if at_s < 100 { 300.0 } else { 1_100.0 };
        tape.put(second(at_s), &forecast(second(at_s), load));
    }
    let records = tape.sorted();
    let report = replayed(&records, 0, &Config::default(), &acting());
    let candidate = report.candidate.unwrap();
    assert_eq!(
        candidate.actions,
        BTreeMap::from([("update_limits", 1)]),
        "{:#?}",
        candidate.plans
    );
    assert_eq!(candidate.plans[0].steps, ["set limits of web-1: CPU 1840m"]);
    assert_eq!(candidate.plans[0].verdict, Some(units::VerdictKind::Helped));
    assert!(report.recorded.over_capacity_seconds > 490.0);
    assert!(
        candidate.over_capacity_seconds < 20.0,
        "{}",
        candidate.over_capacity_seconds
    );
}

/// A worker that is scaled by what a queue tells, down to none.
fn worker() -> ContainerRecord {
    let target = MetricTarget {
        service: Some(ServiceId::from("queue")),
        metric: SeriesSelector::parse("jobs_waiting").unwrap(),
        per_replica: 100.0,
    };
    let mut worker = container("worker", "worker-1");
    worker.policy.scale = Some(ScalePolicy {
        min: 0,
        max: 4,
        target: ScaleTarget::Metric(Box::new(target)),
    });
    worker
}

/// A queue that tells how many jobs wait, as one container of it.
fn queue(at: Timestamp, jobs: f64) -> Forecast {
    let load = MetricLoad {
        metric: SeriesSelector::parse("jobs_waiting").unwrap(),
        at,
        unit: LoadUnit::Level,
        total: jobs,
        recent_peak: jobs,
        points: Vec::new(),
        containers: 1,
        missing: 0,
    };
    Forecast {
        service: ServiceId::from("queue"),
        loads: vec![load],
        ..forecast(at, 10.0)
    }
}

/// Stopped by one who waits less, and once: it stands still in the candidate's world, where the recording has it run.
#[test]
fn what_only_a_candidate_stops_rests_until_it_starts_it() {
    let mut tape = Tape::default();
    let held = [worker(), container("queue", "queue-1")];
    for at_s in (0..900).step_by(5) {
        tape.put(second(at_s), &inventory(second(at_s), &held));
        let jobs = if at_s < 600 { 0.0 } else { 20.0 };
        tape.put(second(at_s), &queue(second(at_s), jobs));
    }
    let mut soon = acting();
    soon.scale.idle_after = HumanDuration::from_secs(120);
    let report = replayed(&tape.sorted(), 0, &acting(), &soon);
    let candidate = report.candidate.unwrap();
    assert_eq!(
        candidate.actions,
        BTreeMap::from([("restart", 1), ("stop", 1)]),
        "{:#?}",
        candidate.plans
    );
    for plan in &candidate.plans {
        assert_eq!(plan.outcome, Source::Assumed);
        assert_eq!(plan.verdict, Some(units::VerdictKind::Helped), "{plan:?}");
    }
    let less = report.recorded.replica_hours - candidate.replica_hours;
    assert!((less * 3_600.0 - 480.0).abs() < 15.0, "{less}");
    assert!(
        report.present.plans.is_empty(),
        "{:#?}",
        report.present.plans
    );
}

/// The other way round: recorded is a stop and a start, and a candidate that waits longer has it run all the time.
#[test]
fn what_only_the_recording_stops_runs_on_for_a_candidate() {
    let run = |state, ended: Option<u64>, started: Option<u64>| {
        let mut worker = worker();
        worker.state = state;
        worker.finished_at = ended.map(second);
        worker.started_at = started.map(second).or(worker.started_at);
        [worker, container("queue", "queue-1")]
    };
    let mut soon = acting();
    soon.scale.idle_after = HumanDuration::from_secs(120);
    let mut tape = Tape::default();
    for at_s in (0..900).step_by(5) {
        let held = match at_s {
            0..130 => run(ContainerState::Running, None, None),
            130..610 => run(ContainerState::Exited, Some(126), None),
            _ => run(ContainerState::Running, Some(126), Some(606)),
        };
        tape.put(second(at_s), &inventory(second(at_s), &held));
        let jobs = if at_s < 600 { 0.0 } else { 20.0 };
        tape.put(second(at_s), &queue(second(at_s), jobs));
    }
    // What a controller that waits so long wrote then, taken from replays.
    for began_s in [125, 605] {
        let so_far = Tape {
            records: tape.records.clone(),
            offsets: BTreeMap::new(),
        };
        let all = replayed(&so_far.sorted(), 0, &soon, &acting())
            .present
            .plans;
        let plan = all
            .iter()
            .find(|plan| plan.at >= second(began_s - 10))
            .unwrap_or_else(|| panic!("{all:#?}"));
        assert!(plan.at <= second(began_s), "{plan:?}");
        let (kind, action) = match began_s {
            125 => (units::ActionKind::Stop, stop_worker()),
            _ => (units::ActionKind::Restart, start_worker()),
        };
        for entry in done(kind, action, plan.at, second(began_s)) {
            tape.put(entry.0, &entry.1);
        }
    }
    let report = replayed(&tape.sorted(), 0, &soon, &acting());
    let both = BTreeMap::from([("restart", 1), ("stop", 1)]);
    assert_eq!(
        report.recorded.actions, both,
        "{:#?}",
        report.recorded.plans
    );
    assert_eq!(report.present.actions, both, "{:#?}", report.present.plans);
    for plan in &report.present.plans {
        assert_eq!(plan.outcome, Source::Recorded, "{plan:?}");
    }
    let candidate = report.candidate.unwrap();
    assert!(candidate.plans.is_empty(), "{:#?}", candidate.plans);
    let more = candidate.replica_hours - report.recorded.replica_hours;
    assert!((more * 3_600.0 - 480.0).abs() < 15.0, "{more}");
}

fn stop_worker() -> units::Action {
    units::Action::Stop {
        container: ContainerId::from("id-worker-1"),
        name: ContainerName::from("worker-1"),
        grace: Duration::from_secs(10),
    }
}

fn start_worker() -> units::Action {
    units::Action::Restart {
        container: ContainerId::from("id-worker-1"),
        name: ContainerName::from("worker-1"),
        grace: Duration::from_secs(10),
    }
}

/// What the journal says of a plan of one step that was decided and carried out.
fn done(
    kind: units::ActionKind,
    action: units::Action,
    decided_at: Timestamp,
    began_at: Timestamp,
) -> [(Timestamp, JournalEntry); 2] {
    let service = ServiceId::from("worker");
    let plan = units::Plan {
        relocation: None,
        preemption: None,
        id: units::PlanId::of(&service, kind.as_str(), decided_at),
        generation: units::Generation(1),
        service,
        kind,
        mode: Mode::Act,
        created_at: decided_at,
        deadline: decided_at + Duration::from_secs(60),
        cause: units::Cause {
            signals: Vec::new(),
            reason: "nobody asks for it, or somebody does".to_owned(),
        },
        steps: vec![units::Step {
            node: NodeId::from("a"),
            action,
        }],
        expected: units::Expectation {
            text: String::new(),
            check: units::Check::NoOverload,
            within: Duration::from_secs(120),
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    };
    let outcome = units::Outcome {
        command: units::CommandId::of(&plan.id, 0),
        plan: plan.id.clone(),
        node: NodeId::from("a"),
        began_at,
        at: began_at + Duration::from_secs(2),
        result: units::OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image: None,
        },
        traceparent: None,
        note: None,
    };
    let entry = |at, phase, outcomes| {
        let plan = plan.clone();
        let entry = PlanEntry {
            at,
            plan,
            phase,
            outcomes,
            verdict: None,
        };
        (at, JournalEntry::Plan(Box::new(entry)))
    };
    let ended = outcome.at;
    [
        entry(decided_at, Phase::Decided, Vec::new()),
        entry(ended, Phase::Executed, vec![outcome]),
    ]
}

#[test]
fn inventory_that_compaction_took_is_filled_in() {
    let mut records = hang(400).sorted();
    let last = records
        .iter()
        .rposition(|record| &*record.position.topic == wire::topic::INVENTORY)
        .unwrap();
    let last = records[last].clone();
    records.retain(|record| &*record.position.topic != wire::topic::INVENTORY);
    records.push(last);
    let report = replayed(&records, 0, &Config::default(), &acting());
    // From the first record, the signal that opens, to the last.
    assert_eq!(report.input.inventory_filled_seconds, 495.0);
    assert_eq!(report.candidate.unwrap().actions["restart"], 1);
}

#[test]
fn a_silent_node_is_not_filled_in() {
    let mut tape = Tape::default();
    let held = [container("web", "web-1")];
    for at_s in (0..100).step_by(5) {
        tape.put(second(at_s), &inventory(second(at_s), &held));
    }
    let opened = second(200);
    tape.put(opened, &signal(SignalPhase::Open, opened, opened));
    tape.put(second(300), &inventory(second(300), &held));
    let report = replayed(&tape.sorted(), 0, &Config::default(), &acting());
    assert_eq!(report.input.inventory_filled_seconds, 0.0);
    let candidate = report.candidate.unwrap();
    assert!(candidate.plans.is_empty());
    let risk = &candidate.risky[0];
    assert_eq!(risk.kind, RiskKind::BreakerOpened);
    assert!(risk.what.contains("have said nothing"), "{}", risk.what);
}

#[test]
fn replicas_of_a_node_that_is_gone_are_not_counted() {
    let mut tape = Tape::default();
    let held = [container("web", "web-1")];
    tape.put(second(0), &inventory(second(0), &held));
    let mut other = inventory(second(0), &[container("db", "db-1")]);
    other.node = NodeId::from("b");
    for at_s in (3_000..5_000).step_by(5) {
        other.at = second(at_s);
        tape.put(second(at_s), &other);
    }
    let whole = replayed(&tape.records, 0, &acting(), &acting());
    let hours = |report: &Report, service: &str| {
        let of_service = report.recorded.services.get(&ServiceId::from(service));
        of_service.map_or(0.0, |it| (it.replica_hours * 3_600.0).round())
    };
    assert_eq!(hours(&whole, "web"), 900.0, "fifteen minutes of silence");
    let later = replayed(&tape.records, 2_000, &acting(), &acting());
    assert_eq!((hours(&later, "web"), hours(&later, "db")), (0.0, 1_995.0));
}

#[test]
fn acting_while_people_are_at_work_is_a_risky_moment() {
    let mut tape = hang(400);
    tape.put(second(95), &stopped(95));
    let records = tape.sorted();
    let mut hasty = acting();
    hasty.people.hold = HumanDuration::from_secs(0);
    let report = replayed(&records, 0, &acting(), &hasty);
    assert_eq!(report.present.plans[0].at, second(155), "after the hold");
    assert!(
        report
            .present
            .risky
            .iter()
            .all(|risk| risk.kind != RiskKind::DuringHold)
    );
    let risk = &report.candidate.unwrap().risky[0];
    assert_eq!((risk.kind, risk.at), (RiskKind::DuringHold, second(100)));
    assert!(risk.what.contains("5 s before"), "{}", risk.what);
}

#[test]
fn a_budget_that_is_used_up_and_a_breaker_that_opens_are_told() {
    let records = hang(400).sorted();
    let mut tight = acting();
    tight.budget.service_hourly = 1;
    let mut nervous = acting();
    nervous.breaker.services_min = 1;
    let report = replayed(&records, 0, &tight, &nervous);
    let kinds = |figures: &Figures| -> Vec<RiskKind> {
        figures.risky.iter().map(|risk| risk.kind).collect()
    };
    assert_eq!(kinds(&report.present), [RiskKind::BudgetSpent]);
    let candidate = report.candidate.unwrap();
    assert_eq!(kinds(&candidate), [RiskKind::BreakerOpened]);
    assert!(candidate.plans.is_empty());
    assert!(candidate.breaker_open_seconds >= 300.0);
}

#[test]
fn what_came_before_is_known_and_not_counted() {
    let records = hang(400).sorted();
    let report = replayed(&records, 200, &Config::default(), &acting());
    assert_eq!(report.input.from, second(200));
    assert_eq!(report.recorded.slo_seconds, 200.0);
    let candidate = report.candidate.unwrap();
    assert_eq!(candidate.plans[0].at, second(200));
    let none = replay(
        || Ok::<_, Infallible>(records.iter().cloned().map(Ok)),
        second(1_000),
        &acting(),
        None,
    );
    assert_eq!(none.unwrap(), None);
}

#[test]
fn records_of_unknown_versions_are_put_aside_and_counted() {
    let mut records = hang(400).sorted();
    let mut newer = 0;
    for record in &mut records {
        if &*record.position.topic == wire::topic::SIGNALS {
            record.headers[0].1 = Bytes::from_static(b"signal/9");
            newer += 1;
        }
    }
    let report = replayed(&records, 0, &acting(), &acting());
    let aside = &report.input.put_aside;
    assert_eq!(aside.len(), 1);
    assert_eq!(
        (aside[0].schema.as_str(), aside[0].reason, aside[0].records),
        ("signal/9", "unknown_version", newer)
    );
    assert!(report.present.plans.is_empty());
}

#[test]
fn the_same_recording_gives_the_same_report_byte_for_byte() {
    let records = hang(400).sorted();
    let json = || serde_json::to_string(&replayed(&records, 0, &acting(), &acting())).unwrap();
    assert_eq!(json(), json());
    let report = replayed(&records, 0, &acting(), &acting());
    assert_eq!(report.candidate.as_ref().unwrap(), &report.present);
    assert_eq!(report.present.digest.len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn topics_of_the_same_time_may_be_interleaved_as_they_like(keys in proptest::collection::vec(any::<u16>(), 400)) {
        let mut tape = hang(400);
        for at_s in (0..600).step_by(10) {
            tape.put(second(at_s), &forecast(second(at_s), 900.0));
        }
        let records = tape.sorted();
        let mut shuffled: Vec<(usize, Record)> = records.iter().cloned().enumerate().collect();
        shuffled.sort_by_key(|(index, record)| (record.timestamp_ms, keys[index % keys.len()]));
        let shuffled: Vec<Record> = shuffled.into_iter().map(|(_, record)| record).collect();
        let [one, other] = [&records, &shuffled].map(|records| {
            serde_json::to_string(&replayed(records, 0, &Config::default(), &acting())).unwrap()
        });
        prop_assert_eq!(one, other);
    }
}

/// A line of a recording written by hand: when in seconds, where, what.
#[derive(serde::Deserialize)]
struct Line {
    at: u64,
    topic: String,
    schema: String,
    offset: u64,
    value: serde_json::Value,
}

/// `tests/golden/replay/hang.jsonl` in, `hang.expected.json` out. After a wanted change,
/// `HOMEOSTAT_BLESS=1` writes it anew: read the difference before you commit it.
#[test]
fn a_recording_written_by_hand_leads_to_the_report_that_is_kept() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/replay");
    let name = "hang";
    let text = std::fs::read_to_string(dir.join(format!("{name}.jsonl"))).unwrap();
    let records: Vec<Record> = text
        .lines()
        .map(|line| {
            let line: Line = serde_json::from_str(line).unwrap();
            Record {
                position: Position {
                    topic: format!("homeostat.{}", line.topic).into(),
                    partition: 0,
                    offset: line.offset,
                },
                timestamp_ms: second(line.at).as_millis(),
                key: Bytes::new(),
                value: line.value.to_string().into(),
                headers: vec![("homeostat-schema".to_owned(), line.schema.into())],
            }
        })
        .collect();
    let report = replayed(&records, 0, &Config::default(), &acting());
    let said = serde_json::to_string_pretty(&report).unwrap() + "\n";
    let expected = dir.join(format!("{name}.expected.json"));
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::write(&expected, &said).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&expected).unwrap_or_default(),
        said,
        "{name}"
    );
}
