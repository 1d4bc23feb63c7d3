//! Under what a host is reached.

use std::net::IpAddr;

/// Bytes of a host's name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Whether a host can be reached under this: an IP address that is one host's, or a host name. Without a port or anything else.
pub fn is_host(text: &str) -> bool {
    if let Ok(address) = text.parse::<IpAddr>() {
        return !address.is_unspecified();
    }
    let is_part = |part: &str| {
        let inner = part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        !part.is_empty() && inner
    };
    text.len() <= NAME_BYTES_MAX && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_ip_address_or_a_host_name() {
        for right in [
            "10.0.0.7",
            "fd00::7",
            "127.0.0.1",
            "node-a",
            "a_b.example.org",
        ] {
            assert!(is_host(right), "{right}");
        }
        for wrong in [
            "",
            "0.0.0.0",
            "::",
            "10.0.0.7:80",
            "[fd00::7]",
            "a..b",
            "a b",
            "http://a",
        ] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }
}
