//! Hang: requests still come in, and next to nothing is computed or answered any more.
//!
//! The kernel still acknowledges what comes, so something is sent; and a health check that the engine runs in the container
//! costs as much as a few requests, in every second sample or so. The shares leave room for the one, and the lesser CPU use of
//! two samples is what counts for the other.

use units::{ContainerName, Metric, Ratio, Severity, Timestamp};

use super::{confidence, held};
use crate::features::{Features, Usual};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{bytes, duration, number, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 4,
    calm: 3,
};

/// It computes less than this share of what it usually does, …
const CPU_SHARE_MAX: f64 = 0.25;
/// … sends less than this share, …
const TX_SHARE_MAX: f64 = 0.25;
/// … does less than this share of its usual work for each packet, so that less load alone is not it, …
const PER_PACKET_SHARE_MAX: f64 = 0.40;
/// … and still gets at least this share of its packets, …
const RX_SHARE_MIN: f64 = 0.20;
/// … and this many, as packets a second.
const RX_PACKETS_MIN: f64 = 2.0;
/// Who never did more than this cannot be seen to stop.
const USUAL_CPU_CORES_MIN: f64 = 0.003;
const USUAL_TX_BYTES_MIN: f64 = 500.0;
/// Above these shares it clearly works again.
const CPU_SHARE_CALM: f64 = 0.40;
const TX_SHARE_CALM: f64 = 0.40;

pub(crate) fn read(
    name: &ContainerName,
    (before, now): (&Features, &Features),
    usual: &Usual,
    since: Timestamp,
    at: Timestamp,
) -> Reading {
    let (Some(cpu), Some(tx), Some(rx)) = (now.cpu_cores, now.tx_bytes, now.rx_packets) else {
        return Reading::Unknown;
    };
    let cpu = before.cpu_cores.map_or(cpu, |before| cpu.min(before));
    let levels = (
        usual.cpu_cores.level(),
        usual.tx_bytes.level(),
        usual.rx_packets.level(),
    );
    let (Some(cpu_usual), Some(tx_usual), Some(rx_usual)) = levels else {
        return Reading::Unknown;
    };
    if cpu_usual < USUAL_CPU_CORES_MIN || tx_usual < USUAL_TX_BYTES_MIN {
        return Reading::Unknown;
    }
    if cpu >= CPU_SHARE_CALM * cpu_usual && tx >= TX_SHARE_CALM * tx_usual {
        return Reading::Normal;
    }
    let asked = rx >= (RX_SHARE_MIN * rx_usual).max(RX_PACKETS_MIN);
    let packets_share = (rx / rx_usual.max(f64::MIN_POSITIVE)).min(1.0);
    let idle = |share: f64, most: f64| share < most.min(PER_PACKET_SHARE_MAX * packets_share);
    let idle = idle(cpu / cpu_usual, CPU_SHARE_MAX) && idle(tx / tx_usual, TX_SHARE_MAX);
    if !(asked && idle) {
        return Reading::Between;
    }
    Reading::Violates(Finding {
        severity: Severity::Critical,
        score: Ratio::saturating(usual.cpu_cores.score(cpu).max(usual.tx_bytes.score(tx))),
        confidence: confidence(usual.cpu_cores.samples()),
        reason: format!(
            "{name} gets {} packets/s and used {} of a core for {}; it usually uses {} and sends {}/s, now {}/s",
            number(rx),
            percent(cpu),
            duration(held(since, at)),
            percent(cpu_usual),
            bytes(tx_usual),
            bytes(tx),
        ),
        proofs: vec![
            Proof::of(Metric::CpuUsage, "cores", cpu, usual.cpu_cores.range()),
            Proof::of(Metric::NetTxBytes, "bytes/s", tx, usual.tx_bytes.range()),
            Proof::of(
                Metric::NetRxPackets,
                "packets/s",
                rx,
                usual.rx_packets.range(),
            ),
        ],
    })
}
