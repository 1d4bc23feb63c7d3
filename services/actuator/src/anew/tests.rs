use std::time::Duration;

use bollard::models::{
    ContainerConfig, ContainerState, EndpointIpamConfig, HealthConfig, ImageConfig, ImageInspect,
    NetworkSettings,
};
use units::{
    Action, CommandId, ContainerId, Generation, LABEL_PLAN, LABEL_REPLICA_OF, NodeId, PlanId,
    ServiceId, Timestamp, Update, UpdateId,
};

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn command() -> Command {
    let now = Timestamp::from_millis(1_000_000);
    let plan = PlanId::from("shop/web-recreate-1000000");
    Command {
        id: CommandId::of(&plan, 0),
        plan,
        generation: Generation(1),
        service: ServiceId::from("shop/web"),
        node: NodeId::from("a"),
        issued_at: now,
        deadline: now + Duration::from_secs(30),
        action: Action::Recreate {
            container: ContainerId::from(ID),
            name: "web".into(),
            grace: Duration::from_secs(10),
            image: None,
        },
        approval: None,
        update: None,
        relocation: None,
        traceparent: None,
    }
}

fn text(words: &str) -> Option<String> {
    Some(words.to_owned())
}

fn list(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Option<HashMap<String, String>> {
    let pairs = pairs.iter();
    Some(
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

fn before(host: HostConfig) -> ContainerInspectResponse {
    ContainerInspectResponse {
        id: text(ID),
        name: text("/web"),
        image: text("sha256:feed"),
        config: Some(ContainerConfig {
            hostname: text(&ID[..12]),
            image: text("shop/web:2"),
            env: list(&["A=1", "VERSION=2"]),
            cmd: list(&["serve"]),
            entrypoint: list(&["/web"]),
            labels: pairs(&[("a", "b"), ("version", "2")]),
            ..ContainerConfig::default()
        }),
        state: Some(ContainerState {
            running: Some(true),
            ..ContainerState::default()
        }),
        host_config: Some(host),
        ..ContainerInspectResponse::default()
    }
}

fn made(before: &ContainerInspectResponse, given: Option<ImageConfig>) -> Replica {
    let source = Source {
        image: "shop/web:2".to_owned(),
        given,
    };
    anew(before, source, &"web".into(), &command()).unwrap()
}

#[test]
fn it_keeps_what_is_its_own_and_is_found_by_its_command() {
    let host = HostConfig {
        network_mode: text("host"),
        privileged: Some(true),
        binds: list(&["/srv:/srv"]),
        memory: Some(64 << 20),
        links: list(&["/db:/web/database"]),
        container_id_file: text("/tmp/cid"),
        ..HostConfig::default()
    };
    let made = made(&before(host), None);
    assert_eq!(made.body.hostname, None, "the engine's own");
    assert_eq!(made.body.env, list(&["A=1", "VERSION=2"]));
    assert_eq!(made.body.cmd, list(&["serve"]));
    assert_eq!(made.body.networking_config, None);
    let labels = made.body.labels.unwrap();
    assert_eq!(labels["a"], "b");
    assert_eq!(labels[LABEL_COMMAND], command().id.as_str());
    assert!(!labels.contains_key(LABEL_REPLICA_OF) && !labels.contains_key(LABEL_PLAN));
    let host = made.body.host_config.unwrap();
    assert_eq!(host.binds, list(&["/srv:/srv"]));
    assert_eq!(host.privileged, Some(true));
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.links, list(&["db:database"]));
    assert_eq!(host.container_id_file, None);
}

#[test]
fn anonymous_volumes_are_carried_over_by_name_and_others_as_they_were_asked_for() {
    let volume = |name: &str, target: &str, rw: bool| MountPoint {
        typ: text(VOLUME),
        name: text(name),
        destination: text(target),
        rw: Some(rw),
        ..MountPoint::default()
    };
    let mount = |source: Option<&str>, target: &str| Mount {
        typ: Some(MountType::VOLUME),
        source: source.map(str::to_owned),
        target: text(target),
        ..Mount::default()
    };
    let host = HostConfig {
        binds: list(&["named:/named:ro"]),
        mounts: Some(vec![
            mount(None, "/mounted"),
            mount(Some("known"), "/known"),
        ]),
        ..HostConfig::default()
    };
    let mut before = before(host);
    before.mounts = Some(vec![
        volume("named", "/named", false),
        volume("feed01", "/data", true),
        volume("feed02", "/read", false),
        volume("feed03", "/mounted", true),
        volume("known", "/known", true),
    ]);
    let host = made(&before, None).body.host_config.unwrap();
    assert_eq!(
        host.binds,
        list(&["named:/named:ro", "feed01:/data", "feed02:/read:ro"])
    );
    let sources = host.mounts.unwrap().into_iter().map(|it| it.source);
    assert_eq!(sources.collect::<Vec<_>>(), [text("feed03"), text("known")]);
}

#[test]
fn networks_are_as_they_were_asked_for_with_aliases_and_addresses() {
    let host = HostConfig {
        network_mode: text("shop_default"),
        ..HostConfig::default()
    };
    let mut before = before(host);
    let endpoint = |aliases: &[&str]| EndpointSettings {
        aliases: list(aliases),
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: text("10.0.0.7"),
            ..EndpointIpamConfig::default()
        }),
        ip_address: text("10.0.0.7"),
        ..EndpointSettings::default()
    };
    before.network_settings = Some(NetworkSettings {
        networks: Some(HashMap::from([
            ("shop_default".to_owned(), endpoint(&["web", &ID[..12]])),
            ("back".to_owned(), endpoint(&["web-back"])),
        ])),
        ..NetworkSettings::default()
    });
    let made = made(&before, None);
    let main = made.body.networking_config.unwrap();
    let main = &main.endpoints_config.unwrap()["shop_default"];
    assert_eq!(main.aliases, list(&["web"]));
    let asked = main.ipam_config.as_ref().unwrap();
    assert_eq!(asked.ipv4_address, text("10.0.0.7"));
    assert_eq!(main.ip_address, None);
    assert_eq!(made.further_networks.len(), 1);
    assert_eq!(made.further_networks[0].1.aliases, list(&["web-back"]));
}

#[test]
fn in_the_network_of_another_it_brings_no_name_and_no_ports() {
    let mut before = before(HostConfig {
        network_mode: text("container:abc"),
        ..HostConfig::default()
    });
    if let Some(config) = &mut before.config {
        config.hostname = text("vpn");
        config.exposed_ports = list(&["80/tcp"]);
    }
    let body = made(&before, None).body;
    assert_eq!((body.hostname, body.exposed_ports), (None, None));
    assert_eq!(
        body.host_config.unwrap().network_mode,
        text("container:abc")
    );
}

#[test]
fn what_its_image_gave_is_left_to_the_other_image() {
    let health = HealthConfig {
        test: list(&["CMD", "/check"]),
        ..HealthConfig::default()
    };
    let mut before = before(HostConfig::default());
    if let Some(config) = &mut before.config {
        config.healthcheck = Some(health.clone());
        config.user = text("app");
        config.working_dir = text("/srv");
    }
    let given = ImageConfig {
        env: list(&["VERSION=2", "PATH=/bin"]),
        entrypoint: list(&["/web"]),
        cmd: list(&["serve"]),
        labels: pairs(&[("version", "2")]),
        healthcheck: Some(health),
        user: text("app"),
        working_dir: text("/"),
        ..ImageConfig::default()
    };
    let body = made(&before, Some(given.clone())).body;
    assert_eq!(body.env, list(&["A=1"]));
    assert_eq!((body.entrypoint, body.cmd), (None, None));
    assert_eq!((body.user, body.healthcheck), (None, None));
    assert_eq!(body.working_dir, text("/srv"), "somebody set it");
    let labels = body.labels.unwrap();
    assert!(labels.contains_key("a") && !labels.contains_key("version"));

    let other = ImageConfig {
        entrypoint: list(&["/other"]),
        ..given
    };
    let body = made(&before, Some(other)).body;
    assert_eq!(body.entrypoint, list(&["/web"]));
    assert_eq!(body.cmd, list(&["serve"]));
}

#[test]
fn what_cannot_be_had_again_is_refused_with_every_reason() {
    let mut before = before(HostConfig {
        auto_remove: Some(true),
        ..HostConfig::default()
    });
    before.state = None;
    if let Some(config) = &mut before.config {
        config.labels = pairs(&[(LABEL_SWARM_TASK, "t1")]);
    }
    before.mounts = Some(vec![MountPoint {
        typ: text(VOLUME),
        destination: text("/data"),
        ..MountPoint::default()
    }]);
    let source = Source {
        image: String::new(),
        given: None,
    };
    let refused = anew(&before, source, &"web".into(), &command()).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Unsafe);
    for word in ["--rm", "swarm", "does not run", "volume at /data"] {
        assert!(refused.reason.contains(word), "{}", refused.reason);
    }
}

#[test]
fn one_that_ended_is_only_put_back_by_the_update_that_made_it() {
    let mut ended = before(HostConfig::default());
    ended.state = None;
    let source = || Source {
        image: "shop/web:1".to_owned(),
        given: None,
    };
    let healed = command();
    assert!(anew(&ended, source(), &"web".into(), &healed).is_err());
    let ordered = Command {
        update: Some(Update {
            id: UpdateId::of(&healed.service, healed.issued_at),
            service: healed.service.clone(),
            image: "shop/web:2".to_owned(),
            at: healed.issued_at,
            by: None,
        }),
        ..healed
    };
    assert!(anew(&ended, source(), &"web".into(), &ordered).is_ok());
}

#[test]
fn only_an_image_of_the_same_name_or_of_none_takes_the_place() {
    let before = before(HostConfig::default());
    let image = |tags: &[&str], digests: &[&str]| ImageInspect {
        repo_tags: list(tags),
        repo_digests: list(digests),
        ..ImageInspect::default()
    };
    let allowed = |image: &ImageInspect| same_repository(&before, image).is_ok();
    assert!(allowed(&image(&["shop/web:1"], &[])));
    assert!(allowed(&image(&["docker.io/shop/web:1"], &[])));
    assert!(allowed(&image(&[], &["shop/web@sha256:77"])));
    assert!(allowed(&image(&[], &[])), "its name went to a newer build");
    assert!(!allowed(&image(&["shop/other:2"], &[])));
    assert_eq!(
        repository("host:5000/shop/web:3@sha256:1"),
        "host:5000/shop/web"
    );
    assert_eq!(repository("docker.io/library/redis:7"), "redis");
}
