//! The HTTP side: the page and the JSON API.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use control::Core;
use incidents::{Event, Incident, Incidents};
use serde::Deserialize;
use units::ServiceId;

use crate::View;
use crate::api::{IncidentDetail, IncidentOf, Problem};
use crate::view::Which;

/// What is shown, shared between the followers that write it and the handlers that read it. Each part has a lock of its own: working
/// incidents out takes longer than anything the view answers.
#[derive(Clone)]
pub(crate) struct Shared {
    view: Arc<RwLock<View>>,
    incidents: Arc<RwLock<Incidents>>,
    /// It hears what the controllers hear, and never leads.
    core: Arc<RwLock<Core>>,
    /// Topics that were read to their ends.
    caught_up: Arc<RwLock<BTreeSet<&'static str>>>,
}

impl Shared {
    /// Nothing is known yet; `policy` is what the controllers decide by.
    pub(crate) fn new(policy: control::Config) -> Self {
        Shared {
            view: Arc::default(),
            incidents: Arc::default(),
            core: Arc::new(RwLock::new(Core::new(policy))),
            caught_up: Arc::default(),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// All that was in a topic has been taken.
    pub(crate) fn caught_up(&self, topic: &'static str) {
        let mut topics = self
            .caught_up
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        topics.insert(topic);
    }

    /// Whether all that was in these topics when the console started has been taken.
    pub(crate) fn knows(&self, topics: &[&'static str]) -> bool {
        let known = self
            .caught_up
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        topics.iter().all(|topic| known.contains(topic))
    }

    pub(crate) fn incidents(&self) -> RwLockReadGuard<'_, Incidents> {
        self.incidents
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the incidents what happened.
    pub(crate) fn tell(&self, event: Event<'_>) {
        self.incidents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .handle(kit::now(), event);
    }

    /// Tells the core what happened. It asks for nothing, since it does not lead.
    pub(crate) fn hear(&self, event: control::Event) {
        let mut core = self.core.write().unwrap_or_else(PoisonError::into_inner);
        core.handle(kit::now(), event);
    }

    pub(crate) fn core(&self) -> RwLockReadGuard<'_, Core> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    all: bool,
}

pub(crate) fn router(view: Shared) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/page.js", get(script))
        .route(
            "/api/v1/status",
            get(|State(view): State<Shared>| async move { Json(view.read().status(kit::now())) }),
        )
        .route(
            "/api/v1/services",
            get(|State(view): State<Shared>| async move { Json(view.read().services()) }),
        )
        .route("/api/v1/services/{name}/why-not", get(why_not))
        .route("/api/v1/signals", get(signals))
        .route("/api/v1/signals/{id}", get(explain))
        .route("/api/v1/incidents", get(incidents))
        .route("/api/v1/incidents/{id}", get(incident))
        .route(
            "/api/v1/feedback",
            get(|State(view): State<Shared>| async move { Json(view.read().bars(kit::now())) }),
        )
        .route(
            "/api/v1/actions",
            get(|State(view): State<Shared>| async move { Json(view.read().actions()) }),
        )
        .fallback(unknown)
        .with_state(view)
}

async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("page.js"),
    )
}

async fn signals(State(view): State<Shared>, Query(query): Query<ListQuery>) -> Response {
    let which = if query.all { Which::All } else { Which::Open };
    Json(view.read().listed(which)).into_response()
}

async fn explain(State(view): State<Shared>, Path(id): Path<String>) -> Response {
    let explanation = view.read().explain(&id, kit::now());
    match explanation {
        Ok(mut explanation) => {
            explanation.incident = view
                .incidents()
                .of_signal(&explanation.signal.id)
                .map(in_short);
            Json(explanation).into_response()
        }
        Err(error) => problem(StatusCode::NOT_FOUND, error.to_string()),
    }
}

fn in_short(incident: &Incident) -> IncidentOf {
    IncidentOf {
        id: incident.id.clone(),
        signals: incident.signals.len(),
        cause: incident.causes.first().map(|it| it.sentence.clone()),
    }
}

async fn why_not(State(view): State<Shared>, Path(name): Path<String>) -> Response {
    let service = ServiceId::from(name.as_str());
    match view.core().why_not(&service, kit::now()) {
        Some(reasons) => Json(reasons).into_response(),
        None => {
            let error = format!(
                "no container of a service {name:?} is known; `homeostat services` lists them"
            );
            problem(StatusCode::NOT_FOUND, error)
        }
    }
}

async fn incidents(State(view): State<Shared>, Query(query): Query<ListQuery>) -> Response {
    let incidents = view.incidents();
    let listed = incidents.all().iter();
    let listed = listed.filter(|incident| query.all || incident.is_open());
    Json(listed.collect::<Vec<_>>()).into_response()
}

async fn incident(State(view): State<Shared>, Path(id): Path<String>) -> Response {
    let incidents = view.incidents();
    match incidents.find(&id) {
        Ok(incident) => {
            let ids = incident.signals.iter();
            let detail = IncidentDetail {
                incident: incident.clone(),
                signals: ids.filter_map(|id| incidents.signal(id)).cloned().collect(),
                plans: view.read().caused_by(&incident.signals),
            };
            Json(detail).into_response()
        }
        Err(error) => problem(StatusCode::NOT_FOUND, error.to_string()),
    }
}

async fn unknown() -> Response {
    let error = "no such address; the page is on /, the API under /api/v1: status, nodes, services, services/NAME/why-not, members, traefik, signals, incidents, actions, approvals, updates, rollbacks, feedback";
    problem(StatusCode::NOT_FOUND, error.to_owned())
}

pub(crate) fn problem(status: StatusCode, error: String) -> Response {
    (status, Json(Problem { error })).into_response()
}
