//! What is shipped to run it: files that parse, versions that are pinned, and the engine's socket only where it has to be.

use yaml_rust2::{Yaml, YamlLoader};

use crate::source::{all, none, read};

/// The engine's own socket is root on the host.
const MAY_HAVE_THE_SOCKET: [&str; 2] = ["actuator", "socket-proxy"];
const ROLES: [&str; 6] = [
    "collector",
    "analytics",
    "controller",
    "actuator",
    "notifier",
    "console",
];

/// A key of a service, or of what it is merged with.
fn get<'a>(service: &'a Yaml, key: &str) -> &'a Yaml {
    let own = &service[key];
    match (own.is_badvalue(), service["<<"].is_badvalue()) {
        (true, false) => get(&service["<<"], key),
        (_, _) => own,
    }
}

fn strings(list: &Yaml) -> Vec<&str> {
    list.as_vec()
        .into_iter()
        .flatten()
        .filter_map(Yaml::as_str)
        .collect()
}

#[test]
fn yaml_and_toml_files_parse() {
    let mut complaints = Vec::new();
    for source in all() {
        let error = if source.path.ends_with(".yml") || source.path.ends_with(".yaml") {
            YamlLoader::load_from_str(&source.text)
                .err()
                .map(|error| error.to_string())
        } else if source.path.ends_with(".toml") {
            source
                .text
                .parse::<toml::Table>()
                .err()
                .map(|error| error.to_string())
        } else {
            None
        };
        complaints.extend(error.map(|error| format!("{}: {error}", source.path)));
    }
    none(&complaints);
}

#[test]
fn compose_runs_every_role_pinned_and_hardened() {
    let file = YamlLoader::load_from_str(&read("deploy/compose.yml")).unwrap();
    let services = file[0]["services"].as_hash().unwrap();
    let mut complaints = Vec::new();
    for (name, service) in services {
        let name = name.as_str().unwrap();
        let image = get(service, "image").as_str().unwrap_or_default();
        let tag = image.rsplit(':').next().unwrap_or_default();
        if !image.contains(':') || !tag.contains('.') || tag == "latest" {
            complaints.push(format!(
                "{name}: image {image:?} is not pinned to a version"
            ));
        }
        if strings(get(service, "cap_drop")) != ["ALL"] {
            complaints.push(format!("{name}: does not drop all capabilities"));
        }
        if strings(get(service, "security_opt")) != ["no-new-privileges:true"] {
            complaints.push(format!("{name}: may gain privileges"));
        }
        if get(service, "mem_limit").is_badvalue() {
            complaints.push(format!("{name}: has no memory limit"));
        }
        let socket = strings(get(service, "volumes"))
            .iter()
            .any(|it| it.starts_with("/var/run/docker.sock"));
        if socket != MAY_HAVE_THE_SOCKET.contains(&name) {
            complaints.push(format!(
                "{name}: the engine's socket is for {MAY_HAVE_THE_SOCKET:?}"
            ));
        }
        for port in strings(get(service, "ports")) {
            if !port.starts_with("127.0.0.1:") {
                complaints.push(format!("{name}: port {port} is published beyond this host"));
            }
        }
    }
    for role in ROLES {
        let found = services.iter().any(|(name, service)| {
            name.as_str() == Some(role) && strings(get(service, "command")) == [role]
        });
        if !found {
            complaints.push(format!("role {role} is not run"));
        }
    }
    none(&complaints);
}

#[test]
fn prometheus_scrapes_every_role() {
    let file = YamlLoader::load_from_str(&read("deploy/prometheus/prometheus.yml")).unwrap();
    let jobs = file[0]["scrape_configs"].as_vec().unwrap();
    let mut complaints = Vec::new();
    for role in ROLES {
        let found = jobs.iter().any(|job| {
            job["job_name"].as_str() == Some(&format!("homeostat-{role}"))
                && strings(&job["static_configs"][0]["targets"]) == [format!("{role}:9640")]
        });
        if !found {
            complaints.push(format!(
                "deploy/prometheus/prometheus.yml does not scrape {role}"
            ));
        }
    }
    none(&complaints);
}
