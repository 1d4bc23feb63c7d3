//! Taking the container of a command out of the way of requests first: out of its load balancers, and from under its name.

use tokio::time::Instant;
use units::{Action, Command, Outcome, OutcomeResult};

use super::{Halt, Handler};
use crate::balancer::{self, Departure, Out, Unreleased};
use crate::names::{self, Parted, Parting};

/// A container that gets no requests while this is held.
#[derive(Default)]
pub(super) struct Away<'a> {
    /// What it was taken from.
    parting: Option<Parting>,
    departure: Option<Departure>,
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
        let mut away = Away {
            parting: self.answered(command, parting).await?,
            ..Away::default()
        };
        let taken = self.take_away(command, &mut away).await;
        if let Err(Halt::Shutdown) = taken {
            self.let_back(command, &away).await;
        }
        taken.map(|()| away)
    }

    /// Under its name nobody finds it any more, and no balancer asks it; who found it before is served for a while.
    async fn take_away<'a>(&'a self, command: &Command, away: &mut Away<'a>) -> Result<(), Halt> {
        if let Some(parting) = &away.parting {
            let parted = self.names.give_up(&self.engine, parting).await;
            away.parted = parted.map_err(|error| {
                Halt::outcome(OutcomeResult::Failed {
                    error: format!("cannot take its name from it: {error}"),
                })
            })?;
        }
        self.out_of_balance(command, away).await?;
        let until = away.parted.serves_until;
        if let Some(until) = until.filter(|it| *it > Instant::now()) {
            let wait = self
                .shutdown
                .run_until_cancelled(tokio::time::sleep_until(until));
            wait.await.ok_or(Halt::Shutdown)?;
        }
        Ok(())
    }

    /// What was taken out of the way and runs all the same gets requests again, where the shutdown leaves nobody else to see to that.
    pub(super) async fn let_back(&self, command: &Command, away: &Away<'_>) {
        if !self.shutdown.is_cancelled() {
            return;
        }
        if let Some(parting) = &away.parting {
            self.names.take_back(&self.engine, parting).await;
        }
        let Some(departure) = &away.departure else {
            return;
        };
        let found = self.engine.inspect(command.action.target()).await;
        if found.is_ok_and(|it| balancer::runs(&it)) {
            self.balancers.put_back(departure).await;
        }
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

    async fn out_of_balance<'a>(
        &'a self,
        command: &Command,
        away: &mut Away<'a>,
    ) -> Result<(), Halt> {
        if self.balancers.is_empty() {
            return Ok(());
        }
        let ask = || async { balancer::departure(&self.here(), command).await };
        away.departure = self.answered(command, ask).await?;
        let Some(departure) = &away.departure else {
            return Ok(());
        };
        let taken = self.balancers.take_out(departure);
        let taken = self.shutdown.run_until_cancelled(taken).await;
        match taken.ok_or(Halt::Shutdown)? {
            Ok(out) => away.out = Some(out),
            Err(Unreleased::Last(refused)) => return Err(refused.into()),
            Err(Unreleased::Failed(error)) => {
                return Err(Halt::outcome(OutcomeResult::Failed { error }));
            }
        }
        Ok(())
    }
}
