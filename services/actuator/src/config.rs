//! The actuator's configuration.

use std::path::PathBuf;
use std::time::Duration;

use kit::config::{HumanDuration, Invalid, Validate, under};
use serde::{Deserialize, Serialize};
use units::{Mode, NodeId};

use crate::balancer::Haproxy;
use crate::images::Images;
use crate::names::Dns;
use crate::seal::MoveKey;

/// Where the engine listens unless told otherwise.
const DOCKER_DEFAULT: &str = "unix:///var/run/docker.sock";
/// Commands carried out at once. Beyond four, starting containers hardly gets faster on one engine.
const PARALLEL_DEFAULT: usize = 4;
/// More would only queue inside the engine.
const PARALLEL_MAX: usize = 32;
/// Four heartbeats. Shorter than most outages people notice, longer than a broker takes to answer on a busy day.
const LEASE_DEFAULT: HumanDuration = HumanDuration::from_secs(6);
/// A broker that hesitates must not stop a service.
const LEASE_MIN: Duration = Duration::from_secs(3);
/// Whoever waits longer for a lost node has people do it.
const LEASE_MAX: Duration = Duration::from_secs(60);
/// The host's own name, used when none is given.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

/// Section `[actuator]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this node; commands for others are left alone. Absent: the host name. Give the collector the same.
    pub node: Option<String>,
    /// The engine: `unix://` and a path, or `tcp://` and an address. Absent: `DOCKER_HOST`, else
    /// `unix:///var/run/docker.sock`.
    pub docker: Option<String>,
    /// Directory of the ledger, which is what makes a command run at most once across restarts. Absent: memory only.
    pub state_dir: Option<PathBuf>,
    /// The ceiling: whatever labels say, nothing beyond this mode is done. Only `act` lets anything happen.
    pub max_mode: Mode,
    /// Commands carried out at once, 1 to 32; those for the same container always wait for each other.
    pub parallel: usize,
    /// Credentials for the registries that images of updates are pulled from: a `config.json` as `docker login` writes it, with
    /// `auths`; credential helpers are not run. Read at each pull. Absent: what everybody may pull.
    pub registry_auth_file: Option<PathBuf>,
    /// The key that seals what moves between nodes, the same on every node: a file of 32 bytes as 64 hex digits or base64, for its
    /// owner's eyes alone. Absent: no container goes from or to this node.
    pub move_key_file: Option<PathBuf>,
    /// How long after the last heartbeat that the log acknowledged was sent this node may run what no two nodes may run at once
    /// (`io.homeostat.singleton`), 3 s to 60 s. Means something where a key for moves is given and `max_mode` is `act`: otherwise this
    /// node takes no part in failover.
    pub lease: HumanDuration,
    /// The load balancers before this node's containers.
    pub haproxy: Haproxy,
    /// The names of containers in their networks.
    pub dns: Dns,
    /// Images of containers that move, for the nodes they move to.
    pub images: Images,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            node: None,
            docker: None,
            state_dir: None,
            max_mode: Mode::Observe,
            parallel: PARALLEL_DEFAULT,
            registry_auth_file: None,
            move_key_file: None,
            lease: LEASE_DEFAULT,
            haproxy: Haproxy::default(),
            dns: Dns::default(),
            images: Images::default(),
        }
    }
}

impl Config {
    /// The node's name: the configured one, else the host's.
    pub(crate) fn node_id(&self) -> std::io::Result<NodeId> {
        match &self.node {
            Some(name) => Ok(NodeId::from(name.as_str())),
            None => {
                let name = std::fs::read_to_string(HOST_NAME_FILE)?;
                Ok(NodeId::from(name.trim()))
            }
        }
    }

    /// The engine's address.
    pub(crate) fn docker_address(&self) -> String {
        let from_environment = || {
            std::env::var("DOCKER_HOST")
                .ok()
                .filter(|it| !it.is_empty())
        };
        let configured = self.docker.clone().or_else(from_environment);
        configured.unwrap_or_else(|| DOCKER_DEFAULT.to_owned())
    }

    /// Concurrency within its bounds, also for a configuration nobody validated.
    pub(crate) fn parallel(&self) -> usize {
        self.parallel.clamp(1, PARALLEL_MAX)
    }

    /// Images that nobody could ask for.
    fn given_to_nobody(&self) -> Option<Invalid> {
        let is_it = self.images.listen.is_some() && self.move_key_file.is_none();
        is_it.then(|| {
            Invalid::new(
                "images.listen",
                "images are given to who has the key for moves, and there is none",
            )
            .suggest("set actuator.move_key_file, to the same key on every node")
        })
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: String, suggestion: &str| {
            problems.push(Invalid {
                key: key.to_owned(),
                message,
                suggestion: suggestion.to_owned(),
            });
        };
        if self
            .node
            .as_deref()
            .is_some_and(|name| name.trim().is_empty())
        {
            problem(
                "node",
                "the node's name is empty".to_owned(),
                "leave it out to use the host name",
            );
        }
        let known = ["unix://", "tcp://", "http://"];
        if let Some(address) = &self.docker
            && !known.iter().any(|scheme| address.starts_with(scheme))
        {
            problem(
                "docker",
                format!("{address:?} is no address of an engine"),
                "write unix:///var/run/docker.sock",
            );
        }
        let auth_file = self.registry_auth_file.as_deref();
        if auth_file.is_some_and(|path| !path.is_absolute()) {
            problem(
                "registry_auth_file",
                "the file of credentials is not named from the root".to_owned(),
                "write /root/.docker/config.json",
            );
        }
        let key = self.move_key_file.as_deref().map(MoveKey::read);
        if let Some(Err(error)) = key {
            problem(
                "move_key_file",
                error.to_string(),
                "make one with `openssl rand -hex 32`, readable by its owner alone, and copy it to every node",
            );
        }
        if !(1..=PARALLEL_MAX).contains(&self.parallel) {
            problem(
                "parallel",
                format!("{} commands at once is not possible", self.parallel),
                "write a number from 1 to 32",
            );
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&self.lease.get()) {
            problem(
                "lease",
                format!(
                    "{} is no time to wait for the log before singletons are stopped",
                    self.lease
                ),
                "write a duration from 3s to 60s, the same on every node",
            );
        }
        problems.extend(under("haproxy", &self.haproxy));
        problems.extend(under("dns", &self.dns));
        problems.extend(under("images", &self.images));
        problems.extend(self.given_to_nobody());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_allows_nothing() {
        let config = Config::default();
        assert!(config.problems().is_empty());
        assert_eq!(config.max_mode, Mode::Observe);
        assert!(!config.node_id().unwrap().as_str().is_empty());
    }

    #[test]
    fn each_mistake_is_named_with_its_key() {
        let config = Config {
            node: Some(" ".to_owned()),
            docker: Some("/var/run/docker.sock".to_owned()),
            parallel: 0,
            registry_auth_file: Some("config.json".into()),
            move_key_file: Some("/nowhere/move.key".into()),
            lease: HumanDuration::from_millis(2_999),
            images: Images {
                listen: None,
                address: Some("0.0.0.0".to_owned()),
            },
            ..Config::default()
        };
        let keys: Vec<_> = config.problems().into_iter().map(|it| it.key).collect();
        assert_eq!(
            keys,
            [
                "node",
                "docker",
                "registry_auth_file",
                "move_key_file",
                "parallel",
                "lease",
                "images.address"
            ]
        );
        let mut config = Config::default();
        config.images.listen = Some(([0, 0, 0, 0], 8475).into());
        let problem = config.problems().pop().unwrap();
        assert_eq!(problem.key, "images.listen");
    }

    #[test]
    fn a_lease_has_its_bounds() {
        let problems = |lease: HumanDuration| {
            let config = Config {
                lease,
                ..Config::default()
            };
            config.problems().len()
        };
        for lease in [3, 6, 60] {
            assert_eq!(problems(HumanDuration::from_secs(lease)), 0);
        }
        for lease in [0, 2, 61] {
            assert_eq!(problems(HumanDuration::from_secs(lease)), 1);
        }
    }
}
