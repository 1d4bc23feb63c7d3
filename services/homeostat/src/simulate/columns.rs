//! Columns of numbers in CSV files, packed or not.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use flate2::read::MultiGzDecoder;

/// Rows of one file: far beyond any recorded fleet. A longer file is refused.
const ROWS_MAX: usize = 10_000_000;
/// Unpacked bytes of one file. A larger file is cut here, and its last row told as broken.
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// The named columns of every row. A file that ends in `.gz` is unpacked. Errors name file, line and column.
pub(super) fn read<const N: usize>(path: &Path, names: [&str; N]) -> anyhow::Result<Vec<[f64; N]>> {
    let (rows, _) = read_and(path, names, None)?;
    Ok(rows)
}

/// The named columns of every row, the rows in the order of another column where the file has it; of equals the first goes first.
pub(super) fn read_by<const N: usize>(
    path: &Path,
    names: [&str; N],
    order: &str,
) -> anyhow::Result<Vec<[f64; N]>> {
    let (rows, keys) = read_and(path, names, Some(order))?;
    let Some(keys) = keys else { return Ok(rows) };
    let mut positions: Vec<usize> = (0..rows.len()).collect();
    positions.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    Ok(positions.into_iter().map(|at| rows[at]).collect())
}

type Columns<const N: usize> = (Vec<[f64; N]>, Option<Vec<f64>>);

fn read_and<const N: usize>(
    path: &Path,
    names: [&str; N],
    order: Option<&str>,
) -> anyhow::Result<Columns<N>> {
    let shown = path.display();
    let file = File::open(path)
        .with_context(|| format!("{shown} cannot be opened; give the path of a CSV file"))?;
    let file = BufReader::new(file);
    let bytes: Box<dyn Read> = match path.extension().is_some_and(|it| it == "gz") {
        true => Box::new(MultiGzDecoder::new(file).take(BYTES_MAX)),
        false => Box::new(file.take(BYTES_MAX)),
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let heading = reader
        .headers()
        .with_context(|| format!("{shown}:1: no heading can be read"))?
        .clone();
    let column = |name: &str| heading.iter().position(|it| it == name);
    let mut positions = [0; N];
    for (position, name) in positions.iter_mut().zip(names) {
        *position = column(name).ok_or_else(|| {
            anyhow!(
                "{shown}:1: there is no column {name}; write {}",
                names.join(",")
            )
        })?;
    }
    let order = order.and_then(column);
    let mut rows = Vec::new();
    let mut keys = Vec::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("{shown}: a row cannot be read"))?;
        let line = record.position().map_or(0, csv::Position::line);
        ensure!(
            rows.len() < ROWS_MAX,
            "{shown}:{line}: more than {ROWS_MAX} rows; split the file"
        );
        let number = |at: usize| number(&record[at], &heading[at], &shown.to_string(), line);
        let mut row = [0.0; N];
        for (value, at) in row.iter_mut().zip(positions) {
            *value = number(at)?;
        }
        rows.push(row);
        if let Some(order) = order {
            keys.push(number(order)?);
        }
    }
    if rows.is_empty() {
        bail!("{shown} has no rows; write one for each under its heading");
    }
    Ok((rows, order.map(|_| keys)))
}

fn number(cell: &str, name: &str, path: &str, line: u64) -> anyhow::Result<f64> {
    let value: Option<f64> = cell.parse().ok();
    value
        .filter(|it| it.is_finite() && *it >= 0.0)
        .ok_or_else(|| anyhow!("{path}:{line}: {name} is {cell:?}; write a number from 0 on"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn columns_are_found_by_name_and_rows_put_in_order() {
        let (_folder, path) = file("a.csv", "b,t,a\n1,5,2\n3,4,4\n5,4,6\n");
        assert_eq!(
            read_by(&path, ["a", "b"], "t").unwrap(),
            [[4.0, 3.0], [6.0, 5.0], [2.0, 1.0]]
        );
        assert_eq!(
            read_by(&path, ["a"], "absent").unwrap(),
            read(&path, ["a"]).unwrap()
        );
    }

    #[test]
    fn packed_files_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        let file = File::create(&path).unwrap();
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(b"a\n7\n").unwrap();
        packer.finish().unwrap();
        assert_eq!(read(&path, ["a"]).unwrap(), [[7.0]]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("a\n1\nx\n", "a.csv:3: a is \"x\""),
            ("a\n-1\n", "a.csv:2: a is \"-1\""),
            ("b\n1\n", "a.csv:1: there is no column a; write a"),
            ("a\n", "has no rows"),
        ] {
            let (_folder, path) = file("a.csv", text);
            let error = format!("{:#}", read(&path, ["a"]).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
        let error = read(Path::new("/nowhere.csv"), ["a"]).unwrap_err();
        assert!(error.to_string().contains("/nowhere.csv cannot be opened"));
    }
}
