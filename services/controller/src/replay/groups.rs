//! Records as they happened: the clock of a recording, and an order that does not depend on how topics were interleaved.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::Record;
use units::Timestamp;

/// Records of one millisecond that are put in order together. Where there are more they come in parts, each in order, and then the
/// order in which the recording holds the parts counts.
const GROUP_MAX: usize = 65_536;

/// Groups of records of the same time.
pub(super) struct Groups<I> {
    records: I,
    /// Topics that are looked at; the others are only counted.
    topics: Vec<&'static str>,
    /// Records read so far, by topic.
    pub(super) counts: BTreeMap<Arc<str>, u64>,
    /// The latest time of each partition so far.
    latest_ms: BTreeMap<(Arc<str>, u32), i64>,
    now_ms: i64,
    /// The first of the next group.
    held: Option<(i64, Record)>,
}

impl<E, I: Iterator<Item = Result<Record, E>>> Groups<I> {
    pub(super) fn new(records: I, topics: Vec<&'static str>) -> Self {
        Groups {
            records,
            topics,
            counts: BTreeMap::new(),
            latest_ms: BTreeMap::new(),
            now_ms: i64::MIN,
            held: None,
        }
    }

    /// The next group and its time, ordered by topic, partition and offset. Time never falls.
    pub(super) fn next(&mut self) -> Result<Option<(Timestamp, Vec<Record>)>, E> {
        let Some((at_ms, first)) = self.first()? else {
            return Ok(None);
        };
        self.now_ms = at_ms;
        let mut group = vec![first];
        while group.len() < GROUP_MAX {
            let Some((at_ms, record)) = self.pull()? else {
                break;
            };
            if at_ms > self.now_ms {
                self.held = Some((at_ms, record));
                break;
            }
            group.push(record);
        }
        group.sort_by(|a, b| a.position.cmp(&b.position));
        Ok(Some((Timestamp::from_millis(self.now_ms), group)))
    }

    fn first(&mut self) -> Result<Option<(i64, Record)>, E> {
        match self.held.take() {
            Some(held) => Ok(Some(held)),
            None => self.pull(),
        }
    }

    /// The next record that is looked at, with its time.
    fn pull(&mut self) -> Result<Option<(i64, Record)>, E> {
        for record in self.records.by_ref() {
            let record = record?;
            let topic = &record.position.topic;
            *self.counts.entry(Arc::clone(topic)).or_default() += 1;
            if !self.topics.contains(&&**topic) {
                continue;
            }
            let place = (Arc::clone(topic), record.position.partition);
            let latest_ms = self.latest_ms.entry(place).or_insert(i64::MIN);
            *latest_ms = record.timestamp_ms.max(*latest_ms);
            // Telemetry of one time may lie behind a later one where a recorder could not know of it yet.
            let at_ms = (*latest_ms).max(self.now_ms);
            return Ok(Some((at_ms, record)));
        }
        Ok(None)
    }
}
