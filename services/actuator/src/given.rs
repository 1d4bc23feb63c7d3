//! What a container has of its image, told apart from what somebody asked for: the engine shows both as one.
//!
//! A container of another image must have that image's own defaults. What equals the default of the image before counts as given by
//! it; who asked for that very value gets the new default all the same.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{ContainerConfig, HealthConfig, ImageConfig};

/// What a new container is made from.
pub(crate) struct Source {
    /// The image, as the engine is to be asked for it.
    pub(crate) image: String,
    /// What the image before gave by itself, where the new one gives its own; absent for the same image.
    pub(crate) given: Option<ImageConfig>,
}

/// Takes out what the image gave, so that another image can give its own in its place.
pub(crate) fn leave_out(
    given: &ImageConfig,
    config: &mut ContainerConfig,
    labels: &mut BTreeMap<String, String>,
) {
    let without = |all: &mut Option<Vec<String>>, given: &Option<Vec<String>>| {
        let given: BTreeSet<&String> = given.iter().flatten().collect();
        if let Some(all) = all {
            all.retain(|it| !given.contains(it));
        }
    };
    without(&mut config.env, &given.env);
    without(&mut config.exposed_ports, &given.exposed_ports);
    without(&mut config.volumes, &given.volumes);
    if let Some(from_image) = &given.labels {
        labels.retain(|key, value| from_image.get(key) != Some(value));
    }
    // An entrypoint that somebody set puts the image's arguments out of force, so those it has are somebody's too.
    if same(&config.entrypoint, &given.entrypoint) {
        config.entrypoint = None;
        if same(&config.cmd, &given.cmd) {
            config.cmd = None;
        }
    }
    config.healthcheck = own_part(config.healthcheck.take(), given.healthcheck.as_ref());
    for (text, given) in [
        (&mut config.user, &given.user),
        (&mut config.working_dir, &given.working_dir),
        (&mut config.stop_signal, &given.stop_signal),
    ] {
        if same(text, given) {
            *text = None;
        }
    }
    if same(&config.shell, &given.shell) {
        config.shell = None;
    }
}

/// The engine fills what is absent of a health check from the image, field by field.
fn own_part(has: Option<HealthConfig>, given: Option<&HealthConfig>) -> Option<HealthConfig> {
    let (Some(mut has), Some(given)) = (has.clone(), given) else {
        return has;
    };
    if same(&has.test, &given.test) {
        has.test = None;
    }
    for (number, given) in [
        (&mut has.interval, given.interval),
        (&mut has.timeout, given.timeout),
        (&mut has.retries, given.retries),
        (&mut has.start_period, given.start_period),
        (&mut has.start_interval, given.start_interval),
    ] {
        if same(number, &given) {
            *number = None;
        }
    }
    (has != HealthConfig::default()).then_some(has)
}

/// The engine writes nothing now as absent, now as empty.
fn same<T: Clone + Default + PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.clone().unwrap_or_default() == b.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn of_a_health_check_only_what_somebody_asked_for_is_kept() {
        let given = HealthConfig {
            test: Some(vec!["CMD".to_owned(), "/health".to_owned()]),
            interval: Some(30 * SECOND_NS),
            ..HealthConfig::default()
        };
        let own = |has: &HealthConfig| own_part(Some(has.clone()), Some(&given));
        assert_eq!(own(&given), None);
        let faster = HealthConfig {
            interval: Some(SECOND_NS),
            ..given.clone()
        };
        let kept = HealthConfig {
            interval: Some(SECOND_NS),
            ..HealthConfig::default()
        };
        assert_eq!(own(&faster), Some(kept));
        let switched_off = HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        };
        assert_eq!(own(&switched_off), Some(switched_off.clone()));
        assert_eq!(own_part(Some(given.clone()), None), Some(given.clone()));
        assert_eq!(own_part(None, Some(&given)), None);
    }
}
