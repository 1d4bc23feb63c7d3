//! The table of what exists on the node. Pure: it is told what the engine said, and says what follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use units::{
    ContainerEvent, ContainerId, ContainerName, ContainerRecord, ContainerState, EventKind,
    HealthState, NodeId, ServiceId, Timestamp,
};

use crate::inspect::Details;
use crate::roster::{Engine, Member, Process, Roster};

/// The engine keeps its last 256 events and tells them again on request; twice that is remembered to tell them apart.
const EVENTS_REMEMBERED: usize = 512;
/// Signals that programs take as a message rather than as an end, by number and name.
const SIGNALS_THAT_TALK: [&str; 10] = [
    "1", "10", "12", "17", "18", "28", "HUP", "USR1", "USR2", "WINCH",
];

/// One event of the engine about one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineEvent {
    /// When, in nanoseconds since the Unix epoch: also where to go on after a gap.
    pub(crate) at_ns: i64,
    pub(crate) id: ContainerId,
    pub(crate) action: Action,
    /// What the event itself tells of the container: its labels, `name`, and more that depends on the action.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What happened, as the engine puts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Create,
    Start,
    Die,
    Kill,
    OutOfMemory,
    Health(HealthState),
    Pause,
    Unpause,
    Update,
    Rename,
    /// It was connected to a network, or disconnected.
    Network,
    Destroy,
}

impl Action {
    /// The action of the engine's word; `None` for the many that change nothing here, such as `exec_start` or `attach`.
    pub(crate) fn parse(word: &str) -> Option<Action> {
        if let Some(state) = word.strip_prefix("health_status:") {
            return Some(Action::Health(match state.trim() {
                "healthy" => HealthState::Healthy,
                "unhealthy" => HealthState::Unhealthy,
                "starting" => HealthState::Starting,
                _ => return None,
            }));
        }
        Some(match word {
            "create" => Action::Create,
            "start" => Action::Start,
            "die" => Action::Die,
            "kill" => Action::Kill,
            "oom" => Action::OutOfMemory,
            "pause" => Action::Pause,
            "unpause" => Action::Unpause,
            "update" => Action::Update,
            "rename" => Action::Rename,
            "connect" | "disconnect" => Action::Network,
            "destroy" => Action::Destroy,
            _ => return None,
        })
    }
}

/// Whether it is told what containers were made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Specs {
    Told,
    LeftOut,
}

/// The containers of one node.
#[derive(Debug)]
pub(crate) struct Containers {
    node: NodeId,
    by_id: BTreeMap<ContainerId, Details>,
    seen: VecDeque<(i64, ContainerId, Action)>,
}

impl Containers {
    pub(crate) fn new(node: NodeId) -> Self {
        Containers {
            node,
            by_id: BTreeMap::new(),
            seen: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Option<&Details> {
        self.by_id.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Details> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The next `count` ids after `after`, going round.
    pub(crate) fn ids_after(&self, after: Option<&ContainerId>, count: usize) -> Vec<ContainerId> {
        let later = self
            .by_id
            .keys()
            .filter(|id| after.is_none_or(|after| *id > after));
        let earlier = self
            .by_id
            .keys()
            .filter(|id| after.is_some_and(|after| *id <= after));
        later.chain(earlier).take(count).cloned().collect()
    }

    /// Notes an event; false when it was told before.
    pub(crate) fn is_news(&mut self, event: &EngineEvent) -> bool {
        let key = (event.at_ns, event.id.clone(), event.action);
        if self.seen.contains(&key) {
            return false;
        }
        if self.seen.len() == EVENTS_REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(key);
        true
    }

    /// Puts down what an inspect said; true when that is different from what was known.
    pub(crate) fn learn(&mut self, details: Details) -> bool {
        let id = details.record.id.clone();
        if self.by_id.get(&id) == Some(&details) {
            return false;
        }
        self.by_id.insert(id, details);
        true
    }

    /// Takes a container off the table, as after its removal.
    pub(crate) fn forget(&mut self, id: &ContainerId) -> Option<Details> {
        self.by_id.remove(id)
    }

    /// Takes what an event says by itself into the table: an inspect tells the rest, but later.
    pub(crate) fn note(&mut self, event: &EngineEvent) {
        if event.action == Action::Destroy {
            self.by_id.remove(&event.id);
            return;
        }
        let at = Timestamp::from_millis(event.at_ns / 1_000_000);
        if event.action == Action::Create && !self.by_id.contains_key(&event.id) {
            let details = Details::of_event(&event.id, &event.attributes, at);
            self.by_id
                .extend(details.map(|details| (event.id.clone(), details)));
        }
        let Some(details) = self.by_id.get_mut(&event.id) else {
            return;
        };
        let record = &mut details.record;
        match event.action {
            Action::Health(state) => record.health = state,
            Action::Start => {
                record.state = ContainerState::Running;
                record.started_at = Some(at);
                record.finished_at = None;
                record.exit_code = None;
                let spec = record.spec.as_ref();
                record.health = match spec.and_then(|spec| spec.health.as_ref()) {
                    Some(_) => HealthState::Starting,
                    None => HealthState::None,
                };
            }
            Action::Die => {
                details.pid = None;
                // Whether the engine starts it again, it says itself.
                let spec = record.spec.as_ref();
                if spec.is_none_or(|spec| spec.restart.policy == "no") {
                    let code = event.attributes.get("exitCode");
                    record.state = ContainerState::Exited;
                    record.finished_at = Some(at);
                    record.exit_code = code.and_then(|code| code.parse().ok());
                }
            }
            Action::Pause => record.state = ContainerState::Paused,
            Action::Unpause => record.state = ContainerState::Running,
            Action::Create
            | Action::Kill
            | Action::OutOfMemory
            | Action::Update
            | Action::Rename
            | Action::Network
            | Action::Destroy => {}
        }
    }

    /// Replaces the whole table after the engine was asked for all it has; gives what was there and is no more.
    pub(crate) fn replace(&mut self, listed: Vec<Details>) -> Vec<Details> {
        let now: BTreeMap<ContainerId, Details> = listed
            .into_iter()
            .map(|details| (details.record.id.clone(), details))
            .collect();
        let before = std::mem::replace(&mut self.by_id, now);
        before
            .into_values()
            .filter(|details| !self.by_id.contains_key(&details.record.id))
            .collect()
    }

    /// The record that tells others of an event; `None` for what is not worth telling.
    /// Call it before the event changes the table: afterwards a removed container has no identity any more.
    pub(crate) fn tell(&self, event: &EngineEvent) -> Option<ContainerEvent> {
        let attribute = |key: &str| event.attributes.get(key).filter(|text| !text.is_empty());
        let kind = match event.action {
            Action::Create => EventKind::Created,
            Action::Start => EventKind::Started,
            Action::Die => EventKind::Died {
                exit_code: attribute("exitCode").and_then(|code| code.parse().ok()),
            },
            Action::Kill => {
                let signal = attribute("signal").cloned();
                if self.is_talk(&event.id, signal.as_deref()) {
                    return None;
                }
                EventKind::Stopping { signal }
            }
            Action::OutOfMemory => EventKind::OutOfMemory,
            Action::Health(state) => EventKind::Health { state },
            Action::Pause => EventKind::Paused,
            Action::Unpause => EventKind::Unpaused,
            Action::Update => EventKind::Updated,
            Action::Rename => {
                let from = attribute("oldName").map_or("", String::as_str);
                EventKind::Renamed {
                    from: ContainerName::from(from.trim_start_matches('/')),
                }
            }
            Action::Destroy => EventKind::Removed,
            Action::Network => return None,
        };
        let (service, name) = self.identity(event);
        Some(ContainerEvent {
            at: Timestamp::from_millis(event.at_ns / 1_000_000),
            at_unix_ns: Some(event.at_ns),
            node: self.node.clone(),
            service,
            container: event.id.clone(),
            name,
            kind,
        })
    }

    /// A record about a container as it is on the table.
    pub(crate) fn tell_of(
        &self,
        record: &ContainerRecord,
        at: Timestamp,
        kind: EventKind,
    ) -> ContainerEvent {
        ContainerEvent {
            at,
            at_unix_ns: None,
            node: self.node.clone(),
            service: record.service.clone(),
            container: record.id.clone(),
            name: record.name.clone(),
            kind,
        }
    }

    /// The event names the container as it is called then, and carries its labels: it is enough by itself.
    fn identity(&self, event: &EngineEvent) -> (ServiceId, ContainerName) {
        let known = self.by_id.get(&event.id).map(|details| &details.record);
        let name = match event.attributes.get("name") {
            Some(name) => ContainerName::from(name.trim_start_matches('/')),
            None => known.map_or_else(
                || ContainerName::from(event.id.short()),
                |record| record.name.clone(),
            ),
        };
        let service = ServiceId::from_labels(&event.attributes, &name);
        (service, name)
    }

    /// A signal that is a message, such as "read your configuration again", unless the container is set to stop by it.
    fn is_talk(&self, id: &ContainerId, signal: Option<&str>) -> bool {
        let Some(signal) = signal else {
            return false;
        };
        let plain = |text: &str| {
            text.to_ascii_uppercase()
                .trim_start_matches("SIG")
                .to_owned()
        };
        let stops = self
            .by_id
            .get(id)
            .and_then(|details| details.stop_signal.as_deref());
        let same = |a: &str, b: &str| plain(a) == plain(b) || signal_number(&plain(a)) == plain(b);
        if stops.is_some_and(|stop| same(stop, signal) || same(signal, stop)) {
            return false;
        }
        SIGNALS_THAT_TALK.contains(&plain(signal).as_str())
    }

    /// What the sampler needs to know.
    pub(crate) fn roster(&self, engine: Engine) -> Roster {
        Roster {
            engine,
            members: self.by_id.values().map(member).collect(),
        }
    }

    /// What the inventory shows, by name, encoded.
    pub(crate) fn told(&self, specs: Specs) -> Box<RawValue> {
        let mut records: Vec<_> = self.by_id.values().map(|it| &it.record).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        let encoded = match specs {
            Specs::Told => to_raw_value(&records),
            Specs::LeftOut => {
                let bare = records.into_iter().map(|record| ContainerRecord {
                    spec: None,
                    ..record.clone()
                });
                to_raw_value(&bare.collect::<Vec<_>>())
            }
        };
        encoded.expect("our records have text keys and no failing serialiser, so JSON takes them")
    }
}

fn member(details: &Details) -> Member {
    let record = &details.record;
    Member {
        id: record.id.clone(),
        name: record.name.clone(),
        service: record.service.clone(),
        state: record.state,
        health: record.health,
        restarts: record.restarts,
        exit_code: record.exit_code,
        started_at: record
            .started_at
            .filter(|_| record.state == ContainerState::Running),
        process: details.pid.map(|pid| Process {
            pid,
            started_at: record.started_at,
            network: details.network,
        }),
        limits: record.limits,
        addresses: Arc::clone(&details.addresses),
        scrape: Arc::clone(&details.scrape),
    }
}

/// Numbers of the signals that are used to stop programs and to talk to them; the same on every Linux Docker runs on.
fn signal_number(name: &str) -> &str {
    match name {
        "HUP" => "1",
        "INT" => "2",
        "QUIT" => "3",
        "KILL" => "9",
        "USR1" => "10",
        "USR2" => "12",
        "TERM" => "15",
        "WINCH" => "28",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn details(id: &str, name: &str, stop_signal: &str) -> Details {
        let answer = serde_json::from_value(json!({
            "Id": id, "Name": format!("/{name}"), "State": {"Status": "running", "Pid": 5},
            "Config": {"StopSignal": stop_signal, "Labels": {"io.homeostat.service": "web"}},
        }));
        Details::read(answer.unwrap(), "/var/lib/docker").unwrap()
    }

    fn event(at_ns: i64, id: &str, action: Action, attributes: &[(&str, &str)]) -> EngineEvent {
        EngineEvent {
            at_ns,
            id: ContainerId::from(id),
            action,
            attributes: attributes
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    fn table() -> Containers {
        Containers::new(NodeId::from("node-a"))
    }

    #[test]
    fn words_of_the_engine() {
        assert_eq!(
            Action::parse("health_status: unhealthy"),
            Some(Action::Health(HealthState::Unhealthy))
        );
        assert_eq!(Action::parse("die"), Some(Action::Die));
        assert_eq!(Action::parse("exec_start: /bin/check"), None);
        assert_eq!(Action::parse("health_status: odd"), None);
    }

    #[test]
    fn the_same_event_told_twice_is_news_once() {
        let mut table = table();
        let die = event(1, "a", Action::Die, &[]);
        assert!(table.is_news(&die));
        assert!(!table.is_news(&die));
        assert!(
            table.is_news(&event(1, "a", Action::Destroy, &[])),
            "same time, another thing"
        );
        for at_ns in 2..2000 {
            assert!(table.is_news(&event(at_ns, "a", Action::Die, &[])));
        }
        assert_eq!(table.seen.len(), EVENTS_REMEMBERED);
    }

    #[test]
    fn an_event_about_a_stranger_is_told_from_its_own_labels() {
        let told = table()
            .tell(&event(
                1_700_000_000_123_999_999,
                "a",
                Action::Die,
                &[
                    ("name", "job"),
                    ("exitCode", "3"),
                    ("com.docker.compose.project", "shop"),
                    ("com.docker.compose.service", "job"),
                ],
            ))
            .unwrap();
        assert_eq!(told.service.as_str(), "shop/job");
        assert_eq!(told.name.as_str(), "job");
        assert_eq!(told.at, Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(told.kind, EventKind::Died { exit_code: Some(3) });
    }

    #[test]
    fn a_message_by_signal_is_not_a_stop_unless_it_is_the_stop_signal() {
        let mut table = table();
        table.learn(details("a", "web", ""));
        table.learn(details("b", "httpd", "SIGWINCH"));
        let kill =
            |id: &str, signal: &str| table.tell(&event(1, id, Action::Kill, &[("signal", signal)]));
        assert_eq!(kill("a", "1"), None);
        assert_eq!(kill("a", "SIGUSR1"), None);
        assert!(kill("a", "15").is_some());
        assert!(kill("a", "9").is_some());
        assert_eq!(kill("a", "28"), None);
        assert!(kill("b", "28").is_some());
    }

    #[test]
    fn a_rename_says_both_names() {
        let told = table()
            .tell(&event(
                1,
                "a",
                Action::Rename,
                &[("name", "new"), ("oldName", "/old")],
            ))
            .unwrap();
        assert_eq!(told.name.as_str(), "new");
        assert_eq!(
            told.kind,
            EventKind::Renamed {
                from: ContainerName::from("old")
            }
        );
    }

    fn records(table: &Containers) -> Vec<ContainerRecord> {
        serde_json::from_str(table.told(Specs::Told).get()).unwrap()
    }

    #[test]
    fn learning_says_whether_it_is_new() {
        let mut table = table();
        assert!(table.learn(details("a", "web", "")));
        assert!(!table.learn(details("a", "web", "")));
        assert!(table.learn(details("a", "web-2", "")));
        table.note(&event(1, "a", Action::Health(HealthState::Unhealthy), &[]));
        assert_eq!(records(&table)[0].health, HealthState::Unhealthy);
        table.note(&event(2, "a", Action::Destroy, &[]));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_new_list_tells_what_is_gone() {
        let mut table = table();
        table.learn(details("a", "web", ""));
        table.learn(details("b", "db", ""));
        let gone = table.replace(vec![details("b", "db", ""), details("c", "new", "")]);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].record.name.as_str(), "web");
        assert_eq!(
            records(&table)
                .iter()
                .map(|it| it.name.as_str())
                .collect::<Vec<_>>(),
            ["db", "new"]
        );
    }

    #[test]
    fn refreshing_goes_round() {
        let mut table = table();
        for id in ["a", "b", "c"] {
            table.learn(details(id, id, ""));
        }
        let ids = |after: Option<&str>| -> Vec<String> {
            let after = after.map(ContainerId::from);
            table
                .ids_after(after.as_ref(), 2)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(ids(None), ["a", "b"]);
        assert_eq!(ids(Some("b")), ["c", "a"]);
        assert_eq!(ids(Some("c")), ["a", "b"]);
    }
}
