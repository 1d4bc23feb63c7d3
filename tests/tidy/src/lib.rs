//! Holds the project to its own rules of structure: sizes of files and functions, who imports whom, what models must not
//! touch, dashboards and alert rules against the metric names in code, and what must not stand in a text.
//!
//! Everything is in the tests; there is nothing to import. What the compiler and clippy can check is theirs.
