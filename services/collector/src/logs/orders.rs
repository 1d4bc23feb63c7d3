//! From what the engine says of containers to orders for the reader of logs.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use units::{ContainerEvent, ContainerId, ContainerState, NodeId};

use super::{Command, Identity, Run, Seen};
use crate::containers::Action;
use crate::events::LogDriverUnread;
use crate::inspect::{Details, LogFile, LogSource};

/// Tells the reader of logs which to follow. Without a reader it does nothing.
pub(crate) struct Orders {
    commands: Option<mpsc::Sender<Command>>,
    /// Containers whose driver was said not to be read.
    said: BTreeSet<ContainerId>,
}

impl Orders {
    pub(crate) fn new(commands: Option<mpsc::Sender<Command>>) -> Self {
        Orders {
            commands,
            said: BTreeSet::new(),
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
        let log = match known {
            Some(LogSource::JsonFile(log) | LogSource::Local(log)) => Some(log),
            Some(LogSource::Discarded | LogSource::Other { .. }) => None,
            None => expected,
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
        let log = match &details.log {
            LogSource::JsonFile(log) | LogSource::Local(log) => log.clone(),
            // It may have been expected in a file.
            LogSource::Discarded => return self.send(Command::Unread(record.id.clone())).await,
            LogSource::Other { driver } => {
                if self.commands.is_some() && self.said.insert(record.id.clone()) {
                    let (container, id) = (&record.name, &record.id);
                    LogDriverUnread {
                        container,
                        id,
                        driver,
                    }
                    .emit();
                }
                return self.send(Command::Unread(record.id.clone())).await;
            }
        };
        let run = match record.state {
            ContainerState::Created => Run::Expected,
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => {
                Run::Live
            }
            ContainerState::Exited | ContainerState::Dead => Run::Ended,
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

    /// A container is gone.
    pub(crate) async fn removed(&mut self, id: ContainerId) {
        self.said.remove(&id);
        self.send(Command::Removed(id)).await;
    }

    /// These are all there are.
    pub(crate) async fn keep_only(&mut self, ids: BTreeSet<ContainerId>) {
        self.send(Command::KeepOnly(ids)).await;
    }

    async fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The reader ends only with the process.
            let _ = commands.send(command).await;
        }
    }
}
