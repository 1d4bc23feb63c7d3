//! What the actuator checks itself before it touches a container, from what the engine says at that moment. It trusts no
//! command: a controller that went wrong, or a topic somebody else writes to, must not get past the labels.

use std::collections::BTreeMap;

use bollard::models::ContainerInspectResponse;
use units::{
    Action, Command, ContainerName, LABEL_REPLICA_OF, Limits, LimitsPolicy, Mode, Policy, Refusal,
    Update,
};

/// A command that will not be carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(refusal: Refusal, reason: impl Into<String>) -> Self {
        Refused {
            refusal,
            reason: reason.into(),
        }
    }
}

/// By what right a command is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// By the labels alone.
    Standing,
    /// By a person who approved this very plan a short time before it was made.
    Approved,
    /// By a person who ordered the update that this is a step of.
    Ordered,
}

impl Consent {
    /// The one a command comes with.
    pub(crate) fn of(command: &Command) -> Self {
        let at = command.issued_at;
        // An order is given up after its time, and then what it changed is taken back, for as long again.
        let holds = |update: &Update| update.at + Update::VALID * 2 > at;
        if is_of_an_update(&command.action) && command.update.as_ref().is_some_and(holds) {
            return Consent::Ordered;
        }
        match &command.approval {
            Some(approval) if approval.holds_at(at) => Consent::Approved,
            Some(_) | None => Consent::Standing,
        }
    }
}

/// What a command is a part of, where that changes which label must allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Of nothing more.
    Itself,
    /// Of the move of a container to another node.
    Move,
    /// Of having what was stopped because its node was cut off run again.
    Return,
}

impl Purpose {
    /// The one of a command about this container. A move covers what is done to the container that goes, where it was, and taking
    /// back what was made of it where it should have gone; nothing else rides on one.
    pub(crate) fn of(command: &Command, container: &ContainerInspectResponse) -> Self {
        let Some(relocation) = &command.relocation else {
            return Purpose::Itself;
        };
        let target = command.action.target();
        let is_it = relocation.container == *target && relocation.from == command.node;
        let made_of = labels_of(container).remove(LABEL_REPLICA_OF);
        let is_successor = made_of.as_deref() == Some(relocation.container.as_str())
            && relocation.to == command.node;
        let is_of_it = match &command.action {
            Action::Restart { .. } | Action::Stop { .. } => is_it,
            Action::RemoveReplica { .. } => is_it || is_successor,
            Action::Recreate { .. }
            | Action::UpdateLimits { .. }
            | Action::CreateReplica { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. }
            | Action::PullImage { .. } => false,
        };
        match is_of_it {
            true => Purpose::Move,
            false => Purpose::Itself,
        }
    }
}

/// What an order lets be done; nothing else rides on one.
fn is_of_an_update(action: &Action) -> bool {
    match action {
        Action::PullImage { .. } | Action::RemoveReplica { .. } => true,
        Action::CreateReplica { image, .. } | Action::Recreate { image, .. } => image.is_some(),
        Action::Restart { .. }
        | Action::UpdateLimits { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => false,
    }
}

/// The labels of a container.
pub(crate) fn labels_of(container: &ContainerInspectResponse) -> BTreeMap<String, String> {
    let config = container.config.as_ref();
    let labels = config.and_then(|config| config.labels.clone());
    labels.unwrap_or_default().into_iter().collect()
}

/// The name of a container, without the slash.
pub(crate) fn name_of(container: &ContainerInspectResponse) -> ContainerName {
    let name = container.name.as_deref().unwrap_or_default();
    ContainerName::from(name.trim_start_matches('/'))
}

/// Whether the container's labels, under this node's ceiling, allow the action now.
///
/// # Errors
/// The refusal, which says what would have to be different.
pub(crate) fn check(
    action: &Action,
    container: &ContainerInspectResponse,
    ceiling: Mode,
    consent: Consent,
    purpose: Purpose,
) -> Result<(), Refused> {
    let labels = labels_of(container);
    let name = name_of(container);
    if matches!(action, Action::RemoveReplica { .. }) && !labels.contains_key(LABEL_REPLICA_OF) {
        let reason =
            format!("{name} was not made by Homeostat (it has no label {LABEL_REPLICA_OF})");
        return Err(Refused::new(Refusal::NotOurs, reason));
    }
    let (policy, _) = Policy::from_labels(&labels);
    let not_opted_in = |reason: String| Err(Refused::new(Refusal::NotOptedIn, reason));
    let needed = match consent {
        Consent::Standing => Mode::Act,
        Consent::Approved | Consent::Ordered => Mode::Suggest,
    };
    if policy.mode < needed {
        return not_opted_in(format!(
            "{name} allows {} only; label it io.homeostat.mode=act to let Homeostat act",
            policy.mode
        ));
    }
    if ceiling < needed {
        return not_opted_in(format!(
            "this node allows {ceiling} only; raise its max_mode to act"
        ));
    }
    let standing = standing_of(container);
    let (allowed, label) = allowed(action, &policy, consent, purpose, standing);
    if !allowed {
        return not_opted_in(format!("{name} does not allow it; label it {label}"));
    }
    // Labels cannot say "not now", a pause does.
    let state = container.state.as_ref();
    if state.and_then(|state| state.paused) == Some(true) {
        return not_opted_in(format!("{name} is paused, by a person: left alone"));
    }
    Ok(())
}

/// Whether a container's process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Runs,
    /// The engine says that it does not.
    Stopped,
}

fn standing_of(container: &ContainerInspectResponse) -> Standing {
    let runs = container.state.as_ref().and_then(|state| state.running);
    match runs {
        Some(false) => Standing::Stopped,
        Some(true) | None => Standing::Runs,
    }
}

/// Whether the labels allow this kind of action, and the label that would.
fn allowed(
    action: &Action,
    policy: &Policy,
    consent: Consent,
    purpose: Purpose,
    standing: Standing,
) -> (bool, &'static str) {
    const UPDATE: &str = "io.homeostat.update=true";
    const ORDERED: &str = "io.homeostat.update=true, and order the update with `homeostat update SERVICE --image IMAGE`";
    const SCALE: &str = "io.homeostat.scale=1..4";
    const REST: &str =
        "io.homeostat.scale=0..4, with io.homeostat.scale.target=metric@SERVICE:NAME=100";
    const MOVE: &str = "io.homeostat.move=true";
    const RECREATE: &str = "io.homeostat.heal=recreate";
    let is_ordered = consent == Consent::Ordered;
    let may_rest = policy.scale.as_ref().is_some_and(|scale| scale.min == 0);
    match action {
        Action::Export { .. }
        | Action::CreateReplica {
            origin: Some(_), ..
        } => (policy.movable, MOVE),
        Action::Restart { .. } | Action::Stop { .. } | Action::RemoveReplica { .. }
            if purpose == Purpose::Move =>
        {
            (policy.movable, MOVE)
        }
        Action::Isolate { .. } | Action::Rejoin { .. } => {
            (policy.heal && policy.recreate, RECREATE)
        }
        // What this node stopped by itself is started when it may run again, which heals nothing.
        Action::Restart { .. }
            if purpose == Purpose::Return
                && standing == Standing::Stopped
                && policy.movable
                && policy.singleton =>
        {
            (true, MOVE)
        }
        // What may come to none while nobody asks for it is started when somebody does, which heals nothing.
        Action::Restart { .. } if standing == Standing::Stopped && may_rest => (true, REST),
        Action::Stop { .. } => (may_rest, REST),
        Action::Restart { .. } => (policy.heal, "io.homeostat.heal=true"),
        Action::Recreate { image: Some(_), .. } if is_ordered => (policy.update, UPDATE),
        Action::Recreate { .. } => (policy.recreate, RECREATE),
        Action::UpdateLimits { limits, .. } => (
            within(policy.limits, limits),
            "io.homeostat.limits=cpu=100m..2000m,memory=64Mi..1Gi, with ranges that hold the new limits",
        ),
        Action::PullImage { .. } | Action::CreateReplica { image: Some(_), .. } => {
            (policy.update && is_ordered, ORDERED)
        }
        Action::RemoveReplica { .. } if is_ordered => {
            (policy.update || policy.scale.is_some(), UPDATE)
        }
        Action::CreateReplica { image: None, .. } | Action::RemoveReplica { .. } => {
            (policy.scale.is_some(), SCALE)
        }
    }
}

/// Whether the ranges of the label hold every limit that is to be set.
fn within(allowed: Option<LimitsPolicy>, limits: &Limits) -> bool {
    let Some(allowed) = allowed else {
        return false;
    };
    let cpu = |limit| allowed.cpu.is_some_and(|range| range.contains(limit));
    let memory = |limit| allowed.memory.is_some_and(|range| range.contains(limit));
    limits.cpu.is_none_or(cpu) && limits.memory.is_none_or(memory)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bollard::models::{ContainerConfig, ContainerState};
    use units::{
        Bytes, CommandId, ContainerId, Generation, Image, ImageChange, Millicores, NodeId, PlanId,
        Relocation, ServiceId, Timestamp, UpdateId,
    };

    use super::*;

    /// By itself, and part of no move.
    fn check(
        action: &Action,
        container: &ContainerInspectResponse,
        ceiling: Mode,
        consent: Consent,
    ) -> Result<(), Refused> {
        super::check(action, container, ceiling, consent, Purpose::Itself)
    }

    fn container(labels: &[(&str, &str)]) -> ContainerInspectResponse {
        let pairs = labels.iter();
        let labels = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ContainerInspectResponse {
            name: Some("/web".to_owned()),
            config: Some(ContainerConfig {
                labels: Some(labels.collect()),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    fn id() -> ContainerId {
        ContainerId::from("c1")
    }

    fn actions() -> [Action; 5] {
        let name = ContainerName::from("web");
        let grace = Duration::from_secs(1);
        [
            Action::Restart {
                container: id(),
                name: name.clone(),
                grace,
            },
            Action::UpdateLimits {
                container: id(),
                name: name.clone(),
                limits: Limits {
                    cpu: Some(Millicores(500)),
                    memory: None,
                },
            },
            Action::CreateReplica {
                template: id(),
                name: name.clone(),
                image: None,
                origin: None,
            },
            Action::RemoveReplica {
                container: id(),
                name: name.clone(),
                grace,
            },
            Action::Recreate {
                container: id(),
                name,
                grace,
                image: None,
            },
        ]
    }

    const ACT: (&str, &str) = ("io.homeostat.mode", "act");
    const HEAL: (&str, &str) = ("io.homeostat.heal", "true");
    const RECREATE: (&str, &str) = ("io.homeostat.heal", "recreate");
    const SCALE: (&str, &str) = ("io.homeostat.scale", "1..3");
    const LIMITS: (&str, &str) = ("io.homeostat.limits", "cpu=100m..1");
    const UPDATE: (&str, &str) = ("io.homeostat.update", "true");
    const MADE: (&str, &str) = (LABEL_REPLICA_OF, "c0");

    #[test]
    fn without_labels_nothing_is_allowed() {
        for action in actions() {
            assert!(
                check(&action, &container(&[]), Mode::Act, Consent::Standing).is_err(),
                "{action}"
            );
            assert!(
                check(
                    &action,
                    &container(&[HEAL, SCALE, LIMITS, MADE]),
                    Mode::Act,
                    Consent::Standing
                )
                .is_err()
            );
        }
    }

    #[test]
    fn each_label_allows_its_own_kind() {
        let [restart, limits, create, remove, recreate] = actions();
        let heal = container(&[ACT, HEAL, MADE]);
        let scale = container(&[ACT, SCALE, MADE]);
        let resize = container(&[ACT, LIMITS, MADE]);
        assert_eq!(check(&restart, &heal, Mode::Act, Consent::Standing), Ok(()));
        assert!(check(&restart, &scale, Mode::Act, Consent::Standing).is_err());
        assert_eq!(
            check(&limits, &resize, Mode::Act, Consent::Standing),
            Ok(())
        );
        assert!(check(&limits, &scale, Mode::Act, Consent::Standing).is_err());
        assert!(check(&recreate, &heal, Mode::Act, Consent::Standing).is_err());
        let more = container(&[ACT, RECREATE]);
        for action in [&restart, &recreate] {
            assert_eq!(check(action, &more, Mode::Act, Consent::Standing), Ok(()));
        }
        for action in [create, remove] {
            assert!(check(&action, &resize, Mode::Act, Consent::Standing).is_err());
            assert_eq!(check(&action, &scale, Mode::Act, Consent::Standing), Ok(()));
            assert!(check(&action, &heal, Mode::Act, Consent::Standing).is_err());
        }
    }

    #[test]
    fn what_may_come_to_none_is_stopped_and_started_without_leave_to_heal() {
        let rests = [
            ACT,
            ("io.homeostat.scale", "0..3"),
            ("io.homeostat.scale.target", "metric@queue:jobs=5"),
        ];
        let standing = |labels: &[(&str, &str)], running| {
            let mut found = container(labels);
            found.state = Some(ContainerState {
                running: Some(running),
                ..ContainerState::default()
            });
            found
        };
        let [restart, ..] = actions();
        let stop = Action::Stop {
            container: id(),
            name: ContainerName::from("web"),
            grace: Duration::from_secs(1),
        };
        let check = |action, container| check(action, &container, Mode::Act, Consent::Standing);
        assert_eq!(check(&stop, standing(&rests, true)), Ok(()));
        assert_eq!(check(&restart, standing(&rests, false)), Ok(()));
        assert!(check(&restart, standing(&rests, true)).is_err(), "it runs");
        for labels in [[ACT, SCALE], [ACT, LIMITS]] {
            assert!(check(&stop, standing(&labels, true)).is_err());
            assert!(check(&restart, standing(&labels, false)).is_err());
        }
        let own = [ACT, ("io.homeostat.scale", "0..3"), UPDATE];
        let refused = check(&stop, standing(&own, true)).unwrap_err();
        assert!(refused.reason.contains("0..4"), "{}", refused.reason);
    }

    #[test]
    fn limits_outside_the_ranges_of_the_label_are_refused() {
        let resize = container(&[ACT, LIMITS]);
        let update = |cpu: Option<u64>, memory: Option<u64>| Action::UpdateLimits {
            container: id(),
            name: ContainerName::from("web"),
            limits: Limits {
                cpu: cpu.map(Millicores),
                memory: memory.map(Bytes::from_mib),
            },
        };
        let allowed =
            |action: Action| check(&action, &resize, Mode::Act, Consent::Standing).is_ok();
        assert!(allowed(update(Some(100), None)) && allowed(update(Some(1_000), None)));
        assert!(!allowed(update(Some(99), None)) && !allowed(update(Some(1_001), None)));
        assert!(!allowed(update(Some(500), Some(64))), "memory is not named");
    }

    #[test]
    fn the_ceiling_holds_whatever_labels_say() {
        let all = container(&[ACT, RECREATE, SCALE, LIMITS, MADE]);
        for action in actions() {
            for ceiling in [Mode::Observe, Mode::Suggest] {
                let refused = check(&action, &all, ceiling, Consent::Standing).unwrap_err();
                assert_eq!(refused.refusal, Refusal::NotOptedIn);
                assert!(refused.reason.contains("max_mode"), "{}", refused.reason);
            }
        }
    }

    #[test]
    fn what_a_person_approved_is_done_where_it_may_be_suggested() {
        let suggest = ("io.homeostat.mode", "suggest");
        let observe = ("io.homeostat.mode", "observe");
        for action in actions() {
            let willing = container(&[suggest, RECREATE, SCALE, LIMITS, MADE]);
            let approved =
                |container, ceiling| check(&action, container, ceiling, Consent::Approved);
            assert!(check(&action, &willing, Mode::Act, Consent::Standing).is_err());
            assert_eq!(approved(&willing, Mode::Act), Ok(()));
            assert_eq!(approved(&willing, Mode::Suggest), Ok(()));
            assert!(approved(&willing, Mode::Observe).is_err());
            let unwilling = container(&[observe, RECREATE, SCALE, LIMITS, MADE]);
            assert!(approved(&unwilling, Mode::Act).is_err());
            assert!(approved(&container(&[suggest]), Mode::Act).is_err());
        }
    }

    /// The steps of an update, and the same kinds of action outside one.
    fn of_an_update() -> [Action; 4] {
        let image = |id: &str| Image {
            reference: "web:1".to_owned(),
            id: id.to_owned(),
        };
        let change = Some(ImageChange {
            from: image("sha256:1"),
            to: image("sha256:2"),
        });
        let [_, _, _, remove, _] = actions();
        let name = ContainerName::from("web");
        [
            Action::PullImage {
                container: id(),
                name: name.clone(),
                reference: "web:2".to_owned(),
            },
            Action::CreateReplica {
                template: id(),
                name: name.clone(),
                image: change.clone(),
                origin: None,
            },
            Action::Recreate {
                container: id(),
                name,
                grace: Duration::from_secs(1),
                image: change,
            },
            remove,
        ]
    }

    fn command(action: Action, update: Option<Update>, issued_at: Timestamp) -> Command {
        let plan = PlanId::from("web-1");
        Command {
            id: CommandId::of(&plan, 0),
            plan,
            generation: Generation(1),
            service: ServiceId::from("web"),
            node: NodeId::from("a"),
            issued_at,
            deadline: issued_at + Duration::from_secs(30),
            action,
            approval: None,
            update,
            relocation: None,
            traceparent: None,
        }
    }

    #[test]
    fn an_order_is_consent_to_the_steps_of_its_update_alone_and_for_its_time() {
        let (now, service) = (Timestamp::from_millis(1), ServiceId::from("web"));
        let update = Update {
            id: UpdateId::of(&service, now),
            service,
            image: "web:2".to_owned(),
            at: now,
            by: None,
        };
        let consent = |action, at| Consent::of(&command(action, Some(update.clone()), at));
        for action in of_an_update() {
            let taken_back = now + Update::VALID + Duration::from_secs(60);
            assert_eq!(consent(action.clone(), taken_back), Consent::Ordered);
            assert_eq!(
                consent(action.clone(), now + Update::VALID * 2),
                Consent::Standing
            );
            assert_eq!(Consent::of(&command(action, None, now)), Consent::Standing);
        }
        let [restart, limits, create, _, recreate] = actions();
        for action in [restart, limits, create, recreate] {
            assert_eq!(consent(action, now), Consent::Standing);
        }
    }

    #[test]
    fn an_update_takes_its_label_a_persons_order_and_no_more_than_suggest() {
        let (suggest, observe) = (
            ("io.homeostat.mode", "suggest"),
            ("io.homeostat.mode", "observe"),
        );
        let willing = container(&[suggest, UPDATE, MADE]);
        for action in of_an_update() {
            let ordered = |container: &ContainerInspectResponse, ceiling| {
                check(&action, container, ceiling, Consent::Ordered)
            };
            assert_eq!(ordered(&willing, Mode::Suggest), Ok(()), "{action}");
            assert!(ordered(&willing, Mode::Observe).is_err());
            assert!(ordered(&container(&[observe, UPDATE, MADE]), Mode::Act).is_err());
            let refused = ordered(&container(&[ACT, RECREATE, MADE]), Mode::Act).unwrap_err();
            assert!(
                refused.reason.contains("io.homeostat.update=true"),
                "{}",
                refused.reason
            );
            let labelled = container(&[ACT, UPDATE, MADE]);
            assert!(check(&action, &labelled, Mode::Act, Consent::Standing).is_err());
        }
        let [pull, create, _, remove] = of_an_update();
        let all = container(&[ACT, UPDATE, RECREATE, SCALE, MADE]);
        for action in [pull, create] {
            assert!(
                check(&action, &all, Mode::Act, Consent::Standing).is_err(),
                "{action}"
            );
        }
        let theirs = container(&[ACT, UPDATE]);
        let refused = check(&remove, &theirs, Mode::Act, Consent::Ordered).unwrap_err();
        assert_eq!(refused.refusal, Refusal::NotOurs);
    }

    #[test]
    fn only_what_homeostat_made_is_removed() {
        let [_, _, _, remove, _] = actions();
        let refused = check(
            &remove,
            &container(&[ACT, SCALE]),
            Mode::Act,
            Consent::Standing,
        )
        .unwrap_err();
        assert_eq!(refused.refusal, Refusal::NotOurs);
    }

    #[test]
    fn what_a_person_paused_is_left_alone() {
        let mut paused = container(&[ACT, RECREATE, SCALE, LIMITS, MADE]);
        paused.state = Some(ContainerState {
            paused: Some(true),
            ..ContainerState::default()
        });
        for action in actions() {
            let refused = check(&action, &paused, Mode::Act, Consent::Standing).unwrap_err();
            assert!(refused.reason.contains("paused"), "{}", refused.reason);
        }
    }

    const MOVE: (&str, &str) = ("io.homeostat.move", "true");

    /// What is done to the container `c1` of node a in a move to node b.
    fn of_a_move(action: Action, node: &str) -> Command {
        Command {
            node: NodeId::from(node),
            relocation: Some(Relocation {
                container: id(),
                name: ContainerName::from("web"),
                from: NodeId::from("a"),
                to: NodeId::from("b"),
                at: Timestamp::EPOCH,
                lost: false,
            }),
            ..command(action, None, Timestamp::EPOCH)
        }
    }

    #[test]
    fn a_move_goes_by_its_own_label_and_covers_its_own_container_alone() {
        let grace = Duration::from_secs(1);
        let (name, other) = (ContainerName::from("web"), ContainerId::from("c9"));
        let stop = |container| Action::Stop {
            container,
            name: name.clone(),
            grace,
        };
        let [restart, limits, _, remove, _] = actions();
        let removal = Action::RemoveReplica {
            container: other.clone(),
            name: name.clone(),
            grace,
        };
        let movable = container(&[ACT, MOVE, MADE]);
        let of_it = container(&[ACT, MOVE, (LABEL_REPLICA_OF, "c1")]);
        let allowed = |action: &Action, node: &str, container: &ContainerInspectResponse| {
            let command = of_a_move(action.clone(), node);
            let purpose = Purpose::of(&command, container);
            super::check(action, container, Mode::Act, Consent::Standing, purpose).is_ok()
        };
        for action in [&stop(id()), &restart, &remove] {
            assert!(allowed(action, "a", &movable), "{action}");
            assert!(!allowed(action, "c", &movable), "on another node: {action}");
            assert!(check(action, &movable, Mode::Act, Consent::Standing).is_err());
            let willing = container(&[ACT, HEAL, SCALE, MADE]);
            assert!(!allowed(action, "a", &willing), "not by others: {action}");
        }
        assert!(!allowed(&stop(other), "a", &movable));
        assert!(!allowed(&limits, "a", &movable));
        assert!(allowed(&removal, "b", &of_it), "what was made of it");
        assert!(!allowed(&removal, "a", &of_it) && !allowed(&removal, "b", &movable));
        let theirs = container(&[ACT, MOVE]);
        assert!(!allowed(&remove, "a", &theirs), "a person made it");
    }

    #[test]
    fn what_was_stopped_because_its_node_was_cut_off_is_started_without_leave_to_heal() {
        const SINGLETON: (&str, &str) = ("io.homeostat.singleton", "true");
        let [restart, _, _, remove, recreate] = actions();
        let standing = |labels: &[(&str, &str)], running| {
            let mut found = container(labels);
            found.state = Some(ContainerState {
                running: Some(running),
                ..ContainerState::default()
            });
            found
        };
        let allowed = |action: &Action, container, ceiling, purpose| {
            super::check(action, &container, ceiling, Consent::Standing, purpose).is_ok()
        };
        let stopped = standing(&[ACT, MOVE, SINGLETON, MADE], false);
        let back = |action: &Action| allowed(action, stopped.clone(), Mode::Act, Purpose::Return);
        assert!(back(&restart));
        assert!(!back(&remove) && !back(&recreate), "nothing else");
        let otherwise = |container, ceiling, purpose| {
            assert!(!allowed(&restart, container, ceiling, purpose));
        };
        otherwise(stopped.clone(), Mode::Suggest, Purpose::Return);
        otherwise(stopped.clone(), Mode::Act, Purpose::Itself);
        let runs = standing(&[ACT, MOVE, SINGLETON], true);
        otherwise(runs, Mode::Act, Purpose::Return);
        for labels in [[ACT, MOVE], [ACT, SINGLETON], [MOVE, SINGLETON]] {
            otherwise(standing(&labels, false), Mode::Act, Purpose::Return);
        }
    }

    #[test]
    fn a_failover_covers_the_one_that_was_lost_and_its_successor_as_a_move_does() {
        let (name, grace) = (ContainerName::from("web"), Duration::from_secs(1));
        let stop = Action::Stop {
            container: id(),
            name: name.clone(),
            grace,
        };
        let removal = Action::RemoveReplica {
            container: ContainerId::from("c9"),
            name,
            grace,
        };
        let [_, _, _, remove, _] = actions();
        let (movable, of_it) = (
            container(&[ACT, MOVE, MADE]),
            container(&[ACT, MOVE, (LABEL_REPLICA_OF, "c1")]),
        );
        for (action, node, found, expected) in [
            (&stop, "a", &movable, Purpose::Move),
            (&remove, "a", &movable, Purpose::Move),
            (&removal, "b", &of_it, Purpose::Move),
            (&removal, "a", &of_it, Purpose::Itself),
            (&stop, "b", &movable, Purpose::Itself),
        ] {
            let mut command = of_a_move(action.clone(), node);
            if let Some(relocation) = &mut command.relocation {
                relocation.lost = true;
            }
            assert_eq!(Purpose::of(&command, found), expected, "{action} on {node}");
        }
    }

    #[test]
    fn telling_making_and_isolating_take_their_labels() {
        let (container_id, name) = (id(), ContainerName::from("web"));
        let export = Action::Export {
            container: id(),
            name: name.clone(),
        };
        let create = Action::CreateReplica {
            template: id(),
            name: name.clone(),
            image: None,
            origin: Some(units::Origin {
                node: NodeId::from("a"),
                sealed: String::new(),
            }),
        };
        let isolate = Action::Isolate {
            container: id(),
            name: name.clone(),
        };
        let rejoin = Action::Rejoin {
            container: container_id,
            name,
            networks: Vec::new(),
        };
        let (movable, healed) = (container(&[ACT, MOVE]), container(&[ACT, RECREATE]));
        let others = container(&[ACT, HEAL, SCALE, LIMITS, UPDATE, MADE]);
        for (action, by, label) in [
            (&export, &movable, "io.homeostat.move=true"),
            (&create, &movable, "io.homeostat.move=true"),
            (&isolate, &healed, "io.homeostat.heal=recreate"),
            (&rejoin, &healed, "io.homeostat.heal=recreate"),
        ] {
            assert_eq!(check(action, by, Mode::Act, Consent::Standing), Ok(()));
            let refused = check(action, &others, Mode::Act, Consent::Standing).unwrap_err();
            assert_eq!(refused.refusal, Refusal::NotOptedIn);
            assert!(refused.reason.contains(label), "{}", refused.reason);
            assert!(check(action, by, Mode::Suggest, Consent::Standing).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_the_word_act_opts_in(mode in "[a-z]{0,8}", heal in "[a-z]{0,5}") {
            let labels = [("io.homeostat.mode", mode.as_str()), ("io.homeostat.heal", &heal)];
            let [restart, ..] = actions();
            let allowed = check(&restart, &container(&labels), Mode::Act, Consent::Standing).is_ok();
            proptest::prop_assert_eq!(allowed, mode == "act" && (heal == "true" || heal == "recreate"));
        }
    }
}
