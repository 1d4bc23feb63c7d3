//! A real Kafka, collectors over it, and what they say there.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bus::testing::KafkaBroker;
use bus::{Bus, From, Record, Tailed};
use e2e::homeostat::{Homeostat, Launch};
use tokio::task::JoinHandle;

use crate::engine::now;

/// As an operator would have them.
const PARTITIONS: u32 = 12;
/// More settings for every collector, `key=value` with blanks between.
const MORE_SETTINGS: &str = "BENCH_SET";

/// As the systemd unit and the compose file set it.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_max=128");

/// One broker for all parts.
pub(crate) struct Rig {
    broker: KafkaBroker,
    bus: Bus,
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        let broker = KafkaBroker::start().unwrap_or_else(|error| panic!("no Kafka: {error}"));
        let bus = Bus::kafka(&broker.config()).unwrap();
        bus.ensure_topics(&wire::topic::all(PARTITIONS))
            .await
            .unwrap();
        Rig { broker, bus }
    }

    /// A collector as a process of its own, once it is ready.
    pub(crate) async fn collector(&self, dir: &Path, settings: &[(&str, &str)]) -> Homeostat {
        let more = std::env::var(MORE_SETTINGS).unwrap_or_default();
        let more = more.split_whitespace().map(|setting| {
            setting
                .split_once('=')
                .unwrap_or_else(|| panic!("{MORE_SETTINGS}: {setting:?} is not key=value"))
        });
        let mut all = vec![
            ("node", "bench"),
            ("bus.backend", "kafka"),
            ("bus.kafka.brokers", self.broker.brokers()),
        ];
        all.extend_from_slice(settings);
        all.extend(more);
        let (name, value) = TUNABLES;
        let launch = Launch {
            environment: vec![(name.to_owned(), value.to_owned())],
            ..Launch::default()
        };
        let collector = Homeostat::start_as(&launch, &["collector"], dir, &all);
        collector.ready().await;
        collector
    }

    /// Keeps all that is appended to a topic from now on.
    pub(crate) async fn follow(&self, topic: &str) -> Following {
        let mut tail = self.bus.tail(topic, From::End).await.unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&received);
        let task = tokio::spawn(async move {
            loop {
                if let Tailed::Record(record) = tail.next().await.unwrap() {
                    let at = now();
                    lock(&keep).push(Received { record, at });
                }
            }
        });
        Following { received, task }
    }

    /// All that lies in a topic.
    pub(crate) async fn read(&self, topic: &str, mut each: impl FnMut(&Record)) {
        let mut tail = self.bus.tail(topic, From::Beginning).await.unwrap();
        while let Tailed::Record(record) = tail.next().await.unwrap() {
            each(&record);
        }
    }
}

/// A record and when it was received, in seconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) record: Record,
    pub(crate) at: f64,
}

/// A reader in the background. It decodes nothing, so as not to take processor time from what is measured.
pub(crate) struct Following {
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Following {
    /// What came so far.
    pub(crate) fn so_far(&self) -> Vec<Received> {
        assert!(!self.task.is_finished(), "the topic cannot be read");
        lock(&self.received).clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(received: &Mutex<Vec<Received>>) -> std::sync::MutexGuard<'_, Vec<Received>> {
    // Pushing is complete in itself.
    received.lock().unwrap_or_else(PoisonError::into_inner)
}
