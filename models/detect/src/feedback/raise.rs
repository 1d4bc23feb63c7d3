//! Where bars are raised: before the gates of who was dismissed, and of who comes later.

use std::collections::BTreeMap;

use units::{NodeId, ServiceId};

use super::{Bar, Bars};
use crate::container::Container;
use crate::service::Service;
use crate::telemetry::Node;

/// A node, which finds its bars as they stand when it comes.
pub(crate) fn node_of<'a>(
    nodes: &'a mut BTreeMap<NodeId, Node>,
    bars: &Bars,
    id: &NodeId,
) -> &'a mut Node {
    nodes.entry(id.clone()).or_insert_with(|| {
        let mut node = Node::default();
        bars.of_node(id).for_each(|bar| node.gates.raise(bar));
        node
    })
}

/// Raises a bar where it was dismissed: for that container, else for the one that has its name now, else for all of the service,
/// one of which took its place.
pub(crate) fn raise(service: &mut Service, bar: &Bar) {
    let Some(id) = &bar.subject.container else {
        service.gates.raise(bar);
        return;
    };
    if let Some(container) = service.containers.get_mut(id) {
        container.gates.raise(bar);
        return;
    }
    let name = bar.subject.name.as_ref();
    let has_name = |container: &Container| Some(&container.name) == name;
    let is_named = service.containers.values().any(has_name);
    for container in service.containers.values_mut() {
        if !is_named || has_name(container) {
            container.gates.raise(bar);
        }
    }
}

impl Bars {
    /// Raises the bars that stand before a container that comes to a service, and before the service with its first one.
    pub(crate) fn meet(&self, service: &mut Service, id: &ServiceId, newcomer: &mut Container) {
        let is_first = service.containers.is_empty();
        for bar in self.of_service(id) {
            match &bar.subject.container {
                Some(_) => newcomer.gates.raise(bar),
                None if is_first => service.gates.raise(bar),
                None => {}
            }
        }
    }
}
