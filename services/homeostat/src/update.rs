//! `homeostat update`, `rollback` and `updates`.

use std::time::{Duration, Instant};

use clap::Args;
use console::api::{Back as BackOrder, ListedUpdate, Order, Ordered, Progress};
use control::UpdatePhase;
use serde::Serialize;
use units::{Update, UpdateId};

use crate::ask::{get, post, show, trimmed};
use crate::cli::Ask;
use crate::exit::Failure;
use crate::table::{Output, print, print_json, with_heading};

/// How often the console is asked how far an update has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A console that does not answer for so long while an update is followed is given up; the update goes on.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// What is to run.
#[derive(Debug, Args)]
pub(crate) struct To {
    /// The service's name, as `homeostat services` lists it. Its containers need the label io.homeostat.update=true.
    service: String,
    /// The reference to run, such as shop/web:4, or the id of an image that its nodes have. It is pulled first; what stands here
    /// and a registry does not give will do.
    #[arg(long, value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    how: How,
}

/// What is to go back.
#[derive(Debug, Args)]
pub(crate) struct Back {
    /// The service's name, as `homeostat services` lists it.
    service: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Who orders it; kept in the journal.
    #[arg(long, value_name = "NAME", env = "USER")]
    by: Option<String>,
    /// Follow it to its end; exit status 1 when it was rolled back, refused or replaced. Ending this ends nothing of the update.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    ask: Ask,
}

/// `homeostat update`.
pub(crate) fn update(to: &To) -> Result<(), Failure> {
    let order = Order {
        service: to.service.clone(),
        image: to.image.clone(),
        by: to.how.by.clone(),
    };
    order_and_follow(&to.how, "updates", &order)
}

/// `homeostat rollback`.
pub(crate) fn go_back(back: &Back) -> Result<(), Failure> {
    let order = BackOrder {
        service: back.service.clone(),
        by: back.how.by.clone(),
    };
    order_and_follow(&back.how, "rollbacks", &order)
}

/// `homeostat updates`.
pub(crate) fn list(ask: &Ask) -> Result<(), Failure> {
    let updates: Vec<ListedUpdate> = get(ask, "updates")?;
    show(ask, &updates, |updates| {
        if updates.is_empty() {
            return "no update was ordered; `homeostat update SERVICE --image IMAGE` orders one"
                .to_owned();
        }
        let mut table = with_heading(&[
            "ordered", "service", "image", "by", "state", "replicas", "why",
        ]);
        for listed in updates {
            let progress = listed.progress.as_ref();
            table.add_row([
                listed.update.at.to_string(),
                listed.update.service.to_string(),
                listed.update.image.clone(),
                listed.update.by.clone().unwrap_or_default(),
                state(listed).to_owned(),
                progress.map_or_else(String::new, |it| format!("{}/{}", it.done, it.of)),
                why(listed),
            ]);
        }
        trimmed(&table)
    })
}

fn state(listed: &ListedUpdate) -> &'static str {
    match (&listed.progress, &listed.replaced_by) {
        (Some(progress), _) => progress.phase.as_str(),
        (None, Some(_)) => "replaced",
        (None, None) => "over",
    }
}

fn why(listed: &ListedUpdate) -> String {
    match (&listed.progress, &listed.replaced_by) {
        (Some(progress), _) => progress.reason.clone(),
        (None, Some(newer)) => format!("by {newer}"),
        (None, None) => String::new(),
    }
}

fn order_and_follow(how: &How, path: &str, order: &impl Serialize) -> Result<(), Failure> {
    let ordered: Ordered = post(&how.ask, path, order)?;
    if !how.wait {
        return show(&how.ask, &ordered, told);
    }
    if how.ask.output == Output::Table {
        print(&told(&ordered))?;
    }
    follow(&how.ask, &ordered.update)
}

fn told(ordered: &Ordered) -> String {
    let Ordered {
        update,
        until,
        replaces,
        back_to,
    } = ordered;
    let back_to = back_to.as_ref();
    let image = back_to.map_or_else(|| update.image.clone(), ToString::to_string);
    let mut text = format!(
        "{} is to run {image}, by {until} or not at all; `homeostat updates` tells how far it has come",
        update.service
    );
    if let Some(replaced) = replaces {
        text.push_str(&format!(
            "\nit comes instead of the update to {} that is under way",
            replaced.image
        ));
    }
    text
}

/// Shows what changes until it ends. Bounded by the order's own time: what is not finished by then is given up.
fn follow(ask: &Ask, update: &Update) -> Result<(), Failure> {
    let mut shown: Option<Progress> = None;
    let mut heard_at = Instant::now();
    loop {
        let updates: Vec<ListedUpdate> = match get(ask, "updates") {
            Ok(updates) => updates,
            Err(failure) if heard_at.elapsed() > AWAY_MAX => return Err(failure),
            Err(_) => {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
        };
        heard_at = Instant::now();
        let listed = updates.into_iter().find(|it| it.update.id == update.id);
        let Some(listed) = listed else {
            return Err(Failure::Failed(anyhow::anyhow!(
                "the console knows nothing of the update {} any more",
                update.id
            )));
        };
        if ask.output == Output::Table
            && let Some(progress) = &listed.progress
            && shown.as_ref() != Some(progress)
        {
            print(&line(progress))?;
            shown = Some(progress.clone());
        }
        if let Some(end) = ended(&listed) {
            if ask.output == Output::Json {
                print_json(&listed)?;
            }
            return end;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn line(progress: &Progress) -> String {
    format!(
        "{}: {} of {} replicas run it; {}",
        progress.phase.as_str().replace('_', " "),
        progress.done,
        progress.of,
        progress.reason
    )
}

/// How it ended, if it did.
fn ended(listed: &ListedUpdate) -> Option<Result<(), Failure>> {
    let failed = |text: String| Some(Err(Failure::Failed(anyhow::anyhow!(text))));
    let update = &listed.update;
    let replaced = |newer: &UpdateId| {
        failed(format!(
            "{update}: replaced by a newer order, {newer}; `homeostat updates` tells how far that has come"
        ))
    };
    match (&listed.progress, &listed.replaced_by) {
        (_, Some(newer)) => replaced(newer),
        (None, None) => None,
        (Some(progress), None) => match progress.phase {
            UpdatePhase::Finished => Some(Ok(())),
            UpdatePhase::RolledBack => failed(told_once(update, "rolled back", &progress.reason)),
            UpdatePhase::Refused => failed(told_once(update, "refused", &progress.reason)),
            UpdatePhase::Pulling
            | UpdatePhase::Canary
            | UpdatePhase::Rolling
            | UpdatePhase::RollingBack => None,
        },
    }
}

/// The journal's last word on an order names it, and how it ended; what is said here may not.
fn told_once(update: &Update, how: &str, reason: &str) -> String {
    let order = update.to_string();
    match reason.starts_with(&order) {
        true => reason.to_owned(),
        false => format!("{order}: {how}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use units::{ServiceId, Timestamp};

    use super::*;

    fn listed(phase: Option<UpdatePhase>, replaced_by: Option<&str>) -> ListedUpdate {
        let (service, at) = (ServiceId::from("web"), Timestamp::from_millis(1));
        ListedUpdate {
            update: Update {
                id: UpdateId::of(&service, at),
                service,
                image: "web:4".to_owned(),
                at,
                by: Some("ada".to_owned()),
            },
            progress: phase.map(|phase| Progress {
                phase,
                done: 1,
                of: 2,
                reason: "web-1 is unhealthy".to_owned(),
            }),
            replaced_by: replaced_by.map(UpdateId::from),
        }
    }

    #[test]
    fn it_ends_well_only_when_it_finished() {
        for phase in UpdatePhase::ALL {
            let end = ended(&listed(Some(phase), None));
            assert_eq!(end.is_some(), phase.is_final(), "{phase:?}");
            if let Some(end) = end {
                assert_eq!(end.is_ok(), phase == UpdatePhase::Finished, "{phase:?}");
            }
        }
        assert!(ended(&listed(None, None)).is_none());
        let Some(Err(Failure::Failed(error))) = ended(&listed(None, Some("web-2"))) else {
            panic!("it was replaced");
        };
        assert!(error.to_string().contains("web-2"), "{error}");
        let rolled_back = ended(&listed(Some(UpdatePhase::RolledBack), None));
        let Some(Err(Failure::Failed(error))) = rolled_back else {
            panic!("it was rolled back");
        };
        assert_eq!(
            error.to_string(),
            "update of web to web:4, ordered by ada: rolled back: web-1 is unhealthy"
        );
    }
}
