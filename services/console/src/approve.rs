//! `POST /api/v1/approvals`: a person lets what was suggested be done.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use units::{Approval, JournalEntry, Phase, PlanEntry, PlanId, Timestamp};

use crate::http::problem;
use crate::person::{self, BadName};
use crate::say::{Desk, Unwritten};
use crate::trust::{self, Refused};

/// So many characters of an id that is none are said back.
const SAID_CHARS_MAX: usize = 100;
/// Approvals kept; the earliest go first. Those that hold are minutes old.
const KEPT_MAX: usize = 1_000;

/// The body of `POST /approvals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The plan's id, or enough of its beginning to tell it from others.
    pub plan: String,
    /// Who lets it be done, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    /// What was approved.
    pub approval: Approval,
    /// Until when it holds.
    pub until: Timestamp,
    /// The plan as it was suggested.
    pub suggested: PlanEntry,
}

/// Why a plan cannot be approved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotApproved {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the body is not {{\"plan\": ID, \"by\": NAME}}: {0}")]
    BadBody(serde_json::Error),
    #[error(transparent)]
    BadName(#[from] BadName),
    #[error("no plan's id begins with {0:?}; `homeostat actions` lists them")]
    Unknown(String),
    #[error("{0:?} is the beginning of {1} plans' ids; give more of it")]
    Ambiguous(String, usize),
    #[error("plan {plan} is {} already; only what was suggested can be approved", phase.as_str())]
    NotSuggested { plan: PlanId, phase: Phase },
    #[error("plan {0} has no step to carry out: {1}")]
    Nothing(PlanId, String),
    #[error("plan {0} was approved, and carried out as {1}")]
    Done(PlanId, PlanId),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl NotApproved {
    fn status(&self) -> StatusCode {
        match self {
            NotApproved::Refused(refused) => refused.status(),
            NotApproved::BadBody(_) | NotApproved::BadName(_) => StatusCode::BAD_REQUEST,
            NotApproved::Unknown(_) => StatusCode::NOT_FOUND,
            NotApproved::Ambiguous(..)
            | NotApproved::NotSuggested { .. }
            | NotApproved::Nothing(..)
            | NotApproved::Done(..) => StatusCode::CONFLICT,
            NotApproved::Unwritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What was approved.
#[derive(Debug, Default)]
pub(crate) struct Approvals(BTreeMap<PlanId, Approval>);

impl Approvals {
    /// Takes a record; the newest of a plan counts.
    pub(crate) fn take(&mut self, approval: Approval) {
        self.0.insert(approval.plan.clone(), approval);
        if self.0.len() > KEPT_MAX {
            let earliest = self.0.values().min_by_key(|approval| approval.at);
            if let Some(plan) = earliest.map(|approval| approval.plan.clone()) {
                self.0.remove(&plan);
            }
        }
    }

    /// The approval of a plan, while it holds.
    pub(crate) fn of(&self, plan: &PlanId, now: Timestamp) -> Option<&Approval> {
        self.0.get(plan).filter(|approval| approval.holds_at(now))
    }
}

/// The suggested plan whose id begins so, if it can be approved.
pub(crate) fn suggested<'a>(
    plans: &'a BTreeMap<PlanId, PlanEntry>,
    id: &str,
) -> Result<&'a PlanEntry, NotApproved> {
    let exact = plans.get(&PlanId::new(id));
    let mut like = plans
        .values()
        .filter(|entry| !id.is_empty() && entry.plan.id.as_str().starts_with(id));
    let entry = match exact {
        Some(entry) => entry,
        None => match (like.next(), like.count()) {
            (None, _) => {
                return Err(NotApproved::Unknown(
                    id.chars().take(SAID_CHARS_MAX).collect(),
                ));
            }
            (Some(entry), 0) => entry,
            (Some(_), more) => return Err(NotApproved::Ambiguous(id.to_owned(), more + 1)),
        },
    };
    let plan = &entry.plan;
    if entry.phase != Phase::Suggested {
        return Err(NotApproved::NotSuggested {
            plan: plan.id.clone(),
            phase: entry.phase,
        });
    }
    if plan.steps.is_empty() {
        return Err(NotApproved::Nothing(
            plan.id.clone(),
            plan.cause.reason.clone(),
        ));
    }
    let done = plans.values().find(|other| {
        let approval = other.plan.approval.as_ref();
        approval.is_some_and(|approval| approval.plan == plan.id)
    });
    match done {
        Some(done) => Err(NotApproved::Done(plan.id.clone(), done.plan.id.clone())),
        None => Ok(entry),
    }
}

pub(crate) async fn approve(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    match desk.approve(&headers, &body).await {
        Ok(approved) => Json(approved).into_response(),
        Err(error) => problem(error.status(), error.to_string()),
    }
}

impl Desk {
    async fn approve(&self, headers: &HeaderMap, body: &[u8]) -> Result<Approved, NotApproved> {
        trust::check(headers, self.listens)?;
        let consent: Consent = serde_json::from_slice(body).map_err(NotApproved::BadBody)?;
        let by = person::name(consent.by)?;
        let _turn = self.turn.lock().await;
        let now = kit::now();
        let (suggested, known) = {
            let view = self.view.read();
            let suggested = view.suggested(&consent.plan)?.clone();
            let known = view.approval(&suggested.plan.id, now).cloned();
            (suggested, known)
        };
        let approval = match known {
            // Said before: it counts once.
            Some(known) => known,
            None => {
                let plan = suggested.plan.id.clone();
                let approval = Approval { plan, at: now, by };
                let entry = JournalEntry::Approval(approval.clone());
                self.write(&entry).await?;
                tracing::info!("{approval}");
                self.view.change(|view| view.journal(entry));
                approval
            }
        };
        Ok(Approved {
            until: approval.at + Approval::VALID,
            approval,
            suggested,
        })
    }
}
