//! The history of a service in the log, and its model into the log.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bus::{Bus, From, Tailed, partition_of};
use train::{Artefact, Averager, Choice, HeldBack, History, TrainSettings, compare};
use units::{ContainerId, Timestamp};
use wire::{Telemetry, topic};

use super::{Outcome, artefact};
use crate::config::Sources;
use crate::exit::{Failure, complain};
use crate::models::log::{self, Present};

/// As much as the topic of samples keeps.
const HISTORY: Duration = Duration::from_secs(24 * 60 * 60);

/// Trains on what the log holds of the service, and publishes the model unless it is worse than the present one.
pub(super) fn run(
    service: &str,
    how: (TrainSettings, u64),
    sources: Sources,
) -> Result<(Artefact, Outcome), Failure> {
    log::with(sources, async |bus: &Bus| {
        let history = history(bus, service, kit::now() - HISTORY).await?;
        let present = log::present(bus, service).await?;
        let previous = match &present {
            Present::Model(model) => Some(model.digest().to_owned()),
            Present::None | Present::Unreadable(_) => None,
        };
        let candidate = artefact(&history, service, how, previous)?;
        let outcome = judge(&history, &present, &candidate);
        if let Outcome::Published { .. } = outcome {
            log::publish(bus, &candidate).await?;
        }
        Ok((candidate, outcome))
    })
}

fn judge(history: &History, present: &Present, candidate: &Artefact) -> Outcome {
    let current = match present {
        Present::Model(current) => current,
        Present::None => {
            return Outcome::Published {
                current: None,
                note: "there was none".to_owned(),
            };
        }
        Present::Unreadable(problem) => {
            return Outcome::Published {
                current: None,
                note: format!("the one there could not be read: {problem}"),
            };
        }
    };
    let held_back = HeldBack::of(history);
    match compare(
        &current.content().model,
        &candidate.content().model,
        &held_back,
    ) {
        Choice::Take { current: found, .. } => Outcome::Published {
            current: Some(found),
            note: format!(
                "it is as good as {}, and newer",
                log::short(current.digest())
            ),
        },
        Choice::Keep {
            why,
            current: found,
            ..
        } => Outcome::Kept {
            current_digest: current.digest().to_owned(),
            current: found,
            why: why.to_string(),
        },
    }
}

/// What the log holds of a service since then, as means over ten seconds.
async fn history(bus: &Bus, service: &str, since: Timestamp) -> anyhow::Result<History> {
    // All replicas of a service are in one partition; the others need not be looked into.
    let partition = partition_of(service.as_bytes(), bus.partitions(topic::SAMPLES).await?);
    let mut tail = bus
        .tail(topic::SAMPLES, From::Time(since.as_millis()))
        .await?;
    let mut rows = Rows {
        averager: Averager::default(),
        subjects: BTreeMap::new(),
        history: History::new(Averager::names())?,
    };
    let mut unreadable = 0u64;
    while let Tailed::Record(record) = tail.next().await? {
        if record.position.partition != partition {
            continue;
        }
        match wire::decode_telemetry(&record) {
            Ok(Telemetry::Samples(samples)) => {
                for sample in samples.iter().filter(|it| it.service.as_str() == service) {
                    rows.add(sample)?;
                }
            }
            Ok(Telemetry::Series(_) | Telemetry::Links(_)) => {}
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        complain(&format!(
            "warning: {unreadable} records of {} could not be read and are left out",
            topic::SAMPLES
        ));
    }
    match rows.history.rows() {
        0 => Err(anyhow!(
            "{} holds nothing of a service {service}; `homeostat services` names those there are",
            topic::SAMPLES
        )),
        _ => Ok(rows.history),
    }
}

/// Rows as samples bring them.
struct Rows {
    averager: Averager,
    subjects: BTreeMap<ContainerId, u32>,
    history: History,
}

impl Rows {
    fn add(&mut self, sample: &units::Sample) -> anyhow::Result<()> {
        let Some(row) = self.averager.push(sample) else {
            return Ok(());
        };
        let next = self.subjects.len() as u32;
        let subject = *self.subjects.entry(row.container).or_insert(next);
        self.history
            .push(row.at, subject, &row.values)
            .context("the service's last day is too much to hold")
    }
}
