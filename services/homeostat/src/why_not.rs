//! `homeostat why-not`: why nothing more is done about a service.

use control::Reason;

use crate::ask::{get, show};
use crate::cli::Ask;
use crate::exit::Failure;

/// Asks the console for the reasons and lists them, those that hold for every action first.
pub(crate) fn why_not(ask: &Ask, service: &str) -> Result<(), Failure> {
    let reasons: Vec<Reason> = get(ask, &format!("services/{}/why-not", escaped(service)))?;
    show(ask, &reasons, |reasons| shown(service, reasons))
}

fn shown(service: &str, reasons: &[Reason]) -> String {
    if reasons.is_empty() {
        return format!("nothing stands in the way: something is about to be done about {service}");
    }
    let mut lines = Vec::new();
    let mut heading = None;
    for reason in reasons {
        let action = reason.action.map_or("any action", |action| action.as_str());
        if heading != Some(action) {
            heading = Some(action);
            lines.push(format!("no {}:", action.trim_start_matches("any ")));
        }
        let container = reason.container.as_ref();
        let container = container.map_or_else(String::new, |name| format!("{name}: "));
        let until = reason.until;
        let until = until.map_or_else(String::new, |until| format!(" (until {until})"));
        lines.push(format!("  {container}{}{until}", reason.text));
    }
    lines.join("\n")
}

/// Everything but letters, digits and `-._~` as `%XX`, so that a name such as `shop/web` is one part of a path or query (RFC 3986, 2.1).
pub(crate) fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use units::{ActionKind, ContainerName, Timestamp};

    use super::*;

    #[test]
    fn reasons_are_listed_under_the_action_they_hold_back() {
        let reasons = [
            Reason {
                action: None,
                container: None,
                text: "the breaker is open".to_owned(),
                until: Some(Timestamp::from_millis(1_000)),
            },
            Reason {
                action: Some(ActionKind::Restart),
                container: Some(ContainerName::from("web-1")),
                text: "it heals by itself".to_owned(),
                until: None,
            },
        ];
        assert_eq!(
            shown("web", &reasons),
            "no action:\n  the breaker is open (until 1970-01-01T00:00:01.000Z)\nno restart:\n  web-1: it heals by itself"
        );
        assert!(shown("web", &[]).contains("about to be done"));
    }

    #[test]
    fn a_name_with_a_slash_stays_one_part_of_the_path() {
        assert_eq!(escaped("shop/web 1"), "shop%2Fweb%201");
    }
}
