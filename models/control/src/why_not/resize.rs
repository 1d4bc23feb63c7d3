//! Why the limits of a service are what they are.

use units::{ActionKind, ServiceId, Timestamp};

use crate::resize::{Finding, Labelled, findings};
use crate::state::State;

use super::Reason;

const KIND: ActionKind = ActionKind::UpdateLimits;

pub(super) fn reasons(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let Some(labelled) = Labelled::of(state, service, now) else {
        let text =
            "no running container of it that was heard of lately has the label io.homeostat.limits";
        return vec![Reason::of(KIND, text)];
    };
    let all = findings(state, &labelled, now);
    if all.iter().any(|finding| matches!(finding, Finding::Yes(_))) {
        // One is about to be made; what keeps it are the general reasons.
        return Vec::new();
    }
    let reasons = all.into_iter().filter_map(|finding| match finding {
        Finding::No(text) => Some(Reason::of(KIND, text)),
        Finding::Until(text, until) => Some(Reason::of(KIND, text).until(until)),
        Finding::Yes(_) => None,
    });
    reasons.collect()
}
