//! A gap before a record: what was dropped on its way after it had been read, told by the first line that comes after.

use std::collections::BTreeMap;

use bus::{NewRecord, Record};
use units::ContainerId;
use wire::Meta;

use super::batch::{Spans, Told};
use super::position::Positions;

/// The record as it is to be sent once all before it has arrived or was dropped: what is missing before its first line of a
/// container is told by that line. The lines keep their numbers.
pub(super) fn telling(
    record: &NewRecord,
    told: &Spans,
    positions: &mut Positions,
    meta: &Meta,
) -> NewRecord {
    let gaps: BTreeMap<&ContainerId, Told> = told
        .iter()
        .map(|(id, span)| (id, positions.missing(id, *span)))
        .filter(|(_, missing)| *missing != Told::default())
        .collect();
    if gaps.is_empty() {
        return record.clone();
    }
    // What this process or the one before it encoded can be read again; if it cannot, lines are worth more than a count.
    told_by_first(record, gaps, meta).unwrap_or_else(|| record.clone())
}

fn told_by_first(
    record: &NewRecord,
    gaps: BTreeMap<&ContainerId, Told>,
    meta: &Meta,
) -> Option<NewRecord> {
    let partition = record.partition.unwrap_or(0);
    let read = Record {
        position: bus::Position {
            topic: record.topic.clone(),
            partition,
            offset: 0,
        },
        timestamp_ms: 0,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
    };
    let mut lines = wire::decode_logs(&read).ok()?;
    for (id, missing) in gaps {
        if let Some(first) = lines.iter_mut().find(|line| line.container == *id) {
            first.lost_before += missing.lines() + missing.lost;
            first.limited_before += missing.limited;
        }
    }
    let meta = meta.within(wire::traceparent(&read).map(str::to_owned));
    wire::encode_logs(&lines, partition, &meta).ok()
}
