//! Room that nothing of what usually arrives can fill.
//!
//! Best fit takes the fullest host, also where what it leaves is too little for anything. Here the shapes that arrive are counted, the
//! old ones less, and it is worked out for each amount of free room how much of it the best mixture of the frequent shapes cannot
//! fill (an unbounded knapsack, one for each resource). The idea of charging a placement with the room it makes useless, taken over
//! what typically arrives, is that of Weng et al., *Beware of Fragmentation*, USENIX ATC 2023, section 4; Verma et al., *Borg*,
//! EuroSys 2015, section 3.2, reports 3 to 5 % from the like.

use std::collections::BTreeMap;

use super::Resources;

/// The room of the largest host is looked at in this many steps; at 96 cores one is 16 thousandths of a core.
const STEPS: usize = 6_000;
/// The table is worked out anew after this many arrivals.
const EVERY: u32 = 128;
/// Each time, what was counted before counts so much less.
const KEPT: f64 = 0.9;
/// A shape that counts less than this is forgotten.
const FORGOTTEN: f64 = 0.05;
/// Shapes remembered at most; of more, the rarest are forgotten.
const SHAPES_MAX: usize = 4_096;
/// The most frequent shapes by which room is filled: the mean over these numbers of them, so that filling up with what comes often
/// counts more than with what comes at times.
const FREQUENT: [usize; 3] = [4, 8, 16];
/// The scarcer resource counts in full; another by its scarcity against it, to this power.
const SCARCITY: i32 = 8;

/// What arrived, and what of each amount of free room it could not fill.
#[derive(Debug, Clone, Default)]
pub struct Stranded {
    /// How often each size came, of CPU in millicores and of memory in bytes.
    seen: [BTreeMap<u64, f64>; 2],
    arrivals: u32,
    asked: [f64; 2],
    whole: Resources,
    capacity: Resources,
    /// For each resource the share of the largest host that is stranded with so many steps free, times the resource's weight; empty
    /// until enough arrived.
    tables: [Vec<f64>; 2],
}

impl Stranded {
    /// Counts what arrives at a fleet whose hosts have at most `whole` each, and `capacity` together.
    pub fn observe(&mut self, asks: Resources, whole: Resources, capacity: Resources) {
        for (seen, size) in self.seen.iter_mut().zip([asks.cpu.0, asks.memory.0]) {
            *seen.entry(size).or_default() += 1.0;
        }
        for (sum, share) in self.asked.iter_mut().zip(asks.shares(capacity)) {
            *sum += share;
        }
        (self.whole, self.capacity) = (whole, capacity);
        self.arrivals += 1;
        if self.arrivals.is_multiple_of(EVERY) {
            self.work_out();
        }
    }

    /// How much more is stranded on a host that has `before` free and then `after`, in shares of the largest host; negative where
    /// less is.
    pub fn growth(&self, before: Resources, after: Resources) -> f64 {
        let (before, after) = (before.shares(self.whole), after.shares(self.whole));
        let of = |table: &Vec<f64>, share: f64| {
            let step = (share * STEPS as f64) as usize;
            table.get(step).or(table.last()).copied().unwrap_or(0.0)
        };
        let tables = self.tables.iter().zip(before.iter().zip(after));
        tables
            .map(|(table, (before, after))| of(table, after) - of(table, *before))
            .sum()
    }

    fn work_out(&mut self) {
        let most = self.asked[0].max(self.asked[1]);
        let wholes = [self.whole.cpu.0, self.whole.memory.0];
        for (resource, whole) in wholes.into_iter().enumerate() {
            let scarcity = match most {
                0.0 => 0.0,
                most => (self.asked[resource] / most).powi(SCARCITY),
            };
            let sizes = frequent(&mut self.seen[resource]);
            self.tables[resource] = table(&sizes, whole, scarcity);
            self.asked[resource] *= KEPT;
        }
    }
}

/// Sizes from the most frequent on; lets the counts fade.
fn frequent(seen: &mut BTreeMap<u64, f64>) -> Vec<u64> {
    seen.values_mut().for_each(|count| *count *= KEPT);
    seen.retain(|_, count| *count > FORGOTTEN);
    let mut order: Vec<(u64, f64)> = seen.iter().map(|(&size, &count)| (size, count)).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (size, _) in order.iter().skip(SHAPES_MAX) {
        seen.remove(size);
    }
    order.into_iter().map(|(size, _)| size).collect()
}

fn table(sizes: &[u64], whole: u64, weight: f64) -> Vec<f64> {
    let mut table = vec![0.0; STEPS + 1];
    for count in FREQUENT {
        let mut fillable = vec![false; STEPS + 1];
        fillable[0] = true;
        for &size in sizes.iter().take(count) {
            let steps = (size as f64 * STEPS as f64 / whole.max(1) as f64).ceil() as usize;
            if steps == 0 {
                continue;
            }
            for at in steps..=STEPS {
                fillable[at] |= fillable[at - steps];
            }
        }
        let mut filled = 0;
        for (at, entry) in table.iter_mut().enumerate() {
            if fillable[at] {
                filled = at;
            }
            *entry += weight * (at - filled) as f64 / (STEPS * FREQUENT.len()) as f64;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use units::{Bytes, Millicores};

    use super::*;

    #[test]
    fn what_the_usual_shapes_fill_is_not_stranded() {
        let sizes = [3_000, 5_000];
        let table = table(&sizes, 6_000, 1.0);
        assert_eq!(table[3_000], 0.0);
        assert_eq!(table[5_000], 0.0);
        let stranded = |steps: usize| (table[steps] * STEPS as f64).round() as usize;
        assert_eq!((stranded(2_999), stranded(4_000)), (2_999, 1_000));
    }

    proptest! {
        #[test]
        fn no_more_is_stranded_than_is_free(sizes in prop::collection::vec(1_u64..7_000, 0..20), at in 0..=STEPS) {
            let stranded = table(&sizes, 6_000, 1.0)[at];
            prop_assert!(stranded >= 0.0 && stranded <= at as f64 / STEPS as f64 + 1e-12);
        }

        #[test]
        fn giving_back_undoes_taking(sizes in prop::collection::vec(1_u64..60, 128..300), a in 0_u64..100, b in 0_u64..100) {
            let whole = Resources::new(Millicores(100), Bytes(100));
            let mut stranded = Stranded::default();
            for size in sizes {
                stranded.observe(Resources::new(Millicores(size), Bytes(1)), whole, whole);
            }
            let [a, b] = [a, b].map(|it| Resources::new(Millicores(it), Bytes(it)));
            prop_assert!((stranded.growth(a, b) + stranded.growth(b, a)).abs() < 1e-12);
        }
    }
}
