//! Which backend of a load balancer a container serves, read from a label such as `web` or `web:8080`.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// Longer names are none that anybody wrote by hand.
const NAME_MAX: usize = 128;

/// A backend in the configuration of HAProxy, and the container's port that its servers are reached at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaproxyBackend {
    /// Its name there: letters, digits, `-`, `_` and `.`.
    pub backend: String,
    /// The port inside the container. Absent: the only one it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
}

/// Reads the label's value; what is wrong with it, and what to write, otherwise. The name becomes part of commands to the balancer, so
/// it holds nothing that would end one.
pub(crate) fn parse(text: &str) -> Result<HaproxyBackend, &'static str> {
    const HELP: &str =
        "write the name of a backend in haproxy.cfg and the container's port as web:8080, or web";
    let (backend, port) = match text.split_once(':') {
        Some((backend, port)) => (backend, Some(port.parse().map_err(|_| HELP)?)),
        None => (text, None),
    };
    let is_part = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    match !backend.is_empty() && backend.len() <= NAME_MAX && backend.chars().all(is_part) {
        true => Ok(HaproxyBackend {
            backend: backend.to_owned(),
            port,
        }),
        false => Err(HELP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_name_with_or_without_a_port() {
        let read = |text| parse(text).map(|it| (it.backend, it.port.map(NonZeroU16::get)));
        assert_eq!(read("web"), Ok(("web".to_owned(), None)));
        assert_eq!(
            read("be_web.1:8080"),
            Ok(("be_web.1".to_owned(), Some(8080)))
        );
        let long = "w".repeat(NAME_MAX + 1);
        for wrong in [
            "",
            ":80",
            "web:",
            "web:0",
            "web:70000",
            "web:http",
            "we b",
            "web;x",
            "web/x",
            "web\nx",
            "web:80:1",
            &long,
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
