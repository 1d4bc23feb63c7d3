//! Training in the background: what a service did is held for a while, and now and then a model is made of it.
//!
//! One training is under way at a time, on a thread of its own; whose turn it is, and how much CPU time all may take, is
//! `train::Schedule`'s to say. The rows held are this process's: whoever takes a partition over begins to gather anew, and until it
//! has half of what the present model was made of, that model stays.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use train::{
    Artefact, Averaged, Budget, Past, Pasts, Renewal, SCHEMA, Schedule, TrainError, TrainSettings,
    renew,
};
use units::{ServiceId, Timestamp};
use wire::TrainedModel;

use crate::config::{Switch, Training};

/// The same rows give the same model; how one came about can be told.
const SEED: u64 = 1;
/// A new model is made of at least this share of the rows that the present one was made of: after a restart there are few at first,
/// and what was learned of a day is not given up for what was learned of an hour.
const ROWS_SHARE_MIN: f64 = 0.5;
/// A training under way is waited for this long at the end; what would have come of it is lost, and made again by whoever comes next.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Histories, and the training under way.
pub(crate) struct Learning {
    config: Training,
    schedule: Schedule,
    pasts: Pasts,
    running: Option<(ServiceId, JoinHandle<Done>)>,
}

/// A training that ended.
pub(crate) struct Done {
    pub(crate) service: ServiceId,
    pub(crate) outcome: Outcome,
    /// CPU time it took.
    pub(crate) cpu: Duration,
}

/// What came of a training.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A model to be used.
    Taken(Box<TrainedModel>),
    /// The present one stays, or there is none still.
    Kept(train::Why),
    /// No model came about.
    Failed(Failure),
}

/// Why no model came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Untrainable(#[from] TrainError),
    #[error("the training ended unexpectedly, this is a defect: please report it")]
    Lost,
}

/// What a training works on.
struct Job {
    service: ServiceId,
    past: Past,
    present: Option<Arc<Artefact>>,
    now: Timestamp,
}

impl Learning {
    pub(crate) fn new(config: Training) -> Self {
        let budget = Budget {
            period: config.every.get(),
            cpu: config.every.get() * config.cpu_percent / 100,
        };
        Learning {
            schedule: Schedule::new(budget),
            pasts: Pasts::new(config.max_rows),
            running: None,
            config,
        }
    }

    /// Takes a row of a container.
    pub(crate) fn row(&mut self, row: &Averaged) {
        match self.config.run {
            Switch::On => self.pasts.push(row),
            Switch::Off => {}
        }
    }

    /// Forgets the services of which this is not said.
    pub(crate) fn retain(&mut self, stays: impl Fn(&ServiceId) -> bool) {
        let gone: Vec<ServiceId> = self
            .pasts
            .iter()
            .filter(|(service, _)| !stays(service))
            .map(|(service, _)| service.clone())
            .collect();
        for service in &gone {
            self.schedule.forget(service);
        }
        if !gone.is_empty() {
            self.pasts.retain(|service| !gone.contains(service));
        }
    }

    /// Begins the training whose turn it is. `present` gives the model a service has.
    pub(crate) fn start(
        &mut self,
        now: Timestamp,
        present: impl Fn(&ServiceId) -> Option<Arc<Artefact>>,
    ) {
        if self.is_busy() {
            return;
        }
        for (service, past) in self.pasts.iter() {
            let is_old = past.span() >= self.config.history_min.get();
            match is_old && is_enough(past, present(service).as_deref()) {
                true => self.schedule.follow(service, now),
                false => self.schedule.forget(service),
            }
        }
        let Some(service) = self.schedule.due(now) else {
            return;
        };
        let Some(past) = self.pasts.get(&service) else {
            self.schedule.done(&service, now, Duration::ZERO);
            return;
        };
        let job = Job {
            service: service.clone(),
            past: past.clone(),
            present: present(&service),
            now,
        };
        let running = tokio::task::spawn_blocking(move || job.run());
        self.running = Some((service, running));
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// The training under way, once it ended; never while there is none. Nothing is lost when the call is dropped.
    pub(crate) async fn finished(&mut self) -> Done {
        let Some((service, running)) = &mut self.running else {
            return std::future::pending().await;
        };
        let done = running.await.unwrap_or_else(|_| Done {
            service: service.clone(),
            outcome: Outcome::Failed(Failure::Lost),
            cpu: Duration::ZERO,
        });
        self.running = None;
        done
    }

    /// Notes that a training ended.
    pub(crate) fn done(&mut self, done: &Done, now: Timestamp) {
        self.schedule.done(&done.service, now, done.cpu);
    }

    /// Waits a little for the training under way, so that no thread outlives the role.
    pub(crate) async fn settle(&mut self) {
        if self.is_busy() {
            let _ = tokio::time::timeout(SETTLE_MAX, self.finished()).await;
        }
    }

    /// Rows held, and rows given up for want of room.
    pub(crate) fn rows(&self) -> (usize, u64) {
        (self.pasts.rows(), self.pasts.forgotten())
    }
}

/// Whether there is enough to take the place of what the present model was made of.
fn is_enough(past: &Past, present: Option<&Artefact>) -> bool {
    let rows = |present: &Artefact| present.content().provenance.rows.min(Past::ROWS_MAX);
    let before = present.map_or(0, rows) as f64;
    past.rows() as f64 >= ROWS_SHARE_MIN * before
}

impl Job {
    fn run(self) -> Done {
        let before = kit::thread_cpu();
        let how = (TrainSettings::default(), SEED);
        let history = self.past.history();
        let present = self.present.as_deref();
        let outcome = match renew(&self.service, &history, how, present, self.now) {
            Ok(Renewal::Taken { artefact, .. }) => Outcome::Taken(Box::new(record(&artefact))),
            Ok(Renewal::Kept { why, .. }) => Outcome::Kept(why),
            Err(error) => Outcome::Failed(error.into()),
        };
        Done {
            service: self.service,
            outcome,
            cpu: kit::thread_cpu().saturating_sub(before),
        }
    }
}

/// An artefact as it stands in its topic.
pub(crate) fn record(artefact: &Artefact) -> TrainedModel {
    let content = artefact.content();
    TrainedModel {
        service: content.service.clone(),
        trained_at: content.provenance.trained_at,
        digest: artefact.digest().to_owned(),
        artefact_version: SCHEMA,
        artefact: serde_json::from_str(&artefact.to_json())
            .expect("an artefact is written as JSON, which reads back"),
    }
}

#[cfg(test)]
mod tests {
    use kit::config::HumanDuration;
    use train::Averager;
    use units::ContainerId;

    use super::*;

    const ROWS: i64 = 400;

    fn config(run: Switch) -> Training {
        Training {
            run,
            every: HumanDuration::from_secs(60),
            history_min: HumanDuration::from_secs(600),
            cpu_percent: 100,
            max_rows: 10_000,
        }
    }

    /// Three metrics that follow one load, and one that does not.
    fn row(number: i64) -> Averaged {
        let wave = |period: f64| (number as f64 / period).sin();
        let load = wave(7.3) + 0.5 * wave(2.9);
        let mut values = vec![None; Averager::names().len()];
        for (place, value) in [load, load, load, wave(1.7)].into_iter().enumerate() {
            values[place] = Some(100.0 + 20.0 * value + ((number * 7 + place as i64) % 11) as f64);
        }
        Averaged {
            at: at(number),
            service: ServiceId::from("web"),
            container: ContainerId::from("c"),
            values,
        }
    }

    fn at(number: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + number * 10_000)
    }

    fn lived(run: Switch, rows: i64) -> Learning {
        let mut learning = Learning::new(config(run));
        (0..rows).for_each(|number| learning.row(&row(number)));
        learning
    }

    /// Looks each second for so many minutes whether a training begins.
    fn wait(learning: &mut Learning, minutes: u64, present: Option<&Arc<Artefact>>) -> Timestamp {
        let mut now = at(ROWS);
        for _ in 0..minutes * 60 {
            learning.start(now, |_| present.cloned());
            if learning.is_busy() {
                break;
            }
            now = now + Duration::from_secs(1);
        }
        now
    }

    #[tokio::test]
    async fn what_comes_of_a_training_is_told_and_its_cost_is_counted() {
        let mut learning = lived(Switch::On, ROWS);
        let began = wait(&mut learning, 3, None);
        let done = learning.finished().await;
        assert!(!learning.is_busy());
        assert!(done.cpu > Duration::ZERO);
        learning.done(&done, began);
        let Outcome::Taken(record) = done.outcome else {
            panic!("it was not taken: {:?}", done.outcome);
        };
        let artefact = Artefact::from_json(record.artefact.to_string().as_bytes()).unwrap();
        assert_eq!(artefact.digest(), record.digest);
        let provenance = &artefact.content().provenance;
        assert_eq!((provenance.rows, provenance.subjects), (ROWS as usize, 1));
        assert_eq!(provenance.trained_at, began);
        // Its next turn is a period later.
        learning.start(began + Duration::from_secs(1), |_| None);
        assert!(!learning.is_busy());
    }

    #[tokio::test]
    async fn little_does_not_take_the_place_of_much() {
        let mut much = lived(Switch::On, ROWS);
        wait(&mut much, 3, None);
        let Outcome::Taken(record) = much.finished().await.outcome else {
            panic!("it was not taken");
        };
        let json = record.artefact.to_string();
        let present = Arc::new(Artefact::from_json(json.as_bytes()).unwrap());
        let mut little = lived(Switch::On, ROWS / 2 - 1);
        wait(&mut little, 3, Some(&present));
        assert!(!little.is_busy());
        wait(&mut little, 3, None);
        assert!(little.is_busy());
        little.settle().await;
        assert!(!little.is_busy());
    }

    #[tokio::test]
    async fn the_young_the_gone_and_those_of_an_instance_that_trains_none_are_not_trained() {
        let mut young = lived(Switch::On, 60);
        wait(&mut young, 3, None);
        assert!(!young.is_busy());
        let mut gone = lived(Switch::On, ROWS);
        gone.retain(|_| false);
        wait(&mut gone, 3, None);
        assert!(!gone.is_busy());
        assert_eq!(gone.rows(), (0, 0));
        let off = lived(Switch::Off, ROWS);
        assert_eq!(off.rows(), (0, 0));
    }
}
