//! The admin port over real sockets.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use kit::health::Health;
use kit::metrics::{MetricName, Metrics};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let answer = reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (answer.status().as_u16(), kind, answer.text().await.unwrap())
}

#[tokio::test]
async fn three_pages_tell_of_the_process() {
    let metrics = Metrics::new("collector", "0.1.0");
    let health = Health::default();
    let kafka = health.dependency("kafka");
    let docker = health.dependency("docker");
    let shutdown = CancellationToken::new();
    let address = kit::admin::serve(any_port(), &metrics, &health, shutdown.clone())
        .await
        .unwrap();

    let (status, kind, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(text.contains("homeostat_build_info{role=\"collector\",version=\"0.1.0\"} 1.0"));
    assert!(text.ends_with("# EOF\n"));
    metrics.counter(MetricName::Samples).with(&[]).inc_by(4);
    assert!(
        get(address, "/metrics")
            .await
            .2
            .contains("homeostat_samples_total 4\n")
    );

    assert_eq!(get(address, "/healthz").await.0, 200);

    kafka.up();
    docker.down("no such file /run/docker.sock");
    let (status, _, text) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(page["ready"], false);
    assert_eq!(page["dependencies"][0]["name"], "docker");
    assert_eq!(page["dependencies"][0]["state"], "down");
    assert_eq!(
        page["dependencies"][0]["reason"],
        "no such file /run/docker.sock"
    );
    assert!(page["dependencies"][0]["since"].as_i64().unwrap() > 0);
    assert_eq!(page["dependencies"][1]["state"], "up");
    docker.up();
    assert_eq!(get(address, "/readyz").await.0, 200);
    shutdown.cancel();
}

#[tokio::test]
async fn a_taken_port_names_the_address_and_the_key() {
    let (metrics, health) = (Metrics::new("x", "0"), Health::default());
    let shutdown = CancellationToken::new();
    let address = kit::admin::serve(any_port(), &metrics, &health, shutdown.clone())
        .await
        .unwrap();
    let error = kit::admin::serve(address, &metrics, &health, shutdown.clone())
        .await
        .unwrap_err();
    assert_eq!(
        kit::boot::chain(&error),
        format!(
            "admin port {address} cannot be opened, set admin.listen to a free address of this host: \
             Address already in use (os error 98)"
        )
    );
    shutdown.cancel();
}

#[tokio::test]
async fn shutdown_ends_the_server() {
    let config = kit::admin::Config { listen: any_port() };
    let admin = kit::admin::bind(&config).await.unwrap();
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(admin.run(Metrics::new("x", "0"), Health::default(), shutdown.clone()));
    shutdown.cancel();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), run).await;
    ended.unwrap().unwrap().unwrap();
}
