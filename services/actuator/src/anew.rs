//! A container once more, as the engine is asked for it: the same in everything that was said when it was made, for the same place.
//!
//! Other than a replica it comes instead of its template, never beside it: fixed ports, volumes that are written, addresses and names
//! are its own to have, and so are privileges, since it gets none that the one before had not. What cannot be had again is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, Mount, MountPoint,
    MountType, NetworkingConfig,
};
use units::{Command, ContainerName, LABEL_COMMAND, Refusal};

use crate::given::{Source, leave_out};
use crate::guard::{Refused, labels_of, name_of};
use crate::replica::{NETWORKS_WITHOUT_ALIASES, Replica, as_asked_for, is_own_id};

pub(crate) const LABEL_SWARM_TASK: &str = "com.docker.swarm.task.id";
const VOLUME: &str = "volume";
/// Networks that are no networks to be connected to: the mode says it all.
const MODES: [&str; 2] = ["host", "none"];
const SHARED: &str = "container:";

/// The container once more.
///
/// # Errors
/// [`Refusal::Unsafe`] with every obstacle there is.
pub(crate) fn anew(
    before: &ContainerInspectResponse,
    source: Source,
    name: &ContainerName,
    command: &Command,
) -> Result<Replica, Refused> {
    let obstacles = obstacles(before, command);
    if !obstacles.is_empty() {
        let reason = format!("{name} cannot be recreated: {}", obstacles.join("; "));
        return Err(Refused::new(Refusal::Unsafe, reason));
    }
    let host = before.host_config.clone().unwrap_or_default();
    let mode = host.network_mode.clone().unwrap_or_default();
    let (first, further_networks) = networks(before, &mode);
    let mut config = before.config.clone().unwrap_or_default();
    let mut labels = labels_of(before);
    if let Some(given) = &source.given {
        leave_out(given, &mut config, &mut labels);
    }
    labels.insert(LABEL_COMMAND.to_owned(), command.id.to_string());
    if mode.starts_with(SHARED) {
        // They are those of the network's owner, and the engine takes none beside it.
        config.hostname = None;
        config.domainname = None;
        config.exposed_ports = None;
    }
    let shares_names = host.uts_mode.as_deref() == Some("host");
    let hostname = config
        .hostname
        .filter(|it| !is_own_id(before, it) && !shares_names);
    let body = ContainerCreateBody {
        hostname,
        domainname: config.domainname,
        user: config.user,
        exposed_ports: config.exposed_ports,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        args_escaped: config.args_escaped,
        image: Some(source.image),
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        network_disabled: config.network_disabled,
        labels: Some(labels.into_iter().collect()),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        shell: config.shell,
        host_config: Some(host_config(host, before.mounts.as_deref().unwrap_or(&[]))),
        networking_config: first.map(|(network, endpoint)| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint)])),
        }),
        // Streams are attached by clients, ONBUILD is for builds.
        attach_stdin: None,
        attach_stdout: None,
        attach_stderr: None,
        on_build: None,
    };
    Ok(Replica {
        name: name.clone(),
        body,
        further_networks,
    })
}

fn obstacles(before: &ContainerInspectResponse, command: &Command) -> Vec<String> {
    let mut found = Vec::new();
    let Some(host) = &before.host_config else {
        return vec!["the engine does not say how it was made".to_owned()];
    };
    if host.auto_remove == Some(true) {
        found.push(
            "the engine removes it with its anonymous volumes as soon as it stops (--rm)"
                .to_owned(),
        );
    }
    if labels_of(before).contains_key(LABEL_SWARM_TASK) {
        found.push("it is a task of a swarm, which replaces it itself".to_owned());
    }
    let state = before.state.clone().unwrap_or_default();
    // One that an update made, and that ended, is what has to go back most.
    let is_updated = command.update.is_some();
    if !is_updated && state.running != Some(true) && state.restarting != Some(true) {
        found.push("it does not run, and may have been stopped by a person".to_owned());
    }
    for volume in before.mounts.iter().flatten().filter(|it| is_volume(it)) {
        if volume.name.as_deref().unwrap_or_default().is_empty() {
            let target = volume.destination.as_deref().unwrap_or("?");
            found.push(format!("the volume at {target} has no name to be found by"));
        }
    }
    found
}

fn is_volume(mount: &MountPoint) -> bool {
    mount.typ.as_deref() == Some(VOLUME)
}

/// As it was asked for, with each anonymous volume asked for by its name: the new container gets it, and no other is made.
fn host_config(mut host: HostConfig, mounted: &[MountPoint]) -> HostConfig {
    host.container_id_file = None;
    if let Some(links) = &mut host.links {
        for link in links {
            *link = as_asked_for(link);
        }
    }
    let mut volumes: BTreeMap<String, &MountPoint> = BTreeMap::new();
    for volume in mounted.iter().filter(|it| is_volume(it)) {
        if let Some(destination) = &volume.destination {
            volumes.insert(destination.clone(), volume);
        }
    }
    for bind in host.binds.iter().flatten() {
        if let Some(destination) = bind.split(':').nth(1) {
            volumes.remove(destination);
        }
    }
    for mount in host.mounts.iter_mut().flatten() {
        let Some(volume) = mount.target.as_ref().and_then(|it| volumes.remove(it)) else {
            continue;
        };
        name_source(mount, volume);
    }
    for (destination, volume) in volumes {
        let name = volume.name.as_deref().unwrap_or_default();
        let access = match volume.rw {
            Some(false) => ":ro",
            Some(true) | None => "",
        };
        let binds = host.binds.get_or_insert_default();
        binds.push(format!("{name}:{destination}{access}"));
    }
    host
}

fn name_source(mount: &mut Mount, volume: &MountPoint) {
    let is_unnamed = mount.source.as_deref().unwrap_or_default().is_empty();
    if mount.typ == Some(MountType::VOLUME) && is_unnamed {
        mount.source.clone_from(&volume.name);
    }
}

type Endpoint = (String, EndpointSettings);

/// The network to be created in, and the others, as they were asked for.
fn networks(before: &ContainerInspectResponse, mode: &str) -> (Option<Endpoint>, Vec<Endpoint>) {
    let (mut first, mut further) = (None, Vec::new());
    if mode.starts_with(SHARED) || MODES.contains(&mode) {
        return (first, further);
    }
    let settings = before.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.clone());
    let networks: BTreeMap<_, _> = networks.unwrap_or_default().into_iter().collect();
    for (network, endpoint) in networks {
        let is_main = network == mode || endpoint.network_id.as_deref() == Some(mode);
        let plain = NETWORKS_WITHOUT_ALIASES.contains(&network.as_str());
        let aliases = endpoint.aliases.unwrap_or_default().into_iter();
        let asked = EndpointSettings {
            aliases: (!plain).then(|| aliases.filter(|it| !is_own_id(before, it)).collect()),
            ipam_config: endpoint.ipam_config,
            links: endpoint.links,
            driver_opts: endpoint.driver_opts,
            gw_priority: endpoint.gw_priority,
            ..EndpointSettings::default()
        };
        match (is_main, plain) {
            (true, false) => first = Some((mode.to_owned(), asked)),
            // The mode alone says it.
            (true, true) => {}
            (false, true) if ["", "default"].contains(&mode) => {}
            (false, true) => further.push((network, EndpointSettings::default())),
            (false, false) => further.push((network, asked)),
        }
    }
    (first, further)
}

/// Whether an image goes by the same name as the one a container was made from, whatever the tag. One without any name may: a new
/// build took it over.
///
/// # Errors
/// [`Refusal::Unsafe`]: a command must not put something else in a container's place.
pub(crate) fn same_repository(
    before: &ContainerInspectResponse,
    image: &bollard::models::ImageInspect,
) -> Result<(), Refused> {
    let config = before.config.as_ref();
    let reference = config.and_then(|config| config.image.as_deref());
    let reference = reference.unwrap_or_default();
    let named = image.repo_tags.iter().chain(&image.repo_digests).flatten();
    let named: BTreeSet<&str> = named.map(|it| repository(it)).collect();
    let is_name = !reference.is_empty() && !reference.starts_with("sha256:");
    if !is_name || named.is_empty() || named.contains(repository(reference)) {
        return Ok(());
    }
    let reason = format!(
        "{} was made from {reference}, and the image to put in its place is one of {}",
        name_of(before),
        named.into_iter().collect::<Vec<_>>().join(", ")
    );
    Err(Refused::new(Refusal::Unsafe, reason))
}

/// A reference without its tag and digest, and without what the engine adds to short names.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[path..].find(':').map_or(name.len(), |at| path + at);
    let name = &name[..end];
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

#[cfg(test)]
mod tests;
