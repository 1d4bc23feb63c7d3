//! The controller is killed with -9 after each record of a move and of an update, one of them at a time: when it is there again it ends
//! what it began, forward or back, leaves no container over, and meanwhile as many serve as before.
//!
//! A step is a record in the log: an order, a plan's entry in the journal, a command, an outcome. What there are is read from a move and
//! an update that nothing disturbs. The controller reaches Kafka through a gate, so that it stands still after each of its records; when
//! it is killed, exactly those up to the one meant are in the log.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bus::Bus;
use console::api::{ListedUpdate, ServiceStatus};
use control::UpdatePhase;
use e2e::containers::Containers;
use e2e::hosts::{Fleet, Gate, Host, HostFacts};
use e2e::steps::{Found, Log, Step};
use e2e::wait::until;
use e2e::watch::Watch;
use tokio::time::timeout;
use wire::topic;

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// A move or an update is over, and controllers were killed and led again meanwhile.
const OVER: Duration = Duration::from_secs(300);
/// A command is answered. Less than a producer waits before it sends a record again.
const ANSWERED: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Times that one step is tried to be met: where a check was late, what is done comes to another end before it.
const TRIES_MAX: usize = 4;
/// So many moves and updates go on at once, each to be disturbed at another step. Most of the time is that in which a controller
/// that was just started believes no node yet; what it believes then is for all.
const AT_ONCE: usize = 8;
/// Checks that pass.
const HEALTH: &str = r#"HEALTHCHECK --interval=1s --timeout=5s --retries=5 CMD ["/writer","go"]"#;
/// What the controller writes to, each record after the other.
const WRITES: [&str; 2] = [topic::JOURNAL, topic::COMMANDS];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// From a to b, since a is drained.
    Move,
    /// On b, to another image.
    Update,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Move => "move",
            What::Update => "update",
        })
    }
}

/// How a move or an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Finished,
    /// All is as it was before.
    Undone,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ending::Finished => "finished",
            Ending::Undone => "undone",
        })
    }
}

/// One service, what is done with it, and when the controller is killed.
struct Trial {
    what: What,
    service: String,
    /// All up to the last of these come into the log, and then the controller is killed.
    until: Option<Vec<Step>>,
    steps: Vec<Step>,
    is_hit: bool,
    /// Of the container that was there before.
    original: String,
}

impl Trial {
    /// What is met next is where the controller is killed.
    fn is_before(&self, step: &Step) -> bool {
        let until = self.until.as_ref().filter(|_| !self.is_hit);
        until.and_then(|it| it.last()) == Some(step)
    }
}

/// Two hosts and everything that is done with them.
struct Stage {
    // Before the fleet, since it asks the engines of it.
    watch: Watch,
    fleet: Fleet,
    gate: Gate,
    log: Log,
    images: [String; 2],
    /// By service, what the round before left on each host. It is looked at once more.
    left: Vec<(String, Vec<Vec<String>>)>,
    begun: usize,
    kills: usize,
    // Removed with this.
    _containers: Containers,
}

/// What there is of a service on a host, in any state: a line each.
fn there(host: &Host, service: &str) -> Vec<String> {
    let label = format!("label=io.homeostat.service={service}");
    let format = "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Status}}";
    let listed = ["ps", "--all", "--no-trunc", "--filter", &label];
    let listed = host.docker(&[&listed[..], &["--format", format]].concat());
    listed.lines().map(ToOwned::to_owned).collect()
}

/// The same by host, without what changes as time passes.
fn kept(hosts: &[Host], service: &str) -> Vec<Vec<String>> {
    let steady = |line: String| line.split(' ').take(4).collect::<Vec<_>>().join(" ");
    let on = |host: &Host| there(host, service).into_iter().map(steady).collect();
    hosts.iter().map(on).collect()
}

/// It runs under the service's name, and is healthy.
fn serves(line: &str, service: &str) -> bool {
    line.contains(&format!(" {service} "))
        && line.contains(" running ")
        && line.contains("(healthy)")
}

impl Stage {
    async fn start() -> Stage {
        let settings = [
            ("controller.people.hold", "1s"),
            ("controller.scale.startup", "2s"),
            ("controller.relocate.drain_parallel", "8"),
            ("controller.relocate.soak", "3s"),
            ("controller.relocate.grace", "1s"),
            ("controller.update.bake", "3s"),
            ("controller.update.soak", "3s"),
            ("controller.update.grace", "1s"),
            // Checks that a busy machine answers late look like a common cause.
            ("controller.breaker.hold", "5s"),
            ("controller.budget.node_concurrent", "20"),
            ("controller.budget.global_concurrent", "20"),
            ("controller.budget.global_hourly", "10000"),
            ("collector.inventory_interval", "500ms"),
        ];
        let facts = ["a", "b"].map(|name| HostFacts {
            name,
            zone: "east",
            cost: 1.0,
        });
        let (fleet, gate) = Fleet::start_gated(&WRITES, &facts, &settings).await;
        let containers = Containers::at(&fleet.host("a").engine());
        let images =
            ["1", "2"].map(|it| containers.version(it, &[HEALTH, &format!("ENV VERSION={it}")]));
        for image in &images {
            fleet.host("b").load(image, &fleet.host("a").engine());
        }
        let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
        Stage {
            watch: Watch::start(fleet.hosts().iter().map(Host::engine)),
            log: Log::open(bus).await,
            fleet,
            gate,
            images,
            left: Vec::new(),
            begun: 0,
            kills: 0,
            _containers: containers,
        }
    }

    /// Where it runs at first.
    fn home(&self, what: What) -> &Host {
        self.fleet.host(match what {
            What::Move => "a",
            What::Update => "b",
        })
    }

    fn begin(&mut self, what: What, until: Option<Vec<Step>>) -> Trial {
        self.begun += 1;
        let service = format!("{what}-{}", self.begun);
        let labels = [
            format!("io.homeostat.service={service}"),
            "io.homeostat.mode=act".to_owned(),
            format!("io.homeostat.{what}=true"),
        ];
        let labels: Vec<&str> = labels.iter().flat_map(|it| ["--label", it]).collect();
        let run = ["run", "--detach", "--name", &service, "--restart", "always"];
        // Little, since a host of two cores has to have room for all of a round.
        let limits = ["--cpus", "0.1", "--memory", "32m", "--network", "none"];
        let image = [self.images[0].as_str(), "idle"];
        let original = self
            .home(what)
            .docker(&[&run[..], &limits, &labels, &image].concat());
        Trial {
            what,
            service,
            until,
            steps: Vec::new(),
            is_hit: false,
            original,
        }
    }

    /// Waits until it is healthy and known to be.
    async fn known(&self, trial: &Trial) {
        let Trial { what, service, .. } = trial;
        until(&format!("{service} serves"), SEEN, || async {
            let [line] = there(self.home(*what), service).try_into().ok()?;
            let services: Vec<ServiceStatus> = self.fleet.console.ask("services").await?;
            let found = services.iter().find(|it| it.service.as_str() == service)?;
            (serves(&line, service) && found.serving == 1).then_some(())
        })
        .await;
    }

    async fn said(&self, words: &[&str]) {
        let output = self.fleet.told(words).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
    }

    async fn order(&self, trials: &mut [Trial]) {
        if trials.iter().any(|it| it.what == What::Move) {
            self.said(&["node", "drain", "a", "--by", "ada"]).await;
        }
        for trial in trials {
            if trial.what == What::Update {
                let image = ["--image", &self.images[1], "--by", "ada"];
                self.said(&[&["update", &trial.service], &image[..]].concat())
                    .await;
            }
            trial.steps.push(Step::Ordered);
        }
    }

    /// Does all of this at once, each with a service of its own, to its end.
    async fn round(&mut self, what: Vec<(What, Option<Vec<Step>>)>) -> Vec<(Trial, Ending)> {
        let mut trials = Vec::new();
        for (what, until) in what {
            trials.push(self.begin(what, until));
        }
        for trial in &trials {
            self.known(trial).await;
            self.watch.add(&trial.service);
        }
        self.clear();
        let is_away = trials.iter().any(|it| it.is_before(&Step::Ordered));
        if is_away {
            self.fleet.controller.kill_9();
        }
        self.order(&mut trials).await;
        if is_away {
            for trial in &mut trials {
                trial.is_hit = trial.is_before(&Step::Ordered);
            }
            self.start_again().await;
        }
        let ended = self.drive(&mut trials).await;
        self.said(&["node", "uncordon", "a", "--by", "ada"]).await;
        for trial in &trials {
            let fewest = self.watch.end(&trial.service);
            assert!(fewest >= 1, "it did not serve: {}", self.told(&trials));
        }
        let hosts = self.fleet.hosts();
        let left = trials
            .iter()
            .map(|it| (it.service.clone(), kept(hosts, &it.service)));
        self.left.extend(left);
        trials.into_iter().zip(ended).collect()
    }

    /// What the round before left is as it was when that was over, and goes.
    fn clear(&mut self) {
        let hosts = self.fleet.hosts();
        for (service, before) in std::mem::take(&mut self.left) {
            assert_eq!(kept(hosts, &service), before, "{service} is as it was");
            for (host, lines) in hosts.iter().zip(&before) {
                let ids = lines.iter().filter_map(|it| it.split(' ').next());
                let ids: Vec<&str> = ids.collect();
                if !ids.is_empty() {
                    host.docker(&[&["rm", "--force"], &ids[..]].concat());
                }
            }
        }
    }

    /// Lets the controller write its records one by one until all is over, and kills it where that is wanted.
    async fn drive(&mut self, trials: &mut [Trial]) -> Vec<Ending> {
        let began = Instant::now();
        loop {
            tokio::select! {
                biased;
                held = self.gate.next() => {
                    let found = self.log.next().await;
                    if self.is_where_it_ends(trials, found).await {
                        self.kill().await;
                    }
                    held.go_on();
                }
                answer = self.log.answer() => {
                    note(trials, answer);
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let ended = self.endings(trials).await;
                    if let Some(ended) = ended {
                        return ended;
                    }
                }
            }
            assert!(
                began.elapsed() < OVER,
                "not over within {} s: {}",
                OVER.as_secs(),
                self.told(trials)
            );
        }
    }

    /// What is known of all, for people who look for what was wrong.
    fn told(&self, trials: &[Trial]) -> String {
        let told = trials.iter().map(|trial| {
            let service = &trial.service;
            let there = kept(self.fleet.hosts(), service);
            let plans: Vec<_> = self.log.of(service).collect();
            format!("{service}: {there:?} {:?} {plans:#?}", trial.steps)
        });
        told.collect::<Vec<_>>().join("\n")
    }

    /// Notes a record of the controller's, which is held: whether it, or the answer to it, is the last one that this controller is to see.
    async fn is_where_it_ends(&mut self, trials: &mut [Trial], found: Vec<Found>) -> bool {
        let at = found.into_iter().filter_map(|it| note(trials, it)).last();
        let Some(at) = at else {
            return false;
        };
        let Some(wanted) = trials[at].until.clone().filter(|_| !trials[at].is_hit) else {
            return false;
        };
        let last = wanted.last();
        let is_asked = matches!(last, Some(Step::Answered(_)))
            && trials[at].steps.last() == wanted.get(wanted.len().saturating_sub(2));
        let known = trials[at].steps.len();
        while is_asked && trials[at].steps.len() == known {
            let answer = timeout(ANSWERED, self.log.answer()).await;
            note(trials, answer.expect("every command is answered"));
        }
        trials[at].is_hit = trials[at].steps == wanted;
        trials[at].is_hit
    }

    async fn kill(&mut self) {
        self.fleet.controller.kill_9();
        let (known, there) = (self.log.written(), self.log.in_log().await);
        assert_eq!(there, known, "it has written no further");
        self.start_again().await;
    }

    async fn start_again(&mut self) {
        self.gate.bury().await;
        self.fleet.controller.restart();
        self.kills += 1;
    }

    async fn endings(&self, trials: &[Trial]) -> Option<Vec<Ending>> {
        if !trials.iter().all(|it| self.log.is_over(&it.service)) {
            return None;
        }
        let updates: Vec<ListedUpdate> = self.fleet.console.ask("updates").await?;
        let ended = trials.iter().map(|trial| match trial.what {
            What::Move => self.moved(trial),
            What::Update => {
                let order = updates
                    .iter()
                    .find(|it| it.update.service.as_str() == trial.service)?;
                self.updated(trial, order.progress.as_ref()?.phase)
            }
        });
        ended.collect()
    }

    fn moved(&self, trial: &Trial) -> Option<Ending> {
        let Trial {
            service, original, ..
        } = trial;
        let [before] = there(self.fleet.host("a"), service).try_into().ok()?;
        assert!(before.starts_with(original), "{before} is not {original}");
        match there(self.fleet.host("b"), service).as_slice() {
            [] => {
                (serves(&before, service) && self.log.went_wrong(service)).then_some(Ending::Undone)
            }
            [line] if serves(line, service) && before.contains(" exited ") => {
                Some(Ending::Finished)
            }
            _ => None,
        }
    }

    fn updated(&self, trial: &Trial, phase: UpdatePhase) -> Option<Ending> {
        let Trial {
            service, original, ..
        } = trial;
        let elsewhere = there(self.fleet.host("a"), service);
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
        let [line] = there(self.fleet.host("b"), service).try_into().ok()?;
        let [first, second] = self.images.each_ref().map(|it| line.contains(it));
        match phase {
            _ if !serves(&line, service) => None,
            UpdatePhase::Finished => second.then_some(Ending::Finished),
            UpdatePhase::RolledBack => first.then_some(Ending::Undone),
            UpdatePhase::Refused => (first && line.starts_with(original)).then_some(Ending::Undone),
            UpdatePhase::Pulling
            | UpdatePhase::Canary
            | UpdatePhase::Rolling
            | UpdatePhase::RollingBack => None,
        }
    }
}

/// Notes what was found with the trial that it is about, if it is one of these.
fn note(trials: &mut [Trial], (service, step): Found) -> Option<usize> {
    let at = trials.iter().position(|it| it.service == service)?;
    // The next controller sends again what was not answered.
    if !trials[at].steps.contains(&step) {
        trials[at].steps.push(step);
    }
    Some(at)
}

/// A step at which the controller is to be killed: of what, all that is written up to it, and which try it is.
type Wanted = (What, Vec<Step>, usize);

/// Every step of a move and of an update that nothing disturbs.
async fn enumerated(stage: &mut Stage) -> BTreeMap<What, Vec<Step>> {
    for _ in 0..TRIES_MAX {
        let both = vec![(What::Move, None), (What::Update, None)];
        let ended = stage.round(both).await;
        if ended.iter().all(|(_, ending)| *ending == Ending::Finished) {
            return ended
                .into_iter()
                .map(|(it, _)| (it.what, it.steps))
                .collect();
        }
        eprintln!("what nothing disturbed was undone, and is tried again");
    }
    panic!("a move or an update does not come to its end");
}

/// Of each plan there is all that a controller and an actuator write of it.
fn are_all(steps: &BTreeMap<What, Vec<Step>>) {
    for (what, kinds) in [
        (What::Move, &["export", "create_replica", "stop"][..]),
        (
            What::Update,
            &["pull_image", "create_replica", "recreate", "remove_replica"],
        ),
    ] {
        let steps = &steps[&what];
        for kind in kinds {
            for step in [
                Step::Journaled(format!("{kind}: decided")),
                Step::Commanded((*kind).to_owned()),
                Step::Answered(format!("{kind}: succeeded")),
                Step::Journaled(format!("{kind}: executed")),
                Step::Journaled(format!("{kind}: judged (helped)")),
            ] {
                assert!(steps.contains(&step), "{step} is missing: {steps:#?}");
            }
        }
    }
}

/// Steps of moves and of updates in turn.
fn in_turn(steps: &BTreeMap<What, Vec<Step>>) -> VecDeque<Wanted> {
    let most = steps.values().map(Vec::len).max().unwrap_or_default();
    let each = (1..=most).flat_map(|until| {
        let long = steps.iter().filter(move |(_, steps)| until <= steps.len());
        long.map(move |(what, steps)| (*what, steps[..until].to_vec(), 1))
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_any_step_the_controller_ends_what_it_began() {
    let mut stage = Stage::start().await;
    let steps = enumerated(&mut stage).await;
    are_all(&steps);
    let mut queue = in_turn(&steps);
    let (all, mut met) = (queue.len(), Vec::new());
    while !queue.is_empty() {
        let wanted: Vec<Wanted> = queue.drain(..queue.len().min(AT_ONCE)).collect();
        let trials = wanted.iter();
        let trials = trials.map(|(what, until, _)| (*what, Some(until.clone())));
        let ended = stage.round(trials.collect()).await;
        for ((what, until, tries), (trial, ending)) in wanted.into_iter().zip(ended) {
            let step = until.last().unwrap();
            if trial.is_hit {
                met.push(format!("{what}, killed after {step}: {ending}"));
                continue;
            }
            assert!(tries < TRIES_MAX, "{step} was not met: {:#?}", trial.steps);
            queue.push_back((what, until, tries + 1));
        }
    }
    stage.clear();
    println!("{}", met.join("\n"));
    println!("{} of {all} steps, {} kills", met.len(), stage.kills);
    assert_eq!(met.len(), all, "every step was met");
}
