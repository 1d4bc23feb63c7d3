//! The newest state of every signal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    ContainerId, Fingerprint, ServiceId, Severity, Signal, SignalId, SignalKind, SignalPhase,
    Timestamp,
};

/// Resolved signals are remembered this long: verdicts ask for them.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);

/// Signals by fingerprint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    newest: BTreeMap<Fingerprint, Signal>,
    by_service: BTreeMap<ServiceId, BTreeSet<Fingerprint>>,
    critical: BTreeSet<Fingerprint>,
}

/// How one opening of a signal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Still open.
    Open,
    /// Over, and it stayed so.
    Resolved,
    /// Over, and its fingerprint opened again.
    Reopened { at: Timestamp },
    /// Nothing is known of it.
    Unknown,
}

impl Signals {
    /// Takes a state unless a newer one is known. Returns the service it concerns when it was news.
    pub(crate) fn apply(&mut self, mut signal: Signal) -> Option<ServiceId> {
        if let Some(known) = self.newest.get(&signal.fingerprint) {
            let newer = if known.id == signal.id {
                // An opening only becomes more severe, so what says so is newer whatever the clock of its node said: it may have been set
                // back since.
                let raised = signal.severity > known.severity;
                signal.at = signal.at.max(known.at);
                known.phase != SignalPhase::Resolve
                    && (signal.at > known.at || raised || signal.phase == SignalPhase::Resolve)
            } else {
                signal.opened_at > known.opened_at
            };
            if !newer {
                return None;
            }
        }
        let fingerprint = signal.fingerprint.clone();
        let service = signal.subject.service.clone();
        if let Some(service) = &service {
            self.by_service
                .entry(service.clone())
                .or_default()
                .insert(fingerprint.clone());
        }
        if signal.phase != SignalPhase::Resolve && signal.severity == Severity::Critical {
            self.critical.insert(fingerprint.clone());
        } else {
            self.critical.remove(&fingerprint);
        }
        self.newest.insert(fingerprint, signal);
        service
    }

    /// Open signals about a service or one of its containers, earliest first.
    pub(crate) fn open(&self, service: &ServiceId) -> Vec<&Signal> {
        let of_service = self.by_service.get(service).into_iter().flatten();
        let mut open: Vec<&Signal> = of_service
            .filter_map(|fingerprint| self.newest.get(fingerprint))
            .filter(|signal| signal.phase != SignalPhase::Resolve)
            .collect();
        open.sort_by(|a, b| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
        open
    }

    /// Signals of a kind about a service or one of its containers that opened at or after `since`, over or not.
    pub(crate) fn opened_since(
        &self,
        service: &ServiceId,
        kind: SignalKind,
        since: Timestamp,
    ) -> Vec<&Signal> {
        let of_service = self.by_service.get(service).into_iter().flatten();
        of_service
            .filter_map(|fingerprint| self.newest.get(fingerprint))
            .filter(|signal| signal.kind == kind && signal.opened_at >= since)
            .collect()
    }

    /// When the last of these signals about a container was over, among those remembered.
    pub(crate) fn last_over(
        &self,
        service: &ServiceId,
        container: &ContainerId,
        which: impl Fn(&Signal) -> bool,
    ) -> Option<Timestamp> {
        self.last_told(service, container, |signal| {
            signal.phase == SignalPhase::Resolve && which(signal)
        })
    }

    /// When the newest state of one of these signals about a container was told, among those remembered.
    pub(crate) fn last_told(
        &self,
        service: &ServiceId,
        container: &ContainerId,
        which: impl Fn(&Signal) -> bool,
    ) -> Option<Timestamp> {
        let of_service = self.by_service.get(service).into_iter().flatten();
        of_service
            .filter_map(|fingerprint| self.newest.get(fingerprint))
            .filter(|signal| signal.subject.container.as_ref() == Some(container))
            .filter(|signal| which(signal))
            .map(|signal| signal.at)
            .max()
    }

    /// The kind of a signal, when it is remembered.
    pub(crate) fn kind_of(&self, service: &ServiceId, id: &SignalId) -> Option<SignalKind> {
        self.of_id(service, id).map(|signal| signal.kind)
    }

    /// The newest opening of the same thing: an id is its fingerprint and the opening time, so it is found by its beginning.
    fn of_id(&self, service: &ServiceId, id: &SignalId) -> Option<&Signal> {
        let of_service = self.by_service.get(service).into_iter().flatten();
        of_service
            .filter(|fingerprint| id.as_str().starts_with(fingerprint.as_str()))
            .find_map(|fingerprint| self.newest.get(fingerprint))
    }

    /// How an opening stands.
    pub(crate) fn standing(&self, service: &ServiceId, id: &SignalId) -> Standing {
        match self.of_id(service, id) {
            None => Standing::Unknown,
            Some(signal) if signal.id != *id => Standing::Reopened {
                at: signal.opened_at,
            },
            Some(signal) => match signal.phase {
                SignalPhase::Open | SignalPhase::Update => Standing::Open,
                SignalPhase::Resolve => Standing::Resolved,
            },
        }
    }

    /// Open signals of a kind about a node, by fingerprint.
    pub(crate) fn open_about_nodes(&self, kind: SignalKind) -> impl Iterator<Item = &Signal> {
        let of_kind = self.newest.values().filter(move |it| it.kind == kind);
        of_kind.filter(|it| it.phase != SignalPhase::Resolve && it.subject.service.is_none())
    }

    /// Services with an open critical signal that opened at or after `since`.
    pub(crate) fn critical_services(&self, since: Timestamp) -> BTreeSet<&ServiceId> {
        let critical = self
            .critical
            .iter()
            .filter_map(|fingerprint| self.newest.get(fingerprint));
        critical
            .filter(|signal| signal.opened_at >= since)
            .filter_map(|signal| signal.subject.service.as_ref())
            .collect()
    }

    /// Forgets what was over long ago.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        let before = now - REMEMBERED;
        let old: Vec<Fingerprint> = self
            .newest
            .values()
            .filter(|signal| signal.phase == SignalPhase::Resolve && signal.at < before)
            .map(|signal| signal.fingerprint.clone())
            .collect();
        for fingerprint in old {
            let service = self
                .newest
                .remove(&fingerprint)
                .and_then(|signal| signal.subject.service);
            let Some(service) = service else { continue };
            if let Some(of_service) = self.by_service.get_mut(&service) {
                of_service.remove(&fingerprint);
                if of_service.is_empty() {
                    self.by_service.remove(&service);
                }
            }
        }
    }
}
