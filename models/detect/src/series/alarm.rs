//! From a stream of evidence to few alerts: once per incident, again only when it gets worse, and harder to raise after each.

use serde::{Deserialize, Serialize};

/// What the detector decides at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alert {
    /// Nothing is out of the ordinary, or not enough.
    Calm,
    /// An incident begins.
    Opened,
    /// It began a few values ago and is confirmed.
    Confirmed,
    /// It is worse than when it was last told.
    Worse,
    /// It lasts and has been told; there is nothing new to say.
    Lasting,
}

impl Alert {
    /// Whether this is to be told to somebody.
    pub fn is_told(self) -> bool {
        match self {
            Alert::Opened | Alert::Confirmed | Alert::Worse => true,
            Alert::Calm | Alert::Lasting => false,
        }
    }
}

/// When to alert. Evidence is in decades of rareness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlarmSettings {
    /// Evidence that opens an incident.
    pub open_at: f32,
    /// Share of `open_at` below which a value is calm.
    pub calm_below: f32,
    /// Calm values that end an incident.
    pub calm_values: u32,
    /// Values of an incident that are told as its beginning.
    pub told_values: u32,
    /// It is worse when the evidence is this many times what was told last.
    pub worse_at: f32,
    /// How much harder each told alert makes the next: the budget of false alarms.
    pub dearer_by: f32,
    /// Rows after which this is forgotten to a third. Rows and not seconds: what people call an incident comes about as often per
    /// row whatever the step, but per day up to 25 times as often.
    pub forgiven_after_rows: f32,
}

/// The state of the decision about one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Alarm {
    phase: Phase,
    dearer: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Phase {
    Calm,
    Open { told: u32, calm: u32, peak: f32 },
}

impl Alarm {
    pub(super) fn new() -> Self {
        Alarm {
            phase: Phase::Calm,
            dearer: 0.0,
        }
    }

    pub(super) fn observe(&mut self, settings: &AlarmSettings, evidence: f32) -> Alert {
        self.dearer -= self.dearer / settings.forgiven_after_rows.max(FORGIVEN_ROWS_MIN);
        let opens = evidence >= settings.open_at + self.dearer;
        match self.phase {
            Phase::Calm if opens => {
                self.tell(settings, evidence);
                Alert::Opened
            }
            Phase::Calm => Alert::Calm,
            Phase::Open { told, calm, peak } => {
                if evidence < settings.calm_below * settings.open_at {
                    self.phase = if calm + 1 >= settings.calm_values {
                        Phase::Calm
                    } else {
                        let calm = calm + 1;
                        Phase::Open { told, calm, peak }
                    };
                    return Alert::Lasting;
                }
                if told < settings.told_values {
                    let (told, calm) = (told + 1, 0);
                    self.phase = Phase::Open { told, calm, peak };
                    return Alert::Confirmed;
                }
                if opens && evidence > peak * settings.worse_at {
                    self.tell(settings, evidence);
                    return Alert::Worse;
                }
                self.phase = Phase::Open {
                    told,
                    calm: 0,
                    peak,
                };
                Alert::Lasting
            }
        }
    }

    fn tell(&mut self, settings: &AlarmSettings, evidence: f32) {
        self.dearer += settings.dearer_by;
        self.phase = Phase::Open {
            told: 1,
            calm: 0,
            peak: evidence,
        };
    }
}

/// Forgiveness takes at least so many rows, so that no setting makes it a growth.
const FORGIVEN_ROWS_MIN: f32 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: AlarmSettings = AlarmSettings {
        open_at: 3.0,
        calm_below: 0.5,
        calm_values: 3,
        told_values: 2,
        worse_at: 1.5,
        dearer_by: 0.5,
        forgiven_after_rows: 100.0,
    };

    fn run(evidence: &[f32]) -> Vec<Alert> {
        let mut alarm = Alarm::new();
        evidence
            .iter()
            .map(|&one| alarm.observe(&SETTINGS, one))
            .collect()
    }

    #[test]
    fn an_incident_is_told_at_its_beginning_and_when_it_gets_worse() {
        use Alert::{Calm, Confirmed, Lasting, Opened, Worse};
        assert_eq!(
            run(&[1.0, 3.1, 3.0, 3.0, 5.0, 2.0, 1.0, 1.0, 1.0, 1.0]),
            [
                Calm, Opened, Confirmed, Lasting, Worse, Confirmed, Lasting, Lasting, Lasting, Calm
            ]
        );
    }

    #[test]
    fn each_alert_makes_the_next_harder_until_it_is_forgiven() {
        let mut evidence = vec![3.1, 0.0, 0.0, 0.0, 3.1];
        assert_eq!(run(&evidence).pop(), Some(Alert::Calm));
        evidence.splice(4..4, std::iter::repeat_n(0.0, 400));
        assert_eq!(run(&evidence).pop(), Some(Alert::Opened));
    }
}
