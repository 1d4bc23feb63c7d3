//! Whether a new model takes the place of the present one.

use std::fmt;

use crate::held_back::{Figures, HeldBack};
use crate::model::Model;

/// With fewer rows held back nothing can be told.
const ROWS_MIN: usize = 30;
/// False alarms beyond the present model's that chance explains: this share of rows, or half as many again.
const FALSE_ALARM_SLACK: f64 = 0.002;
const FALSE_ALARM_FACTOR: f64 = 1.5;
/// Probes, of two hundred, that chance decides.
const PROBES_SLACK: f64 = 0.05;
/// A factor of two in how rare things are said to be.
const CALIBRATION_SLACK_DECADES: f64 = 0.3;

/// A model that calls more ordinary rows unusual than this is of no use, whatever there was before: twenty times what it says.
const FALSE_ALARMS_MAX: f64 = 0.02;
/// One that sees fewer probes than this is blind.
const PROBES_SEEN_MIN: f64 = 0.05;
/// One whose scores are off by more than a factor of ten says nothing.
const CALIBRATION_MAX_DECADES: f64 = 1.0;

/// What becomes of a new model.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// It takes the place of the present one: it is as good, and newer.
    Take {
        /// The present model's figures.
        current: Figures,
        /// The new one's.
        candidate: Figures,
    },
    /// The present one stays.
    Keep {
        /// Why.
        why: Why,
        /// The present model's figures.
        current: Figures,
        /// The new one's.
        candidate: Figures,
    },
}

/// What speaks against a new model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Too few rows were held back to tell.
    TooFewRows,
    /// It calls more ordinary rows unusual.
    MoreFalseAlarms,
    /// It sees less of what is broken on purpose.
    SeesLess,
    /// Its scores say less of how rare a row is.
    WorseCalibrated,
    /// It calls many ordinary rows unusual, whatever the present one does.
    TooManyFalseAlarms,
    /// It sees next to nothing of what is broken on purpose.
    SeesTooLittle,
    /// Its scores do not say how rare a row is.
    Uncalibrated,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::TooFewRows => "too few rows are held back to compare on",
            Why::MoreFalseAlarms => "it calls more ordinary rows unusual",
            Why::SeesLess => "it sees less of what is broken on purpose",
            Why::WorseCalibrated => "its scores say less of how rare a row is",
            Why::TooManyFalseAlarms => "it calls too many ordinary rows unusual",
            Why::SeesTooLittle => "it sees next to nothing of what is broken on purpose",
            Why::Uncalibrated => "its scores do not say how rare a row is",
        })
    }
}

impl Figures {
    /// What speaks against scoring with a model that did so on rows held back, whether or not there was one before it.
    pub fn objection(&self) -> Option<Why> {
        // One row too many among few is chance.
        let one = 1.0 / self.rows.max(1) as f64;
        if self.rows < ROWS_MIN {
            Some(Why::TooFewRows)
        } else if self.false_alarm_share > FALSE_ALARMS_MAX + one {
            Some(Why::TooManyFalseAlarms)
        } else if self.probes_seen_share < PROBES_SEEN_MIN {
            Some(Why::SeesTooLittle)
        } else if self.calibration_error_decades > CALIBRATION_MAX_DECADES {
            Some(Why::Uncalibrated)
        } else {
            None
        }
    }
}

/// Holds both models against rows that neither has learned from. A new model that is worse in one thing, beyond chance, is kept out,
/// whatever else it does better.
pub fn compare(current: &Model, candidate: &Model, held_back: &HeldBack<'_>) -> Choice {
    let present = held_back.figures(current);
    let new = held_back.figures(candidate);
    let why = if new.rows < ROWS_MIN {
        Some(Why::TooFewRows)
    } else if present.rows < ROWS_MIN {
        // The present one no longer knows what the rows are made of.
        None
    } else {
        worse(&present, &new)
    };
    match why {
        Some(why) => Choice::Keep {
            why,
            current: present,
            candidate: new,
        },
        None => Choice::Take {
            current: present,
            candidate: new,
        },
    }
}

fn worse(current: &Figures, candidate: &Figures) -> Option<Why> {
    let bearable = (current.false_alarm_share + FALSE_ALARM_SLACK)
        .max(FALSE_ALARM_FACTOR * current.false_alarm_share);
    if candidate.false_alarm_share > bearable {
        return Some(Why::MoreFalseAlarms);
    }
    // A model that calls everything unusual sees every probe: that is no merit to lose.
    let fewer_false_alarms = FALSE_ALARM_FACTOR * candidate.false_alarm_share + FALSE_ALARM_SLACK
        < current.false_alarm_share;
    if !fewer_false_alarms && candidate.probes_seen_share + PROBES_SLACK < current.probes_seen_share
    {
        return Some(Why::SeesLess);
    }
    let off = current.calibration_error_decades + CALIBRATION_SLACK_DECADES;
    (candidate.calibration_error_decades > off).then_some(Why::WorseCalibrated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Figures = Figures {
        rows: 1_000,
        false_alarm_share: 0.001,
        calibration_error_decades: 0.1,
        probes_seen_share: 0.6,
    };

    #[test]
    fn a_first_model_must_be_of_use_by_itself() {
        assert_eq!(GOOD.objection(), None);
        let few = Figures { rows: 29, ..GOOD };
        assert_eq!(few.objection(), Some(Why::TooFewRows));
        let wolf = Figures {
            false_alarm_share: 0.03,
            ..GOOD
        };
        assert_eq!(wolf.objection(), Some(Why::TooManyFalseAlarms));
        let chance = Figures { rows: 40, ..wolf };
        assert_eq!(chance.objection(), None);
        let blind = Figures {
            probes_seen_share: 0.0,
            ..GOOD
        };
        assert_eq!(blind.objection(), Some(Why::SeesTooLittle));
        let off = Figures {
            calibration_error_decades: 1.1,
            ..GOOD
        };
        assert_eq!(off.objection(), Some(Why::Uncalibrated));
    }

    #[test]
    fn each_way_to_be_worse_is_named() {
        assert_eq!(worse(&GOOD, &GOOD), None);
        let alarms = Figures {
            false_alarm_share: 0.01,
            probes_seen_share: 1.0,
            ..GOOD
        };
        assert_eq!(worse(&GOOD, &alarms), Some(Why::MoreFalseAlarms));
        assert_eq!(
            worse(&alarms, &GOOD),
            None,
            "it saw much because it cried wolf"
        );
        let blind = Figures {
            probes_seen_share: 0.4,
            ..GOOD
        };
        assert_eq!(worse(&GOOD, &blind), Some(Why::SeesLess));
        let off = Figures {
            calibration_error_decades: 0.9,
            ..GOOD
        };
        assert_eq!(worse(&GOOD, &off), Some(Why::WorseCalibrated));
    }
}
