//! A gate between one process and Kafka: what the process appends comes into the log, and it does not hear of it before the test lets
//! it. A process that writes one record after the other, as the controller does, so stands still after each of them, and can be killed
//! when exactly so many are in the log.
//!
//! It reads as much of Kafka's protocol (<https://kafka.apache.org/protocol>) as that takes. All else passes as it is.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Keys of requests.
const PRODUCE: i16 = 0;
const HEARTBEAT: i16 = 12;
const LEAVE_GROUP: i16 = 13;
const SYNC_GROUP: i16 = 14;
/// The version of requests to leave a group that is written here.
const LEAVE_GROUP_VERSION: i16 = 1;
/// The broker has found out by itself.
const UNKNOWN_MEMBER: i16 = 25;
/// Requests of these keys are read up to this version: later ones write texts in another way.
const MEMBER_VERSION_MAX: i16 = 3;
/// A frame longer than this is none.
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A request says within so many bytes which topic it is about: with one topic, as those of single records have.
const TOPIC_WITHIN_BYTES: usize = 512;

/// A member of a consumer group.
#[derive(Debug, Clone)]
struct Member {
    group: String,
    id: String,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    broker: String,
    topics: Vec<&'static str>,
    held: mpsc::UnboundedSender<Held>,
    member: Mutex<Option<Member>>,
}

/// A record is in the log, and who wrote it has not heard of that.
#[derive(Debug)]
pub struct Held {
    go_on: oneshot::Sender<()>,
}

impl Held {
    /// It hears of it.
    pub fn go_on(self) {
        // A process that was killed meanwhile hears nothing any more.
        let _ = self.go_on.send(());
    }
}

/// The gate. Ends when dropped.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    held: mpsc::UnboundedReceiver<Held>,
    listening: JoinHandle<()>,
}

impl Gate {
    /// Listens at an address before a broker that tells its clients that it is there, and holds what is appended to these topics.
    pub(super) async fn start(at: &str, broker: &str, topics: &[&'static str]) -> Gate {
        let listener = TcpListener::bind(at).await.unwrap();
        let (send, held) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            broker: broker.to_owned(),
            topics: topics.to_vec(),
            held: send,
            member: Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Gate {
            shared,
            held,
            listening,
        }
    }

    /// The next record that came into the log. Cancel-safe.
    pub async fn next(&mut self) -> Held {
        let next = self.held.recv().await;
        next.expect("the gate holds a sender itself")
    }

    /// Tells the broker that the process, which was killed, has left its consumer group. It would find out by itself, when the session
    /// is over; the next one need not wait for that. What the gate held for it is let go.
    pub async fn bury(&mut self) {
        while self.held.try_recv().is_ok() {}
        let member = self.shared.member().take();
        let member = member.expect("a controller that was killed took part in the election");
        let mut broker = TcpStream::connect(&self.shared.broker).await.unwrap();
        broker.write_all(&leave_group(&member)).await.unwrap();
        let answer = frame(&mut broker).await.unwrap();
        let error = answer[8..].first_chunk().map(|it| i16::from_be_bytes(*it));
        assert!(
            matches!(error, Some(0 | UNKNOWN_MEMBER)),
            "{member:?} stays: {error:?}"
        );
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Shared {
    fn member(&self) -> MutexGuard<'_, Option<Member>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_held(&self, request: &[u8]) -> bool {
        let head = &request[..request.len().min(TOPIC_WITHIN_BYTES)];
        let names = |topic: &&str| head.windows(topic.len()).any(|it| it == topic.as_bytes());
        key(request) == Some(PRODUCE) && self.topics.iter().any(names)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A broker or a client that is gone is no matter of the gate's.
            let _ = pass(client, &shared).await;
        });
    }
}

/// Passes requests and answers on until one of the two is gone.
async fn pass(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let broker = TcpStream::connect(&shared.broker).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let watched = Mutex::new(BTreeSet::new());
    tokio::select! {
        ended = requests(from_client, to_broker, shared, &watched) => ended,
        ended = answers(from_broker, to_client, shared, &watched) => ended,
    }
}

/// Numbers of requests whose answers are held.
type Watched = Mutex<BTreeSet<[u8; 4]>>;

fn watched(numbers: &Watched) -> MutexGuard<'_, BTreeSet<[u8; 4]>> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    numbers: &Watched,
) -> io::Result<()> {
    loop {
        let request = frame(&mut from).await?;
        if shared.is_held(&request)
            && let Some(number) = request.get(4..8)
        {
            watched(numbers).insert([number[0], number[1], number[2], number[3]]);
        }
        if let Some(member) = member(&request) {
            *shared.member() = Some(member);
        }
        write(&mut to, &request).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    numbers: &Watched,
) -> io::Result<()> {
    loop {
        let answer = frame(&mut from).await?;
        let number = answer.first_chunk::<4>();
        let is_held = number.is_some_and(|it| watched(numbers).remove(it));
        if is_held {
            let (go_on, wait) = oneshot::channel();
            let told = shared.held.send(Held { go_on });
            told.map_err(|_| io::Error::other("the test is over"))?;
            let gone = |_| io::Error::other("who was to hear of it is gone");
            wait.await.map_err(gone)?;
        }
        write(&mut to, &answer).await?;
    }
}

/// A request or answer, without its length.
async fn frame(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_i32().await?).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("not Kafka's protocol"));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(to: &mut OwnedWriteHalf, frame: &[u8]) -> io::Result<()> {
    let length = i32::try_from(frame.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(frame).await
}

fn key(request: &[u8]) -> Option<i16> {
    request.first_chunk().map(|it| i16::from_be_bytes(*it))
}

/// Who speaks, in a request that members of a group make time and again: group, number of the generation, member.
fn member(request: &[u8]) -> Option<Member> {
    let version = i16::from_be_bytes(request.get(2..4)?.try_into().ok()?);
    if !matches!(key(request)?, HEARTBEAT | SYNC_GROUP) || version > MEMBER_VERSION_MAX {
        return None;
    }
    let (_client, rest) = text(request.get(8..)?)?;
    let (group, rest) = text(rest)?;
    let (id, _rest) = text(rest.get(4..)?)?;
    Some(Member { group, id })
}

/// A text and what comes after it.
fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// With its length before it.
fn leave_group(member: &Member) -> Vec<u8> {
    let text = |it: &str| {
        let length = i16::try_from(it.len()).unwrap();
        [&length.to_be_bytes()[..], it.as_bytes()].concat()
    };
    let request = [
        LEAVE_GROUP.to_be_bytes().to_vec(),
        LEAVE_GROUP_VERSION.to_be_bytes().to_vec(),
        0_i32.to_be_bytes().to_vec(),
        text("e2e"),
        text(&member.group),
        text(&member.id),
    ]
    .concat();
    let length = i32::try_from(request.len()).unwrap();
    [&length.to_be_bytes()[..], &request].concat()
}
