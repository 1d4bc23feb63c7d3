//! `GET /api/v1/nodes`: the nodes and the room on them, as the core knows them, and the gauge of nodes that may not be lost.
//!
//! Looking at all of a large fleet takes a second or more, so one look is shared by all who ask shortly after one another, and is
//! taken on a thread that may block.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use control::{FleetCapacity, Survives};
use kit::metrics::{Gauges, MetricName, Metrics};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::http::{Shared, problem};

/// A look at the fleet is given again for so long.
const KEPT: Duration = Duration::from_secs(5);
/// The gauge is set this often.
const GAUGED_EVERY: Duration = Duration::from_secs(30);

/// The newest look at the fleet, and when it was taken.
type Look = Option<(Instant, Arc<FleetCapacity>)>;

/// Looks at the fleet for whoever asks.
#[derive(Clone)]
pub(crate) struct Capacity {
    view: Shared,
    newest: Arc<Mutex<Look>>,
    without_spare: Gauges,
}

impl Capacity {
    pub(crate) fn new(view: Shared, metrics: &Metrics) -> Self {
        Capacity {
            view,
            newest: Arc::default(),
            without_spare: metrics.gauge(MetricName::NodesWithoutSpare),
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/api/v1/nodes", get(nodes))
            .with_state(self)
    }

    /// Sets the gauge until shutdown.
    pub(crate) async fn gauge(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut tick = tokio::time::interval(GAUGED_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            if let Some(report) = self.newest().await {
                self.set(&report);
            }
        }
        Ok(())
    }

    fn set(&self, report: &FleetCapacity) {
        for survives in [Survives::No, Survives::Unknown] {
            let nodes = report.nodes.iter().filter(|it| it.survives == survives);
            let labels = [("survives", survives.as_str())];
            self.without_spare.with(&labels).set(nodes.count() as f64);
        }
    }

    /// Nothing where looking panicked.
    async fn newest(&self) -> Option<Arc<FleetCapacity>> {
        let this = self.clone();
        let look = tokio::task::spawn_blocking(move || this.look());
        look.await.ok()
    }

    /// Others who ask meanwhile wait for this look and share it.
    fn look(&self) -> Arc<FleetCapacity> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((at, report)) if at.elapsed() < KEPT => Arc::clone(report),
            Some(_) | None => {
                let report = Arc::new(self.view.core().capacity(kit::now()));
                // An empty fleet is cheap to look at, and soon is none: the topics are still being read.
                if !report.nodes.is_empty() {
                    *newest = Some((Instant::now(), Arc::clone(&report)));
                }
                report
            }
        }
    }
}

async fn nodes(State(capacity): State<Capacity>) -> Response {
    match capacity.newest().await {
        Some(report) => Json(&*report).into_response(),
        None => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the nodes could not be looked at; this is a defect of Homeostat, please report it with its log".to_owned(),
        ),
    }
}
