//! This project's policy: forecast and sizing, joined.

use super::{REPLICAS_MAX, REPLICAS_MIN, ScaleError, Scaler, Seen};
use control::sizing::{self, DECIDE_EVERY_S, Settings, Sizer};
use forecast::DemandForecaster;
use units::Ratio;

/// Looks ahead and sizes; the last answer stands until the next.
#[derive(Debug)]
pub(super) struct Homeostat {
    forecaster: DemandForecaster,
    sizer: Sizer,
    wanted: Option<u32>,
}

impl Homeostat {
    pub(super) fn new(startup_s: u32, slo: Ratio, capacity: f64) -> Result<Self, ScaleError> {
        let sizer = Sizer::new(Settings {
            startup_s,
            slo,
            replica_capacity: capacity,
            min: REPLICAS_MIN,
            max: REPLICAS_MAX,
        })?;
        Ok(Homeostat {
            forecaster: DemandForecaster::new(startup_s),
            sizer,
            wanted: None,
        })
    }
}

impl Scaler for Homeostat {
    fn observe(&mut self, seen: &Seen<'_>) {
        self.forecaster.observe(seen.arrived);
        self.wanted = self.sizer.observe(&sizing::Second {
            arrived: seen.arrived,
            outlook: self.forecaster.outlook(),
            replicas: seen.fleet.seen(),
        });
    }

    fn period_s(&self) -> usize {
        DECIDE_EVERY_S as usize
    }

    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        self.wanted.unwrap_or(seen.fleet.replicas())
    }
}
