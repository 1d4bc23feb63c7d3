//! What is told beside samples, events and logs: connections, pages of applications, the node, and what containers are made of.

use crate::rig::{
    Containers, Running, inventories_until, links_until, log, points_until, samples_until,
};
use units::{ContainerRecord, Direction, Metric, NodeMetric, SeriesKind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_talks_to_whom_and_how_long_it_takes_is_seen_from_outside() {
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    let label = ["--label", "io.homeostat.service=shop/db"];
    let server = containers.run("server", &label, &["serve"]);
    let address = format!("{}:9100", containers.address("server"));
    let client = containers.run("client", &[], &["talk", &address]);

    links_until(
        &bus,
        "link from the client to the server's service",
        |all| {
            all.iter().any(|link| {
                link.container.as_str() == client
                    && link.direction == Direction::Outbound
                    && link.port == 9100
                    && link
                        .peer_service
                        .as_ref()
                        .is_some_and(|it| it.as_str() == "shop/db")
                    && link.connections == 1
                    && !link.rtt_median.is_zero()
            })
        },
    )
    .await;
    links_until(&bus, "the same seen by the server", |all| {
        all.iter().any(|link| {
            link.container.as_str() == server
                && link.direction == Direction::Inbound
                && link
                    .peer_service
                    .as_ref()
                    .is_some_and(|it| it.as_str() == "probe")
        })
    })
    .await;
    samples_until(&bus, "sample with connections", |all| {
        all.iter().any(|sample| {
            let metrics = &sample.metrics;
            sample.container.as_str() == server
                && metrics.get(Metric::TcpEstablished) == Some(1.0)
                && metrics.get(Metric::TcpListening) == Some(1.0)
                && metrics.get(Metric::TcpRttMedian).is_some_and(|it| it > 0.0)
                && metrics.get(Metric::TcpSegments).is_some_and(|it| it > 0.0)
        })
    })
    .await;
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_labelled_container_is_scraped_and_the_node_tells_of_itself() {
    let containers = Containers::new();
    let state = tempfile::tempdir().unwrap();
    let bus = log().await;
    let collector = Running::start(&bus, state.path());
    collector.ready().await;
    let options = [
        "--label",
        "io.homeostat.scrape=:9100/metrics",
        "--restart",
        "on-failure:3",
        "--env",
        "TOKEN=hush",
        "--expose",
        "9200",
        "--publish",
        "127.0.0.1::9100",
    ];
    let id = containers.run("app", &options, &["serve"]);

    points_until(&bus, "the application's counter", |all| {
        all.iter().any(|point| {
            point.container.as_ref().is_some_and(|it| it.as_str() == id)
                && point.name == "requests_total"
                && point.labels == "code=\"200\""
                && point.kind == SeriesKind::Counter
                && point.value == 7.0
        })
    })
    .await;
    for metric in [
        NodeMetric::MemoryAvailable,
        NodeMetric::Cpu,
        NodeMetric::EngineAnswer,
        NodeMetric::EngineImages,
    ] {
        points_until(&bus, metric.name(), |all| {
            all.iter()
                .any(|point| point.container.is_none() && point.name == metric.name())
        })
        .await;
    }
    samples_until(&bus, "sample with the size of the layer", |all| {
        all.iter().any(|sample| {
            sample.container.as_str() == id && sample.metrics.get(Metric::LayerBytes).is_some()
        })
    })
    .await;
    // Before it was started it was published nowhere.
    let is_published = |record: &ContainerRecord| {
        let spec = record.spec.as_ref();
        spec.is_some_and(|spec| !spec.published.is_empty())
    };
    let told = inventories_until(&bus, "what it was made from", |all| {
        all.last().is_some_and(|it| {
            it.containers
                .iter()
                .any(|it| it.id.as_str() == id && is_published(it))
        })
    })
    .await;
    let inventory = told.last().unwrap();
    let record = inventory.containers.iter().find(|it| it.id.as_str() == id);
    let record = record.unwrap();
    assert!(
        record.label_problems.is_empty(),
        "{:?}",
        record.label_problems
    );
    let spec = record.spec.as_ref().unwrap();
    assert!(spec.image_digest.starts_with("sha256:"));
    assert_eq!(spec.restart.attempts_max, Some(3));
    assert!(spec.environment.contains(&"TOKEN".to_owned()));
    assert_eq!(spec.exposed, ["9100/tcp", "9200/tcp"]);
    // What was asked for is any port; which one it became is told too.
    assert_eq!(spec.ports[0].host_port, "");
    let published = &spec.published[..];
    let [port] = published else {
        panic!("{published:?}");
    };
    assert_eq!(
        (&*port.container, &*port.host_address),
        ("9100/tcp", "127.0.0.1")
    );
    assert!(
        port.host_port.parse::<u16>().is_ok_and(|it| it > 0),
        "{port:?}"
    );
    assert!(!spec.networks[0].addresses.is_empty());
    assert!(!serde_json::to_string(inventory).unwrap().contains("hush"));
    collector.stop().await;
}
