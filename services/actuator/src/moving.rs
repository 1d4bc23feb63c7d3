//! The two ends of a move: telling how a container is made on the node it leaves, and making it on the node where it goes.
//!
//! What is told is what the engine says of the container and its image, sealed (`seal`). The other end trusts it no further than an
//! engine of its own: the same labels, obstacles and ceiling are checked on it again.

mod image;

use bollard::models::{
    ContainerInspectResponse, ContainerSummary, EndpointSettings, NetworkSettings,
};
use units::{Command, ContainerId, ContainerName, NodeId, Origin, Refusal, Relocation};

use crate::anew::LABEL_SWARM_TASK;
use crate::engine::{Engine, EngineError, sharing};
use crate::execute::{self, Done, failed};
use crate::given::Source;
use crate::guard::{self, Consent, Purpose, Refused, labels_of, name_of};
use crate::prepare::{Here, Unprepared, image_by_id};
use crate::replica::{self, NETWORKS_WITHOUT_ALIASES, Replica};
use crate::seal::{Exported, MoveKey, SealError};

use image::{Image, image, told_of};
pub(crate) use image::{fetch, lacks_image};

const VOLUME: &str = "volume";

/// A container that is made as one on another node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Successor {
    pub(crate) replica: Replica,
    /// This node.
    pub(crate) node: NodeId,
}

/// How a container is made, sealed for the move that the command belongs to.
///
/// # Errors
/// A refusal, or what the engine said.
pub(crate) async fn export(
    here: &Here<'_>,
    found: &ContainerInspectResponse,
    command: &Command,
) -> Result<String, Unprepared> {
    let name = name_of(found);
    let relocation = relocation_of(command)?;
    let (container, node) = (command.action.target(), &command.node);
    if relocation.container != *container || relocation.from != *node {
        let reason =
            format!("it belongs to the {relocation}, and {name} on {node} is not what goes");
        return Err(Refused::new(Refusal::Unsafe, reason).into());
    }
    let mut obstacles = obstacles(found);
    if !runs(found) {
        obstacles.push("it does not run".to_owned());
    }
    obstacles.extend(shared(&here.engine.sharers(container, &name).await?));
    stays(&name, &obstacles)?;
    let key = key(here)?;
    let mut exported = exported(here, found, node).await?;
    if let Some(offers) = here.offers {
        let offer = offers.of(key, &exported.image.id);
        exported.offer = Some(offer.map_err(|error| Unprepared::Failed(error.to_string()))?);
    }
    match key.seal(&exported, relocation) {
        Ok(sealed) => Ok(sealed),
        Err(error @ SealError::TooLong { .. }) => {
            let reason = format!("{name} cannot be moved: {error}");
            Err(Refused::new(Refusal::Unsafe, reason).into())
        }
        Err(error) => Err(Unprepared::Failed(error.to_string())),
    }
}

/// How a container of this node is made, as it is told in case the node is lost: without what changes by itself while it runs. None when
/// it does not run.
///
/// # Errors
/// A refusal, or what the engine said.
pub(crate) async fn standing(
    here: &Here<'_>,
    container: &ContainerId,
    node: &NodeId,
    all: &[ContainerSummary],
) -> Result<Option<Exported>, Unprepared> {
    let found = here.engine.inspect(container).await?;
    let found = here.names.as_it_was(found);
    if !runs(&found) {
        return Ok(None);
    }
    let name = name_of(&found);
    let mut obstacles = obstacles(&found);
    obstacles.extend(shared(&sharing(all, container, &name)));
    stays(&name, &obstacles)?;
    let mut exported = exported(here, &found, node).await?;
    exported.inspect = lasting(exported.inspect);
    Ok(Some(exported))
}

fn runs(found: &ContainerInspectResponse) -> bool {
    let state = found.state.as_ref();
    state.and_then(|state| state.running) == Some(true)
}

fn shared(sharers: &[String]) -> Option<String> {
    (!sharers.is_empty()).then(|| format!("{} shares its network", sharers.join(" and ")))
}

async fn exported(
    here: &Here<'_>,
    found: &ContainerInspectResponse,
    node: &NodeId,
) -> Result<Exported, Unprepared> {
    let runs = found.image.as_deref().unwrap_or_default();
    let image = image_by_id(here.engine, &name_of(found), runs).await?;
    Ok(Exported {
        node: node.clone(),
        inspect: by_names(found.clone()),
        image: told_of(found, image),
        offer: None,
    })
}

/// The container that a command wants made as one on another node is, from an image that is here.
///
/// # Errors
/// A refusal, or what the engine said; also when its image is not here by now.
pub(crate) async fn successor(
    here: &Here<'_>,
    command: &Command,
    origin: &Origin,
) -> Result<Successor, Unprepared> {
    let exported = opened(here, command, origin)?;
    here.may_run(&command.action, &exported.inspect)?;
    let image = match image(here.engine, &exported).await? {
        Image::Here(image) => image,
        Image::Elsewhere => {
            let reason = format!(
                "the image {} was pulled, and is gone again",
                exported.image.reference
            );
            return Err(Unprepared::Failed(reason));
        }
    };
    let source = Source { image, given: None };
    let name = command.action.name();
    Ok(Successor {
        replica: replica::replica(&exported.inspect, source, name, command)?,
        node: command.node.clone(),
    })
}

/// Makes and starts it.
pub(crate) async fn create(
    engine: &Engine,
    successor: &Successor,
    deadline: units::Timestamp,
) -> Done {
    let Successor { replica, node } = successor;
    let done = execute::create(engine, replica, deadline).await;
    let Done::Certain(units::OutcomeResult::Failed { error }) = &done else {
        return done;
    };
    // The engine says it at one step or another, by its version. Not asked before, because a network of a swarm comes to a node with
    // its first container there.
    let missing = missing_networks(engine, replica).await.unwrap_or_default();
    if missing.is_empty() {
        return done;
    }
    let networks = missing.join(" and ");
    Done::Certain(failed(format_args!(
        "{error}; {node} has no network {networks}: create it there (docker network create), as it is where {} comes from",
        replica.name
    )))
}

async fn missing_networks(engine: &Engine, replica: &Replica) -> Result<Vec<String>, EngineError> {
    let config = replica.body.networking_config.as_ref();
    let first = config.and_then(|it| it.endpoints_config.as_ref());
    let further = replica.further_networks.iter().map(|(network, _)| network);
    let networks = first.into_iter().flat_map(|it| it.keys()).chain(further);
    let mut missing = Vec::new();
    for network in networks {
        let is_named = !NETWORKS_WITHOUT_ALIASES.contains(&network.as_str());
        if is_named && !engine.has_network(network).await? {
            missing.push(network.clone());
        }
    }
    Ok(missing)
}

fn relocation_of(command: &Command) -> Result<&Relocation, Refused> {
    command.relocation.as_ref().ok_or_else(|| {
        let reason = "it says of no move that it belongs to";
        Refused::new(Refusal::Unsafe, reason)
    })
}

fn key<'a>(here: &Here<'a>) -> Result<&'a MoveKey, Refused> {
    here.key.ok_or_else(|| {
        let reason = "this node has no key for what moves between nodes; set actuator.move_key_file, to the same key on every node";
        Refused::new(Refusal::NoKey, reason)
    })
}

/// What another node told, opened and checked as if the container were here.
fn opened(here: &Here<'_>, command: &Command, origin: &Origin) -> Result<Exported, Refused> {
    let relocation = relocation_of(command)?;
    let unsafe_one = |reason: String| Err(Refused::new(Refusal::Unsafe, reason));
    let is_of_it = relocation.container == *command.action.target()
        && relocation.from == origin.node
        && relocation.to == command.node;
    if !is_of_it {
        return unsafe_one(format!(
            "it belongs to the {relocation}, and would make a container of {} on {}",
            origin.node, command.node
        ));
    }
    if command.action.image_change().is_some() {
        return unsafe_one(
            "a container goes to another node or gets another image, not both".into(),
        );
    }
    let opened = key(here)?.open(&origin.sealed, relocation);
    let exported = opened.map_err(|error| Refused::new(Refusal::NoKey, error.to_string()))?;
    let Exported { node, inspect, .. } = &exported;
    if *node != relocation.from || inspect.id.as_deref() != Some(relocation.container.as_str()) {
        return unsafe_one(format!(
            "what was sealed is of another container than the {relocation}"
        ));
    }
    guard::check(
        &command.action,
        inspect,
        here.ceiling,
        Consent::of(command),
        Purpose::Move,
    )?;
    stays(&name_of(inspect), &obstacles(inspect))?;
    Ok(exported)
}

fn stays(name: &ContainerName, obstacles: &[String]) -> Result<(), Refused> {
    if obstacles.is_empty() {
        return Ok(());
    }
    let reason = format!("{name} cannot be moved: {}", obstacles.join("; "));
    Err(Refused::new(Refusal::Unsafe, reason))
}

/// Why a container cannot be made on another node: what keeps it from being copied, and what it has of its node beyond that.
fn obstacles(found: &ContainerInspectResponse) -> Vec<String> {
    let mut obstacles = crate::safety::obstacles(found);
    let host = found.host_config.clone().unwrap_or_default();
    for volume in found.mounts.iter().flatten() {
        // One that is written was named already.
        if volume.typ.as_deref() == Some(VOLUME) && volume.rw == Some(false) {
            let target = volume.destination.as_deref().unwrap_or("?");
            obstacles.push(format!("it reads a volume of its node at {target}"));
        }
    }
    if host.links.is_some_and(|links| !links.is_empty()) {
        obstacles.push("it is linked to containers of its node (--link)".to_owned());
    }
    if host.auto_remove == Some(true) {
        obstacles.push(
            "the engine removes it as soon as it stops (--rm), and it could not be had back"
                .to_owned(),
        );
    }
    if labels_of(found).contains_key(LABEL_SWARM_TASK) {
        obstacles.push("it is a task of a swarm, which places it itself".to_owned());
    }
    obstacles
}

/// With its network called by its name: the id is that of one engine.
fn by_names(mut found: ContainerInspectResponse) -> ContainerInspectResponse {
    let settings = found.network_settings.as_ref();
    let networks = settings.and_then(|it| it.networks.as_ref());
    if let Some(mode) = found
        .host_config
        .as_mut()
        .and_then(|it| it.network_mode.as_mut())
        && let Some((name, _)) = networks
            .into_iter()
            .flatten()
            .find(|(_, it)| it.network_id.as_ref() == Some(mode))
    {
        mode.clone_from(name);
    }
    found
}

/// Without what the engine changes while it runs: its state, its addresses, and the order in which it names mounts.
fn lasting(found: ContainerInspectResponse) -> ContainerInspectResponse {
    let lasting = |endpoint: EndpointSettings| EndpointSettings {
        aliases: endpoint.aliases,
        links: endpoint.links,
        driver_opts: endpoint.driver_opts,
        ..EndpointSettings::default()
    };
    let networks = found.network_settings.and_then(|it| it.networks);
    let networks = networks.map(|networks| {
        let networks = networks.into_iter();
        networks.map(|(name, it)| (name, lasting(it))).collect()
    });
    let mut mounts = found.mounts;
    if let Some(mounts) = &mut mounts {
        mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    }
    ContainerInspectResponse {
        state: None,
        restart_count: None,
        exec_ids: None,
        size_rw: None,
        size_root_fs: None,
        graph_driver: None,
        storage: None,
        network_settings: Some(NetworkSettings {
            networks,
            ..NetworkSettings::default()
        }),
        mounts,
        ..found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{
        ContainerConfig, ContainerState, EndpointSettings, HostConfig, MountPoint, NetworkSettings,
    };

    use super::*;

    fn ordinary() -> ContainerInspectResponse {
        ContainerInspectResponse {
            name: Some("/web".to_owned()),
            host_config: Some(HostConfig::default()),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn what_a_container_has_of_its_node_keeps_it_there_and_is_named() {
        assert!(obstacles(&ordinary()).is_empty());
        let with = |host: HostConfig| ContainerInspectResponse {
            host_config: Some(host),
            ..ordinary()
        };
        let volume = |rw: bool| ContainerInspectResponse {
            mounts: Some(vec![MountPoint {
                typ: Some(VOLUME.to_owned()),
                destination: Some("/data".to_owned()),
                rw: Some(rw),
                ..MountPoint::default()
            }]),
            ..ordinary()
        };
        let task = ContainerInspectResponse {
            config: Some(ContainerConfig {
                labels: Some(HashMap::from([(
                    LABEL_SWARM_TASK.to_owned(),
                    "t".to_owned(),
                )])),
                ..ContainerConfig::default()
            }),
            ..ordinary()
        };
        let linked = HostConfig {
            links: Some(vec!["/db:/web/db".to_owned()]),
            ..HostConfig::default()
        };
        let fleeting = HostConfig {
            auto_remove: Some(true),
            ..HostConfig::default()
        };
        let privileged = HostConfig {
            privileged: Some(true),
            ..HostConfig::default()
        };
        for (found, word) in [
            (with(linked), "--link"),
            (with(fleeting), "--rm"),
            (with(privileged), "privileged"),
            (volume(true), "writes to a volume at /data"),
            (volume(false), "reads a volume of its node at /data"),
            (task, "swarm"),
        ] {
            let found = obstacles(&found);
            assert_eq!(found.len(), 1, "{word}: {found:?}");
            assert!(found[0].contains(word), "{word}: {found:?}");
        }
    }

    #[test]
    fn what_changes_by_itself_is_not_told_beforehand() {
        let with = |ip: &str, pid: i64, mounts: [&str; 2]| {
            let shop = EndpointSettings {
                ip_address: Some(ip.to_owned()),
                aliases: Some(vec!["shop".to_owned()]),
                ..EndpointSettings::default()
            };
            let mount = |destination: &str| MountPoint {
                destination: Some(destination.to_owned()),
                ..MountPoint::default()
            };
            lasting(ContainerInspectResponse {
                state: Some(ContainerState {
                    pid: Some(pid),
                    ..ContainerState::default()
                }),
                mounts: Some(mounts.map(mount).into()),
                network_settings: Some(NetworkSettings {
                    networks: Some(HashMap::from([("shop".to_owned(), shop)])),
                    ..NetworkSettings::default()
                }),
                ..ordinary()
            })
        };
        let told = with("10.0.0.2", 7, ["/a", "/b"]);
        assert_eq!(told, with("10.0.0.3", 8, ["/b", "/a"]));
        assert_eq!(told.name.as_deref(), Some("/web"));
        let networks = told.network_settings.unwrap().networks.unwrap();
        assert_eq!(networks["shop"].aliases, Some(vec!["shop".to_owned()]));
    }

    #[test]
    fn a_network_is_told_of_by_its_name() {
        let in_shop = |mode: &str| {
            let shop = EndpointSettings {
                network_id: Some("0123abcd".to_owned()),
                ..EndpointSettings::default()
            };
            by_names(ContainerInspectResponse {
                host_config: Some(HostConfig {
                    network_mode: Some(mode.to_owned()),
                    ..HostConfig::default()
                }),
                network_settings: Some(NetworkSettings {
                    networks: Some(HashMap::from([("shop".to_owned(), shop)])),
                    ..NetworkSettings::default()
                }),
                ..ordinary()
            })
            .host_config
            .unwrap()
            .network_mode
        };
        assert_eq!(in_shop("0123abcd").as_deref(), Some("shop"));
        for mode in ["shop", "default", "bridge"] {
            assert_eq!(in_shop(mode).as_deref(), Some(mode));
        }
    }
}
