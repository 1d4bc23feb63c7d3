//! The dashboards, by the rules of grafana/dashboard-linter: what a panel has to say, and what its queries have to hold.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics;
use crate::source::{all, none, read};

const UNITS: [&str; 8] = [
    "short",
    "none",
    "s",
    "bytes",
    "percentunit",
    "cps",
    "reqps",
    "Bps",
];
const GRID_WIDTH: i64 = 24;

fn dashboards() -> Vec<(String, Value)> {
    let sources = all();
    let found = sources
        .into_iter()
        .filter(|source| source.path.starts_with("dashboards/") && source.path.ends_with(".json"));
    found
        .map(|source| (source.path, serde_json::from_str(&source.text).unwrap()))
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().into_iter().flatten()
}

#[test]
fn dashboards_are_complete() {
    let dashboards = dashboards();
    assert!(!dashboards.is_empty());
    let mut complaints = Vec::new();
    for (path, dashboard) in &dashboards {
        let mut say = |what: String| complaints.push(format!("{path}: {what}"));
        if dashboard["schemaVersion"].as_i64() < Some(41) {
            say("schemaVersion is below 41".to_owned());
        }
        if text(dashboard, "uid").is_empty() || text(dashboard, "uid").len() > 40 {
            say("needs a stable uid of at most 40 characters".to_owned());
        }
        if !dashboard["id"].is_null() || dashboard["editable"] != false {
            say("id has to be null and editable false: it is provisioned".to_owned());
        }
        let variables = dashboard["templating"]["list"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let named = |name: &str| variables.iter().any(|variable| variable["name"] == name);
        for name in ["datasource", "job", "instance"] {
            if !named(name) {
                say(format!("has no variable {name}"));
            }
        }
        for variable in variables
            .iter()
            .filter(|variable| variable["type"] == "query")
        {
            let right = variable["refresh"] == 2
                && variable["multi"] == true
                && variable["allValue"] == ".+"
                && variable["datasource"]["uid"] == "${datasource}";
            if !right {
                say(format!(
                    "variable {} needs refresh 2, multi, allValue .+ and $datasource",
                    variable["name"]
                ));
            }
        }
        let ids: BTreeSet<_> = panels(dashboard)
            .filter_map(|panel| panel["id"].as_i64())
            .collect();
        if ids.len() != panels(dashboard).count() {
            say("two panels have one id".to_owned());
        }
    }
    none(&complaints);
}

#[test]
fn panels_say_what_they_show_and_query_what_there_is() {
    let mut complaints = Vec::new();
    for (path, dashboard) in dashboards() {
        for panel in panels(&dashboard).filter(|panel| panel["type"] != "row") {
            let found = panel_complaints(panel);
            let title = text(panel, "title");
            complaints.extend(
                found
                    .into_iter()
                    .map(|what| format!("{path}: {title:?}: {what}")),
            );
        }
    }
    none(&complaints);
}

fn panel_complaints(panel: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if text(panel, "title").is_empty() || text(panel, "description").len() < 10 {
        found.push("needs a title and a description".to_owned());
    }
    let unit = panel["fieldConfig"]["defaults"]["unit"]
        .as_str()
        .unwrap_or_default();
    if !UNITS.contains(&unit) {
        found.push(format!("unit {unit:?} is none of {UNITS:?}"));
    }
    if panel["datasource"]["uid"] != "${datasource}" {
        found.push("does not use the templated data source".to_owned());
    }
    let place = &panel["gridPos"];
    let right = place["x"].as_i64().unwrap_or(0) + place["w"].as_i64().unwrap_or(99);
    if right > GRID_WIDTH {
        found.push("does not fit the grid".to_owned());
    }
    let targets = panel["targets"].as_array().cloned().unwrap_or_default();
    if targets.is_empty() {
        found.push("has no query".to_owned());
    }
    for target in &targets {
        let query = text(target, "expr");
        found.extend(metrics::complaints(query));
        found.extend(selector_complaints(query));
    }
    found
}

fn selector_complaints(query: &str) -> Vec<String> {
    let mut found = Vec::new();
    for selector in query.split('{').skip(1) {
        let selector = selector.split('}').next().unwrap_or_default();
        if !selector.contains("job=~\"$job\"") || !selector.contains("instance=~\"$instance\"") {
            found.push(format!(
                "{{{selector}}} lacks job=~\"$job\" or instance=~\"$instance\""
            ));
        }
    }
    for range in query.split('[').skip(1) {
        let range = range.split(']').next().unwrap_or_default();
        if range != "$__rate_interval" {
            found.push(format!("[{range}] is not [$__rate_interval]"));
        }
    }
    found
}

#[test]
fn the_readme_lists_every_panel() {
    let readme = read("dashboards/README.md");
    let mut complaints = Vec::new();
    for (path, dashboard) in dashboards() {
        for panel in panels(&dashboard).filter(|panel| panel["type"] != "row") {
            let title = text(panel, "title");
            let row = format!("| {title} | {} |", text(panel, "description"));
            if !readme.contains(&row) {
                complaints.push(format!(
                    "dashboards/README.md lacks panel {title:?} of {path}, or describes another"
                ));
            }
        }
    }
    none(&complaints);
}
