//! The line between two nodes, which a test may cut, disturb or hold up: a proxy on loopback, at another address with the same port.
//! Addresses are this process's own, so that no other process has the port.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

const PORT: u16 = 8475;

/// What becomes of what the first node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The connection ends after so many bytes.
    CutAfter(usize),
    /// One bit is another after so many bytes.
    DisturbedAfter(usize),
    /// Nothing more comes after so many bytes, for as long as this lasts.
    HeldAfter(usize),
}

/// One that ends when dropped.
pub(crate) struct Line {
    /// The first node's, as the other reaches it.
    pub(crate) address: Ipv4Addr,
    trouble: watch::Sender<Trouble>,
    /// Bytes that came through it, in all.
    passed: watch::Sender<usize>,
    listening: JoinHandle<()>,
}

impl Line {
    /// Where the first node is to listen.
    pub(crate) fn end() -> SocketAddr {
        SocketAddr::from((own(0), PORT))
    }

    /// To what listens there.
    pub(crate) async fn lay() -> Line {
        let (end, address) = (Line::end(), own(1));
        let listener = TcpListener::bind((address, PORT)).await.unwrap();
        let (trouble, troubled) = watch::channel(Trouble::None);
        let (passed, _) = watch::channel(0);
        let counted = passed.clone();
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (troubled, counted) = (troubled.clone(), counted.clone());
                tokio::spawn(async move { pass(client, end, troubled, &counted).await });
            }
        });
        Line {
            address,
            trouble,
            passed,
            listening,
        }
    }

    pub(crate) fn has(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }

    /// What has come through so far.
    pub(crate) fn passed(&self) -> usize {
        *self.passed.borrow()
    }

    /// Waits until more than this has come through.
    pub(crate) async fn passes(&self, more_than: usize) {
        let mut passed = self.passed.subscribe();
        let seen = timeout(PATIENCE, passed.wait_for(|it| *it > more_than)).await;
        seen.expect("nothing comes").unwrap();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// An address of this process's: process ids have 22 bits.
fn own(number: u32) -> Ipv4Addr {
    let [_, a, b, c] = ((std::process::id() << 2) | number).to_be_bytes();
    Ipv4Addr::new(127, a, b, c)
}

async fn pass(
    client: TcpStream,
    end: SocketAddr,
    mut troubled: watch::Receiver<Trouble>,
    counted: &watch::Sender<usize>,
) {
    let server = TcpStream::connect(end).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = tokio::io::copy(&mut from_client, &mut to_server);
    let answers = async {
        let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
        loop {
            let read = from_server.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            let part = &mut buffer[..read];
            let reaches = |after: usize| (passed..passed + part.len()).contains(&after);
            let trouble = *troubled.borrow();
            match trouble {
                Trouble::CutAfter(after) if reaches(after) => return,
                Trouble::DisturbedAfter(after) if reaches(after) => part[after - passed] ^= 1,
                Trouble::HeldAfter(after) if reaches(after) => {
                    let _ = troubled.wait_for(|it| *it == Trouble::None).await;
                }
                Trouble::None
                | Trouble::CutAfter(_)
                | Trouble::DisturbedAfter(_)
                | Trouble::HeldAfter(_) => {}
            }
            passed += read;
            if to_client.write_all(part).await.is_err() {
                return;
            }
            counted.send_modify(|it| *it += read);
        }
    };
    // Whichever end is gone, the line is.
    tokio::select! {
        _asked = asks => {}
        () = answers => {}
    }
}
