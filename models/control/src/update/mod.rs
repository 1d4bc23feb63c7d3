//! Rolling updates.

mod orders;
mod status;

pub use status::{UpdatePhase, UpdateStatus};

pub(crate) use orders::Orders;

use units::ServiceId;

use crate::state::State;

/// How far the newest order of a service has come.
pub(crate) fn status(state: &State, service: &ServiceId) -> Option<UpdateStatus> {
    let order = state.orders.get(service)?;
    Some(UpdateStatus {
        update: order.clone(),
        phase: UpdatePhase::Pulling,
        done: 0,
        of: u32::try_from(state.fleet.replicas(service).len()).unwrap_or(u32::MAX),
        reason: "it was ordered".to_owned(),
    })
}
