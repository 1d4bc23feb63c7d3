//! What a leader must have read before it decides, and how each record becomes an event for the core.
//!
//! The controller reads the topics with this, and a replay reads a recording with it: what one of them understands, the other does.

use std::time::Duration;

use bus::Record;
use control::Event;
use units::{ContainerId, Generation, NodeId};
use wire::topic;

use crate::config::Config;

const HOUR: Duration = Duration::from_secs(3_600);
/// The core remembers what it said for a day, and plans for two hours.
const JOURNAL_BACK: Duration = Duration::from_secs(25 * 3_600);
/// Every plan is over within minutes, and an open signal is told again twice a minute, each time in full.
const RECENT_BACK: Duration = Duration::from_secs(2 * 3_600);
/// Who was heard no later than this is lost, or never there: what a leader hears counts from when it began to listen.
const BEATS_BACK: Duration = Duration::from_secs(60);
/// Claims older than this are of leaders long gone; only newer ones than our own matter.
const CLAIMS_BACK: Duration = Duration::from_secs(60);

/// How far back a topic is read before anything is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// All of it: the newest record of every key may be of any age.
    Everything,
    /// So long.
    For(Duration),
}

/// What a record tells a controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Something the core is to know.
    Event(Event),
    /// A claim to lead, with the generation it gives.
    Claim(Generation),
    /// That its key is gone, which the core need not know.
    Nothing,
}

/// A topic a controller reads, since when, and what its records tell.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The topic's name.
    pub topic: &'static str,
    /// How far back it is read when leading begins.
    pub back: Back,
    decode: fn(&Record) -> Result<Told, wire::DecodeError>,
}

impl Source {
    /// What a record of this topic tells.
    ///
    /// # Errors
    /// When schema or version are not known, or the bytes are not that value: to be counted and put aside.
    pub fn decode(&self, record: &Record) -> Result<Told, wire::DecodeError> {
        (self.decode)(record)
    }
}

/// Everything a controller reads.
pub fn sources(config: &Config) -> [Source; 9] {
    let looked_back = config.scale.down_window.max(config.scale.idle_after).get();
    let forecasts = looked_back + config.scale.verdict_within.get() + HOUR / 6;
    let people = config.people.hold.get() + HOUR / 6;
    [
        Source {
            topic: topic::JOURNAL,
            back: Back::For(JOURNAL_BACK),
            decode: |record| event(record, Event::Journal),
        },
        Source {
            topic: topic::SIGNALS,
            back: Back::For(RECENT_BACK),
            decode: |record| event(record, Event::Signal),
        },
        Source {
            topic: topic::INVENTORY,
            back: Back::Everything,
            decode: inventory,
        },
        Source {
            topic: topic::OUTCOMES,
            back: Back::For(RECENT_BACK),
            decode: |record| event(record, Event::Outcome),
        },
        Source {
            topic: topic::FORECASTS,
            back: Back::For(forecasts),
            decode: |record| event(record, Event::Forecast),
        },
        Source {
            topic: topic::EVENTS,
            back: Back::For(people),
            decode: |record| event(record, Event::Container),
        },
        Source {
            topic: topic::HEARTBEATS,
            back: Back::For(BEATS_BACK),
            decode: |record| event(record, Event::Heartbeat),
        },
        Source {
            topic: topic::EXPORTS,
            back: Back::Everything,
            decode: export,
        },
        claims(Back::For(CLAIMS_BACK)),
    ]
}

/// The claims to lead.
pub(crate) fn claims(back: Back) -> Source {
    Source {
        topic: topic::ELECTION,
        back,
        decode: |record| {
            wire::decode::<wire::Claim>(record)
                .map(|_| Told::Claim(generation_of(&record.position)))
        },
    }
}

/// The generation a claim gives: its offset and one, so that none is zero, the generation of nobody.
pub(crate) fn generation_of(position: &bus::Position) -> Generation {
    Generation(position.offset.saturating_add(1))
}

fn event<T: wire::Json>(
    record: &Record,
    wrap: fn(Box<T>) -> Event,
) -> Result<Told, wire::DecodeError> {
    if wire::is_tombstone(record) {
        return Ok(Told::Nothing);
    }
    wire::decode::<T>(record).map(|value| Told::Event(wrap(Box::new(value))))
}

fn inventory(record: &Record) -> Result<Told, wire::DecodeError> {
    if wire::is_tombstone(record) {
        let key = String::from_utf8_lossy(&record.key);
        let node = NodeId::from(key.as_ref());
        return Ok(Told::Event(Event::NodeRemoved(node)));
    }
    event(record, Event::Inventory)
}

fn export(record: &Record) -> Result<Told, wire::DecodeError> {
    if wire::is_tombstone(record) {
        let key = String::from_utf8_lossy(&record.key);
        let container = ContainerId::from(key.as_ref());
        return Ok(Told::Event(Event::ExportGone(container)));
    }
    event(record, Event::Export)
}
