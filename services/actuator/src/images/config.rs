//! The part of the configuration about images for other nodes.

use std::net::SocketAddr;

use kit::config::{Invalid, Validate, is_host};
use serde::{Deserialize, Serialize};

/// Section `[actuator.images]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// Where images of containers that move are given to the nodes they move to, such as `0.0.0.0:8475`. Absent: none are, and such a
    /// node gets its image from a registry, or has it.
    pub listen: Option<SocketAddr>,
    /// Address or host name under which other nodes reach that. Absent: `collector.address`, else `actuator.haproxy.address`, else the
    /// address it listens at.
    pub address: Option<String>,
}

impl Validate for Images {
    fn problems(&self) -> Vec<Invalid> {
        let is_wrong = self.address.as_deref().is_some_and(|it| !is_host(it));
        let problem = is_wrong.then(|| {
            Invalid::new("address", "other nodes cannot reach this one there")
                .suggest("write such as 10.0.0.7 or node-a.example.org, without a port")
        });
        problem.into_iter().collect()
    }
}
