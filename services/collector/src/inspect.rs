//! From the engine's description of a container to ours.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState as EngineState,
    ContainerStateStatusEnum, HealthStatusEnum, HostConfig, HostConfigLogConfig,
};
use formats::scrape::{self, LABEL_SCRAPE, Target};
use units::{
    Bytes, ContainerId, ContainerName, ContainerRecord, ContainerSpec, ContainerState,
    CopyTemplate, HealthState, LABEL_PLAN, LABEL_REPLICA_OF, LabelProblem, Limits, Millicores,
    PlanId, Policy, ServiceId, Timestamp,
};

use crate::cgroup::Network;
use crate::spec;

const DEFAULT_CPU_PERIOD_US: i64 = 100_000;
/// Files of a json-file log unless `max-file` says otherwise.
const FILES_DEFAULT: usize = 1;
/// Of the `local` driver.
const LOCAL_FILES_DEFAULT: usize = 5;
/// The name of the copy that the engine keeps of what a driver sends elsewhere; it is written as the `local` driver writes.
pub(crate) const CACHE_NAME: &str = "container-cached.log";
const NANO_CPUS_PER_MILLICORE: i64 = 1_000_000;

/// A container as the engine describes it now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Details {
    /// Who said so.
    pub(crate) told: Told,
    /// What others are told.
    pub(crate) record: ContainerRecord,
    /// Its first process; present while it runs.
    pub(crate) pid: Option<i64>,
    /// Whose network it uses.
    pub(crate) network: Network,
    /// Where its output goes.
    pub(crate) log: LogSource,
    /// Where it is reached from this node, while it runs.
    pub(crate) addresses: Arc<[IpAddr]>,
    /// Pages of metrics it serves.
    pub(crate) scrape: Arc<[Target]>,
    /// The signal that asks it to end, when it is not the usual one.
    pub(crate) stop_signal: Option<String>,
}

/// Who told of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The engine, when it was asked.
    Inspect,
    /// The event of its making, which knows its name, image and labels and no more.
    Event,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogSource {
    /// Lines of JSON in a file of the host and its rotated predecessors.
    JsonFile(LogFile),
    /// Messages of the `local` driver in such files.
    Local(LogFile),
    /// Nowhere.
    Discarded,
    /// To a driver that keeps no file here.
    Other {
        /// The driver's name.
        driver: String,
    },
}

impl LogSource {
    /// The driver's name.
    pub(crate) fn driver(&self) -> &str {
        match self {
            LogSource::JsonFile(_) => "json-file",
            LogSource::Local(_) => "local",
            LogSource::Discarded => "none",
            LogSource::Other { driver } => driver,
        }
    }
}

/// A log in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// The live file, on the host.
    pub(crate) path: PathBuf,
    /// Files the engine keeps, the live one included; absent when that is not known yet.
    pub(crate) files_max: Option<usize>,
    pub(crate) place: Place,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The host's, whose root may be mounted elsewhere here.
    Host,
    /// This process's own.
    Own,
}

impl LogFile {
    /// Where the engine will put the log of a container that it has not opened yet.
    pub(crate) fn expected(engine_root: &str, id: &ContainerId) -> LogFile {
        LogFile {
            path: PathBuf::from(format!("{engine_root}/containers/{id}/{id}-json.log")),
            files_max: None,
            place: Place::Host,
        }
    }

    /// The same for a container whose log the `local` driver writes.
    pub(crate) fn expected_local(engine_root: &str, id: &ContainerId) -> LogFile {
        LogFile {
            path: PathBuf::from(format!(
                "{engine_root}/containers/{id}/local-logs/container.log"
            )),
            files_max: None,
            place: Place::Host,
        }
    }
}

impl Details {
    /// What the event of its making says of a container; an inspect is answered only once it has been started.
    pub(crate) fn of_event(
        id: &ContainerId,
        attributes: &BTreeMap<String, String>,
        at: Timestamp,
    ) -> Option<Details> {
        let answer = ContainerInspectResponse {
            id: Some(id.as_str().to_owned()),
            name: Some(attributes.get("name")?.clone()),
            config: Some(ContainerConfig {
                image: attributes.get("image").cloned(),
                labels: Some(attributes.clone().into_iter().collect()),
                ..ContainerConfig::default()
            }),
            state: Some(EngineState {
                status: Some(ContainerStateStatusEnum::CREATED),
                ..EngineState::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let mut details = Details::read(answer, "")?;
        details.told = Told::Event;
        details.record.created_at = Some(at);
        details.record.spec = None;
        details.record.copy_obstacles = vec!["it has only just been made".to_owned()];
        Some(details)
    }

    /// Reads the answer to an inspect request; `None` when it does not even name the container.
    /// `engine_root` is where the engine keeps its data, on the host.
    pub(crate) fn read(answer: ContainerInspectResponse, engine_root: &str) -> Option<Details> {
        let id = ContainerId::from(answer.id.as_deref()?);
        let name = ContainerName::from(answer.name.as_deref()?.trim_start_matches('/'));
        let copy_obstacles = copy_obstacles(&answer);
        let spec = Arc::new(spec::read(&answer));
        let config = answer.config.unwrap_or_default();
        let host = answer.host_config.unwrap_or_default();
        let state = answer.state.unwrap_or_default();
        let labels: BTreeMap<String, String> =
            config.labels.unwrap_or_default().into_iter().collect();
        let (policy, mut label_problems) = Policy::from_labels(&labels);
        let scrape = scrape_targets(&labels, &mut label_problems);
        let addresses = addresses(&spec);
        let status = container_state(state.status);
        let runs = matches!(status, ContainerState::Running | ContainerState::Paused);
        let label = |key: &str| {
            labels
                .get(key)
                .map(String::as_str)
                .filter(|it| !it.is_empty())
        };
        let log = log_source(&host, answer.log_path.as_deref(), &id, engine_root);
        let record = ContainerRecord {
            service: ServiceId::from_labels(&labels, &name),
            image: config.image.unwrap_or_default(),
            state: status,
            health: health_state(state.health.and_then(|health| health.status)),
            restarts: answer
                .restart_count
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0),
            created_at: answer.created.as_deref().and_then(instant),
            started_at: state.started_at.as_deref().and_then(instant),
            finished_at: state
                .finished_at
                .as_deref()
                .and_then(instant)
                .filter(|_| !runs),
            exit_code: match status {
                ContainerState::Running | ContainerState::Paused | ContainerState::Created => None,
                ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => {
                    state.exit_code
                }
            },
            limits: limits(&host),
            policy,
            label_problems,
            replica_of: label(LABEL_REPLICA_OF).map(ContainerId::from),
            made_by: label(LABEL_PLAN).map(PlanId::from),
            copy_obstacles,
            spec: Some(spec),
            id,
            name,
        };
        Some(Details {
            told: Told::Inspect,
            record,
            pid: state.pid.filter(|pid| *pid > 0 && runs),
            network: network(&host),
            addresses,
            scrape,
            log,
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        })
    }
}

/// The engine's times are RFC 3339 with nanoseconds; the year 1 stands for "never".
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    let ms = instant.as_millisecond();
    (ms > 0).then(|| Timestamp::from_millis(ms))
}

fn container_state(status: Option<ContainerStateStatusEnum>) -> ContainerState {
    use ContainerStateStatusEnum as Status;
    match status {
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running,
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::RESTARTING) => ContainerState::Restarting,
        Some(Status::EXITED) => ContainerState::Exited,
        Some(Status::REMOVING | Status::DEAD) => ContainerState::Dead,
        Some(Status::CREATED | Status::EMPTY) | None => ContainerState::Created,
    }
}

fn health_state(status: Option<HealthStatusEnum>) -> HealthState {
    match status {
        Some(HealthStatusEnum::STARTING) => HealthState::Starting,
        Some(HealthStatusEnum::HEALTHY) => HealthState::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => HealthState::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => HealthState::None,
    }
}

fn limits(host: &HostConfig) -> Limits {
    let positive = |value: Option<i64>| value.filter(|value| *value > 0);
    let by_nano = positive(host.nano_cpus).map(|nano| nano / NANO_CPUS_PER_MILLICORE);
    let by_quota = positive(host.cpu_quota).map(|quota_us| {
        let period_us = positive(host.cpu_period).unwrap_or(DEFAULT_CPU_PERIOD_US);
        quota_us.saturating_mul(1000) / period_us
    });
    let millicores = by_nano.or(by_quota).and_then(|it| u64::try_from(it).ok());
    let memory = positive(host.memory).and_then(|bytes| u64::try_from(bytes).ok());
    Limits {
        cpu: millicores.map(Millicores),
        memory: memory.map(Bytes),
    }
}

fn network(host: &HostConfig) -> Network {
    match host.network_mode.as_deref() {
        Some(mode) if mode == "host" || mode.starts_with("container:") => Network::Shared,
        Some(_) | None => Network::Own,
    }
}

/// Its own addresses; those of the host for one that uses the host's network.
fn addresses(spec: &ContainerSpec) -> Arc<[IpAddr]> {
    if spec.network_mode == "host" {
        return Arc::from([IpAddr::from([127, 0, 0, 1])]);
    }
    let networks = spec.networks.iter();
    networks
        .flat_map(|network| &network.addresses)
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// The pages its label names; what is wrong with the label is among the problems, and then there are none.
fn scrape_targets(
    labels: &BTreeMap<String, String>,
    problems: &mut Vec<LabelProblem>,
) -> Arc<[Target]> {
    let Some(value) = labels.get(LABEL_SCRAPE) else {
        return Arc::from([]);
    };
    match scrape::targets(value) {
        Ok(targets) => targets.into(),
        Err(errors) => {
            problems.extend(errors.iter().map(|error| LabelProblem {
                label: LABEL_SCRAPE.to_owned(),
                value: value.clone(),
                problem: error.to_string(),
            }));
            Arc::from([])
        }
    }
}

fn log_source(
    host: &HostConfig,
    log_path: Option<&str>,
    id: &ContainerId,
    engine_root: &str,
) -> LogSource {
    let Some(config) = &host.log_config else {
        return LogSource::Discarded;
    };
    match config.typ.as_deref() {
        Some("json-file") => {
            let expected = LogFile::expected(engine_root, id);
            LogSource::JsonFile(LogFile {
                // A container that was never started has no path yet.
                path: log_path
                    .filter(|path| !path.is_empty())
                    .map_or(expected.path, PathBuf::from),
                files_max: Some(files_max(config).unwrap_or(FILES_DEFAULT)),
                place: Place::Host,
            })
        }
        // The engine does not tell the path.
        Some("local") => LogSource::Local(LogFile {
            files_max: Some(files_max(config).unwrap_or(LOCAL_FILES_DEFAULT)),
            ..LogFile::expected_local(engine_root, id)
        }),
        Some("none" | "") | None => LogSource::Discarded,
        Some(driver) if keeps_a_copy(driver, config) => {
            let files_max = option(config, "cache-max-file").and_then(|text| text.parse().ok());
            LogSource::Local(LogFile {
                path: PathBuf::from(format!("{engine_root}/containers/{id}/{CACHE_NAME}")),
                files_max: Some(files_max.unwrap_or(LOCAL_FILES_DEFAULT)),
                place: Place::Host,
            })
        }
        Some(driver) => LogSource::Other {
            driver: driver.to_owned(),
        },
    }
}

/// Whether the engine keeps a copy of what it sends elsewhere, so that `docker logs` can show it: from 20.10 on, for all drivers
/// that cannot be read themselves, unless it is told not to.
fn keeps_a_copy(driver: &str, config: &HostConfigLogConfig) -> bool {
    driver != "journald" && option(config, "cache-disabled") != Some("true")
}

fn option<'a>(config: &'a HostConfigLogConfig, key: &str) -> Option<&'a str> {
    config.config.as_ref()?.get(key).map(String::as_str)
}

/// How many files the engine keeps, when it was told.
fn files_max(config: &HostConfigLogConfig) -> Option<usize> {
    option(config, "max-file")?.parse().ok()
}

/// Why no replica can be made of it, by the rule the actuator goes by when it acts.
fn copy_obstacles(answer: &ContainerInspectResponse) -> Vec<String> {
    let told = serde_json::to_value(answer).and_then(serde_json::from_value::<CopyTemplate>);
    match told {
        Ok(template) => template.obstacles(),
        Err(error) => vec![format!(
            "what the engine says of it cannot be read: {error}"
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a";

    fn read(answer: serde_json::Value) -> Details {
        Details::read(serde_json::from_value(answer).unwrap(), "/var/lib/docker").unwrap()
    }

    #[test]
    fn a_running_container() {
        let details = read(json!({
            "Id": ID, "Name": "/web-1", "RestartCount": 2, "Created": "2026-01-02T03:04:05.5Z",
            "LogPath": "/data/web.log",
            "State": {"Status": "running", "Pid": 42, "ExitCode": 0, "StartedAt": "2026-01-02T03:04:06.000000001Z",
                "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "healthy"}},
            "HostConfig": {"NanoCpus": 500_000_000, "Memory": 67108864, "NetworkMode": "default", "IpcMode": "private",
                "LogConfig": {"Type": "json-file", "Config": {"max-file": "3"}}, "AutoRemove": true},
            "Config": {"Image": "shop/web:7", "Labels": {"io.homeostat.service": "web", "io.homeostat.mode": "act",
                "io.homeostat.plan": "web-scale_out-5", "io.homeostat.replica-of": "abc"}},
        }));
        let record = &details.record;
        assert_eq!(
            (record.name.as_str(), record.service.as_str()),
            ("web-1", "web")
        );
        assert_eq!(record.state, ContainerState::Running);
        assert_eq!(record.health, HealthState::Healthy);
        assert_eq!(record.limits.cpu, Some(Millicores(500)));
        assert_eq!(record.limits.memory, Some(Bytes(67_108_864)));
        assert_eq!((record.finished_at, record.exit_code), (None, None));
        assert_eq!(
            record.started_at,
            Some(Timestamp::from_millis(1_767_323_046_000))
        );
        assert_eq!(record.made_by, Some(PlanId::from("web-scale_out-5")));
        assert_eq!(record.replica_of, Some(ContainerId::from("abc")));
        assert!(
            record.copy_obstacles.is_empty(),
            "{:?}",
            record.copy_obstacles
        );
        assert!(
            record.label_problems.is_empty(),
            "{:?}",
            record.label_problems
        );
        assert_eq!(details.pid, Some(42));
        assert_eq!(details.network, Network::Own);
        let log = LogFile {
            path: "/data/web.log".into(),
            files_max: Some(3),
            place: Place::Host,
        };
        assert_eq!(details.log, LogSource::JsonFile(log));
    }

    #[test]
    fn an_ended_container_has_an_exit_code_and_no_process() {
        let details = read(json!({
            "Id": ID, "Name": "/job",
            "State": {"Status": "exited", "Pid": 0, "ExitCode": 137, "StartedAt": "2026-01-02T03:04:06Z",
                "FinishedAt": "2026-01-02T03:05:06Z"},
            "HostConfig": {"CpuQuota": 150_000, "CpuPeriod": 100_000, "LogConfig": {"Type": "journald"}},
        }));
        assert_eq!(details.record.exit_code, Some(137));
        assert_eq!(details.pid, None);
        assert_eq!(details.record.limits.cpu, Some(Millicores(1500)));
        assert_eq!(
            details.log,
            LogSource::Other {
                driver: "journald".to_owned()
            }
        );
        assert_eq!(
            details.record.finished_at,
            Some(Timestamp::from_millis(1_767_323_106_000))
        );
    }

    #[test]
    fn a_container_never_started_will_log_where_the_engine_puts_it() {
        let details = read(json!({
            "Id": ID, "Name": "/new", "LogPath": "", "State": {"Status": "created"},
            "HostConfig": {"LogConfig": {"Type": "json-file"}},
        }));
        let expected = format!("/var/lib/docker/containers/{ID}/{ID}-json.log");
        let log = LogFile {
            path: expected.into(),
            files_max: Some(1),
            place: Place::Host,
        };
        assert_eq!(details.log, LogSource::JsonFile(log));
    }

    #[test]
    fn the_local_driver_writes_where_the_engine_puts_it() {
        let details = read(json!({
            "Id": ID, "Name": "/new", "LogPath": "", "State": {"Status": "running"},
            "HostConfig": {"LogConfig": {"Type": "local", "Config": {"max-file": "2"}}},
        }));
        let path = format!("/var/lib/docker/containers/{ID}/local-logs/container.log");
        let log = LogFile {
            path: path.into(),
            files_max: Some(2),
            place: Place::Host,
        };
        assert_eq!(details.log, LogSource::Local(log));
    }

    #[test]
    fn what_stands_in_the_way_of_a_copy_is_named() {
        let details = read(json!({
            "Id": ID, "Name": "/db", "State": {"Status": "running"},
            "HostConfig": {"Privileged": true, "NetworkMode": "container:abc", "PidMode": "host",
                "Devices": [{"PathOnHost": "/dev/kvm"}],
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": [{"HostPort": ""}], "82/tcp": null}},
            "Mounts": [
                {"Type": "bind", "Source": "/etc/db", "Destination": "/etc"},
                {"Type": "volume", "Name": "data", "Driver": "local", "Destination": "/data"},
                {"Type": "volume", "Name": "shared", "Driver": "nfs", "Destination": "/shared"},
                {"Type": "tmpfs", "Destination": "/tmp"}],
        }));
        assert_eq!(
            details.record.copy_obstacles,
            [
                "it is privileged",
                "it shares the network namespace of another container (container:abc)",
                "it shares the host's PID namespace",
                "it has the bind mount /etc/db",
                "it writes to a volume at /data",
                "it writes to a volume at /shared",
                "it has the host device /dev/kvm",
                "it publishes 80/tcp on the fixed host port 8080, which only one container can have: publish a range of ports, or let the engine choose",
            ]
        );
        assert_eq!(details.network, Network::Shared);
    }

    #[test]
    fn an_answer_without_a_name_is_no_container() {
        let answer = serde_json::from_value(json!({"Id": ID})).unwrap();
        assert_eq!(Details::read(answer, "/var/lib/docker"), None);
    }
}
