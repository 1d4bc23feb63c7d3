//! One series: rows in, scores out.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use detect::series::{SeriesDetector, SeriesSettings, Verdict};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use units::Timestamp;

use super::find::{Packing, Series};

/// A longer line is no row of numbers; reading on would only take memory.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Instants that fit milliseconds.
const SECONDS_MAX: i64 = i64::MAX / 1_000;

/// Scores a series into `output` and tells how many rows it had. The file stands there whole or not at all.
pub(super) fn score(series: &Series, output: &Path) -> anyhow::Result<u64> {
    let target = output.join(format!("{}.csv.gz", series.name));
    let partial = output.join(format!("{}.csv.gz.partial", series.name));
    let rows = score_into(series, &partial)
        .inspect_err(|_| {
            // It may not have come to be; then there is nothing to remove.
            let _ = fs::remove_file(&partial);
        })
        .with_context(|| series.path.display().to_string())?;
    fs::rename(&partial, &target)
        .with_context(|| format!("{} cannot be written", target.display()))?;
    Ok(rows)
}

/// Opens a series at its first row.
pub(crate) fn open(series: &Series) -> anyhow::Result<Rows<impl BufRead>> {
    let file = File::open(&series.path).context("cannot be opened")?;
    let bytes: Box<dyn Read> = match series.packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(file))),
    };
    Rows::open(BufReader::new(bytes))
}

fn score_into(series: &Series, target: &Path) -> anyhow::Result<u64> {
    let mut rows = open(series)?;
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let written = File::create(target).context("its scores cannot be written")?;
    let mut scores = GzEncoder::new(BufWriter::new(written), Compression::fast());
    writeln!(scores, "timestamp,score,alert")?;
    let mut detector = SeriesDetector::new(SeriesSettings::default());
    let mut count = 0;
    while rows.next()? {
        let verdict = detector.observe(Timestamp::from_millis(rows.seconds * 1_000), &rows.values);
        row(&mut scores, rows.seconds, &verdict).context("its scores cannot be written")?;
        count += 1;
    }
    scores
        .finish()
        .and_then(|mut file| file.flush())
        .context("its scores cannot be written")?;
    Ok(count)
}

fn row(out: &mut impl Write, seconds: i64, verdict: &Verdict) -> std::io::Result<()> {
    let alert = u8::from(verdict.is_alert());
    writeln!(out, "{seconds},{:.6},{alert}", verdict.score)
}

/// Reads rows one by one; the last one read is in its fields.
pub(crate) struct Rows<R> {
    input: R,
    pub(crate) metrics: Vec<String>,
    line: String,
    number: u64,
    pub(crate) seconds: i64,
    pub(crate) values: Vec<Option<f64>>,
}

impl<R: BufRead> Rows<R> {
    fn open(input: R) -> anyhow::Result<Self> {
        let mut rows = Rows {
            input,
            metrics: Vec::new(),
            line: String::new(),
            number: 0,
            seconds: i64::MIN,
            values: Vec::new(),
        };
        ensure!(
            rows.read_line()?,
            "line 1: the file is empty; write the header timestamp,<metric>,…"
        );
        rows.header().context("line 1")?;
        Ok(rows)
    }

    /// Reads the next row; false at the end of the file. Empty lines are passed over.
    pub(crate) fn next(&mut self) -> anyhow::Result<bool> {
        while self.read_line()? {
            if self.line.is_empty() {
                continue;
            }
            self.parse()
                .with_context(|| format!("line {}", self.number))?;
            return Ok(true);
        }
        Ok(false)
    }

    fn read_line(&mut self) -> anyhow::Result<bool> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.input)
            .take(LINE_BYTES_MAX)
            .read_line(&mut self.line)
            .with_context(|| format!("line {} cannot be read", self.number))?;
        ensure!(
            (read as u64) < LINE_BYTES_MAX,
            "line {} is longer than {LINE_BYTES_MAX} bytes",
            self.number
        );
        let bare = self.line.trim_end_matches(['\n', '\r']).len();
        self.line.truncate(bare);
        Ok(read > 0)
    }

    fn header(&mut self) -> anyhow::Result<()> {
        let mut names = self.line.split(',').map(|name| name.trim().to_owned());
        let first = names.next().unwrap_or_default();
        ensure!(
            first.trim_start_matches('\u{feff}') == "timestamp",
            "the first column is {first:?}; it has to be timestamp"
        );
        self.metrics = names.collect();
        ensure!(
            !self.metrics.is_empty(),
            "there is no metric after timestamp"
        );
        Ok(())
    }

    fn parse(&mut self) -> anyhow::Result<()> {
        let cells = self.line.split(',').count();
        let columns = self.metrics.len() + 1;
        ensure!(
            cells == columns,
            "{cells} cells where the header has {columns}"
        );
        let mut cells = self.line.split(',').map(str::trim);
        let first = cells.next().unwrap_or_default();
        let seconds = first
            .parse::<i64>()
            .map_err(|_| anyhow!("timestamp {first:?} is no whole number of seconds"))?;
        ensure!(
            (-SECONDS_MAX..=SECONDS_MAX).contains(&seconds),
            "timestamp {seconds} is out of range"
        );
        ensure!(
            seconds > self.seconds,
            "timestamp {seconds} is not after {}",
            self.seconds
        );
        self.seconds = seconds;
        self.values.clear();
        for (metric, cell) in self.metrics.iter().zip(cells) {
            let value =
                number(cell).map_err(|()| anyhow!("metric {metric}: {cell:?} is no number"))?;
            self.values.push(value);
        }
        Ok(())
    }
}

/// A cell; what is empty, not a number or infinite is missing.
fn number(cell: &str) -> Result<Option<f64>, ()> {
    if cell.is_empty() {
        return Ok(None);
    }
    let value: f64 = cell.parse().map_err(|_| ())?;
    Ok(value.is_finite().then_some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_are_numbers_or_missing() {
        assert_eq!(number(""), Ok(None));
        assert_eq!(number("nan"), Ok(None));
        assert_eq!(number("-1.5e3"), Ok(Some(-1500.0)));
        assert_eq!(number("1;5"), Err(()));
    }

    #[test]
    fn rows_are_read_with_either_line_ending() {
        let mut rows = Rows::open("timestamp,a,b\r\n0,1,\r\n\n60,,2".as_bytes()).unwrap();
        assert!(rows.next().unwrap());
        assert_eq!((rows.seconds, &rows.values), (0, &vec![Some(1.0), None]));
        assert!(rows.next().unwrap());
        assert_eq!((rows.seconds, &rows.values), (60, &vec![None, Some(2.0)]));
        assert!(!rows.next().unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let text = [b"timestamp,a\n".as_slice(), &bytes].concat();
            if let Ok(mut rows) = Rows::open(text.as_slice()) {
                while let Ok(true) = rows.next() {}
            }
        }
    }
}
