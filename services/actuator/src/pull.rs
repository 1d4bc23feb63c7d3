//! Having an image at hand.

use std::path::Path;

use bollard::models::ImageInspect;
use units::{Image, OutcomeResult};

use crate::engine::{Engine, EngineError, Platform};
use crate::events::PullRefused;
use crate::execute::{Done, failed};
use crate::registry;

/// The tag that people mean where they write none.
const LATEST: &str = "latest";

/// What is pulled, and with what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pull {
    /// The reference, as it was ordered.
    pub(crate) reference: String,
    /// Where the credentials for registries are.
    pub(crate) auth_file: Option<std::path::PathBuf>,
}

/// Pulls it, and says what the reference means now. Where the registry does not give it, an image of that name that is here already
/// will do: one that was built or loaded here has no registry. One that came in part will not: the registry has another by now.
pub(crate) async fn carry_out(engine: &Engine, pull: &Pull) -> Done {
    let reference = pull.reference.as_str();
    let refused = match obtain(engine, reference, pull.auth_file.as_deref()).await {
        Ok(()) => None,
        Err(NotPulled::Doubtful(error)) => return Done::Doubtful(error),
        Err(NotPulled::GaveUp(reason)) => {
            return Done::Certain(failed(format_args!("cannot pull {reference}: {reason}")));
        }
        Err(NotPulled::Refused(reason)) => Some(reason),
    };
    match (at_hand(engine, reference).await, refused) {
        (Ok(Some(result)), None) => Done::Certain(result),
        (Ok(Some(result)), Some(reason)) => {
            PullRefused {
                reference,
                reason: &reason,
            }
            .emit();
            Done::Certain(result)
        }
        (Ok(None), Some(reason)) => Done::Certain(failed(format_args!(
            "cannot pull {reference}, and the engine has no image of that name: {reason}"
        ))),
        (Ok(None), None) => {
            Done::Certain(failed(format_args!("the engine has no image {reference}")))
        }
        (Err(error), _) => Done::Doubtful(error),
    }
}

/// Whether a reference can never mean another image: what it means is as good as pulled.
pub(crate) fn is_pinned(reference: &str) -> bool {
    is_id(reference) || reference.contains("@sha256:")
}

/// What a reference means on this engine, if anything: success, or why that image cannot run here.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn at_hand(
    engine: &Engine,
    reference: &str,
) -> Result<Option<OutcomeResult>, EngineError> {
    let image = match engine.image(reference).await {
        Ok(image) => image,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let node = engine.platform().await?;
    if let Some(obstacle) = obstacle(&image, &node) {
        return Ok(Some(failed(format_args!("{reference} {obstacle}"))));
    }
    let named = called(reference, &image);
    Ok(image.id.map(|id| OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: None,
        previous: None,
        image: Some(Image {
            reference: named,
            id,
        }),
    }))
}

/// The name people know an image by: the reference, or one that means what an id does.
fn called(reference: &str, image: &ImageInspect) -> String {
    let mut names = image.repo_tags.iter().flatten();
    match (is_id(reference), names.next()) {
        (true, Some(name)) => name.clone(),
        (true, None) | (false, _) => reference.to_owned(),
    }
}

/// Why an image is not here.
pub(crate) enum NotPulled {
    /// Nobody was able to give it.
    Refused(String),
    /// It was given, and did not come in full.
    GaveUp(String),
    Doubtful(EngineError),
}

/// Pulls a reference; an id cannot be pulled, and is left as it is.
pub(crate) async fn obtain(
    engine: &Engine,
    reference: &str,
    auth_file: Option<&Path>,
) -> Result<(), NotPulled> {
    if is_id(reference) {
        return Ok(());
    }
    let full = tagged(reference);
    let credentials = match auth_file {
        Some(file) => registry::credentials(file, &full)
            .map_err(|error| NotPulled::Refused(error.to_string()))?,
        None => None,
    };
    match engine.pull(&full, credentials).await {
        Ok(()) => Ok(()),
        Err(error) if error.leaves_doubt() => Err(NotPulled::Doubtful(error)),
        Err(error @ EngineError::GaveUp(_)) => Err(NotPulled::GaveUp(error.to_string())),
        Err(error) => Err(NotPulled::Refused(error.to_string())),
    }
}

/// Why an image does not run here: what it is built for. An image that does not say is taken at its word.
pub(crate) fn obstacle(image: &ImageInspect, node: &Platform) -> Option<String> {
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let built_for = Platform {
        os: said(&image.os),
        architecture: said(&image.architecture),
    };
    let fits = |has: &str, wants: &str| wants.is_empty() || has.is_empty() || has == wants;
    // Processors that run the 32-bit programs of their kind too.
    let narrower = [("amd64", "386"), ("arm64", "arm")];
    let runs = fits(&node.architecture, &built_for.architecture)
        || narrower.contains(&(&node.architecture, &built_for.architecture));
    let is_obstacle = !fits(&node.os, &built_for.os) || !runs;
    is_obstacle.then(|| {
        format!(
            "is built for {}/{}, and this node runs {}/{}; build it for that too",
            built_for.os, built_for.architecture, node.os, node.architecture
        )
    })
}

fn is_id(reference: &str) -> bool {
    reference.starts_with("sha256:")
}

/// The parts of a name that people gave an image; none of an id or a digest, which are not given.
pub(crate) fn name_and_tag(reference: &str) -> Option<(&str, &str)> {
    if reference.is_empty() || is_pinned(reference) {
        return None;
    }
    let last = reference.rfind('/').map_or(0, |it| it + 1);
    match reference[last..].rfind(':') {
        Some(at) => Some((&reference[..last + at], &reference[last + at + 1..])),
        None => Some((reference, LATEST)),
    }
}

/// The engine pulls every tag of a reference without one, where people mean the latest.
fn tagged(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    match last.contains([':', '@']) {
        true => reference.to_owned(),
        false => format!("{reference}:{LATEST}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_a_registry_is_no_tag() {
        assert_eq!(tagged("localhost:5000/web"), "localhost:5000/web:latest");
        assert_eq!(tagged("localhost:5000/web:4"), "localhost:5000/web:4");
        assert_eq!(tagged("web@sha256:ab"), "web@sha256:ab");
        assert_eq!(tagged("web"), "web:latest");
    }

    #[test]
    fn a_name_has_a_tag_and_what_is_no_name_has_none() {
        let of = name_and_tag;
        assert_eq!(of("web"), Some(("web", "latest")));
        assert_eq!(of("shop/web:4"), Some(("shop/web", "4")));
        let port = "localhost:5000/web";
        assert_eq!(of(port), Some((port, "latest")));
        assert_eq!(of("localhost:5000/web:4"), Some((port, "4")));
        for none in ["", "sha256:ab", "shop/web@sha256:ab", "web:4@sha256:ab"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn an_image_is_called_by_a_name_where_it_has_one() {
        let named = ImageInspect {
            repo_tags: Some(vec!["shop/web:3".to_owned()]),
            ..ImageInspect::default()
        };
        assert_eq!(called("sha256:ab", &named), "shop/web:3");
        assert_eq!(called("sha256:ab", &ImageInspect::default()), "sha256:ab");
        assert_eq!(called("web:latest", &named), "web:latest");
    }

    #[test]
    fn only_digests_and_ids_mean_one_image_for_ever() {
        assert!(is_pinned("sha256:ab") && is_pinned("shop/web@sha256:ab"));
        assert!(!is_pinned("shop/web:4") && !is_pinned("web"));
    }

    #[test]
    fn what_is_built_for_another_machine_is_told_apart() {
        let node = Platform {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
        };
        let built_for = |os: &str, architecture: &str| ImageInspect {
            os: Some(os.to_owned()),
            architecture: Some(architecture.to_owned()),
            ..ImageInspect::default()
        };
        for fits in [("linux", "amd64"), ("linux", "386"), ("", "")] {
            assert_eq!(
                obstacle(&built_for(fits.0, fits.1), &node),
                None,
                "{fits:?}"
            );
        }
        assert_eq!(obstacle(&ImageInspect::default(), &node), None);
        assert_eq!(
            obstacle(&built_for("linux", "arm64"), &node).unwrap(),
            "is built for linux/arm64, and this node runs linux/amd64; build it for that too"
        );
        assert!(obstacle(&built_for("windows", "amd64"), &node).is_some());
    }
}
