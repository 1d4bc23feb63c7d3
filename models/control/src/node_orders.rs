//! What people want done with nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{NodeId, NodeOrder, NodeWanted, Timestamp};

/// Nodes with an order that are remembered; beyond this the earliest order goes first, and its node is open.
const ORDERS_MAX: usize = 16_384;
/// What is still wanted is told again after this, since a controller that starts does not read back for ever.
const RETELL_AFTER: Duration = Duration::from_secs(12 * 3_600);

/// The newest order of each node.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeOrders(BTreeMap<NodeId, Known>);

#[derive(Debug, Clone)]
struct Known {
    order: NodeOrder,
    told_at: Timestamp,
}

impl NodeOrders {
    /// Takes an order unless a newer one is known. True when it was news.
    pub(crate) fn apply(&mut self, order: NodeOrder) -> bool {
        let known = self.0.get(&order.node);
        if known.is_some_and(|known| known.order.at > order.at) {
            return false;
        }
        let same = known.filter(|known| known.order == order);
        let is_news = same.is_none();
        // It may have been written long before this side read it, and by then be read no more soon.
        let told_at = same.map_or(order.at, |known| known.told_at);
        self.0.insert(order.node.clone(), Known { order, told_at });
        if self.0.len() > ORDERS_MAX {
            let earliest = self.0.values().min_by_key(|known| known.order.at);
            if let Some(node) = earliest.map(|known| known.order.node.clone()) {
                self.0.remove(&node);
            }
        }
        is_news
    }

    /// What is wanted of a node.
    pub(crate) fn wanted(&self, node: &NodeId) -> NodeWanted {
        self.order(node).map_or(NodeWanted::Open, |it| it.wanted)
    }

    pub(crate) fn order(&self, node: &NodeId) -> Option<&NodeOrder> {
        self.0.get(node).map(|known| &known.order)
    }

    /// Nodes on which nothing new is wanted.
    pub(crate) fn closed(&self) -> impl Iterator<Item = &NodeId> {
        let orders = self.0.values().map(|known| &known.order);
        orders
            .filter(|it| it.wanted != NodeWanted::Open)
            .map(|it| &it.node)
    }

    /// Orders to drain.
    pub(crate) fn drains(&self) -> impl Iterator<Item = &NodeOrder> {
        let orders = self.0.values().map(|known| &known.order);
        orders.filter(|it| it.wanted == NodeWanted::Drained)
    }

    /// Orders to be told again.
    pub(crate) fn retell(&mut self, now: Timestamp) -> Vec<NodeOrder> {
        let mut told = Vec::new();
        for known in self.0.values_mut() {
            let stands = known.order.wanted != NodeWanted::Open;
            if stands && known.told_at + RETELL_AFTER <= now {
                known.told_at = now;
                told.push(known.order.clone());
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(wanted: NodeWanted, at_s: i64) -> NodeOrder {
        NodeOrder {
            node: NodeId::from("a"),
            wanted,
            at: Timestamp::from_millis(at_s * 1_000),
            by: None,
        }
    }

    #[test]
    fn the_newest_order_counts_in_whatever_order_they_come() {
        let mut orders = NodeOrders::default();
        assert_eq!(orders.wanted(&NodeId::from("a")), NodeWanted::Open);
        assert!(orders.apply(order(NodeWanted::Drained, 2)));
        assert!(!orders.apply(order(NodeWanted::Cordoned, 1)));
        assert!(!orders.apply(order(NodeWanted::Drained, 2)), "the same");
        assert_eq!(orders.wanted(&NodeId::from("a")), NodeWanted::Drained);
        assert!(orders.apply(order(NodeWanted::Open, 3)));
        assert_eq!(orders.drains().count(), 0);
    }

    #[test]
    fn what_stands_is_told_again_before_it_is_read_no_more() {
        let mut orders = NodeOrders::default();
        orders.apply(order(NodeWanted::Cordoned, 1));
        let given_at = order(NodeWanted::Cordoned, 1).at;
        assert_eq!(orders.retell(given_at + RETELL_AFTER / 2), []);
        // Whoever leads by then, and however late that one read it.
        let again = given_at + RETELL_AFTER;
        let mut late = orders.clone();
        late.apply(order(NodeWanted::Cordoned, 1));
        assert_eq!(late.retell(again), [order(NodeWanted::Cordoned, 1)]);
        assert_eq!(orders.retell(again), [order(NodeWanted::Cordoned, 1)]);
        assert_eq!(orders.retell(again), []);
        orders.apply(order(NodeWanted::Open, 2));
        assert_eq!(orders.retell(again + RETELL_AFTER), []);
    }
}
