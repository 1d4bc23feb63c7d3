//! Hang: requests still come in, and next to nothing is computed or answered any more.
//!
//! The kernel still acknowledges what comes, so something is sent; and a health check that the engine runs in the container
//! costs as much as a few requests, in every second sample or so. The shares leave room for the one, and the lesser CPU use of
//! two samples is what counts for the other.

use std::time::Duration;

use units::{ContainerName, Metric, Ratio, Severity};

use super::confidence;
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
    lasting: Duration,
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
            duration(lasting),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::gate::{Gates, Scene};
    use units::{ContainerId, NodeId, ServiceId, Signal, SignalKind, Subject, Timestamp};

    /// CPU, packets in and bytes out of a small service with a health check every two seconds, as measured.
    const WORKING: [(f64, f64, f64); 10] = [
        (0.0189, 50.0, 14_370.0),
        (0.0311, 51.0, 14_370.0),
        (0.0185, 50.0, 14_370.0),
        (0.0314, 52.0, 14_444.0),
        (0.0198, 53.0, 15_733.0),
        (0.0323, 50.0, 14_370.0),
        (0.0166, 45.0, 12_933.0),
        (0.0214, 55.0, 15_807.0),
        (0.0311, 50.0, 14_370.0),
        (0.0188, 51.0, 14_370.0),
    ];
    /// The same while it hangs.
    const HANGING: [(f64, f64, f64); 8] = [
        (0.0023, 30.0, 1_400.0),
        (0.0022, 34.0, 1_664.0),
        (0.0020, 40.0, 2_060.0),
        (0.0180, 40.0, 2_060.0),
        (0.0023, 45.0, 2_308.0),
        (0.0021, 40.0, 1_994.0),
        (0.0018, 40.0, 2_060.0),
        (0.0234, 40.0, 2_060.0),
    ];

    fn features((cpu, packets, bytes): (f64, f64, f64)) -> Features {
        Features {
            cpu_cores: Some(cpu),
            tx_bytes: Some(bytes),
            rx_packets: Some(packets),
            ..Features::default()
        }
    }

    fn usual() -> Usual {
        let mut usual = Usual::default();
        for (cpu, packets, bytes) in WORKING.iter().cycle().take(40) {
            usual.cpu_cores.learn(*cpu);
            usual.rx_packets.learn(*packets);
            usual.tx_bytes.learn(*bytes);
        }
        usual
    }

    fn run(series: impl Iterator<Item = (f64, f64, f64)>) -> Vec<(usize, Signal)> {
        let (name, usual) = (ContainerName::from("patient"), usual());
        let mut gates = Gates::default();
        let mut before = features(WORKING[0]);
        let mut told = Vec::new();
        for (index, values) in series.enumerate() {
            let scene = Scene {
                now: Moment::of(Timestamp::from_millis(1_000 * index as i64)),
                subject: Subject::container(
                    ServiceId::from("patient"),
                    NodeId::from("a"),
                    ContainerId::from("id"),
                    name.clone(),
                ),
                traceparent: None,
                update_every: Duration::from_secs(30),
            };
            let now = features(values);
            let lasting = gates.held(SignalKind::Hang, scene.now);
            let reading = read(&name, (&before, &now), &usual, lasting);
            let signal = gates.step(SignalKind::Hang, reading, CONFIRM, &scene);
            told.extend(signal.map(|signal| (index, signal)));
            before = now;
        }
        told
    }

    #[test]
    fn a_measured_hang_is_told_in_four_samples_wherever_the_health_check_falls() {
        for start in 0..HANGING.len() {
            let told = run(HANGING.iter().copied().cycle().skip(start).take(12));
            assert_eq!(told.len(), 1, "from {start}: {told:?}");
            assert!(told[0].0 < 4, "from {start}: {told:?}");
        }
    }

    #[test]
    fn work_at_any_load_is_no_hang() {
        for load in [1.0, 0.5, 0.25, 0.1, 0.02, 0.0] {
            let scaled = WORKING
                .iter()
                .map(|(cpu, packets, bytes)| (cpu * load, packets * load, bytes * load));
            assert!(run(scaled).is_empty(), "at {load} of the usual load");
        }
    }
}
