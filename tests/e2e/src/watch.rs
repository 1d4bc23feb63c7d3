//! How few healthy containers a service ever has, on all engines together, as they tell it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use tokio_util::sync::CancellationToken;

const SERVICE: &str = "io.homeostat.service";
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The fewest healthy containers of services that are watched.
type Fewest = Arc<Mutex<BTreeMap<String, usize>>>;

/// Asks the engines time and again, on a thread of its own.
pub struct Watch {
    fewest: Fewest,
    is_over: CancellationToken,
    looking: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches the engines at these addresses.
    pub fn start(engines: impl IntoIterator<Item = String>) -> Watch {
        let engines = engines.into_iter().map(|address| {
            Docker::connect_with_host(&address).unwrap_or_else(|error| panic!("{address}: {error}"))
        });
        let engines: Vec<Docker> = engines.collect();
        let (fewest, is_over) = (Fewest::default(), CancellationToken::new());
        let looking = std::thread::spawn({
            let (fewest, is_over) = (Arc::clone(&fewest), is_over.clone());
            move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build().unwrap();
                runtime.block_on(is_over.run_until_cancelled(look(engines, &fewest)));
            }
        });
        Watch {
            fewest,
            is_over,
            looking: Some(looking),
        }
    }

    /// Watches a service, all of whose containers are healthy.
    pub fn add(&self, service: &str) {
        let before = lock(&self.fewest).insert(service.to_owned(), usize::MAX);
        assert!(before.is_none(), "{service} is watched already");
    }

    /// The fewest healthy containers that a service had at any look until now. It is not watched any more.
    pub fn end(&self, service: &str) -> usize {
        let looking = self.looking.as_ref();
        assert!(looking.is_some_and(|it| !it.is_finished()), "it looks");
        let fewest = lock(&self.fewest).remove(service);
        let fewest = fewest.expect("a service that is watched");
        assert!(fewest < usize::MAX, "{service} was never looked at");
        fewest
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.cancel();
        if let Some(looking) = self.looking.take() {
            let _ = looking.join();
        }
    }
}

fn lock(fewest: &Fewest) -> MutexGuard<'_, BTreeMap<String, usize>> {
    fewest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While the engines are asked one after the other, one container may come and another go. So they are asked in their order and, but for
/// the last, in it once more: what serves all the time on one or the other is found in one of the two readings.
async fn look(engines: Vec<Docker>, fewest: &Fewest) {
    let mut spoken = Vec::new();
    for engine in engines {
        spoken.push(engine.negotiate_version().await.unwrap());
    }
    let (last, others) = spoken.split_last().expect("an engine to watch");
    loop {
        let watched: Vec<String> = lock(fewest).keys().cloned().collect();
        let before = counted(others).await;
        let there = healthy(last).await;
        let after = counted(others).await;
        for service in watched {
            let of = |counts: &BTreeMap<String, usize>| counts.get(&service).copied();
            let elsewhere = of(&before).max(of(&after)).unwrap_or_default();
            let sum = elsewhere + of(&there).unwrap_or_default();
            if let Some(least) = lock(fewest).get_mut(&service) {
                *least = (*least).min(sum);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn counted(engines: &[Docker]) -> BTreeMap<String, usize> {
    let mut sum = BTreeMap::new();
    for engine in engines {
        for (service, count) in healthy(engine).await {
            *sum.entry(service).or_default() += count;
        }
    }
    sum
}

/// Healthy containers on one engine, by their services.
async fn healthy(engine: &Docker) -> BTreeMap<String, usize> {
    let filters = HashMap::from([("health", vec!["healthy"]), ("label", vec![SERVICE])]);
    let options = ListContainersOptionsBuilder::new().filters(&filters);
    let listed = engine.list_containers(Some(options.build())).await;
    let mut counts = BTreeMap::new();
    for container in listed.unwrap_or_else(|error| panic!("an engine does not answer: {error}")) {
        let labels = container.labels.unwrap_or_default();
        if let Some(service) = labels.get(SERVICE) {
            *counts.entry(service.clone()).or_default() += 1;
        }
    }
    counts
}
