//! What a series does again at the same time: the job of every hour, the backup of every night, the report of every Monday.
//!
//! A level that follows a series within minutes has no memory of yesterday, and a jump is a jump each night. So of each series that
//! jumps it is kept how high it went, by the minute of the hour, the half-hour of the day and the hour of the week, for the last
//! three times each came round. What at least two of the three reached, at that time or beside it, is its habit.
//!
//! Nothing is kept of a series that never jumps; of one that does some two kilobytes are.

use serde::{Deserialize, Serialize};
use units::Timestamp;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// Earlier times round that count.
const TIMES: usize = 3;
/// A height is kept to a tenth: that many steps of a tenth each fill a byte up to 10^10 times the unit.
const STEP: f64 = 1.1;
/// A habit is reached while a value is at most this many times what it reached before.
const MARGIN: f64 = 1.3;
/// A jump is over when none was seen for so long.
const OVER_AFTER_S: i64 = 60;

/// What comes round, and in which pieces.
struct Cycle {
    period_s: i64,
    piece_s: i64,
    /// What lasts longer is not what happens at this time, but a state that goes on through it.
    lasts_most_s: i64,
}

const CYCLES: [Cycle; 3] = [
    Cycle {
        period_s: HOUR_S,
        piece_s: 60,
        lasts_most_s: 600,
    },
    Cycle {
        period_s: DAY_S,
        piece_s: HOUR_S / 2,
        lasts_most_s: 3 * HOUR_S,
    },
    Cycle {
        period_s: 7 * DAY_S,
        piece_s: HOUR_S,
        lasts_most_s: DAY_S,
    },
];

/// The habits of what can stray of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Habits([Habit; Series::COUNT]);

/// What can stray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Bytes received.
    Received,
    /// Bytes read and written.
    Moved,
    /// Waiting for I/O.
    Waiting,
}

impl Series {
    const COUNT: usize = 5;

    /// The least of it that matters: millicores, MiB, KiB, KiB, a thousandth of the time.
    const fn unit(self) -> f64 {
        match self {
            Series::Cpu | Series::Waiting => 0.001,
            Series::Memory => 1024.0 * 1024.0,
            Series::Received | Series::Moved => 1024.0,
        }
    }
}

impl Habits {
    /// Takes a value that is a jump.
    pub(crate) fn note(&mut self, series: Series, at: Timestamp, value: f64) {
        self.0[series as usize].note(at, value, series.unit());
    }

    /// Whether a value is no more than what the series reached at this time before, and again.
    pub(crate) fn cover(&self, series: Series, at: Timestamp, value: f64) -> bool {
        self.0[series as usize].covers(at, value, series.unit())
    }
}

/// How high one series went, and when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Habit(Option<Box<Heights>>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Heights {
    /// By cycle and piece.
    pieces: [Vec<Piece>; 3],
    /// When the jump that goes on began, and when it was last seen.
    began_s: i64,
    last_s: i64,
}

/// The steps of the heights reached in one piece of a cycle; 0 is no jump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Piece {
    /// Which time round `now` is of.
    round: i64,
    now: u8,
    /// The times before it, the latest first.
    before: [u8; TIMES],
}

impl Habit {
    /// Takes a value that is a jump, in a unit that is the least of it that matters.
    fn note(&mut self, at: Timestamp, value: f64, unit: f64) {
        let at_s = at.as_millis().div_euclid(1_000);
        let heights = self.0.get_or_insert_with(|| Box::new(Heights::new(at_s)));
        heights.note(at_s, step(value, unit));
    }

    /// Whether a value is no more than what it reached at this time before, and again.
    fn covers(&self, at: Timestamp, value: f64, unit: f64) -> bool {
        let at_s = at.as_millis().div_euclid(1_000);
        let reached = self.0.as_ref().map_or(0, |heights| heights.reached(at_s));
        reached > 0 && value <= MARGIN * unit * STEP.powi(i32::from(reached))
    }
}

impl Heights {
    fn new(at_s: i64) -> Self {
        let pieces = CYCLES.each_ref().map(|cycle| {
            let count = usize::try_from(cycle.period_s / cycle.piece_s).unwrap_or(0);
            vec![Piece::default(); count]
        });
        Heights {
            pieces,
            began_s: at_s,
            last_s: at_s,
        }
    }

    fn note(&mut self, at_s: i64, step: u8) {
        if at_s - self.last_s > OVER_AFTER_S {
            self.began_s = at_s;
        }
        self.last_s = at_s;
        for (cycle, pieces) in CYCLES.iter().zip(&mut self.pieces) {
            if at_s - self.began_s <= cycle.lasts_most_s {
                let (round, piece) = cycle.place(at_s);
                pieces[piece].note(round, step);
            }
        }
    }

    fn reached(&self, at_s: i64) -> u8 {
        let cycles = CYCLES.iter().zip(&self.pieces);
        let habits = cycles.map(|(cycle, pieces)| {
            let mut times: [u8; TIMES] = std::array::from_fn(|time| {
                let then_s = at_s - cycle.period_s * (time as i64 + 1);
                let beside = [-cycle.piece_s, 0, cycle.piece_s].map(|by_s| {
                    let (round, piece) = cycle.place(then_s + by_s);
                    pieces[piece].of(round)
                });
                beside.into_iter().max().unwrap_or(0)
            });
            times.sort_unstable();
            // All but the least of them.
            times[1]
        });
        habits.max().unwrap_or(0)
    }
}

impl Cycle {
    /// Which time round it is, and which piece of it.
    fn place(&self, at_s: i64) -> (i64, usize) {
        let piece = at_s.rem_euclid(self.period_s) / self.piece_s;
        (at_s.div_euclid(self.period_s), piece as usize)
    }
}

impl Piece {
    fn note(&mut self, round: i64, step: u8) {
        if round < self.round {
            return;
        }
        if round > self.round {
            *self = Piece {
                round,
                now: 0,
                before: std::array::from_fn(|time| self.of(round - 1 - time as i64)),
            };
        }
        self.now = self.now.max(step);
    }

    fn of(&self, round: i64) -> u8 {
        match self.round - round {
            0 => self.now,
            ago => usize::try_from(ago - 1)
                .ok()
                .and_then(|time| self.before.get(time).copied())
                .unwrap_or(0),
        }
    }
}

/// The height in steps of a tenth above the unit, at least 1.
fn step(value: f64, unit: f64) -> u8 {
    let steps = (value / unit).max(1.0).log(STEP).ceil();
    steps.clamp(1.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: f64 = 0.001;

    fn at(day: i64, minute: i64) -> Timestamp {
        // A Thursday, as every first of January 1970 is.
        Timestamp::from_millis((day * DAY_S + minute * 60) * 1_000)
    }

    /// Half an hour from this minute of the day, a value a minute.
    fn backup(habit: &mut Habit, day: i64, minute: i64) {
        for passed in 0..30 {
            habit.note(at(day, minute + passed), 0.8, UNIT);
        }
    }

    #[test]
    fn what_came_twice_at_an_hour_of_the_day_is_known_the_third_time() {
        let mut habit = Habit::default();
        backup(&mut habit, 1, 150);
        backup(&mut habit, 2, 158);
        assert!(
            !habit.covers(at(2, 165), 0.8, UNIT),
            "once before is no habit"
        );
        assert!(habit.covers(at(3, 155), 0.8, UNIT));
        assert!(
            habit.covers(at(3, 155), 1.0, UNIT),
            "a little more is the same"
        );
        assert!(!habit.covers(at(3, 155), 1.3, UNIT), "much more is not");
        assert!(!habit.covers(at(3, 600), 0.8, UNIT), "nor another time");
        backup(&mut habit, 3, 150);
        assert!(
            habit.covers(at(5, 155), 0.8, UNIT),
            "one night may be left out"
        );
        assert!(!habit.covers(at(7, 155), 0.8, UNIT), "three may not");
    }

    #[test]
    fn a_job_of_every_hour_is_known_in_the_third_one() {
        let mut habit = Habit::default();
        for hour in 0..3 {
            let minute = hour * 60 + 59;
            assert_eq!(habit.covers(at(1, minute), 0.5, UNIT), hour == 2, "{hour}");
            // The next one may begin a little later, in the next hour.
            habit.note(at(1, minute), 0.5, UNIT);
            habit.note(at(1, minute + 1), 0.5, UNIT);
        }
        assert!(
            habit.covers(at(1, 240), 0.5, UNIT),
            "the minute beside it, past the turn of the hour"
        );
        assert!(!habit.covers(at(1, 210), 0.5, UNIT));
    }

    #[test]
    fn a_report_of_every_week_is_known_in_the_third_one() {
        let mut habit = Habit::default();
        for week in 0..2 {
            backup(&mut habit, 4 + 7 * week, 480);
        }
        assert!(habit.covers(at(18, 490), 0.8, UNIT));
        assert!(!habit.covers(at(19, 490), 0.8, UNIT));
    }

    #[test]
    fn a_state_that_goes_on_for_hours_is_no_habit_of_the_hour() {
        let mut habit = Habit::default();
        for minute in 0..6 * 60 {
            habit.note(at(1, minute), 0.8, UNIT);
        }
        assert!(!habit.covers(at(1, 6 * 60 + 30), 0.8, UNIT));
    }

    #[test]
    fn what_never_jumped_takes_no_room() {
        assert_eq!(postcard::to_stdvec(&Habit::default()).unwrap().len(), 1);
        let mut habit = Habit::default();
        for day in 0..40 {
            backup(&mut habit, day, 150);
        }
        assert!(postcard::to_stdvec(&habit).unwrap().len() < 3_000);
    }

    proptest::proptest! {
        #[test]
        fn no_value_and_no_time_is_too_odd(
            notes in proptest::collection::vec((proptest::num::i64::ANY, proptest::num::f64::ANY), 0..50), probe in proptest::num::i64::ANY,
        ) {
            let mut habit = Habit::default();
            for (at, value) in notes {
                habit.note(Timestamp::from_millis(at), value, UNIT);
            }
            let _ = habit.covers(Timestamp::from_millis(probe), 1.0, UNIT);
        }
    }
}
