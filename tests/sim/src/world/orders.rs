//! People who order another image for a service, and what its builds do.

use units::{ContainerState, ImageChange, JournalEntry, Mode, OutcomeResult, Update, UpdateId};

use super::World;
use super::agenda::Happening;
use super::container::{Checked, Container, Cure, Ill, build_of};
use super::engine::failed;
use super::log::{Author, Topic};
use super::options::Mix;

/// Orders come this far apart.
const APART_S: (u64, u64) = (120, 1_500);
/// After this share of them somebody orders another image of the same service, before that one can be over.
const TWICE: f64 = 0.25;
/// Builds that people order: all of a kind are numbered from here on, apart from those they deploy themselves.
const GOOD: u32 = 1_000;
const FAILING: u32 = 2_000;
const CRASHING: u32 = 3_000;
/// This share of services lets images be rolled out.
pub(super) const UPDATABLE: f64 = 0.5;

/// What a build does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    Good,
    Failing,
    Crashing,
    /// The one that everything ran when the world began.
    First,
}

/// What every container of a build is ill with.
pub(super) fn ill_of(build: u32, checked: Checked) -> Option<(Ill, Cure)> {
    let ill = match (build, checked) {
        (..FAILING, _) => return None,
        (FAILING..CRASHING, Checked::Yes) => Ill::Failing,
        // Without a health check nobody could ever tell that it fails.
        (FAILING.., Checked::No) | (CRASHING.., _) => Ill::Crashing,
    };
    Some((ill, Cure::Patience))
}

/// What pulling a reference comes to.
pub(super) fn pulled(reference: &str) -> OutcomeResult {
    let build = reference.rsplit(':').next();
    match build.and_then(|build| build.parse().ok()) {
        Some(build) => OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image: Some(super::container::image(build)),
        },
        None => failed("there is no such image"),
    }
}

impl World {
    /// The first order of all.
    pub(super) fn order_later(&mut self) {
        if self.options.mix == Mix::All {
            let wait = self.dice.orders.secs(APART_S.0, APART_S.1);
            self.agenda.note(self.now + wait, Happening::Order(None));
        }
    }

    /// Somebody orders another image: of this service, or of any.
    pub(super) fn order(&mut self, of: Option<usize>) {
        if self.calm {
            return;
        }
        let dice = &mut self.dice.orders;
        let (of, wait) = match of {
            Some(of) => (of, None),
            None => {
                let wait = dice.secs(APART_S.0, APART_S.1);
                (dice.below(self.services.len()), Some(wait))
            }
        };
        let kinds = [
            (5, Build::Good),
            (2, Build::Failing),
            (2, Build::Crashing),
            (1, Build::First),
        ];
        let kind = dice.weighed(&kinds).unwrap_or(Build::Good);
        let again = (dice.chance(TWICE), dice.secs(5, 200));
        self.orders += 1;
        let build = match kind {
            Build::Good => GOOD + self.orders,
            Build::Failing => FAILING + self.orders,
            Build::Crashing => CRASHING + self.orders,
            Build::First => 1,
        };
        let service = self.services[of].id.clone();
        let order = Update {
            id: UpdateId::of(&service, self.now),
            service,
            image: super::container::image(build).reference,
            at: self.now,
            by: Some("somebody".to_owned()),
        };
        self.note(|_| format!("order {kind:?}: {order}"));
        let entry = JournalEntry::Update(order);
        self.send(Topic::Journal, &entry, None, Author::Person);
        self.oracle.journaled(&entry, self.now);
        if let Some(wait) = wait {
            self.agenda.note(self.now + wait, Happening::Order(None));
            if again.0 {
                self.agenda
                    .note(self.now + again.1, Happening::Order(Some(of)));
            }
        }
    }

    /// What keeps the orders from being at rest: one is not over, or has left something behind.
    pub(super) fn orders_rest(&self) -> Result<(), String> {
        let Some(of) = self.leader() else {
            return Ok(());
        };
        let known = self.controllers[of].core.updates();
        let mut open = known.iter().filter(|it| !it.phase.is_final());
        if let Some(open) = open.find(|it| !self.rests(&it.update.service)) {
            let (order, phase) = (&open.update, open.phase.as_str());
            return Err(format!("the {order} is {phase}: {}", open.reason));
        }
        for (number, service) in self.services.iter().enumerate() {
            let status = known.iter().find(|it| it.update.service == service.id);
            let all = self.nodes.iter().flat_map(|node| node.containers.values());
            let mine: Vec<&Container> = all.filter(|it| it.service == number).collect();
            let beside = mine.iter().filter(|_| service.scale.is_none()).find(|it| {
                it.made_by
                    .as_ref()
                    .is_some_and(|by| !self.oracle.is_of_move(by))
            });
            if let Some(beside) = beside {
                return Err(format!("{} was left behind by an update", beside.name));
            }
            let mut builds: Vec<u32> = mine
                .iter()
                .filter(|it| it.state == ContainerState::Running)
                .map(|it| it.image)
                .collect();
            builds.sort_unstable();
            builds.dedup();
            // What people changed by hand, or cannot be taken back, is theirs.
            let told = status.is_some_and(|it| it.reason.contains("left to people"));
            if builds.len() > 1 && !service.touched && !told {
                let id = &service.id;
                return Err(format!("{id} runs builds {builds:?}; {status:?}"));
            }
        }
        Ok(())
    }
}

/// Whether this container lets what an order asks for be done to it.
pub(super) fn is_willing(container: &Container) -> bool {
    container.policy.update && container.policy.mode >= Mode::Suggest
}

/// The build that a container made like this one runs; nothing where another was to be changed.
pub(super) fn built(like: &Container, change: Option<&ImageChange>) -> Option<u32> {
    let Some(change) = change else {
        return Some(like.image);
    };
    let from = build_of(&change.from)?;
    build_of(&change.to).filter(|_| from == like.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_does_what_its_number_says() {
        assert_eq!(ill_of(GOOD + 3, Checked::Yes), None);
        assert_eq!(
            ill_of(FAILING + 3, Checked::Yes),
            Some((Ill::Failing, Cure::Patience))
        );
        assert_eq!(
            ill_of(FAILING + 3, Checked::No),
            Some((Ill::Crashing, Cure::Patience))
        );
    }
}
