//! Which containers must not be copied: a copy of them would reach out of its box, or get into the way of its template.
//!
//! One rule for both who need it: the collector tells it with the inventory, so that no plan is made of what would be refused, and
//! the actuator applies it to what the engine says when it acts. Both hand over the engine's own answer to an inspect request.
//!
//! Everything here is checked on the template, because a replica gets what its template has. What is refused:
//!
//! - privileged containers, and capabilities beyond the engine's default set (with [`CAPABILITIES_ALLOWED`] as exceptions);
//! - namespaces of the host or of another container, and profiles switched off (seccomp, AppArmor, SELinux, masked paths);
//! - bind mounts and devices of the host;
//! - volumes that can be written: the replica would be a second writer to data that expects one, or miss the data;
//! - fixed host ports, which only one container can have. Ports the engine chooses, also from a range, are fine.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The engine gives these to every container.
const CAPABILITIES_DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// These reach no further than the container's own limits: locking memory, and scheduling priorities.
const CAPABILITIES_ALLOWED: [&str; 2] = ["IPC_LOCK", "SYS_NICE"];

/// Kinds of mounts, as the engine names them.
const BIND: &str = "bind";
const VOLUME: &str = "volume";
const TMPFS: &str = "tmpfs";

/// What the engine says of a container, as far as copying it goes. Deserialises from its answer to an inspect request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CopyTemplate {
    host_config: Option<HostConfig>,
    mounts: Option<Vec<MountPoint>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: Option<bool>,
    cap_add: Option<Vec<String>>,
    network_mode: Option<String>,
    pid_mode: Option<String>,
    ipc_mode: Option<String>,
    #[serde(rename = "UTSMode")]
    uts_mode: Option<String>,
    userns_mode: Option<String>,
    cgroup: Option<String>,
    security_opt: Option<Vec<String>>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    binds: Option<Vec<String>>,
    mounts: Option<Vec<Mount>>,
    volumes_from: Option<Vec<String>>,
    devices: Option<Vec<Device>>,
    device_requests: Option<Vec<serde::de::IgnoredAny>>,
    device_cgroup_rules: Option<Vec<String>>,
    port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
}

/// A mount as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    r#type: Option<String>,
    source: Option<String>,
    target: Option<String>,
}

/// A mount as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MountPoint {
    r#type: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    #[serde(rename = "RW")]
    rw: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Device {
    path_on_host: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortBinding {
    host_port: Option<String>,
}

impl CopyTemplate {
    /// Why no replica may be made from this container; empty when one may.
    pub fn obstacles(&self) -> Vec<String> {
        let mut found = Vec::new();
        let Some(host) = &self.host_config else {
            return vec!["the engine does not say how it was made".to_owned()];
        };
        privileges(host, &mut found);
        namespaces(host, &mut found);
        profiles(host, &mut found);
        host_paths(self, host, &mut found);
        volumes(self, host, &mut found);
        devices(host, &mut found);
        ports(host, &mut found);
        found
    }
}

fn privileges(host: &HostConfig, found: &mut Vec<String>) {
    if host.privileged == Some(true) {
        found.push("it is privileged".to_owned());
    }
    for added in host.cap_add.iter().flatten() {
        let upper = added.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if !CAPABILITIES_DEFAULT.contains(&name) && !CAPABILITIES_ALLOWED.contains(&name) {
            found.push(format!("it has the added capability {name}"));
        }
    }
}

fn namespaces(host: &HostConfig, found: &mut Vec<String>) {
    let modes = [
        ("network", &host.network_mode),
        ("PID", &host.pid_mode),
        ("IPC", &host.ipc_mode),
        ("UTS", &host.uts_mode),
        ("user", &host.userns_mode),
        ("cgroup", &host.cgroup),
    ];
    for (kind, mode) in modes {
        let mode = mode.as_deref().unwrap_or_default();
        if mode == "host" {
            found.push(format!("it shares the host's {kind} namespace"));
        } else if mode.starts_with("container:") || mode.starts_with("ns:") {
            found.push(format!(
                "it shares the {kind} namespace of another container ({mode})"
            ));
        }
    }
}

fn profiles(host: &HostConfig, found: &mut Vec<String>) {
    for option in host.security_opt.iter().flatten() {
        let harmless = match option.split_once(['=', ':']) {
            None => option == "no-new-privileges",
            Some(("no-new-privileges", value)) => value == "true",
            Some(("apparmor", profile)) => profile != "unconfined",
            Some(("seccomp", profile)) => profile == "builtin",
            Some(_) => false,
        };
        if !harmless {
            let shown: String = option.chars().take(40).collect();
            found.push(format!("it has the security option {shown}"));
        }
    }
    let bared = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(Vec::is_empty);
    if host.privileged != Some(true) && (bared(&host.masked_paths) || bared(&host.readonly_paths)) {
        found.push(
            "it sees kernel paths that are hidden from others (systempaths=unconfined)".to_owned(),
        );
    }
}

fn host_paths(template: &CopyTemplate, host: &HostConfig, found: &mut Vec<String>) {
    let mut binds: BTreeSet<&str> = BTreeSet::new();
    let asked = host.binds.iter().flatten();
    binds.extend(
        asked
            .filter(|it| it.starts_with('/'))
            .filter_map(|it| it.split(':').next()),
    );
    for mount in host.mounts.iter().flatten() {
        match mount.r#type.as_deref() {
            Some(TMPFS | VOLUME) => {}
            Some(BIND) => {
                binds.insert(mount.source.as_deref().unwrap_or("?"));
            }
            Some(_) | None => {
                let target = mount.target.as_deref().unwrap_or("?");
                found.push(format!(
                    "it has a mount at {target} of a kind that is not copied"
                ));
            }
        }
    }
    let mounted = template.mounts.iter().flatten();
    let mounted = mounted.filter(|mount| mount.r#type.as_deref() == Some(BIND));
    binds.extend(mounted.map(|mount| mount.source.as_deref().unwrap_or("?")));
    found.extend(
        binds
            .iter()
            .map(|source| format!("it has the bind mount {source}")),
    );
}

/// Looks at what is mounted rather than at what was asked for, so that volumes an image declares are seen too.
fn volumes(template: &CopyTemplate, host: &HostConfig, found: &mut Vec<String>) {
    let mounted = template.mounts.iter().flatten();
    let volumes = mounted.filter(|mount| mount.r#type.as_deref() == Some(VOLUME));
    for volume in volumes.filter(|volume| volume.rw != Some(false)) {
        let target = volume.destination.as_deref().unwrap_or("?");
        found.push(format!("it writes to a volume at {target}"));
    }
    if host.volumes_from.iter().flatten().next().is_some() {
        found.push("it takes its volumes from another container".to_owned());
    }
}

fn devices(host: &HostConfig, found: &mut Vec<String>) {
    for device in host.devices.iter().flatten() {
        let path = device.path_on_host.as_deref().unwrap_or("?");
        found.push(format!("it has the host device {path}"));
    }
    if host.device_requests.iter().flatten().next().is_some()
        || host.device_cgroup_rules.iter().flatten().next().is_some()
    {
        found.push("it has access to devices such as GPUs".to_owned());
    }
}

/// Words of the obstacle that a fixed host port is.
const FIXED_PORT: &str = "the fixed host port";

/// Whether an obstacle, as [`CopyTemplate::obstacles`] words it, is a fixed host port: it keeps a copy off the same host, and not off
/// another.
pub fn is_fixed_port(obstacle: &str) -> bool {
    obstacle.contains(FIXED_PORT)
}

fn ports(host: &HostConfig, found: &mut Vec<String>) {
    let mut fixed: Vec<String> = Vec::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        for binding in bindings.iter().flatten().filter(|it| is_fixed(it)) {
            let host_port = binding.host_port.as_deref().unwrap_or_default();
            fixed.push(format!(
                "it publishes {port} on {FIXED_PORT} {host_port}, which only one container can have: publish a range of ports, or let the engine choose"
            ));
        }
    }
    fixed.sort();
    found.append(&mut fixed);
}

fn is_fixed(binding: &PortBinding) -> bool {
    match binding.host_port.as_deref() {
        None | Some("" | "0") => false,
        Some(port) => match port.split_once('-') {
            Some((first, last)) => first == last,
            None => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Ways to make a container, and what is told of each. Any of them can be combined: none sets a single value that another sets.
    fn ways() -> Vec<(Value, Option<&'static str>)> {
        let host = |key: &str, value: Value| json!({"HostConfig": {key: value}});
        let mounted = |mount: Value| json!({"HostConfig": {}, "Mounts": [mount]});
        let hidden = "it sees kernel paths that are hidden from others (systempaths=unconfined)";
        let devices = "it has access to devices such as GPUs";
        let port = "it publishes 80/tcp on the fixed host port 8080, which only one container can have: publish a range of ports, or let the engine choose";
        vec![
            (host("CapAdd", json!(["net_raw", "CAP_SYS_NICE"])), None),
            (
                host("CapAdd", json!(["CAP_SYS_ADMIN"])),
                Some("it has the added capability SYS_ADMIN"),
            ),
            (
                host("NetworkMode", json!("host")),
                Some("it shares the host's network namespace"),
            ),
            (
                host("PidMode", json!("container:abc")),
                Some("it shares the PID namespace of another container (container:abc)"),
            ),
            (
                host("IpcMode", json!("ns:/proc/1/ns/ipc")),
                Some("it shares the IPC namespace of another container (ns:/proc/1/ns/ipc)"),
            ),
            (
                host("UTSMode", json!("host")),
                Some("it shares the host's UTS namespace"),
            ),
            (
                host("UsernsMode", json!("host")),
                Some("it shares the host's user namespace"),
            ),
            (
                host("Cgroup", json!("container:abc")),
                Some("it shares the cgroup namespace of another container (container:abc)"),
            ),
            (host("SecurityOpt", json!(["no-new-privileges"])), None),
            (
                host("SecurityOpt", json!(["label=disable"])),
                Some("it has the security option label=disable"),
            ),
            (host("MaskedPaths", json!([])), Some(hidden)),
            (host("ReadonlyPaths", json!([])), Some(hidden)),
            (host("Binds", json!(["data:/data"])), None),
            (
                host("Binds", json!(["/srv:/srv:ro"])),
                Some("it has the bind mount /srv"),
            ),
            (
                host("Mounts", json!([{"Type": "tmpfs", "Target": "/t"}])),
                None,
            ),
            (
                host("Mounts", json!([{"Type": "cluster", "Target": "/c"}])),
                Some("it has a mount at /c of a kind that is not copied"),
            ),
            (
                host("VolumesFrom", json!(["db"])),
                Some("it takes its volumes from another container"),
            ),
            (
                host("Devices", json!([{"PathOnHost": "/dev/kvm"}])),
                Some("it has the host device /dev/kvm"),
            ),
            (
                host("DeviceRequests", json!([{"Count": -1}])),
                Some(devices),
            ),
            (
                host("DeviceCgroupRules", json!(["c 10:* rwm"])),
                Some(devices),
            ),
            (
                host("PortBindings", json!({"80/tcp": [{"HostPort": "8080"}]})),
                Some(port),
            ),
            (
                host("PortBindings", json!({"81/tcp": [{"HostPort": "0"}]})),
                None,
            ),
            (
                mounted(json!({"Type": "bind", "Source": "/etc", "RW": false})),
                Some("it has the bind mount /etc"),
            ),
            (
                mounted(
                    json!({"Type": "volume", "Driver": "nfs", "Destination": "/d", "RW": true}),
                ),
                Some("it writes to a volume at /d"),
            ),
            (
                mounted(json!({"Type": "volume", "Destination": "/r", "RW": false})),
                None,
            ),
        ]
    }

    /// Both in one: objects by key, lists one after the other.
    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (Value::Array(into), Value::Array(mut from)) => into.append(&mut from),
            (into, from) => *into = from,
        }
    }

    fn host_obstacles(host: Value) -> Vec<String> {
        obstacles(&json!({"HostConfig": host}).to_string())
    }

    proptest! {
        /// No way of making a container hides what another is refused for, and what is harmless stays so in any company.
        #[test]
        fn each_obstacle_is_told_whatever_else_there_is(chosen in proptest::sample::subsequence(ways(), 0..=ways().len())) {
            let mut answer = json!({"HostConfig": {}});
            let mut expected = BTreeSet::new();
            for (way, told) in chosen {
                merge(&mut answer, way);
                expected.extend(told.map(str::to_owned));
            }
            let found = obstacles(&answer.to_string());
            prop_assert_eq!(BTreeSet::from_iter(found.iter().cloned()), expected);
            let distinct: BTreeSet<&String> = found.iter().collect();
            prop_assert_eq!(distinct.len(), found.len(), "told twice: {:?}", found);
        }

        #[test]
        fn a_capability_is_judged_by_its_name_however_it_is_written(
            known in proptest::sample::select([&CAPABILITIES_DEFAULT[..], &CAPABILITIES_ALLOWED[..]].concat()),
            other in "[A-Z_]{1,20}",
        ) {
            for written in [known.to_owned(), known.to_lowercase(), format!("CAP_{known}"), format!("cap_{}", known.to_lowercase())] {
                prop_assert_eq!(host_obstacles(json!({"CapAdd": [written]})), Vec::<String>::new());
            }
            let bare = other.strip_prefix("CAP_").unwrap_or(&other);
            prop_assume!(!CAPABILITIES_DEFAULT.contains(&bare) && !CAPABILITIES_ALLOWED.contains(&bare));
            prop_assert_eq!(host_obstacles(json!({"CapAdd": [other]})).len(), 1);
        }

        /// What is not known to be harmless is refused: text in any alphabet, and of any length.
        #[test]
        fn a_security_option_nobody_knows_is_refused(option in ".{0,80}") {
            prop_assume!(!["no-new-privileges", "apparmor", "seccomp"].iter().any(|known| option.starts_with(known)));
            prop_assert_eq!(host_obstacles(json!({"SecurityOpt": [option]})).len(), 1);
        }

        #[test]
        fn only_a_range_leaves_the_engine_a_choice_of_port(first in 1_u16.., last in 1_u16..) {
            let told = |port: String| host_obstacles(json!({"PortBindings": {"80/tcp": [{"HostPort": port}]}}));
            prop_assert_eq!(told(first.to_string()).len(), 1);
            prop_assert_eq!(told(format!("{first}-{first}")).len(), 1);
            prop_assert_eq!(told(format!("{first}-{last}")).is_empty(), first != last);
        }
    }

    fn obstacles(inspect: &str) -> Vec<String> {
        serde_json::from_str::<CopyTemplate>(inspect)
            .unwrap()
            .obstacles()
    }

    #[test]
    fn an_ordinary_container_may_be_copied() {
        let ordinary = r#"{"Id": "x", "HostConfig": {"Privileged": false, "NetworkMode": "shop", "CapAdd": null,
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8000-8100"}], "81/tcp": null}},
            "Mounts": [{"Type": "volume", "Destination": "/data", "RW": false}]}"#;
        assert_eq!(obstacles(ordinary), Vec::<String>::new());
    }

    #[test]
    fn what_is_unsafe_is_named() {
        let told = obstacles(
            r#"{"HostConfig": {"Privileged": true, "UTSMode": "host", "CapAdd": ["CAP_SYS_ADMIN"],
            "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}, "Mounts": [{"Type": "bind", "Source": "/etc", "RW": false}]}"#,
        );
        assert_eq!(
            told,
            [
                "it is privileged",
                "it has the added capability SYS_ADMIN",
                "it shares the host's UTS namespace",
                "it has the bind mount /etc",
                "it publishes 80/tcp on the fixed host port 80, which only one container can have: publish a range of ports, or let the engine choose",
            ]
        );
    }

    #[test]
    fn an_answer_that_says_nothing_allows_nothing() {
        assert_eq!(obstacles("{}"), ["the engine does not say how it was made"]);
    }
}
