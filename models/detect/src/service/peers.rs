//! Compares the replicas of a service with each other.

use units::{ContainerId, ContainerState, NodeId, ServiceId, Signal, SignalKind, Steady};

use super::{FRESH, Service, elapsed};
use crate::clock::Moment;
use crate::container::Surroundings;
use crate::gate::{Finding, Reading};
use crate::rules::peers::{CONFIRM, REPLICAS_MIN, Replica, SIBLINGS_MAX, Trait, compare, share};

const KIND: SignalKind = SignalKind::OddReplica;

/// What the comparison says of one replica.
enum Verdict {
    Odd(Trait, Finding),
    /// It is not, and has this share of the traffic.
    Alike(Option<f64>),
    /// It is odd, and so are too many others.
    OneOfMany,
    /// It cannot be compared.
    Left,
}

impl Service {
    /// Judges each replica by its siblings.
    pub(super) fn compare_replicas(
        &mut self,
        service: &ServiceId,
        here: (&NodeId, Moment),
        around: &Surroundings<'_>,
        out: &mut Vec<Signal>,
    ) {
        if self.containers.len() < REPLICAS_MIN && !self.any_odd() {
            return;
        }
        let alone = self.containers.len() < REPLICAS_MIN;
        for (id, verdict) in self.verdicts(here) {
            let Some(container) = self.containers.get_mut(&id) else {
                continue;
            };
            let now = container.last;
            let scene = container.scene(service, &id, now, around);
            let reading = match verdict {
                Verdict::Odd(by, finding) => {
                    let since = container.odd_since(now.run, Some(()));
                    let lasting = since.map(|since: Steady| now.run.since(since));
                    if lasting.is_some_and(|it| it >= around.settings.relearn_after) {
                        container.beside.recent.accustom(by);
                        container.odd_since(now.run, None);
                        let why = "this is its way";
                        out.extend(container.gates.resolve(KIND, why, &scene));
                        continue;
                    }
                    // What is wrong with it is told already.
                    match container.is_sick() && !container.gates.is_open(KIND) {
                        true => Reading::Unknown,
                        false => Reading::Violates(finding),
                    }
                }
                Verdict::Alike(share) => {
                    container.odd_since(now.run, None);
                    if let Some(share) = share {
                        container.beside.recent.learn_share(share);
                    }
                    Reading::Normal
                }
                Verdict::OneOfMany => Reading::Between,
                Verdict::Left if alone => {
                    container.odd_since(now.run, None);
                    let why = "it has too few siblings to be compared with";
                    out.extend(container.gates.resolve(KIND, why, &scene));
                    continue;
                }
                Verdict::Left => Reading::Unknown,
            };
            out.extend(container.gates.step(KIND, reading, CONFIRM, &scene));
        }
    }

    fn any_odd(&self) -> bool {
        let mut containers = self.containers.values();
        containers.any(|container| container.gates.is_stirring(KIND))
    }

    fn verdicts(&self, here: (&NodeId, Moment)) -> Vec<(ContainerId, Verdict)> {
        let comparable = |id: &ContainerId| -> Option<Replica<'_>> {
            let container = self.containers.get(id)?;
            let age = elapsed((&container.node, container.last), here);
            let runs = container.state == ContainerState::Running && age <= FRESH;
            runs.then(|| container.as_replica()).flatten()
        };
        let ids: Vec<&ContainerId> = self.containers.keys().collect();
        let replicas: Vec<(usize, Replica<'_>)> = ids
            .iter()
            .enumerate()
            .filter_map(|(index, id)| Some((index, comparable(id)?)))
            .collect();
        let mut verdicts: Vec<(ContainerId, Verdict)> = ids
            .iter()
            .map(|id| ((*id).clone(), Verdict::Left))
            .collect();
        if replicas.len() < REPLICAS_MIN {
            return verdicts;
        }
        let mut odd = 0;
        for (place, (index, replica)) in replicas.iter().enumerate() {
            let siblings = siblings(&replicas, place);
            let container = &self.containers[ids[*index]];
            let held = container.gates.held(KIND, container.last);
            verdicts[*index].1 = match compare(replica, &siblings) {
                Some(found) => {
                    odd += 1;
                    let others = replicas.len() - 1;
                    Verdict::Odd(found.by, found.finding(replica, others, held))
                }
                None => Verdict::Alike(share(replica, &siblings)),
            };
        }
        // The odd one out is one among many; where many differ, no one does.
        if odd > (replicas.len() / 3).max(1) {
            for (_, verdict) in &mut verdicts {
                if matches!(verdict, Verdict::Odd(..)) {
                    *verdict = Verdict::OneOfMany;
                }
            }
        }
        verdicts
    }
}

/// All others; of more than enough, evenly spread ones.
fn siblings<'a>(replicas: &[(usize, Replica<'a>)], place: usize) -> Vec<Replica<'a>> {
    let others = replicas.len() - 1;
    let step = others.div_ceil(SIBLINGS_MAX).max(1);
    let all = replicas.iter().enumerate();
    all.filter(|(at, _)| *at != place)
        .map(|(_, (_, replica))| *replica)
        .step_by(step)
        .collect()
}
