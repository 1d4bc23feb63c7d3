//! Taking a container out of its balancers before a command takes it away.
//!
//! It gets no new requests, those under way end within their time, and only then does the command begin. Done again after a crash it
//! changes nothing, and where no command follows the keeper puts the server back.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use futures::future::join_all;
use tokio::time::Instant;
use units::{Action, Command, ContainerId, Policy, Refusal, Timestamp};

use super::events::{Change, LeftUndrained, ServerChanged, StillBusy};
use super::keep::serves;
use super::runtime::Runtime;
use super::stat::{Checked, Server, ServerName, ServerRef, Turn};
use super::{BalancerError, Balancers, Held};
use crate::guard::{Refused, labels_of};
use crate::prepare::{Here, Unprepared, prepare};

/// How often the balancers are asked whether it is idle by now, or another serves.
const POLL: Duration = Duration::from_millis(200);
/// What is left of a command's time for it to begin in.
const BEGINS_WITHIN: Duration = Duration::from_secs(3);
/// A new server has its first checks within this, and a balancer that was reloaded its servers again.
const WAITS_FOR_OTHER: Duration = Duration::from_secs(10);
/// A balancer that is being reloaded answers again within this.
const WAITS_FOR_BALANCER: Duration = Duration::from_secs(5);
/// Requests that were on their way to it while it came to rest end within this, if its time is not over.
const LAST_ONES: Duration = Duration::from_secs(2);

/// A container that is about to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departure {
    server: ServerRef,
    deadline: Timestamp,
    reach: Reach,
    last: Last,
}

/// What becomes of the command where a balancer does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It is not carried out: what serves is not to be cut off.
    Must,
    /// It is carried out: what is sick serves nobody.
    May,
}

/// What becomes of the command where no other server of the backend gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// One is waited for, and without one it is refused.
    Stays,
    /// One is waited for, and without one it goes on: another takes its place.
    Replaced,
    /// It goes: it comes back, or nobody asks for it.
    Goes,
}

/// Why a container was not taken out.
#[derive(Debug)]
pub(crate) enum Unreleased {
    /// It is the last of its backend.
    Last(Refused),
    /// A balancer would not have it.
    Failed(String),
}

/// What a command takes out of the balancers, if anything. Whatever refuses the command does so here, before anything is drained.
///
/// # Errors
/// A refusal, or what the engine said.
pub(crate) async fn departure(
    here: &Here<'_>,
    command: &Command,
) -> Result<Option<Departure>, Unprepared> {
    let Some(reach) = reach_of(command) else {
        return Ok(None);
    };
    let found = here.engine.inspect(command.action.target()).await?;
    let (policy, _) = Policy::from_labels(&labels_of(&found));
    let Some(served) = policy.haproxy.as_ref().filter(|_| runs(&found)) else {
        return Ok(None);
    };
    prepare(here, command).await?;
    Ok(Some(Departure {
        server: ServerRef {
            name: ServerName::of(command.action.target()),
            backend: served.backend.clone(),
        },
        deadline: command.deadline,
        reach,
        last: last_of(command, &policy),
    }))
}

/// Whether an action takes a container away, and how much it takes to let it.
fn reach_of(command: &Command) -> Option<Reach> {
    match &command.action {
        Action::Restart { .. } => Some(Reach::May),
        Action::Recreate { .. } => Some(match command.update {
            Some(_) => Reach::Must,
            None => Reach::May,
        }),
        Action::Stop { .. } | Action::RemoveReplica { .. } | Action::Isolate { .. } => {
            Some(Reach::Must)
        }
        Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::PullImage { .. }
        | Action::Export { .. }
        | Action::Rejoin { .. } => None,
    }
}

fn last_of(command: &Command, policy: &Policy) -> Last {
    let may_rest = policy.scale.as_ref().is_some_and(|scale| scale.min == 0);
    match &command.action {
        Action::Stop { .. } | Action::RemoveReplica { .. }
            if may_rest && command.relocation.is_none() =>
        {
            Last::Goes
        }
        Action::Stop { .. } | Action::RemoveReplica { .. } | Action::Isolate { .. } => Last::Stays,
        Action::Recreate { .. } if command.update.is_some() => Last::Replaced,
        Action::Restart { .. }
        | Action::Recreate { .. }
        | Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::PullImage { .. }
        | Action::Export { .. }
        | Action::Rejoin { .. } => Last::Goes,
    }
}

pub(crate) fn runs(found: &ContainerInspectResponse) -> bool {
    let state = found.state.as_ref();
    state.and_then(|state| state.running) == Some(true)
}

/// A container that is out of its balancers.
#[derive(Debug)]
pub(crate) struct Out<'a> {
    /// It stays out until this is dropped.
    _held: Held<'a>,
    /// What did not go as it should, and is passed over.
    pub(crate) note: Option<String>,
}

/// The balancers that a container is in, each with how its server stood there, and what was passed over.
#[derive(Default)]
struct Drained<'a> {
    at: Vec<(&'a Runtime, Turn)>,
    notes: Vec<String>,
}

/// What stands in the way of draining.
enum Hindrance {
    Last(String),
    Balancer(BalancerError),
}

impl Balancers {
    /// Drains the container's server in every balancer and waits until it is idle, for as long as the command has.
    ///
    /// # Errors
    /// When it is the last of its backend, or a balancer cannot be told, and that matters; then it gets requests as before.
    pub(crate) async fn take_out(&self, departure: &Departure) -> Result<Out<'_>, Unreleased> {
        let server = &departure.server;
        let held = self.hold(&server.name).await;
        let began = Instant::now();
        let left = departure.deadline.since(kit::now());
        let left = left.saturating_sub(BEGINS_WITHIN);
        let mut drained = self.drained(departure, began, left).await?;
        let found = &drained.at;
        let at: Vec<&Runtime> = found.iter().map(|(runtime, _)| *runtime).collect();
        // What hangs ends no request: where the checks fail, nothing is waited for.
        let works = found.iter().any(|(_, turn)| *turn != Turn::Down);
        let over = match works {
            true => began + left.min(self.drain_timeout),
            false => began,
        };
        until_idle(&at, server, over).await;
        // It still gets those that are bound to it; from now on they find another.
        for runtime in &at {
            if let Err(error) = runtime.rest(server).await {
                drained.notes.push(undrained(server, &error));
            }
        }
        tokio::time::sleep(POLL).await;
        let sessions = until_idle(&at, server, over.min(Instant::now() + LAST_ONES)).await;
        if sessions > 0 {
            StillBusy { server, sessions }.emit();
            let busy = format!(
                "{sessions} requests were under way in {server} when its time to end them was over"
            );
            drained.notes.push(busy);
        }
        let notes = drained.notes;
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(Out { _held: held, note })
    }

    /// Has a container leave its balancers as well as that goes within this time: what comes next does not wait for it.
    pub(crate) async fn leave(
        &self,
        container: &ContainerId,
        policy: &Policy,
        within: Duration,
    ) -> Option<Out<'_>> {
        let served = policy.haproxy.as_ref().filter(|_| !self.is_empty())?;
        let departure = Departure {
            server: ServerRef {
                name: ServerName::of(container),
                backend: served.backend.clone(),
            },
            deadline: kit::now() + within + BEGINS_WITHIN,
            reach: Reach::May,
            last: Last::Goes,
        };
        let taken = tokio::time::timeout(within, self.take_out(&departure));
        taken.await.ok()?.ok()
    }

    /// Gives the container's server requests again, where nothing comes of its command and nobody keeps the balancers any more.
    pub(crate) async fn put_back(&self, departure: &Departure) {
        let server = &departure.server;
        for (runtime, servers) in self.all().await {
            let own = servers.iter().flatten().find(|it| is(it, server));
            let served = own.is_some_and(|it| match it.turn {
                Turn::Draining => it.checked == Checked::Good,
                Turn::Maintenance => true,
                Turn::Up | Turn::Down => false,
            });
            if served {
                // There is nobody to try it again; the next start does.
                let _ = runtime.ready(server).await;
            }
        }
    }

    /// Drains it as soon as that may be.
    async fn drained(
        &self,
        departure: &Departure,
        began: Instant,
        left: Duration,
    ) -> Result<Drained<'_>, Unreleased> {
        let mut departure = departure.clone();
        loop {
            let hindrance = {
                let _turn = self.leaving.lock().await;
                match self.drain(&departure).await {
                    Ok(drained) => return Ok(drained),
                    Err(hindrance) => hindrance,
                }
            };
            let waits = match &hindrance {
                Hindrance::Last(_) => WAITS_FOR_OTHER,
                Hindrance::Balancer(_) => WAITS_FOR_BALANCER,
            };
            if began.elapsed() < waits.min(left) {
                tokio::time::sleep(POLL).await;
                continue;
            }
            let server = &departure.server;
            match hindrance {
                Hindrance::Last(_) if departure.last == Last::Replaced => {
                    departure.last = Last::Goes;
                }
                Hindrance::Last(reason) => {
                    return Err(Unreleased::Last(Refused::new(Refusal::Unsafe, reason)));
                }
                Hindrance::Balancer(error) => {
                    return Err(Unreleased::Failed(format!(
                        "its server {server} cannot be drained: {error}"
                    )));
                }
            }
        }
    }

    /// Drains it in every balancer that it is in, unless nobody else would be left.
    async fn drain(&self, departure: &Departure) -> Result<Drained<'_>, Hindrance> {
        let Departure { server, last, .. } = departure;
        let mut drained = Drained::default();
        for (runtime, servers) in self.all().await {
            let servers = match servers {
                Ok(servers) => servers,
                Err(error) => {
                    drained.notes.push(departure.goes_on(error)?);
                    continue;
                }
            };
            let Some(own) = servers.iter().find(|it| is(it, server)) else {
                continue;
            };
            if *last != Last::Goes && serves(own) && others(&servers, server) == 0 {
                return Err(Hindrance::Last(alone(runtime, server)));
            }
            drained.at.push((runtime, own.turn));
        }
        let told = tell(departure, &drained.at).await;
        if told.is_err() {
            let served = drained.at.iter().filter(|(_, turn)| *turn == Turn::Up);
            for (runtime, _) in served {
                // What cannot be told here is told by the keeper, which tries it too.
                let _ = runtime.ready(server).await;
            }
        }
        drained.notes.extend(told?);
        Ok(drained)
    }

    async fn all(&self) -> Vec<(&Runtime, Result<Vec<Server>, BalancerError>)> {
        let asked = self.runtimes.iter();
        join_all(asked.map(|runtime| async move { (runtime, runtime.servers().await) })).await
    }
}

impl Departure {
    /// Goes on without a balancer, where that may be. Says so.
    fn goes_on(&self, error: BalancerError) -> Result<String, Hindrance> {
        match self.reach {
            Reach::Must => Err(Hindrance::Balancer(error)),
            Reach::May => Ok(undrained(&self.server, &error)),
        }
    }
}

/// Drains it, and looks whether another is left: one on another node may have been drained in the same moment.
async fn tell(departure: &Departure, at: &[(&Runtime, Turn)]) -> Result<Vec<String>, Hindrance> {
    let mut notes = Vec::new();
    let Departure { server, last, .. } = departure;
    for (runtime, turn) in at {
        if *turn == Turn::Maintenance {
            continue;
        }
        match runtime.drain(server).await {
            Ok(()) => ServerChanged {
                socket: runtime.socket(),
                server,
                change: Change::Drained,
            }
            .emit(),
            Err(error) => notes.push(departure.goes_on(error)?),
        }
    }
    let served = at.iter().filter(|(_, turn)| *turn == Turn::Up);
    for (runtime, _) in served.filter(|_| *last != Last::Goes) {
        match runtime.servers().await {
            Ok(servers) if others(&servers, server) == 0 => {
                return Err(Hindrance::Last(alone(runtime, server)));
            }
            Ok(_) => {}
            Err(error) => notes.push(departure.goes_on(error)?),
        }
    }
    Ok(notes)
}

/// Says that a balancer could not be told.
fn undrained(server: &ServerRef, error: &BalancerError) -> String {
    LeftUndrained { server, error }.emit();
    format!("{server} was not drained: {error}")
}

fn is(server: &Server, which: &ServerRef) -> bool {
    ServerRef::of(server).as_ref() == Some(which)
}

/// How many others of its backend get requests.
fn others(servers: &[Server], which: &ServerRef) -> usize {
    let others = servers.iter();
    others
        .filter(|it| it.backend == which.backend && !is(it, which) && serves(it))
        .count()
}

fn alone(runtime: &Runtime, server: &ServerRef) -> String {
    format!(
        "no other server of backend {} gets requests in the balancer at {}, so {server} stays: look at its servers with `show stat`",
        server.backend,
        runtime.socket()
    )
}

/// What is under way in it once it is idle, or when its time is over. A balancer that does not answer serves nobody.
async fn until_idle(at: &[&Runtime], server: &ServerRef, over: Instant) -> u64 {
    loop {
        let asked = join_all(at.iter().map(|runtime| runtime.servers())).await;
        let own = asked.iter().flatten().flatten().filter(|it| is(it, server));
        let sessions: u64 = own.map(|it| it.sessions).sum();
        if sessions == 0 || Instant::now() >= over {
            return sessions;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use units::{
        CommandId, Generation, Image, ImageChange, NodeId, PlanId, Relocation, ServiceId, Update,
        UpdateId,
    };

    use super::*;

    fn command(action: Action) -> Command {
        let plan = PlanId::from("web-1");
        Command {
            id: CommandId::of(&plan, 0),
            plan,
            generation: Generation(1),
            service: ServiceId::from("web"),
            node: NodeId::from("a"),
            issued_at: Timestamp::EPOCH,
            deadline: Timestamp::EPOCH,
            action,
            approval: None,
            update: None,
            relocation: None,
            traceparent: None,
        }
    }

    fn policy(labels: &[(&str, &str)]) -> Policy {
        let pairs = labels.iter();
        let pairs = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Policy::from_labels(&pairs.collect::<BTreeMap<_, _>>()).0
    }

    #[test]
    fn what_heals_goes_on_and_what_takes_away_does_not() {
        let (container, name) = (ContainerId::from("c1"), "web".into());
        let grace = Duration::from_secs(1);
        let restart = command(Action::Restart {
            container: container.clone(),
            name,
            grace,
        });
        let stop = command(Action::Stop {
            container: container.clone(),
            name: "web".into(),
            grace,
        });
        let image = |id: &str| Image {
            reference: "web".to_owned(),
            id: id.to_owned(),
        };
        let recreate = command(Action::Recreate {
            container: container.clone(),
            name: "web".into(),
            grace,
            image: Some(ImageChange {
                from: image("1"),
                to: image("2"),
            }),
        });
        let update = Update {
            id: UpdateId::from("web-1"),
            service: ServiceId::from("web"),
            image: "web".to_owned(),
            at: Timestamp::EPOCH,
            by: None,
        };
        let updated = Command {
            update: Some(update),
            ..recreate.clone()
        };
        let moved = Command {
            relocation: Some(Relocation {
                container,
                from: NodeId::from("a"),
                to: NodeId::from("b"),
                name: "web".into(),
                at: Timestamp::EPOCH,
                lost: false,
            }),
            ..stop.clone()
        };
        let rests = [
            ("io.homeostat.scale", "0..3"),
            ("io.homeostat.scale.target", "metric@queue:jobs=5"),
        ];
        let (plain, rests) = (policy(&[]), policy(&rests));
        for (command, policy, expected) in [
            (&restart, &plain, (Reach::May, Last::Goes)),
            (&recreate, &plain, (Reach::May, Last::Goes)),
            (&updated, &plain, (Reach::Must, Last::Replaced)),
            (&stop, &plain, (Reach::Must, Last::Stays)),
            (&stop, &rests, (Reach::Must, Last::Goes)),
            (&moved, &rests, (Reach::Must, Last::Stays)),
        ] {
            let found = (reach_of(command).unwrap(), last_of(command, policy));
            assert_eq!(found, expected, "{}", command.action);
        }
    }
}
