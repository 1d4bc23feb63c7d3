//! Appending records: librdkafka's producer, and one thread that hands its delivery reports to the calls that wait for them.
//!
//! It stands in for rdkafka's `FutureProducer`, whose thread polls ten times a second and waits busily for the last part of
//! a millisecond of each poll. On a quiet host that thread cost more than everything that was sent. Ours sleeps until something
//! is sent, and then looks for reports at times: waking for each of them, and waking the calls one by one, is what costs.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::task::unconstrained;
use tokio::time::{timeout, timeout_at};

use super::client::{LINGER_MS, Link, LogContext};
use crate::{BusError, NewRecord};

/// Room for records that are under way, in KiB. Each takes its bytes and up to a KiB of book-keeping, so it bounds their
/// number too. Calls beyond it wait in turn until reports of earlier ones make room.
pub(super) const ROOM_KIB: u32 = 32 * 1024;
/// How long the thread sleeps when nothing is sent: how late it may see an error of the client, or that it shall end.
const IDLE: Duration = Duration::from_secs(1);
/// When it looks for reports after something was sent: no report comes before the linger has passed.
const FIRST_LOOK: Duration = Duration::from_millis(LINGER_MS + 4);
/// When it looks again with little under way. Records sent together are answered one after the other within a few of these.
const NEXT_LOOK: Duration = Duration::from_millis(8);
/// After every so many looks that find nothing the next come one step more seldom, up to this: brokers may be away for hours.
const PATIENT_LOOKS: u32 = 16;
const LOOK_MAX: Duration = Duration::from_millis(128);
/// The same with more than this under way: that is a record too large to linger, or many, and whoever sends waits for room.
const BUSY_LOOK: Duration = Duration::from_millis(1);
const BUSY_FROM_KIB: usize = 128;
/// How long closing waits for records under way. What is not delivered by then is given up.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);
/// How long closing then waits for the thread, which ends after one poll and lets go of the brokers.
const END_LIMIT: Duration = Duration::from_secs(3);

/// Where Kafka says a record lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// What becomes of a record that librdkafka took.
pub(super) type Report = oneshot::Receiver<Result<Delivered, KafkaError>>;

/// Why librdkafka did not take a record.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The producer is closed.
    Closed,
    /// It was refused, or there was no room for it in time.
    Refused(KafkaError),
}

/// Travels with a record through librdkafka and comes back with its delivery report.
pub(super) struct UnderWay {
    report: oneshot::Sender<Result<Delivered, KafkaError>>,
    /// Gives the room back when dropped.
    _room: OwnedSemaphorePermit,
}

impl ProducerContext for LogContext {
    type DeliveryOpaque = Box<UnderWay>;

    fn delivery(&self, result: &DeliveryResult<'_>, under_way: Box<UnderWay>) {
        let outcome = match result {
            Ok(message) => Ok(Delivered {
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => Err(error.clone()),
        };
        // The call may have been dropped meanwhile; the record is appended all the same.
        let _unheard = under_way.report.send(outcome);
    }
}

/// librdkafka's producer, held by [`Producer`] until it is closed and by the thread until it ends.
pub(super) struct Shared {
    pub(super) base: BaseProducer<LogContext>,
    room: Arc<Semaphore>,
    /// Whether the thread sleeps until it is told of a record.
    sleeps: AtomicBool,
}

/// Whether there was a report.
enum Served {
    Some,
    None,
}

/// Appends records.
pub(super) struct Producer {
    /// Gone once closed.
    shared: Mutex<Option<Arc<Shared>>>,
    thread: Thread,
    /// Its sender goes when the thread ends.
    ended: watch::Receiver<()>,
}

impl Producer {
    pub(super) fn open(link: &Link) -> Result<Self, BusError> {
        let base = link
            .producer()
            .create_with_context(link.log.clone())
            .map_err(|error| link.config_error(error))?;
        let shared = Arc::new(Shared {
            base,
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
            sleeps: AtomicBool::new(false),
        });
        let (running, ended) = watch::channel(());
        let polled = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("kafka-producer".to_owned())
            .spawn(move || {
                poll(polled);
                drop(running);
            })
            .map_err(|error| BusError::Config {
                key: "kafka".to_owned(),
                problem: format!(
                    "the producer's thread cannot be started ({error}); raise this process's limit of threads"
                ),
            })?;
        Ok(Self {
            shared: Mutex::new(Some(shared)),
            thread: thread.thread().clone(),
            ended,
        })
    }

    /// The client, for requests about the cluster.
    pub(super) fn client(&self) -> Result<Arc<Shared>, BusError> {
        self.shared().ok_or(BusError::Closed)
    }

    /// Hands a record to librdkafka and returns what its delivery report will come through. With room left this happens
    /// within the first poll; without, calls get it in the order they came, or fail once it is `until`.
    pub(super) async fn send(&self, record: &NewRecord, until: Instant) -> Result<Report, Unsent> {
        let shared = self.shared().ok_or(Unsent::Closed)?;
        let room = shared.room(record, until).await?;
        let (report, answer) = oneshot::channel();
        let under_way = UnderWay {
            report,
            _room: room,
        };
        let mut message =
            BaseRecord::with_opaque_to(&record.topic, Box::new(under_way)).key(&*record.key);
        // Compaction takes a missing value for a tombstone, not an empty one.
        if !record.value.is_empty() {
            message = message.payload(&*record.value);
        }
        if !record.headers.is_empty() {
            message = message.headers(headers(record));
        }
        if let Some(partition) = record.partition {
            // Known to exist, and Kafka counts partitions in i32.
            message = message.partition(partition as i32);
        }
        match shared.base.send(message) {
            Ok(()) => {
                if shared.sleeps.swap(false, Ordering::SeqCst) {
                    self.thread.unpark();
                }
                Ok(answer)
            }
            Err((error, _)) => Err(Unsent::Refused(error)),
        }
    }

    /// Takes no more records, waits for those under way, gives up what is still not delivered at the limit, and lets go of
    /// the brokers. Every call that waits is answered. An error says that records were given up.
    pub(super) async fn close(&self) -> Result<(), KafkaError> {
        let Some(shared) = self.shared() else {
            return Ok(());
        };
        shared.room.close();
        // The task is never aborted, so it fails only by the runtime's end.
        let flushed = tokio::task::spawn_blocking(move || {
            let flushed = shared.base.flush(FLUSH_LIMIT);
            if flushed.is_err() {
                shared.base.purge(PurgeConfig::default().queue().inflight());
            }
            flushed
        })
        .await
        .unwrap_or(Ok(()));
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut ended = self.ended.clone();
        // Nothing is ever sent: this ends with the thread. Should it not, it is left to itself.
        let _in_time = timeout(END_LIMIT, ended.changed()).await;
        flushed
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Shared {
    fn under_way_kib(&self) -> usize {
        ROOM_KIB as usize - self.room.available_permits()
    }

    /// Sleeps until a record is sent, or for [`IDLE`].
    fn sleep(&self) {
        self.sleeps.store(true, Ordering::SeqCst);
        // A call takes room first and looks whether to wake this thread last: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.under_way_kib() == 0 {
            thread::park_timeout(IDLE);
        }
        self.sleeps.store(false, Ordering::SeqCst);
    }

    /// Serves what has come. A poll that does not wait takes one event, so it goes on for as long as that gives room back;
    /// other events, which are few, may wait for the next time.
    fn serve(&self) -> Served {
        let mut served = Served::None;
        loop {
            let before = self.under_way_kib();
            self.base.poll(Duration::ZERO);
            // As much may have been sent meanwhile; then the rest is served with the next look.
            if self.under_way_kib() == before {
                return served;
            }
            served = Served::Some;
        }
    }

    /// Waits for room, fairly: nobody overtakes.
    async fn room(
        &self,
        record: &NewRecord,
        until: Instant,
    ) -> Result<OwnedSemaphorePermit, Unsent> {
        // The size was checked, so it fits; more than there is in all would never be granted.
        let kib = u32::try_from(record.size_bytes() / 1024 + 1).unwrap_or(ROOM_KIB);
        match Arc::clone(&self.room).try_acquire_many_owned(kib) {
            Ok(room) => return Ok(room),
            Err(TryAcquireError::Closed) => return Err(Unsent::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        // Within tokio's budget it might be told to yield before it has taken its place in the line.
        let asked = unconstrained(Arc::clone(&self.room).acquire_many_owned(kib));
        match timeout_at(until.into(), asked).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(Unsent::Closed),
            Err(_) => Err(Unsent::Refused(KafkaError::MessageProduction(
                RDKafkaErrorCode::QueueFull,
            ))),
        }
    }
}

fn headers(record: &NewRecord) -> OwnedHeaders {
    record.headers.iter().fold(
        OwnedHeaders::new_with_capacity(record.headers.len()),
        |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(&**value),
            })
        },
    )
}

/// Serves reports, logs and errors until nobody else holds the producer. After [`Producer::close`] it first sees to it that
/// every record is answered; when the log was dropped without that, nobody waits and what is under way is given up.
///
/// It is the last to hold the producer, so that tearing down the client, which blocks, happens here.
fn poll(shared: Arc<Shared>) {
    let mut looks_in_vain = 0;
    loop {
        let mut first_look = NEXT_LOOK;
        if shared.under_way_kib() == 0 {
            shared.sleep();
            looks_in_vain = 0;
            first_look = FIRST_LOOK;
        }
        let look = match shared.under_way_kib() {
            0 => Duration::ZERO,
            1..BUSY_FROM_KIB => first_look,
            BUSY_FROM_KIB.. => BUSY_LOOK,
        };
        thread::sleep((look * (1 + looks_in_vain / PATIENT_LOOKS)).min(LOOK_MAX));
        looks_in_vain = match shared.serve() {
            Served::Some => 0,
            Served::None => looks_in_vain.saturating_add(1),
        };
        let answered = shared.under_way_kib() == 0;
        if Arc::strong_count(&shared) == 1 && (answered || !shared.room.is_closed()) {
            break;
        }
    }
}
