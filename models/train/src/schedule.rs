//! Whose turn it is to be trained.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use units::{Fingerprint, ServiceId, Timestamp};

/// Services that are followed; of more, those seen first.
const SERVICES_MAX: usize = 4_096;

/// What training may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Each service is trained once in this time.
    pub period: Duration,
    /// CPU time all trainings together may take in any such period.
    pub cpu: Duration,
}

/// Spreads the trainings of services over a period and keeps them within a budget. One is under way at a time.
///
/// A service has its own moment of the period, by a hash of its name, so that a fleet that starts at once does not train at once.
/// When the budget is used up, or the next training would overdraw it, nothing is due until older ones are a period past; one that
/// alone costs more than the budget goes ahead when nothing else was trained in that time, or it never would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    budget: Budget,
    services: BTreeMap<ServiceId, Turn>,
    running: Option<ServiceId>,
    /// When trainings ended and what they cost, the oldest first; those older than a period are forgotten. Each service is at most
    /// once in it for each time it was handed out.
    spent: VecDeque<(Timestamp, Duration)>,
    left_out: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Turn {
    next: Timestamp,
    cost: Option<Duration>,
}

impl Schedule {
    /// A schedule of no services.
    pub fn new(budget: Budget) -> Self {
        Schedule {
            budget: Budget {
                // Without a period there are no turns.
                period: budget.period.max(Duration::from_millis(1)),
                cpu: budget.cpu,
            },
            services: BTreeMap::new(),
            running: None,
            spent: VecDeque::new(),
            left_out: 0,
        }
    }

    /// A service that is to be trained, from its next moment on. Telling it again changes nothing.
    pub fn follow(&mut self, service: &ServiceId, now: Timestamp) {
        if self.services.contains_key(service) {
            return;
        }
        if self.services.len() == SERVICES_MAX {
            self.left_out += 1;
            return;
        }
        let turn = Turn {
            next: self.moment(service, now),
            cost: None,
        };
        self.services.insert(service.clone(), turn);
    }

    /// A service that is gone.
    pub fn forget(&mut self, service: &ServiceId) {
        self.services.remove(service);
    }

    /// Whose turn it is: of those whose moment has come the one that waits longest. It is under way until [`Schedule::done`] is told;
    /// until then, and while the budget is used up, nobody's turn comes.
    pub fn due(&mut self, now: Timestamp) -> Option<ServiceId> {
        if self.running.is_some() {
            return None;
        }
        let (service, turn) = self
            .services
            .iter()
            .filter(|(_, turn)| turn.next <= now)
            .min_by_key(|(service, turn)| (turn.next, *service))?;
        let (service, turn) = (service.clone(), *turn);
        self.expire(now);
        let spent: Duration = self.spent.iter().map(|(_, cost)| *cost).sum();
        let needed = turn.cost.unwrap_or_else(|| self.usual_cost());
        if !self.spent.is_empty() && spent + needed > self.budget.cpu {
            return None;
        }
        self.running = Some(service.clone());
        Some(service)
    }

    /// The training of a service ended, well or not, and took this much CPU time. Its next turn is in the next period.
    pub fn done(&mut self, service: &ServiceId, now: Timestamp, cost: Duration) {
        if self.running.as_ref() == Some(service) {
            self.running = None;
        }
        self.expire(now);
        self.spent.push_back((now, cost));
        let next = self.moment(service, now);
        if let Some(turn) = self.services.get_mut(service) {
            *turn = Turn {
                next,
                cost: Some(cost),
            };
        }
    }

    /// Services that are not followed because there were too many.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The service's first moment after `now`.
    fn moment(&self, service: &ServiceId, now: Timestamp) -> Timestamp {
        let period_ms = i64::try_from(self.budget.period.as_millis()).unwrap_or(i64::MAX);
        let hash = Fingerprint::of(&["train", service.as_str()]);
        let hash = u64::from_str_radix(hash.as_str(), 16)
            .expect("a fingerprint is sixteen hexadecimal digits");
        let offset_ms = (hash % period_ms.unsigned_abs()).cast_signed();
        let since_ms = now
            .as_millis()
            .saturating_sub(offset_ms)
            .rem_euclid(period_ms);
        now + Duration::from_millis((period_ms - since_ms).unsigned_abs())
    }

    /// What a training is taken to cost before it was measured.
    fn usual_cost(&self) -> Duration {
        let known = self.services.values().filter_map(|turn| turn.cost);
        known.max().unwrap_or(Duration::ZERO)
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.spent.front()
            && now.since(*at) >= self.budget.period
        {
            self.spent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(seconds)
    }

    fn schedule(cpu_ms: u64, services: usize) -> Schedule {
        let mut schedule = Schedule::new(Budget {
            period: HOUR,
            cpu: Duration::from_millis(cpu_ms),
        });
        for number in 0..services {
            schedule.follow(&ServiceId::new(format!("shop/{number}")), at(0));
        }
        schedule
    }

    /// When which service was trained over so many hours, looked at each second.
    fn run(schedule: &mut Schedule, hours: u64, cost_ms: u64) -> Vec<(u64, ServiceId)> {
        let mut trained = Vec::new();
        for second in 0..hours * 3_600 {
            if let Some(service) = schedule.due(at(second)) {
                schedule.done(&service, at(second), Duration::from_millis(cost_ms));
                trained.push((second, service));
            }
        }
        trained
    }

    #[test]
    fn each_service_has_its_own_moment_in_each_period() {
        let mut schedule = schedule(1_000_000, 20);
        let trained = run(&mut schedule, 3, 10);
        assert_eq!(trained.len(), 60);
        for hour in 0..3 {
            let within = hour * 3_600..(hour + 1) * 3_600;
            let first = trained.iter().filter(|(second, _)| within.contains(second));
            assert_eq!(first.count(), 20, "in hour {hour}");
        }
        let halves = trained
            .iter()
            .filter(|(second, _)| second % 3_600 < 1_800)
            .count();
        assert!(
            (12..=48).contains(&halves),
            "{halves} of 60 in first halves"
        );
    }

    #[test]
    fn the_budget_holds_in_any_period() {
        let mut schedule = schedule(55, 20);
        let trained = run(&mut schedule, 6, 10);
        for (second, _) in &trained {
            let within = *second..second + 3_600;
            let cost_ms = 10 * trained.iter().filter(|(at, _)| within.contains(at)).count();
            assert!(cost_ms <= 55, "{cost_ms} ms from second {second}");
        }
        let services: std::collections::BTreeSet<_> = trained.iter().map(|(_, it)| it).collect();
        assert_eq!(services.len(), 20, "all have their turn in the end");
    }

    #[test]
    fn one_that_alone_is_too_dear_goes_ahead_alone() {
        let mut schedule = schedule(5, 2);
        let trained = run(&mut schedule, 6, 10);
        assert!((4..=7).contains(&trained.len()), "{}", trained.len());
    }

    #[test]
    fn one_at_a_time_and_the_gone_are_not_due() {
        let mut schedule = schedule(1_000, 3);
        let first = schedule.due(at(7_200)).unwrap();
        assert_eq!(schedule.due(at(7_200)), None);
        schedule.done(&first, at(7_201), Duration::ZERO);
        let second = schedule.due(at(7_202)).unwrap();
        assert_ne!(first, second);
        schedule.forget(&second);
        schedule.done(&second, at(7_203), Duration::ZERO);
        assert!(!schedule.services.contains_key(&second));
    }

    #[test]
    fn too_many_are_counted() {
        let schedule = schedule(1, SERVICES_MAX + 3);
        assert_eq!(schedule.left_out(), 3);
    }

    proptest! {
        #[test]
        fn any_time_and_period_will_do(now in any::<i64>(), period_ms in 0u64..u64::MAX, name in ".{0,12}") {
            let mut schedule = Schedule::new(Budget { period: Duration::from_millis(period_ms), cpu: Duration::ZERO });
            let (service, now) = (ServiceId::new(name), Timestamp::from_millis(now));
            schedule.follow(&service, now);
            schedule.due(now);
            schedule.done(&service, now, Duration::MAX);
        }
    }
}
