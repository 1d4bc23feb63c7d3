//! A container as balancers are to see it: whether it serves, and where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum, PortSummary, PortSummaryTypeEnum,
};
use units::{ContainerId, HaproxyBackend, LABEL_HAPROXY, Mode, Policy};

use super::stat::{ServerName, ServerRef};

/// A container with the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) server: ServerRef,
    pub(crate) stand: Stand,
}

/// Whether a container is to get requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It runs, and is healthy as far as the engine checks that.
    Serves(SocketAddr),
    /// It runs, and the engine's first checks of it are still to come.
    Starts(SocketAddr),
    /// It runs, and the engine's checks of it fail.
    Sick(SocketAddr),
    /// It runs where no balancer can reach it.
    Unreachable(String),
    /// It does not run, or is paused.
    Away,
}

/// The container of a list's entry, if its labels let it be put into balancers.
pub(crate) fn labelled(found: &ContainerSummary, node: Option<IpAddr>) -> Option<Labelled> {
    let labels = found.labels.clone().unwrap_or_default();
    let (policy, _) = Policy::from_labels(&labels.into_iter().collect());
    if policy.mode < Mode::Act {
        return None;
    }
    let served = policy.haproxy?;
    let id = ContainerId::from(found.id.as_deref()?);
    let names = found.names.iter().flatten();
    let name = names.map(|it| it.trim_start_matches('/')).next();
    Some(Labelled {
        name: name.unwrap_or_else(|| id.short()).to_owned(),
        server: ServerRef {
            name: ServerName::of(&id),
            backend: served.backend.clone(),
        },
        stand: stand(found, &served, node),
        id,
    })
}

fn stand(found: &ContainerSummary, served: &HaproxyBackend, node: Option<IpAddr>) -> Stand {
    if found.state != Some(ContainerSummaryStateEnum::RUNNING) {
        return Stand::Away;
    }
    // Older engines tell the health in this text alone.
    let status = found.status.as_deref().unwrap_or_default();
    match address(found, served, node) {
        Err(reason) => Stand::Unreachable(reason),
        Ok(address) if status.contains("(unhealthy)") => Stand::Sick(address),
        Ok(address) if status.contains("(health: starting)") => Stand::Starts(address),
        Ok(address) => Stand::Serves(address),
    }
}

/// Where a balancer reaches it: at a published port of this node where that has an address, else at its own.
fn address(
    found: &ContainerSummary,
    served: &HaproxyBackend,
    node: Option<IpAddr>,
) -> Result<SocketAddr, String> {
    let host = found.host_config.as_ref();
    let mode = host.and_then(|host| host.network_mode.as_deref());
    if mode == Some("host") {
        let port = served
            .port
            .ok_or_else(|| unclear("in the host's network"))?;
        let address = node.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        return Ok(SocketAddr::new(address, port.get()));
    }
    let ports = || {
        let ports = found.ports.iter().flatten();
        ports.filter(|it| matches!(it.typ, Some(PortSummaryTypeEnum::TCP) | None))
    };
    match node {
        Some(node) => published(ports(), served.port, node),
        None => {
            let port = match served.port {
                Some(port) => port.get(),
                None => only(ports().map(|it| it.private_port))
                    .ok_or_else(|| unclear("with none, or several, exposed"))?,
            };
            Ok(SocketAddr::new(own(found)?, port))
        }
    }
}

fn published<'a>(
    ports: impl Iterator<Item = &'a PortSummary>,
    wanted: Option<NonZeroU16>,
    node: IpAddr,
) -> Result<SocketAddr, String> {
    let is_wanted = |port: u16| wanted.is_none_or(|it| it.get() == port);
    let there = |bound: &Option<String>| match bound.as_deref().unwrap_or_default() {
        "" => true,
        bound => bound.parse::<IpAddr>().is_ok_and(|bound| {
            bound == node || (bound.is_unspecified() && bound.is_ipv4() == node.is_ipv4())
        }),
    };
    let reached: Vec<(u16, u16)> = ports
        .filter(|it| is_wanted(it.private_port) && there(&it.ip))
        .filter_map(|it| Some((it.private_port, it.public_port?)))
        .collect();
    match only(reached.iter().map(|(private, _)| *private)) {
        // Published several times, any of them does; the same one each time.
        Some(_) => reached
            .iter()
            .map(|(_, public)| SocketAddr::new(node, *public))
            .min()
            .ok_or_else(|| unclear("with none published")),
        None if wanted.is_some() || reached.is_empty() => {
            let port = wanted.map_or_else(String::new, |it| format!(" {it}"));
            Err(format!(
                "it does not publish its port{port} at {node}: publish it there or at every address, as ports: [\"8080\"]"
            ))
        }
        None => Err(unclear("with several published")),
    }
}

fn unclear(how: &str) -> String {
    format!("which port is meant cannot be told {how}: write it as {LABEL_HAPROXY}=BACKEND:PORT")
}

/// Its own address, in the first of its networks by name that has one.
fn own(found: &ContainerSummary) -> Result<IpAddr, String> {
    let settings = found.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<_> = networks.into_iter().flatten().collect();
    networks.sort_by_key(|(name, _)| *name);
    let addresses = networks.into_iter().filter_map(|(_, it)| {
        let address = it.ip_address.as_deref().filter(|it| !it.is_empty());
        let address = address.or(it.global_ipv6_address.as_deref());
        address?.parse().ok()
    });
    addresses
        .into_iter()
        .next()
        .ok_or_else(|| "it has no address, in no network".to_owned())
}

/// The value that all of them are.
fn only(values: impl Iterator<Item = u16>) -> Option<u16> {
    let mut values: Vec<u16> = values.collect();
    values.sort_unstable();
    values.dedup();
    match values.as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{
        ContainerSummaryHostConfig, ContainerSummaryNetworkSettings, EndpointSettings,
    };

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn port(private: u16, public: Option<(&str, u16)>) -> PortSummary {
        PortSummary {
            ip: public.map(|(ip, _)| ip.to_owned()),
            private_port: private,
            public_port: public.map(|(_, port)| port),
            typ: Some(PortSummaryTypeEnum::TCP),
        }
    }

    fn container(label: &str, ports: Vec<PortSummary>) -> ContainerSummary {
        let endpoint = EndpointSettings {
            ip_address: Some("172.17.0.2".to_owned()),
            ..EndpointSettings::default()
        };
        ContainerSummary {
            id: Some(ID.to_owned()),
            names: Some(vec!["/web-1".to_owned()]),
            state: Some(ContainerSummaryStateEnum::RUNNING),
            status: Some("Up 3 seconds".to_owned()),
            labels: Some(HashMap::from([
                ("io.homeostat.mode".to_owned(), "act".to_owned()),
                (LABEL_HAPROXY.to_owned(), label.to_owned()),
            ])),
            ports: Some(ports),
            network_settings: Some(ContainerSummaryNetworkSettings {
                networks: Some(HashMap::from([("bridge".to_owned(), endpoint)])),
            }),
            ..ContainerSummary::default()
        }
    }

    fn stand(found: &ContainerSummary, node: Option<&str>) -> Stand {
        let node = node.map(|it| it.parse().unwrap());
        labelled(found, node).unwrap().stand
    }

    fn serves(address: &str) -> Stand {
        Stand::Serves(address.parse().unwrap())
    }

    #[test]
    fn it_is_reached_at_its_own_address_or_at_a_port_of_its_node() {
        let found = container(
            "web",
            vec![
                port(8080, Some(("0.0.0.0", 32768))),
                port(8080, Some(("::", 32768))),
            ],
        );
        assert_eq!(stand(&found, None), serves("172.17.0.2:8080"));
        assert_eq!(stand(&found, Some("10.0.0.5")), serves("10.0.0.5:32768"));
        assert_eq!(stand(&found, Some("fd00::5")), serves("[fd00::5]:32768"));
        let mut two = container(
            "web:9090",
            vec![
                port(8080, Some(("10.0.0.5", 8000))),
                port(9090, Some(("127.0.0.1", 9000))),
            ],
        );
        assert_eq!(stand(&two, None), serves("172.17.0.2:9090"));
        let Stand::Unreachable(reason) = stand(&two, Some("10.0.0.5")) else {
            panic!("it is published on the loopback alone");
        };
        assert!(reason.contains("9090 at 10.0.0.5"), "{reason}");
        two.labels = container("web", Vec::new()).labels;
        assert_eq!(stand(&two, Some("10.0.0.5")), serves("10.0.0.5:8000"));
        assert!(
            matches!(stand(&two, None), Stand::Unreachable(_)),
            "which of two?"
        );
        let mut host = container("web:80", Vec::new());
        host.host_config = Some(ContainerSummaryHostConfig {
            network_mode: Some("host".to_owned()),
            ..ContainerSummaryHostConfig::default()
        });
        assert_eq!(stand(&host, None), serves("127.0.0.1:80"));
        assert_eq!(stand(&host, Some("10.0.0.5")), serves("10.0.0.5:80"));
    }

    #[test]
    fn only_what_runs_well_serves() {
        let address: SocketAddr = "172.17.0.2:80".parse().unwrap();
        let mut found = container("web:80", Vec::new());
        for (status, expected) in [
            ("Up 1 second (healthy)", Stand::Serves(address)),
            ("Up 1 second (health: starting)", Stand::Starts(address)),
            ("Up 1 second (unhealthy)", Stand::Sick(address)),
        ] {
            found.status = Some(status.to_owned());
            assert_eq!(stand(&found, None), expected);
        }
        found.state = Some(ContainerSummaryStateEnum::PAUSED);
        assert_eq!(stand(&found, None), Stand::Away);
        let mut isolated = container("web:80", Vec::new());
        isolated.network_settings = None;
        assert!(matches!(stand(&isolated, None), Stand::Unreachable(_)));
    }

    #[test]
    fn what_is_not_let_act_upon_is_in_no_balancer() {
        let mut found = container("web:80", Vec::new());
        assert_eq!(
            labelled(&found, None).unwrap().server.to_string(),
            "web/hs-0123456789ab"
        );
        let labels = found.labels.as_mut().unwrap();
        labels.insert("io.homeostat.mode".to_owned(), "suggest".to_owned());
        assert_eq!(labelled(&found, None), None);
        assert_eq!(labelled(&container("we b", Vec::new()), None), None);
    }
}
