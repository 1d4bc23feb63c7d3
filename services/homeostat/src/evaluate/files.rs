//! The files of a set and of a detector.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use csv::StringRecord;
use evaluate::{AlertColumn, Labels, ScoreRow, Scores};
use flate2::read::MultiGzDecoder;

/// Unpacked bytes of one file: far beyond any set. A larger file is refused.
const BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

type Reader = csv::Reader<Box<dyn Read>>;

/// What is known about each series, by name.
pub(super) fn labels(path: &Path) -> anyhow::Result<BTreeMap<String, Labels>> {
    let text = std::fs::read(path).with_context(|| {
        let path = path.display();
        format!("cannot read the labels {path}; name the folder of a set with --data, and its labels file with --labels")
    })?;
    let labels: BTreeMap<_, _> = serde_json::from_slice(&text).with_context(|| {
        let path = path.display();
        format!(
            r#"{path} holds no labels; write {{"NAME": {{"start": T, "events": [[T, T], …]}}, …}}"#
        )
    })?;
    if labels.is_empty() {
        bail!(
            "{} names no series; there is nothing to evaluate",
            path.display()
        );
    }
    Ok(labels)
}

/// Where a series of a set is.
pub(super) fn series_of(data: &Path, name: &str) -> PathBuf {
    data.join("series").join(format!("{name}.csv.gz"))
}

/// The file with a series' scores, if there is one; the plain one goes before the compressed one.
pub(super) fn scores_of(scores: &Path, name: &str) -> Option<PathBuf> {
    let files = ["csv", "csv.gz"].map(|ending| scores.join(format!("{name}.{ending}")));
    files.into_iter().find(|file| file.exists())
}

/// The first column of a series, in seconds.
pub(super) fn timestamps(path: &Path) -> anyhow::Result<Vec<f64>> {
    let mut timestamps_s = Vec::new();
    rows(path, &mut open(path)?, |row| {
        timestamps_s.push(number(row, 0, "timestamp")?);
        Ok(())
    })?;
    Ok(timestamps_s)
}

/// What a detector says about a series.
pub(super) fn scores(path: &Path) -> anyhow::Result<Scores> {
    let mut reader = open(path)?;
    let heading = reader.headers().with_context(|| unreadable(path))?.clone();
    let column = |name: &str| heading.iter().position(|it| it == name);
    let (Some(timestamp), Some(score)) = (column("timestamp"), column("score")) else {
        bail!(
            "{}:1: the heading lacks timestamp or score; write timestamp,score or timestamp,score,alert",
            path.display()
        );
    };
    let alert = column("alert");
    let mut found = Vec::new();
    rows(path, &mut reader, |row| {
        found.push(ScoreRow {
            timestamp_s: number(row, timestamp, "timestamp")?,
            score: optional(row, score, "score")?.unwrap_or(f64::NAN),
            alert: match alert {
                Some(alert) => optional(row, alert, "alert")?.is_some_and(|it| it > 0.0),
                None => false,
            },
        });
        Ok(())
    })?;
    Ok(Scores {
        rows: found,
        alerts: match alert {
            Some(_) => AlertColumn::Present,
            None => AlertColumn::Absent,
        },
    })
}

fn open(path: &Path) -> anyhow::Result<Reader> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let file = BufReader::new(file);
    // One byte more than is taken, so that the end of a file and its being cut can be told apart.
    let bytes: Box<dyn Read> = match path.extension().is_some_and(|it| it == "gz") {
        true => Box::new(MultiGzDecoder::new(file).take(BYTES_MAX + 1)),
        false => Box::new(file.take(BYTES_MAX + 1)),
    };
    Ok(csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes))
}

/// Hands each row over, and says of one that cannot be read where it is. Empty lines are no rows.
fn rows(
    path: &Path,
    reader: &mut Reader,
    mut each: impl FnMut(&StringRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut row = StringRecord::new();
    while reader
        .read_record(&mut row)
        .with_context(|| unreadable(path))?
    {
        let line = row.position().map_or(0, csv::Position::line);
        each(&row).with_context(|| format!("{}:{line}", path.display()))?;
    }
    if reader.position().byte() > BYTES_MAX {
        bail!(
            "{} is longer than {BYTES_MAX} bytes; split the series",
            path.display()
        );
    }
    Ok(())
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {} as comma-separated values", path.display())
}

fn field<'a>(row: &'a StringRecord, at: usize, name: &str) -> anyhow::Result<&'a str> {
    row.get(at).ok_or_else(|| {
        anyhow!("the row ends before its {name}; write as many fields as the heading has")
    })
}

/// A number, or none where the field is empty.
fn optional(row: &StringRecord, at: usize, name: &str) -> anyhow::Result<Option<f64>> {
    match field(row, at, name)? {
        "" => Ok(None),
        _ => number(row, at, name).map(Some),
    }
}

fn number(row: &StringRecord, at: usize, name: &str) -> anyhow::Result<f64> {
    let text = field(row, at, name)?;
    text.parse()
        .map_err(|_| anyhow!("{name} {text:?} is no number; write one such as 1661143879 or 0.5"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let file = File::create(&path).unwrap();
        if name.ends_with(".gz") {
            let mut packed = GzEncoder::new(file, Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            packed.finish().unwrap();
        } else {
            std::fs::write(&path, text).unwrap();
        }
        (dir, path)
    }

    fn complaint(text: &str) -> String {
        let (_dir, path) = written("a.csv", text);
        format!("{:#}", scores(&path).unwrap_err())
    }

    #[test]
    fn scores_are_read_by_the_names_of_their_columns() {
        let text = "alert, score ,timestamp,more\n1,0.5,60,x\n\n0,,120\n,nan,180,\n";
        for name in ["a.csv", "a.csv.gz"] {
            let (_dir, path) = written(name, text);
            let scores = scores(&path).unwrap();
            assert_eq!(scores.alerts, AlertColumn::Present);
            let alerts: Vec<_> = scores.rows.iter().map(|row| row.alert).collect();
            assert_eq!(alerts, [true, false, false]);
            assert_eq!(
                (scores.rows[0].score, scores.rows[2].timestamp_s),
                (0.5, 180.0)
            );
            assert!(scores.rows[1].score.is_nan() && scores.rows[2].score.is_nan());
        }
        let (_dir, path) = written("a.csv", "timestamp,score\n1,1\n");
        assert_eq!(scores(&path).unwrap().alerts, AlertColumn::Absent);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let text = complaint("timestamp,value\n1,2\n");
        assert!(
            text.contains("a.csv:1") && text.contains("timestamp,score"),
            "{text}"
        );
        let text = complaint("timestamp,score\n1,2\nx,2\n");
        assert!(text.contains("a.csv:3") && text.contains("\"x\""), "{text}");
        let text = complaint("timestamp,score\n1\n");
        assert!(
            text.contains("a.csv:2") && text.contains("its score"),
            "{text}"
        );
        let text = complaint("timestamp,score,alert\n1,2,yes\n");
        assert!(text.contains("alert \"yes\""), "{text}");
        let (_dir, path) = written("a.csv", "");
        assert!(scores(&path).is_err());
    }

    #[test]
    fn labels_may_leave_out_what_is_ignored() {
        let (_dir, path) = written("l.json", r#"{"b": {"start": 9, "events": [[10, 11.5]]}}"#);
        let known = labels(&path).unwrap();
        assert_eq!(
            (known["b"].start, known["b"].events[0]),
            (9.0, (10.0, 11.5))
        );
        assert!(known["b"].ignore.is_empty());
        let (_dir, path) = written("l.json", "{}");
        assert!(
            labels(&path)
                .unwrap_err()
                .to_string()
                .contains("names no series")
        );
        let (_dir, path) = written("l.json", "[]");
        assert!(format!("{:#}", labels(&path).unwrap_err()).contains("holds no labels"));
    }
}
