//! `homeostat simulate churn`.

use clap::Args;

use crate::exit::Failure;

#[derive(Debug, Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: &Options) -> Result<(), Failure> {
    Ok(())
}
