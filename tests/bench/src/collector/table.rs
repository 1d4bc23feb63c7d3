//! The figures, each beside the one to reach.

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    AtMost(f64),
    AtLeast(f64),
    /// Told for the sake of the others.
    Nothing,
}

struct Row {
    key: &'static str,
    what: String,
    measured: f64,
    unit: &'static str,
    reach: Reach,
}

/// Rows in the order they were measured.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Adds a figure, and says it at once: a later part may fail.
    pub(crate) fn add(
        &mut self,
        key: &'static str,
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        reach: Reach,
    ) {
        let what = what.into();
        eprintln!("bench: {what}: {} {unit}", number(measured));
        self.0.push(Row {
            key,
            what,
            measured,
            unit,
            reach,
        });
    }

    /// Prints the table, and all of it once more as one line of JSON.
    pub(crate) fn print(&self) {
        let width = self.0.iter().map(|row| row.what.chars().count()).max();
        let width = width.unwrap_or(0);
        println!(
            "\n  {:<width$} {:>10}         {:>10}",
            "the collector", "measured", "to reach"
        );
        for row in &self.0 {
            println!(
                "  {:<width$} {:>10} {:<7} {:>10}   {}",
                row.what,
                number(row.measured),
                row.unit,
                row.reach.text(),
                row.verdict()
            );
        }
        let figures: Vec<Value> = self.0.iter().map(Row::json).collect();
        println!("\n{}", json!({ "bench": "collector", "figures": figures }));
    }
}

impl Row {
    /// `None` where nothing is to be reached.
    fn met(&self) -> Option<bool> {
        match self.reach {
            Reach::AtMost(limit) => Some(self.measured <= limit),
            Reach::AtLeast(limit) => Some(self.measured >= limit),
            Reach::Nothing => None,
        }
    }

    fn verdict(&self) -> &'static str {
        self.met().map_or("", |met| if met { "yes" } else { "NO" })
    }

    fn json(&self) -> Value {
        json!({
            "key": self.key,
            "measured": self.measured,
            "unit": self.unit,
            "to_reach": self.reach.text(),
            "met": self.met(),
        })
    }
}

impl Reach {
    fn text(self) -> String {
        match self {
            Reach::AtMost(limit) => format!("<= {limit}"),
            Reach::AtLeast(limit) => format!(">= {limit}"),
            Reach::Nothing => String::new(),
        }
    }
}

/// Whole numbers as they are, others to two places.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
