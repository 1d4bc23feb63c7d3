//! What waits for the log: samples, events and the inventory, each with its bound.
//!
//! Every lane has one record under way, so that its order holds; lanes overlap. When the log is slow or away, samples and
//! events are kept up to a bound and then dropped oldest first and counted, and of inventories only the newest waits.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bus::{Bus, NewRecord};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use crate::deliver::{Fate, deliver};
use crate::events::{EventLost, Instruments, LosingBegan, LosingEnded, SamplesLost};

/// About ten minutes of a hundred containers.
const SAMPLE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A node that starts and stops a container each second fills this in twenty minutes.
const EVENTS_MAX: usize = 4096;
/// Parcels between their makers and the outbox, which takes them at once; full means the process is not scheduled at all.
const HANDOVER_MAX: usize = 256;
/// What is left when the process ends has this long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Something to send.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// Rows of one partition and tick.
    Samples {
        record: NewRecord,
        partition: u32,
        rows: u64,
    },
    /// What happened to a container.
    Event(NewRecord),
    /// The node as it is; a newer one takes its place.
    Inventory(NewRecord),
}

/// Where parcels are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Parcel>);

impl Outbox {
    /// An outbox and the work behind it, which ends once every clone of the outbox is gone and what waited is sent or given up.
    pub(crate) fn new(bus: Bus, instruments: Instruments) -> (Outbox, Sending) {
        let (sender, parcels) = mpsc::channel(HANDOVER_MAX);
        let sending = Sending {
            parcels,
            lanes: Lanes::default(),
            under_way: FuturesUnordered::new(),
            bus,
            instruments,
        };
        (Outbox(sender), sending)
    }

    /// Hands a parcel in. Waits only while the process is not scheduled; what comes after the end is dropped.
    pub(crate) async fn send(&self, parcel: Parcel) {
        let _ = self.0.send(parcel).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LaneId {
    Samples(u32),
    Events,
    Inventory,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Load>,
    sending: bool,
}

#[derive(Debug)]
struct Load {
    record: NewRecord,
    rows: u64,
}

/// What had to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Samples { rows: u64 },
    Event,
}

/// The waiting records; pure.
#[derive(Debug, Default)]
struct Lanes {
    by_id: BTreeMap<LaneId, Lane>,
    sample_bytes: usize,
}

impl Lanes {
    fn put(&mut self, parcel: Parcel) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        match parcel {
            Parcel::Samples {
                record,
                partition,
                rows,
            } => {
                self.sample_bytes += record.size_bytes();
                self.lane(LaneId::Samples(partition))
                    .waiting
                    .push_back(Load { record, rows });
                while self.sample_bytes > SAMPLE_BYTES_MAX
                    && let Some(rows) = self.drop_oldest_samples()
                {
                    dropped.push(Dropped::Samples { rows });
                }
            }
            Parcel::Event(record) => {
                let waiting = &mut self.lane(LaneId::Events).waiting;
                waiting.push_back(Load { record, rows: 1 });
                if waiting.len() > EVENTS_MAX {
                    waiting.pop_front();
                    dropped.push(Dropped::Event);
                }
            }
            Parcel::Inventory(record) => {
                let waiting = &mut self.lane(LaneId::Inventory).waiting;
                waiting.clear();
                waiting.push_back(Load { record, rows: 1 });
            }
        }
        dropped
    }

    /// Ticks fill the partitions alike, so the longest queue has the oldest record.
    fn drop_oldest_samples(&mut self) -> Option<u64> {
        let samples = self
            .by_id
            .iter_mut()
            .filter(|(id, _)| matches!(id, LaneId::Samples(_)));
        let (_, longest) = samples.max_by_key(|(_, lane)| lane.waiting.len())?;
        let load = longest.waiting.pop_front()?;
        self.sample_bytes -= load.record.size_bytes();
        Some(load.rows)
    }

    /// The next record of each lane that has none under way.
    fn take_ready(&mut self) -> Vec<(LaneId, Load)> {
        let mut ready = Vec::new();
        for (id, lane) in &mut self.by_id {
            if !lane.sending
                && let Some(load) = lane.waiting.pop_front()
            {
                lane.sending = true;
                if let LaneId::Samples(_) = id {
                    self.sample_bytes -= load.record.size_bytes();
                }
                ready.push((*id, load));
            }
        }
        ready
    }

    fn sent(&mut self, id: LaneId) {
        self.lane(id).sending = false;
    }

    fn waiting_rows(&self, of: fn(LaneId) -> bool) -> u64 {
        let lanes = self.by_id.iter().filter(|(id, _)| of(**id));
        lanes
            .flat_map(|(_, lane)| &lane.waiting)
            .map(|load| load.rows)
            .sum()
    }

    fn lane(&mut self, id: LaneId) -> &mut Lane {
        self.by_id.entry(id).or_default()
    }
}

/// A record under way: its lane, its rows and what became of it.
type UnderWay = BoxFuture<'static, (LaneId, u64, Fate)>;

/// The work behind an outbox.
pub(crate) struct Sending {
    parcels: mpsc::Receiver<Parcel>,
    lanes: Lanes,
    under_way: FuturesUnordered<UnderWay>,
    bus: Bus,
    instruments: Instruments,
}

enum Event {
    Handed(Parcel),
    Closed,
    Sent(LaneId, u64, Fate),
}

impl Sending {
    /// Sends until every outbox is gone, then for at most [`DRAIN_DEADLINE`] what is left.
    pub(crate) async fn run(mut self) {
        let mut samples_dropped = Losing::new(wire::topic::SAMPLES);
        let mut events_dropped = Losing::new(wire::topic::EVENTS);
        loop {
            match self.next().await {
                Event::Handed(parcel) => {
                    for dropped in self.lanes.put(parcel) {
                        match dropped {
                            Dropped::Samples { rows } => {
                                SamplesLost { rows }.emit(&self.instruments);
                                samples_dropped.dropped(rows);
                            }
                            Dropped::Event => {
                                EventLost.emit(&self.instruments);
                                events_dropped.dropped(1);
                            }
                        }
                    }
                }
                Event::Sent(lane, rows, fate) => {
                    self.note(lane, rows, fate);
                    match lane {
                        LaneId::Samples(_) => samples_dropped.delivered(),
                        LaneId::Events => events_dropped.delivered(),
                        LaneId::Inventory => {}
                    }
                }
                Event::Closed => break,
            }
            self.start_ready();
        }
        // Past the deadline what is left is counted below.
        let _ = tokio::time::timeout(DRAIN_DEADLINE, self.drain()).await;
        let rows = self
            .lanes
            .waiting_rows(|id| matches!(id, LaneId::Samples(_)));
        SamplesLost { rows }.emit(&self.instruments);
        for _ in 0..self.lanes.waiting_rows(|id| id == LaneId::Events) {
            EventLost.emit(&self.instruments);
        }
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            Some((lane, rows, fate)) = self.under_way.next(), if !self.under_way.is_empty() => {
                Event::Sent(lane, rows, fate)
            }
            parcel = self.parcels.recv() => parcel.map_or(Event::Closed, Event::Handed),
        }
    }

    async fn drain(&mut self) {
        self.start_ready();
        while let Some((lane, rows, fate)) = self.under_way.next().await {
            self.note(lane, rows, fate);
            self.start_ready();
        }
    }

    fn note(&mut self, lane: LaneId, rows: u64, fate: Fate) {
        self.lanes.sent(lane);
        match (lane, fate) {
            (LaneId::Samples(_), Fate::Refused | Fate::Closed) => {
                SamplesLost { rows }.emit(&self.instruments)
            }
            (LaneId::Samples(_), Fate::Delivered) | (LaneId::Events | LaneId::Inventory, _) => {}
        }
    }

    fn start_ready(&mut self) {
        for (id, load) in self.lanes.take_ready() {
            let (bus, instruments) = (self.bus.clone(), self.instruments.clone());
            self.under_way.push(Box::pin(async move {
                let fate = deliver(&bus, load.record, load.rows, &instruments).await;
                (id, load.rows, fate)
            }));
        }
    }
}

/// Says when dropping begins and, with the sum, when it is over: not once for each record.
struct Losing {
    topic: &'static str,
    dropped: u64,
    /// Deliveries since the last drop.
    calm: u32,
}

impl Losing {
    /// So many deliveries without a drop between them mean that the log keeps up.
    const CALM: u32 = 30;

    fn new(topic: &'static str) -> Self {
        Losing {
            topic,
            dropped: 0,
            calm: 0,
        }
    }

    fn dropped(&mut self, rows: u64) {
        if self.dropped == 0 {
            LosingBegan { topic: self.topic }.emit();
        }
        self.dropped += rows;
        self.calm = 0;
    }

    fn delivered(&mut self) {
        if self.dropped == 0 {
            return;
        }
        self.calm += 1;
        if self.calm == Self::CALM {
            LosingEnded {
                topic: self.topic,
                dropped: self.dropped,
            }
            .emit();
            self.dropped = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn samples_are_dropped_oldest_first_at_the_bound() {
        let mut lanes = Lanes::default();
        let half = SAMPLE_BYTES_MAX / 2;
        let put = |lanes: &mut Lanes, partition, rows| {
            lanes.put(Parcel::Samples {
                record: record(half),
                partition,
                rows,
            })
        };
        assert!(put(&mut lanes, 0, 1).is_empty());
        assert!(put(&mut lanes, 0, 2).is_empty());
        assert_eq!(put(&mut lanes, 1, 3), [Dropped::Samples { rows: 1 }]);
        let ready: Vec<_> = lanes
            .take_ready()
            .into_iter()
            .map(|(id, load)| (id, load.rows))
            .collect();
        assert_eq!(ready, [(LaneId::Samples(0), 2), (LaneId::Samples(1), 3)]);
        assert_eq!(lanes.sample_bytes, 0);
    }

    #[test]
    fn a_lane_has_one_record_under_way() {
        let mut lanes = Lanes::default();
        lanes.put(Parcel::Event(record(1)));
        lanes.put(Parcel::Event(record(1)));
        assert_eq!(lanes.take_ready().len(), 1);
        assert!(lanes.take_ready().is_empty());
        lanes.sent(LaneId::Events);
        assert_eq!(lanes.take_ready().len(), 1);
    }

    #[test]
    fn of_inventories_the_newest_waits_and_of_events_the_newest_many() {
        let mut lanes = Lanes::default();
        lanes.put(Parcel::Inventory(record(1)));
        lanes.put(Parcel::Inventory(record(2)));
        let ready = lanes.take_ready();
        assert_eq!(ready.len(), 1);
        assert_eq!(ready[0].1.record.value.len(), 2);
        let dropped: usize = (0..EVENTS_MAX + 3)
            .map(|_| lanes.put(Parcel::Event(record(1))).len())
            .sum();
        assert_eq!(dropped, 3);
    }
}
