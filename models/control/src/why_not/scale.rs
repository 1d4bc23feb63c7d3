//! Why a service has the replicas it has.

use units::{ActionKind, Forecast, ServiceId, Timestamp};

use crate::grow::{additions, kept};
use crate::loads::{Load, load_ahead};
use crate::scale::{Group, need, overloads, wants_more};
use crate::shrink::{Less, last_worse, looked_back, removable, wants_less};
use crate::state::State;

use super::{Reason, idle};

const MORE: ActionKind = ActionKind::CreateReplica;
const LESS: ActionKind = ActionKind::RemoveReplica;

pub(super) fn reasons(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let both = |text: String| {
        [MORE, LESS]
            .map(|kind| Reason::of(kind, text.clone()))
            .to_vec()
    };
    let Some(group) = Group::of(state, service, now) else {
        if let Some(reasons) = idle::standing(state, service, now) {
            return reasons;
        }
        return both("no running container of it has the label io.homeostat.scale".to_owned());
    };
    let known = group.load(state);
    let Some((load, forecast)) = known.and_then(|load| Some((load, load.newest()?))) else {
        return both(match group.metric() {
            None => "its load is not known: no forecast of it has come".to_owned(),
            Some(target) => format!(
                "its load is not known: no ready container of {} has told {} (label io.homeostat.scrape names the page)",
                group.teller(),
                target.metric
            ),
        });
    };
    if forecast.at + group.stale(state) < now {
        let age_s = now.since(forecast.at).as_secs();
        return both(format!(
            "its load is not known: {} is {age_s} s old",
            match group.metric() {
                None => "the newest forecast".to_owned(),
                Some(target) => format!("the newest {} of {}", target.metric, group.teller()),
            }
        ));
    }
    let mut reasons = more(state, &group, load, forecast, now);
    reasons.extend(less(state, &group, load, forecast, now));
    reasons.extend(idle::running(state, &group, load, forecast, now));
    reasons
}

fn more(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    forecast: &Forecast,
    now: Timestamp,
) -> Vec<Reason> {
    let config = &state.config.scale;
    if let Some(desired) = wants_more(state, group, load, now) {
        let added = desired.saturating_sub(group.current);
        let held = additions(state, group, added, now).err();
        return held.map(|why| Reason::of(MORE, why)).into_iter().collect();
    }
    if group.current >= group.most() {
        let text = format!(
            "it has {} replicas, the most its label io.homeostat.scale allows{}",
            group.current + group.returning,
            match group.returning {
                0 => String::new(),
                returning => format!("; {returning} of them ended a short time ago"),
            }
        );
        return vec![Reason::of(MORE, text)];
    }
    if let (Some(sizing), false) = (
        group.sizing(forecast),
        need(forecast, group, config) > group.current,
    ) {
        let text = format!(
            "{} replicas are worth their cost for a promise of {}: {:.0}m of CPU give or take {:.0}m are expected",
            sizing.replicas,
            kept(&sizing),
            sizing.expected,
            sizing.spread
        );
        return vec![Reason::of(MORE, text)];
    }
    let carried = f64::from(group.current) * group.carries(forecast.replica_capacity);
    let ahead = load_ahead(forecast, group.startup);
    let text = if need(forecast, group, config) > group.current {
        format!(
            "the newest forecast asks for more; {} in a row must (controller.scale.up_confirmations)",
            config.up_confirmations
        )
    } else {
        format!(
            "{} replicas carry {} at its target, and {} are expected; {:.0}% more than they carry is let pass",
            group.current,
            group.amount(forecast, carried),
            group.short(forecast, ahead),
            config.tolerance * 100.0
        )
    };
    vec![Reason::of(MORE, text)]
}

fn less(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    forecast: &Forecast,
    now: Timestamp,
) -> Option<Reason> {
    let config = &state.config.scale;
    if group.current <= group.policy.least() {
        let text = format!(
            "it has {} replicas, the fewest its label io.homeostat.scale allows{}",
            group.current,
            match group.policy.min {
                0 => " while it is asked for",
                _ => "",
            }
        );
        return Some(Reason::of(LESS, text));
    }
    if let Some(why) = group.unsure(forecast) {
        return Some(Reason::of(LESS, why));
    }
    match wants_less(state, group, load, forecast) {
        Less::Until(until) => {
            let text = format!(
                "its load has not been known for {} s without a gap yet",
                looked_back(group, forecast, config).as_secs()
            );
            Some(Reason::of(LESS, text).until(until))
        }
        Less::No if !overloads(state, group.service).is_empty() => {
            Some(Reason::of(LESS, "it is overloaded"))
        }
        Less::No => {
            let window = looked_back(group, forecast, config);
            let peak = load.peak_over(window).unwrap_or(0.0);
            let left = group.current.saturating_sub(1);
            if let Some(sizing) = group.sizing(forecast) {
                let text = format!(
                    "{} replicas are worth their cost for a promise of {}; it needed up to {peak:.0}m of CPU in the last {} s",
                    sizing.replicas,
                    kept(&sizing),
                    window.as_secs()
                );
                return Some(Reason::of(LESS, text));
            }
            let carried = f64::from(left) * group.carries(forecast.replica_capacity);
            let text = format!(
                "it needed up to {} in the last {} s, and {left} replicas would carry {}",
                group.amount(forecast, peak),
                window.as_secs(),
                group.short(forecast, carried)
            );
            Some(Reason::of(LESS, text))
        }
        Less::Yes { .. } => {
            let worse = last_worse(state, group.service).map(|at| at + config.down_hold);
            if let Some(until) = worse.filter(|until| *until > now) {
                let text = "the last removal made things worse";
                return Some(Reason::of(LESS, text).until(until));
            }
            let text = "none of its replicas was made by homeostat and can go without falling below the fewest that must serve";
            removable(state, group, now)
                .is_none()
                .then(|| Reason::of(LESS, text))
        }
    }
}
