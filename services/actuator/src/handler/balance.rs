//! Taking the container of a command out of its load balancers first.

use units::{Command, OutcomeResult};

use super::{Halt, Handler};
use crate::balancer::{self, Out, Unreleased};

impl Handler {
    /// Has the container drained that the command takes away. It takes up to the time requests may take, so it is done before the
    /// command has its turn and is written down: cut off, it is done again when the command is read anew, and where that is too late the
    /// server is put back by whoever keeps the balancers.
    pub(super) async fn out_of_balance(&self, command: &Command) -> Result<Option<Out<'_>>, Halt> {
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
