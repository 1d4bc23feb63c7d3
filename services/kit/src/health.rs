//! What a process depends on, and whether it answers: the state behind `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use units::Timestamp;

/// The dependencies of one process. Cheap to clone; clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    dependencies: Arc<Mutex<BTreeMap<Arc<str>, Standing>>>,
}

/// Whether a dependency answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It answers; goes to `Down` on the first failure reported.
    Up,
    /// It does not answer, or has not answered yet; goes to `Up` on the first success reported.
    Down,
}

#[derive(Debug, Clone)]
struct Standing {
    state: State,
    since: Timestamp,
    reason: Option<Arc<str>>,
}

/// One dependency as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its name, such as `kafka` or `docker`.
    pub name: Arc<str>,
    /// Whether it answers.
    pub state: State,
    /// Since when it is in this state, in milliseconds since the Unix epoch.
    pub since: Timestamp,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// The handle through which a role reports on one dependency.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: Arc<str>,
    health: Health,
}

impl Health {
    /// Names a dependency, down with the reason `starting` until it is reported up. Asking again for the same
    /// name gives a handle on the same state.
    pub fn dependency(&self, name: &str) -> Dependency {
        let name: Arc<str> = name.into();
        self.lock().entry(name.clone()).or_insert_with(|| Standing {
            state: State::Down,
            since: crate::now(),
            reason: Some("starting".into()),
        });
        Dependency {
            name,
            health: self.clone(),
        }
    }

    /// Every dependency, by name.
    pub fn ready(&self) -> Vec<Snapshot> {
        let dependencies = self.lock();
        let snapshots = dependencies.iter().map(|(name, standing)| Snapshot {
            name: name.clone(),
            state: standing.state,
            since: standing.since,
            reason: standing.reason.clone(),
        });
        snapshots.collect()
    }

    /// True when every dependency answers. A process that has named none yet has not begun, and is not ready.
    pub fn is_ready(&self) -> bool {
        let dependencies = self.lock();
        !dependencies.is_empty() && dependencies.values().all(|it| it.state == State::Up)
    }

    /// A panic elsewhere cannot leave a standing half written, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Standing>> {
        self.dependencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dependency {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reports that it answers. Says so in the log when that is news.
    pub fn up(&self) {
        if self.set(State::Up, None) == Change::Turned {
            tracing::info!(dependency = %self.name, "dependency is up");
        }
    }

    /// Reports that it does not answer. Says so in the log when it was up or the reason is another one.
    pub fn down(&self, reason: impl std::fmt::Display) {
        let reason: Arc<str> = reason.to_string().into();
        if self.set(State::Down, Some(reason.clone())) != Change::Same {
            tracing::warn!(dependency = %self.name, reason = %reason, "dependency is down");
        }
    }

    fn set(&self, state: State, reason: Option<Arc<str>>) -> Change {
        let mut dependencies = self.health.lock();
        let known = dependencies.get(&self.name);
        let change = match known {
            Some(known) if known.state == state && known.reason == reason => Change::Same,
            Some(known) if known.state == state => Change::Reason,
            Some(_) | None => Change::Turned,
        };
        let since = match (known, change) {
            (Some(known), Change::Same | Change::Reason) => known.since,
            (Some(_), Change::Turned) | (None, _) => crate::now(),
        };
        let standing = Standing {
            state,
            since,
            reason,
        };
        dependencies.insert(self.name.clone(), standing);
        change
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Reason,
    Turned,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_starts_down_and_follows_its_reports() {
        let health = Health::default();
        assert!(!health.is_ready(), "nothing is known yet");
        let kafka = health.dependency("kafka");
        let docker = health.dependency("docker");
        assert!(!health.is_ready());
        assert_eq!(health.ready()[1].reason.as_deref(), Some("starting"));

        kafka.up();
        assert!(!health.is_ready());
        docker.up();
        assert!(health.is_ready());

        docker.down("no answer at unix:///run/docker.sock");
        let snapshots = health.ready();
        assert_eq!(&*snapshots[0].name, "docker");
        assert_eq!(snapshots[0].state, State::Down);
        assert_eq!(snapshots[1].state, State::Up);
        assert_eq!(snapshots[1].reason, None);
    }

    #[test]
    fn one_name_is_one_dependency() {
        let health = Health::default();
        health.dependency("kafka").up();
        health.dependency("kafka");
        assert!(health.is_ready(), "naming it again does not reset it");
    }

    #[test]
    fn since_stands_still_while_the_state_does() {
        let health = Health::default();
        let kafka = health.dependency("kafka");
        let since = health.ready()[0].since;
        kafka.down("connection refused");
        assert_eq!(health.ready()[0].since, since);
        assert_eq!(
            health.ready()[0].reason.as_deref(),
            Some("connection refused")
        );
    }
}
