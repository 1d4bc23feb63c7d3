//! Images that leave an engine, come to one, and get a name there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::query_parameters::{ImportImageOptions, TagImageOptions};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::{Engine, EngineError, READ_WITHIN, WRITE_WITHIN};

/// What engines write before the id of an image that was loaded and has no name.
const LOADED_ID: &str = "Loaded image ID: ";

/// What came of loading an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// It is there; under these ids, where the engine told.
    Whole(Vec<String>),
    /// It did not come in full, and the engine keeps nothing of it.
    Cut,
    /// The engine was not done with it in time.
    Late,
}

impl Engine {
    /// Saves an image, as `docker save` does: what comes of it is sent for as long as somebody takes it.
    pub(crate) async fn save(
        &self,
        image: &str,
        to: mpsc::Sender<Bytes>,
        within: Duration,
    ) -> Result<(), EngineError> {
        self.call(within + READ_WITHIN, |docker| async move {
            let mut saved = Box::pin(docker.export_image(image));
            while let Some(part) = saved.next().await {
                if to.send(part?).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    /// Loads an image, as `docker load` does, from what comes of it. An error among that ends it.
    pub(crate) async fn load(
        &self,
        from: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        within: Duration,
    ) -> Result<Loaded, EngineError> {
        let is_cut = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_cut);
        let from = from.inspect(move |part| {
            if part.is_err() {
                seen.store(true, Ordering::Relaxed);
            }
        });
        let options = ImportImageOptions {
            quiet: true,
            platform: None,
        };
        let loaded = self.call(within + READ_WITHIN, |docker| async move {
            let loading = async {
                let mut told = Box::pin(docker.import_image_stream(options, from, None));
                let mut ids = Vec::new();
                while let Some(step) = told.next().await {
                    let line = step?.stream.unwrap_or_default();
                    let id = line.trim().strip_prefix(LOADED_ID);
                    ids.extend(id.map(ToOwned::to_owned));
                }
                Ok(Loaded::Whole(ids))
            };
            // A slow line is no fault of the engine's, and a cut one neither.
            match tokio::time::timeout(within, loading).await {
                Err(_) => Ok(Loaded::Late),
                Ok(_) if is_cut.load(Ordering::Relaxed) => Ok(Loaded::Cut),
                Ok(loaded) => loaded,
            }
        });
        loaded.await
    }

    /// Gives an image a name and a tag.
    pub(crate) async fn tag(&self, image: &str, name: &str, tag: &str) -> Result<(), EngineError> {
        let options = TagImageOptions {
            repo: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
        };
        self.call(WRITE_WITHIN, |docker| async move {
            docker.tag_image(image, Some(options)).await
        })
        .await
    }
}
