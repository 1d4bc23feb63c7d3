//! The HTTP side: the page and the JSON API.

use std::sync::{Arc, RwLock, RwLockReadGuard};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use crate::View;
use crate::api::Problem;
use crate::view::Which;

/// The view, shared between the followers that write it and the handlers that read it.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<RwLock<View>>);

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, View> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        change(
            &mut self
                .0
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalQuery {
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
        .route("/api/v1/signals", get(signals))
        .route("/api/v1/signals/{id}", get(explain))
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

async fn signals(State(view): State<Shared>, Query(query): Query<SignalQuery>) -> Response {
    let which = if query.all { Which::All } else { Which::Open };
    Json(view.read().listed(which)).into_response()
}

async fn explain(State(view): State<Shared>, Path(id): Path<String>) -> Response {
    match view.read().explain(&id, kit::now()) {
        Ok(explanation) => Json(explanation).into_response(),
        Err(error) => problem(StatusCode::NOT_FOUND, error.to_string()),
    }
}

async fn unknown() -> Response {
    let error = "no such address; the page is on /, the API under /api/v1: status, services, signals, actions, feedback";
    problem(StatusCode::NOT_FOUND, error.to_owned())
}

pub(crate) fn problem(status: StatusCode, error: String) -> Response {
    (status, Json(Problem { error })).into_response()
}
