//! The text formats of Prometheus (0.0.4) and OpenMetrics (1.0), and the label that says where a container serves them.
//!
//! [`parse`] goes over a page once and keeps nothing of it: names and labels that it gives borrow from the page, and one label
//! value is copied at a time, where it has escapes. What it does not give it counts. It fetches nothing.

mod family;
mod labels;
mod line;
mod page;
mod target;

pub use labels::{LABELS_MAX, LabelIter, Labels};
pub use line::What;
pub use page::{Format, Limits, Point, Problem, Scraped, SeriesKind, parse};
pub use target::{
    LABEL_SCRAPE, PATH_BYTES_MAX, PATH_DEFAULT, TARGETS_MAX, Target, TargetError, targets,
};
