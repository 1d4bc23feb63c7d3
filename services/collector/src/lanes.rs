//! The records that wait in memory. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::freight::Load;
use crate::outbox::Parcel;

/// Without a spool, what is kept in memory: about ten minutes of a hundred containers.
const TELEMETRY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// With one, memory only takes a hiccup.
const TELEMETRY_BYTES_MAX_WITH_SPOOL: usize = 2 * 1024 * 1024;
/// A node that starts and stops a container each second fills this in twenty minutes.
const EVENTS_MAX: usize = 4096;

/// Records of one lane are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LaneId {
    /// One partition of the topic of samples.
    Telemetry(u32),
    Events,
    Inventory,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Load>,
    sending: bool,
}

/// The waiting records.
#[derive(Debug)]
pub(crate) struct Lanes {
    by_id: BTreeMap<LaneId, Lane>,
    telemetry_bytes: usize,
    telemetry_bytes_max: usize,
}

/// Whether what is over the bound has a place to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    Spooled,
    Lost,
}

impl Lanes {
    pub(crate) fn new(overflow: Overflow) -> Lanes {
        Lanes {
            by_id: BTreeMap::new(),
            telemetry_bytes: 0,
            telemetry_bytes_max: match overflow {
                Overflow::Spooled => TELEMETRY_BYTES_MAX_WITH_SPOOL,
                Overflow::Lost => TELEMETRY_BYTES_MAX,
            },
        }
    }

    /// Takes a parcel in; gives the oldest of what is over the bound.
    pub(crate) fn put(&mut self, parcel: Parcel) -> Vec<Load> {
        let mut over = Vec::new();
        let Parcel { lane, load } = parcel;
        match lane {
            LaneId::Telemetry(_) => {
                self.telemetry_bytes += load.record.size_bytes();
                self.lane(lane).waiting.push_back(load);
                while self.telemetry_bytes > self.telemetry_bytes_max
                    && let Some(oldest) = self.take_oldest_telemetry()
                {
                    over.push(oldest);
                }
            }
            LaneId::Events => {
                let waiting = &mut self.lane(lane).waiting;
                waiting.push_back(load);
                if waiting.len() > EVENTS_MAX {
                    over.extend(waiting.pop_front());
                }
            }
            LaneId::Inventory => {
                let waiting = &mut self.lane(lane).waiting;
                waiting.clear();
                waiting.push_back(load);
            }
        }
        over
    }

    /// Ticks fill the partitions alike, so the longest queue has the oldest record.
    fn take_oldest_telemetry(&mut self) -> Option<Load> {
        let telemetry = self
            .by_id
            .iter_mut()
            .filter(|(id, _)| matches!(id, LaneId::Telemetry(_)));
        let (_, longest) = telemetry.max_by_key(|(_, lane)| lane.waiting.len())?;
        let load = longest.waiting.pop_front()?;
        self.telemetry_bytes -= load.record.size_bytes();
        Some(load)
    }

    /// The next record of each lane that has none under way.
    pub(crate) fn take_ready(&mut self) -> Vec<(LaneId, Load)> {
        let mut ready = Vec::new();
        for (id, lane) in &mut self.by_id {
            if !lane.sending
                && let Some(load) = lane.waiting.pop_front()
            {
                lane.sending = true;
                if let LaneId::Telemetry(_) = id {
                    self.telemetry_bytes -= load.record.size_bytes();
                }
                ready.push((*id, load));
            }
        }
        ready
    }

    /// Everything that waits, oldest first within each lane, but for the inventory: an old one is worth nothing.
    pub(crate) fn take_all_but_inventory(&mut self) -> Vec<Load> {
        self.telemetry_bytes = 0;
        let lanes = self.by_id.iter_mut();
        lanes
            .filter(|(id, _)| **id != LaneId::Inventory)
            .flat_map(|(_, lane)| lane.waiting.drain(..))
            .collect()
    }

    /// The record of this lane that was under way is not any more.
    pub(crate) fn sent(&mut self, id: LaneId) {
        self.lane(id).sending = false;
    }

    fn lane(&mut self, id: LaneId) -> &mut Lane {
        self.by_id.entry(id).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freight::Cargo;
    use bus::NewRecord;
    use bytes::Bytes;

    fn record(bytes: usize) -> NewRecord {
        NewRecord {
            topic: wire::topic::SAMPLES.into(),
            key: Bytes::new(),
            value: Bytes::from(vec![0; bytes]),
            headers: Vec::new(),
            partition: None,
        }
    }

    fn rows(loads: &[Load]) -> Vec<u64> {
        loads.iter().map(|load| load.cargo.rows()).collect()
    }

    #[test]
    fn telemetry_over_the_bound_is_given_oldest_first() {
        let mut lanes = Lanes::new(Overflow::Lost);
        let half = TELEMETRY_BYTES_MAX / 2;
        let put = |lanes: &mut Lanes, partition, count| {
            let over = lanes.put(Parcel::rows(record(half), partition, Cargo::Rows(count)));
            rows(&over)
        };
        assert!(put(&mut lanes, 0, 1).is_empty());
        assert!(put(&mut lanes, 0, 2).is_empty());
        assert_eq!(put(&mut lanes, 1, 3), [1]);
        let ready: Vec<_> = lanes
            .take_ready()
            .into_iter()
            .map(|(id, load)| (id, load.cargo.rows()))
            .collect();
        assert_eq!(
            ready,
            [(LaneId::Telemetry(0), 2), (LaneId::Telemetry(1), 3)]
        );
        assert_eq!(lanes.telemetry_bytes, 0);
    }

    #[test]
    fn a_lane_has_one_record_under_way() {
        let mut lanes = Lanes::new(Overflow::Spooled);
        lanes.put(Parcel::event(record(1), 1));
        lanes.put(Parcel::event(record(1), 1));
        assert_eq!(lanes.take_ready().len(), 1);
        assert!(lanes.take_ready().is_empty());
        lanes.sent(LaneId::Events);
        assert_eq!(lanes.take_ready().len(), 1);
    }

    #[test]
    fn of_inventories_the_newest_waits_and_of_events_the_newest_many() {
        let mut lanes = Lanes::new(Overflow::Spooled);
        lanes.put(Parcel::inventory(record(1)));
        lanes.put(Parcel::inventory(record(2)));
        let ready = lanes.take_ready();
        assert_eq!(ready.len(), 1);
        assert_eq!(ready[0].1.record.value.len(), 2);
        let over: usize = (0..EVENTS_MAX + 3)
            .map(|_| lanes.put(Parcel::event(record(1), 1)).len())
            .sum();
        assert_eq!(over, 3);
        lanes.put(Parcel::inventory(record(3)));
        assert_eq!(lanes.take_all_but_inventory().len(), EVENTS_MAX);
        assert!(lanes.take_all_but_inventory().is_empty());
    }
}
