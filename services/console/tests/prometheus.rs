//! A real Prometheus (Debian's package) that learns from the console which containers there are.
#![allow(clippy::unwrap_used)]

mod rig;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rig::{DEADLINE, Rig};
use serde_json::Value;
use units::*;

/// A Prometheus of our own. Ends when dropped.
struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// One that asks for its targets here, and keeps those that serve.
    fn start(dir: &Path, url: &str) -> Prometheus {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = format!(
            "scrape_configs:\n- job_name: shop\n  http_sd_configs:\n  - url: \"{url}\"\n    refresh_interval: 1s\n  \
             relabel_configs:\n  - source_labels: [__meta_homeostat_state]\n    regex: serving\n    action: keep\n  \
             - source_labels: [__meta_homeostat_container]\n    target_label: container\n"
        );
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("log")).unwrap())
            .spawn()
            .expect("install Debian's package prometheus");
        Prometheus { process, address }
    }

    /// The containers it scrapes with their addresses, and those it dropped; nothing while it does not answer.
    async fn targets(&self, client: &reqwest::Client) -> Option<(Vec<(String, String)>, usize)> {
        let url = format!("http://{}/api/v1/targets", self.address);
        let answer = client.get(url).send().await.ok()?;
        let told: Value = answer.json().await.ok()?;
        let active = told["data"]["activeTargets"].as_array()?.iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let active = active.map(|it| (text(&it["labels"]["container"]), text(&it["scrapeUrl"])));
        let dropped = told["data"]["droppedTargets"].as_array()?.len();
        Some((active.collect(), dropped))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn container(name: &str, address: &str, health: HealthState) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from(name),
        name: ContainerName::from(name),
        service: ServiceId::from("shop/web"),
        image: "shop/web:2".to_owned(),
        state: ContainerState::Running,
        health,
        restarts: 0,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy::default(),
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: Some(Arc::new(ContainerSpec {
            network_mode: "shop".to_owned(),
            networks: vec![NetworkSpec {
                name: "shop".to_owned(),
                addresses: vec![address.to_owned()],
                ..NetworkSpec::default()
            }],
            exposed: vec!["9100/tcp".to_owned()],
            ..ContainerSpec::default()
        })),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_finds_the_containers_and_can_choose_by_their_state() {
    let rig = Rig::start_patient().await;
    let dir = tempfile::tempdir().unwrap();
    let url = rig.url("members?service=shop%2Fweb&format=http_sd");
    let prometheus = Prometheus::start(dir.path(), &url);
    let wanted = (
        vec![(
            "web-1".to_owned(),
            "http://127.0.0.1:9100/metrics".to_owned(),
        )],
        1,
    );
    rig.tell(&[NodeInventory {
        node: NodeId::from("node-a"),
        at: kit::now(),
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: vec![
            container("web-1", "127.0.0.1", HealthState::Healthy),
            container("web-2", "127.0.0.2", HealthState::Unhealthy),
        ],
    }])
    .await;
    let found = async {
        while prometheus.targets(&rig.client).await.as_ref() != Some(&wanted) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE * 2, found).await;
    let last = prometheus.targets(&rig.client).await;
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(found.is_ok(), "{last:?}\n{log}");
}
