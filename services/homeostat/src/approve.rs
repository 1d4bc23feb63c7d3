//! `homeostat actions approve`.

use clap::{Args, Subcommand};
use console::api::{Approved, Consent};

use crate::ask::{post, show};
use crate::cli::Ask;
use crate::exit::Failure;

/// What to say of actions.
#[derive(Debug, Subcommand)]
pub(crate) enum ActionsVerb {
    /// Let what was suggested be done. It is looked at again first: it is done if it is still called for, within ten minutes, the
    /// budgets and everything else that holds for actions.
    Approve(Of),
}

/// Which plan.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The plan's id, or enough of its beginning to tell it from others.
    plan: String,
    /// Who lets it be done; kept in the journal.
    #[arg(long, value_name = "NAME", env = "USER")]
    by: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Says it.
pub(crate) fn approve(of: &Of) -> Result<(), Failure> {
    let consent = Consent {
        plan: of.plan.clone(),
        by: of.by.clone(),
    };
    let approved: Approved = post(&of.ask, "approvals", &consent)?;
    show(&of.ask, &approved, told)
}

fn told(approved: &Approved) -> String {
    let steps: Vec<String> = approved
        .suggested
        .plan
        .steps
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    format!(
        "{} is done if it is still called for, until {}; `homeostat actions` tells what becomes of it",
        steps.join(", "),
        approved.until
    )
}
