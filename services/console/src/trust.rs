//! Who may say something of a signal: whoever reaches the console, but no page of another site in their browser.
//!
//! The console has no log-in; it listens on loopback unless it is told otherwise, or stands behind a proxy that asks who is there.
//! A browser reaches loopback on behalf of any page, so what changes something asks for what such a page cannot send: a body of
//! type `application/json` (another site may send it only after a preflight request, which is never answered), a `Sec-Fetch-Site`
//! (W3C Fetch Metadata) that is not another site's, and an `Origin` (RFC 6454), where there is one, of the host that is asked.
//! A page whose name was pointed at the console (DNS rebinding) looks like its own, so a page is heard only where the host is asked
//! by address, and on loopback everybody must ask by a name of loopback. No cookie and no password is looked at, so there is none
//! to be carried along.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};

/// Where the console listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listens {
    /// On loopback alone.
    OnLoopback,
    /// Where others may come from; programs may ask by any name.
    Elsewhere,
}

impl Listens {
    pub(crate) fn at(address: SocketAddr) -> Self {
        match address.ip().is_loopback() {
            true => Listens::OnLoopback,
            false => Listens::Elsewhere,
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a request that changes something must have content-type application/json")]
    NotJson,
    #[error("a request that changes something must not come from another site's page")]
    OtherSite,
    #[error(
        "the console takes no change under this name; ask it by its address, on loopback as 127.0.0.1 or localhost"
    )]
    OtherHost,
}

impl Refused {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Refused::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::OtherSite | Refused::OtherHost => StatusCode::FORBIDDEN,
        }
    }
}

/// Looks at what a browser says of where a request comes from.
pub(crate) fn check(headers: &HeaderMap, listens: Listens) -> Result<(), Refused> {
    let sites = headers.get_all(HeaderName::from_static("sec-fetch-site"));
    if sites
        .iter()
        .any(|site| site != "same-origin" && site != "none")
    {
        return Err(Refused::OtherSite);
    }
    let host = text(headers, header::HOST).and_then(|host| host.parse::<Authority>().ok());
    if listens == Listens::OnLoopback && !host.as_ref().is_some_and(is_loopback) {
        return Err(Refused::OtherHost);
    }
    for origin in headers.get_all(header::ORIGIN) {
        let (_, asker) = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .ok_or(Refused::OtherSite)?;
        let same = |host: &Authority| host.as_str().eq_ignore_ascii_case(asker);
        if !host.as_ref().is_some_and(same) {
            return Err(Refused::OtherSite);
        }
        if !host.as_ref().is_some_and(is_address) {
            return Err(Refused::OtherHost);
        }
    }
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(Refused::NotJson),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_loopback(host: &Authority) -> bool {
    is_localhost(host) || address(host).is_some_and(|address| address.is_loopback())
}

/// Nobody can point an address, or this machine's own name, elsewhere.
fn is_address(host: &Authority) -> bool {
    is_localhost(host) || address(host).is_some()
}

fn is_localhost(host: &Authority) -> bool {
    host.host().eq_ignore_ascii_case("localhost")
}

fn address(host: &Authority) -> Option<IpAddr> {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(listens: Listens, headers: &[(&'static str, &'static str)]) -> Result<(), Refused> {
        let json = ("content-type", "application/json; charset=utf-8");
        let headers: HeaderMap = [json]
            .iter()
            .chain(headers)
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, value.parse().unwrap())
            })
            .collect();
        check(&headers, listens)
    }

    #[test]
    fn programs_on_this_machine_and_the_consoles_own_page_pass() {
        let pass = [
            vec![("host", "127.0.0.1:8600")],
            vec![("host", "localhost:8600"), ("sec-fetch-site", "none")],
            vec![
                ("host", "[::1]:8600"),
                ("origin", "http://[::1]:8600"),
                ("sec-fetch-site", "same-origin"),
            ],
        ];
        for headers in pass {
            assert_eq!(
                checked(Listens::OnLoopback, &headers),
                Ok(()),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn pages_of_other_sites_do_not() {
        let host = ("host", "127.0.0.1:8600");
        for other in [
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:8601"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let refused = checked(Listens::OnLoopback, &[host, other]);
            assert_eq!(refused, Err(Refused::OtherSite), "{other:?}");
        }
    }

    #[test]
    fn a_name_that_was_pointed_at_loopback_does_not() {
        let rebound = [
            ("host", "evil.example:8600"),
            ("origin", "http://evil.example:8600"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(
            checked(Listens::OnLoopback, &rebound),
            Err(Refused::OtherHost)
        );
        assert_eq!(checked(Listens::OnLoopback, &[]), Err(Refused::OtherHost));
        assert_eq!(
            checked(Listens::Elsewhere, &rebound),
            Err(Refused::OtherHost)
        );
        let program = ("host", "console.example:8600");
        assert_eq!(checked(Listens::Elsewhere, &[program]), Ok(()));
    }

    #[test]
    fn what_a_form_can_send_does_not() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8600".parse().unwrap());
        assert_eq!(check(&headers, Listens::OnLoopback), Err(Refused::NotJson));
        for form in ["text/plain", "application/x-www-form-urlencoded"] {
            headers.insert(header::CONTENT_TYPE, form.parse().unwrap());
            assert_eq!(check(&headers, Listens::OnLoopback), Err(Refused::NotJson));
        }
    }
}
