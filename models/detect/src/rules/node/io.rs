//! How busy a node's disks are, and how much its tasks wait for them.

use serde::{Deserialize, Serialize};
use units::Timestamp;

use crate::gate::{Finding, Proof};
use crate::rules::page::{DiskTime, Totals};
use crate::text::percent;

/// From these shares of the time on a node's I/O is worth a word beside a container that waits.
const BUSY_HIGH: f64 = 0.5;
const WAITING_HIGH: f64 = 0.2;

/// A node's I/O between its last two pages, as shares of the time. Absent is what it did not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeIo {
    /// When that was.
    pub(crate) at: Timestamp,
    /// In which its busiest disk had I/O under way.
    busy: Option<f64>,
    /// In which some task waited for I/O.
    waiting: Option<f64>,
}

impl NodeIo {
    /// What two pages tell that lie so many seconds apart.
    pub(super) fn between(
        (totals_before, disks_before): (Option<&Totals>, &[DiskTime]),
        (totals, disks): (Option<&Totals>, &[DiskTime]),
        elapsed_s: f64,
        at: Timestamp,
    ) -> NodeIo {
        let share = |before: f64, now: f64| {
            (now >= before).then(|| ((now - before) / elapsed_s).clamp(0.0, 1.0))
        };
        let busiest = disks.iter().filter_map(|now| {
            let before = disks_before.iter().find(|it| it.disk == now.disk)?;
            share(before.busy_s, now.busy_s)
        });
        let some = |totals: Option<&Totals>| totals.and_then(|it| it.io_some);
        let waited = some(totals_before).zip(some(totals));
        NodeIo {
            at,
            busy: busiest.reduce(f64::max),
            waiting: waited.and_then(|(before, now)| share(before, now)),
        }
    }

    /// Says so in a finding of a container that waits for I/O, where the node's is high as well.
    pub(super) fn add_to(self, finding: &mut Finding) {
        let high = |share: Option<f64>, least: f64| share.filter(|share| *share >= least);
        let (said, proof) = match (high(self.busy, BUSY_HIGH), high(self.waiting, WAITING_HIGH)) {
            (Some(busy), _) => (
                format!("a disk of its node was busy {} of the time", percent(busy)),
                Proof::derived("node_disk_busy_share", "1", busy, (0.0, BUSY_HIGH)),
            ),
            (None, Some(waiting)) => (
                format!(
                    "some task of its node waited for I/O {} of the time",
                    percent(waiting)
                ),
                Proof::derived("node_io_some_share", "1", waiting, (0.0, WAITING_HIGH)),
            ),
            (None, None) => return,
        };
        finding.reason.push_str("; ");
        finding.reason.push_str(&said);
        let place = finding.proofs.len().min(1);
        finding.proofs.insert(place, proof);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, busy_s: f64) -> DiskTime {
        DiskTime {
            disk: name.to_owned(),
            busy_s,
        }
    }

    #[test]
    fn the_busiest_disk_counts_and_what_was_not_told_is_absent() {
        let before = [disk("sda", 10.0), disk("sdb", 5.0)];
        let now = [disk("sda", 11.0), disk("sdb", 13.0), disk("sdc", 900.0)];
        let at = Timestamp::EPOCH;
        let io = NodeIo::between((None, &before), (None, &now), 10.0, at);
        assert_eq!((io.busy, io.waiting), (Some(0.8), None));
        let anew = [disk("sda", 1.0)];
        let io = NodeIo::between((None, &now), (None, &anew), 10.0, at);
        assert_eq!(io.busy, None, "a counter that fell is no rate");
    }
}
