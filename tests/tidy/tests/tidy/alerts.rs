//! Alert rules: metrics that exist, and a runbook for each.

use std::collections::BTreeSet;

use yaml_rust2::{Yaml, YamlLoader};

use crate::metrics;
use crate::source::{all, none, read, root};

fn rules() -> Vec<Yaml> {
    let file = YamlLoader::load_from_str(&read("dashboards/alerts.yml")).unwrap();
    let groups = file[0]["groups"].as_vec().unwrap().clone();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().unwrap().clone())
        .collect()
}

#[test]
fn every_alert_is_described_and_has_a_runbook_and_a_test() {
    let tests = read("dashboards/alerts_test.yml");
    let mut complaints = Vec::new();
    let mut runbooks = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap_or("(no name)").to_owned();
        let annotations = &rule["annotations"];
        for key in ["summary", "description", "runbook"] {
            if annotations[key].as_str().is_none_or(str::is_empty) {
                complaints.push(format!("{name}: has no {key}"));
            }
        }
        if rule["labels"]["severity"].as_str().is_none() {
            complaints.push(format!("{name}: has no severity"));
        }
        let runbook = annotations["runbook"].as_str().unwrap_or_default();
        if runbook != format!("deploy/runbooks/{name}.md") || !root().join(runbook).exists() {
            complaints.push(format!(
                "{name}: runbook {runbook:?} is not deploy/runbooks/{name}.md, or is not there"
            ));
        }
        runbooks.insert(runbook.to_owned());
        if !tests.contains(&format!("alertname: {name}\n")) {
            complaints.push(format!("{name}: has no test in dashboards/alerts_test.yml"));
        }
        let query = rule["expr"].as_str().unwrap_or_default();
        complaints.extend(
            metrics::complaints(query)
                .into_iter()
                .map(|what| format!("{name}: {what}")),
        );
    }
    let orphans = all()
        .into_iter()
        .filter(|source| source.path.starts_with("deploy/runbooks/"));
    complaints.extend(
        orphans
            .filter(|source| source.path.contains("/Homeostat") && !runbooks.contains(&source.path))
            .map(|source| format!("{}: no alert leads here", source.path)),
    );
    none(&complaints);
}
