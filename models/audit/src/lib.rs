//! Checks plans and commands against the invariants of the product, whoever made them.
//!
//! [`Auditor`] is told the same facts as the decision core and shares no code with it, so that a mistake there is not made twice. The
//! controller asks it before it sends anything; simulations ask it after every step. It says what is wrong ([`Violation`]) and leaves
//! what to do about it to the caller.
//!
//! What it does not check: whether a plan is wise. It does not know signals or load, so it cannot tell a needless restart from a
//! needed one; it does know what must never be done.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auditor;
mod failover;
mod isolation;
mod preemption;
mod relocation;
mod rest;
mod steps;
mod update;
mod violation;

pub use auditor::{Auditor, Bounds};
pub use violation::Violation;

#[cfg(test)]
mod tests;
