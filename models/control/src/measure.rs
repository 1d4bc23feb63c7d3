//! What the replicas of a service are counted by where its label names a series that containers tell, its own or another service's.
//!
//! The rule is the same as for CPU: the total over the number that one replica is to carry. For a load that is shared among replicas
//! that is its size; for one that is not, such as a latency, it is the ratio rule of the Kubernetes Horizontal Pod Autoscaler
//! (replicas × value / target), since the total is the value of each times their number. What is said of it names the series.

use std::time::Duration;

use units::{Forecast, LoadUnit, MetricLoad, MetricTarget, PlanEntry, ScaleTarget, VerdictKind};

use crate::judge::{AGREEING, ALLOWANCE, CARRIED, Finding, SETTLE, due};
use crate::loads::{Load, METRIC_STALE, load_ahead, startup};
use crate::scale::Group;
use crate::state::State;

impl Group<'_> {
    /// The series it is scaled by; nothing where that is CPU.
    pub(crate) fn metric(&self) -> Option<&MetricTarget> {
        match &self.policy.target {
            ScaleTarget::Metric(target) => Some(target),
            ScaleTarget::Cpu(_) | ScaleTarget::Slo(_) => None,
        }
    }

    /// The load it is scaled by.
    pub(crate) fn load<'s>(&self, state: &'s State) -> Option<&'s Load> {
        match self.metric() {
            None => state.loads.get(self.service),
            Some(target) => {
                let teller = target.service.as_ref().unwrap_or(self.service);
                state.loads.metric(teller, &target.metric)
            }
        }
    }

    /// A load older than this is no ground to act on.
    pub(crate) fn stale(&self, state: &State) -> Duration {
        match self.metric() {
            None => state.config.telemetry_stale,
            Some(_) => state.config.telemetry_stale.max(METRIC_STALE),
        }
    }

    /// Replicas that the load was seen at; nothing where another service tells it.
    pub(crate) fn seen(&self, forecast: &Forecast) -> u32 {
        match self.metric() {
            Some(target) if target.service.is_some() => 0,
            Some(_) | None => forecast.replicas,
        }
    }

    /// Why a load that is read from pages is no ground to remove a replica, whatever it is.
    pub(crate) fn unsure(&self, forecast: &Forecast) -> Option<String> {
        let target = self.metric()?;
        let load = forecast.loads.first()?;
        let serving = self.replicas.iter().filter(|it| it.record.is_serving());
        let expected = match target.service {
            Some(_) => load.containers + load.missing,
            None => {
                (load.containers + load.missing).max(u32::try_from(serving.count()).unwrap_or(0))
            }
        };
        if load.containers < expected {
            return Some(format!(
                "{} of the {expected} ready containers of {} did not tell {}, and what is missing is no zero",
                expected - load.containers,
                self.teller(),
                load.metric,
            ));
        }
        (!self.all_serve())
            .then(|| "not all of its replicas serve: they are to carry their part first".to_owned())
    }

    /// So much of the load, as words.
    pub(crate) fn amount(&self, forecast: &Forecast, value: f64) -> String {
        match (self.metric(), forecast.loads.first()) {
            (Some(target), Some(load)) => {
                format!("{} of {}", figure(load, value), target.metric)
            }
            (Some(target), None) => format!("{value} of {}", target.metric),
            (None, _) => format!("{value:.0}m of CPU"),
        }
    }

    /// The same without what is meant.
    pub(crate) fn short(&self, forecast: &Forecast, value: f64) -> String {
        match forecast.loads.first() {
            Some(load) => figure(load, value),
            None => format!("{value:.0}m"),
        }
    }

    /// The series it is scaled by, and who tells it, as words.
    pub(crate) fn told(&self, forecast: &Forecast) -> String {
        match self.metric() {
            Some(target) => format!("{} of {}", target.metric, self.teller()),
            None => format!("the CPU of {}", forecast.service),
        }
    }

    /// The service that tells the load.
    pub(crate) fn teller(&self) -> &units::ServiceId {
        let other = self.metric().and_then(|target| target.service.as_ref());
        other.unwrap_or(self.service)
    }

    /// Why the replicas there are do not carry what is to come.
    pub(crate) fn outgrown_metric(&self, forecast: &Forecast, load: &MetricLoad) -> String {
        let ahead = load_ahead(forecast, self.startup);
        let carries = self.carries(forecast.replica_capacity);
        format!(
            "{} of {} is {}, and {} is expected in {} s; {} replicas of {} carry {}, {} each",
            load.metric,
            self.teller(),
            figure(load, load.total),
            figure(load, ahead),
            startup(forecast, self.startup).as_secs(),
            self.current,
            self.service,
            figure(load, carries * f64::from(self.current)),
            figure(load, carries),
        )
    }

    /// Why the load would do with one replica less.
    pub(crate) fn outsized_metric(
        &self,
        forecast: &Forecast,
        load: &MetricLoad,
        peak: f64,
        window: Duration,
    ) -> String {
        let carries = self.carries(forecast.replica_capacity);
        let left = self.current.saturating_sub(1);
        format!(
            "{} of {} was {} at most, with what was expected, for {} s; {left} replicas of {} carry {}, {} each",
            load.metric,
            self.teller(),
            figure(load, peak),
            window.as_secs(),
            self.service,
            figure(load, carries * f64::from(left)),
            figure(load, carries),
        )
    }

    /// What is expected of going from one number of replicas to another.
    pub(crate) fn shared_metric(
        &self,
        load: &MetricLoad,
        total: f64,
        from: u32,
        to: u32,
    ) -> String {
        let share = |replicas: u32| figure(load, total / f64::from(replicas.max(1)));
        format!(
            "the share of each replica of {} of {} goes from {} to about {} with {to} instead of {from} replicas",
            load.metric,
            self.teller(),
            share(from),
            share(to),
        )
    }

    /// Whether added replicas did what was expected of them, by a load that is read from pages: each one's share is as it is to be, or
    /// has fallen, or they count more together than could be counted before.
    pub(crate) fn added_metric(
        &self,
        state: &State,
        entry: &PlanEntry,
        made: u32,
        now: units::Timestamp,
    ) -> Finding {
        let load = self.load(state);
        let after = load.map_or_else(Vec::new, |load| load.last(AGREEING, entry.at + SETTLE));
        let within_s = entry.plan.expected.within.as_secs();
        let over = now >= due(entry);
        let Some((newest, told)) = after.first().and_then(|it| Some((it, it.loads.first()?)))
        else {
            let unknown = format!(
                "the load of {} is not known since {}",
                self.service, entry.at
            );
            return over.then_some((VerdictKind::Unknown, unknown));
        };
        let agree = |holds: &dyn Fn(&Forecast) -> bool| {
            after.len() >= AGREEING as usize && after.iter().all(|forecast| holds(forecast))
        };
        let share = |forecast: &Forecast| forecast.observed / f64::from(self.current.max(1));
        let carries = self.carries(newest.replica_capacity);
        let now_each = figure(told, share(newest));
        let what = format!("{} of {}", told.metric, self.teller());
        if agree(&|forecast| share(forecast) <= carries * ALLOWANCE) {
            let reason = format!(
                "{what} is {now_each} for each of {} replicas of {}, {} is the target",
                self.current,
                self.service,
                figure(told, carries)
            );
            return Some((VerdictKind::Helped, reason));
        }
        if let Some(before) = load.and_then(|load| load.observed_at(entry.plan.created_at)) {
            let each = before / f64::from(self.current.saturating_sub(made).max(1));
            if agree(&|forecast| share(forecast) * CARRIED <= each) {
                let reason = format!(
                    "{what} fell from {} to {now_each} for each replica of {}, which needs more still",
                    figure(told, each),
                    self.service
                );
                return Some((VerdictKind::Helped, reason));
            }
            // A level that rises with the number of replicas, as latency does when it is summed, shows nothing.
            let counts = told.unit == LoadUnit::PerSecond && self.teller() == self.service;
            if counts && agree(&|forecast| forecast.observed >= before * CARRIED) {
                let reason = format!(
                    "{what} is {} instead of {}, and needs more still",
                    figure(told, newest.observed),
                    figure(told, before)
                );
                return Some((VerdictKind::Helped, reason));
            }
        }
        let reason = format!(
            "{what} is {now_each} for each replica of {} {within_s} s after {made} were added, still more than the {} it is to carry",
            self.service,
            figure(told, carries)
        );
        over.then_some((VerdictKind::NoEffect, reason))
    }
}

/// A number of a load with three digits that matter, and its unit.
pub(crate) fn figure(load: &MetricLoad, value: f64) -> String {
    let unit = match load.unit {
        LoadUnit::Level => "",
        LoadUnit::PerSecond => "/s",
    };
    let magnitude = match value.abs() > 0.0 {
        true => value.abs().log10().floor(),
        false => 0.0,
    };
    let decimals = (2.0 - magnitude).clamp(0.0, 6.0) as usize;
    let digits = format!("{value:.decimals$}");
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits.as_str(),
    };
    format!("{digits}{unit}")
}
