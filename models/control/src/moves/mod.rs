//! Which running containers are worth moving.
//!
//! [`Consolidator`] empties hosts that the fleet can do without; [`relieve`] takes what is too much away from one host; [`drain`] takes
//! away all that may be moved. They weigh what a move brings against the disturbance it is, touch only what may be moved, and return moves that leave every container where
//! the placement's filter allows it. Nothing here acts.

mod consolidate;
mod relief;

#[cfg(test)]
mod tests;

pub use consolidate::{Consolidation, Consolidator};
pub use relief::{drain, relieve};
pub(crate) use relief::{going, roomiest, share_of};
