//! The sets that are known, and what belongs to each.

/// Whether Numenta's score is one of a set's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nab {
    /// The set is published with it.
    Counted,
    /// It says nothing about this set.
    NotCounted,
}

/// What belongs to a set and is the same for every detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Name of the set, and of its folder.
    pub set: &'static str,
    /// Longest soft edge of an event in the volume under the surface, in points.
    pub buffer_max_points: usize,
    /// Points after an event in which an alarm is neither found nor false.
    pub grace_points: usize,
    /// Whether Numenta's score is counted.
    pub nab: Nab,
}

/// The name of a folder is no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the set {name:?} is not known; name the folder of one of {}", known())]
pub struct UnknownSet {
    /// The name.
    pub name: String,
}

impl Rules {
    /// Every set that is known.
    pub const ALL: [Rules; 6] = [
        Rules::new("nezha", 10, 5),
        Rules::new("smd", 100, 0),
        Rules::new("asd", 30, 0),
        Rules::new("mscloud", 50, 0),
        Rules {
            nab: Nab::Counted,
            ..Rules::new("nab", 100, 0)
        },
        Rules::new("jumpstarter", 30, 0),
    ];

    /// The rules of the set of this name.
    ///
    /// # Errors
    /// When no set has this name; the text names those that are known.
    pub fn of(set: &str) -> Result<Rules, UnknownSet> {
        let found = Rules::ALL.into_iter().find(|rules| rules.set == set);
        found.ok_or_else(|| UnknownSet {
            name: set.to_owned(),
        })
    }

    const fn new(set: &'static str, buffer_max_points: usize, grace_points: usize) -> Rules {
        Rules {
            set,
            buffer_max_points,
            grace_points,
            nab: Nab::NotCounted,
        }
    }
}

fn known() -> String {
    Rules::ALL.map(|rules| rules.set).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_found_by_name_and_an_unknown_one_is_told_the_known_ones() {
        assert_eq!(Rules::of("nezha").unwrap().grace_points, 5);
        assert_eq!(Rules::of("nab").unwrap().nab, Nab::Counted);
        let text = Rules::of("Nab").unwrap_err().to_string();
        assert!(
            text.contains("\"Nab\"") && text.contains("nezha, smd, asd, mscloud, nab, jumpstarter"),
            "{text}"
        );
    }
}
