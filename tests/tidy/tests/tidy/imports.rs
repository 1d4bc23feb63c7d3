//! Who imports whom.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::source::{none, read};

const MODELS_MAY: &[&str] = &["units"];
const WIRE_MAY: &[&str] = &["units", "bus"];
const ROLES: [&str; 6] = [
    "collector",
    "analytics",
    "controller",
    "actuator",
    "notifier",
    "console",
];

struct Member {
    folder: String,
    manifest: Table,
}

impl Member {
    fn names(&self, section: &str) -> Vec<String> {
        let table = self.manifest.get(section).and_then(Value::as_table);
        table.into_iter().flat_map(Table::keys).cloned().collect()
    }
}

/// By package name.
fn members() -> BTreeMap<String, Member> {
    let workspace: Table = read("Cargo.toml").parse().unwrap();
    let folders = workspace["workspace"]["members"].as_array().unwrap();
    folders
        .iter()
        .map(|folder| {
            let folder = folder.as_str().unwrap().to_owned();
            let manifest: Table = read(&format!("{folder}/Cargo.toml")).parse().unwrap();
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            (name, Member { folder, manifest })
        })
        .collect()
}

/// Which of our crates a crate may import; all of them where it is not said.
fn may_import(name: &str, member: &Member, models: &[String]) -> Option<Vec<String>> {
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    if member.folder.starts_with("models/") {
        return Some(if name == "units" {
            Vec::new()
        } else {
            owned(MODELS_MAY)
        });
    }
    match name {
        "bus" | "spool" => Some(Vec::new()),
        "formats" => Some(owned(MODELS_MAY)),
        "collector" => Some([models, &owned(&["wire", "bus", "kit", "formats", "spool"])].concat()),
        "actuator" => Some([models, &owned(&["wire", "bus", "kit", "formats"])].concat()),
        "wire" | "kit" => Some(owned(WIRE_MAY)),
        role if ROLES.contains(&role) => Some([models, &owned(&["wire", "bus", "kit"])].concat()),
        _ => None,
    }
}

#[test]
fn imports_point_one_way() {
    let members = members();
    let models: Vec<_> = members
        .iter()
        .filter(|(_, member)| member.folder.starts_with("models/"))
        .map(|(name, _)| name.clone())
        .collect();
    let mut complaints = Vec::new();
    for (name, member) in &members {
        let Some(allowed) = may_import(name, member, &models) else {
            continue;
        };
        for section in ["dependencies", "build-dependencies"] {
            for dependency in member.names(section) {
                if members.contains_key(&dependency) && !allowed.contains(&dependency) {
                    complaints.push(format!(
                        "{}/Cargo.toml: {name} must not import {dependency}",
                        member.folder
                    ));
                }
            }
        }
        for dependency in member.names("dev-dependencies") {
            if ROLES.contains(&dependency.as_str()) && dependency != *name {
                complaints.push(format!(
                    "{}/Cargo.toml: {name} must not import {dependency}",
                    member.folder
                ));
            }
        }
    }
    none(&complaints);
}

#[test]
fn only_the_bus_names_kafka_and_only_those_at_the_engine_name_docker() {
    let mut complaints = Vec::new();
    for (name, member) in members() {
        let tests = member.folder.starts_with("tests/");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for dependency in member.names(section) {
                let allowed = match dependency.as_str() {
                    "rdkafka" => name == "bus",
                    "bollard" => tests || ["collector", "actuator"].contains(&name.as_str()),
                    _ => true,
                };
                if !allowed {
                    complaints.push(format!(
                        "{}/Cargo.toml: {name} must not name {dependency}",
                        member.folder
                    ));
                }
            }
        }
    }
    none(&complaints);
}

/// Clippy enforces what the file says; this sees to it that the file says it, and that every model is under it.
#[test]
fn models_are_kept_from_clocks_files_sockets_and_the_environment() {
    let rules: Table = read("models/clippy.toml").parse().unwrap();
    let banned: Vec<_> = rules["disallowed-methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["path"].as_str().unwrap().to_owned())
        .collect();
    let mut complaints = Vec::new();
    for path in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::env::var",
        "std::fs::read",
        "std::fs::read_to_string",
        "std::fs::write",
        "std::fs::File::open",
        "std::net::TcpStream::connect",
        "std::net::UdpSocket::bind",
        "std::thread::spawn",
        "std::thread::sleep",
        "std::process::Command::new",
    ] {
        if !banned.iter().any(|rule| rule == path) {
            complaints.push(format!("models/clippy.toml does not ban {path}"));
        }
    }
    for (name, member) in members() {
        if !member.folder.starts_with("models/") {
            continue;
        }
        if crate::source::root()
            .join(&member.folder)
            .join("clippy.toml")
            .exists()
        {
            complaints.push(format!(
                "{}/clippy.toml takes {name} out of models/clippy.toml",
                member.folder
            ));
        }
        for dependency in member.names("dependencies") {
            if ["tokio", "rand", "getrandom", "reqwest", "chrono"].contains(&dependency.as_str()) {
                complaints.push(format!(
                    "{}/Cargo.toml: a model must not use {dependency}",
                    member.folder
                ));
            }
        }
    }
    none(&complaints);
}
