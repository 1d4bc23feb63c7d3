//! Failover: what ran on a lost node runs elsewhere, made as its actuator told beforehand ([`units::StandingExport`]).
//!
//! A node is lost when neither its actuator nor its collector has been heard for a lease, while others have ([`loss`]). Many at once, or
//! a whole zone, have one cause that no failover answers: then it is only said. What may run once at most ([`units::Policy::singleton`])
//! waits for as long as its own actuator may take to stop it ([`units::Heartbeat`]).
//!
//! It is a move without its first step ([`crate::relocate`], [`units::Relocation::lost`]): the new one is made and watched, and the old one
//! goes when its node is back. What was stopped because its node was cut off, and nobody took the place of, is started again ([`fence`]).

mod beats;
mod fence;
mod loss;
mod take_over;

pub(crate) use beats::Beats;
pub(crate) use fence::start;
pub(crate) use loss::is_lost;
pub(crate) use take_over::{
    LOOKED_EVERY, TRIED_EVERY, awaited_on, is_under_way, keeps, stands_in, take_over, why_not,
};
