//! `homeostat simulate`: what a policy would have made of a recorded load, beside its rivals.

mod churn;
mod columns;
mod loop_;
mod place;
mod scale;

use clap::Subcommand;

use crate::exit::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Simulate {
    /// Replicas for a recorded load.
    Scale(scale::Options),
    /// Hosts for recorded containers, and what the death of a host would do.
    Place(place::Options),
    /// Hosts for containers that come and go.
    Churn(churn::Options),
    /// The whole loop among simulated hosts and faults: invariants held, and everything at rest in the end.
    Loop(loop_::Options),
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Simulate::Scale(options) => scale::run(options),
            Simulate::Place(options) => place::run(options),
            Simulate::Churn(options) => churn::run(options),
            Simulate::Loop(options) => loop_::run(options),
        }
    }
}
