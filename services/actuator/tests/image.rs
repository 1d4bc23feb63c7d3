//! The image of a container that goes to another node, where no registry has it: two real engines, an actuator on each, and a line between
//! them that is cut, disturbed and held up. What comes is the image that was promised, or nothing.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::Ipv4Addr;

use actuator::{Config, Images};
use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerInspectResponse};
use bollard::query_parameters::{
    CommitContainerOptions, CreateImageOptions, ListImagesOptions, RemoveContainerOptions,
    RemoveImageOptions, TagImageOptions,
};
use futures::StreamExt;
use support::engine::SecondEngine;
use support::line::{Line, Trouble};
use support::registry::Registry;
use support::{NODE, World, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use units::{Action, Command, ContainerId, NodeId, Origin, OutcomeResult, Relocation};

const OTHER: &str = "node-b";
const MOVABLE: [(&str, &str); 2] = [("io.homeostat.mode", "act"), ("io.homeostat.move", "true")];
const REPOSITORY: &str = "homeostat-demo";

fn here(world: &World, images: Images) -> Config {
    Config {
        move_key_file: Some(world.key.clone()),
        images,
        ..world.config()
    }
}

fn there(world: &World, engine: &SecondEngine) -> Config {
    Config {
        node: Some(OTHER.to_owned()),
        state_dir: Some(world.dir.path().join(OTHER)),
        docker: Some(engine.address()),
        ..here(world, Images::default())
    }
}

/// Gives images, to whoever is on this machine.
fn gives() -> Images {
    Images {
        listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
        address: None,
    }
}

/// An image that was built on this engine, unlike any other.
struct Built<'a> {
    docker: &'a Docker,
    /// Name and tag.
    name: String,
}

impl Built<'_> {
    async fn of<'a>(world: &'a World, tag: &str) -> Built<'a> {
        let maker = world.create(&[], |_, _| {}).await;
        let tag = format!("{tag}-{}", world.name);
        let options = CommitContainerOptions {
            container: Some(maker.as_str().to_owned()),
            repo: Some(REPOSITORY.to_owned()),
            tag: Some(tag.clone()),
            ..CommitContainerOptions::default()
        };
        let config = ContainerConfig {
            env: Some(vec![format!("MADE_FOR={tag}")]),
            ..ContainerConfig::default()
        };
        let built = world.docker.commit_container(options, config).await;
        built.unwrap();
        remove(&world.docker, maker.as_str()).await;
        Built {
            docker: &world.docker,
            name: format!("{REPOSITORY}:{tag}"),
        }
    }

    async fn id(&self) -> String {
        let found = self.docker.inspect_image(&self.name).await;
        found.unwrap().id.unwrap()
    }
}

/// A container that runs an image, and may move.
async fn runs(world: &World, image: &str) -> ContainerId {
    let made = world
        .create(&MOVABLE, |body, _| body.image = Some(image.to_owned()))
        .await;
    let started = world.docker.start_container(made.as_str(), None).await;
    started.unwrap();
    made
}

async fn remove(docker: &Docker, container: &str) {
    let force = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    let removed = docker.remove_container(container, Some(force)).await;
    removed.unwrap();
}

async fn forget(docker: &Docker, image: &str) {
    let options = None::<RemoveImageOptions>;
    docker.remove_image(image, options, None).await.unwrap();
}

/// Ids of all images of an engine.
async fn images(docker: &Docker) -> Vec<String> {
    let all = ListImagesOptions {
        all: true,
        ..ListImagesOptions::default()
    };
    let listed = docker.list_images(Some(all)).await.unwrap();
    listed.into_iter().map(|it| it.id).collect()
}

/// What the node it leaves tells of a container, and the move that it is for.
async fn told(world: &mut World, container: &ContainerId) -> (Relocation, String) {
    let relocation = Relocation {
        container: container.clone(),
        name: "test".into(),
        from: NodeId::from(NODE),
        to: NodeId::from(OTHER),
        at: kit::now(),
        lost: false,
    };
    let export = Command {
        relocation: Some(relocation.clone()),
        ..command(Action::Export {
            container: container.clone(),
            name: "test".into(),
        })
    };
    match world.answer(&export).await {
        OutcomeResult::Succeeded {
            sealed: Some(sealed),
            ..
        } => (relocation, sealed),
        result => panic!("{result:?}"),
    }
}

fn create(world: &World, (relocation, sealed): &(Relocation, String)) -> Command {
    let action = Action::CreateReplica {
        template: relocation.container.clone(),
        name: format!("{}-r1", world.name).as_str().into(),
        image: None,
        origin: Some(Origin {
            node: NodeId::from(NODE),
            sealed: sealed.clone(),
        }),
    };
    Command {
        node: NodeId::from(OTHER),
        relocation: Some(relocation.clone()),
        ..command(action)
    }
}

fn created(result: OutcomeResult) -> String {
    match result {
        OutcomeResult::Succeeded {
            created: Some(created),
            ..
        } => created.to_string(),
        result => panic!("{result:?}"),
    }
}

fn failed(result: OutcomeResult, words: &[&str]) {
    match result {
        OutcomeResult::Failed { error } => {
            for word in words {
                assert!(error.contains(word), "{word}: {error}");
            }
        }
        result => panic!("{result:?}"),
    }
}

/// What runs there: its image's id, and what that is called.
async fn found(engine: &SecondEngine, container: &str) -> (String, String) {
    let found: ContainerInspectResponse = engine
        .docker
        .inspect_container(container, None)
        .await
        .unwrap();
    assert_eq!(found.state.unwrap().running, Some(true));
    (found.image.unwrap(), found.config.unwrap().image.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_no_registry_gives_comes_from_the_node_it_runs_on() {
    let mut world = World::new("image").await;
    let engine = SecondEngine::start(world.dir.path(), &world.name).await;
    let a = world.start(here(&world, gives()));
    let b = world.start(there(&world, &engine));

    // It was built on the first node, and is called there as here.
    let own = Built::of(&world, "own").await;
    let (name, id) = (own.name.clone(), own.id().await);
    let web = runs(&world, &name).await;
    let move_of_it = told(&mut world, &web).await;
    let made = created(world.answer(&create(&world, &move_of_it)).await);
    assert_eq!(found(&engine, &made).await, (id.clone(), name.clone()));
    assert_eq!(images(&engine.docker).await, std::slice::from_ref(&id));
    remove(&engine.docker, &made).await;

    // Another image has its name there, and keeps it.
    let second = Built::of(&world, "second").await;
    let (second_name, second_id) = (second.name.clone(), second.id().await);
    let (repository, tag) = second_name.split_once(':').unwrap();
    let options = TagImageOptions {
        repo: Some(repository.to_owned()),
        tag: Some(tag.to_owned()),
    };
    engine.docker.tag_image(&name, Some(options)).await.unwrap();
    let other = runs(&world, &second_name).await;
    let move_of_it = told(&mut world, &other).await;
    let made = created(world.answer(&create(&world, &move_of_it)).await);
    let expected = (second_id.clone(), second_id.clone());
    assert_eq!(found(&engine, &made).await, expected);
    remove(&engine.docker, &made).await;
    let kept = engine.docker.inspect_image(&second_name).await.unwrap();
    assert_eq!(kept.id.as_deref(), Some(id.as_str()));

    // It was pulled from a registry that is gone.
    let third = Built::of(&world, "third").await;
    let third_id = third.id().await;
    let registry = Registry::of(&world.docker, &third.name).await;
    let options = CreateImageOptions {
        from_image: Some(registry.reference.clone()),
        ..CreateImageOptions::default()
    };
    {
        let mut pulled = std::pin::pin!(world.docker.create_image(Some(options), None, None));
        while let Some(step) = pulled.next().await {
            step.unwrap();
        }
    }
    let reference = registry.reference.clone();
    let third_name = third.name.clone();
    let last = runs(&world, &reference).await;
    let move_of_it = told(&mut world, &last).await;
    drop(registry);
    let made = created(world.answer(&create(&world, &move_of_it)).await);
    assert_eq!(found(&engine, &made).await, (third_id, reference.clone()));

    a.shut_down().await;
    b.shut_down().await;
    for (container, image) in [(web, &name), (other, &second_name), (last, &third_name)] {
        remove(&world.docker, container.as_str()).await;
        forget(&world.docker, image).await;
    }
    forget(&world.docker, &reference).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_cut_or_disturbed_leaves_nothing_and_another_brings_it() {
    let mut world = World::new("imagecut").await;
    let engine = SecondEngine::start(world.dir.path(), &world.name).await;
    let line = Line::lay().await;
    let a = world.start(here(
        &world,
        Images {
            listen: Some(Line::end()),
            address: Some(line.address.to_string()),
        },
    ));
    let first = world.start(there(&world, &engine));
    let own = Built::of(&world, "own").await;
    let (name, id) = (own.name.clone(), own.id().await);
    let size = own.docker.inspect_image(&name).await.unwrap().size.unwrap();
    let middle = usize::try_from(size / 2).unwrap();
    let web = runs(&world, &name).await;
    let move_of_it = told(&mut world, &web).await;

    line.has(Trouble::CutAfter(middle));
    let cut = world.answer(&create(&world, &move_of_it)).await;
    failed(cut, &[&name, "did not come from node-a", "in the middle"]);
    line.has(Trouble::DisturbedAfter(middle));
    let disturbed = world.answer(&create(&world, &move_of_it)).await;
    failed(
        disturbed,
        &[&name, "did not come from node-a", "does not open"],
    );
    assert!(images(&engine.docker).await.is_empty());
    let running = world.inspect(&web).await.state.unwrap().running;
    assert_eq!(running, Some(true), "it stays where it was");

    // Killed in the middle, the other actuator begins again.
    line.has(Trouble::HeldAfter(middle));
    let create = create(&world, &move_of_it);
    let before = line.passed();
    world.send(&create).await;
    line.passes(before).await;
    first.kill(&world.dir.path().join(OTHER)).await;
    assert!(images(&engine.docker).await.is_empty());
    line.has(Trouble::None);
    let second = world.start(there(&world, &engine));
    let made = created(world.outcome(&create).await.result);
    assert_eq!(found(&engine, &made).await, (id, name.clone()));

    second.shut_down().await;
    a.shut_down().await;
    remove(&world.docker, web.as_str()).await;
    forget(&world.docker, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_image_does_not_come_is_said_and_who_has_no_ticket_gets_nothing() {
    let mut world = World::new("imageno").await;
    // Another port than the one of the test above.
    let end = (Line::end().ip(), Line::end().port() + 1);
    let a = world.start(here(
        &world,
        Images {
            listen: Some(end.into()),
            address: None,
        },
    ));
    let b = world.start(Config {
        node: Some(OTHER.to_owned()),
        state_dir: Some(world.dir.path().join(OTHER)),
        ..here(&world, Images::default())
    });
    let own = Built::of(&world, "own").await;
    let name = own.name.clone();
    let web = runs(&world, &name).await;
    let move_of_it = told(&mut world, &web).await;
    remove(&world.docker, web.as_str()).await;
    forget(&world.docker, &name).await;

    let mut line = TcpStream::connect(end).await.unwrap();
    line.write_all(b"GET /images/json HTTP/1.1\r\nHost: node-a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _reset = line.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{answer:?}");

    let gone = world.answer(&create(&world, &move_of_it)).await;
    failed(gone, &[&name, "node-a does not give it", "has no image"]);
    a.shut_down().await;
    let nobody = world.answer(&create(&world, &move_of_it)).await;
    let words = [
        name.as_str(),
        "nobody answers at",
        "actuator.images of node-a",
        "push it to a registry",
    ];
    failed(nobody, &words);
    b.shut_down().await;
}
