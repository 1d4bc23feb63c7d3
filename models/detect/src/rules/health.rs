//! Unhealthy: the container's own health check fails. The engine has already counted its retries, so one sample is enough.
//!
//! A check that fails in an overloaded service fails for want of CPU as long as that lasts: it is told, and is not critical
//! before the overload is over.

use units::{Confidence, ContainerName, HealthState, Ratio, Severity};

use crate::container::ServiceStanding;
use crate::gate::{Confirmation, Finding, Proof, Reading};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 1,
    of: 1,
    calm: 1,
};

pub(crate) fn read(name: &ContainerName, health: HealthState, service: ServiceStanding) -> Reading {
    match health {
        HealthState::Unhealthy => Reading::Violates(finding(name, service)),
        // After a restart it has yet to pass.
        HealthState::Starting => Reading::Between,
        HealthState::Healthy | HealthState::None => Reading::Normal,
    }
}

fn finding(name: &ContainerName, service: ServiceStanding) -> Finding {
    let fails = format!("{name} fails its health check as often as the engine asks");
    let (severity, reason) = match service {
        ServiceStanding::Ordinary => (Severity::Critical, fails),
        ServiceStanding::Overloaded => (
            Severity::Warning,
            format!("{fails}, while its service is overloaded"),
        ),
    };
    Finding {
        severity,
        score: Ratio::saturating(1.0),
        confidence: Confidence::High,
        reason,
        proofs: vec![Proof::derived("health_check_failing", "1", 1.0, (0.0, 0.0))],
    }
}
