//! `GET /api/v1/members` and `GET /api/v1/traefik`: what load balancers and other tools learn of which containers serve a service.
//!
//! They take a list without a container for the news that it is gone. So nothing is answered before all that was told has been read,
//! and a balancer that would be left without any container because no node is heard is told that instead: each of them then goes on
//! with what it had.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use wire::topic;

use crate::http::{Shared, problem};
use crate::members::{Member, MemberState, ServiceMembers};

/// What must have been read before anything is said.
const TOPICS: [&str; 2] = [topic::INVENTORY, topic::JOURNAL];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersQuery {
    service: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// All that is known.
    #[default]
    Json,
    /// What Prometheus' HTTP service discovery reads.
    HttpSd,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum NotKnown {
    #[error("the console is still reading what was told before it started; ask again in a moment")]
    NotRead,
    #[error("no container of a service {0:?} is known; `homeostat services` lists them")]
    NoService(String),
    #[error("no node is heard, so no container is known to serve; go on with those you have")]
    NoNode,
}

impl IntoResponse for NotKnown {
    fn into_response(self) -> Response {
        let status = match self {
            NotKnown::NotRead | NotKnown::NoNode => StatusCode::SERVICE_UNAVAILABLE,
            NotKnown::NoService(_) => StatusCode::NOT_FOUND,
        };
        problem(status, self.to_string())
    }
}

pub(crate) fn router(view: Shared) -> Router {
    Router::new()
        .route("/api/v1/members", get(members))
        .route("/api/v1/traefik", get(traefik))
        .with_state(view)
}

async fn members(
    State(view): State<Shared>,
    Query(query): Query<MembersQuery>,
) -> Result<Response, NotKnown> {
    let mut services = all(&view)?.services;
    if let Some(name) = query.service {
        services.retain(|it| it.service.as_str() == name);
        if services.is_empty() {
            return Err(NotKnown::NoService(name));
        }
    }
    Ok(match query.format {
        Format::Json => Json(services).into_response(),
        Format::HttpSd => Json(http_sd(&services)).into_response(),
    })
}

async fn traefik(State(view): State<Shared>) -> Result<Response, NotKnown> {
    let known = all(&view)?;
    match known.heard {
        Heard::None => Err(NotKnown::NoNode),
        Heard::Some => Ok(Json(Traefik::of(&known.services)).into_response()),
    }
}

struct Known {
    services: Vec<ServiceMembers>,
    heard: Heard,
}

/// Whether any node is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Some,
    None,
}

fn all(view: &Shared) -> Result<Known, NotKnown> {
    if !view.knows(&TOPICS) {
        return Err(NotKnown::NotRead);
    }
    let now = kit::now();
    let nodes = view.core().nodes_heard(now);
    Ok(Known {
        services: view.read().members(&nodes, now),
        heard: match nodes.is_empty() {
            true => Heard::None,
            false => Heard::Some,
        },
    })
}

/// A container as Prometheus reads it
/// (<https://prometheus.io/docs/prometheus/latest/http_sd/>).
#[derive(Debug, Serialize)]
struct TargetGroup<'a> {
    targets: [&'a str; 1],
    labels: BTreeMap<&'static str, &'a str>,
}

/// Every container of which it is known where it is reached, in whatever state: that is a label to choose by.
fn http_sd(services: &[ServiceMembers]) -> Vec<TargetGroup<'_>> {
    let members = services
        .iter()
        .flat_map(|it| it.members.iter().map(move |member| (it, member)));
    members
        .filter_map(|(it, member)| group(it, member))
        .collect()
}

fn group<'a>(of: &'a ServiceMembers, member: &'a Member) -> Option<TargetGroup<'a>> {
    let labels = [
        ("__meta_homeostat_service", of.service.as_str()),
        ("__meta_homeostat_node", member.node.as_str()),
        ("__meta_homeostat_container", member.name.as_str()),
        ("__meta_homeostat_container_id", member.id.as_str()),
        ("__meta_homeostat_state", member.state.as_str()),
    ];
    Some(TargetGroup {
        targets: [member.target.as_deref()?],
        labels: labels.into(),
    })
}

/// A dynamic configuration as Traefik's HTTP provider reads it
/// (<https://doc.traefik.io/traefik/providers/http/>). Its services alone: which requests go to which is the operator's to say.
///
/// It refuses all of a configuration that holds an empty part, such as no services under `services`, and takes a service without servers: to
/// requests for it Traefik answers 503, where those to a service that is not there get 404 (tried with what reads it in Traefik 3.7).
#[derive(Debug, Serialize)]
struct Traefik<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<TraefikHttp<'a>>,
}

#[derive(Debug, Serialize)]
struct TraefikHttp<'a> {
    services: BTreeMap<&'a str, TraefikService>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TraefikService {
    load_balancer: TraefikBalancer,
}

#[derive(Debug, Serialize)]
struct TraefikBalancer {
    servers: Vec<TraefikServer>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct TraefikServer {
    url: String,
}

impl<'a> Traefik<'a> {
    fn of(services: &'a [ServiceMembers]) -> Traefik<'a> {
        let services: BTreeMap<&str, TraefikService> =
            services.iter().filter_map(traefik_service).collect();
        Traefik {
            http: (!services.is_empty()).then_some(TraefikHttp { services }),
        }
    }
}

fn traefik_service(of: &ServiceMembers) -> Option<(&str, TraefikService)> {
    let is_served = of.members.iter().any(|it| it.port.is_some());
    let serving = of
        .members
        .iter()
        .filter(|it| it.state == MemberState::Serving);
    let targets = serving.filter_map(|it| it.target.as_deref());
    let servers = targets.map(|target| TraefikServer {
        url: format!("http://{target}"),
    });
    let load_balancer = TraefikBalancer {
        servers: servers.collect(),
    };
    // What follows an `@` is the provider to Traefik: a router could not name such a service.
    let name = of.service.as_str();
    (is_served && !name.contains('@')).then_some((name, TraefikService { load_balancer }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use units::{ContainerId, ContainerName, NodeId, ServiceId};

    use super::*;

    fn service(name: &str, state: MemberState) -> ServiceMembers {
        let member = Member {
            node: NodeId::from("a"),
            id: ContainerId::from("c1"),
            name: ContainerName::from("web-1"),
            state,
            why: None,
            addresses: Vec::new(),
            endpoints: Vec::new(),
            port: Some(80),
            target: Some("10.0.0.7:80".to_owned()),
            notes: Vec::new(),
        };
        ServiceMembers {
            service: ServiceId::from(name),
            members: vec![member],
        }
    }

    fn told(services: &[ServiceMembers]) -> Value {
        serde_json::to_value(Traefik::of(services)).unwrap()
    }

    #[test]
    fn nothing_is_told_before_all_that_was_told_is_read() {
        let view = Shared::new(control::Config::default());
        assert!(matches!(all(&view), Err(NotKnown::NotRead)));
        view.caught_up(topic::INVENTORY);
        assert!(matches!(all(&view), Err(NotKnown::NotRead)));
        view.caught_up(topic::JOURNAL);
        assert!(all(&view).is_ok_and(|known| known.heard == Heard::None));
    }

    #[test]
    fn traefik_is_told_no_part_it_would_refuse_and_no_name_it_could_not_use() {
        assert_eq!(told(&[]), json!({}));
        assert_eq!(
            told(&[service("web@shop", MemberState::Serving)]),
            json!({})
        );
        let none = json!({"http": {"services": {"web": {"loadBalancer": {"servers": []}}}}});
        for state in [
            MemberState::Starting,
            MemberState::Unhealthy,
            MemberState::Leaving,
            MemberState::Gone,
            MemberState::Unknown,
        ] {
            assert_eq!(told(&[service("web", state)]), none, "{state}");
        }
        assert_ne!(told(&[service("web", MemberState::Serving)]), none);
    }
}
