//! Taking the container of a command out of the way of requests first: out of its load balancers, and from under its name.

use tokio::time::Instant;
use units::{Action, Command, Outcome, OutcomeResult};

use super::{Halt, Handler};
use crate::balancer::{self, Out, Unreleased};
use crate::names::{self, Parted, Parting};

/// A container that gets no requests while this is held.
#[derive(Default)]
pub(super) struct Away<'a> {
    out: Option<Out<'a>>,
    parted: Parted,
}

impl Away<'_> {
    /// What did not go as it should, and was passed over.
    pub(super) fn note(self) -> Option<String> {
        let mut notes = self.parted.notes;
        notes.extend(self.out.and_then(|it| it.note));
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Handler {
    /// Has the container drained that the command takes away. It takes up to the time requests may take, so it is done before the
    /// command has its turn and is written down: cut off, it is done again when the command is read anew, and where that is too late
    /// requests are let to it again by whoever keeps balancers and names.
    pub(super) async fn out_of_the_way(&self, command: &Command) -> Result<Away<'_>, Halt> {
        let parting = || async { names::parting(&self.here(), command).await };
        let Some(parting) = self.answered(command, parting).await? else {
            let out = self.out_of_balance(command).await?;
            let parted = Parted::default();
            return Ok(Away { out, parted });
        };
        match self.parted(command, &parting).await {
            Err(Halt::Shutdown) => {
                self.names.take_back(&self.engine, &parting).await;
                Err(Halt::Shutdown)
            }
            other => other,
        }
    }

    /// Under its name nobody finds it any more; who found it before is served for a while.
    async fn parted(&self, command: &Command, parting: &Parting) -> Result<Away<'_>, Halt> {
        let parted = self.names.give_up(&self.engine, parting).await;
        let parted = parted.map_err(|error| {
            Halt::outcome(OutcomeResult::Failed {
                error: format!("cannot take its name from it: {error}"),
            })
        })?;
        let out = self.out_of_balance(command).await?;
        if let Some(until) = parted.serves_until.filter(|it| *it > Instant::now()) {
            let wait = self
                .shutdown
                .run_until_cancelled(tokio::time::sleep_until(until));
            wait.await.ok_or(Halt::Shutdown)?;
        }
        Ok(Away { out, parted })
    }

    /// What was isolated is not put back by the keeper of names, whatever it owed: the way back has its own command.
    pub(super) async fn stays_out(&self, command: &Command, outcome: &Outcome) -> Option<()> {
        let isolated = matches!(command.action, Action::Isolate { .. })
            && matches!(outcome.result, OutcomeResult::Succeeded { .. });
        if !isolated {
            return Some(());
        }
        let forget = || self.names.forget(command.action.target());
        self.in_ledger(forget).await
    }

    async fn out_of_balance(&self, command: &Command) -> Result<Option<Out<'_>>, Halt> {
        if self.balancers.is_empty() {
            return Ok(None);
        }
        let ask = || async { balancer::departure(&self.here(), command).await };
        let Some(departure) = self.answered(command, ask).await? else {
            return Ok(None);
        };
        let taken = self.balancers.take_out(&departure);
        match self.shutdown.run_until_cancelled(taken).await {
            Some(Ok(out)) => Ok(Some(out)),
            Some(Err(Unreleased::Last(refused))) => Err(refused.into()),
            Some(Err(Unreleased::Failed(error))) => {
                Err(Halt::outcome(OutcomeResult::Failed { error }))
            }
            None => {
                self.balancers.put_back(&departure).await;
                Err(Halt::Shutdown)
            }
        }
    }
}
