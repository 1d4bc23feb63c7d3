//! A registry of one image on loopback, as far as an engine asks one for it (distribution specification, the pull part). It can hold
//! its answers back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use futures::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const BLOB: &str = "application/octet-stream";
const BLOCK: usize = 512;

/// A registry that ends when dropped.
pub(crate) struct Registry {
    /// What to pull from it, by tag.
    pub(crate) reference: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    /// What is said at a path, by its last part.
    told: HashMap<String, (&'static str, Vec<u8>)>,
    /// Whether answers to questions for something by its digest are held back.
    holds: watch::Sender<bool>,
    /// How many such questions came.
    asked: watch::Sender<usize>,
}

impl Registry {
    /// One that has this image of the engine.
    pub(crate) async fn of(docker: &Docker, image: &str) -> Registry {
        let mut saved = Vec::new();
        let mut parts = std::pin::pin!(docker.export_image(image));
        while let Some(part) = parts.next().await {
            saved.extend_from_slice(&part.unwrap());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            told: contents(&files(&saved)),
            holds: watch::channel(false).0,
            asked: watch::channel(0).0,
        });
        let serving = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let serving = Arc::clone(&serving);
                tokio::spawn(async move { answer(client, &serving).await });
            }
        });
        Registry {
            reference: format!("localhost:{port}/shop/web:1"),
            shared,
            listening,
        }
    }

    /// From now on nobody gets anything by its digest.
    pub(crate) fn hold(&self) {
        self.shared.holds.send_replace(true);
    }

    /// From now on everybody does.
    pub(crate) fn release(&self) {
        self.shared.holds.send_replace(false);
    }

    /// Waits until somebody asks for something by its digest, from the moment this is called.
    pub(crate) fn is_asked(&self) -> impl Future<Output = ()> {
        let mut asked = self.shared.asked.subscribe();
        async move {
            let patience = Duration::from_secs(60);
            timeout(patience, asked.changed()).await.unwrap().unwrap();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The files of a tar (POSIX ustar): a head of one block with name and length, then the content, filled up to whole blocks.
fn files(tar: &[u8]) -> HashMap<String, &[u8]> {
    let mut files = HashMap::new();
    let mut at = 0;
    while at + BLOCK <= tar.len() && tar[at] != 0 {
        let head = &tar[at..at + BLOCK];
        let text = |from: usize, to: usize| {
            let text = String::from_utf8_lossy(&head[from..to]).into_owned();
            text.trim_end_matches('\0').trim().to_owned()
        };
        let length = usize::from_str_radix(&text(124, 135), 8).unwrap();
        let from = at + BLOCK;
        files.insert(text(0, 100), &tar[from..from + length]);
        at = from + length.div_ceil(BLOCK) * BLOCK;
    }
    files
}

/// The manifest by tag and digest, and the blobs by digest, of an image as `docker save` writes it.
fn contents(saved: &HashMap<String, &[u8]>) -> HashMap<String, (&'static str, Vec<u8>)> {
    let listed: Value = serde_json::from_slice(saved["manifest.json"]).unwrap();
    let mut told = HashMap::new();
    let mut blob = |path: &Value, kind: &str| {
        let bytes = saved[path.as_str().unwrap()].to_vec();
        let digest = digest(&bytes);
        let described = json!({"mediaType": kind, "size": bytes.len(), "digest": &digest});
        told.insert(digest, (BLOB, bytes));
        described
    };
    let config = blob(
        &listed[0]["Config"],
        "application/vnd.docker.container.image.v1+json",
    );
    let layers = listed[0]["Layers"].as_array().unwrap().iter();
    let layers: Vec<Value> = layers
        .map(|layer| blob(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip"))
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    told.insert(digest(&manifest), (MANIFEST, manifest.clone()));
    told.insert("1".to_owned(), (MANIFEST, manifest));
    told
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    format!("sha256:{hex}")
}

async fn answer(mut client: TcpStream, shared: &Shared) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            // An engine tries TLS first, whose first byte is no letter.
            Ok(byte) if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => head.push(byte),
            Ok(_) | Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let last = path.rsplit('/').next().unwrap();
    // An engine may remember a manifest, and ask for what it names alone.
    if last.starts_with("sha256:") {
        shared.asked.send_modify(|asked| *asked += 1);
        let mut holds = shared.holds.subscribe();
        let _ = holds.wait_for(|holds| !holds).await;
    }
    let nothing = (BLOB, Vec::new());
    let (status, (kind, body)) = match shared.told.get(last) {
        Some(told) => ("200 OK", told),
        None if path == "/v2/" => ("200 OK", &nothing),
        None => ("404 Not Found", &nothing),
    };
    let length = body.len();
    let digest = digest(body);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nDocker-Content-Digest: {digest}\r\nDocker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n"
    );
    let _ = client.write_all(head.as_bytes()).await;
    if method != "HEAD" {
        let _ = client.write_all(body).await;
    }
}
