//! What a container did, once a tick.

use crate::{
    ContainerId, ContainerName, ContainerState, HealthState, Metric, NodeId, ServiceId, Steady,
    Timestamp,
};

/// The metrics of one sample. A metric that could not be read is absent, never zero.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow([Option<f64>; Metric::COUNT]);

impl Default for MetricRow {
    fn default() -> Self {
        MetricRow([None; Metric::COUNT])
    }
}

impl MetricRow {
    /// The value, when it was read.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    /// Sets a value. Not-a-number and infinities count as not read.
    pub fn set(&mut self, metric: Metric, value: f64) {
        self.0[metric as usize] = value.is_finite().then_some(value);
    }

    /// Sets a value that may not have been read.
    pub fn set_opt(&mut self, metric: Metric, value: Option<f64>) {
        self.0[metric as usize] = value.filter(|number| number.is_finite());
    }

    /// The metrics that were read, in column order.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        Metric::ALL
            .iter()
            .filter_map(|metric| self.get(*metric).map(|value| (*metric, value)))
    }
}

/// One container at one tick. Containers that are not running have a row too, with their state and no usage.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When the numbers were read.
    pub at: Timestamp,
    /// The same by the node's clock that never steps: rates and gaps are taken from this one.
    pub steady: Steady,
    /// Where.
    pub node: NodeId,
    /// The service it is a replica of.
    pub service: ServiceId,
    /// The engine's id.
    pub container: ContainerId,
    /// The container's name.
    pub name: ContainerName,
    /// What the engine says it is doing.
    pub state: ContainerState,
    /// What its health check says.
    pub health: HealthState,
    /// The numbers.
    pub metrics: MetricRow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_was_not_read() {
        let mut row = MetricRow::default();
        row.set(Metric::CpuUsage, f64::NAN);
        row.set(Metric::Pids, 3.0);
        assert_eq!(row.get(Metric::CpuUsage), None);
        assert_eq!(row.iter().collect::<Vec<_>>(), vec![(Metric::Pids, 3.0)]);
    }
}
