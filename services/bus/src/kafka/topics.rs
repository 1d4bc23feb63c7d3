//! Creating topics, and comparing the ones that exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{self, Link, LogContext};
use crate::{BusError, Retention, TopicSpec};

/// Between two looks at whether new topics are known to the brokers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Creates what is missing and compares the rest.
pub(super) async fn ensure(link: &Link, specs: &[TopicSpec]) -> Result<(), BusError> {
    if specs.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<LogContext> = link
        .admin()
        .create_with_context(link.log.clone())
        .map_err(|error| link.config_error(error))?;
    let existing = create(&admin, link, specs).await?;
    compare_policies(&admin, link, &existing).await?;
    let (link, specs) = (link.clone(), specs.to_vec());
    // The task is never aborted, so it ends early only by the runtime's end.
    tokio::task::spawn_blocking(move || await_topics(admin.inner(), &link, &specs))
        .await
        .map_err(|_| BusError::Closed)?
}

/// Asks for all topics to be created and returns those that exist already.
async fn create(
    admin: &AdminClient<LogContext>,
    link: &Link,
    specs: &[TopicSpec],
) -> Result<Vec<TopicSpec>, BusError> {
    let settings: Vec<Vec<(&str, String)>> =
        specs.iter().map(|spec| settings(spec.retention)).collect();
    let topics: Vec<NewTopic<'_>> = specs
        .iter()
        .zip(&settings)
        .map(|(spec, settings)| {
            let replication = TopicReplication::Fixed(link.config.replication_factor.into());
            let topic = NewTopic::new(spec.name, partition_number(spec), replication);
            settings
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let results = admin
        .create_topics(&topics, &options(link))
        .await
        .map_err(|error| link.unreachable(error))?;
    let mut existing = Vec::new();
    for result in results {
        let Err((name, code)) = result else {
            continue;
        };
        let spec = specs.iter().find(|spec| spec.name == name);
        match (code, spec) {
            (RDKafkaErrorCode::TopicAlreadyExists, Some(spec)) => existing.push(*spec),
            (code, _) if client::passes(code) => {
                return Err(link.unreachable(KafkaError::AdminOp(code)));
            }
            (code, _) => {
                return Err(BusError::Topics {
                    topic: Arc::from(name),
                    brokers: link.brokers().to_owned(),
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
    link: &Link,
    specs: &[TopicSpec],
) -> Result<(), BusError> {
    let resources: Vec<ResourceSpecifier<'_>> = specs
        .iter()
        .map(|spec| ResourceSpecifier::Topic(spec.name))
        .collect();
    if resources.is_empty() {
        return Ok(());
    }
    let described = match admin.describe_configs(&resources, &options(link)).await {
        Ok(described) => described,
        Err(error) => {
            tracing::warn!(error = %error, "existing topics are used without a look at their settings");
            return Ok(());
        }
    };
    for found in described {
        let found = match found {
            Ok(found) => found,
            Err(code) => {
                tracing::warn!(%code, "an existing topic is used without a look at its settings");
                continue;
            }
        };
        let spec = specs
            .iter()
            .find(|spec| found.specifier == OwnedResourceSpecifier::Topic(spec.name.to_owned()));
        if let Some(spec) = spec {
            compare_policy(spec, &found)?;
        }
    }
    Ok(())
}

fn compare_policy(spec: &TopicSpec, found: &ConfigResource) -> Result<(), BusError> {
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
    Ok(())
}

/// Waits until the brokers know all topics, and checks their partitions. Blocks.
fn await_topics<C: ClientContext>(
    client: &Client<C>,
    link: &Link,
    specs: &[TopicSpec],
) -> Result<(), BusError> {
    let until = Instant::now() + link.patience();
    loop {
        let metadata = client
            .fetch_metadata(None, link.request_timeout())
            .map_err(|error| link.unreachable(error))?;
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

fn options(link: &Link) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(link.request_timeout()))
        .operation_timeout(Some(link.request_timeout()))
}
