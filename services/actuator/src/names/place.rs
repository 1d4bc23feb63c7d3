//! A container's place in a network as the engine is asked for it, and what is to be done about it. Pure.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, HealthStatusEnum,
};
use serde::{Deserialize, Serialize};
use units::{Mode, NetworkAlias, Policy};

use crate::guard::{labels_of, name_of};
use crate::replica::{NETWORKS_WITHOUT_ALIASES, is_own_id};

/// What a container was asked for in a network, without the name, for as long as it is not so there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Owed {
    pub(crate) asked: EndpointSettings,
    pub(crate) stage: Stage,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It is being taken out and put back: it may be out.
    Between,
    /// It is there without its name, at an address that it was given to keep.
    Nameless,
}

/// Whether a container's name is kept in step with whether it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Managed {
    /// With this name.
    As(NetworkAlias),
    /// It asks for that, and it cannot be.
    Cannot(&'static str),
    /// It does not ask for it.
    No,
}

impl Managed {
    pub(crate) fn of(found: &ContainerInspectResponse) -> Managed {
        let (policy, _) = Policy::from_labels(&labels_of(found));
        let Some(alias) = policy.dns.filter(|_| policy.mode == Mode::Act) else {
            return Managed::No;
        };
        let hostname = found.config.as_ref().and_then(|it| it.hostname.as_deref());
        if name_of(found).as_str() == alias.as_str() || hostname == Some(alias.as_str()) {
            return Managed::Cannot(
                "the engine answers a container's own name and host name always: give it others, or leave out the label io.homeostat.dns",
            );
        }
        let host = found.host_config.as_ref();
        let bindings = host.and_then(|it| it.port_bindings.as_ref());
        let publishes = bindings.is_some_and(|it| !it.is_empty())
            || host.and_then(|it| it.publish_all_ports) == Some(true);
        match publishes {
            true => Managed::Cannot(
                "it publishes ports, which would be others each time it is put back into its network: publish none, or leave out the label io.homeostat.dns",
            ),
            false => Managed::As(alias),
        }
    }
}

/// The name that a container made like this one gets only once it is healthy, if it is checked for that.
pub(crate) fn name_to_come(found: &ContainerInspectResponse) -> Option<NetworkAlias> {
    let check = found.config.as_ref()?.healthcheck.as_ref()?.test.as_ref()?;
    let is_checked = check.first().is_some_and(|it| it != "NONE");
    match Managed::of(found) {
        Managed::As(alias) if is_checked => Some(alias),
        Managed::As(_) | Managed::Cannot(_) | Managed::No => None,
    }
}

/// Whether a container is to have its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It runs, and is healthy as far as the engine checks that.
    Serves,
    /// It runs, and the engine's first checks are still to come.
    Starts,
    /// It runs, and the engine's checks of it fail.
    Sick,
    /// It runs and is paused, or is about to run again.
    Waits,
    Stopped,
}

impl Stand {
    pub(crate) fn of(found: &ContainerInspectResponse) -> Stand {
        let Some(state) = found.state.as_ref() else {
            return Stand::Waits;
        };
        if state.paused == Some(true) || state.restarting == Some(true) {
            return Stand::Waits;
        }
        if state.running != Some(true) {
            return Stand::Stopped;
        }
        match state.health.as_ref().and_then(|it| it.status) {
            Some(HealthStatusEnum::STARTING) => Stand::Starts,
            Some(HealthStatusEnum::UNHEALTHY) => Stand::Sick,
            Some(HealthStatusEnum::HEALTHY | HealthStatusEnum::NONE | HealthStatusEnum::EMPTY)
            | None => Stand::Serves,
        }
    }
}

/// Its places in networks that have names, by network.
pub(crate) fn places(found: &ContainerInspectResponse) -> BTreeMap<&str, &EndpointSettings> {
    let settings = found.network_settings.as_ref();
    let networks = settings.and_then(|it| it.networks.as_ref());
    let networks = networks.into_iter().flatten();
    networks
        .map(|(network, endpoint)| (network.as_str(), endpoint))
        .filter(|(network, _)| *network != "host" && !NETWORKS_WITHOUT_ALIASES.contains(network))
        .collect()
}

pub(crate) fn has_name(endpoint: &EndpointSettings, alias: &NetworkAlias) -> bool {
    let mut aliases = endpoint.aliases.iter().flatten();
    aliases.any(|it| it == alias.as_str())
}

/// A place as it was asked for, without the name.
pub(crate) fn asked(
    found: &ContainerInspectResponse,
    endpoint: &EndpointSettings,
    alias: &NetworkAlias,
) -> EndpointSettings {
    let aliases = endpoint.aliases.iter().flatten();
    let aliases = aliases.filter(|it| *it != alias.as_str() && !is_own_id(found, it));
    EndpointSettings {
        aliases: Some(aliases.cloned().collect()),
        ipam_config: endpoint.ipam_config.clone(),
        links: endpoint.links.clone(),
        driver_opts: endpoint.driver_opts.clone(),
        gw_priority: endpoint.gw_priority,
        ..EndpointSettings::default()
    }
}

/// The same with the name.
pub(crate) fn named(asked: &EndpointSettings, alias: &NetworkAlias) -> EndpointSettings {
    let mut named = asked.clone();
    let aliases = named.aliases.get_or_insert_default();
    if !aliases.iter().any(|it| it == alias.as_str()) {
        aliases.push(alias.to_string());
    }
    named
}

/// Whether a place is as it is wanted: it was put back, and only the word of that is missing.
fn is_so(
    found: &ContainerInspectResponse,
    place: &EndpointSettings,
    alias: &NetworkAlias,
    wanted: &EndpointSettings,
) -> bool {
    let as_asked = asked(found, place, alias);
    *wanted
        == match has_name(place, alias) {
            true => named(&as_asked, alias),
            false => as_asked,
        }
}

/// The same at the addresses that the container has there: its connections outlive that it is taken out and put back. None where it
/// has no address.
pub(crate) fn at_its_address(
    asked: &EndpointSettings,
    endpoint: &EndpointSettings,
) -> Option<EndpointSettings> {
    let set = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
    let ipv4_address = set(&endpoint.ip_address);
    let ipv6_address = set(&endpoint.global_ipv6_address);
    if ipv4_address.is_none() && ipv6_address.is_none() {
        return None;
    }
    let link_local_ips = asked.ipam_config.as_ref();
    Some(EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address,
            ipv6_address,
            link_local_ips: link_local_ips.and_then(|it| it.link_local_ips.clone()),
        }),
        // The others of the network have it in mind; newer engines would give another.
        mac_address: set(&endpoint.mac_address),
        ..asked.clone()
    })
}

/// What is to be done about one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// It is out, and to be in, as this.
    Connect(Box<EndpointSettings>),
    /// It is in, and to be so as this.
    Swap {
        wanted: Box<EndpointSettings>,
        /// The same without the name.
        nameless: Box<EndpointSettings>,
    },
    /// Nothing is owed any more.
    Settle,
}

fn swap(wanted: EndpointSettings, nameless: &EndpointSettings) -> Step {
    Step::Swap {
        wanted: Box::new(wanted),
        nameless: Box::new(nameless.clone()),
    }
}

/// What is to be done about the places of a container, by network.
pub(crate) fn steps(
    found: &ContainerInspectResponse,
    alias: &NetworkAlias,
    owed: &BTreeMap<String, Owed>,
) -> Vec<(String, Step)> {
    let stand = Stand::of(found);
    let places = places(found);
    let mut steps = Vec::new();
    for (network, owed) in owed {
        // Of a running one a connect that was refused leaves an entry without an endpoint: it is out.
        let is_in = |it: &&&EndpointSettings| {
            let runs = !matches!(stand, Stand::Stopped | Stand::Waits);
            !runs || it.endpoint_id.as_deref().is_some_and(|id| !id.is_empty())
        };
        let place = places.get(network.as_str()).filter(is_in);
        let step = match (place, owed.stage) {
            (None, Stage::Between) => Some(Step::Connect(Box::new(owed.asked.clone()))),
            // Somebody took it out since.
            (None, Stage::Nameless) => Some(Step::Settle),
            (Some(place), Stage::Between | Stage::Nameless) => match stand {
                Stand::Serves => Some(named(&owed.asked, alias)),
                // It must not ask for that address with its next start, when another may have it.
                Stand::Stopped | Stand::Starts | Stand::Sick => Some(owed.asked.clone()),
                Stand::Waits => None,
            }
            .map(|wanted| match is_so(found, place, alias, &wanted) {
                true => Step::Settle,
                false => swap(wanted, &owed.asked),
            }),
        };
        steps.extend(step.map(|step| (network.clone(), step)));
    }
    for (network, endpoint) in places {
        let is_nameless = !has_name(endpoint, alias) && !owed.contains_key(network);
        if is_nameless && stand == Stand::Serves {
            let asked = asked(found, endpoint, alias);
            let step = swap(named(&asked, alias), &asked);
            steps.push((network.to_owned(), step));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{
        ContainerConfig, ContainerState, Health, HealthConfig, HostConfig, NetworkSettings,
        PortBinding,
    };
    use units::{LABEL_DNS, LABEL_PREFIX};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const NET: &str = "shop_default";

    /// A container with the label, in one network under these names, checked and so healthy.
    fn web(aliases: &[&str], health: HealthStatusEnum) -> ContainerInspectResponse {
        let aliases = aliases.iter().map(|it| (*it).to_owned());
        let endpoint = EndpointSettings {
            aliases: Some(aliases.collect()),
            endpoint_id: Some("e1".to_owned()),
            ip_address: Some("10.9.0.2".to_owned()),
            mac_address: Some("02:42:0a:09:00:02".to_owned()),
            ..EndpointSettings::default()
        };
        let mode = format!("{LABEL_PREFIX}mode");
        let labels = [
            (LABEL_DNS.to_owned(), "web".to_owned()),
            (mode, "act".to_owned()),
        ];
        ContainerInspectResponse {
            id: Some(ID.to_owned()),
            config: Some(ContainerConfig {
                labels: Some(HashMap::from(labels)),
                healthcheck: Some(HealthConfig {
                    test: Some(vec!["CMD".to_owned(), "/check".to_owned()]),
                    ..HealthConfig::default()
                }),
                ..ContainerConfig::default()
            }),
            host_config: Some(HostConfig::default()),
            state: Some(ContainerState {
                running: Some(true),
                health: Some(Health {
                    status: Some(health),
                    ..Health::default()
                }),
                ..ContainerState::default()
            }),
            network_settings: Some(NetworkSettings {
                networks: Some(HashMap::from([(NET.to_owned(), endpoint)])),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    fn alias() -> NetworkAlias {
        match Managed::of(&web(&[], HealthStatusEnum::HEALTHY)) {
            Managed::As(alias) => alias,
            other => panic!("{other:?}"),
        }
    }

    fn owed(stage: Stage) -> BTreeMap<String, Owed> {
        let asked = EndpointSettings {
            aliases: Some(vec!["shop".to_owned()]),
            ..EndpointSettings::default()
        };
        BTreeMap::from([(NET.to_owned(), Owed { asked, stage })])
    }

    fn aliases(step: &Step) -> Vec<&str> {
        let (Step::Connect(wanted) | Step::Swap { wanted, .. }) = step else {
            return Vec::new();
        };
        let aliases = wanted.aliases.iter().flatten();
        aliases.map(String::as_str).collect()
    }

    #[test]
    fn who_serves_gets_the_name_beside_its_others_and_nobody_else() {
        let found = web(&["shop", "0123456789ab"], HealthStatusEnum::HEALTHY);
        let steps_of = |found: &ContainerInspectResponse| steps(found, &alias(), &BTreeMap::new());
        let given = steps_of(&found);
        assert_eq!(given.len(), 1);
        assert_eq!(aliases(&given[0].1), ["shop", "web"]);
        assert_eq!(steps_of(&web(&["web"], HealthStatusEnum::HEALTHY)), []);
        for health in [HealthStatusEnum::STARTING, HealthStatusEnum::UNHEALTHY] {
            assert_eq!(steps_of(&web(&["shop"], health)), [], "{health}");
        }
        let mut stopped = found;
        stopped.state = Some(ContainerState::default());
        assert_eq!(steps_of(&stopped), []);
    }

    /// The same, in its network at an address that it was given to keep.
    fn at_kept(mut found: ContainerInspectResponse) -> ContainerInspectResponse {
        let endpoint = places(&found)[NET].clone();
        let at = at_its_address(&endpoint, &endpoint);
        let settings = found.network_settings.get_or_insert_default();
        let networks = settings.networks.get_or_insert_default();
        networks.extend(at.map(|at| (NET.to_owned(), at)));
        found
    }

    #[test]
    fn what_is_owed_is_put_back_once_it_serves_or_rests() {
        let healthy = || at_kept(web(&["shop"], HealthStatusEnum::HEALTHY));
        let of = |found: &_, stage| steps(found, &alias(), &owed(stage));
        let again = of(&healthy(), Stage::Nameless);
        assert_eq!(aliases(&again[0].1), ["shop", "web"]);
        let mut stopped = healthy();
        stopped.state = Some(ContainerState::default());
        let rests = of(&stopped, Stage::Nameless);
        assert_eq!(aliases(&rests[0].1), ["shop"]);
        let sick = at_kept(web(&["shop"], HealthStatusEnum::UNHEALTHY));
        assert_eq!(aliases(&of(&sick, Stage::Nameless)[0].1), ["shop"]);
        let mut out = healthy();
        out.network_settings = None;
        let back = of(&out, Stage::Between);
        assert!(matches!(back[0].1, Step::Connect(_)), "{back:?}");
        let mut refused = healthy();
        let settings = refused.network_settings.as_mut().unwrap();
        let endpoint = settings.networks.as_mut().unwrap().get_mut(NET).unwrap();
        endpoint.endpoint_id = Some(String::new());
        let back = of(&refused, Stage::Between);
        assert!(matches!(back[0].1, Step::Connect(_)), "{back:?}");
        let theirs = of(&out, Stage::Nameless);
        assert_eq!(theirs[0].1, Step::Settle, "people took it out since");
    }

    #[test]
    fn what_is_as_it_should_be_already_is_left_in_its_network() {
        let between = |found: &_| steps(found, &alias(), &owed(Stage::Between));
        let healthy = web(&["shop", "web", "0123456789ab"], HealthStatusEnum::HEALTHY);
        assert_eq!(between(&healthy), [(NET.to_owned(), Step::Settle)]);
        let sick = web(&["shop"], HealthStatusEnum::UNHEALTHY);
        assert_eq!(between(&sick), [(NET.to_owned(), Step::Settle)]);
        for other in [
            web(&["shop"], HealthStatusEnum::HEALTHY),
            web(&["shop", "web"], HealthStatusEnum::UNHEALTHY),
            at_kept(web(&["shop", "web"], HealthStatusEnum::HEALTHY)),
        ] {
            let steps = between(&other);
            assert!(matches!(steps[0].1, Step::Swap { .. }), "{steps:?}");
        }
    }

    #[test]
    fn a_place_is_had_again_at_its_address_and_without_the_engines_own_names() {
        let found = web(&["web", "shop", "0123456789ab"], HealthStatusEnum::HEALTHY);
        let endpoint = places(&found)[NET];
        let asked = asked(&found, endpoint, &alias());
        assert_eq!(asked.aliases, Some(vec!["shop".to_owned()]));
        assert_eq!(asked.ipam_config, None);
        let at = at_its_address(&asked, endpoint).unwrap();
        let ipam = at.ipam_config.unwrap();
        assert_eq!(ipam.ipv4_address.as_deref(), Some("10.9.0.2"));
        assert_eq!(at.mac_address, endpoint.mac_address);
        let none = EndpointSettings::default();
        assert_eq!(at_its_address(&asked, &none), None);
    }

    #[test]
    fn what_is_checked_gets_its_name_later_and_what_publishes_ports_keeps_it() {
        let mut found = web(&["web"], HealthStatusEnum::HEALTHY);
        assert_eq!(name_to_come(&found), Some(alias()));
        let unchecked = Some(vec!["NONE".to_owned()]);
        let config = found.config.as_mut().unwrap();
        config.healthcheck.as_mut().unwrap().test = unchecked;
        assert_eq!(name_to_come(&found), None);
        let bound = HashMap::from([("80/tcp".to_owned(), Some(vec![PortBinding::default()]))]);
        found.host_config.as_mut().unwrap().port_bindings = Some(bound);
        assert!(matches!(Managed::of(&found), Managed::Cannot(_)));
    }
}
