//! What can go wrong.

/// Why no model was trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// A setting is out of its range.
    #[error("setting {name}: {value} is not possible; write {least} to {most}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it was given.
        value: usize,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
    },
    /// Two columns have one name.
    #[error("metric {0:?} is there twice; give each column its own name")]
    SameName(String),
    /// There are more columns than are looked at.
    #[error("{columns} metrics are more than the {most} that can be looked at; leave some out")]
    TooManyColumns {
        /// How many there are.
        columns: usize,
        /// How many there may be.
        most: usize,
    },
    /// A row has another number of values than there are columns.
    #[error(
        "a row has {values} values for {columns} metrics; write one for each, absent where it is missing"
    )]
    RowLength {
        /// Values of the row.
        values: usize,
        /// Columns of the history.
        columns: usize,
    },
    /// The history is as large as it may be.
    #[error(
        "the history holds {rows} rows, which is as much as it may; take a shorter time or fewer subjects"
    )]
    Full {
        /// Rows it holds.
        rows: usize,
    },
    /// There is too little to learn from.
    #[error(
        "{rows} rows are too few to train on; {least} are needed, so wait until there are more"
    )]
    TooFewRows {
        /// How many there are.
        rows: usize,
        /// How many there must be.
        least: usize,
    },
    /// No metric is there often enough and changes.
    #[error(
        "none of {columns} metrics is present in most rows and changes; there is nothing to learn"
    )]
    NoMetric {
        /// How many were looked at.
        columns: usize,
    },
    /// The numbers defeat the method.
    #[error("the {method} of the rows cannot be worked out: {problem}; train on another time")]
    Numbers {
        /// What was being worked out.
        method: &'static str,
        /// What the library says.
        problem: String,
    },
}

/// Why an artefact is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactError {
    /// It is larger than a model can be.
    #[error(
        "the model artefact has {bytes} bytes, more than the {most} a model takes; train it again"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most there can be.
        most: usize,
    },
    /// It is not such JSON.
    #[error("the model artefact is damaged: {0}; train it again")]
    Malformed(String),
    /// Another version wrote it.
    #[error("the model artefact has schema {found}, this version reads {known}; train it again")]
    Schema {
        /// What it says.
        found: u32,
        /// What is read.
        known: u32,
    },
    /// Its content was changed.
    #[error(
        "the model artefact's digest is {said}, its content has {found}; it was changed, train it again"
    )]
    Digest {
        /// What it says.
        said: String,
        /// What the content has.
        found: String,
    },
    /// Its parts do not fit together.
    #[error("the model artefact does not hold together: {0}; train it again")]
    Shape(&'static str),
}
