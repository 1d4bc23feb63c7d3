//! `POST /api/v1/updates` and `/rollbacks`: a person orders another image for a service, or the one before. `GET /api/v1/updates`:
//! what was ordered, and how far it has come.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use control::UpdatePhase;
use serde::{Deserialize, Serialize};
use units::{Image, JournalEntry, Mode, ServiceId, Timestamp, Update, UpdateId};

use crate::http::{Shared, problem};
use crate::orders::{Before, Replica};
use crate::person::{self, BadName};
use crate::say::{Desk, Unwritten};
use crate::trust::{self, Refused};

/// The engine takes no longer references; a longer one is refused.
const IMAGE_CHARS_MAX: usize = 512;
/// So many characters of what is no service or no image are said back.
const SAID_CHARS_MAX: usize = 100;
/// So many containers are named; of further ones the number is told.
const NAMED_MAX: usize = 5;
/// Ids tell the millisecond, so orders of one service are at least so far apart.
const APART: Duration = Duration::from_millis(1);

/// The body of `POST /updates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The service's name.
    pub service: String,
    /// The reference to run, such as `shop/web:4`, or the id of an image that its nodes have.
    pub image: String,
    /// Who orders it, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The body of `POST /rollbacks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// The service's name.
    pub service: String,
    /// Who orders it, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The answer to both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// What was ordered.
    pub update: Update,
    /// What is not finished by then is given up, and taken back.
    pub until: Timestamp,
    /// The order under way that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Update>,
    /// The image a rollback goes back to, by the name people know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<Image>,
}

/// `GET /updates`: one order, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedUpdate {
    /// The order.
    pub update: Update,
    /// How far it has come. Absent of one that was replaced, or is over for days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The newer order of its service, which counts instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<UpdateId>,
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    pub phase: UpdatePhase,
    /// Replicas that run its image.
    pub done: u32,
    /// Replicas there are.
    pub of: u32,
    /// What it waits for, what is being done, or how it ended.
    pub reason: String,
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
enum NotOrdered {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the body is not {{\"service\": NAME, {wants}\"by\": NAME}}: {error}")]
    BadBody {
        wants: &'static str,
        error: serde_json::Error,
    },
    #[error(transparent)]
    BadName(#[from] BadName),
    #[error("{0:?} is no reference of an image, such as shop/web:4, and no id")]
    BadImage(String),
    #[error("no container of a service {0:?} is known; `homeostat services` lists them")]
    Unknown(String),
    #[error(
        "{service} is only watched: {who} not say more than observe; label it io.homeostat.mode=suggest or act"
    )]
    Observed { service: ServiceId, who: String },
    #[error(
        "{service} may not be updated: {who} not have the label; label it io.homeostat.update=true"
    )]
    NotLabelled { service: ServiceId, who: String },
    #[error("{service} runs that image already")]
    Runs { service: ServiceId },
    #[error(
        "no update has changed {0} as far back as the journal goes; name the image with `homeostat update {0} --image IMAGE`"
    )]
    NoneBefore(ServiceId),
    #[error(
        "{service} runs {image} already, what it ran before its last update to {update}; name another with `homeostat update {service} --image IMAGE`"
    )]
    IsBack {
        service: ServiceId,
        image: Image,
        update: String,
    },
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl NotOrdered {
    fn status(&self) -> StatusCode {
        match self {
            NotOrdered::Refused(refused) => refused.status(),
            NotOrdered::BadBody { .. } | NotOrdered::BadName(_) | NotOrdered::BadImage(_) => {
                StatusCode::BAD_REQUEST
            }
            NotOrdered::Unknown(_) => StatusCode::NOT_FOUND,
            NotOrdered::Observed { .. }
            | NotOrdered::NotLabelled { .. }
            | NotOrdered::Runs { .. }
            | NotOrdered::NoneBefore(_)
            | NotOrdered::IsBack { .. } => StatusCode::CONFLICT,
            NotOrdered::Unwritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

pub(crate) async fn list(State(desk): State<Desk>) -> Response {
    Json(listed(&desk.view)).into_response()
}

pub(crate) async fn order(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    answer(desk.order(&headers, &body).await)
}

pub(crate) async fn go_back(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    answer(desk.go_back(&headers, &body).await)
}

fn answer(ordered: Result<Ordered, NotOrdered>) -> Response {
    match ordered {
        Ok(ordered) => Json(ordered).into_response(),
        Err(error) => problem(error.status(), error.to_string()),
    }
}

/// Every order with how far it has come, newest first.
fn listed(shared: &Shared) -> Vec<ListedUpdate> {
    let core = shared.core();
    let view = shared.read();
    let orders = view.orders();
    let listed = orders.all().into_iter().map(|update| {
        let newest = orders.newest(&update.service);
        let newer = newest.filter(|newest| newest.id != update.id);
        let status = core.update_status(&update.service);
        let status = status.filter(|status| status.update.id == update.id);
        ListedUpdate {
            update: update.clone(),
            progress: status.map(|status| Progress {
                phase: status.phase,
                done: status.done,
                of: status.of,
                reason: status.reason,
            }),
            replaced_by: newer.map(|newer| newer.id.clone()),
        }
    });
    listed.collect()
}

impl Desk {
    async fn order(&self, headers: &HeaderMap, body: &[u8]) -> Result<Ordered, NotOrdered> {
        trust::check(headers, self.listens)?;
        let order: Order = serde_json::from_slice(body).map_err(|error| NotOrdered::BadBody {
            wants: "\"image\": REFERENCE, ",
            error,
        })?;
        let by = person::name(order.by)?;
        let image = order.image.trim();
        if !is_reference(image) {
            return Err(NotOrdered::BadImage(shortened(image)));
        }
        let service = ServiceId::from(order.service.as_str());
        let _turn = self.turn.lock().await;
        {
            let view = self.view.read();
            let replicas = view.replicas(&service);
            check(&service, &replicas)?;
            if all_run(&replicas, image) {
                return Err(NotOrdered::Runs { service });
            }
        }
        self.place(service, image.to_owned(), by, None).await
    }

    async fn go_back(&self, headers: &HeaderMap, body: &[u8]) -> Result<Ordered, NotOrdered> {
        trust::check(headers, self.listens)?;
        let wants = "";
        let back: Back =
            serde_json::from_slice(body).map_err(|error| NotOrdered::BadBody { wants, error })?;
        let by = person::name(back.by)?;
        let service = ServiceId::from(back.service.as_str());
        let _turn = self.turn.lock().await;
        let image = {
            let view = self.view.read();
            let replicas = view.replicas(&service);
            check(&service, &replicas)?;
            let before = view.before_last(&service);
            let Before { image, update } =
                before.ok_or_else(|| NotOrdered::NoneBefore(service.clone()))?;
            if all_run(&replicas, &image.id) {
                return Err(NotOrdered::IsBack {
                    service,
                    image,
                    update: update.image,
                });
            }
            image
        };
        // By its id: its name may mean another image by now.
        self.place(service, image.id.clone(), by, Some(image)).await
    }

    /// Writes an order. The caller holds the turn.
    async fn place(
        &self,
        service: ServiceId,
        image: String,
        by: Option<String>,
        back_to: Option<Image>,
    ) -> Result<Ordered, NotOrdered> {
        let now = kit::now();
        let (at, replaces) = {
            let core = self.view.core();
            let status = core.update_status(&service);
            let running = status.filter(|status| !status.phase.is_final());
            let view = self.view.read();
            let last = view.orders().newest(&service);
            let at = last.map_or(now, |last| now.max(last.at + APART));
            (at, running.map(|status| status.update))
        };
        let update = Update {
            id: UpdateId::of(&service, at),
            service,
            image,
            at,
            by,
        };
        let entry = JournalEntry::Update(update.clone());
        self.write(&entry).await?;
        tracing::info!("{update}");
        let event = control::Event::Journal(Box::new(entry.clone()));
        self.view.hear(event);
        self.view.change(|view| view.journal(entry));
        Ok(Ordered {
            until: update.at + Update::VALID,
            update,
            replaces,
            back_to,
        })
    }
}

/// Whether the service's labels let it be updated.
fn check(service: &ServiceId, replicas: &[Replica<'_>]) -> Result<(), NotOrdered> {
    if replicas.is_empty() {
        return Err(NotOrdered::Unknown(shortened(service.as_str())));
    }
    let service = service.clone();
    if let Some(who) = those(replicas, |replica| replica.mode == Mode::Observe) {
        return Err(NotOrdered::Observed { service, who });
    }
    match those(replicas, |replica| !replica.update) {
        Some(who) => Err(NotOrdered::NotLabelled { service, who }),
        None => Ok(()),
    }
}

/// The names of those of which it is true, with the verb that goes on after them; none when there are none.
fn those(replicas: &[Replica<'_>], is_true: impl Fn(&Replica<'_>) -> bool) -> Option<String> {
    let found = replicas.iter().filter(|replica| is_true(replica));
    let names: Vec<&str> = found.map(|replica| replica.name.as_str()).collect();
    let verb = match names.len() {
        0 => return None,
        1 => "does",
        2.. => "do",
    };
    let shown = names[..names.len().min(NAMED_MAX)].join(", ");
    let more = names.len().saturating_sub(NAMED_MAX);
    Some(match more {
        0 => format!("{shown} {verb}"),
        more => format!("{shown} and {more} more {verb}"),
    })
}

/// Whether this id is what all of them run. Of a name it cannot be told: it may mean another image by now.
fn all_run(replicas: &[Replica<'_>], id: &str) -> bool {
    replicas.iter().all(|replica| replica.image == Some(id))
}

/// Whether it can be a reference or an id: the engine says itself what is wrong with the rest of them.
fn is_reference(image: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let begins = image.bytes().next();
    begins.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && image.len() <= IMAGE_CHARS_MAX
        && image.bytes().all(is_of_one)
}

fn shortened(text: &str) -> String {
    text.chars().take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use units::ContainerName;

    use super::*;

    #[test]
    fn references_and_ids_are_told_from_other_text() {
        for image in [
            "web",
            "shop/web:4",
            "r.example:5000/a/b@sha256:ab",
            "sha256:ab",
        ] {
            assert!(is_reference(image), "{image}");
        }
        for other in [
            "",
            "-web",
            "web 4",
            "web:4;",
            "w\u{1b}[2J",
            &"w".repeat(600),
        ] {
            assert!(!is_reference(other), "{other}");
        }
    }

    #[test]
    fn many_containers_are_counted_and_not_all_named() {
        let names: Vec<ContainerName> = (1..8)
            .map(|n| ContainerName::new(format!("web-{n}")))
            .collect();
        let replicas: Vec<Replica<'_>> = names
            .iter()
            .map(|name| Replica {
                name,
                mode: Mode::Act,
                update: false,
                image: None,
            })
            .collect();
        let told = |some: &[Replica<'_>]| those(some, |replica| !replica.update);
        assert_eq!(told(&replicas[..1]).unwrap(), "web-1 does");
        assert_eq!(told(&replicas[..2]).unwrap(), "web-1, web-2 do");
        assert_eq!(
            told(&replicas).unwrap(),
            "web-1, web-2, web-3, web-4, web-5 and 2 more do"
        );
        assert_eq!(those(&replicas, |replica| replica.update), None);
    }
}
