//! The console's configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kit::config::{Invalid, Validate};
use serde::{Deserialize, Serialize};

/// Port the console listens on unless told otherwise; the command line asks there.
const PORT_DEFAULT: u16 = 8600;

/// Section `[console]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on. The console has no log-in: keep it on loopback, or behind a proxy that asks who is there.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        Vec::new()
    }
}
