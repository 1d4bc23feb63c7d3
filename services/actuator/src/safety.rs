//! Which containers must not be copied: a copy of them would reach out of its box, or get into the way of its template.
//!
//! Everything here is checked on the template, because a replica gets what its template has. What is refused:
//!
//! - privileged containers, and capabilities beyond the engine's default set (with [`CAPABILITIES_ALLOWED`] as exceptions);
//! - namespaces of the host or of another container, and profiles switched off (seccomp, AppArmor, SELinux, masked paths);
//! - bind mounts and devices of the host;
//! - volumes that can be written: the replica would be a second writer to data that expects one, or miss the data;
//! - fixed host ports, which only one container can have. Ports the engine chooses, also from a range, are fine.

use std::collections::BTreeSet;

use bollard::models::{ContainerInspectResponse, HostConfig, MountType, PortBinding};

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

/// Why no replica may be made from this container; empty when one may.
pub(crate) fn obstacles(template: &ContainerInspectResponse) -> Vec<String> {
    let mut found = Vec::new();
    let Some(host) = &template.host_config else {
        return vec!["the engine does not say how it was made".to_owned()];
    };
    privileges(host, &mut found);
    namespaces(host, &mut found);
    profiles(host, &mut found);
    host_paths(template, host, &mut found);
    volumes(template, host, &mut found);
    devices(host, &mut found);
    ports(host, &mut found);
    found
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

fn host_paths(template: &ContainerInspectResponse, host: &HostConfig, found: &mut Vec<String>) {
    let mut binds: BTreeSet<&str> = BTreeSet::new();
    let asked = host.binds.iter().flatten();
    binds.extend(
        asked
            .filter(|it| it.starts_with('/'))
            .filter_map(|it| it.split(':').next()),
    );
    for mount in host.mounts.iter().flatten() {
        match mount.typ {
            Some(MountType::TMPFS | MountType::VOLUME) => {}
            Some(MountType::BIND) => {
                binds.insert(mount.source.as_deref().unwrap_or("?"));
            }
            Some(MountType::CLUSTER | MountType::IMAGE | MountType::NPIPE) | None => {
                let target = mount.target.as_deref().unwrap_or("?");
                found.push(format!(
                    "it has a mount at {target} of a kind that is not copied"
                ));
            }
        }
    }
    let mounted = template.mounts.iter().flatten();
    let mounted = mounted.filter(|mount| mount.typ.as_deref() == Some(BIND));
    binds.extend(mounted.map(|mount| mount.source.as_deref().unwrap_or("?")));
    found.extend(
        binds
            .iter()
            .map(|source| format!("it has the bind mount {source}")),
    );
}

/// Looks at what is mounted rather than at what was asked for, so that volumes an image declares are seen too.
fn volumes(template: &ContainerInspectResponse, host: &HostConfig, found: &mut Vec<String>) {
    let mounted = template.mounts.iter().flatten();
    let volumes = mounted.filter(|mount| mount.typ.as_deref() == Some(VOLUME));
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

fn ports(host: &HostConfig, found: &mut Vec<String>) {
    let mut fixed: Vec<String> = Vec::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        for binding in bindings.iter().flatten().filter(|it| is_fixed(it)) {
            let host_port = binding.host_port.as_deref().unwrap_or_default();
            fixed.push(format!(
                "it publishes {port} on the fixed host port {host_port}, which only one container can have"
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
    use std::collections::HashMap;

    use bollard::models::{DeviceMapping, Mount, MountPoint};

    use super::*;

    fn found(host: HostConfig) -> Vec<String> {
        obstacles(&ContainerInspectResponse {
            host_config: Some(host),
            ..ContainerInspectResponse::default()
        })
    }

    fn text(words: &str) -> Option<String> {
        Some(words.to_owned())
    }

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn an_ordinary_container_may_be_copied() {
        let ordinary = HostConfig {
            network_mode: text("shop_default"),
            ipc_mode: text("private"),
            cap_add: list(&["CAP_NET_BIND_SERVICE", "ipc_lock"]),
            security_opt: list(&["no-new-privileges:true", "apparmor=docker-default"]),
            binds: list(&["named:/data:ro"]),
            masked_paths: list(&["/proc/kcore"]),
            port_bindings: Some(HashMap::from([(
                "80/tcp".to_owned(),
                Some(vec![
                    PortBinding {
                        host_ip: None,
                        host_port: text(""),
                    },
                    PortBinding {
                        host_ip: None,
                        host_port: text("8000-8010"),
                    },
                ]),
            )])),
            ..HostConfig::default()
        };
        assert_eq!(found(ordinary), Vec::<String>::new());
    }

    #[test]
    fn what_reaches_out_of_its_box_is_refused_and_named() {
        let device = DeviceMapping {
            path_on_host: text("/dev/kvm"),
            ..DeviceMapping::default()
        };
        let bind = Mount {
            typ: Some(MountType::BIND),
            source: text("/etc"),
            ..Mount::default()
        };
        let ports = HashMap::from([(
            "80/tcp".to_owned(),
            Some(vec![PortBinding {
                host_ip: None,
                host_port: text("8080"),
            }]),
        )]);
        let empty = HostConfig::default;
        for (host, word) in [
            (
                HostConfig {
                    privileged: Some(true),
                    ..empty()
                },
                "privileged",
            ),
            (
                HostConfig {
                    network_mode: text("host"),
                    ..empty()
                },
                "host's network",
            ),
            (
                HostConfig {
                    network_mode: text("container:abc"),
                    ..empty()
                },
                "another container",
            ),
            (
                HostConfig {
                    pid_mode: text("host"),
                    ..empty()
                },
                "host's PID",
            ),
            (
                HostConfig {
                    ipc_mode: text("host"),
                    ..empty()
                },
                "host's IPC",
            ),
            (
                HostConfig {
                    uts_mode: text("host"),
                    ..empty()
                },
                "host's UTS",
            ),
            (
                HostConfig {
                    userns_mode: text("host"),
                    ..empty()
                },
                "host's user",
            ),
            (
                HostConfig {
                    cap_add: list(&["SYS_ADMIN"]),
                    ..empty()
                },
                "SYS_ADMIN",
            ),
            (
                HostConfig {
                    cap_add: list(&["ALL"]),
                    ..empty()
                },
                "capability ALL",
            ),
            (
                HostConfig {
                    security_opt: list(&["seccomp=unconfined"]),
                    ..empty()
                },
                "seccomp",
            ),
            (
                HostConfig {
                    security_opt: list(&["apparmor:unconfined"]),
                    ..empty()
                },
                "apparmor",
            ),
            (
                HostConfig {
                    security_opt: list(&["label=disable"]),
                    ..empty()
                },
                "label",
            ),
            (
                HostConfig {
                    masked_paths: list(&[]),
                    ..empty()
                },
                "kernel paths",
            ),
            (
                HostConfig {
                    binds: list(&["/:/host:ro"]),
                    ..empty()
                },
                "bind mount /",
            ),
            (
                HostConfig {
                    mounts: Some(vec![bind]),
                    ..empty()
                },
                "bind mount /etc",
            ),
            (
                HostConfig {
                    volumes_from: list(&["db"]),
                    ..empty()
                },
                "volumes from",
            ),
            (
                HostConfig {
                    devices: Some(vec![device]),
                    ..empty()
                },
                "/dev/kvm",
            ),
            (
                HostConfig {
                    port_bindings: Some(ports),
                    ..empty()
                },
                "fixed host port 8080",
            ),
        ] {
            let found = found(host);
            assert_eq!(found.len(), 1, "{word}: {found:?}");
            assert!(found[0].contains(word), "{word}: {found:?}");
        }
    }

    #[test]
    fn volumes_may_be_shared_only_for_reading() {
        let mounted = |rw| {
            obstacles(&ContainerInspectResponse {
                host_config: Some(HostConfig::default()),
                mounts: Some(vec![MountPoint {
                    typ: text(VOLUME),
                    destination: text("/data"),
                    rw: Some(rw),
                    ..MountPoint::default()
                }]),
                ..ContainerInspectResponse::default()
            })
        };
        assert_eq!(mounted(true), ["it writes to a volume at /data"]);
        assert!(mounted(false).is_empty());
    }

    #[test]
    fn what_the_engine_does_not_describe_is_not_copied() {
        assert_eq!(obstacles(&ContainerInspectResponse::default()).len(), 1);
    }
}
