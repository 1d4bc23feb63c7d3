//! Network delay: the way to a peer takes far longer than it did, or segments have to be sent again.
//!
//! The collector reads the sockets of a container every ten seconds or so; a reading here is one such read.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Confidence, ContainerName, Direction, Link, Metric, MetricRow, Ratio, ServiceId, Severity,
    Steady,
};

use super::peers::millis;
use crate::baseline::median;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 2,
    of: 3,
    calm: 3,
};

/// Ways of one container that are followed; beyond them the one not seen for longest is forgotten.
const WAYS_MAX: usize = 16;
/// Calm reads that say what is usual: five minutes at one in ten seconds …
const USUAL_READS: usize = 30;
/// … and how many there must be.
const HISTORY_MIN: usize = 3;
/// A round trip is slow at so many times the usual …
const TIMES_MIN: f64 = 3.0;
/// … and this much more, in seconds: a way to a service of ours; one to others, whose clients may be anywhere; and one of a
/// single connection, which may wait for an acknowledgement that its peer delays by 40 ms.
const MORE_MIN_S: f64 = 0.010;
const MORE_ELSEWHERE_MIN_S: f64 = 0.030;
const MORE_SINGLE_MIN_S: f64 = 0.050;
/// Before anything is usual, a way within the node is taken to be like this, and must be slow by what a single connection must.
const WITHIN_NODE_S: f64 = 0.002;
/// Share of segments sent again, of at least so many sent, so many times what is usual.
const RESENT_MIN: f64 = 0.05;
const SENT_MIN: f64 = 100.0;
/// The newest count of segments is of the last read or the one before it.
const RESENT_FRESH: Duration = Duration::from_secs(25);

/// One way of a container: to a service, or from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Way {
    opened: Opened,
    port: u16,
    /// Absent when it is not a service of the same node.
    peer: Option<ServiceId>,
}

/// Who opened the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Opened {
    ByPeer,
    ByIt,
}

/// Round-trip times of one way, in seconds, and when it was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Usual {
    calm: VecDeque<f32>,
    seen: Steady,
}

/// The ways of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Links {
    ways: BTreeMap<Way, Usual>,
    read: Option<Steady>,
    /// Since when some way is slow without a break.
    slow_since: Option<Steady>,
    resent: Resent,
}

/// Segments sent again, by the counters of the network namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Resent {
    /// Sent, and sent again, at the last read.
    counted: Option<(f64, f64)>,
    usual: VecDeque<f32>,
    /// When the share of the newest two reads was above what is usual, and the share.
    risen: Option<(Steady, f64)>,
}

/// What was slow has been so for long, and is taken for usual now.
pub(crate) struct Relearnt;

struct Slow {
    way: Way,
    rtt_s: f64,
    usual_s: f64,
}

impl Links {
    /// Takes the counters of a sample; they change with each read of the sockets.
    pub(crate) fn count(&mut self, run: Steady, row: &MetricRow) {
        let counted = row
            .get(Metric::TcpSegments)
            .zip(row.get(Metric::TcpRetransmits));
        let Some(counted) = counted else { return };
        let resent = &mut self.resent;
        if resent.counted == Some(counted) {
            return;
        }
        let before = resent.counted.replace(counted);
        let Some((sent, again)) = before.map(|it| (counted.0 - it.0, counted.1 - it.1)) else {
            return;
        };
        if sent < SENT_MIN || again < 0.0 {
            resent.risen = None;
            return;
        }
        let share = (again / sent).min(1.0);
        let usual = usual(&resent.usual);
        let risen = usual.is_some_and(|usual| share >= RESENT_MIN.max(TIMES_MIN * usual));
        resent.risen = risen.then_some((run, share));
        if !risen {
            push(&mut resent.usual, share);
        }
    }

    /// Takes a read of the sockets and judges it; `lasting` tells how long it has violated.
    pub(crate) fn read(
        &mut self,
        name: &ContainerName,
        links: &[&Link],
        run: Steady,
        relearn_after: Duration,
        lasting: Duration,
    ) -> Result<Reading, Relearnt> {
        // Delivered twice, or late.
        if self.read.is_some_and(|read| run <= read) {
            return Ok(Reading::Unknown);
        }
        self.read = Some(run);
        let told = gather(links);
        let seen = told.len();
        let mut slow = Vec::new();
        for (way, (rtt_s, connections)) in told {
            slow.extend(self.way(way, rtt_s, connections, run));
        }
        self.make_room();
        slow.sort_by(|a, b| (b.rtt_s - b.usual_s).total_cmp(&(a.rtt_s - a.usual_s)));
        let resent = self
            .resent
            .risen
            .filter(|(at, _)| run.since(*at) <= RESENT_FRESH);
        if slow.is_empty() && resent.is_none() {
            self.slow_since = None;
            return Ok(Reading::Normal);
        }
        let since = *self.slow_since.get_or_insert(run);
        if run.since(since) >= relearn_after {
            // It lasts, so it is the new normal.
            for slow in slow {
                let calm = VecDeque::from([slow.rtt_s as f32; HISTORY_MIN]);
                self.ways.insert(slow.way, Usual { calm, seen: run });
            }
            self.resent.usual.clear();
            self.slow_since = None;
            return Err(Relearnt);
        }
        let share = resent.map(|(_, share)| share);
        let finding = finding(name, &slow, seen, share, lasting);
        Ok(Reading::Violates(finding))
    }

    /// Forgets the counters of a process that was started anew; the ways stay what they were.
    pub(crate) fn forget(&mut self) {
        self.resent = Resent::default();
    }

    /// Judges one way, and learns what is not slow.
    fn way(&mut self, way: Way, rtt_s: f64, connections: u32, run: Steady) -> Option<Slow> {
        let least = match (&way.peer, connections) {
            (_, 0 | 1) => MORE_SINGLE_MIN_S,
            (Some(_), _) => MORE_MIN_S,
            (None, _) => MORE_ELSEWHERE_MIN_S,
        };
        let known = self.ways.entry(way.clone()).or_default();
        known.seen = run;
        let within_node = way.peer.is_some();
        let usual = match usual(&known.calm) {
            Some(usual_s) => Some((usual_s, least)),
            None => within_node.then_some((WITHIN_NODE_S, MORE_SINGLE_MIN_S)),
        };
        let slow = usual
            .filter(|(usual_s, least)| rtt_s - usual_s >= *least && rtt_s >= TIMES_MIN * usual_s);
        if slow.is_none() {
            push(&mut known.calm, rtt_s);
        }
        slow.map(|(usual_s, _)| Slow {
            way,
            rtt_s,
            usual_s,
        })
    }

    fn make_room(&mut self) {
        while self.ways.len() > WAYS_MAX {
            let oldest = self.ways.iter().min_by_key(|(_, usual)| usual.seen);
            let Some(way) = oldest.map(|(way, _)| way.clone()) else {
                return;
            };
            self.ways.remove(&way);
        }
    }
}

/// Round-trip time and number of connections of each way: the median over peers, each with the weight of its connections.
fn gather(links: &[&Link]) -> BTreeMap<Way, (f64, u32)> {
    let mut rows: BTreeMap<Way, Vec<(f64, u32)>> = BTreeMap::new();
    for link in links.iter().filter(|link| !link.rtt_median.is_zero()) {
        let way = Way {
            opened: match link.direction {
                Direction::Inbound => Opened::ByPeer,
                Direction::Outbound => Opened::ByIt,
            },
            port: link.port,
            peer: link.peer_service.clone(),
        };
        let rtt_s = link.rtt_median.as_secs_f64();
        rows.entry(way)
            .or_default()
            .push((rtt_s, link.connections.max(1)));
    }
    let weigh = |mut rows: Vec<(f64, u32)>| {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: u32 = rows.iter().fold(0, |sum, row| sum.saturating_add(row.1));
        let mut passed = 0;
        let middle = rows.iter().find(|row| {
            passed = row.1.saturating_add(passed);
            passed >= all.div_ceil(2)
        });
        (middle.map_or(0.0, |row| row.0), all)
    };
    rows.into_iter()
        .map(|(way, rows)| (way, weigh(rows)))
        .collect()
}

fn finding(
    name: &ContainerName,
    slow: &[Slow],
    seen: usize,
    resent: Option<f64>,
    lasting: Duration,
) -> Finding {
    let mut said = Vec::new();
    let mut proofs = Vec::new();
    let mut score: f64 = 0.0;
    if let Some(worst) = slow.first() {
        let which = match slow.len() {
            1 if seen > 1 => format!("; the other {} go on as usual", seen - 1),
            1 => String::new(),
            many => format!("; {many} of {seen} ways are slow"),
        };
        said.push(format!(
            "{name} waits {} for a round trip {}, usually {}{which}",
            millis(worst.rtt_s),
            worst.way.said(),
            millis(worst.usual_s),
        ));
        let usual = (0.0, TIMES_MIN * worst.usual_s);
        proofs.push(Proof::derived("link_rtt_seconds", "s", worst.rtt_s, usual));
        score = 1.0 - worst.usual_s / worst.rtt_s.max(f64::MIN_POSITIVE);
    }
    if let Some(share) = resent {
        said.push(format!(
            "{name} sends {} of its segments again",
            percent(share)
        ));
        proofs.push(Proof::derived(
            "tcp_resent_share",
            "1",
            share,
            (0.0, RESENT_MIN),
        ));
        score = score.max(1.0 - RESENT_MIN / 3.0 / share.max(RESENT_MIN));
    }
    Finding {
        severity: Severity::Warning,
        score: Ratio::saturating(score),
        confidence: Confidence::Low,
        reason: format!("{}, for {}", said.join(", and "), duration(lasting)),
        proofs,
    }
}

impl Way {
    fn said(&self) -> String {
        let peer = self.peer.as_ref().map_or("others", ServiceId::as_str);
        match self.opened {
            Opened::ByIt => format!("to {peer}, port {}", self.port),
            Opened::ByPeer => format!("with {peer}, which came to port {}", self.port),
        }
    }
}

fn usual(calm: &VecDeque<f32>) -> Option<f64> {
    let mut values: Vec<f64> = calm.iter().copied().map(f64::from).collect();
    (values.len() >= HISTORY_MIN).then(|| median(&mut values))
}

fn push(calm: &mut VecDeque<f32>, value: f64) {
    if calm.len() == USUAL_READS {
        calm.pop_front();
    }
    calm.push_back(value as f32);
}
