//! A recorded load, read from a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use csv::{ReaderBuilder, StringRecord, Trim};
use flate2::read::MultiGzDecoder;

/// Seconds of a load; a longer one does not fit memory. A year and a month.
const SECONDS_MAX: usize = 400 * 86_400;
/// How a gzipped file begins (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const RATE: &str = "requests_per_second";

/// Requests of each second.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) per_second: Vec<f64>,
    /// Seconds between the rows it was read from.
    pub(super) step_s: u64,
}

/// Reads a load. Errors name the line and what to write there.
pub(super) fn read(path: &Path) -> anyhow::Result<Load> {
    let file = File::open(path).context("cannot be opened")?;
    let mut bytes = BufReader::new(file);
    let packed = bytes
        .fill_buf()
        .context("cannot be read")?
        .starts_with(&GZIP);
    if packed {
        rows(BufReader::new(MultiGzDecoder::new(bytes)))
    } else {
        rows(bytes)
    }
}

fn rows(bytes: impl Read) -> anyhow::Result<Load> {
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .trim(Trim::All)
        .from_reader(bytes);
    let header = reader.headers().context("line 1 cannot be read")?.clone();
    let is_rate = is_rate(&header).context("line 1")?;
    let mut steps = Steps::default();
    let mut values = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let value = row(&record, &mut steps).with_context(|| format!("line {line}"))?;
        values.push(value);
        let seconds = values.len() as u64 * steps.step_s.unwrap_or(1);
        ensure!(
            seconds <= SECONDS_MAX as u64,
            "line {line}: more than {SECONDS_MAX} s; cut the load"
        );
    }
    let step_s = steps.step_s.unwrap_or(1);
    if step_s == 1 {
        let per_second = values;
        return Ok(Load { per_second, step_s });
    }
    ensure!(
        is_rate,
        "its rows are {step_s} s apart and count requests; write {RATE} in line 1 if they are rates, or one row for every second"
    );
    Ok(Load {
        per_second: drawn_out(&values, step_s),
        step_s,
    })
}

/// Whether the second column is a rate; otherwise it is a number of requests.
fn is_rate(header: &StringRecord) -> anyhow::Result<bool> {
    let names: Vec<&str> = header.iter().collect();
    match names[..] {
        ["second" | "timestamp", "requests"] => Ok(false),
        ["second" | "timestamp", RATE] => Ok(true),
        _ => bail!("the columns are {names:?}; write second,requests"),
    }
}

/// The time from row to row.
#[derive(Debug, Default)]
struct Steps {
    last_s: Option<i64>,
    step_s: Option<u64>,
}

impl Steps {
    fn take(&mut self, second: i64) -> anyhow::Result<()> {
        let Some(last) = self.last_s.replace(second) else {
            return Ok(());
        };
        let step = u64::try_from(second.saturating_sub(last)).unwrap_or(0);
        ensure!(step > 0, "second {second} is not after {last}");
        let usual = *self.step_s.get_or_insert(step);
        ensure!(
            step == usual,
            "second {second} follows {last}, but the rows before are {usual} s apart; fill in what is missing"
        );
        Ok(())
    }
}

fn row(record: &StringRecord, steps: &mut Steps) -> anyhow::Result<f64> {
    let cells: Vec<&str> = record.iter().collect();
    let [second, requests] = cells[..] else {
        bail!("{} cells; write second,requests", cells.len());
    };
    let at: i64 = second
        .parse()
        .map_err(|_| anyhow!("{second:?} is no whole number of seconds"))?;
    steps.take(at)?;
    let value: f64 = requests
        .parse()
        .map_err(|_| anyhow!("{requests:?} is no number of requests"))?;
    ensure!(
        value.is_finite() && value >= 0.0,
        "{requests} requests cannot have arrived"
    );
    Ok(value)
}

/// Rates stand at the middle of their step, and change evenly from one to the next; before the first and after the last nothing does.
fn drawn_out(rates: &[f64], step_s: u64) -> Vec<f64> {
    let last = rates.len().saturating_sub(1);
    let seconds = 0..rates.len() as u64 * step_s;
    seconds
        .map(|second| {
            let place = (second as f64 / step_s as f64 - 0.5).clamp(0.0, last as f64);
            let below = rates[place as usize];
            let above = rates[(place as usize + 1).min(last)];
            below + (above - below) * place.fract()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> String {
        format!("{:#}", rows(text.as_bytes()).unwrap_err())
    }

    #[test]
    fn seconds_are_read_as_they_are_gzipped_or_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("load");
        let text = "second,requests\n0,52\n1,55\n2,0\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().per_second, [52.0, 55.0, 0.0]);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        assert_eq!(read(&path).unwrap().per_second, [52.0, 55.0, 0.0]);
    }

    #[test]
    fn coarser_rates_are_drawn_out_and_coarser_counts_refused() {
        let load = rows("timestamp,requests_per_second\n60,10\n64,18\n".as_bytes()).unwrap();
        assert_eq!(load.step_s, 4);
        let expected = [10.0, 10.0, 10.0, 12.0, 14.0, 16.0, 18.0, 18.0];
        assert_eq!(load.per_second, expected);
        assert!(told("second,requests\n0,1\n60,1\n").contains("60 s apart"));
    }

    #[test]
    fn wrong_rows_are_told_with_their_line() {
        for (text, part) in [
            ("time,load\n", "line 1: the columns are"),
            (
                "second,requests\n0,1\n1,1\n3,1\n",
                "line 4: second 3 follows 1",
            ),
            (
                "second,requests\n1,1\n1,1\n",
                "line 3: second 1 is not after 1",
            ),
            ("second,requests\n0,many\n", "line 2: \"many\" is no number"),
            ("second,requests\n0,-1\n", "line 2: -1 requests cannot"),
            ("second,requests\n0,1,2\n", "line 2: 3 cells"),
        ] {
            let told = told(text);
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // Whether they are a load does not matter here.
            let _ = rows([b"second,requests\n".as_slice(), &bytes].concat().as_slice());
        }
    }
}
