//! The parts of a collector, put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cgroup::Host;
use crate::config::{Config, Logs};
use crate::events::{Instruments, SpoolFound};
use crate::events_mark::EventsMark;
use crate::extras::Extras;
use crate::haproxy::Balancers;
use crate::host::NodeSeries;
use crate::logs::{Command, Orders, Surroundings, Tailer};
use crate::node::{Keeper, Node};
use crate::outbox::{Means, Outbox, Sending};
use crate::roster::Roster;
use crate::sampler::Sampler;
use crate::scrape::Scraper;
use crate::shelf::Shelf;
use crate::sockets::Sockets;
use crate::sources::{Haproxy, Switch};
use crate::tally::Tally;
use crate::{ENGINE, Error};

/// Everything that runs.
pub(crate) struct Parts {
    keeper: Node,
    sampler: Sampler,
    sockets: Option<Sockets>,
    series: Option<NodeSeries>,
    scraper: Option<Scraper>,
    balancers: Option<Balancers>,
    tailer: Option<Tailer>,
    log_orders: Option<mpsc::Sender<Command>>,
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
        let (log_orders, tailer) = shared.tailer()?;
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
        let keeper = shared.keeper(&outbox, roster_sender, log_orders.clone(), last_event_ns);
        Ok(Parts {
            keeper,
            sampler: shared.sampler(&outbox, &roster),
            sockets: shared.sockets(&outbox, &roster),
            series: shared.series(&outbox),
            scraper: shared.scraper(&outbox, &roster),
            balancers: shared.balancers(&outbox, &roster),
            tailer,
            log_orders,
            sending,
        })
    }

    /// Where the reader of logs takes orders, when there is one.
    pub(crate) fn log_orders(&self) -> Option<mpsc::Sender<Command>> {
        self.log_orders.clone()
    }

    /// Runs the parts until `shutdown`, or until one of them fails and takes the others with it.
    ///
    /// # Errors
    /// That of the first part that failed.
    pub(crate) async fn work(self, shutdown: &CancellationToken) -> Result<(), Error> {
        let stop = shutdown.child_token();
        let Parts {
            keeper,
            sampler,
            sockets,
            series,
            scraper,
            balancers,
            tailer,
            log_orders: _,
            sending,
        } = self;
        // Each is a task of its own, so that what wakes one does not have all the others looked at.
        let mut running = JoinSet::new();
        let mut begin = |part: BoxFuture<'static, Result<(), Error>>| {
            running.spawn(part);
        };
        begin(Box::pin(keeper.run(stop.clone()).map(Ok)));
        begin(Box::pin(sampler.run(stop.clone())));
        // The sender ends by itself, once the others have dropped their outboxes.
        begin(Box::pin(sending.run()));
        if let Some(sockets) = sockets {
            begin(Box::pin(sockets.run(stop.clone())));
        }
        if let Some(series) = series {
            begin(Box::pin(series.run(stop.clone())));
        }
        if let Some(scraper) = scraper {
            begin(Box::pin(scraper.run(stop.clone()).map(Ok)));
        }
        if let Some(balancers) = balancers {
            begin(Box::pin(balancers.run(stop.clone()).map(Ok)));
        }
        if let Some(tailer) = tailer {
            begin(Box::pin(tailer.run(stop.clone())));
        }
        let mut first = Ok(());
        while let Some(ended) = running.join_next().await {
            let work = "run a part of the collector";
            let ended = ended.map_err(|source| Error::Thread { work, source });
            let ended = ended.flatten();
            if ended.is_err() {
                stop.cancel();
            }
            first = first.and(ended);
        }
        first
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
        let limits = self.config.spool.sample_limits()?;
        let (shelf, recovery) = Shelf::open(&directory, limits)?;
        SpoolFound {
            what: "samples and events",
            entries: recovery.entries_kept,
            damaged: recovery.entries_lost,
        }
        .emit();
        Ok(Some(shelf))
    }

    fn tailer(&self) -> Result<(Option<mpsc::Sender<Command>>, Option<Tailer>), Error> {
        match self.config.logs {
            Logs::Off => Ok((None, None)),
            Logs::On => {
                let around = Surroundings {
                    bus: self.context.bus.clone(),
                    meta: self.meta.clone(),
                    partitions: self.partitions,
                    state_dir: self.config.state_dir.clone(),
                    host: self.host.clone(),
                    tally: Arc::clone(&self.tally),
                    instruments: self.instruments.clone(),
                };
                let tailer = Tailer::new(around, &self.config.log, &self.config.spool);
                let (commands, tailer) = tailer.map_err(|error| Error::Positions(error.into()))?;
                Ok((Some(commands), Some(tailer)))
            }
        }
    }

    fn keeper(
        &self,
        outbox: &Outbox,
        roster: watch::Sender<Arc<Roster>>,
        logs: Option<mpsc::Sender<Command>>,
        last_event_ns: Option<i64>,
    ) -> Node {
        Node::new(Keeper {
            node: self.node.clone(),
            facts: self.config.facts(),
            address: self.config.docker_address(),
            cgroup: self.host.flavour().as_str(),
            inventory_interval: self.config.inventory_interval.get(),
            health: self.context.health.dependency(ENGINE),
            outbox: outbox.clone(),
            roster,
            logs: Orders::new(logs, self.config.log.from, self.config.state_dir.as_deref()),
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

    fn balancers(
        &self,
        outbox: &Outbox,
        roster: &watch::Receiver<Arc<Roster>>,
    ) -> Option<Balancers> {
        let Haproxy { sockets, interval } = &self.config.haproxy;
        (!sockets.is_empty()).then(|| Balancers {
            node: self.node.clone(),
            sockets: sockets.clone(),
            interval: interval.get(),
            partitions: self.partitions,
            roster: roster.clone(),
            outbox: outbox.clone(),
            meta: self.meta.clone(),
            instruments: self.instruments.clone(),
        })
    }
}
