//! The collector's configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::config::{HumanDuration, Invalid, Validate, is_host, under};
use serde::{Deserialize, Serialize};
use units::{NodeFacts, NodeId};

use crate::logs::{LogConfig, SpoolConfig};
use crate::sources::{Haproxy, HostSeries, Layers, Scrape, Sockets};

const DOCKER_DEFAULT: &str = "unix:///var/run/docker.sock";
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Labels of a node that are told; they travel with every inventory.
pub(crate) const NODE_LABELS_MAX: usize = 64;
/// Bytes of a zone's name, a label or its value.
const FACT_BYTES_MAX: usize = 253;
/// No node costs more times an ordinary one.
const COST_MAX: f64 = 1_000.0;

/// Section `[collector]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this node, in every record. Absent: the host name. Give the actuator the same.
    pub node: Option<String>,
    /// The zone this node is in: nodes of one zone fail together. Absent: not known.
    pub zone: Option<String>,
    /// What this node costs, where an ordinary one costs 1. Absent: as an ordinary one.
    pub cost: Option<f64>,
    /// Address or host name under which others reach the ports that containers publish here. Absent: not known, and only containers' own
    /// addresses are told.
    pub address: Option<String>,
    /// Labels of this node, beside those its engine was given.
    pub labels: BTreeMap<String, String>,
    /// The engine: `unix://` and a path. Absent: `DOCKER_HOST`, else `unix:///var/run/docker.sock`.
    pub docker: Option<String>,
    /// Time between two samples of a container, 100 ms to 1 min.
    pub interval: HumanDuration,
    /// Time between two inventories when nothing changes, 100 ms to 1 min; others take several missing ones as a lost node.
    pub inventory_interval: HumanDuration,
    /// Directory of what has to survive: positions in container logs, and lines that wait for the log. Absent: memory only;
    /// lines written while the collector is down are not read, and reading stops while the log is away.
    pub state_dir: Option<PathBuf>,
    /// Whether container logs are read.
    pub logs: Logs,
    /// TCP connections of containers: how often they are read, and whether.
    pub sockets: Sockets,
    /// Sizes of writable layers. The engine walks the files for each, so this is slow on purpose.
    pub layers: Layers,
    /// The node itself.
    pub host: HostSeries,
    /// Pages of metrics that applications serve.
    pub scrape: Scrape,
    /// What HAProxy tells of containers that it balances.
    pub haproxy: Haproxy,
    /// What is done to log lines.
    pub log: LogConfig,
    /// What waits on disk while the log is away.
    pub spool: SpoolConfig,
    /// Where the host's `/proc`, `/sys` and the engine's data are, when this runs in a container. Absent: `HOST_ROOT`, else `/`.
    pub host_root: Option<PathBuf>,
}

/// Whether container logs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logs {
    /// They are.
    On,
    /// They are not.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            node: None,
            zone: None,
            cost: None,
            address: None,
            labels: BTreeMap::new(),
            docker: None,
            interval: HumanDuration::from_secs(1),
            inventory_interval: HumanDuration::from_secs(2),
            state_dir: None,
            logs: Logs::On,
            sockets: Sockets::default(),
            layers: Layers::default(),
            host: HostSeries::default(),
            scrape: Scrape::default(),
            haproxy: Haproxy::default(),
            log: LogConfig::default(),
            spool: SpoolConfig::default(),
            host_root: None,
        }
    }
}

impl Config {
    /// The node's name: the configured one, else the host's.
    pub(crate) fn node_id(&self) -> std::io::Result<NodeId> {
        if let Some(name) = &self.node {
            return Ok(NodeId::from(name.as_str()));
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
        Ok(NodeId::from(name.trim()))
    }

    /// What is configured of the node. Its architecture is the engine's to say.
    pub(crate) fn facts(&self) -> NodeFacts {
        NodeFacts {
            zone: self.zone.clone(),
            cost: self.cost,
            address: self.address.clone(),
            labels: self.labels.clone(),
            architecture: None,
        }
    }

    /// The engine's address.
    pub(crate) fn docker_address(&self) -> String {
        let from_environment = || {
            std::env::var("DOCKER_HOST")
                .ok()
                .filter(|it| !it.is_empty())
        };
        self.docker
            .clone()
            .or_else(from_environment)
            .unwrap_or_else(|| DOCKER_DEFAULT.to_owned())
    }

    /// Where the host's files are.
    pub(crate) fn host_root(&self) -> PathBuf {
        let from_environment = || std::env::var_os("HOST_ROOT").filter(|it| !it.is_empty());
        self.host_root
            .clone()
            .or_else(|| from_environment().map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/"))
    }
}

impl Config {
    fn fact_problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        if self.zone.as_deref().is_some_and(is_no_name) {
            problems.push(
                Invalid::new("zone", "the zone's name is empty or too long")
                    .suggest("write a word such as a, or leave it out where there is no zone"),
            );
        }
        if let Some(cost) = self.cost
            && !(0.0..=COST_MAX).contains(&cost)
        {
            problems.push(
                Invalid::new("cost", format!("{cost} is no cost of a node"))
                    .suggest("write how many times an ordinary node's, from 0 to 1000"),
            );
        }
        if self.address.as_deref().is_some_and(|it| !is_host(it)) {
            problems.push(
                Invalid::new("address", "it is no address and no host name")
                    .suggest("write such as 10.0.0.7 or node-a.example.org, without a port"),
            );
        }
        if self.labels.len() > NODE_LABELS_MAX {
            let message = format!("{} labels are too many", self.labels.len());
            let most = format!("keep to {NODE_LABELS_MAX}");
            problems.push(Invalid::new("labels", message).suggest(most));
        }
        let wrong = |it: &(&String, &String)| is_no_name(it.0) || it.1.len() > FACT_BYTES_MAX;
        for (key, value) in self.labels.iter().filter(wrong) {
            let message = format!("{key:?} = {value:?} is no label");
            problems
                .push(Invalid::new("labels", message).suggest(
                    "write a name and a value of at most 253 bytes, as in disk = \"ssd\"",
                ));
        }
        problems
    }
}

fn is_no_name(text: &str) -> bool {
    text.trim().is_empty() || text.len() > FACT_BYTES_MAX
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        if self
            .node
            .as_deref()
            .is_some_and(|name| name.trim().is_empty())
        {
            problems.push(
                Invalid::new("node", "the node's name is empty")
                    .suggest("leave it out to use the host name"),
            );
        }
        problems.extend(self.fact_problems());
        if let Some(address) = &self.docker
            && !address.starts_with("unix://")
        {
            // The cgroup files are read on this host, so an engine elsewhere could not be sampled.
            let message = format!("{address:?} is no address of this host's engine");
            problems
                .push(Invalid::new("docker", message).suggest("write unix:///var/run/docker.sock"));
        }
        let intervals = [
            ("interval", self.interval),
            ("inventory_interval", self.inventory_interval),
        ];
        for (key, interval) in intervals {
            if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval.get()) {
                problems.push(
                    Invalid::new(key, format!("{interval} is too short or too long"))
                        .suggest("write a duration from 100ms to 1m, such as 1s"),
                );
            }
        }
        problems.extend(self.sockets.problem("sockets"));
        problems.extend(self.layers.problem("layers"));
        problems.extend(self.host.problem("host"));
        problems.extend(self.scrape.problems());
        problems.extend(self.haproxy.problems());
        if self.host_root.as_deref().is_some_and(Path::is_relative) {
            problems.push(
                Invalid::new("host_root", "the path is relative")
                    .suggest("write where the host's root is mounted, such as /host"),
            );
        }
        problems.extend(under("log", &self.log));
        problems.extend(under("spool", &self.spool));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        let config = Config::default();
        assert!(config.problems().is_empty());
        assert!(!config.node_id().unwrap().as_str().is_empty());
    }

    #[test]
    fn each_mistake_is_named_with_its_key() {
        let config = Config {
            node: Some(" ".to_owned()),
            zone: Some(String::new()),
            cost: Some(f64::NAN),
            address: Some("http://node-a".to_owned()),
            labels: [(" ".to_owned(), "ssd".to_owned())].into(),
            docker: Some("tcp://10.0.0.1:2375".to_owned()),
            interval: HumanDuration::from_millis(1),
            inventory_interval: HumanDuration::from_secs(3600),
            host_root: Some("host".into()),
            ..Config::default()
        };
        let keys: Vec<_> = config.problems().into_iter().map(|it| it.key).collect();
        assert_eq!(
            keys,
            [
                "node",
                "zone",
                "cost",
                "address",
                "labels",
                "docker",
                "interval",
                "inventory_interval",
                "host_root"
            ]
        );
    }
}
