//! What is done to containers, one thing at a time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, ContainerId, ContainerName, Limits, Millicores, NodeId, Timestamp, duration_ms,
};

/// An image, by the name people know and by its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Image {
    /// The reference a container was created from, such as `shop/web:3`; it may mean another image by now.
    pub reference: String,
    /// The engine's id of it, such as `sha256:…`, which never means another.
    pub id: String,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let digest = self.id.trim_start_matches("sha256:");
        let short = digest.get(..SHOWN).unwrap_or(digest);
        if self.reference.is_empty() || self.reference == self.id {
            return f.write_str(short);
        }
        write!(f, "{} ({short})", self.reference)
    }
}

/// Another image instead of the one a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageChange {
    /// The one it must run when this is done; with any other, somebody else was there first.
    pub from: Image,
    /// The one to run.
    pub to: Image,
}

/// Where a container that is made on one node has its template, and how that is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node of the template.
    pub node: NodeId,
    /// What the actuator there told, in base64, sealed: only actuators with the same key can read it.
    pub sealed: String,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The names it answers to there, beside its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// A container goes to another node. All plans of one move have this in common, and it tells them from those of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    /// The one that goes.
    pub container: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// From here.
    pub from: NodeId,
    /// To there.
    pub to: NodeId,
    /// When that was decided.
    pub at: Timestamp,
    /// The node it leaves is lost: it told beforehand how the container is made ([`crate::StandingExport`]), and the one that was there
    /// goes when the node is back. Absent in older records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

impl fmt::Display for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Relocation { name, from, to, .. } = self;
        match self.lost {
            false => write!(f, "move of {name} from node {from} to {to}"),
            true => write!(f, "failover of {name} from lost node {from} to {to}"),
        }
    }
}

/// One thing to be done to one engine, fully specified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Restart a container; one that was stopped while its service was idle is started.
    Restart {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
        /// How long it may take to stop before it is killed.
        #[serde(rename = "grace_ms", with = "duration_ms")]
        grace: Duration,
    },
    /// Put a new container made the same way in a container's place, under its name.
    Recreate {
        /// Which is replaced.
        container: ContainerId,
        /// The name, which stays.
        name: ContainerName,
        /// How long the one that is replaced may take to stop before it is killed.
        #[serde(rename = "grace_ms", with = "duration_ms")]
        grace: Duration,
        /// Another image for it: a roll back, or one undone. Absent: the image it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageChange>,
    },
    /// Change limits in place.
    UpdateLimits {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
        /// The limits to have; absent ones stay as they are.
        limits: Limits,
    },
    /// Make a container like another and start it.
    CreateReplica {
        /// The one to copy.
        template: ContainerId,
        /// The name to give.
        name: ContainerName,
        /// Another image for it than the one its template runs: the first step of an update.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageChange>,
        /// Where the template is, when that is another node: a step of a move. Absent: the node it is made on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
    },
    /// Tell another node how a container is made: the first step of a move. Nothing that runs is touched.
    Export {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
    },
    /// Take a container out of its networks, and leave it running for people to look at: no request reaches it any more.
    Isolate {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
    },
    /// Put an isolated container back into its networks.
    Rejoin {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
        /// The networks it was taken out of.
        networks: Vec<Attachment>,
    },
    /// Have the image that a container is to run next at hand on its node. Nothing that runs is touched.
    PullImage {
        /// The container it is meant for.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
        /// The reference to pull, such as `shop/web:4`, or an image's id that is there already.
        reference: String,
    },
    /// Stop a container and keep it, also when its engine starts again: an idle service comes down to none, or a successor on another
    /// node serves in its place. A restart starts it again.
    Stop {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
        /// How long it may take to stop before it is killed.
        #[serde(rename = "grace_ms", with = "duration_ms")]
        grace: Duration,
    },
    /// Stop and remove a container Homeostat made.
    RemoveReplica {
        /// Which.
        container: ContainerId,
        /// Its name, for people.
        name: ContainerName,
        /// How long it may take to stop before it is killed.
        #[serde(rename = "grace_ms", with = "duration_ms")]
        grace: Duration,
    },
}

impl Action {
    /// Its kind.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Action::Restart { .. } => ActionKind::Restart,
            Action::Recreate { .. } => ActionKind::Recreate,
            Action::UpdateLimits { .. } => ActionKind::UpdateLimits,
            Action::CreateReplica { .. } => ActionKind::CreateReplica,
            Action::RemoveReplica { .. } => ActionKind::RemoveReplica,
            Action::PullImage { .. } => ActionKind::PullImage,
            Action::Stop { .. } => ActionKind::Stop,
            Action::Export { .. } => ActionKind::Export,
            Action::Isolate { .. } => ActionKind::Isolate,
            Action::Rejoin { .. } => ActionKind::Rejoin,
        }
    }

    /// The name of the container it is about.
    pub const fn name(&self) -> &ContainerName {
        match self {
            Action::Restart { name, .. }
            | Action::Recreate { name, .. }
            | Action::UpdateLimits { name, .. }
            | Action::CreateReplica { name, .. }
            | Action::RemoveReplica { name, .. }
            | Action::PullImage { name, .. }
            | Action::Stop { name, .. }
            | Action::Export { name, .. }
            | Action::Isolate { name, .. }
            | Action::Rejoin { name, .. } => name,
        }
    }

    /// Another image that a container is to run after it.
    pub const fn image_change(&self) -> Option<&ImageChange> {
        match self {
            Action::Recreate { image, .. } | Action::CreateReplica { image, .. } => image.as_ref(),
            Action::Restart { .. }
            | Action::UpdateLimits { .. }
            | Action::RemoveReplica { .. }
            | Action::PullImage { .. }
            | Action::Stop { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => None,
        }
    }

    /// Where the template of what it makes is, when that is another node.
    pub const fn origin(&self) -> Option<&Origin> {
        match self {
            Action::CreateReplica { origin, .. } => origin.as_ref(),
            Action::Restart { .. }
            | Action::Recreate { .. }
            | Action::UpdateLimits { .. }
            | Action::RemoveReplica { .. }
            | Action::PullImage { .. }
            | Action::Stop { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => None,
        }
    }

    /// The container it works on: the template when one is to be made.
    pub const fn target(&self) -> &ContainerId {
        match self {
            Action::Restart { container, .. }
            | Action::Recreate { container, .. }
            | Action::UpdateLimits { container, .. }
            | Action::RemoveReplica { container, .. }
            | Action::PullImage { container, .. }
            | Action::Stop { container, .. }
            | Action::Export { container, .. }
            | Action::Isolate { container, .. }
            | Action::Rejoin { container, .. } => container,
            Action::CreateReplica { template, .. } => template,
        }
    }
}

/// Kinds of action, for budgets, metrics and the ledger of what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Restart a container.
    Restart,
    /// Put a new container in a container's place.
    Recreate,
    /// Change limits in place.
    UpdateLimits,
    /// Add a replica.
    CreateReplica,
    /// Remove a replica.
    RemoveReplica,
    /// Pull an image.
    PullImage,
    /// Stop a container that is idle, or has a successor.
    Stop,
    /// Tell another node how a container is made.
    Export,
    /// Take a container out of its networks.
    Isolate,
    /// Put an isolated container back.
    Rejoin,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [ActionKind; 10] = [
        ActionKind::Restart,
        ActionKind::Recreate,
        ActionKind::UpdateLimits,
        ActionKind::CreateReplica,
        ActionKind::RemoveReplica,
        ActionKind::PullImage,
        ActionKind::Stop,
        ActionKind::Export,
        ActionKind::Isolate,
        ActionKind::Rejoin,
    ];

    /// Whether it changes a container, or makes one. What does not may be done beside anything.
    pub const fn touches_containers(self) -> bool {
        match self {
            ActionKind::PullImage | ActionKind::Export => false,
            ActionKind::Restart
            | ActionKind::Recreate
            | ActionKind::UpdateLimits
            | ActionKind::CreateReplica
            | ActionKind::RemoveReplica
            | ActionKind::Stop
            | ActionKind::Isolate
            | ActionKind::Rejoin => true,
        }
    }

    /// The word on the wire, in metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActionKind::Restart => "restart",
            ActionKind::Recreate => "recreate",
            ActionKind::UpdateLimits => "update_limits",
            ActionKind::CreateReplica => "create_replica",
            ActionKind::RemoveReplica => "remove_replica",
            ActionKind::PullImage => "pull_image",
            ActionKind::Stop => "stop",
            ActionKind::Export => "export",
            ActionKind::Isolate => "isolate",
            ActionKind::Rejoin => "rejoin",
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Restart { name, .. } => write!(f, "restart {name}"),
            Action::Recreate {
                name, image: None, ..
            } => write!(f, "recreate {name}"),
            Action::Recreate {
                name,
                image: Some(image),
                ..
            } => write!(f, "recreate {name} from {}", image.to),
            Action::CreateReplica {
                name,
                image,
                origin,
                ..
            } => {
                write!(f, "add replica {name}")?;
                if let Some(image) = image {
                    write!(f, " from {}", image.to)?;
                }
                match origin {
                    Some(origin) => write!(f, ", as it is made on {}", origin.node),
                    None => Ok(()),
                }
            }
            Action::Export { name, .. } => write!(f, "tell how {name} is made"),
            Action::Isolate { name, .. } => write!(f, "take {name} out of its networks"),
            Action::Rejoin { name, networks, .. } => {
                let networks: Vec<&str> = networks.iter().map(|it| it.network.as_str()).collect();
                write!(f, "put {name} back into {}", networks.join(" and "))
            }
            Action::PullImage {
                name, reference, ..
            } => write!(f, "pull {reference} for {name}"),
            Action::Stop { name, .. } => write!(f, "stop {name}"),
            Action::RemoveReplica { name, .. } => write!(f, "remove replica {name}"),
            Action::UpdateLimits { name, limits, .. } => {
                write!(f, "set limits of {name}:")?;
                write_limit(
                    f,
                    "CPU",
                    limits
                        .cpu
                        .as_ref()
                        .map(|cpu: &Millicores| cpu as &dyn fmt::Display),
                )?;
                write_limit(
                    f,
                    "memory",
                    limits
                        .memory
                        .as_ref()
                        .map(|memory: &Bytes| memory as &dyn fmt::Display),
                )
            }
        }
    }
}

fn write_limit(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    limit: Option<&dyn fmt::Display>,
) -> fmt::Result {
    match limit {
        Some(limit) => write!(f, " {what} {limit}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_back_travels_whole_and_names_its_image() {
        let image = |tag: &str, id: &str| Image {
            reference: format!("shop/web:{tag}"),
            id: format!("sha256:{id}"),
        };
        let action = Action::Recreate {
            container: ContainerId::from("c1"),
            name: ContainerName::from("web-1"),
            grace: Duration::from_secs(10),
            image: Some(ImageChange {
                from: image("4", "4444444444444444"),
                to: image("3", "3333333333333333"),
            }),
        };
        let json = serde_json::to_value(&action).unwrap();
        assert_eq!(json["action"], "recreate");
        assert_eq!(json["image"]["from"]["reference"], "shop/web:4");
        assert_eq!(serde_json::from_value::<Action>(json).unwrap(), action);
        assert_eq!(
            action.to_string(),
            "recreate web-1 from shop/web:3 (333333333333)"
        );
    }

    #[test]
    fn a_recreation_without_an_image_says_none() {
        let json = r#"{"action":"recreate","container":"c1","name":"web-1","grace_ms":10000}"#;
        let action: Action = serde_json::from_str(json).unwrap();
        assert_eq!(action.to_string(), "recreate web-1");
        assert_eq!(serde_json::to_string(&action).unwrap(), json);
    }
}
