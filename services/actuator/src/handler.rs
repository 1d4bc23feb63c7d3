//! From one command to its outcome in the log.
//!
//! The order is what makes it safe: begun in the ledger, then the engine, then done in the ledger, then the outcome in the
//! log; the caller commits the command's position last. Whatever is cut off in between is found again by the next start.

mod balance;
mod fetch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::backoff::{Backoff, seed_of};
use kit::health::Dependency;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use units::{
    Action, Command, Generation, Mode, NodeId, Outcome, OutcomeResult, Refusal, Timestamp,
};

use crate::balancer::Balancers;
use crate::engine::Engine;
use crate::events::{
    AnswerLost, CommandAnswered, CommandBegun, CommandRepeated, CommandSettled, Meters,
    OutcomeProduced, OutcomeUndelivered,
};
use crate::execute::{self, Done, Work};
use crate::failover::Failover;
use crate::guard::Refused;
use crate::images::Offers;
use crate::ledger::{Admission, Before, Entry, Ledger, LedgerError, Stage};
use crate::locks::Locks;
use crate::names::Names;
use crate::prepare::{Here, Unprepared, prepare};
use crate::seal::MoveKey;
use crate::settle;

/// First and longest wait before the engine, the ledger or the log is tried again. Tries go on until the command expires,
/// or, once it ran, until shutdown.
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(5);
/// After the shutdown began, an outcome has this long to get into the log; the ledger keeps it for the next start.
const LAST_TRY: Duration = Duration::from_secs(5);

/// What a command did when its deadline passed, where it did nothing yet.
const WAITED: &str = "waited for its turn";

/// What it did while this node's lease was over.
const CUT_OFF: &str =
    "waited for the log to acknowledge this node's heartbeats, without which it must not run here";

/// Carries commands out, several at a time.
pub(crate) struct Handler {
    pub(crate) node: NodeId,
    pub(crate) ceiling: Mode,
    pub(crate) engine: Engine,
    pub(crate) ledger: Ledger,
    pub(crate) ledger_health: Dependency,
    pub(crate) bus: bus::Bus,
    pub(crate) meta: wire::Meta,
    pub(crate) meters: Meters,
    /// One at a time for each container.
    pub(crate) locks: Locks,
    /// So many at a time for the engine.
    pub(crate) slots: Semaphore,
    /// Images come one at a time, beside the commands above: a slow registry holds up no repair.
    pub(crate) pulls: Semaphore,
    /// Where the credentials for registries are.
    pub(crate) auth_file: Option<PathBuf>,
    /// What seals and opens what moves between nodes.
    pub(crate) key: Option<MoveKey>,
    /// What gives this node's images to others, where it does.
    pub(crate) offers: Option<Offers>,
    /// What stands before the containers of this node.
    pub(crate) balancers: Balancers,
    /// The names of the containers of this node.
    pub(crate) names: Names,
    /// This node's part in failover, where it takes one.
    pub(crate) failover: Option<Failover>,
    pub(crate) shutdown: CancellationToken,
}

/// How the handling of a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// Its outcome is in the log: its position can be committed.
    Answered,
    /// The shutdown came first: it will be read again.
    Left,
}

/// Why a command did not get to the engine.
enum Halt {
    /// This is its answer.
    Outcome(Box<OutcomeResult>),
    /// The shutdown came first.
    Shutdown,
}

impl Halt {
    fn outcome(result: OutcomeResult) -> Self {
        Halt::Outcome(Box::new(result))
    }
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Halt::outcome(OutcomeResult::Refused {
            refusal: refused.refusal,
            reason: refused.reason,
        })
    }
}

impl Handler {
    /// Answers one command.
    pub(crate) async fn handle(self: Arc<Self>, command: Command) -> Handled {
        let span = tracing::info_span!(
            "actuator.command",
            command = %command.id,
            plan = %command.plan,
            action = %command.action.kind(),
            container = %command.action.name(),
        );
        if let Some(parent) = &command.traceparent {
            kit::trace::follow(&span, parent);
        }
        let answered = async {
            match self.outcome_of(&command).await {
                Some(outcome) => self.deliver(&outcome).await,
                None => Handled::Left,
            }
        };
        answered.instrument(span).await
    }

    /// Looks into what an earlier run of this process began, and answers it.
    pub(crate) async fn settle(&self, entry: Entry) -> Handled {
        let Entry {
            command,
            began_at,
            stage,
        } = entry;
        let outcome = match stage {
            Stage::Done { outcome } => outcome,
            Stage::Begun { before } => {
                let found = self.found_out(&command, began_at, &before);
                let Some(result) = self.shutdown.run_until_cancelled(found).await else {
                    return Handled::Left;
                };
                let outcome = self.outcome(&command, began_at, result);
                CommandSettled {
                    command: &command,
                    outcome: &outcome,
                }
                .emit();
                match self.finish(&command, outcome).await {
                    Some(outcome) => outcome,
                    None => return Handled::Left,
                }
            }
        };
        self.deliver(&outcome).await
    }

    /// What became of a command, once the engine can be asked.
    async fn found_out(
        &self,
        command: &Command,
        began_at: Timestamp,
        before: &Before,
    ) -> OutcomeResult {
        let mut waits = self.waits(command);
        loop {
            let found = settle::after_restart(&self.engine, command, began_at, before).await;
            if let Ok(result) = found {
                return result;
            }
            // The engine told its health what is wrong with it.
            tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
        }
    }

    /// The answer to a command: an old one, a refusal, or what came of carrying it out. None when the shutdown came first.
    pub(crate) async fn outcome_of(&self, command: &Command) -> Option<Outcome> {
        match self.in_ledger(|| self.ledger.admit(command)).await? {
            Admission::New => {}
            Admission::Stale(newest) => {
                return self.refuse(command, stale(command, newest)).await;
            }
            Admission::Known(stage) => return self.known(command, *stage).await,
        }
        match self.run(command).await {
            Ok(outcome) => self.finish(command, outcome).await,
            Err(Halt::Outcome(result)) => {
                let outcome = self.outcome(command, kit::now(), *result);
                self.finish(command, outcome).await
            }
            Err(Halt::Shutdown) => None,
        }
    }

    async fn known(&self, command: &Command, stage: Stage) -> Option<Outcome> {
        match stage {
            Stage::Done { outcome } => {
                CommandRepeated { command }.emit();
                Some(outcome)
            }
            Stage::Begun { .. } => {
                // Whoever began it in this process is waited for by the caller; what an earlier one began was settled at the
                // start. What is left is a begin whose confirmation was lost with the disk.
                let result = OutcomeResult::Interrupted;
                let outcome = self.outcome(command, kit::now(), result);
                self.finish(command, outcome).await
            }
        }
    }

    async fn refuse(&self, command: &Command, refused: Refused) -> Option<Outcome> {
        let result = OutcomeResult::Refused {
            refusal: refused.refusal,
            reason: refused.reason,
        };
        let outcome = self.outcome(command, kit::now(), result);
        self.finish(command, outcome).await
    }

    /// Waits for the command's turn, checks it, writes it down, and carries it out.
    async fn run(&self, command: &Command) -> Result<Outcome, Halt> {
        self.fetch(command).await?;
        let is_pull = matches!(command.action, Action::PullImage { .. });
        let lock = async {
            match is_pull {
                // Its container is not touched.
                true => None,
                false => Some(self.locks.acquire(command.action.target()).await),
            }
        };
        let _lock = self.before_deadline(command, WAITED, lock).await?;
        // On the heap: what waits for them may itself be deep.
        let away = Box::pin(self.out_of_the_way(command)).await?;
        let outcome = Box::pin(self.in_turn(command)).await;
        self.let_back(command, &away).await;
        let mut outcome = outcome?;
        outcome.note = away.note();
        Ok(outcome)
    }

    /// Carries it out once it has its turn.
    async fn in_turn(&self, command: &Command) -> Result<Outcome, Halt> {
        let turn = match matches!(command.action, Action::PullImage { .. }) {
            true => self.pulls.acquire(),
            false => self.slots.acquire(),
        };
        let _turn = self.before_deadline(command, WAITED, turn).await?;
        let work = self.prepared(command).await?;
        let began_at = kit::now();
        let entry = Entry {
            command: command.clone(),
            began_at,
            stage: Stage::Begun {
                before: work.before(),
            },
        };
        let begun = self.in_ledger(|| self.ledger.begin(entry.clone())).await;
        match begun.ok_or(Halt::Shutdown)? {
            Admission::New => {}
            Admission::Stale(newest) => return Err(stale(command, newest).into()),
            Admission::Known(stage) => match *stage {
                Stage::Done { outcome } => return Ok(outcome),
                // A first try whose confirmation was lost wrote it: the engine was not asked since, or this would not run.
                Stage::Begun { .. } => {}
            },
        }
        // Waiting for the disk may have taken long.
        self.unexpired(command)?;
        CommandBegun { command }.emit();
        let result = self.carried_out(command, &work, began_at).await?;
        Ok(self.outcome(command, began_at, result))
    }

    /// What came of it, found out where the answer was lost.
    async fn carried_out(
        &self,
        command: &Command,
        work: &Work,
        began_at: Timestamp,
    ) -> Result<OutcomeResult, Halt> {
        let before = work.before();
        let carried = execute::carry_out(&self.engine, work, command.deadline);
        let done = match work {
            // It may take minutes, and can be left at any moment.
            Work::Pull(_) => {
                let carried = self.shutdown.run_until_cancelled(carried).await;
                carried.ok_or(Halt::Shutdown)?
            }
            Work::Restart { .. }
            | Work::Update { .. }
            | Work::Create(_)
            | Work::Recreate(_)
            | Work::Remove { .. }
            | Work::Stop { .. }
            | Work::Tell { .. }
            | Work::Succeed(_)
            | Work::Isolate(_)
            | Work::Rejoin(_) => carried.await,
        };
        let error = match done {
            Done::Certain(result) => return Ok(result),
            Done::Doubtful(error) => error,
        };
        AnswerLost {
            command,
            error: &error,
        }
        .emit();
        if settle::is_put_right(&command.action) {
            // It must not stay as it is: put right as after a restart of this process, or by the next one.
            let found = self.found_out(command, began_at, &before);
            let found = self.shutdown.run_until_cancelled(found).await;
            return found.ok_or(Halt::Shutdown);
        }
        Ok(settle::watch(&self.engine, command, began_at, &before).await)
    }

    /// The work, as soon as the engine can be asked what it would be done to.
    async fn prepared(&self, command: &Command) -> Result<Work, Halt> {
        self.answered(command, || async { prepare(&self.here(), command).await })
            .await
    }

    /// Asks until the engine answers, for as long as the command is valid.
    async fn answered<T, F>(&self, command: &Command, ask: impl Fn() -> F) -> Result<T, Halt>
    where
        F: Future<Output = Result<T, Unprepared>>,
    {
        let mut waits = self.waits(command);
        loop {
            self.unexpired(command)?;
            match ask().await {
                Ok(answer) => {
                    self.unexpired(command)?;
                    return Ok(answer);
                }
                Err(Unprepared::Refused(refused)) => return Err(refused.into()),
                Err(Unprepared::Failed(error)) => {
                    return Err(Halt::outcome(OutcomeResult::Failed { error }));
                }
                Err(Unprepared::Cut) => {
                    let wait = self.pause(&mut waits);
                    self.before_deadline(command, CUT_OFF, wait).await??;
                }
                Err(Unprepared::Engine(error)) if error.is_missing() => {
                    return Err(Halt::outcome(OutcomeResult::Vanished));
                }
                Err(Unprepared::Engine(error)) if error.leaves_doubt() => {
                    let wait = self.pause(&mut waits);
                    self.before_deadline(command, WAITED, wait).await??;
                }
                Err(Unprepared::Engine(error)) => {
                    let error = error.to_string();
                    return Err(Halt::outcome(OutcomeResult::Failed { error }));
                }
            }
        }
    }

    pub(crate) fn here(&self) -> Here<'_> {
        Here {
            engine: &self.engine,
            ceiling: self.ceiling,
            auth_file: self.auth_file.as_deref(),
            key: self.key.as_ref(),
            offers: self.offers.as_ref(),
            names: &self.names,
            failover: self.failover.as_ref(),
        }
    }

    fn unexpired(&self, command: &Command) -> Result<(), Halt> {
        let now = kit::now();
        if now <= command.deadline {
            return Ok(());
        }
        let late = now.since(command.deadline);
        let reason = format!("its deadline passed {:.1} s ago", late.as_secs_f64());
        Err(Refused::new(Refusal::Expired, reason).into())
    }

    /// Does something that may wait, for as long as the command is valid and the process runs.
    async fn before_deadline<T>(
        &self,
        command: &Command,
        what: &'static str,
        wait: impl Future<Output = T>,
    ) -> Result<T, Halt> {
        let left = command.deadline.since(kit::now());
        tokio::select! {
            done = wait => Ok(done),
            () = self.shutdown.cancelled() => Err(Halt::Shutdown),
            () = tokio::time::sleep(left) => {
                let reason = format!("its deadline passed while it {what}");
                Err(Refused::new(Refusal::Expired, reason).into())
            }
        }
    }

    fn outcome(&self, command: &Command, began_at: Timestamp, result: OutcomeResult) -> Outcome {
        let here = kit::trace::traceparent(&tracing::Span::current());
        Outcome {
            command: command.id.clone(),
            plan: command.plan.clone(),
            node: self.node.clone(),
            began_at,
            at: kit::now(),
            result,
            traceparent: here.or_else(|| command.traceparent.clone()),
            note: None,
        }
    }

    /// Writes the answer down; it does not change after this.
    async fn finish(&self, command: &Command, outcome: Outcome) -> Option<Outcome> {
        CommandAnswered {
            command,
            outcome: &outcome,
        }
        .emit(&self.meters);
        self.stays_out(command, &outcome).await?;
        let write = || self.ledger.finish(command.clone(), outcome.clone());
        self.in_ledger(write).await?;
        Some(outcome)
    }

    /// Publishes an answer, trying until the log takes it or the shutdown has come.
    async fn deliver(&self, outcome: &Outcome) -> Handled {
        let meta = self.meta.within(outcome.traceparent.clone());
        let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(outcome.command.as_str()));
        loop {
            let last = self.shutdown.is_cancelled();
            let produced = self.bus.produce(wire::encode(outcome, &meta));
            match tokio::time::timeout(LAST_TRY, produced).await {
                Ok(Ok(_)) => {
                    OutcomeProduced.emit(&self.meters);
                    return Handled::Answered;
                }
                Ok(Err(error)) => OutcomeUndelivered {
                    outcome,
                    error: &error,
                }
                .emit(&self.meters),
                // The log says itself what is wrong with it.
                Err(_) => {}
            }
            if last {
                return Handled::Left;
            }
            // After a shutdown one more try follows.
            let _ = self.pause(&mut waits).await;
        }
    }

    /// Uses the ledger, trying until it works or the shutdown has come: with a full disk nothing may be done, and nothing
    /// be forgotten.
    async fn in_ledger<T, F>(&self, work: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(self.node.as_str()));
        loop {
            match work().await {
                Ok(done) => {
                    self.ledger_health.up();
                    return Some(done);
                }
                Err(error) => self.ledger_health.down(kit::boot::chain(&error)),
            }
            self.pause(&mut waits).await.ok()?;
        }
    }

    fn waits(&self, command: &Command) -> Backoff {
        Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(command.id.as_str()))
    }

    async fn pause(&self, waits: &mut Backoff) -> Result<(), Halt> {
        let wait = waits.next().unwrap_or(RETRY_CAP);
        let slept = self.shutdown.run_until_cancelled(tokio::time::sleep(wait));
        slept.await.ok_or(Halt::Shutdown)
    }
}

fn stale(command: &Command, newest: Generation) -> Refused {
    let reason = format!(
        "it comes from the leader of generation {}, and generation {newest} has spoken",
        command.generation
    );
    Refused::new(Refusal::StaleGeneration, reason)
}
