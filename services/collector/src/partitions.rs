//! How many partitions the topics have: asked of the log, and kept for a start while the log is away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::backoff::{Backoff, seed_of};
use tokio::sync::mpsc;

use crate::events::{PartitionsChanged, PartitionsUnsaved};
use crate::logs::Command;

const LOG_BASE: Duration = Duration::from_millis(200);
const LOG_CAP: Duration = Duration::from_secs(5);

/// The number of partitions of samples and logs, in a file of the state directory.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    path: Option<PathBuf>,
}

impl Partitions {
    pub(crate) fn new(state_dir: Option<&Path>) -> Self {
        Partitions {
            path: state_dir.map(|directory| directory.join("partitions")),
        }
    }

    /// The number known from before, else what the log answers; `None` when the process is to end before.
    pub(crate) async fn get(&self, context: &kit::Context) -> Option<u32> {
        match self.read() {
            Some(partitions) => Some(partitions),
            None => ask(context).await,
        }
    }

    /// Keeps what the log answers once it does, and tells the reader of logs when that is another number than the one taken.
    /// Returns then, or when the process is to end.
    pub(crate) async fn check(
        &self,
        context: &kit::Context,
        taken: u32,
        logs: Option<mpsc::Sender<Command>>,
    ) {
        let Some(now) = ask(context).await else {
            return;
        };
        if self.read() != Some(now)
            && let Err(error) = self.write(now)
        {
            PartitionsUnsaved { error: &error }.emit();
        }
        if now != taken {
            PartitionsChanged { before: taken, now }.emit();
            if let Some(logs) = logs {
                // The reader ends only with the process.
                let _ = logs.send(Command::Partitions(now)).await;
            }
        }
    }

    /// The number known from before.
    pub(crate) fn read(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path.as_ref()?).ok()?;
        text.trim()
            .parse()
            .ok()
            .filter(|partitions| *partitions > 0)
    }

    /// A reader sees the old file or the new one, never half of one.
    fn write(&self, partitions: u32) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = path.with_extension("new");
        fs::write(&new, format!("{partitions}\n"))?;
        fs::rename(&new, path)
    }
}

/// What the log answers, however long that takes.
async fn ask(context: &kit::Context) -> Option<u32> {
    let log = context.health.dependency(kit::boot::LOG);
    let mut waits = Backoff::new(LOG_BASE, LOG_CAP, seed_of(&context.producer));
    // Ends with the process at the latest.
    loop {
        let asked = context.bus.partitions(wire::topic::SAMPLES);
        match context.shutdown.run_until_cancelled(asked).await? {
            Ok(partitions) => {
                log.up();
                return Some(partitions);
            }
            Err(error) => log.down(kit::boot::chain(&error)),
        }
        let wait = waits.next().unwrap_or(LOG_CAP);
        context
            .shutdown
            .run_until_cancelled(tokio::time::sleep(wait))
            .await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_known_and_what_is_no_number_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let partitions = Partitions::new(Some(&state));
        assert_eq!(partitions.read(), None);
        partitions.write(12).unwrap();
        assert_eq!(partitions.read(), Some(12));
        for text in ["", "0", "-1", "many"] {
            fs::write(state.join("partitions"), text).unwrap();
            assert_eq!(partitions.read(), None, "{text}");
        }
        Partitions::new(None).write(3).unwrap();
    }
}
