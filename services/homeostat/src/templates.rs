//! `homeostat logs templates`: which template each line of a file belongs to.
//!
//! What a template's text is, is known when all lines were read: positions become values on the way, and templates become part of
//! one another. So the lines' ids wait in an unnamed temporary file, eight bytes for each, and memory holds the miner alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use flate2::bufread::MultiGzDecoder;
use logs::{Settings, TemplateId, TemplateMiner};
use units::{LogSeverity, Timestamp};

use crate::exit::Failure;

/// Templates that are kept; beyond it the least useful are forgotten, and standard error says how many.
const TEMPLATES_MAX: usize = 20_000;
/// Bytes of a line that are held; what follows them is read and dropped.
const LINE_BYTES_MAX: u64 = 64 * 1_024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const STDIN: &str = "-";

/// Prints `id<TAB>template` for each line of each file, in their order.
pub(crate) fn templates(files: &[PathBuf]) -> Result<(), Failure> {
    let stdout = BufWriter::new(std::io::stdout().lock());
    match mine(files, stdout) {
        Ok(0) => Ok(()),
        Ok(forgotten) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(
                std::io::stderr(),
                "homeostat: {forgotten} templates were forgotten, because there are too many of them; their lines are printed with an \
                 empty one"
            );
            Ok(())
        }
        // A reader that has gone, as in `| head`, is no failure.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
}

/// Writes the answer for all files; answers how many templates were forgotten.
fn mine(files: &[PathBuf], mut out: impl Write) -> anyhow::Result<u64> {
    let mut miner = TemplateMiner::new(Settings {
        max_templates: TEMPLATES_MAX,
        ..Settings::default()
    });
    let spool = tempfile::tempfile().context("a temporary file for the lines' ids")?;
    let mut spool = BufWriter::new(spool);
    for file in files {
        read(file, &mut |line| {
            let seen = miner.observe(Timestamp::EPOCH, LogSeverity::Unknown, line);
            spool
                .write_all(&seen.id.as_u64().to_le_bytes())
                .context("writing the lines' ids to a temporary file; is its disk full?")
        })?;
    }
    let mut spool = spool
        .into_inner()
        .context("writing the lines' ids to a temporary file")?;
    spool.rewind()?;
    let texts: BTreeMap<TemplateId, String> = miner
        .templates()
        .map(|template| (template.id(), on_one_line(&template.text())))
        .collect();
    let mut spool = BufReader::new(spool);
    for _ in 0..miner.lines() {
        let mut id = [0; 8];
        spool
            .read_exact(&mut id)
            .context("reading the lines' ids back")?;
        let id = miner.resolve(TemplateId::from_u64(u64::from_le_bytes(id)));
        let text = texts.get(&id).map_or("", String::as_str);
        writeln!(out, "{id}\t{text}")?;
    }
    out.flush()?;
    Ok(miner.evicted())
}

/// Without characters that end a line or clear a terminal.
fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Hands each line of a file on.
fn read(file: &Path, each: &mut dyn FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if file == Path::new(STDIN) {
        return plain_or_gzip(std::io::stdin().lock(), "standard input", each);
    }
    let name = file.display().to_string();
    let metadata = std::fs::metadata(file).with_context(|| format!("opening {name}"))?;
    if metadata.is_dir() {
        return Err(anyhow!("{name} is a folder; name the files in it"));
    }
    let opened = File::open(file).with_context(|| format!("opening {name}"))?;
    plain_or_gzip(BufReader::new(opened), &name, each)
}

fn plain_or_gzip(
    mut input: impl BufRead,
    name: &str,
    each: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begins = input
        .fill_buf()
        .with_context(|| format!("reading {name}"))?;
    if begins.starts_with(&GZIP_MAGIC) {
        lines(BufReader::new(MultiGzDecoder::new(input)), name, each)
    } else {
        lines(input, name, each)
    }
}

fn lines(
    mut input: impl BufRead,
    name: &str,
    each: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        let told = || format!("reading line {number} of {name}");
        let taken = input
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        if taken.with_context(told)? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            input.skip_until(b'\n').with_context(told)?;
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        each(&String::from_utf8_lossy(&line))?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn mined(files: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
        let mut out = Vec::new();
        mine(files, &mut out)?;
        let split = |line: &str| {
            let (id, text) = line.split_once('\t').unwrap();
            (id.to_owned(), text.to_owned())
        };
        Ok(String::from_utf8(out).unwrap().lines().map(split).collect())
    }

    #[test]
    fn each_line_has_an_answer_and_each_template_one_text() {
        let folder = tempfile::tempdir().unwrap();
        let plain = file(
            folder.path(),
            "a.log",
            b"login of ann refused\r\n\nlogin of bob refused\nbad \xff\x0b 7\nlogin of cid refused\n",
        );
        let packed = file(
            folder.path(),
            "b.log.gz",
            &gzipped(b"login of dan refused\nlogin of eva refused\nlast 9"),
        );
        let rows = mined(&[plain, packed]).unwrap();
        let texts: Vec<&str> = rows.iter().map(|(_, text)| text.as_str()).collect();
        let login = "login of <*> refused";
        assert_eq!(
            texts,
            [
                login,
                "",
                login,
                "bad \u{fffd}\u{fffd} <*>",
                login,
                login,
                login,
                "last <*>"
            ]
        );
        assert!([2, 4, 5].iter().all(|index| rows[*index].0 == rows[0].0));
        assert_eq!(rows[0].0.len(), 16);
    }

    #[test]
    fn a_line_of_any_length_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![b'x'; 3 * usize::try_from(LINE_BYTES_MAX).unwrap()];
        bytes.extend(b"\nshort\n");
        let exact = [
            vec![b'y'; usize::try_from(LINE_BYTES_MAX).unwrap()],
            b"\nend".to_vec(),
        ];
        let files = [
            file(folder.path(), "long.log", &bytes),
            file(folder.path(), "exact.log", &exact.concat()),
            file(folder.path(), "empty.log", b""),
        ];
        assert_eq!(mined(&files).unwrap().len(), 4);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.log");
        let mut half = gzipped("a line of some length\n".repeat(2_000).as_bytes());
        half.truncate(half.len() - 12);
        let half = file(folder.path(), "half.log.gz", &half);
        for wrong in [absent, half, folder.path().to_owned()] {
            let error = mined(std::slice::from_ref(&wrong)).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains(&wrong.display().to_string()), "{text}");
        }
    }
}
