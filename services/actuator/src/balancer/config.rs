//! The balancers' part of the configuration.

use std::net::IpAddr;
use std::time::Duration;

use kit::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};

use super::socket::Socket;

/// More balancers than anybody keeps before one service.
const SOCKETS_MAX: usize = 16;
const DRAIN_DEFAULT: HumanDuration = HumanDuration::from_secs(30);
/// Longer than any command is given.
const DRAIN_MAX: Duration = Duration::from_secs(15 * 60);
/// A server is admitted after two good checks in a row and given up after three bad ones.
const OPTIONS_DEFAULT: &str = "inter 1s rise 2 fall 3";

/// Section `[actuator.haproxy]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Haproxy {
    /// The admin sockets of the balancers, `unix://` and a path or `tcp://` and an address; all are kept in step. None: no balancer
    /// is touched.
    pub sockets: Vec<String>,
    /// This node as the balancers reach it: containers are reached at their published ports there. Absent: at their own addresses,
    /// for balancers on this host.
    pub address: Option<IpAddr>,
    /// How long the requests under way in a container may take to end before it is stopped all the same.
    pub drain_timeout: HumanDuration,
    /// What is written behind `check` for each server, as in haproxy.cfg: servers that are added at run time take nothing from
    /// `default-server`.
    pub server_options: String,
}

impl Default for Haproxy {
    fn default() -> Self {
        Haproxy {
            sockets: Vec::new(),
            address: None,
            drain_timeout: DRAIN_DEFAULT,
            server_options: OPTIONS_DEFAULT.to_owned(),
        }
    }
}

impl Validate for Haproxy {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: String, suggestion: &str| {
            problems.push(Invalid {
                key: key.to_owned(),
                message,
                suggestion: suggestion.to_owned(),
            });
        };
        for socket in &self.sockets {
            if Socket::parse(socket).is_none() {
                problem(
                    "sockets",
                    format!("{socket:?} is no address of an admin socket"),
                    "write unix:///run/haproxy/admin.sock or tcp://127.0.0.1:9999, as `stats socket` in haproxy.cfg says",
                );
            }
        }
        if self.sockets.len() > SOCKETS_MAX {
            problem(
                "sockets",
                format!("{} balancers are too many", self.sockets.len()),
                "write at most 16",
            );
        }
        if self.address.is_some_and(|address| address.is_unspecified()) {
            problem(
                "address",
                "the balancers cannot reach this node there".to_owned(),
                "write the address they reach this node at, such as 10.0.0.5",
            );
        }
        if self.drain_timeout.get() > DRAIN_MAX {
            problem(
                "drain_timeout",
                format!("{} is longer than any command has", self.drain_timeout),
                "write at most 15m",
            );
        }
        // It becomes part of a command.
        let is_part = |it: char| it.is_ascii_alphanumeric() || " -_.,:/()@%".contains(it);
        if !self.server_options.chars().all(is_part) {
            problem(
                "server_options",
                format!(
                    "{:?} is nothing to write behind a server",
                    self.server_options
                ),
                "write words as on a server's line in haproxy.cfg, such as inter 1s rise 2 fall 3",
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named_with_its_key() {
        assert!(Haproxy::default().problems().is_empty());
        let config = Haproxy {
            sockets: vec![
                "unix:///run/haproxy/admin.sock".to_owned(),
                "tcp://127.0.0.1:9999".to_owned(),
                "/run/haproxy/admin.sock".to_owned(),
            ],
            address: Some(IpAddr::from([0, 0, 0, 0])),
            drain_timeout: HumanDuration::from_secs(3600),
            server_options: "inter 1s; disable frontend www".to_owned(),
        };
        let keys: Vec<_> = config.problems().into_iter().map(|it| it.key).collect();
        let expected = ["sockets", "address", "drain_timeout", "server_options"];
        assert_eq!(keys, expected);
    }
}
