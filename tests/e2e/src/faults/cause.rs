//! What Homeostat holds for the cause of some trouble.

use incidents::{Cause, Incident};
use units::Signal;

use crate::homeostat::Homeostat;

/// The first-ranked cause of the incident that a signal belongs to; `None` where there is no such incident.
pub async fn first_cause(homeostat: &Homeostat, signal: &Signal) -> Option<Cause> {
    let told: Vec<Incident> = homeostat.ask("incidents?all=true").await?;
    let mut told = told.into_iter();
    let incident = told.find(|incident| incident.signals.contains(&signal.id))?;
    incident.causes.into_iter().next()
}
