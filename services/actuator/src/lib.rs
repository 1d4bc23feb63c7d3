//! actuator
