//! The last rows of services, for their next trainings.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use units::{ContainerId, ServiceId, Timestamp};

use crate::history::History;
use crate::samples::{Averaged, Averager};

/// The last rows of one service: at most as many as are learned from; beyond them the oldest goes.
#[derive(Debug, Clone)]
pub struct Past {
    places: VecDeque<Place>,
    /// Row by row, in the order of [`Averager::names`]; not-a-number where it is missing.
    cells: VecDeque<f32>,
    width: usize,
    /// The containers that have rows.
    containers: BTreeMap<ContainerId, Followed>,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    at: Timestamp,
    container: u32,
}

#[derive(Debug, Clone, Copy)]
struct Followed {
    number: u32,
    rows: u32,
}

impl Default for Past {
    fn default() -> Self {
        Past {
            places: VecDeque::new(),
            cells: VecDeque::new(),
            width: Averager::names().len(),
            containers: BTreeMap::new(),
            next: 0,
        }
    }
}

impl Past {
    /// Rows held of one service: some 3 MB.
    pub const ROWS_MAX: usize = 20_000;

    /// Adds a row; at [`Past::ROWS_MAX`] the oldest goes. One of another width is passed over.
    fn push(&mut self, row: &Averaged) {
        if row.values.len() != self.width {
            return;
        }
        if self.places.len() == Self::ROWS_MAX {
            self.drop_oldest();
        }
        let next = self.next;
        let followed = self
            .containers
            .entry(row.container.clone())
            .or_insert(Followed {
                number: next,
                rows: 0,
            });
        followed.rows += 1;
        if followed.number == next {
            self.next = next.wrapping_add(1);
        }
        self.places.push_back(Place {
            at: row.at,
            container: followed.number,
        });
        let cell = |value: &Option<f64>| value.map_or(f32::NAN, |value| value as f32);
        self.cells.extend(row.values.iter().map(cell));
    }

    fn drop_oldest(&mut self) {
        let Some(place) = self.places.pop_front() else {
            return;
        };
        self.cells.drain(..self.width);
        self.containers.retain(|_, followed| {
            if followed.number == place.container {
                followed.rows -= 1;
            }
            followed.rows > 0
        });
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// From its oldest row to its newest.
    pub fn span(&self) -> Duration {
        let ends = self.places.front().zip(self.places.back());
        ends.map_or(Duration::ZERO, |(first, last)| last.at.since(first.at))
    }

    /// The rows as they are trained on.
    pub fn history(&self) -> History {
        let mut history = History::new(Averager::names())
            .expect("each metric has one name, and they are fewer than a history takes");
        let mut cells = self.cells.iter();
        for place in &self.places {
            let row: Vec<Option<f64>> = cells
                .by_ref()
                .take(self.width)
                .map(|cell| cell.is_finite().then(|| f64::from(*cell)))
                .collect();
            history.push(place.at, place.container, &row).expect(
                "a row is as wide as there are names, and a history takes many times as many",
            );
        }
        history
    }
}

/// The last rows of many services, within a bound for all; a row takes 132 bytes. Beyond it the oldest row of the service with most goes, and is counted.
#[derive(Debug, Clone)]
pub struct Pasts {
    services: BTreeMap<ServiceId, Past>,
    rows: usize,
    rows_max: usize,
    forgotten: u64,
}

impl Pasts {
    /// None yet, and so many rows at most.
    pub fn new(rows_max: usize) -> Self {
        Pasts {
            services: BTreeMap::new(),
            rows: 0,
            rows_max,
            forgotten: 0,
        }
    }

    /// Adds a row to its service's.
    pub fn push(&mut self, row: &Averaged) {
        let past = self.services.entry(row.service.clone()).or_default();
        let before = past.rows();
        past.push(row);
        self.rows += past.rows() - before;
        while self.rows > self.rows_max {
            let largest = self.services.values_mut().max_by_key(|past| past.rows());
            let Some(past) = largest else { return };
            past.drop_oldest();
            self.rows -= 1;
            self.forgotten += 1;
        }
    }

    /// A service's rows.
    pub fn get(&self, service: &ServiceId) -> Option<&Past> {
        self.services.get(service)
    }

    /// The services and their rows.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceId, &Past)> {
        self.services.iter()
    }

    /// Forgets the services of which this is not said.
    pub fn retain(&mut self, stays: impl Fn(&ServiceId) -> bool) {
        self.services.retain(|service, _| stays(service));
        self.rows = self.services.values().map(Past::rows).sum();
    }

    /// Rows of all services.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that went before their time, because there were too many of all services.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::at;

    fn row(number: usize, service: u8, container: u8) -> Averaged {
        let mut values = vec![None; Averager::names().len()];
        values[0] = Some(number as f64);
        Averaged {
            at: at(number),
            service: ServiceId::new(format!("s{service}")),
            container: ContainerId::new(format!("c{container}")),
            values,
        }
    }

    #[test]
    fn the_oldest_row_of_one_service_makes_room() {
        let mut past = Past::default();
        for number in 0..Past::ROWS_MAX + 5 {
            past.push(&row(number, 0, u8::from(number >= 5)));
        }
        assert_eq!(past.rows(), Past::ROWS_MAX);
        let history = past.history();
        assert_eq!(history.subjects(), 1, "who has no row left is forgotten");
        assert_eq!(history.span(), Some((at(5), at(Past::ROWS_MAX + 4))));
        assert_eq!(past.containers.len(), 1);
        assert_eq!(past.span(), Averager::STEP * (Past::ROWS_MAX as u32 - 1));
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_what_went_is_counted(
            pushes in prop::collection::vec((0u8..4, 0u8..3), 0..200),
            rows_max in 0usize..40,
        ) {
            let mut pasts = Pasts::new(rows_max);
            for (number, (service, container)) in pushes.iter().enumerate() {
                pasts.push(&row(number, *service, *container));
                prop_assert!(pasts.rows() <= rows_max);
            }
            let held: usize = pasts.iter().map(|(_, past)| past.rows()).sum();
            prop_assert_eq!(held, pasts.rows());
            prop_assert_eq!(held as u64 + pasts.forgotten(), pushes.len() as u64);
            for (_, past) in pasts.iter() {
                let history = past.history();
                prop_assert_eq!(history.rows(), past.rows());
                prop_assert_eq!(history.subjects(), past.containers.len());
            }
            pasts.retain(|service| service.as_str() == "s1");
            prop_assert!(pasts.iter().all(|(service, _)| service.as_str() == "s1"));
        }
    }
}
