//! TCP connections of every container, read inside its network namespace, with nothing installed in it.
//!
//! From them follow how long the way to its peers is, what is sent twice, and which service talks to which.

mod namespace;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use formats::diag::{Direction as Seen, RECEIVE_BYTES, SocketsRead, TcpCounters, TcpState};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use units::{ContainerId, Direction, Link, NodeId, ServiceId};

use crate::cgroup::{Host, Network};
use crate::events::{Instruments, LinksDropped, SocketsRefused, SocketsUnread};
use crate::extras::{Extras, SocketNumbers};
use crate::outbox::{Outbox, send_batches};
use crate::roster::{Member, Process, Roster};
use crate::{Error, blocking};

use namespace::Namespace;
pub(crate) use namespace::SocketsError;

/// Reading sockets takes at most one part in so many of a core: a host with very many of them is read less often.
const CORE_SHARE: u32 = 100;

/// Reads the sockets of a node's containers.
pub(crate) struct Sockets {
    pub(crate) node: NodeId,
    pub(crate) host: Host,
    pub(crate) interval: Duration,
    pub(crate) partitions: u32,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) extras: Arc<Extras>,
    pub(crate) outbox: Outbox,
    pub(crate) meta: wire::Meta,
    pub(crate) instruments: Instruments,
}

enum Event {
    Shutdown,
    RosterChanged,
    Tick,
}

impl Sockets {
    /// Reads until `shutdown`, or until it turns out that this process may not.
    ///
    /// # Errors
    /// When reading panics.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut open = Open::new(self.node.clone(), self.host.clone());
        let mut next = Instant::now() + self.interval;
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => Event::Shutdown,
                changed = self.roster.changed() => match changed {
                    Ok(()) => Event::RosterChanged,
                    Err(_) => Event::Shutdown,
                },
                () = tokio::time::sleep_until(next) => Event::Tick,
            };
            match event {
                Event::Shutdown => return Ok(()),
                // Namespaces of the dead are let go at once; those of the new are opened when they are read.
                Event::RosterChanged => {
                    let roster = Arc::clone(&self.roster.borrow_and_update());
                    open.close_ended(&roster);
                }
                Event::Tick => {
                    let roster = Arc::clone(&self.roster.borrow());
                    let extras = Arc::clone(&self.extras);
                    let (back, round) = blocking("read sockets", move || {
                        let round = open.round(&roster, &extras);
                        (open, round)
                    })
                    .await?;
                    open = back;
                    if round.refused {
                        // It would be refused for every container, and each time.
                        return Ok(());
                    }
                    self.send(round.links).await;
                    next = Instant::now() + self.interval.max(round.took * CORE_SHARE);
                }
            }
        }
    }

    async fn send(&self, links: Vec<Link>) {
        let batches = send_batches(
            &self.outbox,
            self.partitions,
            links,
            |link| link.service.as_str(),
            |links, partition| wire::encode_links(links, partition, &self.meta),
        );
        if let Err(error) = batches.await {
            LinksDropped { error: &error }.emit(&self.instruments);
        }
    }
}

/// The open namespaces.
struct Open {
    node: NodeId,
    host: Host,
    by_id: HashMap<ContainerId, Watched>,
    buffer: Vec<u8>,
}

/// One container's namespace.
struct Watched {
    process: Process,
    opened: Opened,
    last: Option<Last>,
}

enum Opened {
    NotYet,
    Yes(Namespace),
    /// It could not be, which is said once.
    Failed,
}

/// What was seen last. It still holds while no segment comes or goes: no connection opens, closes or measures its way then.
struct Last {
    counters: TcpCounters,
    numbers: SocketNumbers,
    links: Vec<Link>,
}

impl Last {
    /// Connections that linger after their end go away by time alone.
    fn holds(&self, counters: &TcpCounters) -> bool {
        self.numbers.closing == 0
            && self.numbers.opening == 0
            && self.counters.segments_in == counters.segments_in
            && self.counters.segments_out == counters.segments_out
    }
}

struct Round {
    links: Vec<Link>,
    /// CPU time of the reading thread.
    took: Duration,
    refused: bool,
}

impl Open {
    fn new(node: NodeId, host: Host) -> Open {
        Open {
            node,
            host,
            by_id: HashMap::new(),
            buffer: vec![0; RECEIVE_BYTES],
        }
    }

    fn close_ended(&mut self, roster: &Roster) {
        let runs: HashMap<&ContainerId, Process> = roster
            .members
            .iter()
            .filter_map(|member| Some((&member.id, member.process?)))
            .collect();
        self.by_id
            .retain(|id, watched| runs.get(id) == Some(&watched.process));
    }

    fn round(&mut self, roster: &Roster, extras: &Extras) -> Round {
        let began = thread_cpu();
        self.close_ended(roster);
        let services = services(roster);
        let mut round = Round {
            links: Vec::new(),
            took: Duration::ZERO,
            refused: false,
        };
        for member in &roster.members {
            let Some(process) = member.process else {
                continue;
            };
            match process.network {
                Network::Own => {}
                // Whose connections these are cannot be told.
                Network::Shared => continue,
            }
            match self.look(member, process, &services) {
                Ok(Some(last)) => {
                    extras.sockets(&member.id, kit::steady(), last.numbers);
                    round.links.extend(last.told_now());
                }
                Ok(None) => {}
                Err(error) if error.is_refusal() => {
                    SocketsRefused { error: &error }.emit();
                    round.refused = true;
                    break;
                }
                Err(error) => SocketsUnread {
                    container: &member.name,
                    error: &error,
                }
                .emit(),
            }
        }
        round.took = thread_cpu().saturating_sub(began);
        round
    }

    /// The sockets of one container; `None` when its namespace could not be opened before.
    fn look(
        &mut self,
        member: &Member,
        process: Process,
        services: &HashMap<IpAddr, ServiceId>,
    ) -> Result<Option<&Last>, SocketsError> {
        let watched = self.by_id.entry(member.id.clone()).or_insert(Watched {
            process,
            opened: Opened::NotYet,
            last: None,
        });
        if let Opened::NotYet = watched.opened {
            watched.opened = Opened::Failed;
            let opened = Namespace::open(&self.host.process_file(process.pid, ""))?;
            watched.opened = Opened::Yes(opened);
        }
        let Opened::Yes(namespace) = &mut watched.opened else {
            return Ok(None);
        };
        let counters = namespace.counters();
        let holds = |last: &Last| counters.is_some_and(|counters| last.holds(&counters));
        if !watched.last.as_ref().is_some_and(holds) {
            let read = namespace.read(&mut self.buffer)?;
            watched.last = Some(Last {
                counters: counters.unwrap_or_default(),
                numbers: numbers(&read, counters),
                links: links(&self.node, member, &read, services),
            });
        }
        Ok(watched.last.as_ref())
    }
}

impl Last {
    /// The links as of now.
    fn told_now(&self) -> impl Iterator<Item = Link> {
        let (at, steady) = (kit::now(), kit::steady());
        let links = self.links.iter().cloned();
        links.map(move |link| Link { at, steady, ..link })
    }
}

fn links(
    node: &NodeId,
    member: &Member,
    read: &SocketsRead,
    services: &HashMap<IpAddr, ServiceId>,
) -> Vec<Link> {
    let (at, steady) = (kit::now(), kit::steady());
    read.links
        .iter()
        .map(|link| Link {
            at,
            steady,
            node: node.clone(),
            service: member.service.clone(),
            container: member.id.clone(),
            peer: link.remote_ip,
            peer_service: services.get(&link.remote_ip).cloned(),
            direction: match link.direction {
                Seen::Inbound => Direction::Inbound,
                Seen::Outbound => Direction::Outbound,
            },
            port: link.port,
            connections: link.connections.saturating_add(link.others),
            rtt_median: link.rtt_median.unwrap_or_default(),
            retransmits: link.retransmits,
        })
        .collect()
}

/// Which service answers at an address of this node.
fn services(roster: &Roster) -> HashMap<IpAddr, ServiceId> {
    let all = roster.members.iter();
    all.filter(|member| member.process.is_some())
        .flat_map(|member| {
            member
                .addresses
                .iter()
                .map(|address| (*address, member.service.clone()))
        })
        .collect()
}

fn numbers(read: &SocketsRead, counters: Option<TcpCounters>) -> SocketNumbers {
    let count = |states: &[TcpState]| {
        states
            .iter()
            .map(|state| read.states.get(*state))
            .fold(0, u32::saturating_add)
    };
    SocketNumbers {
        established: count(&[TcpState::Established]),
        opening: count(&[TcpState::SynSent, TcpState::SynRecv]),
        closing: count(&[
            TcpState::FinWait1,
            TcpState::FinWait2,
            TcpState::Closing,
            TcpState::LastAck,
            TcpState::TimeWait,
        ]),
        close_wait: count(&[TcpState::CloseWait]),
        listening: count(&[TcpState::Listen]),
        rtt_median: read.rtt_median,
        rtt_p99: read.rtt_p99,
        segments: counters.map(|it| it.segments_out),
        retransmits: counters.map(|it| it.retransmitted),
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
