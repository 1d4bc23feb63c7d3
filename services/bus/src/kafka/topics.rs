//! Creating topics, and comparing the ones that exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{self, LogContext};
use crate::{BusError, KafkaConfig, Retention, TopicSpec};

/// Between two looks at whether new topics are known to the brokers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Creates what is missing and compares the rest.
pub(super) async fn ensure(config: &KafkaConfig, specs: &[TopicSpec]) -> Result<(), BusError> {
    if specs.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<LogContext> = client::admin(config)
        .create_with_context(LogContext)
        .map_err(|error| client::config_error(config, error))?;
    let existing = create(&admin, config, specs).await?;
    compare_policies(&admin, config, &existing).await?;
    let (config, specs) = (config.clone(), specs.to_vec());
    // The task is never aborted, so it ends early only by the runtime's end.
    tokio::task::spawn_blocking(move || await_topics(admin.inner(), &config, &specs))
        .await
        .map_err(|_| BusError::Closed)?
}

/// Asks for all topics to be created and returns those that exist already.
async fn create(
    admin: &AdminClient<LogContext>,
    config: &KafkaConfig,
    specs: &[TopicSpec],
) -> Result<Vec<TopicSpec>, BusError> {
    let settings: Vec<Vec<(&str, String)>> =
        specs.iter().map(|spec| settings(spec.retention)).collect();
    let topics: Vec<NewTopic<'_>> = specs
        .iter()
        .zip(&settings)
        .map(|(spec, settings)| {
            let replication = TopicReplication::Fixed(config.replication_factor.into());
            let topic = NewTopic::new(spec.name, partition_number(spec), replication);
            settings
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let results = admin
        .create_topics(&topics, &options(config))
        .await
        .map_err(|error| client::unreachable(config, error))?;
    let mut existing = Vec::new();
    for result in results {
        let Err((name, code)) = result else {
            continue;
        };
        let spec = specs.iter().find(|spec| spec.name == name);
        match (code, spec) {
            (RDKafkaErrorCode::TopicAlreadyExists, Some(spec)) => existing.push(*spec),
            (code, _) if client::passes(code) => {
                return Err(client::unreachable(config, KafkaError::AdminOp(code)));
            }
            (code, _) => {
                return Err(BusError::Topics {
                    topic: Arc::from(name),
                    brokers: config.brokers.clone(),
                    source: KafkaError::AdminOp(code).into(),
                });
            }
        }
    }
    Ok(existing)
}

/// Another clean-up policy loses records or keeps too many and is an error; other amounts are the operator's choice.
async fn compare_policies(
    admin: &AdminClient<LogContext>,
    config: &KafkaConfig,
    specs: &[TopicSpec],
) -> Result<(), BusError> {
    let resources: Vec<ResourceSpecifier<'_>> = specs
        .iter()
        .map(|spec| ResourceSpecifier::Topic(spec.name))
        .collect();
    if resources.is_empty() {
        return Ok(());
    }
    let described = match admin.describe_configs(&resources, &options(config)).await {
        Ok(described) => described,
        Err(error) => {
            tracing::warn!(error = %error, "existing topics are used without a look at their settings");
            return Ok(());
        }
    };
    for (spec, found) in specs.iter().zip(described) {
        let found = match found {
            Ok(found) => found,
            Err(code) => {
                tracing::warn!(topic = spec.name, %code, "the topic is used without a look at its settings");
                continue;
            }
        };
        for (name, wanted) in settings(spec.retention) {
            let value = found.get(name).and_then(|entry| entry.value.as_deref());
            let Some(value) = value.filter(|value| *value != wanted) else {
                continue;
            };
            if name == "cleanup.policy" {
                return Err(BusError::TopicMismatch {
                    topic: Arc::from(spec.name),
                    found: format!("{name}={value}"),
                    wanted: format!("{name}={wanted}"),
                });
            }
            tracing::info!(
                topic = spec.name,
                "the topic exists with {name}={value}, {wanted} is the default"
            );
        }
    }
    Ok(())
}

/// Waits until the brokers know all topics, and checks their partitions. Blocks.
fn await_topics<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    specs: &[TopicSpec],
) -> Result<(), BusError> {
    let until = Instant::now() + Duration::from_millis(config.request_timeout_ms.into());
    loop {
        let metadata = client
            .fetch_metadata(None, client::request_timeout(config))
            .map_err(|error| client::unreachable(config, error))?;
        let missing = specs
            .iter()
            .find(|spec| client::partitions_of(&metadata, spec.name).is_none());
        match missing {
            None => {
                return specs.iter().try_for_each(|spec| {
                    check_partitions(
                        spec,
                        client::partitions_of(&metadata, spec.name).unwrap_or(0),
                    )
                });
            }
            Some(spec) if Instant::now() >= until => {
                return Err(BusError::UnknownTopic {
                    topic: Arc::from(spec.name),
                });
            }
            Some(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn check_partitions(spec: &TopicSpec, found: u32) -> Result<(), BusError> {
    if found < spec.partitions {
        return Err(BusError::TopicMismatch {
            topic: Arc::from(spec.name),
            found: format!("{found} partitions"),
            wanted: format!("{} partitions", spec.partitions),
        });
    }
    if found > spec.partitions {
        tracing::warn!(
            topic = spec.name,
            "the topic has {found} partitions instead of {}; topics that are read together need equal numbers",
            spec.partitions,
        );
    }
    Ok(())
}

fn settings(retention: Retention) -> Vec<(&'static str, String)> {
    match retention {
        Retention::Delete { max_age, max_bytes } => vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", max_age.as_millis().to_string()),
            ("retention.bytes", max_bytes.to_string()),
        ],
        Retention::Compact => vec![("cleanup.policy", "compact".to_owned())],
    }
}

fn partition_number(spec: &TopicSpec) -> i32 {
    i32::try_from(spec.partitions.max(1)).unwrap_or(i32::MAX)
}

fn options(config: &KafkaConfig) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(client::request_timeout(config)))
        .operation_timeout(Some(client::request_timeout(config)))
}
