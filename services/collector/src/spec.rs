//! What a container was created from, out of the engine's description of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, HealthConfig, HostConfig, MountPoint,
    NetworkSettings, PortBinding,
};
use units::{
    ComposeSpec, ContainerSpec, HealthSpec, MountKind, MountSpec, NetworkSpec, PortSpec,
    RestartSpec,
};

const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const COMPOSE_DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Items kept of each list: a container with more is made by a program, and one record must hold a thousand containers.
const ITEMS_MAX: usize = 64;
/// Bytes kept of one argument, such as a script given to `sh -c`.
const ARGUMENT_BYTES_MAX: usize = 1_024;

/// Reads the specification of a container.
pub(crate) fn read(answer: &ContainerInspectResponse) -> ContainerSpec {
    let (config, host) = (answer.config.as_ref(), answer.host_config.as_ref());
    let config_of = |of: fn(&ContainerConfig) -> Option<&Vec<String>>| config.and_then(of);
    let mode = host.and_then(|host| host.network_mode.clone());
    ContainerSpec {
        image_digest: answer.image.clone().unwrap_or_default(),
        entrypoint: words(config_of(|config| config.entrypoint.as_ref())),
        command: words(config_of(|config| config.cmd.as_ref())),
        environment: names(config_of(|config| config.env.as_ref())),
        compose: config
            .and_then(|config| config.labels.as_ref())
            .and_then(compose),
        network_mode: mode.unwrap_or_default(),
        networks: networks(answer.network_settings.as_ref()),
        ports: ports(host.and_then(|host| host.port_bindings.as_ref())),
        published: ports(
            answer
                .network_settings
                .as_ref()
                .and_then(|settings| settings.ports.as_ref()),
        ),
        exposed: names(config_of(|config| config.exposed_ports.as_ref())),
        mounts: mounts(answer.mounts.as_deref().unwrap_or_default()),
        restart: host.map(restart).unwrap_or_default(),
        health: config
            .and_then(|config| config.healthcheck.as_ref())
            .and_then(health),
        stop_signal: config
            .and_then(|config| config.stop_signal.clone())
            .filter(|signal| !signal.is_empty()),
        log_driver: host
            .and_then(|host| host.log_config.as_ref())
            .and_then(|log| log.typ.clone())
            .unwrap_or_default(),
    }
}

fn words(list: Option<&Vec<String>>) -> Vec<String> {
    let list = list.map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .take(ITEMS_MAX)
        .map(|word| word[..word.floor_char_boundary(ARGUMENT_BYTES_MAX)].to_owned())
        .collect()
}

/// Names alone, in order: values hold secrets.
fn names(list: Option<&Vec<String>>) -> Vec<String> {
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let name = |pair: &String| match pair.split_once('=') {
        Some((name, _)) => name.to_owned(),
        None => pair.clone(),
    };
    let mut names: Vec<String> = list.iter().take(ITEMS_MAX).map(name).collect();
    names.sort_unstable();
    names
}

fn compose(labels: &HashMap<String, String>) -> Option<ComposeSpec> {
    // `db:service_healthy:true,cache:service_started:false`
    let depends_on = labels.get(COMPOSE_DEPENDS_ON).map_or("", String::as_str);
    let mut depends_on: Vec<String> = depends_on
        .split(',')
        .filter_map(|part| part.split(':').next())
        .filter(|service| !service.is_empty())
        .take(ITEMS_MAX)
        .map(str::to_owned)
        .collect();
    depends_on.sort_unstable();
    Some(ComposeSpec {
        project: labels.get(COMPOSE_PROJECT)?.clone(),
        service: labels.get(COMPOSE_SERVICE)?.clone(),
        depends_on,
    })
}

fn networks(settings: Option<&NetworkSettings>) -> Vec<NetworkSpec> {
    let Some(networks) = settings.and_then(|settings| settings.networks.as_ref()) else {
        return Vec::new();
    };
    // The engine tells them in any order; ours must not look like a change.
    let sorted: BTreeMap<_, _> = networks.iter().collect();
    sorted
        .into_iter()
        .take(ITEMS_MAX)
        .map(|(name, endpoint)| {
            let addresses = [&endpoint.ip_address, &endpoint.global_ipv6_address];
            let mut aliases = words(endpoint.aliases.as_ref());
            aliases.sort_unstable();
            NetworkSpec {
                name: name.clone(),
                aliases,
                addresses: addresses
                    .into_iter()
                    .flatten()
                    .filter(|address| !address.is_empty())
                    .cloned()
                    .collect(),
            }
        })
        .collect()
}

fn ports(bindings: Option<&HashMap<String, Option<Vec<PortBinding>>>>) -> Vec<PortSpec> {
    let sorted: BTreeMap<_, _> = bindings.into_iter().flatten().collect();
    sorted
        .into_iter()
        .flat_map(|(port, bindings)| {
            bindings.iter().flatten().map(|binding| PortSpec {
                container: port.clone(),
                host_address: binding.host_ip.clone().unwrap_or_default(),
                host_port: binding.host_port.clone().unwrap_or_default(),
            })
        })
        .take(ITEMS_MAX)
        .collect()
}

fn mounts(mounts: &[MountPoint]) -> Vec<MountSpec> {
    let mut mounts: Vec<MountSpec> = mounts
        .iter()
        .take(ITEMS_MAX)
        .map(|mount| {
            let kind = match mount.typ.as_deref() {
                Some("volume") => MountKind::Volume,
                Some("bind") => MountKind::Bind,
                Some("tmpfs") => MountKind::Tmpfs,
                Some(_) | None => MountKind::Other,
            };
            let source = match kind {
                MountKind::Volume => mount.name.as_ref(),
                MountKind::Bind | MountKind::Tmpfs | MountKind::Other => mount.source.as_ref(),
            };
            MountSpec {
                kind,
                source: source.cloned().unwrap_or_default(),
                target: mount.destination.clone().unwrap_or_default(),
                driver: mount.driver.clone().unwrap_or_default(),
                access: match mount.rw {
                    Some(false) => "ro".to_owned(),
                    Some(true) | None => "rw".to_owned(),
                },
            }
        })
        .collect();
    mounts.sort_unstable_by(|a, b| a.target.cmp(&b.target));
    mounts
}

fn restart(host: &HostConfig) -> RestartSpec {
    let policy = host.restart_policy.as_ref();
    RestartSpec {
        policy: policy
            .and_then(|policy| policy.name)
            .map(|name| name.to_string())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "no".to_owned()),
        attempts_max: policy
            .and_then(|policy| policy.maximum_retry_count)
            .and_then(|count| u64::try_from(count).ok())
            .filter(|count| *count > 0),
    }
}

/// Zeros are the engine's defaults: 30 s, 30 s, 3 and none.
fn health(config: &HealthConfig) -> Option<HealthSpec> {
    let test = words(config.test.as_ref());
    if test.first().is_none_or(|word| word == "NONE") {
        return None;
    }
    let nanoseconds = |value: Option<i64>, default: Duration| {
        let value = value.and_then(|ns| u64::try_from(ns).ok());
        value
            .filter(|ns| *ns > 0)
            .map_or(default, Duration::from_nanos)
    };
    const DEFAULT: Duration = Duration::from_secs(30);
    let retries = config.retries.and_then(|count| u64::try_from(count).ok());
    Some(HealthSpec {
        test,
        interval: nanoseconds(config.interval, DEFAULT),
        timeout: nanoseconds(config.timeout, DEFAULT),
        retries: retries.filter(|count| *count > 0).unwrap_or(3),
        start_period: nanoseconds(config.start_period, Duration::ZERO),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_needed_to_make_a_container_again_is_told_without_secrets() {
        let answer = serde_json::from_value(json!({
            "Id": "a", "Image": "sha256:77",
            "Config": {"Cmd": ["serve"], "Env": ["TOKEN=hush", "PATH=/bin"], "StopSignal": "SIGINT",
                "Healthcheck": {"Test": ["CMD", "/check"], "Interval": 5_000_000_000_i64},
                "ExposedPorts": {"8081/tcp": {}, "80/tcp": {}},
                "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                    "com.docker.compose.depends_on": "db:service_healthy:true,cache:service_started:false"}},
            "HostConfig": {"NetworkMode": "shop_default", "LogConfig": {"Type": "json-file"},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}], "81/tcp": null}},
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}], "8081/tcp": null}, "Networks": {"shop_default": {"Aliases": ["web", "a"], "IPAddress": "172.18.0.3"}}},
            "Mounts": [{"Type": "volume", "Name": "assets", "Source": "/var/lib/docker/volumes/assets/_data",
                "Destination": "/assets", "Driver": "local", "RW": false}],
        }));
        let spec = read(&answer.unwrap());
        assert_eq!(spec.image_digest, "sha256:77");
        assert_eq!(spec.environment, ["PATH", "TOKEN"]);
        assert_eq!(spec.compose.unwrap().depends_on, ["cache", "db"]);
        assert_eq!(spec.networks[0].addresses, ["172.18.0.3"]);
        assert_eq!(spec.networks[0].aliases, ["a", "web"]);
        assert_eq!(spec.ports.len(), 1);
        assert_eq!(spec.ports[0].host_port, "", "the engine is to choose");
        let published = spec.published.iter();
        let published: Vec<_> = published
            .map(|it| {
                (
                    it.container.as_str(),
                    it.host_address.as_str(),
                    it.host_port.as_str(),
                )
            })
            .collect();
        assert_eq!(published, [("80/tcp", "0.0.0.0", "32768")]);
        assert_eq!(spec.exposed, ["80/tcp", "8081/tcp"]);
        assert_eq!(spec.mounts[0].source, "assets");
        assert_eq!(spec.mounts[0].access, "ro");
        assert_eq!(spec.restart.attempts_max, Some(3));
        let health = spec.health.unwrap();
        assert_eq!(
            (health.interval, health.timeout, health.retries),
            (Duration::from_secs(5), Duration::from_secs(30), 3)
        );
    }

    #[test]
    fn what_the_engine_does_not_tell_is_left_out() {
        let answer = serde_json::from_value(
            json!({"Id": "a", "Config": {"Healthcheck": {"Test": ["NONE"]}}}),
        );
        let spec = read(&answer.unwrap());
        assert_eq!(spec.health, None);
        assert_eq!(spec.compose, None);
        let answer = serde_json::from_value(json!({"Id": "a"}));
        assert_eq!(read(&answer.unwrap()), ContainerSpec::default());
    }

    #[test]
    fn a_long_script_is_cut() {
        let script = "é".repeat(ARGUMENT_BYTES_MAX);
        let answer = serde_json::from_value(json!({"Id": "a", "Config": {"Cmd": [script]}}));
        assert_eq!(read(&answer.unwrap()).command[0].len(), ARGUMENT_BYTES_MAX);
    }
}
