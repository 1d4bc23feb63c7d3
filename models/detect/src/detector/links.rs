//! What is told of containers beside their samples: their connections, and their pages of metrics.

use std::collections::BTreeMap;

use units::{ContainerId, Link, Point, ServiceId, Signal};

use super::{Detector, surroundings};
use crate::container::ServiceStanding;
use crate::rules::answers;

impl Detector {
    /// Takes the links of a record: what one or more containers' sockets said. Those of containers without a sample yet are
    /// passed over.
    pub fn links(&mut self, links: &[Link], traceparent: Option<&str>) -> Vec<Signal> {
        let mut reads: BTreeMap<(&ServiceId, &ContainerId), Vec<&Link>> = BTreeMap::new();
        for link in links {
            let read = reads.entry((&link.service, &link.container)).or_default();
            read.push(link);
        }
        let mut signals = Vec::new();
        for ((service, container), read) in reads {
            let Some(first) = read.first() else { continue };
            let node = self.nodes.get(&first.node);
            let Some(clock) = node.and_then(|node| node.clock.as_ref()) else {
                continue;
            };
            let now = clock.place(first.at, Some(first.steady));
            let around = surroundings(&self.settings, traceparent, ServiceStanding::Ordinary);
            let known = self.services.get_mut(service);
            if let Some(known) = known.and_then(|known| known.containers.get_mut(container)) {
                signals.extend(known.links(service, container, &read, now, &around));
            }
        }
        signals
    }

    /// Takes what applications tell of themselves, and balancers of them. Pages of containers without a sample yet are passed over.
    pub(super) fn app_points(
        &mut self,
        points: &[Point],
        traceparent: Option<&str>,
        out: &mut Vec<Signal>,
    ) {
        let mut pages: BTreeMap<_, Vec<&Point>> = BTreeMap::new();
        for point in points {
            if let (Some(service), Some(container)) = (&point.service, &point.container) {
                let page = pages.entry((service, container, point.steady)).or_default();
                page.push(point);
            }
        }
        for ((service, container, steady), page) in pages {
            let Some(first) = page.first() else { continue };
            let node = self.nodes.get(&first.node);
            let Some(clock) = node.and_then(|node| node.clock.as_ref()) else {
                continue;
            };
            let now = clock.place(first.at, Some(steady));
            let around = surroundings(&self.settings, traceparent, ServiceStanding::Ordinary);
            let Some(known) = self.services.get_mut(service) else {
                continue;
            };
            // Of one container, but read in another place.
            let (counted, own): (Vec<&Point>, Vec<&Point>) =
                page.into_iter().partition(|it| answers::is_of_balancer(it));
            if !counted.is_empty() {
                let of = (service, container);
                out.extend(known.answers(of, &counted, now, &around));
            }
            if let Some(known) = known.containers.get_mut(container)
                && !own.is_empty()
            {
                out.extend(known.page(service, container, &own, now, &around));
            }
        }
    }
}
