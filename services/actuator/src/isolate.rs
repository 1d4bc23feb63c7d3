//! Taking a container out of its networks while it runs, and putting it back.
//!
//! Out means out of all of them: cut off in between, it is put back, so that a container is never left with some. The engine forgets
//! everything about a place in a network with it, so what could not be had back by its name and aliases is refused beforehand. Published
//! ports go with the networks and come back with them; one that the engine chose may be another then.

use bollard::models::{ContainerInspectResponse, EndpointSettings};
use units::{Action, Attachment, Command, ContainerId, ContainerName, OutcomeResult, Refusal};

use crate::engine::{Engine, EngineError};
use crate::execute::{Done, Presence, failed, presence, succeeded};
use crate::guard::{Refused, name_of};
use crate::ledger::Before;
use crate::prepare::{Here, Unprepared};
use crate::replica::{NETWORKS_WITHOUT_ALIASES, is_own_name};

/// More networks than any container is in; a command with more is refused.
const NETWORKS_MAX: usize = 64;

/// A container and the networks it is to be in, or out of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Networks {
    pub(crate) container: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) networks: Vec<Attachment>,
}

/// What a container is to be taken out of: all it is in.
///
/// # Errors
/// A refusal where it cannot be done, or not be undone; or what the engine said.
pub(crate) async fn isolation(
    here: &Here<'_>,
    found: &ContainerInspectResponse,
    command: &Command,
) -> Result<Networks, Unprepared> {
    let container = command.action.target();
    let name = name_of(found);
    let mut obstacles = obstacles(found);
    let sharers = here.engine.sharers(container, &name).await?;
    if !sharers.is_empty() {
        obstacles.push(format!("{} shares its network", sharers.join(" and ")));
    }
    if !obstacles.is_empty() {
        let reason = format!("{name} cannot be isolated: {}", obstacles.join("; "));
        return Err(Refused::new(Refusal::Unsafe, reason).into());
    }
    Ok(Networks {
        container: container.clone(),
        name,
        networks: attachments(found),
    })
}

/// What a container is to be put back into: what it is not in by now.
///
/// # Errors
/// A refusal where the command names what is no network.
pub(crate) fn return_of(
    found: &ContainerInspectResponse,
    container: &ContainerId,
    networks: &[Attachment],
) -> Result<Networks, Refused> {
    let name = name_of(found);
    let refused = |reason: String| Err(Refused::new(Refusal::Unsafe, reason));
    if networks.len() > NETWORKS_MAX {
        let length = networks.len();
        return refused(format!("{length} networks are more than {NETWORKS_MAX}"));
    }
    // It becomes part of an address on the engine.
    if let Some(bad) = networks.iter().find(|it| !is_network_name(&it.network)) {
        return refused(format!("{:?} is no name of a network", bad.network));
    }
    let mode = mode_of(found);
    if !has_networks_of_its_own(&mode) {
        return refused(format!(
            "{name} has no networks of its own (network mode {mode})"
        ));
    }
    Ok(Networks {
        container: container.clone(),
        name,
        networks: missing(found, networks),
    })
}

/// Takes it out of every network, or puts it back into those it was taken out of.
pub(crate) async fn isolate(engine: &Engine, work: &Networks) -> Done {
    let Networks {
        container,
        name,
        networks,
    } = work;
    for (at, from) in networks.iter().enumerate() {
        let error = match engine.disconnect(container, &from.network).await {
            Ok(()) => continue,
            Err(error) if error.leaves_doubt() => return Done::Doubtful(error),
            Err(error) => error,
        };
        match presence(engine, container).await {
            Ok(Presence::There(_)) => {}
            Ok(Presence::Going | Presence::Gone) => {
                return Done::Certain(OutcomeResult::Vanished);
            }
            Err(error) => return Done::Doubtful(error),
        }
        let how = match connect(engine, container, &networks[..at]).await {
            Ok(()) => "it was put back into the others".to_owned(),
            Err(NotConnected::Doubtful(error)) => return Done::Doubtful(error),
            Err(NotConnected::Failed(reason)) => reason,
        };
        let network = &from.network;
        return Done::Certain(failed(format_args!(
            "cannot take {name} out of {network}: {error}; {how}"
        )));
    }
    Done::Certain(isolated(networks))
}

/// Puts it back into its networks.
pub(crate) async fn rejoin(engine: &Engine, work: &Networks) -> Done {
    let Networks {
        container,
        name,
        networks,
    } = work;
    let reason = match connect(engine, container, networks).await {
        Ok(()) => return Done::Certain(succeeded()),
        Err(NotConnected::Doubtful(error)) => return Done::Doubtful(error),
        Err(NotConnected::Failed(reason)) => reason,
    };
    Done::Certain(match presence(engine, container).await {
        Ok(Presence::Going | Presence::Gone) => OutcomeResult::Vanished,
        Ok(Presence::There(_)) | Err(_) => failed(format_args!("cannot put {name} back: {reason}")),
    })
}

/// Whether the engine's state proves that it is in none of the networks any more.
///
/// # Errors
/// When the engine cannot be asked.
pub(crate) async fn is_out(
    engine: &Engine,
    container: &ContainerId,
    before: &Before,
) -> Result<Option<OutcomeResult>, EngineError> {
    Ok(match presence(engine, container).await? {
        Presence::There(found) => {
            let is_out = missing(&found, &before.networks).len() == before.networks.len();
            is_out.then(|| isolated(&before.networks))
        }
        Presence::Going | Presence::Gone => Some(OutcomeResult::Vanished),
    })
}

/// Whether the engine's state proves that it is in all of the networks again.
///
/// # Errors
/// When the engine cannot be asked.
pub(crate) async fn is_back(
    engine: &Engine,
    container: &ContainerId,
    networks: &[Attachment],
) -> Result<Option<OutcomeResult>, EngineError> {
    Ok(match presence(engine, container).await? {
        Presence::There(found) => missing(&found, networks).is_empty().then(succeeded),
        Presence::Going | Presence::Gone => Some(OutcomeResult::Vanished),
    })
}

/// Puts a container that was cut off in between back into its networks. Done again, it changes nothing.
///
/// # Errors
/// When the engine cannot be asked; then it is to be done again.
pub(crate) async fn recover(
    engine: &Engine,
    action: &Action,
    before: &Before,
) -> Result<OutcomeResult, EngineError> {
    let (container, name) = (action.target(), action.name());
    let found = match presence(engine, container).await? {
        Presence::There(found) => found,
        Presence::Going | Presence::Gone => return Ok(OutcomeResult::Vanished),
    };
    let missing = missing(&found, &before.networks);
    if missing.is_empty() {
        return Ok(OutcomeResult::Interrupted);
    }
    match connect(engine, container, &missing).await {
        Ok(()) => Ok(failed(format_args!(
            "interrupted before {name} was out of all its networks; it was put back"
        ))),
        Err(NotConnected::Doubtful(error)) => Err(error),
        Err(NotConnected::Failed(reason)) => Ok(failed(format_args!(
            "interrupted before {name} was out of all its networks: {reason}"
        ))),
    }
}

fn isolated(networks: &[Attachment]) -> OutcomeResult {
    OutcomeResult::Succeeded {
        networks: networks.to_vec(),
        sealed: None,
        created: None,
        previous: None,
        image: None,
    }
}

enum NotConnected {
    /// What could not be had back, and how a person can.
    Failed(String),
    Doubtful(EngineError),
}

/// Connects to each network it is not in; all are tried.
async fn connect(
    engine: &Engine,
    container: &ContainerId,
    networks: &[Attachment],
) -> Result<(), NotConnected> {
    let mut problems = Vec::new();
    for Attachment { network, aliases } in networks {
        let plain = NETWORKS_WITHOUT_ALIASES.contains(&network.as_str());
        let endpoint = EndpointSettings {
            aliases: (!plain).then(|| aliases.clone()),
            ..EndpointSettings::default()
        };
        let error = match engine.connect(container, network, &endpoint).await {
            Ok(()) => continue,
            Err(error) if error.leaves_doubt() => return Err(NotConnected::Doubtful(error)),
            Err(error) => error,
        };
        // Somebody else may have put it back meanwhile; the engine words that like other refusals.
        match presence(engine, container).await {
            Ok(Presence::There(found)) if is_in(&found, network) => {}
            Ok(Presence::There(_) | Presence::Going | Presence::Gone) => {
                problems.push(format!("cannot connect it to {network}: {error}"));
            }
            Err(error) => return Err(NotConnected::Doubtful(error)),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(NotConnected::Failed(format!(
            "{}; do it by hand with `docker network connect`",
            problems.join("; ")
        ))),
    }
}

fn obstacles(found: &ContainerInspectResponse) -> Vec<String> {
    let mut obstacles = Vec::new();
    let state = found.state.as_ref();
    if state.and_then(|state| state.running) != Some(true) {
        obstacles.push("it does not run".to_owned());
    }
    let mode = mode_of(found);
    if !has_networks_of_its_own(&mode) {
        obstacles.push(format!(
            "it has no networks of its own (network mode {mode})"
        ));
        return obstacles;
    }
    let networks = networks_of(found);
    if networks.is_empty() {
        obstacles.push("it is in no network".to_owned());
    }
    if networks.len() > NETWORKS_MAX {
        obstacles.push(format!("it is in more than {NETWORKS_MAX} networks"));
    }
    for (network, endpoint) in networks {
        let asked = endpoint.ipam_config.clone().unwrap_or_default();
        let is_set = |text: &Option<String>| text.as_deref().is_some_and(|it| !it.is_empty());
        if is_set(&asked.ipv4_address) || is_set(&asked.ipv6_address) {
            obstacles.push(format!("its fixed address in {network} would be lost"));
        }
        let has_links = endpoint.links.as_ref().is_some_and(|it| !it.is_empty());
        let has_options = endpoint
            .driver_opts
            .as_ref()
            .is_some_and(|it| !it.is_empty());
        if has_links || has_options || endpoint.gw_priority.unwrap_or(0) != 0 {
            obstacles.push(format!("its links or options in {network} would be lost"));
        }
    }
    obstacles
}

fn mode_of(found: &ContainerInspectResponse) -> String {
    let host = found.host_config.as_ref();
    host.and_then(|it| it.network_mode.clone())
        .unwrap_or_default()
}

fn has_networks_of_its_own(mode: &str) -> bool {
    !["host", "none"].contains(&mode) && !mode.starts_with("container:")
}

/// Sorted by name, so that the same container always gives the same.
fn networks_of(found: &ContainerInspectResponse) -> Vec<(&String, &EndpointSettings)> {
    let settings = found.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<_> = networks.into_iter().flatten().collect();
    networks.sort_by_key(|(network, _)| *network);
    networks
}

/// The networks it is in, with the names it answers to beside its own.
fn attachments(found: &ContainerInspectResponse) -> Vec<Attachment> {
    let attachment = |(network, endpoint): (&String, &EndpointSettings)| {
        let aliases = endpoint.aliases.iter().flatten();
        Attachment {
            network: network.clone(),
            aliases: aliases
                .filter(|alias| !is_own_name(found, alias))
                .cloned()
                .collect(),
        }
    };
    networks_of(found).into_iter().map(attachment).collect()
}

fn is_in(found: &ContainerInspectResponse, network: &str) -> bool {
    networks_of(found).iter().any(|(name, _)| *name == network)
}

fn missing(found: &ContainerInspectResponse, networks: &[Attachment]) -> Vec<Attachment> {
    let networks = networks.iter();
    networks
        .filter(|it| !is_in(found, &it.network))
        .cloned()
        .collect()
}

/// What the engine takes for one, and no path.
fn is_network_name(text: &str) -> bool {
    let is_part = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    text.starts_with(|it: char| it.is_ascii_alphanumeric()) && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{ContainerState, EndpointIpamConfig, HostConfig, NetworkSettings};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn container(mode: &str, networks: &[(&str, EndpointSettings)]) -> ContainerInspectResponse {
        let networks = networks.iter().cloned();
        ContainerInspectResponse {
            id: Some(ID.to_owned()),
            name: Some("/shop-web-1".to_owned()),
            state: Some(ContainerState {
                running: Some(true),
                ..ContainerState::default()
            }),
            host_config: Some(HostConfig {
                network_mode: Some(mode.to_owned()),
                ..HostConfig::default()
            }),
            network_settings: Some(NetworkSettings {
                networks: Some(
                    networks
                        .map(|(name, it)| (name.to_owned(), it))
                        .collect::<HashMap<_, _>>(),
                ),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    fn known_as(aliases: &[&str]) -> EndpointSettings {
        EndpointSettings {
            aliases: Some(aliases.iter().map(|it| (*it).to_owned()).collect()),
            ..EndpointSettings::default()
        }
    }

    fn attachment(network: &str, aliases: &[&str]) -> Attachment {
        Attachment {
            network: network.to_owned(),
            aliases: aliases.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_told_of_networks_is_what_it_takes_to_join_them_again() {
        let found = container(
            "shop",
            &[
                ("shop", known_as(&["web", &ID[..12], "shop-web-1"])),
                ("back", EndpointSettings::default()),
            ],
        );
        assert!(obstacles(&found).is_empty());
        let told = attachments(&found);
        let expected = [attachment("back", &[]), attachment("shop", &["web"])];
        assert_eq!(told, expected, "without its own id and name");
        assert!(missing(&found, &told).is_empty());
        let out = container("shop", &[("back", EndpointSettings::default())]);
        assert_eq!(missing(&out, &told), expected[1..]);
    }

    #[test]
    fn what_could_not_be_had_back_is_refused_and_named() {
        let fixed = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some("10.0.0.2".to_owned()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        let linked = EndpointSettings {
            links: Some(vec!["db:db".to_owned()]),
            ..EndpointSettings::default()
        };
        let mut stopped = container("shop", &[("shop", known_as(&[]))]);
        stopped.state = None;
        for (found, word) in [
            (container("host", &[("host", known_as(&[]))]), "mode host"),
            (container("none", &[("none", known_as(&[]))]), "mode none"),
            (container("container:ab", &[]), "mode container:ab"),
            (container("shop", &[]), "in no network"),
            (container("shop", &[("shop", fixed)]), "fixed address"),
            (container("shop", &[("shop", linked)]), "links"),
            (stopped, "does not run"),
        ] {
            let found = obstacles(&found);
            assert_eq!(found.len(), 1, "{word}: {found:?}");
            assert!(found[0].contains(word), "{word}: {found:?}");
        }
    }

    #[test]
    fn only_names_of_networks_are_taken_for_a_return() {
        let out = container("shop", &[]);
        let id = ContainerId::from(ID);
        let back = |network: &str| return_of(&out, &id, &[attachment(network, &["web"])]);
        let work = back("shop_default").unwrap();
        assert_eq!(work.networks, [attachment("shop_default", &["web"])]);
        for bad in ["", "../containers/x", "a/b", "a?b", "-a", "a b"] {
            assert_eq!(back(bad).unwrap_err().refusal, Refusal::Unsafe, "{bad}");
        }
        let host = container("host", &[]);
        assert!(return_of(&host, &id, &[]).is_err());
        let many = vec![attachment("a", &[]); NETWORKS_MAX + 1];
        assert!(return_of(&out, &id, &many).is_err());
    }
}
