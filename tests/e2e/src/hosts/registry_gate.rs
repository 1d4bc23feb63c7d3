//! A gate before a registry: it passes on what is asked, or stands in for a registry in trouble. It ends with its port, where then
//! nobody listens.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Registry;

/// Somebody asks for a layer within this, on a busy machine.
const ASKED: Duration = Duration::from_secs(90);
const BLOBS: &str = "/blobs/sha256:";
/// What `docker-registry` says with status 500 where its disk is full: error 28 of Linux is that there is no space left.
const NO_SPACE: &str = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"write","Path":"/var/lib/docker-registry","Err":28}}}]}"#;

/// What is wrong with the registry behind a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Its disk is full: who asks for a layer gets an error.
    Full,
    /// Layers break off in the middle.
    Breaks,
    /// Nobody gets a layer before it is another trouble, or none.
    Holds,
}

/// Listens until dropped.
pub struct RegistryGate {
    address: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    registry: String,
    trouble: watch::Sender<Trouble>,
    /// How many layers were asked for.
    asked: watch::Sender<usize>,
}

impl RegistryGate {
    pub(super) async fn start(machine: Ipv4Addr, registry: &Registry) -> RegistryGate {
        let listener = TcpListener::bind((machine, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            registry: registry.address().to_owned(),
            trouble: watch::channel(Trouble::None).0,
            asked: watch::channel(0).0,
        });
        let serving = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let serving = Arc::clone(&serving);
                // Clients hang up when they please.
                tokio::spawn(async move { drop(serve(client, &serving).await) });
            }
        });
        RegistryGate {
            address,
            shared,
            listening,
        }
    }

    /// How an image of this name is called so that engines find it here, such as `shop:1`.
    pub fn reference(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Where it listens: address and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on this is wrong.
    pub fn set(&self, trouble: Trouble) {
        self.shared.trouble.send_replace(trouble);
    }

    /// Waits until somebody has asked for a layer.
    pub async fn is_asked(&self) {
        let mut asked = self.shared.asked.subscribe();
        let asked = timeout(ASKED, asked.wait_for(|asked| *asked > 0)).await;
        asked.expect("nobody asked for a layer").unwrap();
    }
}

impl Drop for RegistryGate {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Serves one question, since the gate looks at each: a connection ends with it.
async fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let Some(head) = head(&mut client).await? else {
        return Ok(());
    };
    let mut registry = TcpStream::connect(&shared.registry).await?;
    let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    let asked = format!("{first}\r\nConnection: close\r\n{rest}");
    let is_layer = first.starts_with("GET ") && first.contains(BLOBS);
    if is_layer {
        shared.asked.send_modify(|asked| *asked += 1);
        let mut trouble = shared.trouble.subscribe();
        let trouble = trouble.wait_for(|it| *it != Trouble::Holds).await;
        let trouble = trouble.map_or(Trouble::None, |it| *it);
        match trouble {
            Trouble::None | Trouble::Holds => {}
            Trouble::Full => return refuse(&mut client).await,
            Trouble::Breaks => {
                registry.write_all(asked.as_bytes()).await?;
                let mut answer = Vec::new();
                registry.read_to_end(&mut answer).await?;
                return client.write_all(&answer[..answer.len() / 2]).await;
            }
        }
    }
    registry.write_all(asked.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut registry).await?;
    Ok(())
}

/// Up to the empty line, which is part of it. None of a client that tries TLS, whose first byte is no letter.
async fn head(client: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = client.read_u8().await?;
        if head.is_empty() && !byte.is_ascii_uppercase() {
            return Ok(None);
        }
        head.push(byte);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

async fn refuse(client: &mut TcpStream) -> std::io::Result<()> {
    let length = NO_SPACE.len();
    let head = format!(
        "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(NO_SPACE.as_bytes()).await
}
