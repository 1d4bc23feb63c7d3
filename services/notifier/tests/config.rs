//! The shipped example loads, and mistakes in a file are told with their place.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use kit::config::{Invalid, Sources, Validate, load, under};
use notifier::{Config, Kind};
use serde::{Deserialize, Serialize};

/// The notifier's section, as it stands in the product's configuration.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Product {
    notifier: Config,
}

impl Validate for Product {
    fn problems(&self) -> Vec<Invalid> {
        under("notifier", &self.notifier)
    }
}

fn written(dir: &Path, text: &str) -> Sources {
    let file = dir.join("homeostat.toml");
    std::fs::write(&file, text).unwrap();
    Sources {
        file: Some(file),
        ..Sources::default()
    }
}

#[test]
fn the_example_is_valid() {
    let example =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/notifier.example.toml");
    let dir = tempfile::tempdir().unwrap();
    let secrets = [
        ("slack-url", "https://hooks.slack.com/services/T0/B0/x\n"),
        ("pagerduty-key", "0123456789abcdef0123456789abcdef\n"),
        ("webhook-secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
    ];
    for (name, secret) in secrets {
        std::fs::write(dir.path().join(name), secret).unwrap();
    }
    let place = format!("{}/", dir.path().display());
    let text = std::fs::read_to_string(example)
        .unwrap()
        .replace("/run/secrets/", &place);
    let loaded = load::<Product>(&written(dir.path(), &text));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let sinks = &loaded.value.notifier.sinks;
    let kinds: Vec<_> = sinks
        .iter()
        .map(|(name, sink)| (name.as_str(), sink.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("duty", Kind::PagerDuty),
            ("ours", Kind::Webhook),
            ("team", Kind::Slack)
        ]
    );
    let shown = format!("{:?}", loaded.show());
    assert!(
        !shown.contains("T0/B0") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let text = "\
[notifier.sinks.team]
kind = \"slack\"
min_severety = \"critical\"

[notifier.sinks.duty]
kind = \"pagerdutty\"

[notifier.sinks.ours]
kind = \"webhook\"
endpoint = \"http://alerts.example.com\"
";
    let problems = load::<Product>(&written(dir.path(), text))
        .unwrap_err()
        .to_string();
    for part in [
        "homeostat.toml:3:",
        "min_severity",
        "homeostat.toml:6:",
        "pagerduty",
    ] {
        assert!(problems.contains(part), "no {part:?} in\n{problems}");
    }
}

#[test]
fn an_address_may_come_from_the_environment() {
    let env = vec![
        (
            "HOMEOSTAT__NOTIFIER__SINKS__TEAM__KIND".to_owned(),
            "slack".to_owned(),
        ),
        (
            "HOMEOSTAT__NOTIFIER__SINKS__TEAM__URL".to_owned(),
            "https://hooks.slack.com/services/T0/B0/x".to_owned(),
        ),
    ];
    let loaded = load::<Product>(&Sources {
        env,
        ..Sources::default()
    });
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.value.notifier.sinks["team"].kind, Kind::Slack);
}
