//! Having an image at hand.

use units::{Image, OutcomeResult};

use crate::engine::{Engine, EngineError};
use crate::execute::{Done, failed};

/// Pulls it, and says what the reference means now. Where the registry does not give it, an image of that name that is here already
/// will do: one that was built or loaded here has no registry.
pub(crate) async fn carry_out(engine: &Engine, reference: &str) -> Done {
    let full = tagged(reference);
    let refused = match is_id(reference) {
        true => None,
        false => match engine.pull(&full).await {
            Ok(()) => None,
            Err(error) if error.leaves_doubt() => return Done::Doubtful(error),
            Err(error) => Some(error),
        },
    };
    match found(engine, reference).await {
        Ok(Some(image)) => Done::Certain(OutcomeResult::Succeeded {
            created: None,
            previous: None,
            image: Some(image),
        }),
        Ok(None) => Done::Certain(match refused {
            Some(error) => failed(format_args!("cannot pull {full}: {error}")),
            None => failed(format_args!("the engine has no image {reference}")),
        }),
        Err(error) => Done::Doubtful(error),
    }
}

/// What a reference means on this engine, if anything.
pub(crate) async fn found(engine: &Engine, reference: &str) -> Result<Option<Image>, EngineError> {
    match engine.image(reference).await {
        Ok(image) => Ok(image.id.map(|id| Image {
            reference: reference.to_owned(),
            id,
        })),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_id(reference: &str) -> bool {
    reference.starts_with("sha256:")
}

/// The engine pulls every tag of a reference without one, where people mean the latest.
fn tagged(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    match last.contains([':', '@']) {
        true => reference.to_owned(),
        false => format!("{reference}:latest"),
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
}
