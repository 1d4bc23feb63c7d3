//! What HAProxy tells of the servers that are containers of this node: requests, errors, times and queues as callers meet them.
//!
//! A server is a container's where its name is `hs-` and the first twelve digits of the container's id. Other servers are other people's.

mod socket;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use formats::haproxy::{NotATable, Server, servers};
use formats::scrape::SeriesKind as Told;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use units::{NodeId, Point, SeriesKind, Steady, Timestamp};

use crate::events::{BalancerRead, BalancerUnread, Instruments, Scrapes};
use crate::host::send;
use crate::outbox::Outbox;
use crate::roster::{Member, Roster};

pub(crate) use socket::AskError;
pub use socket::{NotASocket, Socket};

/// How the name of a server begins that is a container.
const PREFIX: &str = "hs-";
/// Digits of a container's id in it.
const ID_DIGITS: usize = 12;
/// A socket that answers later is left until the next turn, which is no sooner.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Reads HAProxy's sockets.
pub(crate) struct Balancers {
    pub(crate) node: NodeId,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) interval: Duration,
    pub(crate) partitions: u32,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) outbox: Outbox,
    pub(crate) meta: wire::Meta,
    pub(crate) instruments: Instruments,
}

/// Why a socket told nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("what answers is no HAProxy; correct collector.haproxy.sockets")]
    NotATable(#[from] NotATable),
}

impl Balancers {
    /// Reads until `shutdown`. A socket that does not answer holds up no other.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = BTreeSet::new();
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let answers = self.sockets.iter().map(|it| it.ask(TIMEOUT));
            let Some(answers) = shutdown.run_until_cancelled(join_all(answers)).await else {
                return;
            };
            let roster = Arc::clone(&self.roster.borrow());
            // One time for all: what several tell of one container is one page of it.
            let (at, steady) = (kit::now(), kit::steady());
            let mut points = Vec::new();
            for (socket, answer) in self.sockets.iter().zip(answers) {
                let told = answer.map_err(Untold::from);
                let told =
                    told.and_then(|answer| self.read(socket, &roster, (at, steady), &answer));
                self.note(socket, &told, &mut away);
                points.extend(told.unwrap_or_default());
            }
            let to = &self.outbox;
            send(to, self.partitions, points, &self.meta, &self.instruments).await;
        }
    }

    /// Counts what came of it, and says only changes.
    fn note(
        &self,
        socket: &Socket,
        told: &Result<Vec<Point>, Untold>,
        away: &mut BTreeSet<Socket>,
    ) {
        match told {
            Ok(points) => {
                Scrapes::whole(points.len() as u64).emit(&self.instruments);
                if away.remove(socket) {
                    BalancerRead { socket }.emit();
                }
            }
            Err(error) => {
                Scrapes::failed().emit(&self.instruments);
                if away.insert(socket.clone()) {
                    BalancerUnread { socket, error }.emit();
                }
            }
        }
    }

    fn read(
        &self,
        socket: &Socket,
        roster: &Roster,
        (at, steady): (Timestamp, Steady),
        answer: &str,
    ) -> Result<Vec<Point>, Untold> {
        let running = roster.members.iter().filter(|it| it.process.is_some());
        let by_digits: HashMap<&str, &Member> = running
            .filter_map(|it| Some((it.id.as_str().get(..ID_DIGITS)?, it)))
            .collect();
        let page = Page {
            node: &self.node,
            instance: socket.to_string(),
            at,
            steady,
        };
        let mut points = Vec::new();
        servers(answer, |server| {
            let digits = server.name.strip_prefix(PREFIX);
            if let Some(member) = digits.and_then(|digits| by_digits.get(digits)) {
                points.extend(page.points(member, &server));
            }
        })?;
        Ok(points)
    }
}

/// What one socket told at one time.
struct Page<'a> {
    node: &'a NodeId,
    instance: String,
    at: Timestamp,
    steady: Steady,
}

impl Page<'_> {
    fn points(&self, member: &Member, server: &Server) -> impl Iterator<Item = Point> {
        // HAProxy's own labels; beside them the socket, since two of them may balance the same containers.
        let labels = [
            ("instance", self.instance.as_str()),
            ("proxy", server.proxy.as_str()),
            ("server", server.name.as_str()),
        ];
        let labels = labels.map(label).join(",");
        server.values.iter().map(move |(series, value)| Point {
            at: self.at,
            steady: self.steady,
            node: self.node.clone(),
            service: Some(member.service.clone()),
            container: Some(member.id.clone()),
            name: series.name.to_owned(),
            labels: match series.code {
                Some(code) => format!("{},{labels}", label(("code", code))),
                None => labels.clone(),
            },
            kind: match series.kind {
                Told::Counter => SeriesKind::Counter,
                Told::Gauge => SeriesKind::Gauge,
                Told::Histogram => SeriesKind::Histogram,
                Told::Summary => SeriesKind::Summary,
                Told::Unknown => SeriesKind::Unknown,
            },
            value: *value,
        })
    }
}

fn label((name, value): (&str, &str)) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}=\"{value}\"")
}
