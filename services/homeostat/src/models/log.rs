//! Models in the log.

use bus::{BackendKind, Bus, BusError};
use train::{Artefact, SCHEMA};
use wire::{Meta, TrainedModel, topic};

use crate::config::{self, Config, Sources};
use crate::exit::Failure;
use crate::process;

/// As much of a digest as tells versions apart.
const DIGITS: usize = 12;

/// The model a service has now.
pub(crate) enum Present {
    /// It has none.
    None,
    /// It has this one.
    Model(Box<Artefact>),
    /// It has one that this version cannot read.
    Unreadable(String),
}

/// One record of the topic.
pub(crate) struct Stored {
    pub(crate) record: TrainedModel,
    pub(crate) model: Present,
}

/// Does something with the configured log, in which the topic of models is.
pub(crate) fn with<T>(
    sources: Sources,
    work: impl AsyncFnOnce(&Bus) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = config::load(sources)?;
    if config.bus.backend == BackendKind::Memory {
        let text = "a log in memory ends with its process, so it holds no models; set bus.backend to kafka, or to local";
        return Err(Failure::Usage(text.to_owned()));
    }
    process::runtime()?.block_on(async {
        let bus = open(&config.bus)?;
        let done = async {
            let mut topics = topic::all(config.partitions);
            topics.retain(|spec| spec.name == topic::MODELS);
            bus.ensure_topics(&topics).await?;
            work(&bus).await
        };
        let done = done.await;
        bus.close().await;
        done
    })
}

/// Reads the configured log, as it is.
pub(crate) fn reading<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Bus) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if config.bus.backend == BackendKind::Memory {
        let text = "a log in memory ends with its process, so there is nothing to read; set bus.backend to kafka, or to local";
        return Err(Failure::Usage(text.to_owned()));
    }
    process::runtime()?.block_on(async {
        let bus = open(&config.bus)?;
        let done = work(&bus).await;
        bus.close().await;
        done
    })
}

fn open(config: &bus::BusConfig) -> Result<Bus, Failure> {
    Bus::open(config).map_err(|error| {
        let held = matches!(error, BusError::Locked { .. });
        let error = anyhow::Error::from(error);
        Failure::Failed(match held {
            true => error.context(
                "the local log belongs to one process: stop `homeostat up`, or use Kafka (bus.backend = \"kafka\")",
            ),
            false => error,
        })
    })
}

/// Every model in the log, by service.
pub(crate) async fn all(bus: &Bus) -> Result<Vec<Stored>, Failure> {
    let mut models: Vec<Stored> = Vec::new();
    for record in bus.read_latest(topic::MODELS).await? {
        let record: TrainedModel = wire::decode(&record)?;
        let model = read(&record);
        models.push(Stored { record, model });
    }
    models.sort_by(|a, b| a.record.service.cmp(&b.record.service));
    Ok(models)
}

/// The model a service has now.
pub(crate) async fn present(bus: &Bus, service: &str) -> Result<Present, Failure> {
    let of = |stored: &Stored| stored.record.service.as_str() == service;
    let found = all(bus).await?.into_iter().find(of);
    Ok(found.map_or(Present::None, |stored| stored.model))
}

/// Writes a model to the log, in the place of the one its service has.
pub(crate) async fn publish(bus: &Bus, artefact: &Artefact) -> Result<(), Failure> {
    let content = artefact.content();
    let record = TrainedModel {
        service: content.service.clone(),
        trained_at: content.provenance.trained_at,
        digest: artefact.digest().to_owned(),
        artefact_version: SCHEMA,
        artefact: serde_json::from_str(&artefact.to_json())?,
    };
    let producer = format!("train/{}", env!("CARGO_PKG_VERSION"));
    bus.produce(wire::encode(&record, &Meta::new(producer)))
        .await?;
    Ok(())
}

/// As much of a digest as is shown.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

fn read(record: &TrainedModel) -> Present {
    let json = record.artefact.to_string();
    match Artefact::from_json(json.as_bytes()) {
        Ok(artefact) => Present::Model(Box::new(artefact)),
        Err(error) => Present::Unreadable(error.to_string()),
    }
}
