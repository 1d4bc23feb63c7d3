//! The text formats of Prometheus and OpenMetrics.
