//! Where a container goes.
//!
//! [`Hosts`] is the fleet as it will be: hosts, and the containers on them. [`Placer`] chooses a host for one more in three steps:
//!
//! 1. *Filter*: a host that must not take it is left out, and [`Obstacle`] says why.
//! 2. *Score*: of the others the one is taken on which the least becomes [`stranded`]: room that no mixture of what usually arrives
//!    can fill. Then the fuller host, the one that has the image, the cheaper one.
//! 3. *Keep a reserve*: the largest empty host is left alone for as long as anything else will do, if need be after a few moves
//!    ([`room`]) that a budget pays for. What is on a host that dies then fits elsewhere ([`survival`]).
//!
//! Where nothing will do, [`preempt`] plans whom a more important container would put out. Nothing here acts: what comes back is a
//! host or a plan. A choice among n hosts looks at [`choose::CANDIDATES_MAX`] different amounts of free room, so it costs log n.

pub mod choose;
mod container;
mod filter;
mod host;
mod hosts;
pub mod preempt;
mod resources;
pub mod room;
pub mod stranded;
pub mod survival;

#[cfg(test)]
mod tests;

pub use choose::{Aim, Placement, Placer};
pub use container::{Apart, Container, Movable, Needs, Priority, Zones};
pub use filter::{Obstacle, obstacle};
pub use host::{Cost, Host, Intake};
pub use hosts::{ContainerIndex, HostIndex, Hosts, Move};
pub use resources::Resources;
