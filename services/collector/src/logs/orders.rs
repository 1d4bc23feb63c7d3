//! From what the engine says of containers to orders for the reader of logs.

use std::collections::BTreeSet;
use std::path::Path;

use bollard::Docker;
use tokio::sync::mpsc;
use units::{ContainerEvent, ContainerId, ContainerState, NodeId};

use super::scribes::Scribes;
use super::{Command, Identity, LogsFrom, Run, Seen};
use crate::containers::Action;
use crate::events::LogUnkept;
use crate::inspect::{Details, LogFile, LogSource};

/// Tells the reader of logs which to follow. Without a reader it does nothing.
pub(crate) struct Orders {
    commands: Option<mpsc::Sender<Command>>,
    from: LogsFrom,
    /// Absent where nothing outlives the process: what is written down must.
    scribes: Option<Scribes>,
    /// Containers whose driver was said not to be read.
    said: BTreeSet<ContainerId>,
}

impl Orders {
    pub(crate) fn new(
        commands: Option<mpsc::Sender<Command>>,
        from: LogsFrom,
        state_dir: Option<&Path>,
    ) -> Self {
        let scribes = state_dir.zip(commands.clone());
        Orders {
            scribes: scribes
                .map(|(directory, commands)| Scribes::new(directory.join("api-logs"), commands)),
            commands,
            from,
            said: BTreeSet::new(),
        }
    }

    /// The engine answers, for the first time or again.
    pub(crate) fn engine(&mut self, docker: Docker) {
        if let Some(scribes) = &mut self.scribes {
            scribes.engine(docker);
        }
    }

    /// What an event means for the container's log, as far as is known before an inspect: its source when it was described
    /// before, else the file it is expected to have.
    pub(crate) async fn happened(
        &mut self,
        action: Action,
        told: ContainerEvent,
        known: Option<LogSource>,
        expected: Option<LogFile>,
    ) {
        let run = match action {
            Action::Create => Run::Expected,
            Action::Start => Run::Live,
            Action::Die if self.is_written_down(&told.container) => return,
            Action::Die => return self.send(Command::Ended(told.container)).await,
            Action::Destroy => return self.removed(told.container).await,
            Action::Kill
            | Action::OutOfMemory
            | Action::Health(_)
            | Action::Pause
            | Action::Unpause
            | Action::Update
            | Action::Rename
            | Action::Network => return,
        };
        let (log, run) = match (known, self.from) {
            (Some(LogSource::JsonFile(log) | LogSource::Local(log)), LogsFrom::Files) => {
                (Some(log), run)
            }
            (Some(LogSource::Discarded), _) | (None, LogsFrom::Api) => (None, run),
            (None, LogsFrom::Files) => (expected, run),
            (Some(_), _) => match &mut self.scribes {
                Some(scribes) => {
                    let (log, run) = scribes.attend(&told.container, run, Seen::Later);
                    (Some(log), run)
                }
                None => (None, run),
            },
        };
        if let Some(log) = log {
            let identity = Identity {
                node: told.node,
                id: told.container,
                name: told.name,
                service: told.service,
            };
            let seen = Seen::Later;
            self.send(Command::Open {
                identity,
                log,
                run,
                seen,
            })
            .await;
        }
    }

    /// The engine described a container.
    pub(crate) async fn described(&mut self, node: &NodeId, details: &Details, seen: Seen) {
        let record = &details.record;
        let run = match record.state {
            ContainerState::Created => Run::Expected,
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => {
                Run::Live
            }
            ContainerState::Exited | ContainerState::Dead => Run::Ended,
        };
        let (log, run) = match (&details.log, self.from, &mut self.scribes) {
            (LogSource::JsonFile(log) | LogSource::Local(log), LogsFrom::Files, _) => {
                (log.clone(), run)
            }
            // It may have been expected in a file.
            (LogSource::Discarded, _, _) => {
                return self.send(Command::Unread(record.id.clone())).await;
            }
            (_, _, Some(scribes)) => scribes.attend(&record.id, run, seen),
            (source, _, None) => {
                if self.commands.is_some() && self.said.insert(record.id.clone()) {
                    LogUnkept {
                        container: &record.name,
                        driver: source.driver(),
                    }
                    .emit();
                }
                return self.send(Command::Unread(record.id.clone())).await;
            }
        };
        let identity = Identity {
            node: node.clone(),
            id: record.id.clone(),
            name: record.name.clone(),
            service: record.service.clone(),
        };
        self.send(Command::Open {
            identity,
            log,
            run,
            seen,
        })
        .await;
    }

    fn is_written_down(&self, id: &ContainerId) -> bool {
        let scribes = self.scribes.as_ref();
        scribes.is_some_and(|scribes| scribes.writes(id))
    }

    /// A container is gone.
    pub(crate) async fn removed(&mut self, id: ContainerId) {
        self.said.remove(&id);
        if let Some(scribes) = &mut self.scribes {
            let writes = scribes.writes(&id);
            scribes.removed(&id);
            if writes {
                // Who writes it down tells its end.
                return;
            }
        }
        self.send(Command::Removed(id)).await;
    }

    /// These are all there are.
    pub(crate) async fn keep_only(&mut self, ids: BTreeSet<ContainerId>) {
        if let Some(scribes) = &self.scribes {
            scribes.keep_only(&ids);
        }
        self.send(Command::KeepOnly(ids)).await;
    }

    async fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The reader ends only with the process.
            let _ = commands.send(command).await;
        }
    }
}
