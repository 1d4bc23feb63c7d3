//! The node itself: CPU, memory, disks, network, pressure, file descriptors and its clock, at a slow pace.

mod clock;
mod files;

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use units::{NodeId, NodeMetric, Point, SeriesKind, ServiceId};

use crate::cgroup::Host;
use crate::events::{Instruments, SeriesDropped};
use crate::outbox::{Outbox, send_batches};
use crate::{Error, blocking};

/// Tells of the node.
pub(crate) struct NodeSeries {
    pub(crate) node: NodeId,
    pub(crate) host: Host,
    pub(crate) interval: Duration,
    pub(crate) partitions: u32,
    pub(crate) outbox: Outbox,
    pub(crate) meta: wire::Meta,
    pub(crate) instruments: Instruments,
}

impl NodeSeries {
    /// Reads until `shutdown`.
    ///
    /// # Errors
    /// When reading panics.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let (node, host) = (self.node.clone(), self.host.clone());
            let points = blocking("read the node", move || {
                let mut page = Page::new(node);
                files::read(&host, &mut page);
                clock::read(&mut page);
                page.points
            })
            .await?;
            send(
                &self.outbox,
                self.partitions,
                points,
                &self.meta,
                &self.instruments,
            )
            .await;
        }
        Ok(())
    }
}

/// Sends points where the samples of their service go, a node's own where its name leads.
pub(crate) async fn send(
    outbox: &Outbox,
    partitions: u32,
    points: Vec<Point>,
    meta: &wire::Meta,
    instruments: &Instruments,
) {
    let encode = |points: &[Point], partition| wire::encode_series(points, partition, meta);
    let sent = send_batches(outbox, partitions, points, place, encode);
    if let Err(error) = sent.await {
        SeriesDropped { error: &error }.emit(instruments);
    }
}

fn place(point: &Point) -> &str {
    let service = point.service.as_ref();
    service.map_or(point.node.as_str(), ServiceId::as_str)
}

/// Points of one node at one time.
pub(crate) struct Page {
    node: NodeId,
    at: units::Timestamp,
    steady: units::Steady,
    pub(crate) points: Vec<Point>,
}

impl Page {
    pub(crate) fn new(node: NodeId) -> Page {
        Page {
            node,
            at: kit::now(),
            steady: kit::steady(),
            points: Vec::new(),
        }
    }

    /// Adds a number; what was not read or is not finite is left out.
    pub(crate) fn put(&mut self, metric: NodeMetric, labels: &[(&str, &str)], value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return;
        };
        let pairs = labels.iter().map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{name}=\"{value}\"")
        });
        self.points.push(Point {
            at: self.at,
            steady: self.steady,
            node: self.node.clone(),
            service: None,
            container: None,
            name: metric.name().to_owned(),
            labels: pairs.collect::<Vec<_>>().join(","),
            kind: SeriesKind::from(metric.kind()),
            value,
        });
    }
}
