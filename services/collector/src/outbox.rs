//! What waits for the log: samples, series and links, events and the inventory, each with its bound.
//!
//! Every lane has one record under way, so that its order holds; lanes overlap. When the log is slow or away, what waits goes
//! to the spool on disk, and from there, a few records at a time, once the log is back: fresh records do not wait behind old
//! ones. Without a spool, what waits is kept up to a bound and then dropped oldest first and counted. Of inventories only the
//! newest waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, NewRecord};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use spool::EntryId;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use wire::EncodeError;

use crate::Error;
use crate::deliver::{Fate, deliver};
use crate::events::{EventLost, Instruments, Losing, SamplesLost, SpoolFailed, Spooling};
use crate::events_mark::EventsMark;
use crate::freight::{Cargo, Load};
use crate::lanes::{LaneId, Lanes, Overflow};
use crate::shelf::{Laid, Shelf, TAKEN_MAX};
use crate::tally::Tally;

/// Parcels between their makers and the outbox, which takes them at once; full means the process is not scheduled at all.
const HANDOVER_MAX: usize = 256;
/// What is left when the process ends has this long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// With the log failing for this long, what waits is laid on the shelf: it would be lost with this process.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the shelf is looked at for what is too old, or can be sent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows of one batch: so many samples are some 400 KB, under the log's limit for a record, and their containers fit into a tag.
pub(crate) const BATCH_ROWS_MAX: usize = 900;

/// Something to send.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) lane: LaneId,
    pub(crate) load: Load,
}

impl Parcel {
    /// What happened to a container, in nanoseconds since the Unix epoch.
    pub(crate) fn event(record: NewRecord, at_ns: i64) -> Parcel {
        let cargo = Cargo::Event(at_ns);
        Parcel {
            lane: LaneId::Events,
            load: Load { record, cargo },
        }
    }

    /// The node as it is; a newer one takes its place.
    pub(crate) fn inventory(record: NewRecord) -> Parcel {
        let cargo = Cargo::Inventory;
        Parcel {
            lane: LaneId::Inventory,
            load: Load { record, cargo },
        }
    }

    /// Rows of one partition.
    pub(crate) fn rows(record: NewRecord, partition: u32, cargo: Cargo) -> Parcel {
        Parcel {
            lane: LaneId::Telemetry(partition),
            load: Load { record, cargo },
        }
    }
}

/// Where parcels are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Parcel>);

/// What the work behind an outbox needs.
pub(crate) struct Means {
    pub(crate) bus: Bus,
    pub(crate) shelf: Option<Shelf>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) events_mark: EventsMark,
    pub(crate) instruments: Instruments,
}

impl Outbox {
    /// An outbox and the work behind it, which ends once every clone of the outbox is gone and what waited is sent, on disk, or
    /// given up.
    pub(crate) fn new(means: Means) -> (Outbox, Sending) {
        let (sender, parcels) = mpsc::channel(HANDOVER_MAX);
        let overflow = match &means.shelf {
            Some(_) => Overflow::Spooled,
            None => Overflow::Lost,
        };
        let sending = Sending {
            parcels,
            lanes: Lanes::new(overflow),
            under_way: FuturesUnordered::new(),
            taken: 0,
            stuck_since: None,
            copies: BTreeMap::new(),
            trouble: Trouble::None,
            losing: Losing::default(),
            means,
        };
        (Outbox(sender), sending)
    }

    /// Hands a parcel in. Waits only while the process is not scheduled; what comes after the end is dropped.
    pub(crate) async fn send(&self, parcel: Parcel) {
        let _ = self.0.send(parcel).await;
    }
}

/// Sends rows, one batch a partition: where the key of each leads. Rows that do not fit into one record go as several.
///
/// # Errors
/// When a batch cannot be encoded; its rows and those after it are not sent.
pub(crate) async fn send_batches<T>(
    outbox: &Outbox,
    partitions: u32,
    mut rows: Vec<T>,
    key: impl Fn(&T) -> &str,
    encode: impl Fn(&[T], u32) -> Result<NewRecord, EncodeError>,
) -> Result<(), EncodeError> {
    let partition_of = |row: &T| bus::partition_of(key(row).as_bytes(), partitions);
    rows.sort_by_cached_key(partition_of);
    for group in rows.chunk_by(|a, b| key(a) == key(b) || partition_of(a) == partition_of(b)) {
        let partition = partition_of(&group[0]);
        for batch in group.chunks(BATCH_ROWS_MAX) {
            let record = encode(batch, partition)?;
            let cargo = Cargo::Rows(batch.len() as u64);
            outbox.send(Parcel::rows(record, partition, cargo)).await;
        }
    }
    Ok(())
}

/// Where a record under way came from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Lane(LaneId),
    Shelf(EntryId),
}

type UnderWay = BoxFuture<'static, (Origin, Cargo, Fate)>;

/// The work behind an outbox.
pub(crate) struct Sending {
    parcels: mpsc::Receiver<Parcel>,
    lanes: Lanes,
    under_way: FuturesUnordered<UnderWay>,
    /// Records of the shelf under way.
    taken: usize,
    /// Since when nothing has arrived although something is under way.
    stuck_since: Option<Instant>,
    /// Copies of what is under way from the lanes, until they are on the shelf too.
    copies: BTreeMap<LaneId, Load>,
    trouble: Trouble,
    losing: Losing,
    means: Means,
}

/// Whether the log takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does.
    None,
    /// Nothing has arrived for a while.
    Stuck,
}

enum Event {
    Handed(Parcel),
    Closed,
    Sent(Origin, Cargo, Fate),
    Look,
}

impl Sending {
    /// Sends until every outbox is gone, then for at most [`DRAIN_DEADLINE`] what is left; the rest is laid on the shelf.
    ///
    /// # Errors
    /// When a thread for the disk panics.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                Some((origin, cargo, fate)) = self.under_way.next(), if !self.under_way.is_empty() => {
                    Event::Sent(origin, cargo, fate)
                }
                parcel = self.parcels.recv() => parcel.map_or(Event::Closed, Event::Handed),
                _ = looks.tick(), if self.is_busy() => Event::Look,
            };
            match event {
                Event::Handed(parcel) => self.take_in(parcel).await?,
                Event::Sent(origin, cargo, fate) => self.note(origin, &cargo, fate).await?,
                Event::Look => self.look().await?,
                Event::Closed => break,
            }
            self.start_ready().await?;
        }
        // Past the deadline what is left is laid down, or counted.
        let _ = tokio::time::timeout(DRAIN_DEADLINE, self.drain()).await;
        let left = self.take_waiting();
        self.put_aside(left).await?;
        self.means.events_mark.save().await?;
        Ok(())
    }

    /// Whether anything may have to be looked after; else this task is not woken for it.
    fn is_busy(&self) -> bool {
        let holds = self.means.shelf.as_ref().is_some_and(|it| !it.is_empty());
        holds
            || !self.under_way.is_empty()
            || self.trouble != Trouble::None
            || self.means.events_mark.has_moved()
    }

    async fn take_in(&mut self, parcel: Parcel) -> Result<(), Error> {
        let behind = match (&self.means.shelf, parcel.lane) {
            // Their order is kept.
            (Some(shelf), LaneId::Events) => shelf.holds_events(),
            _ => false,
        };
        if behind {
            return self.put_aside(vec![parcel.load]).await;
        }
        let over = self.lanes.put(parcel);
        if over.is_empty() {
            return Ok(());
        }
        self.put_aside(over).await
    }

    /// To the shelf, when there is one; else it is lost.
    async fn put_aside(&mut self, loads: Vec<Load>) -> Result<(), Error> {
        if loads.is_empty() {
            return Ok(());
        }
        let newest = loads.iter().filter_map(|load| load.cargo.event_ns()).max();
        let laid = match &mut self.means.shelf {
            Some(shelf) => {
                let laid = shelf.lay_down(loads).await?;
                self.means.events_mark.safe(newest);
                laid
            }
            None => Laid {
                dropped: loads.into_iter().map(|load| load.cargo).collect(),
                error: None,
            },
        };
        self.account(laid);
        Ok(())
    }

    fn account(&mut self, laid: Laid) {
        if let Some(error) = &laid.error {
            SpoolFailed { error }.emit();
        }
        for cargo in &laid.dropped {
            self.lose(cargo);
        }
    }

    fn lose(&mut self, cargo: &Cargo) {
        match cargo {
            Cargo::Samples(containers) => {
                for id in containers {
                    self.means.tally.lose_samples(id, 1);
                }
                SamplesLost { rows: cargo.rows() }.emit(&self.means.instruments);
                self.losing.dropped(wire::topic::SAMPLES, cargo.rows());
            }
            Cargo::Rows(rows) => {
                SamplesLost { rows: *rows }.emit(&self.means.instruments);
                self.losing.dropped(wire::topic::SAMPLES, *rows);
            }
            Cargo::Event(_) => {
                EventLost.emit(&self.means.instruments);
                self.losing.dropped(wire::topic::EVENTS, 1);
            }
            Cargo::Inventory => {}
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let is_stuck = self
            .stuck_since
            .is_some_and(|since| since.elapsed() >= PATIENCE);
        let trouble = if is_stuck {
            Trouble::Stuck
        } else {
            Trouble::None
        };
        if trouble != self.trouble && self.means.shelf.is_some() {
            Spooling { trouble }.emit();
        }
        self.trouble = trouble;
        self.means.events_mark = self.means.events_mark.save().await?;
        if trouble == Trouble::Stuck && self.means.shelf.is_some() {
            let waiting = self.take_waiting();
            self.put_aside(waiting).await?;
        }
        if let Some(shelf) = &mut self.means.shelf
            && !shelf.is_empty()
        {
            let laid = shelf.enforce().await?;
            self.account(laid);
        }
        Ok(())
    }

    /// What would be lost with this process: what waits, and what is under way, which then arrives twice at worst.
    fn take_waiting(&mut self) -> Vec<Load> {
        let mut waiting: Vec<Load> = std::mem::take(&mut self.copies).into_values().collect();
        waiting.extend(self.lanes.take_all_but_inventory());
        waiting
    }

    async fn drain(&mut self) {
        while let Some((origin, cargo, fate)) = self.under_way.next().await {
            // What the shelf still holds waits for the next start.
            if self.note(origin, &cargo, fate).await.is_err() {
                return;
            }
            self.start_lanes();
        }
    }

    async fn note(&mut self, origin: Origin, cargo: &Cargo, fate: Fate) -> Result<(), Error> {
        match origin {
            Origin::Lane(lane) => {
                self.lanes.sent(lane);
                self.copies.remove(&lane);
            }
            Origin::Shelf(_) => self.taken -= 1,
        }
        self.stuck_since = (!self.under_way.is_empty()).then(Instant::now);
        match (fate, origin) {
            (Fate::Delivered, _) => {
                self.losing.delivered();
                self.means.events_mark.safe(cargo.event_ns());
            }
            (Fate::Refused, _) | (Fate::Closed, Origin::Lane(_)) => self.lose(cargo),
            // It is still on the shelf.
            (Fate::Closed, Origin::Shelf(_)) => return Ok(()),
        }
        if let (Origin::Shelf(id), Some(shelf)) = (origin, &mut self.means.shelf) {
            shelf.delivered(id, cargo).await?;
        }
        Ok(())
    }

    async fn start_ready(&mut self) -> Result<(), Error> {
        self.start_lanes();
        while self.taken < TAKEN_MAX && self.trouble == Trouble::None {
            let Some(shelf) = &mut self.means.shelf else {
                break;
            };
            if shelf.is_empty() {
                break;
            }
            let (taken, laid) = shelf.take().await?;
            self.account(laid);
            let Some(taken) = taken else {
                break;
            };
            self.taken += 1;
            self.start(Origin::Shelf(taken.id), taken.load);
        }
        Ok(())
    }

    fn start_lanes(&mut self) {
        for (lane, load) in self.lanes.take_ready() {
            if self.means.shelf.is_some() && lane != LaneId::Inventory {
                self.copies.insert(lane, load.clone());
            }
            self.start(Origin::Lane(lane), load);
        }
    }

    fn start(&mut self, origin: Origin, load: Load) {
        let (bus, instruments) = (self.means.bus.clone(), self.means.instruments.clone());
        self.stuck_since.get_or_insert_with(Instant::now);
        self.under_way.push(Box::pin(async move {
            let rows = load.cargo.rows();
            let fate = deliver(&bus, load.record, rows, &instruments).await;
            (origin, load.cargo, fate)
        }));
    }
}
