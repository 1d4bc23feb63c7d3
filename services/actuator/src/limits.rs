//! Changing limits in place: what to send, given what the container has.

use bollard::models::{ContainerInspectResponse, ContainerUpdateBody, HostConfig};
use units::{Bytes, Limits, Millicores};

const NANOS_PER_MILLICORE: u64 = 1_000_000;
/// The engine's own period where a quota is given without one.
const CPU_PERIOD_DEFAULT_US: i64 = 100_000;
/// The engine's number for no bound on swap.
const SWAP_UNBOUNDED: i64 = -1;

/// The limits a container has.
pub(crate) fn of(container: &ContainerInspectResponse) -> Limits {
    let Some(host) = &container.host_config else {
        return Limits::default();
    };
    Limits {
        cpu: cpu_of(host),
        memory: positive(host.memory).map(Bytes),
    }
}

/// The request that gives the container these limits and leaves the others alone.
pub(crate) fn update(container: &ContainerInspectResponse, wanted: &Limits) -> ContainerUpdateBody {
    let host = container.host_config.clone().unwrap_or_default();
    let mut body = ContainerUpdateBody::default();
    if let Some(cpu) = wanted.cpu {
        set_cpu(&mut body, &host, cpu);
    }
    if let Some(memory) = wanted.memory {
        body.memory = Some(as_i64(memory.0));
        // Sent alone, a memory limit above the present sum of memory and swap is refused (409).
        body.memory_swap = Some(swap_beside(&host, memory));
    }
    body
}

fn cpu_of(host: &HostConfig) -> Option<Millicores> {
    if let Some(nanos) = positive(host.nano_cpus) {
        return Some(Millicores(nanos / NANOS_PER_MILLICORE));
    }
    let quota = positive(host.cpu_quota)?;
    let period = positive(host.cpu_period).unwrap_or(CPU_PERIOD_DEFAULT_US.unsigned_abs());
    Some(Millicores(quota.saturating_mul(1_000) / period))
}

/// A container that was given a quota must keep to quotas: the engine refuses to mix the two ways (409).
fn set_cpu(body: &mut ContainerUpdateBody, host: &HostConfig, cpu: Millicores) {
    if positive(host.cpu_quota).is_none() && positive(host.cpu_period).is_none() {
        body.nano_cpus = Some(as_i64(cpu.0.saturating_mul(NANOS_PER_MILLICORE)));
        return;
    }
    let period = positive(host.cpu_period).unwrap_or(CPU_PERIOD_DEFAULT_US.unsigned_abs());
    body.cpu_period = Some(as_i64(period));
    body.cpu_quota = Some(as_i64(cpu.0.saturating_mul(period) / 1_000));
}

/// The sum of memory and swap that leaves the swap as it was: unbounded, or the same amount. A container that had no
/// memory limit gets what the engine gives a new one, as much swap as memory.
fn swap_beside(host: &HostConfig, memory: Bytes) -> i64 {
    if host.memory_swap == Some(SWAP_UNBOUNDED) {
        return SWAP_UNBOUNDED;
    }
    let swap = match (positive(host.memory), positive(host.memory_swap)) {
        (Some(memory), Some(sum)) => sum.saturating_sub(memory),
        (Some(_) | None, None) | (None, Some(_)) => memory.0,
    };
    as_i64(memory.0.saturating_add(swap))
}

fn positive(number: Option<i64>) -> Option<u64> {
    number
        .and_then(|it| u64::try_from(it).ok())
        .filter(|it| *it > 0)
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(host: HostConfig) -> ContainerInspectResponse {
        ContainerInspectResponse {
            host_config: Some(host),
            ..ContainerInspectResponse::default()
        }
    }

    fn memory(mib: u64) -> Limits {
        Limits {
            cpu: None,
            memory: Some(Bytes::from_mib(mib)),
        }
    }

    const MIB: i64 = 1024 * 1024;

    #[test]
    fn swap_stays_as_it_was_whatever_the_memory_becomes() {
        let had = |memory, swap| {
            container(HostConfig {
                memory: Some(memory),
                memory_swap: Some(swap),
                ..HostConfig::default()
            })
        };
        for (before, sum_after) in [
            (had(64 * MIB, 64 * MIB), 128 * MIB),
            (had(64 * MIB, 96 * MIB), 160 * MIB),
            (had(64 * MIB, -1), -1),
            (had(0, 0), 256 * MIB),
        ] {
            let body = update(&before, &memory(128));
            assert_eq!(body.memory, Some(128 * MIB));
            assert_eq!(body.memory_swap, Some(sum_after));
            assert_eq!(body.nano_cpus, None, "what was not asked for is not sent");
        }
    }

    #[test]
    fn cpu_goes_the_way_the_container_was_made() {
        let wanted = Limits {
            cpu: Some(Millicores(1_500)),
            memory: None,
        };
        let nano = update(&container(HostConfig::default()), &wanted);
        assert_eq!(
            (nano.nano_cpus, nano.cpu_quota),
            (Some(1_500_000_000), None)
        );
        let host = HostConfig {
            cpu_quota: Some(50_000),
            cpu_period: Some(50_000),
            ..HostConfig::default()
        };
        let quota = update(&container(host.clone()), &wanted);
        assert_eq!((quota.nano_cpus, quota.cpu_quota), (None, Some(75_000)));
        assert_eq!(of(&container(host)).cpu, Some(Millicores(1_000)));
    }
}
