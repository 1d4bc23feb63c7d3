//! What Homeostat holds for the cause of some trouble.

use serde::Deserialize;
use units::{Signal, SignalId, Subject};

use crate::homeostat::Homeostat;

/// Signals of one trouble, and who may have caused it.
#[derive(Debug, Clone, Deserialize)]
pub struct Incident {
    /// Signals joined in it.
    #[serde(default)]
    pub signals: Vec<SignalId>,
    /// The likeliest first.
    pub causes: Vec<Cause>,
}

/// One that may have caused it.
#[derive(Debug, Clone, Deserialize)]
pub struct Cause {
    /// What kind of cause, by its word.
    pub kind: String,
    /// Who.
    pub subject: Subject,
}

#[derive(Deserialize)]
struct Incidents {
    incidents: Vec<Incident>,
}

/// The first-ranked cause of the incident that a signal belongs to; `None` where there is no such incident.
pub async fn first_cause(homeostat: &Homeostat, signal: &Signal) -> Option<Cause> {
    let told: Incidents = homeostat.ask("incidents?all=true").await?;
    let mut incidents = told.incidents.into_iter();
    let incident = incidents.find(|incident| incident.signals.contains(&signal.id))?;
    incident.causes.into_iter().next()
}
