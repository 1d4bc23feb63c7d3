//! Which files to score.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Folders below `series` that are gone into; a deeper one is an error, so that a loop of links ends.
const DEPTH_MAX: usize = 8;

/// A series to score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    /// Its path below `series` without the ending, such as `day/pod`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) packing: Packing,
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

/// Every series below `input/series`, by name.
pub(crate) fn series(input: &Path) -> anyhow::Result<Vec<Series>> {
    let folder = input.join("series");
    let mut found = BTreeMap::new();
    walk(&folder, "", 0, &mut found)?;
    if found.is_empty() {
        bail!("{}: no .csv or .csv.gz in there", folder.display());
    }
    Ok(found.into_values().collect())
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut BTreeMap<String, Series>,
) -> anyhow::Result<()> {
    let shown = folder.display();
    if depth > DEPTH_MAX {
        bail!("{shown}: more than {DEPTH_MAX} folders deep; move the series up");
    }
    let entries = fs::read_dir(folder).with_context(|| format!("{shown} cannot be read"))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("{shown} cannot be read"))?
            .path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else {
            bail!("{}: the name is no UTF-8; rename the file", path.display());
        };
        let name = format!("{prefix}{file}");
        if path.is_dir() {
            walk(&path, &format!("{name}/"), depth + 1, found)?;
            continue;
        }
        let Some((name, packing)) = ending(&name) else {
            continue;
        };
        let one = Series {
            name: name.to_owned(),
            path: path.clone(),
            packing,
        };
        if let Some(other) = found.insert(name.to_owned(), one) {
            bail!(
                "{} and {} are the same series; remove one",
                other.path.display(),
                path.display()
            );
        }
    }
    Ok(())
}

fn ending(name: &str) -> Option<(&str, Packing)> {
    match name.strip_suffix(".csv") {
        Some(bare) => Some((bare, Packing::Plain)),
        None => name
            .strip_suffix(".csv.gz")
            .map(|bare| (bare, Packing::Gzip)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_the_name_of_their_path() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("series/a/b")).unwrap();
        for name in ["z.csv.gz", "a/b/c.csv", "a/notes.txt"] {
            fs::write(root.path().join("series").join(name), "").unwrap();
        }
        let names: Vec<_> = series(root.path())
            .unwrap()
            .into_iter()
            .map(|one| (one.name, one.packing))
            .collect();
        assert_eq!(
            names,
            [
                ("a/b/c".to_owned(), Packing::Plain),
                ("z".to_owned(), Packing::Gzip)
            ]
        );
    }

    #[test]
    fn one_series_in_two_files_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("series")).unwrap();
        for name in ["x.csv", "x.csv.gz"] {
            fs::write(root.path().join("series").join(name), "").unwrap();
        }
        let told = series(root.path()).unwrap_err().to_string();
        assert!(told.contains("the same series"), "{told}");
    }
}
