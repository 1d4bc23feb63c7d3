//! The fleet as metrics: nodes, containers, and when each node was last heard of.

use std::collections::BTreeSet;
use std::time::Duration;

use kit::Context;
use kit::metrics::{Gauges, MetricName};
use units::{ContainerState, NodeId, Timestamp};

use crate::http::Shared;

/// Heartbeats come every two seconds; counting as often shows every change.
const PERIOD: Duration = Duration::from_secs(2);
/// A node not heard of for this long is silent. Five heartbeats are missing by then.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// Keeps the metrics in step with the view until shutdown.
pub(crate) async fn measure(view: Shared, context: Context) {
    let mut gauges = Fleet::new(&context);
    let mut ticks = tokio::time::interval(PERIOD);
    while context
        .shutdown
        .run_until_cancelled(ticks.tick())
        .await
        .is_some()
    {
        gauges.set(&view, kit::now());
    }
}

struct Fleet {
    nodes: Gauges,
    containers: Gauges,
    last_seen: Gauges,
    shown: BTreeSet<NodeId>,
}

impl Fleet {
    fn new(context: &Context) -> Fleet {
        Fleet {
            nodes: context.metrics.gauge(MetricName::Nodes),
            containers: context.metrics.gauge(MetricName::Containers),
            last_seen: context.metrics.gauge(MetricName::NodeLastSeenTimestamp),
            shown: BTreeSet::new(),
        }
    }

    fn set(&mut self, view: &Shared, now: Timestamp) {
        let view = view.read();
        let mut silent = 0;
        let mut nodes = BTreeSet::new();
        for (node, heard) in view.heartbeats() {
            silent += usize::from(now.since(heard) > SILENT_AFTER);
            let seconds = heard.as_millis() as f64 / 1_000.0;
            self.last_seen.with(&[("node", node.as_str())]).set(seconds);
            nodes.insert(node.clone());
        }
        for gone in self.shown.difference(&nodes) {
            self.last_seen.remove(&[("node", gone.as_str())]);
        }
        self.nodes
            .with(&[("state", "live")])
            .set((nodes.len() - silent) as f64);
        self.nodes.with(&[("state", "silent")]).set(silent as f64);
        for state in ContainerState::ALL {
            let count = view.count(state);
            self.containers
                .with(&[("state", state.as_str())])
                .set(count as f64);
        }
        self.shown = nodes;
    }
}
