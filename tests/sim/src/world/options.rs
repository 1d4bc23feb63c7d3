//! What is run, and what came of it.

use std::fmt;
use std::time::Duration;

use control::Config;
use control::config::Scale;
use units::{Mode, Timestamp};

/// A mistake built into the world on purpose, to see that it is found. None is ever in the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nobody audits what the core decides.
    Unaudited,
    /// The core takes every container for one that opted in to everything.
    TakesAllForWilling,
    /// The core takes every service for one that promises a single replica, and any number above.
    TakesNoPromise,
    /// The actuator does not read labels.
    IgnoresLabels,
    /// The actuator does again what it has done.
    RunsTwice,
    /// The actuator begins what is past its deadline.
    IgnoresDeadlines,
    /// The actuator obeys a leader although a newer one has spoken.
    ObeysOldLeaders,
    /// The actuator's ledger is lost with its process.
    ForgetsWhatItBegan,
    /// A new leader does not read the journal.
    ReadsNoJournal,
    /// What is decided is sent and not journaled.
    JournalsNothing,
    /// The engine's events do not reach the core, so it sees nobody at work.
    SeesNoPeople,
    /// The actuator stops nothing when its lease is over.
    NeverFences,
    /// The core takes leases for shorter than they are.
    TakesLeasesForShort,
}

/// Which faults are made how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// All there are.
    All,
    /// Leaders that are superseded, many of them while they stand still with a decision that is not written yet, and what gives them
    /// something to decide.
    Leaders,
    /// Hosts that are lost and come back, with heartbeats, leases and standing exports, beside a lighter load of all there are.
    Losses,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long things go wrong, in simulated time.
    pub duration: Duration,
    /// How long all may take to come to rest afterwards.
    pub rest_within: Duration,
    /// What the core is configured with.
    pub core: Config,
    /// What is promised, and held against the world.
    pub promised: Config,
    /// Which faults.
    pub mix: Mix,
    /// Mistakes made on purpose.
    pub flaws: Vec<Flaw>,
    /// So many of the last lines of what happened are kept for the report.
    pub story_lines: usize,
}

impl Options {
    /// The default configuration, allowed to act, and to stop what is idle for three minutes, for an hour of faults.
    pub fn acting() -> Self {
        let config = Config {
            max_mode: Mode::Act,
            // Several times in the hour that a seed lasts.
            scale: Scale {
                idle_after: Duration::from_secs(180),
                ..Scale::default()
            },
            ..Config::default()
        };
        Options {
            duration: Duration::from_secs(3_600),
            // A kind of action that keeps losing is left alone for an hour, and a container is restarted so often in an hour.
            rest_within: Duration::from_secs(3 * 3_600),
            core: config.clone(),
            promised: config,
            mix: Mix::All,
            flaws: Vec::new(),
            story_lines: 0,
        }
    }

    /// The same where hosts are lost and what ran on them runs elsewhere.
    pub fn losing() -> Self {
        Options {
            mix: Mix::Losses,
            ..Options::acting()
        }
    }

    pub(super) fn is_losing(&self) -> bool {
        self.mix == Mix::Losses
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }
}

/// What must hold, by its number in the design where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// 1: what did not opt in is not touched.
    OptIn,
    /// 2: at most once, not late, not for an old leader.
    Once,
    /// 3: budgets and the breaker.
    Budgets,
    /// 4: what the policy promises.
    Capacity,
    /// 5: journaled, judged, and what keeps losing left alone.
    Journaled,
    /// 6: people are not fought.
    People,
    /// 7: a restart loses nothing and does nothing twice.
    Restart,
    /// 8: what is not known is not acted on.
    Telemetry,
    /// What may run once does not run twice, and nothing is taken over from a host that is there, or from many at once.
    Failover,
    /// The auditor finds nothing wrong with a plan or a command.
    Audit,
    /// What is written is read as the same.
    Codec,
}

impl Invariant {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Invariant::OptIn => "1-opt-in",
            Invariant::Once => "2-once",
            Invariant::Budgets => "3-budgets",
            Invariant::Capacity => "4-capacity",
            Invariant::Journaled => "5-journaled",
            Invariant::People => "6-people",
            Invariant::Restart => "7-restart",
            Invariant::Telemetry => "8-telemetry",
            Invariant::Failover => "failover",
            Invariant::Audit => "audit",
            Invariant::Codec => "codec",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first thing that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which invariant.
    pub invariant: Invariant,
    /// At which step of the world; the same seed comes to it again.
    pub step: u64,
    /// At which time of the world.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
}

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Steps of the world.
    pub steps: u64,
    /// Faults that were made.
    pub faults: u64,
    /// Plans that were decided to be carried out.
    pub plans: u64,
    /// Of these, containers that were to be made in the place of some of lost hosts.
    pub taken_over: u64,
    /// Containers that were stopped by their own host, whose lease was over.
    pub fenced: u64,
    /// Of the plans, replicas that were to go for a more important service.
    pub preempted: u64,
    /// Commands that engines were asked for.
    pub commands: u64,
    /// Leaders there were.
    pub leaders: u64,
    /// FNV-1a over every byte of the journal.
    pub journal_hash: u64,
    /// The first invariant that was broken; the run ends there.
    pub broken: Option<Broken>,
    /// What has not come to rest in time.
    pub unconverged: Option<String>,
    /// How long it took to come to rest once the faults had stopped.
    pub rested_after: Option<Duration>,
    /// The last lines of what happened, as many as were asked for.
    pub story: Vec<String>,
}
