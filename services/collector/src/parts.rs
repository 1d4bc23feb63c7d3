//! The parts of a collector, put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::cgroup::Host;
use crate::config::{Config, Logs};
use crate::events::{Instruments, SpoolFound};
use crate::events_mark::EventsMark;
use crate::extras::Extras;
use crate::host::NodeSeries;
use crate::logs::{Orders, Tailer};
use crate::node::{Keeper, Node};
use crate::outbox::{Means, Outbox, Sending};
use crate::roster::Roster;
use crate::sampler::Sampler;
use crate::scrape::Scraper;
use crate::shelf::Shelf;
use crate::sockets::Sockets;
use crate::sources::Switch;
use crate::tally::Tally;

/// A spool is cut into so many segments: what is dropped at once when it is full.
const SEGMENTS: u64 = 16;
const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Everything that runs.
pub(crate) struct Parts {
    keeper: Node,
    sampler: Sampler,
    sockets: Option<Sockets>,
    series: Option<NodeSeries>,
    scraper: Option<Scraper>,
    tailer: Option<Tailer>,
    sending: Sending,
}

/// What every part needs.
struct Shared<'a> {
    config: &'a Config,
    context: &'a kit::Context,
    node: units::NodeId,
    host: Host,
    partitions: u32,
    meta: wire::Meta,
    instruments: Instruments,
    extras: Arc<Extras>,
    tally: Arc<Tally>,
}

impl Parts {
    /// Opens what they need; nothing runs yet.
    ///
    /// # Errors
    /// When this host cannot be read, or a directory for state cannot be used.
    pub(crate) fn assemble(
        config: Config,
        context: &kit::Context,
        partitions: u32,
    ) -> Result<Parts, Error> {
        let node = config.node_id().map_err(Error::HostName)?;
        let root = config.host_root();
        let host = Host::open(&root).map_err(|source| Error::Mounts { root, source })?;
        let shared = Shared {
            config: &config,
            context,
            node,
            host,
            partitions,
            meta: wire::Meta::new(Arc::clone(&context.producer)),
            instruments: Instruments::new(&context.metrics),
            extras: Arc::default(),
            tally: Arc::default(),
        };
        if let Some(directory) = &config.state_dir {
            std::fs::create_dir_all(directory).map_err(|source| Error::State {
                directory: directory.clone(),
                source,
            })?;
        }
        let (orders, tailer) = shared.tailer()?;
        let events_mark = EventsMark::load(shared.state("events"));
        let last_event_ns = events_mark.newest_ns();
        let (outbox, sending) = Outbox::new(Means {
            bus: context.bus.clone(),
            shelf: shared.shelf()?,
            tally: Arc::clone(&shared.tally),
            events_mark,
            instruments: shared.instruments.clone(),
        });
        let (roster_sender, roster) = watch::channel(Arc::new(Roster::default()));
        let keeper = shared.keeper(&outbox, roster_sender, orders, last_event_ns);
        Ok(Parts {
            keeper,
            sampler: shared.sampler(&outbox, &roster),
            sockets: shared.sockets(&outbox, &roster),
            series: shared.series(&outbox),
            scraper: shared.scraper(&outbox, &roster),
            tailer,
            sending,
        })
    }

    /// Runs the parts until `shutdown`, or until one of them fails and takes the others with it.
    ///
    /// # Errors
    /// That of the first part that failed.
    pub(crate) async fn work(self, shutdown: &CancellationToken) -> Result<(), Error> {
        let stop = shutdown.child_token();
        // The sender ends by itself, once the others have dropped their outboxes.
        let sending = tokio::spawn(self.sending.run());
        let failing = |result: Result<(), Error>| {
            if result.is_err() {
                stop.cancel();
            }
            result
        };
        let ending = |result: Result<(), Error>| {
            stop.cancel();
            result
        };
        let (kept, sampled, looked, told, (), tailed) = tokio::join!(
            async {
                self.keeper.run(stop.clone()).await;
                ending(Ok(()))
            },
            async { ending(self.sampler.run(stop.clone()).await) },
            async {
                match self.sockets {
                    Some(sockets) => failing(sockets.run(stop.clone()).await),
                    None => Ok(()),
                }
            },
            async {
                match self.series {
                    Some(series) => failing(series.run(stop.clone()).await),
                    None => Ok(()),
                }
            },
            async {
                if let Some(scraper) = self.scraper {
                    scraper.run(stop.clone()).await;
                }
            },
            async {
                match self.tailer {
                    Some(tailer) => ending(tailer.run(stop.clone()).await),
                    None => Ok(()),
                }
            },
        );
        let sent = sending.await.map_err(|source| Error::Thread {
            work: "send records",
            source,
        });
        kept.and(sampled)
            .and(looked)
            .and(told)
            .and(tailed)
            .and(sent.flatten())
    }
}

impl Shared<'_> {
    /// A file or directory that outlives this process; `None` where nothing is to.
    fn state(&self, name: &str) -> Option<PathBuf> {
        let directory = self.config.state_dir.as_deref();
        directory.map(|directory: &Path| directory.join(name))
    }

    fn shelf(&self) -> Result<Option<Shelf>, Error> {
        let Some(directory) = self.state("spool/records") else {
            return Ok(None);
        };
        let spool = &self.config.spool;
        let limits = limits(spool.samples_bytes_max, spool.age_max.get())?;
        let (shelf, recovery) = Shelf::open(&directory, limits)?;
        SpoolFound {
            what: "samples and events",
            recovery: &recovery,
        }
        .emit();
        Ok(Some(shelf))
    }

    fn tailer(&self) -> Result<(Orders, Option<Tailer>), Error> {
        match self.config.logs {
            Logs::Off => Ok((Orders::new(None), None)),
            Logs::On => {
                let tailer = Tailer::new(
                    self.context.bus.clone(),
                    self.meta.clone(),
                    self.partitions,
                    self.config.state_dir.clone(),
                    self.host.clone(),
                    self.instruments.clone(),
                );
                let (commands, tailer) = tailer.map_err(|error| Error::Positions(error.into()))?;
                Ok((Orders::new(Some(commands)), Some(tailer)))
            }
        }
    }

    fn keeper(
        &self,
        outbox: &Outbox,
        roster: watch::Sender<Arc<Roster>>,
        logs: Orders,
        last_event_ns: Option<i64>,
    ) -> Node {
        Node::new(Keeper {
            node: self.node.clone(),
            address: self.config.docker_address(),
            cgroup: self.host.flavour().as_str(),
            inventory_interval: self.config.inventory_interval.get(),
            health: self.context.health.dependency("docker"),
            outbox: outbox.clone(),
            roster,
            logs,
            meta: self.meta.clone(),
            layer_interval: self.config.layers.pace(),
            extras: Arc::clone(&self.extras),
            partitions: self.partitions,
            instruments: self.instruments.clone(),
            last_event_ns,
        })
    }

    fn sampler(&self, outbox: &Outbox, roster: &watch::Receiver<Arc<Roster>>) -> Sampler {
        Sampler {
            node: self.node.clone(),
            host: self.host.clone(),
            interval: self.config.interval.get(),
            partitions: self.partitions,
            roster: roster.clone(),
            outbox: outbox.clone(),
            meta: self.meta.clone(),
            instruments: self.instruments.clone(),
            extras: Arc::clone(&self.extras),
            tally: Arc::clone(&self.tally),
        }
    }

    fn sockets(&self, outbox: &Outbox, roster: &watch::Receiver<Arc<Roster>>) -> Option<Sockets> {
        Some(Sockets {
            node: self.node.clone(),
            host: self.host.clone(),
            interval: self.config.sockets.pace()?,
            partitions: self.partitions,
            roster: roster.clone(),
            extras: Arc::clone(&self.extras),
            outbox: outbox.clone(),
            meta: self.meta.clone(),
            instruments: self.instruments.clone(),
        })
    }

    fn series(&self, outbox: &Outbox) -> Option<NodeSeries> {
        Some(NodeSeries {
            node: self.node.clone(),
            host: self.host.clone(),
            interval: self.config.host.pace()?,
            partitions: self.partitions,
            outbox: outbox.clone(),
            meta: self.meta.clone(),
            instruments: self.instruments.clone(),
        })
    }

    fn scraper(&self, outbox: &Outbox, roster: &watch::Receiver<Arc<Roster>>) -> Option<Scraper> {
        match self.config.scrape.read {
            Switch::Off => None,
            Switch::On => Some(Scraper {
                node: self.node.clone(),
                config: self.config.scrape,
                partitions: self.partitions,
                roster: roster.clone(),
                outbox: outbox.clone(),
                meta: self.meta.clone(),
                instruments: self.instruments.clone(),
            }),
        }
    }
}

/// Bounds of a spool, cut into segments.
pub(crate) fn limits(bytes_max: u64, age_max: Duration) -> Result<spool::Limits, Error> {
    let segment_bytes = (bytes_max / SEGMENTS).min(SEGMENT_BYTES_MAX);
    Ok(spool::Limits::new(bytes_max, age_max, segment_bytes)?)
}
