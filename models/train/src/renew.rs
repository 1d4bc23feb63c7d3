//! All that one training of a service is: a new model, held against rows it has not seen and against the present one.

use units::{ServiceId, Timestamp};

use crate::artefact::Artefact;
use crate::compare::{Choice, Why, compare};
use crate::error::TrainError;
use crate::fit::train;
use crate::held_back::{Figures, HeldBack};
use crate::history::History;
use crate::settings::TrainSettings;

/// What became of a training.
#[derive(Debug, Clone, PartialEq)]
pub enum Renewal {
    /// The new model takes the place of the present one, or is the first.
    Taken {
        /// The new one, with its figures in its provenance.
        artefact: Box<Artefact>,
        /// The present one's figures on the same rows, where there is one.
        current: Option<Figures>,
    },
    /// It does not.
    Kept {
        /// Why.
        why: Why,
        /// The new one's figures.
        candidate: Figures,
        /// The present one's, where there is one and it came to that.
        current: Option<Figures>,
    },
}

/// Trains a service at `now` and says whether the new model is to be used: it must be of use by itself ([`Figures::objection`]), and
/// no worse than the present one ([`compare`]), both on rows that neither has learned from.
///
/// # Errors
/// When no model could be trained.
pub fn renew(
    service: &ServiceId,
    history: &History,
    (settings, seed): (TrainSettings, u64),
    present: Option<&Artefact>,
    now: Timestamp,
) -> Result<Renewal, TrainError> {
    let trained = train(history, &settings, seed)?;
    let candidate = trained.held_back;
    if let Some(why) = candidate.objection() {
        return Ok(Renewal::Kept {
            why,
            candidate,
            current: None,
        });
    }
    let choice = present.map(|present| {
        compare(
            &present.content().model,
            &trained.model,
            &HeldBack::of(history),
        )
    });
    let current = match choice {
        Some(Choice::Keep { why, current, .. }) => {
            return Ok(Renewal::Kept {
                why,
                candidate,
                current: Some(current),
            });
        }
        Some(Choice::Take { current, .. }) => Some(current),
        None => None,
    };
    let previous = present.map(|present| present.digest().to_owned());
    let how = (settings, seed);
    let artefact = Artefact::new(service.clone(), history, trained, how, previous, now);
    Ok(Renewal::Taken {
        artefact: Box::new(artefact),
        current,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Noise, at, history, names};

    fn renewed(history: &History, present: Option<&Artefact>) -> Renewal {
        let how = (TrainSettings::default(), 1);
        renew(
            &ServiceId::from("shop/web"),
            history,
            how,
            present,
            at(9_999),
        )
        .unwrap()
    }

    fn artefact(renewal: Renewal) -> Artefact {
        match renewal {
            Renewal::Taken { artefact, .. } => *artefact,
            Renewal::Kept { .. } => panic!("it was not taken: {renewal:?}"),
        }
    }

    #[test]
    fn the_first_is_taken_and_the_next_one_names_it() {
        let first = artefact(renewed(&history(1_500, 1), None));
        assert_eq!(first.content().provenance.previous, None);
        let second = artefact(renewed(&history(2_000, 5), Some(&first)));
        let previous = second.content().provenance.previous.as_deref();
        assert_eq!(previous, Some(first.digest()));
    }

    #[test]
    fn a_worse_one_is_kept_out() {
        let good = artefact(renewed(&history(3_000, 1), None));
        // Rows of noise, and then, in those held back, life as it was: of noise the new one learned nothing.
        let mut noise = Noise::new(8);
        let mut blurred = History::new(names()).unwrap();
        for number in 0..1_700 {
            let row = [
                Some(100.0 + 80.0 * noise.normal()),
                Some(0.5 + 0.4 * noise.normal()),
                Some(2e8 + 4e7 * noise.normal()),
                Some(5.0 + 4.0 * noise.normal()),
            ];
            blurred.push(at(number), 0, &row).unwrap();
        }
        let mut service = crate::testing::Service::new(12);
        for number in 1_700..2_000 {
            blurred.push(at(number), 0, &service.row()).unwrap();
        }
        let kept = renewed(&blurred, Some(&good));
        assert!(matches!(kept, Renewal::Kept { .. }), "{kept:?}");
    }
}
