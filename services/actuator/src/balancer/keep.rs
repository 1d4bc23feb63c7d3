//! Keeping the balancers in step with the containers of this node.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use units::{ContainerId, Mode};

use super::BalancerError;
use super::container::{Labelled, Stand, labelled};
use super::events::{Change, NotReached, ServerChanged};
use super::runtime::{Gone, Runtime};
use super::stat::{Checked, Server, ServerRef, Turn};
use crate::engine::EngineError;
use crate::handler::Handler;
use crate::ledger::LedgerError;

/// How often containers and balancers are compared: a balancer that started anew has its servers again after this, and their checks.
const EVERY: Duration = Duration::from_secs(1);
/// Changes to one balancer in one round; the rest comes in the next.
const CHANGES_MAX: usize = 256;

/// Keeps the balancers in step until the shutdown, where there are any and this node may act.
pub(crate) async fn keep(handler: Arc<Handler>) {
    if handler.balancers.is_empty() || handler.ceiling < Mode::Act {
        if let Some(health) = &handler.balancers.health {
            // Nothing is asked of them, so nothing is wrong with them.
            health.up();
        }
        return;
    }
    let shutdown = handler.shutdown.clone();
    let mut keeper = Keeper {
        handler,
        ours: None,
        spared: HashSet::new(),
        told: HashMap::new(),
    };
    let rounds = async {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            keeper.round().await;
        }
    };
    shutdown.run_until_cancelled(rounds).await;
}

struct Keeper {
    handler: Arc<Handler>,
    /// The servers that are this node's, as in the ledger; none before that was read.
    ours: Option<BTreeSet<ServerRef>>,
    /// Servers of sick containers that were the last of their backend when they were drained: they stay until they are well.
    spared: HashSet<ServerRef>,
    /// What was told of containers that cannot be reached.
    told: HashMap<ContainerId, String>,
}

/// Why a round was left.
enum Left {
    /// The engine told its health what is wrong with it.
    Engine,
    Ledger(LedgerError),
}

impl From<EngineError> for Left {
    fn from(_: EngineError) -> Self {
        Left::Engine
    }
}

impl From<LedgerError> for Left {
    fn from(error: LedgerError) -> Self {
        Left::Ledger(error)
    }
}

impl Keeper {
    async fn round(&mut self) {
        match self.compare().await {
            Ok(()) | Err(Left::Engine) => {}
            Err(Left::Ledger(error)) => self.handler.ledger_health.down(error),
        }
    }

    async fn compare(&mut self) -> Result<(), Left> {
        let handler = Arc::clone(&self.handler);
        let balancers = &handler.balancers;
        let found = handler.engine.with_haproxy().await?;
        let found = found.iter().filter_map(|it| labelled(it, balancers.node));
        let found: BTreeMap<ServerRef, Labelled> =
            found.map(|it| (it.server.clone(), it)).collect();
        self.tell(&found);
        let ours = self.own(&found).await?;
        let spared = &self.spared;
        let rounds = balancers
            .runtimes
            .iter()
            .map(|runtime| compare(&handler, runtime, &ours, &found, spared));
        let rounds = join_all(rounds).await;
        self.spared.retain(|server| {
            let stand = found.get(server).map(|it| &it.stand);
            matches!(stand, Some(Stand::Sick(_)))
        });
        let mut wrong = None;
        let mut there = BTreeSet::new();
        for round in rounds {
            self.spared.extend(round.spared);
            there.extend(round.there);
            wrong = wrong.or(round.wrong);
        }
        if let Some(health) = &balancers.health {
            match &wrong {
                None => health.up(),
                Some(error) => health.down(error),
            }
        }
        if wrong.is_none() {
            self.forget(|server| !found.contains_key(server) && !there.contains(server))
                .await?;
        }
        Ok(())
    }

    /// The servers of this node: those written down before, and those of the containers that are here. Nothing is added to a balancer
    /// before it is on disk whose it is.
    async fn own(
        &mut self,
        found: &BTreeMap<ServerRef, Labelled>,
    ) -> Result<BTreeSet<ServerRef>, Left> {
        let ledger = &self.handler.ledger;
        let mut ours = match self.ours.take() {
            Some(ours) => ours,
            None => {
                let names = ledger.servers().await?;
                names.iter().filter_map(|it| ServerRef::read(it)).collect()
            }
        };
        let new: Vec<_> = found.keys().filter(|it| !ours.contains(it)).collect();
        if !new.is_empty() {
            let names = new.iter().map(ToString::to_string).collect();
            ledger.own_servers(names).await?;
            ours.extend(new.into_iter().cloned());
        }
        self.ours = Some(ours.clone());
        Ok(ours)
    }

    /// Drops from the ledger what is neither here nor in any balancer any more.
    async fn forget(&mut self, is_gone: impl Fn(&ServerRef) -> bool) -> Result<(), Left> {
        let Some(ours) = &mut self.ours else {
            return Ok(());
        };
        let gone: Vec<ServerRef> = ours.iter().filter(|it| is_gone(it)).cloned().collect();
        if !gone.is_empty() {
            let names = gone.iter().map(ToString::to_string).collect();
            self.handler.ledger.disown_servers(names).await?;
            ours.retain(|it| !gone.contains(it));
        }
        Ok(())
    }

    /// Says once of each container why no balancer can reach it.
    fn tell(&mut self, found: &BTreeMap<ServerRef, Labelled>) {
        let mut told = HashMap::new();
        for container in found.values() {
            if let Stand::Unreachable(reason) = &container.stand {
                if self.told.get(&container.id) != Some(reason) {
                    let container = &container.name;
                    NotReached { container, reason }.emit();
                }
                told.insert(container.id.clone(), reason.clone());
            }
        }
        self.told = told;
    }
}

/// What one balancer has after a round.
#[derive(Default)]
struct Round {
    /// Servers of this node that it had before.
    there: Vec<ServerRef>,
    /// The last of their backends, which stay in spite of being sick.
    spared: Vec<ServerRef>,
    /// The first thing that went wrong.
    wrong: Option<BalancerError>,
}

async fn compare(
    handler: &Handler,
    runtime: &Runtime,
    ours: &BTreeSet<ServerRef>,
    found: &BTreeMap<ServerRef, Labelled>,
    spared: &HashSet<ServerRef>,
) -> Round {
    let mut round = Round::default();
    let servers = match runtime.servers().await {
        Ok(servers) => servers,
        Err(error) => {
            round.wrong = Some(error);
            return round;
        }
    };
    let mut steps = Vec::new();
    let mut serving = serving(&servers);
    for server in &servers {
        let Some(at) = ServerRef::of(server).filter(|it| ours.contains(it)) else {
            continue;
        };
        round.there.push(at.clone());
        let stand = found.get(&at).map_or(&Stand::Away, |it| &it.stand);
        let up = serving.entry(server.backend.as_str()).or_default();
        let step = next(server, stand, *up, Spared::of(spared, &at));
        match step {
            Some(Step::Drain) => *up -= 1,
            Some(Step::Spare) => {
                *up += 1;
                round.spared.push(at.clone());
            }
            Some(Step::Admit | Step::Remove(_) | Step::Add(_)) | None => {}
        }
        steps.extend(step.map(|step| (at, step)));
    }
    let there: BTreeSet<&ServerRef> = round.there.iter().collect();
    let missing = found.iter().filter(|(at, _)| !there.contains(at));
    steps.extend(missing.filter_map(|(at, it)| match &it.stand {
        Stand::Serves(address) => Some((at.clone(), Step::Add(*address))),
        Stand::Starts(_) | Stand::Sick(_) | Stand::Unreachable(_) | Stand::Away => None,
    }));
    for (at, step) in steps.into_iter().take(CHANGES_MAX) {
        let balancers = &handler.balancers;
        let _changing = balancers.changing.read().await;
        // A command works on it, also one that an earlier process began.
        let is_locked = found
            .get(&at)
            .is_some_and(|it| handler.locks.acquire_at_once(&it.id).is_none());
        if is_locked || balancers.is_held(&at.name) {
            continue;
        }
        if let Err(error) = change(runtime, &at, step).await {
            round.wrong.get_or_insert(error);
        }
    }
    round
}

/// How many servers of each backend get requests.
fn serving(servers: &[Server]) -> HashMap<&str, usize> {
    let mut serving = HashMap::new();
    for server in servers.iter().filter(|it| serves(it)) {
        *serving.entry(server.backend.as_str()).or_default() += 1;
    }
    serving
}

/// Whether it gets requests in the ordinary way.
pub(super) fn serves(server: &Server) -> bool {
    server.turn == Turn::Up && !server.is_backup
}

/// What is to be done about one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is missing.
    Add(SocketAddr),
    /// It is to get requests.
    Admit,
    /// It is sick, and to get requests all the same, because there is no other.
    Spare,
    /// It is sick.
    Drain,
    Remove(Connections),
}

/// What becomes of connections that stand in the way of removing a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connections {
    /// There is nobody at their other end.
    Ended,
    /// They go on, and the server stays for them.
    Kept,
}

/// Whether a sick one was the last of its backend when it was drained before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spared {
    Yes,
    No,
}

impl Spared {
    fn of(spared: &HashSet<ServerRef>, server: &ServerRef) -> Self {
        match spared.contains(server) {
            true => Spared::Yes,
            false => Spared::No,
        }
    }
}

/// The next step towards what the container's stand asks for, where so many servers of the backend get requests.
fn next(server: &Server, stand: &Stand, serving: usize, spared: Spared) -> Option<Step> {
    let address = match stand {
        Stand::Serves(address) | Stand::Starts(address) | Stand::Sick(address) => address,
        Stand::Unreachable(_) | Stand::Away => return Some(Step::Remove(Connections::Ended)),
    };
    if server.address != Some(*address) {
        // Whoever is at the old address by now, it is not this container.
        return Some(Step::Remove(Connections::Ended));
    }
    match server.turn {
        // It comes back as a new one, so that its checks begin anew.
        Turn::Maintenance => Some(Step::Remove(Connections::Kept)),
        Turn::Draining => match stand {
            Stand::Serves(_) => (server.checked == Checked::Good).then_some(Step::Admit),
            Stand::Sick(_) => (serving == 0).then_some(Step::Spare),
            Stand::Starts(_) | Stand::Unreachable(_) | Stand::Away => None,
        },
        Turn::Up => {
            let is_sick = matches!(stand, Stand::Sick(_));
            let may_go = serving > 1 && spared == Spared::No;
            (is_sick && may_go).then_some(Step::Drain)
        }
        Turn::Down => None,
    }
}

async fn change(runtime: &Runtime, server: &ServerRef, step: Step) -> Result<(), BalancerError> {
    let change = match step {
        Step::Add(address) => {
            runtime.add(server, address).await?;
            Change::Added
        }
        Step::Admit | Step::Spare => {
            runtime.ready(server).await?;
            Change::Admitted
        }
        Step::Drain => {
            runtime.drain(server).await?;
            Change::Drained
        }
        Step::Remove(connections) => {
            runtime.rest(server).await?;
            match (runtime.delete(server).await?, connections) {
                (Gone::Yes, _) => Change::Removed,
                // The next round finds it without.
                (Gone::NotYet, Connections::Ended) => return runtime.hang_up(server).await,
                (Gone::NotYet, Connections::Kept) => return runtime.drain(server).await,
            }
        }
    };
    let socket = runtime.socket();
    ServerChanged {
        socket,
        server,
        change,
    }
    .emit();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "10.0.0.2:80";

    fn server(turn: Turn, checked: Checked) -> Server {
        Server {
            backend: "web".to_owned(),
            name: "hs-0123456789ab".to_owned(),
            turn,
            checked,
            is_backup: false,
            address: Some(HERE.parse().unwrap()),
            sessions: 0,
        }
    }

    #[test]
    fn a_server_follows_its_container() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        let here = at(HERE);
        let step =
            |turn, checked, stand: &Stand| next(&server(turn, checked), stand, 2, Spared::No);
        let serves = Stand::Serves(here);
        assert_eq!(step(Turn::Draining, Checked::NotYet, &serves), None);
        assert_eq!(
            step(Turn::Draining, Checked::Good, &serves),
            Some(Step::Admit)
        );
        assert_eq!(step(Turn::Up, Checked::Good, &serves), None);
        assert_eq!(step(Turn::Down, Checked::NotYet, &serves), None);
        let anew = Some(Step::Remove(Connections::Kept));
        assert_eq!(step(Turn::Maintenance, Checked::NotYet, &serves), anew);
        let starts = Stand::Starts(here);
        assert_eq!(step(Turn::Draining, Checked::Good, &starts), None);
        let gone = Some(Step::Remove(Connections::Ended));
        for turn in [Turn::Up, Turn::Draining, Turn::Maintenance, Turn::Down] {
            let elsewhere = Stand::Serves(at("10.0.0.3:80"));
            let lost = Stand::Unreachable("no network".to_owned());
            for stand in [elsewhere, lost, Stand::Away] {
                assert_eq!(step(turn, Checked::Good, &stand), gone, "{stand:?}");
            }
        }
    }

    #[test]
    fn of_sick_ones_the_last_stays() {
        let sick = Stand::Sick(HERE.parse().unwrap());
        let step =
            |turn, serving, spared| next(&server(turn, Checked::Good), &sick, serving, spared);
        assert_eq!(step(Turn::Up, 2, Spared::No), Some(Step::Drain));
        assert_eq!(step(Turn::Up, 1, Spared::No), None);
        assert_eq!(step(Turn::Draining, 1, Spared::No), None);
        assert_eq!(step(Turn::Draining, 0, Spared::No), Some(Step::Spare));
        assert_eq!(
            step(Turn::Up, 2, Spared::Yes),
            None,
            "or it would go back and forth"
        );
    }
}
