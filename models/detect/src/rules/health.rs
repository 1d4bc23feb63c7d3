//! Unhealthy: the container's own health check fails. The engine has already counted its retries, so one sample is enough.

use units::{Confidence, ContainerName, HealthState, Ratio, Severity};

use crate::gate::{Confirmation, Finding, Proof, Reading};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 1,
    of: 1,
    calm: 1,
};

pub(crate) fn read(name: &ContainerName, health: HealthState) -> Reading {
    match health {
        HealthState::Unhealthy => Reading::Violates(Finding {
            severity: Severity::Critical,
            score: Ratio::saturating(1.0),
            confidence: Confidence::High,
            reason: format!("{name} fails its health check as often as the engine asks"),
            proofs: vec![Proof::derived("health_check_failing", "1", 1.0, (0.0, 0.0))],
        }),
        // After a restart it has yet to pass.
        HealthState::Starting => Reading::Between,
        HealthState::Healthy | HealthState::None => Reading::Normal,
    }
}
