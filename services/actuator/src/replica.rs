//! A replica as the engine is asked for it: its template once more, without what is the template's own.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, NetworkingConfig,
    PortBinding, PortMap,
};
use units::{
    Command, ContainerId, ContainerName, LABEL_COMMAND, LABEL_PLAN, LABEL_REPLICA_OF, Refusal,
    ServiceId,
};

use crate::given::{Source, leave_out};
use crate::guard::{Refused, labels_of, name_of};
use crate::names::name_to_come;
use crate::safety;

/// Compose numbers its containers and, scaling down, removes the highest first: ours come after all of its own.
const LABEL_COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
const COMPOSE_NUMBER_BASE: u64 = 1_000;
const LABEL_SERVICE: &str = "io.homeostat.service";
/// The engine's name for its own default network, where aliases are not possible.
pub(crate) const NETWORKS_WITHOUT_ALIASES: [&str; 4] = ["default", "bridge", "none", "nat"];

/// Everything needed to make one replica.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Replica {
    pub(crate) name: ContainerName,
    pub(crate) body: ContainerCreateBody,
    /// Networks beyond the first. Engines before API 1.44 take one at creation, so the rest is connected before the start.
    pub(crate) further_networks: Vec<(String, EndpointSettings)>,
}

/// The image a template was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The reference it was named by.
    pub(crate) reference: String,
    /// What that reference meant then.
    pub(crate) id: String,
}

/// The image of a container; absent when the engine does not say.
pub(crate) fn image_of(template: &ContainerInspectResponse) -> Option<Image> {
    let id = template.image.clone()?;
    let config = template.config.as_ref();
    let reference = config.and_then(|config| config.image.clone());
    Some(Image {
        reference: reference.unwrap_or_else(|| id.clone()),
        id,
    })
}

/// The replica `name` of a template, made from `source` for `command`.
///
/// # Errors
/// [`Refusal::Unsafe`] with every obstacle there is.
pub(crate) fn replica(
    template: &ContainerInspectResponse,
    source: Source,
    name: &ContainerName,
    command: &Command,
) -> Result<Replica, Refused> {
    let obstacles = safety::obstacles(template);
    if !obstacles.is_empty() {
        let reason = format!(
            "{} cannot be copied: {}",
            name_of(template),
            obstacles.join("; ")
        );
        return Err(Refused::new(Refusal::Unsafe, reason));
    }
    let host = template.host_config.clone().unwrap_or_default();
    let (first, further_networks) = networks(template, &host);
    let mut config = template.config.clone().unwrap_or_default();
    let mut own_labels = labels_of(template);
    if let Some(given) = &source.given {
        leave_out(given, &mut config, &mut own_labels);
    }
    let labels = labels(template, own_labels, name, command);
    let own_hostname = config.hostname.filter(|it| !is_own_id(template, it));
    let body = ContainerCreateBody {
        hostname: own_hostname,
        domainname: config.domainname,
        user: config.user,
        exposed_ports: config.exposed_ports,
        tty: config.tty,
        open_stdin: config.open_stdin,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        args_escaped: config.args_escaped,
        image: Some(source.image),
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        network_disabled: config.network_disabled,
        labels: Some(labels.into_iter().collect()),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        shell: config.shell,
        host_config: Some(host_config(host)),
        networking_config: first.map(|(network, endpoint)| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint)])),
        }),
        // Streams are attached by clients, volumes that can be written were refused, ONBUILD is for builds.
        attach_stdin: None,
        attach_stdout: None,
        attach_stderr: None,
        stdin_once: None,
        volumes: None,
        on_build: None,
    };
    Ok(Replica {
        name: name.clone(),
        body,
        further_networks,
    })
}

/// The labels it has of its template with ours on top. The service is said outright where the new name would make it another one.
fn labels(
    template: &ContainerInspectResponse,
    mut labels: BTreeMap<String, String>,
    name: &ContainerName,
    command: &Command,
) -> BTreeMap<String, String> {
    let service = ServiceId::from_labels(&labels_of(template), &name_of(template));
    let id = template.id.clone().unwrap_or_default();
    labels.insert(LABEL_REPLICA_OF.to_owned(), id);
    labels.insert(LABEL_PLAN.to_owned(), command.plan.to_string());
    labels.insert(LABEL_COMMAND.to_owned(), command.id.to_string());
    if let Some(number) = labels.get_mut(LABEL_COMPOSE_NUMBER) {
        *number = (COMPOSE_NUMBER_BASE + trailing_number(name.as_str())).to_string();
    }
    if ServiceId::from_labels(&labels, name) != service {
        labels.insert(LABEL_SERVICE.to_owned(), service.to_string());
    }
    labels
}

fn trailing_number(name: &str) -> u64 {
    let digits = name.len() - name.trim_end_matches(|it: char| it.is_ascii_digit()).len();
    name[name.len() - digits..].parse().unwrap_or(0)
}

/// What of the template's host configuration a replica gets. Taken apart in full, so that a field the engine's API gains
/// is decided about here before it is copied; in rows, because one field a line would fill two screens.
#[rustfmt::skip]
fn host_config(template: HostConfig) -> HostConfig {
    let HostConfig {
        // Checked in `safety` to be harmless or absent.
        cap_add, network_mode, ipc_mode, pid_mode: _, uts_mode: _, userns_mode: _, cgroup: _, privileged: _,
        security_opt, masked_paths: _, readonly_paths: _, binds, mounts, volumes_from: _, devices: _,
        device_cgroup_rules: _, device_requests: _, port_bindings, links,
        // The template's own, or made for another host system.
        container_id_file: _, console_size: _, isolation: _, cpu_count: _, cpu_percent: _, io_maximum_iops: _,
        io_maximum_bandwidth: _,
        // On cgroup v1 every container shows "host" here; a replica gets the engine's default.
        cgroupns_mode: _,
        // Limits.
        cpu_shares, memory, cgroup_parent, blkio_weight, blkio_weight_device, blkio_device_read_bps,
        blkio_device_write_bps, blkio_device_read_iops, blkio_device_write_iops, cpu_period, cpu_quota,
        cpu_realtime_period, cpu_realtime_runtime, cpuset_cpus, cpuset_mems, memory_reservation, memory_swap,
        memory_swappiness, nano_cpus, oom_kill_disable, init, pids_limit, ulimits,
        // The rest of how it was made.
        log_config, restart_policy, auto_remove, volume_driver, annotations, cap_drop, dns, dns_options,
        dns_search, extra_hosts, group_add, oom_score_adj, publish_all_ports, readonly_rootfs, storage_opt, tmpfs,
        shm_size, sysctls, runtime,
    } = template;
    HostConfig {
        port_bindings: port_bindings.map(chosen_by_the_engine),
        links: links.map(|links| links.iter().map(|link| as_asked_for(link)).collect()),
        cap_add, network_mode, ipc_mode, security_opt, binds, mounts, cpu_shares, memory, cgroup_parent,
        blkio_weight, blkio_weight_device, blkio_device_read_bps, blkio_device_write_bps, blkio_device_read_iops,
        blkio_device_write_iops, cpu_period, cpu_quota, cpu_realtime_period, cpu_realtime_runtime, cpuset_cpus,
        cpuset_mems, memory_reservation, memory_swap, memory_swappiness, nano_cpus, oom_kill_disable, init,
        pids_limit, ulimits, log_config, restart_policy, auto_remove, volume_driver, annotations, cap_drop, dns,
        dns_options, dns_search, extra_hosts, group_add, oom_score_adj, publish_all_ports, readonly_rootfs,
        storage_opt, tmpfs, shm_size, sysctls, runtime,
        ..HostConfig::default()
    }
}

/// Ranges stay, everything else was a free choice and is one again.
fn chosen_by_the_engine(ports: PortMap) -> PortMap {
    let again = |binding: PortBinding| {
        let range = binding.host_port.filter(|port| port.contains('-'));
        PortBinding {
            host_ip: binding.host_ip,
            host_port: Some(range.unwrap_or_default()),
        }
    };
    let ports = ports.into_iter();
    ports
        .map(|(port, bindings)| (port, bindings.map(|it| it.into_iter().map(again).collect())))
        .collect()
}

/// The engine shows a link as `/target:/self/alias` and takes it as `target:alias`.
pub(crate) fn as_asked_for(link: &str) -> String {
    match link.split_once(':') {
        Some((target, alias)) => {
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            format!("{}:{alias}", target.trim_start_matches('/'))
        }
        None => link.trim_start_matches('/').to_owned(),
    }
}

type Endpoint = (String, EndpointSettings);

/// The network to be created in, and the others, each with the aliases that are the service's and not the template's.
fn networks(
    template: &ContainerInspectResponse,
    host: &HostConfig,
) -> (Option<Endpoint>, Vec<Endpoint>) {
    let settings = template.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.clone());
    let networks: BTreeMap<_, _> = networks.unwrap_or_default().into_iter().collect();
    let main = host.network_mode.as_deref().unwrap_or("default");
    let to_come = name_to_come(template);
    let is_to_come = |alias: &str| to_come.as_ref().is_some_and(|it| it.as_str() == alias);
    let mut first = None;
    let mut further = Vec::new();
    for (network, endpoint) in networks {
        let is_main = network == main || endpoint.network_id.as_deref() == Some(main);
        let aliases = endpoint.aliases.unwrap_or_default().into_iter();
        let shared = aliases
            .filter(|alias| !is_own_name(template, alias) && !is_to_come(alias))
            .collect();
        let asked = EndpointSettings {
            aliases: Some(shared),
            driver_opts: endpoint.driver_opts,
            links: endpoint.links,
            ..EndpointSettings::default()
        };
        if NETWORKS_WITHOUT_ALIASES.contains(&network.as_str()) {
            // The mode alone says it when it is the main one.
            if !is_main && main != "default" {
                further.push((network, EndpointSettings::default()));
            }
        } else if is_main {
            first = Some((main.to_owned(), asked));
        } else {
            further.push((network, asked));
        }
    }
    (first, further)
}

/// Whether an alias is one the engine gave it, or its own name.
pub(crate) fn is_own_name(template: &ContainerInspectResponse, alias: &str) -> bool {
    alias == name_of(template).as_str() || is_own_id(template, alias)
}

/// The engine adds the short id as alias and host name by itself.
pub(crate) fn is_own_id(template: &ContainerInspectResponse, text: &str) -> bool {
    let id = ContainerId::from(template.id.as_deref().unwrap_or_default());
    text == id.as_str() || text == id.short()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bollard::models::{ContainerConfig, ImageConfig, NetworkSettings};
    use units::{Action, CommandId, Generation, NodeId, PlanId, Timestamp};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn command() -> Command {
        let now = Timestamp::from_millis(1_000_000);
        let plan = PlanId::from("shop/web-create_replica-1000000");
        Command {
            id: CommandId::of(&plan, 0),
            plan,
            generation: Generation(1),
            service: ServiceId::from("shop/web"),
            node: NodeId::from("a"),
            issued_at: now,
            deadline: now + Duration::from_secs(30),
            action: Action::CreateReplica {
                template: ContainerId::from(ID),
                name: "web-r3".into(),
                image: None,
                origin: None,
            },
            approval: None,
            update: None,
            relocation: None,
            traceparent: None,
        }
    }

    fn text(words: &str) -> Option<String> {
        Some(words.to_owned())
    }

    fn template(labels: &[(&str, &str)], host: HostConfig) -> ContainerInspectResponse {
        let pairs = labels.iter();
        let labels = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ContainerInspectResponse {
            id: text(ID),
            name: text("/shop-web-1"),
            image: text("sha256:feed"),
            config: Some(ContainerConfig {
                hostname: text(&ID[..12]),
                image: text("web:1"),
                env: Some(vec!["A=1".to_owned()]),
                labels: Some(labels.collect()),
                ..ContainerConfig::default()
            }),
            host_config: Some(host),
            ..ContainerInspectResponse::default()
        }
    }

    fn same_image() -> Source {
        Source {
            image: "web:1".to_owned(),
            given: None,
        }
    }

    fn made(template: &ContainerInspectResponse) -> Replica {
        replica(template, same_image(), &"shop-web-1-r3".into(), &command()).unwrap()
    }

    #[test]
    fn the_copy_is_marked_as_ours_and_stays_in_its_service() {
        let labels = made(&template(&[("a", "b")], HostConfig::default()))
            .body
            .labels
            .unwrap();
        assert_eq!(labels["a"], "b");
        assert_eq!(labels[LABEL_REPLICA_OF], ID);
        assert_eq!(labels[LABEL_PLAN], command().plan.as_str());
        assert_eq!(labels[LABEL_COMMAND], command().id.as_str());
        assert_eq!(
            labels[LABEL_SERVICE], "shop-web-1",
            "the name was the service"
        );
    }

    #[test]
    fn of_another_image_it_has_that_images_defaults_and_what_somebody_asked_for() {
        let mut template = template(&[("a", "b"), ("version", "1")], HostConfig::default());
        let config = template.config.as_mut().unwrap();
        let words = |words: &[&str]| Some(words.iter().map(|it| (*it).to_owned()).collect());
        config.env = words(&["A=1", "VERSION=1"]);
        config.cmd = words(&["serve"]);
        let given = ImageConfig {
            env: words(&["VERSION=1"]),
            cmd: words(&["serve"]),
            labels: Some(HashMap::from([("version".to_owned(), "1".to_owned())])),
            ..ImageConfig::default()
        };
        let source = Source {
            image: "web:2".to_owned(),
            given: Some(given),
        };
        let body = replica(&template, source, &"web-r2".into(), &command())
            .unwrap()
            .body;
        assert_eq!(body.image, text("web:2"));
        assert_eq!(body.env, words(&["A=1"]));
        assert_eq!(body.cmd, None);
        let labels = body.labels.unwrap();
        assert_eq!(labels["a"], "b");
        assert!(!labels.contains_key("version"), "{labels:?}");
        assert_eq!(labels[LABEL_SERVICE], "shop-web-1");
    }

    #[test]
    fn compose_still_knows_the_copy_and_would_remove_it_first() {
        let compose = [
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "web"),
            (LABEL_COMPOSE_NUMBER, "1"),
        ];
        let labels = made(&template(&compose, HostConfig::default()))
            .body
            .labels
            .unwrap();
        assert_eq!(labels[LABEL_COMPOSE_NUMBER], "1003");
        assert!(
            !labels.contains_key(LABEL_SERVICE),
            "the compose labels say it"
        );
    }

    #[test]
    fn what_is_the_templates_own_is_left_behind() {
        let host = HostConfig {
            network_mode: text("shop_default"),
            nano_cpus: Some(500_000_000),
            port_bindings: Some(HashMap::from([(
                "80/tcp".to_owned(),
                Some(vec![PortBinding {
                    host_ip: text("127.0.0.1"),
                    host_port: text("0"),
                }]),
            )])),
            links: Some(vec!["/db:/shop-web-1/database".to_owned()]),
            container_id_file: text("/tmp/cid"),
            ..HostConfig::default()
        };
        let endpoint = |aliases: &[&str]| EndpointSettings {
            aliases: Some(aliases.iter().map(|it| (*it).to_owned()).collect()),
            ip_address: text("10.0.0.2"),
            mac_address: text("02:42:0a:00:00:02"),
            ..EndpointSettings::default()
        };
        let mut template = template(&[], host);
        template.network_settings = Some(NetworkSettings {
            networks: Some(HashMap::from([
                (
                    "shop_default".to_owned(),
                    endpoint(&["web", "shop-web-1", &ID[..12]]),
                ),
                ("back".to_owned(), endpoint(&["web-back"])),
            ])),
            ..NetworkSettings::default()
        });
        let made = made(&template);
        assert_eq!(made.body.hostname, None);
        assert_eq!(made.body.env, Some(vec!["A=1".to_owned()]));
        let host = made.body.host_config.unwrap();
        assert_eq!(host.nano_cpus, Some(500_000_000));
        assert_eq!(host.container_id_file, None);
        assert_eq!(host.links.unwrap(), ["db:database"]);
        let port = host.port_bindings.unwrap()["80/tcp"]
            .clone()
            .unwrap()
            .remove(0);
        assert_eq!(
            (port.host_ip, port.host_port),
            (text("127.0.0.1"), text(""))
        );
        let main = made
            .body
            .networking_config
            .unwrap()
            .endpoints_config
            .unwrap();
        assert_eq!(main["shop_default"].aliases, Some(vec!["web".to_owned()]));
        assert_eq!(main["shop_default"].mac_address, None);
        assert_eq!(made.further_networks.len(), 1);
        assert_eq!(made.further_networks[0].0, "back");
        assert_eq!(made.further_networks[0].1.ip_address, None);
    }

    #[test]
    fn every_obstacle_is_named_in_the_refusal() {
        let host = HostConfig {
            privileged: Some(true),
            pid_mode: text("host"),
            ..HostConfig::default()
        };
        let name = ContainerName::from("r");
        let refused = replica(&template(&[], host), same_image(), &name, &command()).unwrap_err();
        assert_eq!(refused.refusal, Refusal::Unsafe);
        assert_eq!(
            refused.reason,
            "shop-web-1 cannot be copied: it is privileged; it shares the host's PID namespace"
        );
    }

    #[test]
    fn numbers_at_the_end_of_a_name_are_read() {
        assert_eq!(trailing_number("web-r12"), 12);
        assert_eq!(trailing_number("web"), 0);
        assert_eq!(trailing_number(""), 0);
    }
}
