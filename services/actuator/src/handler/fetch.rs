//! Having an image at hand before the turn of the command that makes a container of it.

use units::{Action, Command};

use super::{Halt, Handler};
use crate::moving;

/// What such a command did when its deadline passed.
const FETCHED: &str = "had its image pulled; what has come of that is kept";

impl Handler {
    /// Pulls what a container from another node is to be made of. It may take minutes, so it holds up neither other commands nor a
    /// shutdown: it is done before the command has its turn and is written down, and again from where it was left when that is read
    /// anew.
    pub(super) async fn fetch(&self, command: &Command) -> Result<(), Halt> {
        let Action::CreateReplica {
            origin: Some(origin),
            ..
        } = &command.action
        else {
            return Ok(());
        };
        let lacks = || async { moving::lacks_image(&self.here(), command, origin).await };
        if !self.answered(command, lacks).await? {
            return Ok(());
        }
        let fetched = async {
            let _turn = self.pulls.acquire().await;
            let fetch = || async { moving::fetch(&self.here(), command, origin).await };
            self.answered(command, fetch).await
        };
        self.before_deadline(command, FETCHED, fetched).await?
    }
}
