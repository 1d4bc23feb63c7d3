//! The admin port of a process: `/metrics`, `/healthz` (it runs) and `/readyz` (each dependency by name).
//!
//! It answers only questions about the process and changes nothing, and binds the loopback address unless
//! configured otherwise.

use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Invalid, Validate};
use crate::health::Health;
use crate::metrics::Metrics;

/// OpenMetrics 1.0, the format of [`Metrics::encode`].
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin port. Section `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens. Each process on a host needs an address of its own; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9640)),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        Vec::new()
    }
}

/// Why the admin port could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or is not one of this host.
    #[error(
        "admin port {address} cannot be opened, set admin.listen to a free address of this host"
    )]
    Bind {
        /// The address configured.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The listener broke while serving.
    #[error("admin port {address} stopped serving")]
    Serve {
        /// The address bound.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// An admin port that is bound and not served yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds the admin port, so that a taken one is known before any work starts.
pub async fn bind(config: &Config) -> Result<Admin, Error> {
    let bind = |source| Error::Bind {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    Ok(Admin { listener, address })
}

/// Binds `address` and serves in a task of its own until `shutdown` fires. Returns the address bound.
pub async fn serve(
    address: SocketAddr,
    metrics: &Metrics,
    health: &Health,
    shutdown: CancellationToken,
) -> Result<SocketAddr, Error> {
    let admin = bind(&Config { listen: address }).await?;
    let bound = admin.address();
    let (metrics, health) = (metrics.clone(), health.clone());
    tokio::spawn(async move {
        if let Err(error) = admin.run(metrics, health, shutdown).await {
            tracing::error!(%error, "admin port ended");
        }
    });
    Ok(bound)
}

impl Admin {
    /// The address bound, with the port taken where the configured one was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` fires and open requests are answered.
    pub async fn run(
        self,
        metrics: Metrics,
        health: Health,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let address = self.address;
        axum::serve(self.listener, routes(metrics, health))
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .map_err(|source| Error::Serve { address, source })
    }
}

/// The three pages, for a process that serves them beside its own.
pub fn routes(metrics: Metrics, health: Health) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics).with_state(metrics))
        .route("/healthz", get(show_alive))
        .route("/readyz", get(show_ready).with_state(health))
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.encode()).into_response()
}

/// Answering is the proof: a process whose runtime is stuck does not.
async fn show_alive() -> Response {
    Json(serde_json::json!({ "alive": true })).into_response()
}

async fn show_ready(State(health): State<Health>) -> Response {
    let ready = health.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::json!({ "ready": ready, "dependencies": health.ready() });
    (status, Json(body)).into_response()
}
