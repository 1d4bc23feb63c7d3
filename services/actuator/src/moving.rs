//! The two ends of a move: telling how a container is made on the node it leaves, and making it on the node where it goes.
//!
//! What is told is what the engine says of the container and its image, sealed (`seal`). The other end trusts it no further than an
//! engine of its own: the same labels, obstacles and ceiling are checked on it again.

use bollard::models::{ContainerInspectResponse, ImageConfig, ImageInspect};
use units::{Command, ContainerName, NodeId, Origin, Refusal, Relocation};

use crate::engine::{Engine, EngineError, Platform};
use crate::execute::{self, Done, failed};
use crate::given::Source;
use crate::guard::{self, Consent, Purpose, Refused, labels_of, name_of};
use crate::prepare::{Here, Unprepared, image_by_id, named};
use crate::replica::{self, NETWORKS_WITHOUT_ALIASES, Replica};
use crate::seal::{Exported, ExportedImage, MoveKey, SealError};
use crate::{anew, pull};

const VOLUME: &str = "volume";

/// A container that is made as one on another node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Successor {
    pub(crate) replica: Replica,
    /// This node.
    pub(crate) node: NodeId,
}

/// How a container is made, sealed for the move that the command belongs to.
///
/// # Errors
/// A refusal, or what the engine said.
pub(crate) async fn export(
    here: &Here<'_>,
    found: &ContainerInspectResponse,
    command: &Command,
) -> Result<String, Unprepared> {
    let name = name_of(found);
    let relocation = relocation_of(command)?;
    let (container, node) = (command.action.target(), &command.node);
    if relocation.container != *container || relocation.from != *node {
        let reason =
            format!("it belongs to the {relocation}, and {name} on {node} is not what goes");
        return Err(Refused::new(Refusal::Unsafe, reason).into());
    }
    let mut obstacles = obstacles(found);
    let state = found.state.as_ref();
    if state.and_then(|state| state.running) != Some(true) {
        obstacles.push("it does not run".to_owned());
    }
    let sharers = here.engine.sharers(container, &name).await?;
    if !sharers.is_empty() {
        obstacles.push(format!("{} shares its network", sharers.join(" and ")));
    }
    stays(&name, &obstacles)?;
    let key = key(here)?;
    let runs = found.image.as_deref().unwrap_or_default();
    let image = image_by_id(here.engine, &name, runs).await?;
    let exported = Exported {
        node: node.clone(),
        inspect: by_names(found.clone()),
        image: told_of(found, image),
    };
    match key.seal(&exported, relocation) {
        Ok(sealed) => Ok(sealed),
        Err(error @ SealError::TooLong { .. }) => {
            let reason = format!("{name} cannot be moved: {error}");
            Err(Refused::new(Refusal::Unsafe, reason).into())
        }
        Err(error) => Err(Unprepared::Failed(error.to_string())),
    }
}

/// The container that a command wants made as one on another node is, from an image that is here.
///
/// # Errors
/// A refusal, or what the engine said; also when its image is not here by now.
pub(crate) async fn successor(
    here: &Here<'_>,
    command: &Command,
    origin: &Origin,
) -> Result<Successor, Unprepared> {
    let exported = opened(here, command, origin)?;
    let image = match image(here.engine, &exported).await? {
        Image::Here(image) => image,
        Image::Elsewhere => {
            let reason = format!(
                "the image {} was pulled, and is gone again",
                exported.image.reference
            );
            return Err(Unprepared::Failed(reason));
        }
    };
    let source = Source { image, given: None };
    let name = command.action.name();
    Ok(Successor {
        replica: replica::replica(&exported.inspect, source, name, command)?,
        node: command.node.clone(),
    })
}

/// Whether the image of a container from another node must be pulled before it can be made.
///
/// # Errors
/// Whatever stands in the way of making it, and what the engine said.
pub(crate) async fn lacks_image(
    here: &Here<'_>,
    command: &Command,
    origin: &Origin,
) -> Result<bool, Unprepared> {
    let exported = opened(here, command, origin)?;
    Ok(matches!(
        image(here.engine, &exported).await?,
        Image::Elsewhere
    ))
}

/// Pulls that image from the first registry that gives it, unless it has come meanwhile.
///
/// # Errors
/// Where none gives it: what each of them said.
pub(crate) async fn fetch(
    here: &Here<'_>,
    command: &Command,
    origin: &Origin,
) -> Result<(), Unprepared> {
    let exported = opened(here, command, origin)?;
    if let Image::Here(_) = image(here.engine, &exported).await? {
        return Ok(());
    }
    let ExportedImage {
        reference,
        repo_digests,
        ..
    } = &exported.image;
    let (from, node) = (&exported.node, &command.node);
    if repo_digests.is_empty() {
        return Err(Unprepared::Failed(format!(
            "the image {reference} was built on {from} and is in no registry: push it to one that {node} can pull from"
        )));
    }
    let mut refusals = Vec::new();
    for digest in repo_digests {
        match pull::obtain(here.engine, digest, here.auth_file).await {
            Ok(()) => return Ok(()),
            Err(pull::NotPulled::Doubtful(error)) => return Err(error.into()),
            Err(pull::NotPulled::GaveUp(reason) | pull::NotPulled::Refused(reason)) => {
                refusals.push(format!("{digest}: {reason}"));
            }
        }
    }
    Err(Unprepared::Failed(format!(
        "cannot pull the image {reference} as it runs on {from}: {}; push it to a registry that {node} can pull from",
        refusals.join("; ")
    )))
}

/// Makes and starts it.
pub(crate) async fn create(
    engine: &Engine,
    successor: &Successor,
    deadline: units::Timestamp,
) -> Done {
    let Successor { replica, node } = successor;
    let done = execute::create(engine, replica, deadline).await;
    let Done::Certain(units::OutcomeResult::Failed { error }) = &done else {
        return done;
    };
    // The engine says it at one step or another, by its version. Not asked before, because a network of a swarm comes to a node with
    // its first container there.
    let missing = missing_networks(engine, replica).await.unwrap_or_default();
    if missing.is_empty() {
        return done;
    }
    let networks = missing.join(" and ");
    Done::Certain(failed(format_args!(
        "{error}; {node} has no network {networks}: create it there (docker network create), as it is where {} comes from",
        replica.name
    )))
}

async fn missing_networks(engine: &Engine, replica: &Replica) -> Result<Vec<String>, EngineError> {
    let config = replica.body.networking_config.as_ref();
    let first = config.and_then(|it| it.endpoints_config.as_ref());
    let further = replica.further_networks.iter().map(|(network, _)| network);
    let networks = first.into_iter().flat_map(|it| it.keys()).chain(further);
    let mut missing = Vec::new();
    for network in networks {
        let is_named = !NETWORKS_WITHOUT_ALIASES.contains(&network.as_str());
        if is_named && !engine.has_network(network).await? {
            missing.push(network.clone());
        }
    }
    Ok(missing)
}

fn relocation_of(command: &Command) -> Result<&Relocation, Refused> {
    command.relocation.as_ref().ok_or_else(|| {
        let reason = "it says of no move that it belongs to";
        Refused::new(Refusal::Unsafe, reason)
    })
}

fn key<'a>(here: &Here<'a>) -> Result<&'a MoveKey, Refused> {
    here.key.ok_or_else(|| {
        let reason = "this node has no key for what moves between nodes; set actuator.move_key_file, to the same key on every node";
        Refused::new(Refusal::NoKey, reason)
    })
}

/// What another node told, opened and checked as if the container were here.
fn opened(here: &Here<'_>, command: &Command, origin: &Origin) -> Result<Exported, Refused> {
    let relocation = relocation_of(command)?;
    let unsafe_one = |reason: String| Err(Refused::new(Refusal::Unsafe, reason));
    let is_of_it = relocation.container == *command.action.target()
        && relocation.from == origin.node
        && relocation.to == command.node;
    if !is_of_it {
        return unsafe_one(format!(
            "it belongs to the {relocation}, and would make a container of {} on {}",
            origin.node, command.node
        ));
    }
    if command.action.image_change().is_some() {
        return unsafe_one(
            "a container goes to another node or gets another image, not both".into(),
        );
    }
    let opened = key(here)?.open(&origin.sealed, relocation);
    let exported = opened.map_err(|error| Refused::new(Refusal::NoKey, error.to_string()))?;
    let Exported { node, inspect, .. } = &exported;
    if *node != relocation.from || inspect.id.as_deref() != Some(relocation.container.as_str()) {
        return unsafe_one(format!(
            "what was sealed is of another container than the {relocation}"
        ));
    }
    guard::check(
        &command.action,
        inspect,
        here.ceiling,
        Consent::of(command),
        Purpose::Move,
    )?;
    stays(&name_of(inspect), &obstacles(inspect))?;
    Ok(exported)
}

fn stays(name: &ContainerName, obstacles: &[String]) -> Result<(), Refused> {
    if obstacles.is_empty() {
        return Ok(());
    }
    let reason = format!("{name} cannot be moved: {}", obstacles.join("; "));
    Err(Refused::new(Refusal::Unsafe, reason))
}

/// Why a container cannot be made on another node: what keeps it from being copied, and what it has of its node beyond that.
fn obstacles(found: &ContainerInspectResponse) -> Vec<String> {
    let mut obstacles = crate::safety::obstacles(found);
    let host = found.host_config.clone().unwrap_or_default();
    for volume in found.mounts.iter().flatten() {
        // One that is written was named already.
        if volume.typ.as_deref() == Some(VOLUME) && volume.rw == Some(false) {
            let target = volume.destination.as_deref().unwrap_or("?");
            obstacles.push(format!("it reads a volume of its node at {target}"));
        }
    }
    if host.links.is_some_and(|links| !links.is_empty()) {
        obstacles.push("it is linked to containers of its node (--link)".to_owned());
    }
    if host.auto_remove == Some(true) {
        obstacles.push(
            "the engine removes it as soon as it stops (--rm), and it could not be had back"
                .to_owned(),
        );
    }
    if labels_of(found).contains_key(anew::LABEL_SWARM_TASK) {
        obstacles.push("it is a task of a swarm, which places it itself".to_owned());
    }
    obstacles
}

/// With its network called by its name: the id is that of one engine.
fn by_names(mut found: ContainerInspectResponse) -> ContainerInspectResponse {
    let settings = found.network_settings.as_ref();
    let networks = settings.and_then(|it| it.networks.as_ref());
    if let Some(mode) = found
        .host_config
        .as_mut()
        .and_then(|it| it.network_mode.as_mut())
        && let Some((name, _)) = networks
            .into_iter()
            .flatten()
            .find(|(_, it)| it.network_id.as_ref() == Some(mode))
    {
        mode.clone_from(name);
    }
    found
}

fn told_of(found: &ContainerInspectResponse, image: ImageInspect) -> ExportedImage {
    let made_from = replica::image_of(found);
    ExportedImage {
        id: image.id.unwrap_or_default(),
        reference: made_from.map(|it| it.reference).unwrap_or_default(),
        repo_digests: image.repo_digests.unwrap_or_default(),
        os: image.os.unwrap_or_default(),
        architecture: image.architecture.unwrap_or_default(),
        layers: image.root_fs.and_then(|it| it.layers).unwrap_or_default(),
        config: image.config.unwrap_or_default(),
    }
}

/// Where the image is.
enum Image {
    /// Here, and this is what to call it.
    Here(String),
    Elsewhere,
}

async fn image(engine: &Engine, exported: &Exported) -> Result<Image, Unprepared> {
    let told = &exported.image;
    let by_id = std::iter::once(&told.id);
    for reference in by_id.chain(&told.repo_digests) {
        let image = match engine.image(reference).await {
            Ok(image) => image,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        let name = name_of(&exported.inspect);
        if let Some(obstacle) = differs(told, &image, &engine.platform().await?) {
            let reason = format!("{name} cannot be made here: {obstacle}");
            return Err(Refused::new(Refusal::Unsafe, reason).into());
        }
        let id = image.id.as_deref().unwrap_or(&told.id);
        let known = named(engine, &told.reference, id).await?;
        return Ok(Image::Here(match known == id {
            // A digest at least tells people where it is from.
            true => reference.clone(),
            false => known,
        }));
    }
    Ok(Image::Elsewhere)
}

/// Why an image of this engine is not the one that was told of, or does not run here. Engines that store images in other ways give the
/// same image other ids, so that its layers and its configuration count.
fn differs(told: &ExportedImage, image: &ImageInspect, node: &Platform) -> Option<String> {
    let name = &told.reference;
    if let Some(obstacle) = pull::obstacle(image, node) {
        return Some(format!("{name} {obstacle}"));
    }
    let id = image.id.as_deref().unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let has = Platform {
        os: text(&image.os),
        architecture: text(&image.architecture),
    };
    let layers = image.root_fs.as_ref().and_then(|it| it.layers.as_deref());
    let is_same_content = !told.layers.is_empty()
        && layers == Some(&told.layers)
        && image.config.as_ref().map(defaults) == Some(defaults(&told.config));
    let is_same_platform = has.os == told.os && has.architecture == told.architecture;
    if id == told.id || (is_same_platform && is_same_content) {
        return None;
    }
    if !is_same_platform {
        return Some(format!(
            "{name} runs there as it is built for {}/{}, and is another image for {}/{}",
            told.os, told.architecture, has.os, has.architecture
        ));
    }
    Some(format!("{name} is {} there, and {id} here", told.id))
}

/// What an image gives its containers, with nothing written as absent: engines write it now so, now so.
fn defaults(config: &ImageConfig) -> serde_json::Value {
    let mut told = serde_json::to_value(config).unwrap_or_default();
    if let Some(fields) = told.as_object_mut() {
        fields.retain(|_, value| match value {
            serde_json::Value::Null => false,
            serde_json::Value::Bool(is_set) => *is_set,
            serde_json::Value::String(text) => !text.is_empty(),
            serde_json::Value::Array(items) => !items.is_empty(),
            serde_json::Value::Object(items) => !items.is_empty(),
            serde_json::Value::Number(_) => true,
        });
    }
    told
}
