//! The image of a container that comes from another node: told of with it, and had here, from a registry or from that node.

use bollard::models::{ContainerInspectResponse, ImageConfig, ImageInspect};
use units::{Command, Origin, Refusal};

use super::opened;
use crate::engine::{Engine, Platform};
use crate::guard::{Refused, name_of};
use crate::images::{self, NotFetched};
use crate::prepare::{Here, Unprepared, named};
use crate::seal::{Exported, ExportedImage};
use crate::{advice, pull, replica};

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

/// Gets that image, unless it has come meanwhile: from the first registry that gives it, else from the node it runs on.
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
    let Some(unpulled) = pull_any(here, &exported.image).await? else {
        return Ok(());
    };
    let (reference, from, node) = (&exported.image.reference, &exported.node, &command.node);
    let why = match &unpulled {
        Unpulled::Nowhere => {
            format!("the image {reference} was built on {from} and is in no registry")
        }
        Unpulled::Refused(reasons) => {
            let reasons = reasons.join("; ");
            format!("cannot pull the image {reference} as it runs on {from}: {reasons}")
        }
    };
    let elsewhere = match &unpulled {
        Unpulled::Nowhere => format!("push it to a registry that {node} can pull from"),
        // The next step is said with what was said.
        Unpulled::Refused(reasons) if advice::next_step(&reasons.join("; ")).is_some() => {
            format!("push it to a registry that {node} can pull from")
        }
        Unpulled::Refused(_) => format!(
            "let {node} have credentials for it (actuator.registry_auth_file), or push it to a registry that {node} can pull from"
        ),
    };
    let is_lost = command.relocation.as_ref().is_some_and(|it| it.lost);
    let told = match (&exported.offer, here.key) {
        (Some(offer), Some(key)) => match images::fetch(here.engine, key, from, offer).await {
            Ok(loaded) => return arrived(here.engine, &exported, &loaded).await,
            Err(NotFetched::Engine(error)) => return Err(error.into()),
            Err(error) => {
                format!("{why}; and it did not come from {from}: {error}; or {elsewhere}")
            }
        },
        (None, _) | (_, None) if is_lost => {
            format!(
                "{why}; and {from} is lost and cannot give it: load it on {node} (docker load), or {elsewhere}"
            )
        }
        (None, _) | (_, None) => {
            format!(
                "{why}; and {from} offers no images: set actuator.images.listen there, or {elsewhere}"
            )
        }
    };
    Err(Unprepared::Failed(told))
}

/// Why no registry gave an image.
enum Unpulled {
    /// None is known to have it.
    Nowhere,
    /// What each of them said.
    Refused(Vec<String>),
}

/// Pulls an image from the first registry that gives it. None when it came.
async fn pull_any(here: &Here<'_>, told: &ExportedImage) -> Result<Option<Unpulled>, Unprepared> {
    if told.repo_digests.is_empty() {
        return Ok(Some(Unpulled::Nowhere));
    }
    let mut refusals = Vec::new();
    for digest in &told.repo_digests {
        match pull::obtain(here.engine, digest, here.auth_file).await {
            Ok(()) => return Ok(None),
            Err(pull::NotPulled::Doubtful(error)) => return Err(error.into()),
            Err(pull::NotPulled::GaveUp(reason) | pull::NotPulled::Refused(reason)) => {
                refusals.push(format!("{digest}: {reason}"));
            }
        }
    }
    Ok(Some(Unpulled::Refused(refusals)))
}

/// Holds what came from another node against what it told of the image, and calls it as it is called there, where nothing else is called
/// so here. What is something else is left as it is: the engine may have had it before.
async fn arrived(
    engine: &Engine,
    exported: &Exported,
    loaded: &[String],
) -> Result<(), Unprepared> {
    let told = &exported.image;
    let from = &exported.node;
    let node = engine.platform().await?;
    let mut wrong = format!("it sent no image {}", told.id);
    for id in std::iter::once(&told.id).chain(loaded) {
        let image = match engine.image(id).await {
            Ok(image) => image,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(obstacle) = differs(told, &image, &node) {
            wrong = obstacle;
            continue;
        }
        if let Some((name, tag)) = pull::name_and_tag(&told.reference) {
            match engine.image(&told.reference).await {
                Err(error) if error.is_missing() => engine.tag(id, name, tag).await?,
                _known => {}
            }
        }
        return match self::image(engine, exported).await? {
            Image::Here(_) => Ok(()),
            Image::Elsewhere => Err(Unprepared::Failed(format!(
                "the image {} came from {from} and is {id} here, and {} is another image: give one of the two another name",
                told.id, told.reference
            ))),
        };
    }
    Err(Unprepared::Failed(format!(
        "what came from {from} is not the image {} that it promised: {wrong}",
        told.reference
    )))
}

/// What another node is to know of the image of a container.
pub(super) fn told_of(found: &ContainerInspectResponse, image: ImageInspect) -> ExportedImage {
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
pub(super) enum Image {
    /// Here, and this is what to call it.
    Here(String),
    Elsewhere,
}

/// Where the image is that a container of another node runs.
///
/// # Errors
/// A refusal where what is here is another one, or does not run here; or what the engine said.
pub(super) async fn image(engine: &Engine, exported: &Exported) -> Result<Image, Unprepared> {
    let told = &exported.image;
    let by_id = std::iter::once(&told.id);
    // An engine that stores images in another way knows one that was loaded by its name alone.
    let by_name = pull::name_and_tag(&told.reference).map(|_| &told.reference);
    for reference in by_id.chain(&told.repo_digests).chain(by_name) {
        let image = match engine.image(reference).await {
            Ok(image) => image,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        let name = name_of(&exported.inspect);
        if let Some(obstacle) = differs(told, &image, &engine.platform().await?) {
            // What is called so here is anything.
            if *reference == told.reference {
                continue;
            }
            let reason = format!("{name} cannot be made here: {obstacle}");
            return Err(Refused::new(Refusal::Unsafe, reason).into());
        }
        let id = image.id.as_deref().unwrap_or(&told.id);
        let known = named(engine, &told.reference, id).await?;
        if known != id {
            return Ok(Image::Here(known));
        }
        // A digest at least tells people where it is from.
        let digests = image.repo_digests.as_deref().unwrap_or_default();
        let digest = told.repo_digests.iter().find(|it| digests.contains(it));
        return Ok(Image::Here(digest.unwrap_or(&known).clone()));
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

#[cfg(test)]
mod tests {
    use bollard::models::ImageInspectRootFs;

    use super::*;

    fn node(architecture: &str) -> Platform {
        Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
        }
    }

    fn image(id: &str, architecture: &str, layer: &str, user: Option<&str>) -> ImageInspect {
        ImageInspect {
            id: Some(id.to_owned()),
            os: Some("linux".to_owned()),
            architecture: Some(architecture.to_owned()),
            root_fs: Some(ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(vec![layer.to_owned()]),
            }),
            config: Some(ImageConfig {
                user: user.map(ToOwned::to_owned),
                ..ImageConfig::default()
            }),
            ..ImageInspect::default()
        }
    }

    fn told() -> ExportedImage {
        let found = ContainerInspectResponse {
            image: Some("sha256:1".to_owned()),
            ..ContainerInspectResponse::default()
        };
        told_of(&found, image("sha256:1", "amd64", "l1", Some("")))
    }

    #[test]
    fn an_image_is_the_same_by_its_id_or_by_all_that_is_in_it() {
        let differs = |image: ImageInspect| differs(&told(), &image, &node("amd64"));
        assert_eq!(differs(image("sha256:1", "amd64", "l1", None)), None);
        // Stored in another way.
        assert_eq!(differs(image("sha256:2", "amd64", "l1", None)), None);
        for other in [
            image("sha256:2", "amd64", "l2", None),
            image("sha256:2", "amd64", "l1", Some("web")),
        ] {
            let told = differs(other).unwrap();
            assert!(
                told.contains("sha256:1") && told.contains("sha256:2"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_is_built_for_another_architecture_is_refused_with_both() {
        let there = told();
        // Many images under one digest: the registry gave the one for this node.
        let own = image("sha256:2", "arm64", "l2", None);
        let told = differs(&there, &own, &node("arm64")).unwrap();
        assert!(
            told.contains("linux/amd64") && told.contains("linux/arm64"),
            "{told}"
        );
        // One image, for the other node alone.
        let same = image("sha256:1", "amd64", "l1", None);
        let told = differs(&there, &same, &node("arm64")).unwrap();
        assert!(
            told.contains("built for linux/amd64") && told.contains("runs linux/arm64"),
            "{told}"
        );
    }
}
