//! What is taken over from hosts, and what must not run twice, held against the world.

use std::time::Duration;

use units::{ActionKind, Command, ContainerState, Plan, Timestamp};

use super::PLAY;
use crate::world::World;
use crate::world::container::Container;
use crate::world::losses::LEASE;
use crate::world::options::Invariant;

/// Two that must not run at once are seen so late at most.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Of what has run alone for so long all is promised again.
const PROMISED_AFTER: Duration = Duration::from_secs(120);

/// It makes one in the place of one of a lost host.
pub(super) fn is_taken_over(plan: &Plan) -> bool {
    let relocation = plan.relocation.as_ref();
    plan.kind == ActionKind::CreateReplica && relocation.is_some_and(|it| it.lost)
}

impl World {
    /// A leader decided to make elsewhere what ran on a host: that host must not be there, nor be one of many that are not.
    pub(super) fn against_losses(&self, plan: &Plan) -> Vec<(Invariant, String)> {
        let mut found = Vec::new();
        let Some(relocation) = plan.relocation.as_ref().filter(|_| is_taken_over(plan)) else {
            return found;
        };
        let now = self.now;
        let mut nodes = self.nodes.iter();
        let Some(at) = nodes.position(|it| it.id == relocation.from) else {
            return found;
        };
        let host = &self.losses.hosts[at];
        // A heartbeat is read within a moment, what a collector looked at within a lease.
        let is_past = |since: Option<Timestamp>, play: Duration| {
            since.is_some_and(|since| since + play < now)
        };
        if is_past(host.well_since, PLAY) || is_past(host.there_since, LEASE + PLAY) {
            let what = format!(
                "{} takes over from {}, which is there",
                plan.id, relocation.from
            );
            found.push((Invariant::Failover, what));
        }
        let is_lost = |at: usize| {
            let node = &self.nodes[at];
            let is_there = node.up && node.connected;
            !is_there && is_past(self.losses.hosts[at].away_since, LEASE + PLAY)
        };
        let count = self.nodes.len();
        let lost = (0..count).filter(|at| is_lost(*at)).count();
        let most = (count as f64 * self.options.promised.failover.nodes_share).ceil() as usize;
        if lost > most {
            let what = format!(
                "{} is decided while {lost} of {count} hosts are lost",
                plan.id
            );
            found.push((Invariant::Failover, what));
        }
        if let Some(zone) = self.whole_zone(is_lost) {
            let what = format!("{} is decided while all of {zone} is lost", plan.id);
            found.push((Invariant::Failover, what));
        }
        found
    }

    fn whole_zone(&self, is_lost: impl Fn(usize) -> bool) -> Option<&str> {
        let mut zones = self.nodes.iter().filter_map(|it| it.zone.as_deref());
        zones.find(|zone| {
            let nodes = self.nodes.iter().enumerate();
            let here = nodes.filter(|(_, it)| it.zone.as_deref() == Some(zone));
            let here: Vec<usize> = here.map(|(at, _)| at).collect();
            here.len() > 1 && here.iter().all(|at| is_lost(*at))
        })
    }

    /// Looks whether two run of what may run once, which is so for no moment: its own actuator has stopped the one before another is
    /// made elsewhere.
    pub(in crate::world) fn judge_twice(&mut self) {
        let now = self.now;
        for number in 0..self.services.len() {
            let mut running = Vec::new();
            for (at, node) in self.nodes.iter().enumerate().filter(|(_, it)| it.up) {
                let all = node.containers.values();
                let mine = all.filter(|it| it.service == number && it.policy.singleton);
                let mine = mine.filter(|it| it.state == ContainerState::Running);
                running.extend(mine.map(|it| (at, it.id.clone())));
            }
            for (at, id) in &running {
                let node = &self.nodes[*at];
                if !node.connected && !node.actuator.up {
                    self.losses.unpromised.insert(id.clone(), now);
                }
            }
            if let [(_, id)] = running.as_slice() {
                let last = self.losses.unpromised.get(id).copied();
                if last.is_some_and(|last| last + PROMISED_AFTER <= now) {
                    self.losses.unpromised.remove(id);
                }
            } else {
                let excused = running.iter().map(|(_, id)| id);
                for id in excused {
                    self.losses
                        .unpromised
                        .entry(id.clone())
                        .and_modify(|at| *at = now);
                }
            }
            let is_excused = |id| self.losses.unpromised.contains_key(id);
            let promised = !running.iter().any(|(_, id)| is_excused(id));
            if running.len() < 2 || !promised {
                self.losses.twice.remove(&number);
                continue;
            }
            let since = *self.losses.twice.entry(number).or_insert(now);
            if since + SEEN_WITHIN <= now {
                let ids: Vec<&str> = running.iter().map(|(_, id)| id.as_str()).collect();
                let what = format!("{} of {} run", ids.join(" and "), self.services[number].id);
                self.oracle.breaks(Invariant::Failover, now, what);
            }
        }
    }

    /// Containers of a command's service that count when one more is to be made: of a lost host none does.
    pub(super) fn there(&self, command: &Command) -> impl Iterator<Item = &Container> {
        let lost = command.relocation.as_ref().filter(|it| it.lost);
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(move |it| lost.is_none() || it.connected);
        let all = nodes.flat_map(|node| node.containers.values());
        all.filter(move |it| {
            self.services[it.service].id == command.service
                && lost.is_none_or(|lost| lost.container != it.id)
                && !self.is_taken_over(it)
        })
    }

    /// Another was made in its place as its host was lost. It goes as soon as its host has told of it, and that may not be known yet.
    fn is_taken_over(&self, container: &Container) -> bool {
        let all = self.nodes.iter().flat_map(|node| node.containers.values());
        let mut made = all.filter(|it| it.replica_of.as_ref() == Some(&container.id));
        made.any(|it| {
            let plan = it.made_by.as_ref();
            let plan = plan.and_then(|plan| self.oracle.plans.get(plan));
            let relocation = plan.and_then(|it| it.entry.plan.relocation.as_ref());
            relocation.is_some_and(|it| it.lost)
        })
    }
}
