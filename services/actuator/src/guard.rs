//! What the actuator checks itself before it touches a container, from what the engine says at that moment. It trusts no
//! command: a controller that went wrong, or a topic somebody else writes to, must not get past the labels.

use std::collections::BTreeMap;

use bollard::models::ContainerInspectResponse;
use units::{
    Action, Command, ContainerName, LABEL_REPLICA_OF, Limits, LimitsPolicy, Mode, Policy, Refusal,
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
}

impl Consent {
    /// The one a command comes with.
    pub(crate) fn of(command: &Command) -> Self {
        match &command.approval {
            Some(approval) if approval.holds_at(command.issued_at) => Consent::Approved,
            Some(_) | None => Consent::Standing,
        }
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
        Consent::Approved => Mode::Suggest,
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
    let (allowed, label) = match action {
        Action::Restart { .. } => (policy.heal, "io.homeostat.heal=true"),
        Action::Recreate { .. } => (policy.recreate, "io.homeostat.heal=recreate"),
        Action::UpdateLimits { limits, .. } => (
            within(policy.limits, limits),
            "io.homeostat.limits=cpu=100m..2000m,memory=64Mi..1Gi, with ranges that hold the new limits",
        ),
        Action::PullImage { .. } => (policy.update, "io.homeostat.update=true"),
        Action::CreateReplica { .. } | Action::RemoveReplica { .. } | Action::Stop { .. } => {
            (policy.scale.is_some(), "io.homeostat.scale=1..4")
        }
    };
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
    use units::{Bytes, ContainerId, Millicores};

    use super::*;

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
