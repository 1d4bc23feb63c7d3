//! `homeostat members`: which containers serve a service, and where each is reached.

use clap::Args;
use console::api::{Member, ServiceMembers};

use crate::ask::{get, show, trimmed};
use crate::cli::Ask;
use crate::exit::Failure;
use crate::table::with_heading;
use crate::why_not::escaped;

#[derive(Debug, Args)]
pub(crate) struct Members {
    /// One service alone, as `homeostat services` lists it.
    service: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Asks the console, and lists every container with its state and where balancers are told it is.
pub(crate) fn members(asked: &Members) -> Result<(), Failure> {
    let path = match &asked.service {
        Some(service) => format!("members?service={}", escaped(service)),
        None => "members".to_owned(),
    };
    let services: Vec<ServiceMembers> = get(&asked.ask, &path)?;
    show(&asked.ask, &services, |services| shown(services))
}

fn shown(services: &[ServiceMembers]) -> String {
    if services.is_empty() {
        return "no service is known; collectors tell of them".to_owned();
    }
    let mut table = with_heading(&[
        "service",
        "node",
        "container",
        "state",
        "reached at",
        "notes",
    ]);
    for of in services {
        for member in &of.members {
            table.add_row([
                of.service.to_string(),
                member.node.to_string(),
                member.name.to_string(),
                member.state.to_string(),
                reached(member),
                notes(member),
            ]);
        }
    }
    trimmed(&table)
}

/// The way that balancers are told; where that is not known, all there are.
fn reached(member: &Member) -> String {
    if let Some(target) = &member.target {
        return target.clone();
    }
    if member.endpoints.is_empty() {
        return member.addresses.join(", ");
    }
    let all = member.endpoints.iter();
    all.map(|it| it.target()).collect::<Vec<_>>().join(", ")
}

fn notes(member: &Member) -> String {
    let all = member.why.iter().chain(&member.notes);
    all.map(String::as_str).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use console::api::{AddressOf, Endpoint, MemberState};
    use units::{ContainerId, ContainerName, NodeId, ServiceId};

    use super::*;

    fn member(name: &str, state: MemberState) -> Member {
        Member {
            node: NodeId::from("a"),
            id: ContainerId::from(name),
            name: ContainerName::from(name),
            state,
            why: None,
            addresses: vec!["172.18.0.3".to_owned()],
            endpoints: Vec::new(),
            port: None,
            target: None,
            notes: Vec::new(),
        }
    }

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            address: "10.0.0.7".to_owned(),
            port,
            of: AddressOf::Node,
            container_port: port,
            protocol: "tcp".to_owned(),
        }
    }

    #[test]
    fn without_services_it_is_said_what_is_missing() {
        assert_eq!(shown(&[]), "no service is known; collectors tell of them");
    }

    #[test]
    fn each_container_has_a_line_with_where_it_is_reached_and_what_is_missing() {
        let mut one = member("web-1", MemberState::Serving);
        one.endpoints = vec![endpoint(8080), endpoint(8081)];
        one.target = Some("10.0.0.7:8080".to_owned());
        let mut two = member("web-2", MemberState::Leaving);
        two.endpoints = vec![endpoint(80), endpoint(81)];
        two.why = Some("restart by web-restart-1".to_owned());
        two.notes = vec!["it has two ports".to_owned()];
        let service = ServiceMembers {
            service: ServiceId::from("shop/web"),
            members: vec![one, two, member("web-3", MemberState::Unknown)],
        };
        assert_eq!(
            shown(&[service]),
            "\
\x20SERVICE   NODE  CONTAINER  STATE    REACHED AT                NOTES
 shop/web  a     web-1      serving  10.0.0.7:8080
 shop/web  a     web-2      leaving  10.0.0.7:80, 10.0.0.7:81  restart by web-restart-1; it has two ports
 shop/web  a     web-3      unknown  172.18.0.3"
        );
    }
}
