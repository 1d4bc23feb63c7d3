//! Pages of metrics that applications serve, from containers that ask for it by label.

mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use formats::scrape::{Format, Limits, Scraped, SeriesKind as Told, Target, parse};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use units::{ContainerId, NodeId, Point, SeriesKind};

use crate::events::{Instruments, PageCut, PageUnread, Scrapes};
use crate::host::send;
use crate::outbox::Outbox;
use crate::roster::{Member, Roster};
use crate::sources;

pub(crate) use fetch::FetchError;
use fetch::Page;

/// Pages fetched at once; the others wait their turn.
const PARALLEL_MAX: usize = 8;

/// Scrapes the containers of a node.
pub(crate) struct Scraper {
    pub(crate) node: NodeId,
    pub(crate) config: sources::Scrape,
    pub(crate) partitions: u32,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) outbox: Outbox,
    pub(crate) meta: wire::Meta,
    pub(crate) instruments: Instruments,
}

/// One page of one container.
type PageId = (ContainerId, Target);

/// What became of a page the last time, so that only changes are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Read,
    Failed,
}

struct Fetched {
    id: PageId,
    member: Member,
    page: Result<Page, FetchError>,
}

impl Scraper {
    /// Scrapes until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let interval = self.config.interval.get();
        let mut due: BTreeMap<PageId, Instant> = BTreeMap::new();
        let mut last: BTreeMap<PageId, Last> = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        let mut busy: BTreeSet<PageId> = BTreeSet::new();
        loop {
            let roster = Arc::clone(&self.roster.borrow_and_update());
            let pages = pages(&roster);
            due.retain(|id, _| pages.contains_key(id));
            last.retain(|id, _| pages.contains_key(id));
            for id in pages.keys() {
                let offset = spread(id, interval);
                due.entry(id.clone())
                    .or_insert_with(|| Instant::now() + offset);
            }
            let now = Instant::now();
            for (id, at) in &mut due {
                let Some((member, address)) = pages.get(id) else {
                    continue;
                };
                if *at > now || busy.len() >= PARALLEL_MAX || !busy.insert(id.clone()) {
                    continue;
                }
                // The schedule holds however long a page takes.
                *at = (*at + interval).max(now);
                under_way.push(self.fetch(id.clone(), (*member).clone(), *address));
            }
            let next = due
                .iter()
                .filter(|(id, _)| !busy.contains(*id))
                .map(|(_, at)| *at)
                .min();
            let is_full = busy.len() >= PARALLEL_MAX;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(fetched) = under_way.next(), if !under_way.is_empty() => {
                    busy.remove(&fetched.id);
                    self.take(fetched, &mut last).await;
                }
                changed = self.roster.changed() => if changed.is_err() { return },
                () = sleep_until(next), if !is_full => {}
            }
        }
    }

    fn fetch(
        &self,
        id: PageId,
        member: Member,
        address: SocketAddr,
    ) -> impl Future<Output = Fetched> + use<> {
        let bytes_max = usize::try_from(self.config.bytes_max).unwrap_or(usize::MAX);
        let timeout = self.config.timeout.get();
        async move {
            let page = fetch::get(address, id.1.path(), bytes_max, timeout).await;
            Fetched { id, member, page }
        }
    }

    async fn take(&self, fetched: Fetched, last: &mut BTreeMap<PageId, Last>) {
        let Fetched { id, member, page } = fetched;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                Scrapes::failed().emit(&self.instruments);
                if last.insert(id.clone(), Last::Failed) != Some(Last::Failed) {
                    PageUnread {
                        container: &member.name,
                        target: &id.1,
                        error: &error,
                    }
                    .emit();
                }
                return;
            }
        };
        let (points, scraped) = self.read(&member, &page);
        Scrapes::read(&scraped, page.bytes_left).emit(&self.instruments);
        let is_whole = scraped.over_limit == 0 && scraped.malformed == 0 && page.bytes_left == 0;
        if last.insert(id.clone(), Last::Read) != Some(Last::Read) && !is_whole {
            PageCut {
                container: &member.name,
                target: &id.1,
                scraped: &scraped,
                bytes_left: page.bytes_left,
            }
            .emit();
        }
        send(
            &self.outbox,
            self.partitions,
            points,
            &self.meta,
            &self.instruments,
        )
        .await;
    }

    fn read(&self, member: &Member, page: &Page) -> (Vec<Point>, Scraped) {
        let (at, steady) = (kit::now(), kit::steady());
        let limits = Limits {
            series_max: self.config.series_max,
            ..Limits::default()
        };
        let limits = Limits {
            bytes_max: page.body.len(),
            ..limits
        };
        let mut points = Vec::new();
        let format = Format::of(&page.content_type);
        let scraped = parse(&page.body, format, &limits, |point| {
            points.push(Point {
                at,
                steady,
                node: self.node.clone(),
                service: Some(member.service.clone()),
                container: Some(member.id.clone()),
                name: point.name.to_owned(),
                labels: point.labels.identity(),
                kind: match point.kind {
                    Told::Counter => SeriesKind::Counter,
                    Told::Gauge => SeriesKind::Gauge,
                    Told::Histogram => SeriesKind::Histogram,
                    Told::Summary => SeriesKind::Summary,
                    Told::Unknown => SeriesKind::Unknown,
                },
                value: point.value,
            });
        });
        (points, scraped)
    }
}

/// The pages to scrape now, with where they are.
fn pages(roster: &Roster) -> BTreeMap<PageId, (&Member, SocketAddr)> {
    let mut pages = BTreeMap::new();
    for member in &roster.members {
        let Some(address) = member.addresses.first() else {
            continue;
        };
        if member.process.is_none() {
            continue;
        }
        for target in member.scrape.iter() {
            let at = SocketAddr::new(*address, target.port());
            pages.insert((member.id.clone(), target.clone()), (member, at));
        }
    }
    pages
}

/// Pages are spread over the interval, each at its own place.
fn spread(id: &PageId, interval: Duration) -> Duration {
    let hash = bus::partition_of(id.0.as_str().as_bytes(), 1_000);
    interval * hash / 1_000
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
