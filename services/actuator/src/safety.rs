//! Whether a replica may be made from a container, by what the engine says of it now. The rule is [`units::CopyTemplate`]'s.

use bollard::models::ContainerInspectResponse;
use units::CopyTemplate;

/// Why no replica may be made from this container; empty when one may.
pub(crate) fn obstacles(template: &ContainerInspectResponse) -> Vec<String> {
    let told = serde_json::to_value(template).and_then(serde_json::from_value::<CopyTemplate>);
    match told {
        Ok(template) => template.obstacles(),
        Err(error) => vec![format!(
            "what the engine says of it cannot be read: {error}"
        )],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{
        DeviceMapping, DeviceRequest, HostConfig, Mount, MountPoint, MountType, PortBinding,
    };

    use super::*;

    const VOLUME: &str = "volume";

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

    /// The rule reads the engine's answer by the names of its fields, and takes one it does not find for one not set: each must
    /// be found in what the client writes.
    #[test]
    fn every_field_the_rule_reads_is_found_in_the_answer() {
        let empty = HostConfig::default;
        let cluster = Mount {
            typ: Some(MountType::CLUSTER),
            target: text("/shared"),
            ..Mount::default()
        };
        for (host, told) in [
            (
                HostConfig {
                    cgroup: text("container:abc"),
                    ..empty()
                },
                "it shares the cgroup namespace of another container (container:abc)",
            ),
            (
                HostConfig {
                    readonly_paths: list(&[]),
                    ..empty()
                },
                "it sees kernel paths that are hidden from others (systempaths=unconfined)",
            ),
            (
                HostConfig {
                    device_requests: Some(vec![DeviceRequest::default()]),
                    ..empty()
                },
                "it has access to devices such as GPUs",
            ),
            (
                HostConfig {
                    device_cgroup_rules: list(&["c 10:* rwm"]),
                    ..empty()
                },
                "it has access to devices such as GPUs",
            ),
            (
                HostConfig {
                    mounts: Some(vec![cluster]),
                    ..empty()
                },
                "it has a mount at /shared of a kind that is not copied",
            ),
        ] {
            assert_eq!(found(host), [told]);
        }
        let bound = ContainerInspectResponse {
            host_config: Some(empty()),
            mounts: Some(vec![MountPoint {
                typ: text("bind"),
                source: text("/etc"),
                ..MountPoint::default()
            }]),
            ..ContainerInspectResponse::default()
        };
        assert_eq!(obstacles(&bound), ["it has the bind mount /etc"]);
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
