//! The recording proxy sees what a real client asks of the real engine, and changes none of it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, RemoveContainerOptions, StatsOptions,
};
use e2e::docker_proxy::DockerProxy;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

const IMAGE: &str = "homeostat-demo:latest";
const PATIENCE: Duration = Duration::from_secs(60);

async fn client(proxy: &DockerProxy) -> Docker {
    let docker = Docker::connect_with_host(&proxy.address()).unwrap();
    docker.negotiate_version().await.unwrap()
}

fn operations(proxy: &DockerProxy) -> Vec<String> {
    let requests = proxy.requests().into_iter();
    requests
        .map(|request| format!("{} {}", request.method, request.operation()))
        .collect()
}

/// Removes the container also when the test panics.
struct Removed(String);

impl Drop for Removed {
    fn drop(&mut self) {
        let name = self.0.clone();
        let remover = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let docker = Docker::connect_with_local_defaults().unwrap();
                let docker = docker.negotiate_version().await.unwrap();
                let force = RemoveContainerOptions {
                    force: true,
                    ..Default::default()
                };
                let _ = docker.remove_container(&name, Some(force)).await;
            });
        });
        let _ = remover.join();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_requests_are_written_down_and_its_answers_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = DockerProxy::start(dir.path()).await;
    let docker = client(&proxy).await;
    let name = format!("homeostat-e2e-proxy-{}", std::process::id());
    let made = image(&docker).await;
    docker.list_containers(None).await.unwrap();
    let reads = operations(&proxy).len();
    assert_eq!(
        proxy.writing_requests(),
        Vec::<String>::new(),
        "so far only reading"
    );

    let body = ContainerCreateBody {
        image: Some(made),
        cmd: Some(vec!["worker".to_owned()]),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptions {
        name: Some(name.clone()),
        ..Default::default()
    };
    let _removed = Removed(name.clone());
    let id = docker
        .create_container(Some(options), body)
        .await
        .unwrap()
        .id;
    docker.start_container(&name, None).await.unwrap();
    let mut stats = docker.stats(
        &name,
        Some(StatsOptions {
            stream: true,
            one_shot: false,
        }),
    );
    assert!(
        timeout(PATIENCE, stats.next())
            .await
            .unwrap()
            .unwrap()
            .is_ok(),
        "a streamed answer"
    );
    drop(stats);
    let told = executed(&docker, &name).await;
    assert!(
        told.contains("usage: demo-app"),
        "an upgraded connection: {told}"
    );
    docker
        .remove_container(
            &name,
            Some(RemoveContainerOptions {
                force: true,
                ..Default::default()
            }),
        )
        .await
        .unwrap();

    let seen = operations(&proxy).split_off(reads);
    let exec = seen
        .iter()
        .find(|it| it.ends_with("/start") && it.starts_with("POST /exec/"));
    let exec = exec
        .expect("starting the exec")
        .trim_start_matches("POST /exec/")
        .to_owned();
    let exec = exec.trim_end_matches("/start");
    assert_eq!(
        seen,
        [
            "POST /containers/create".to_owned(),
            format!("POST /containers/{name}/start"),
            format!("GET /containers/{name}/stats"),
            format!("POST /containers/{name}/exec"),
            format!("POST /exec/{exec}/start"),
            format!("DELETE /containers/{name}"),
        ]
    );
    assert_eq!(proxy.writing_requests().len(), 5);
    assert_eq!(id.len(), 64);
}

async fn image(docker: &Docker) -> String {
    if docker.inspect_image(IMAGE).await.is_err() {
        let script = e2e::homeostat::root().join("deploy/demo/image.sh");
        assert!(
            std::process::Command::new(script)
                .status()
                .unwrap()
                .success()
        );
    }
    IMAGE.to_owned()
}

async fn executed(docker: &Docker, name: &str) -> String {
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        cmd: Some(vec!["/demo-app", "help"]),
        ..Default::default()
    };
    let exec = docker.create_exec(name, options).await.unwrap().id;
    let started = docker
        .start_exec(&exec, None::<StartExecOptions>)
        .await
        .unwrap();
    let StartExecResults::Attached { mut output, .. } = started else {
        panic!("not attached");
    };
    let mut told = String::new();
    while let Some(Ok(piece)) = timeout(PATIENCE, output.next()).await.unwrap() {
        told.push_str(&piece.to_string());
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_on_one_connection_are_all_seen() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = DockerProxy::start(dir.path()).await;
    let mut connection = UnixStream::connect(proxy.socket()).await.unwrap();
    let requests = "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n\
        POST /v1.41/containers/no-such-container/update HTTP/1.1\r\nHost: docker\r\n\
        Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\
        GET /version HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
    connection.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answers))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(
        answers.matches("HTTP/1.1 404 Not Found").count(),
        1,
        "{answers}"
    );
    let expected = [
        "GET /_ping",
        "POST /containers/no-such-container/update",
        "GET /version",
    ];
    assert_eq!(operations(&proxy), expected);
    assert_eq!(
        proxy.writing_requests(),
        ["POST /v1.41/containers/no-such-container/update"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = DockerProxy::start(dir.path()).await;
    let docker = client(&proxy).await;
    let mut events = docker.events(None::<EventsOptions>);
    let ended = tokio::spawn(async move { while let Some(Ok(_)) = events.next().await {} });
    let asked = || async {
        operations(&proxy)
            .contains(&"GET /events".to_owned())
            .then_some(())
    };
    e2e::wait::until("the events are asked for", PATIENCE, asked).await;
    drop(proxy);
    timeout(PATIENCE, ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_proxy_refuses_the_rest_and_says_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = DockerProxy::read_only(dir.path()).await;
    let docker = client(&proxy).await;
    docker.list_containers(None).await.unwrap();
    docker.info().await.unwrap();
    let name = format!("homeostat-e2e-refused-{}", std::process::id());
    let started = docker.start_container(&name, None).await.unwrap_err();
    assert!(started.to_string().contains("403"), "{started}");
    let volumes = docker
        .list_volumes(None::<bollard::query_parameters::ListVolumesOptions>)
        .await
        .unwrap_err();
    assert!(volumes.to_string().contains("403"), "{volumes}");
    let refused = [
        format!("POST /containers/{name}/start"),
        "GET /volumes".to_owned(),
    ];
    assert_eq!(proxy.refused(), refused);
    // A refusal costs its connection only.
    docker.list_containers(None).await.unwrap();
}
