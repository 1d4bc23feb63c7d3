//! A service under a recorded load, second by second, whose replicas a policy adds and removes.
