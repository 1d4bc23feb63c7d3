//! Stories of logs, with the miner that finds templates: what must be seen, how soon, and what must not be seen.

use std::time::Duration;

use logs::Catalog;
use units::{
    ContainerId, ContainerName, ContainerState, EngineInfo, HealthState, Limits, LogLine,
    LogSeverity, LogStream, NodeCapacity, NodeFacts, NodeId, NodeInventory, Policy, ServiceId,
    Severity, Signal, SignalKind, SignalPhase,
};

use crate::testing::{Machine, Noise, World};
use crate::{LineTemplate, Standing, TemplateId};

const MINUTE: u32 = 60;
const HOUR: u32 = 3_600;

/// A line to be logged: by which machine, of what level, and its text.
type Said = (&'static str, LogSeverity, String);

#[derive(Clone)]
struct Story {
    world: World,
    catalog: Catalog,
    noise: Noise,
    lines: u64,
}

impl Story {
    fn new(seed: u64, machines: Vec<Machine>) -> Self {
        Story {
            world: World::new(seed, machines),
            catalog: Catalog::default(),
            noise: Noise::seeded(seed),
            lines: 0,
        }
    }

    /// A web service, of which one replica is there.
    fn web(seed: u64) -> Self {
        Story::new(seed, vec![Machine::web("web-1")])
    }

    /// One second in which these lines are written.
    fn second(&mut self, said: &[Said]) -> Vec<Signal> {
        let mut signals = Vec::new();
        for (index, (name, severity, text)) in said.iter().enumerate() {
            let into_ms = 1_000 * index as u64 / said.len() as u64;
            self.lines += 1;
            let service = self.world.machine(name).service;
            let line = LogLine {
                at: self.world.at + Duration::from_millis(into_ms),
                node: NodeId::from("node-a"),
                service: ServiceId::from(service),
                container: ContainerId::new(format!("id-of-{name}")),
                name: ContainerName::from(*name),
                stream: LogStream::Stdout,
                severity: *severity,
                sequence: self.lines,
                lines: 1,
                lost_before: 0,
                limited_before: 0,
                trace_id: None,
                text: text.clone(),
                raw: None,
            };
            let seen = self.catalog.observe(&line).unwrap();
            let template = LineTemplate {
                id: TemplateId(seen.template.id().as_u64()),
                standing: match seen.standing {
                    logs::Standing::Known => Standing::Known,
                    logs::Standing::New => Standing::New,
                },
                among: seen.lines,
                text: seen.template,
            };
            signals.extend(self.world.detector.log(&line, Some(&template), None));
        }
        signals.extend(self.world.second().signals);
        signals
    }

    /// So many seconds of ordinary life, and what was told of logs.
    fn live(&mut self, seconds: u32) -> Vec<Signal> {
        self.live_with(seconds, |_| Vec::new())
    }

    /// The same with further lines, which `more` says in each second.
    fn live_with(&mut self, seconds: u32, more: impl Fn(u32) -> Vec<Said>) -> Vec<Signal> {
        let mut signals = Vec::new();
        for second in 0..seconds {
            let mut said = self.ordinary();
            said.extend(more(second));
            signals.extend(self.second(&said));
        }
        signals.retain(of_logs);
        signals
    }

    /// Some requests of each machine that runs, and now and then a warning.
    fn ordinary(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        for machine in &self.world.machines {
            for _ in 0..self.noise.poisson(3.0) as u32 {
                let number = (self.noise.uniform() * 1e4) as u32;
                let text = match number % 3 {
                    0 => format!("GET /item/{number} 200 in {} ms", number % 70),
                    1 => format!("cart {number} priced"),
                    _ => format!("session {number} renewed for user u{number}"),
                };
                said.push((machine.name, LogSeverity::Info, text));
            }
            if self.noise.uniform() < 0.02 {
                let text = format!(
                    "upstream slow: {} ms",
                    (self.noise.uniform() * 900.0) as u32
                );
                said.push((machine.name, LogSeverity::Warn, text));
            }
        }
        said
    }

    /// The node tells that these machines run this image.
    fn inventory(&mut self, image: &str) {
        let record = |machine: &Machine| units::ContainerRecord {
            id: format!("id-of-{}", machine.name).as_str().into(),
            name: machine.name.into(),
            service: machine.service.into(),
            image: image.into(),
            state: ContainerState::Running,
            health: HealthState::None,
            restarts: 0,
            created_at: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            limits: Limits::default(),
            policy: Policy::default(),
            label_problems: Vec::new(),
            replica_of: None,
            made_by: None,
            copy_obstacles: Vec::new(),
            spec: None,
        };
        self.catalog.inventory(&NodeInventory {
            node: NodeId::from("node-a"),
            at: self.world.at,
            steady: Some(self.world.steady),
            capacity: NodeCapacity::default(),
            engine: EngineInfo::default(),
            facts: NodeFacts::default(),
            containers: self.world.machines.iter().map(record).collect(),
        });
    }
}

fn of_logs(signal: &Signal) -> bool {
    [
        SignalKind::ErrorLogs,
        SignalKind::LogStorm,
        SignalKind::LogNovelty,
        SignalKind::LogSilence,
    ]
    .contains(&signal.kind)
}

fn told(signals: &[Signal]) -> Vec<String> {
    let line = |signal: &Signal| format!("{:?} {}: {}", signal.phase, signal.kind, signal.reason);
    signals.iter().map(line).collect()
}

/// The only opening among these signals.
fn opened(signals: &[Signal]) -> &Signal {
    let open = |signal: &&Signal| signal.phase == SignalPhase::Open;
    let all: Vec<_> = signals.iter().filter(open).collect();
    assert_eq!(all.len(), 1, "{:?}", told(signals));
    all[0]
}

fn repeat(times: u32, name: &'static str, severity: LogSeverity, text: &str) -> Vec<Said> {
    let line = |number| (name, severity, format!("{text} (attempt {number})"));
    (0..times).map(line).collect()
}

#[test]
fn a_storm_is_seen_within_ten_seconds_and_names_its_template() {
    for seed in 0..10 {
        let mut story = Story::web(seed);
        assert_eq!(told(&story.live(2 * MINUTE)), [""; 0], "seed {seed}");
        let storm = |_| repeat(150, "web-1", LogSeverity::Info, "cache miss, asking again");
        let signals = story.live_with(10, storm);
        let signal = opened(&signals);
        assert_eq!(signal.kind, SignalKind::LogStorm);
        assert_eq!(signal.severity, Severity::Info);
        let named = "\"cache miss, asking again (attempt <*>";
        assert!(signal.reason.contains(named), "{}", signal.reason);
        let features: Vec<_> = signal.evidence.iter().map(|one| &*one.feature).collect();
        assert_eq!(
            features,
            ["log_lines_per_second", "template_lines_per_second"]
        );
        assert!(signal.evidence[0].observed > 100.0, "{signal:?}");
        let lasting = story.live_with(30, storm);
        let raised = |signal: &Signal| signal.severity == Severity::Warning;
        assert!(lasting.iter().any(raised), "{:?}", told(&lasting));
        let after = story.live(30);
        assert_eq!(after.len(), 1, "{:?}", told(&after));
        assert_eq!(after[0].phase, SignalPhase::Resolve);
    }
}

#[test]
fn a_burst_of_three_seconds_is_no_storm() {
    let mut story = Story::web(1);
    story.live(2 * MINUTE);
    let listing = |second| match second < 3 {
        true => repeat(400, "web-1", LogSeverity::Info, "route registered"),
        false => Vec::new(),
    };
    let signals = story.live_with(MINUTE, listing);
    assert_eq!(told(&signals), [""; 0]);
}

#[test]
fn error_logs_name_the_template_that_rose() {
    let mut story = Story::web(2);
    story.live(2 * MINUTE);
    let failing = |second| match second % 4 {
        0 => repeat(40, "web-1", LogSeverity::Error, "cannot reach the store"),
        _ => repeat(20, "web-1", LogSeverity::Error, "order lost"),
    };
    let signals = story.live_with(8, failing);
    let signal = opened(&signals);
    assert_eq!(signal.kind, SignalKind::ErrorLogs);
    assert!(
        signal.reason.contains("of what rose is \""),
        "{}",
        signal.reason
    );
    assert_eq!(signal.evidence[1].feature, "template_lines_per_second");
}

#[test]
fn what_was_never_logged_before_is_told_once_with_its_line() {
    for (severity, told_as) in [
        (LogSeverity::Warn, Severity::Info),
        (LogSeverity::Error, Severity::Warning),
    ] {
        let machines = vec![Machine::web("web-1"), Machine::web("web-2")];
        let mut story = Story::new(3, machines);
        assert_eq!(told(&story.live(12 * MINUTE)), [""; 0]);
        let text = "disk /dev/sda1 is almost full";
        let odd = |second| {
            let name = ["web-1", "web-2"][second as usize % 2];
            repeat(u32::from(second % 3 == 0), name, severity, text)
        };
        let signals = story.live_with(10, odd);
        let signal = opened(&signals);
        assert_eq!(signal.kind, SignalKind::LogNovelty);
        assert_eq!(signal.severity, told_as);
        assert_eq!(signal.subject.to_string(), "web");
        assert!(signal.reason.contains(text), "{}", signal.reason);
        assert!(signal.score.get() > 0.99, "{signal:?}");
        let again = story.live_with(MINUTE, odd);
        assert!(
            again
                .iter()
                .all(|signal| signal.phase == SignalPhase::Update)
        );
        let after = story.live(2 * MINUTE);
        assert_eq!(after.last().map(|s| s.phase), Some(SignalPhase::Resolve));
        let later = story.live_with(20 * MINUTE, odd);
        let back = later.iter().filter(|s| s.phase == SignalPhase::Open);
        assert!(
            back.count() <= 1,
            "known after ten minutes: {:?}",
            told(&later)
        );
        let known = story.live_with(20 * MINUTE, odd);
        assert_eq!(told(&known), [""; 0]);
    }
}

#[test]
fn one_new_line_or_a_new_kind_of_job_is_no_novelty() {
    let mut story = Story::web(4);
    story.live(12 * MINUTE);
    let once = |second| match second {
        5 => repeat(1, "web-1", LogSeverity::Error, "lost a race, trying again"),
        30..90 => repeat(8, "web-1", LogSeverity::Info, "page rendered anew"),
        _ => Vec::new(),
    };
    assert_eq!(told(&story.live_with(3 * MINUTE, once)), [""; 0]);
}

#[test]
fn many_new_lines_that_go_on_are_a_novelty_whatever_their_level() {
    let mut story = Story::web(5);
    story.live(12 * MINUTE);
    let many = |_| repeat(15, "web-1", LogSeverity::Unknown, "polling the lock");
    let signals = story.live_with(3 * MINUTE, many);
    assert_eq!(opened(&signals).kind, SignalKind::LogNovelty);
    assert_eq!(opened(&signals).severity, Severity::Info);
}

#[test]
fn a_deploy_raises_nothing() {
    let mut story = Story::web(6);
    story.live(MINUTE);
    story.inventory("web:1");
    assert_eq!(told(&story.live(15 * MINUTE)), [""; 0]);
    let mut fresh = Machine::web("web-2");
    fresh.uptime = 0.0;
    story.world.machines = vec![fresh];
    story.inventory("web:2");
    let new = |second: u32| match second % 4 {
        0 => repeat(3, "web-2", LogSeverity::Warn, "the new cache is cold"),
        1 => repeat(8, "web-2", LogSeverity::Info, "warming one more shard"),
        _ => repeat(2, "web-2", LogSeverity::Warn, "option ttl is deprecated"),
    };
    assert_eq!(told(&story.live_with(15 * MINUTE, new)), [""; 0]);
}

#[test]
fn a_restart_and_a_further_replica_raise_nothing() {
    let mut story = Story::web(7);
    story.live(12 * MINUTE);
    let starting = |name: &'static str| {
        move |second| match second < 20 {
            true => repeat(
                2,
                name,
                LogSeverity::Warn,
                "waiting for the store to answer",
            ),
            false => Vec::new(),
        }
    };
    story.world.machine("web-1").start();
    let signals = story.live_with(5 * MINUTE, starting("web-1"));
    assert_eq!(told(&signals), [""; 0]);
    let mut further = Machine::web("web-2");
    further.uptime = 0.0;
    story.world.machines.push(further);
    let signals = story.live_with(5 * MINUTE, starting("web-2"));
    assert_eq!(
        told(&signals),
        [""; 0],
        "its ordinary lines are the service's"
    );
}

#[test]
fn hours_of_ordinary_logs_with_hourly_jobs_raise_nothing() {
    let mut story = Story::web(8);
    let jobs = |second| match second % HOUR {
        1_200..1_230 => repeat(20, "web-1", LogSeverity::Info, "exported one more order"),
        1_230 => repeat(1, "web-1", LogSeverity::Warn, "export left some orders out"),
        2_400..2_403 => repeat(200, "web-1", LogSeverity::Info, "index entry written"),
        _ => Vec::new(),
    };
    let signals = story.live_with(5 * HOUR, jobs);
    assert_eq!(told(&signals), [""; 0]);
}

#[test]
fn a_steady_log_that_stops_is_told_and_ends_with_its_next_line() {
    let mut story = Story::new(9, vec![Machine::worker()]);
    let beat = |second: u32| match second.is_multiple_of(5) {
        true => vec![("demo-worker", LogSeverity::Info, format!("beat {second}"))],
        false => Vec::new(),
    };
    let steady = |story: &mut Story, seconds: u32| -> Vec<Signal> {
        let said = |second| story.second(&beat(second));
        (0..seconds).flat_map(said).filter(of_logs).collect()
    };
    assert_eq!(told(&steady(&mut story, 70 * MINUTE)), [""; 0]);
    let mut still = |seconds: u32| -> Vec<Signal> {
        let said = |_| story.second(&[]);
        (0..seconds).flat_map(said).filter(of_logs).collect()
    };
    assert_eq!(told(&still(50)), [""; 0]);
    let signals = still(30);
    let signal = opened(&signals);
    assert_eq!(signal.kind, SignalKind::LogSilence);
    assert_eq!(signal.severity, Severity::Warning);
    assert!(
        signal.reason.contains("a line comes every 5 s"),
        "{}",
        signal.reason
    );
    let again = steady(&mut story, 10);
    assert_eq!(again.len(), 1, "{:?}", told(&again));
    assert_eq!(again[0].phase, SignalPhase::Resolve);

    story.world.machine("demo-worker").state = ContainerState::Exited;
    let stopped: Vec<Signal> = (0..300).flat_map(|_| story.second(&[])).collect();
    assert!(!stopped.iter().any(of_logs), "{:?}", told(&stopped));
}

#[test]
fn without_requests_there_is_nothing_to_log() {
    let mut story = Story::web(10);
    story.live(70 * MINUTE);
    story.world.machine("web-1").requests_per_s = 0.0;
    let signals: Vec<Signal> = (0..20 * MINUTE)
        .flat_map(|_| story.second(&[]))
        .filter(of_logs)
        .collect();
    assert_eq!(told(&signals), [""; 0]);
}

#[test]
fn a_state_that_was_read_back_goes_on_as_before() {
    let mut story = Story::web(11);
    story.live(11 * MINUTE);
    let trouble = |second: u32| match second % 2 {
        0 => repeat(80, "web-1", LogSeverity::Warn, "the pool is exhausted"),
        _ => repeat(120, "web-1", LogSeverity::Info, "cache miss, asking again"),
    };
    let mut signals = Vec::new();
    for round in 0..40 {
        let (detector, catalog) = (&story.world.detector, &story.catalog);
        let state = postcard::to_stdvec(&(detector, catalog)).unwrap();
        let (detector, catalog) = postcard::from_bytes(&state).unwrap();
        let mut other = story.clone();
        other.world.detector = detector;
        other.catalog = catalog;
        assert_eq!(other.catalog, story.catalog);
        assert_eq!(other.world.detector, story.world.detector);
        let more = |second| match round < 20 {
            true => trouble(second),
            false => Vec::new(),
        };
        let mut here = story.live_with(2, more);
        assert_eq!(
            told(&other.live_with(2, more)),
            told(&here),
            "round {round}"
        );
        signals.append(&mut here);
    }
    for kind in [SignalKind::LogStorm, SignalKind::LogNovelty] {
        assert!(
            signals.iter().any(|s| s.kind == kind),
            "{:?}",
            told(&signals)
        );
    }
}

#[test]
fn random_text_takes_no_more_than_its_bounds() {
    let mut story = Story::web(12);
    let mut noise = Noise::seeded(12);
    let mut size = |seconds: u32| {
        for _ in 0..seconds {
            let word = |noise: &mut Noise| -> String {
                let letter = |_| char::from(b'a' + (noise.uniform() * 26.0) as u8);
                (0..8).map(letter).collect()
            };
            let text = |noise: &mut Noise| [(); 12].map(|()| word(noise)).join(" ");
            let said: Vec<Said> = (0..20)
                .map(|_| ("web-1", LogSeverity::Warn, text(&mut noise)))
                .collect();
            story.second(&said);
        }
        let detector = postcard::to_stdvec(&story.world.detector).unwrap().len();
        (detector, story.catalog.counts())
    };
    let (early, _) = size(2 * MINUTE);
    let (late, counts) = size(15 * MINUTE);
    assert!(late <= early + 1_024, "{early} bytes became {late}");
    assert!(late <= 8 * 1_024, "{late} bytes for one container");
    assert!(counts.templates <= 128 && counts.evicted > 0, "{counts:?}");
    assert!(counts.bytes < 400 * 1_024, "{counts:?}");
}
