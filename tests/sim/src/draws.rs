//! Draws that equal those of NumPy's `default_rng(seed)`, so that a published experiment can be repeated on the same draws.
//!
//! The generator is PCG XSL-RR 128/64 (O'Neill, *PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for
//! Random Number Generation*, 2014), seeded through her `seed_seq_fe` with a pool of four words; numbers below a bound are Lemire's,
//! *Fast Random Integer Generation in an Interval*, 2019, over 32-bit halves; a choice without replacement is Floyd's (Bentley and
//! Floyd, *A Sample of Brilliance*, 1987).

use std::collections::BTreeSet;

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
const POOL: usize = 4;

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Draws {
    state: u128,
    increment: u128,
    /// The upper half of the last 64 bits drawn, where only the lower was used.
    kept: Option<u32>,
}

impl Draws {
    /// The stream of this seed.
    pub fn new(seed: u32) -> Self {
        let [a, b, c, d] = seed_words(seed).map(u128::from);
        let mut draws = Draws {
            state: 0,
            increment: ((c << 64 | d) << 1) | 1,
            kept: None,
        };
        draws.step();
        draws.state = draws.state.wrapping_add(a << 64 | b);
        draws.step();
        draws
    }

    /// A whole number below `bound`, each equally likely; 0 where the bound is 0 or 1, and nothing is drawn then.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound <= 1 {
            return 0;
        }
        let bound = u64::from(bound);
        let mut product = u64::from(self.next_u32()) * bound;
        // Ends: each turn is left with more than one chance in two.
        while (product as u32) < ((1_u64 << 32) % bound) as u32 {
            product = u64::from(self.next_u32()) * bound;
        }
        (product >> 32) as u32
    }

    /// `count` different numbers below `bound`, in rising order; all of them where there are no more.
    pub fn choose(&mut self, bound: u32, count: u32) -> Vec<u32> {
        let mut chosen = BTreeSet::new();
        for last in bound.saturating_sub(count)..bound {
            let drawn = self.below(last + 1);
            if !chosen.insert(drawn) {
                chosen.insert(last);
            }
        }
        chosen.into_iter().collect()
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(upper) = self.kept.take() {
            return upper;
        }
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        let drawn = folded.rotate_right((self.state >> 122) as u32);
        self.kept = Some((drawn >> 32) as u32);
        drawn as u32
    }
}

/// The four words from which the generator starts.
fn seed_words(seed: u32) -> [u64; POOL] {
    let mut hash = 0x43b0_d7e5_u32;
    let mut mixed_in = |value: u32| {
        let value = value ^ hash;
        hash = hash.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(hash);
        value ^ value >> 16
    };
    let mut pool = [seed, 0, 0, 0].map(&mut mixed_in);
    for source in 0..POOL {
        for target in (0..POOL).filter(|it| *it != source) {
            let left = 0xca01_f9dd_u32.wrapping_mul(pool[target]);
            let mixed = left.wrapping_sub(0x4973_f715_u32.wrapping_mul(mixed_in(pool[source])));
            pool[target] = mixed ^ mixed >> 16;
        }
    }
    let mut hash = 0x8b51_f9dd_u32;
    let mut word = |at: usize| {
        let value = pool[at % POOL] ^ hash;
        hash = hash.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(hash);
        u64::from(value ^ value >> 16)
    };
    std::array::from_fn(|at| word(2 * at) | word(2 * at + 1) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As NumPy 2.4 draws them: `default_rng(100).integers(0, 8152, 5)`, `sort(default_rng(7).choice(1523, 200, replace=False))`.
    #[test]
    fn draws_are_those_of_numpy() {
        let mut draws = Draws::new(100);
        let drawn: Vec<u32> = (0..5).map(|_| draws.below(8_152)).collect();
        assert_eq!(drawn, [6_251, 6_806, 1_012, 4_863, 654]);
        let chosen = Draws::new(7).choose(1_523, 200);
        assert_eq!(chosen[..10], [5, 7, 11, 16, 20, 38, 46, 48, 57, 59]);
        assert_eq!(chosen.len(), 200);
        assert_eq!(Draws::new(1).choose(3, 200), [0, 1, 2]);
    }
}
