//! Grouping accuracy on lines with their true templates, from shared measuring data that is no part of this repository.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "the model reads no files; its measuring does"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use logs::{Settings, TemplateMiner};
use units::{LogSeverity, Timestamp};

const SYSTEMS: [&str; 8] = [
    "Apache",
    "BGL",
    "HDFS",
    "Hadoop",
    "Linux",
    "OpenSSH",
    "Spark",
    "Zookeeper",
];
/// The least average over the systems, of whole lines and of messages without their headers.
const AVERAGE_MIN: f64 = 0.99;

/// `HOMEOSTAT_SHARED`, else the folder beside the repository's.
fn data() -> PathBuf {
    let shared = std::env::var_os("HOMEOSTAT_SHARED").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    shared.unwrap_or_else(beside).join("data/logs/loghub2k")
}

fn lines(path: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    let reader = BufReader::new(&bytes[..]);
    reader
        .split(b'\n')
        .map(|line| {
            String::from_utf8_lossy(&line.unwrap())
                .trim_end_matches('\r')
                .to_owned()
        })
        .collect()
}

/// The fields of a CSV line; quotes are doubled within quotes.
fn fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = all.last_mut().unwrap();
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            other => field.push(other),
        }
    }
    all
}

fn mined(lines: &[String]) -> Vec<String> {
    let mut miner = TemplateMiner::new(Settings::default());
    let mut observe = |line: &String| {
        let seen = miner.observe(Timestamp::EPOCH, LogSeverity::Unknown, line);
        seen.id
    };
    let ids: Vec<_> = lines.iter().map(&mut observe).collect();
    ids.into_iter()
        .map(|id| miner.resolve(id).to_string())
        .collect()
}

fn groups(names: &[String]) -> BTreeMap<&str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        groups.entry(name).or_default().push(index);
    }
    groups
}

/// The share of lines whose group is exactly the group of their true template.
fn accuracy(found: &[String], truth: &[String]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let true_groups = groups(truth);
    let right: usize = groups(found)
        .values()
        .filter(|group| true_groups[truth[group[0]].as_str()] == **group)
        .map(Vec::len)
        .sum();
    right as f64 / truth.len() as f64
}

#[test]
fn accuracy_counts_whole_groups_only() {
    let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    assert_eq!(accuracy(&names("aabb"), &names("xxyy")), 1.0);
    assert_eq!(accuracy(&names("aabc"), &names("xxyy")), 0.5);
    assert_eq!(accuracy(&names("aaab"), &names("xxyy")), 0.0);
}

#[test]
fn templates_group_lines_as_their_programs_wrote_them() {
    let data = data();
    if !data.is_dir() {
        println!(
            "skipped: there is no {}; set HOMEOSTAT_SHARED to the shared folder",
            data.display()
        );
        return;
    }
    let (mut of_lines, mut of_messages) = (0.0, 0.0);
    println!(
        "{:12}{:>8}{:>10}{:>10}",
        "system", "lines", "messages", "templates"
    );
    for system in SYSTEMS {
        let raw = lines(&data.join(format!("{system}.log.gz")));
        let table = lines(&data.join(format!("{system}_structured.csv.gz")));
        let rows: Vec<_> = table[1..].iter().map(|line| fields(line)).collect();
        let messages: Vec<_> = rows.iter().map(|row| row[1].clone()).collect();
        let truth: Vec<_> = rows.iter().map(|row| row[2].clone()).collect();
        let found = mined(&raw);
        let by_line = accuracy(&found, &truth);
        let by_message = accuracy(&mined(&messages), &truth);
        println!(
            "{system:12}{by_line:>8.4}{by_message:>10.4}{:>6}/{}",
            groups(&found).len(),
            groups(&truth).len()
        );
        of_lines += by_line / SYSTEMS.len() as f64;
        of_messages += by_message / SYSTEMS.len() as f64;
    }
    println!("{:12}{of_lines:>8.4}{of_messages:>10.4}", "average");
    assert!(of_lines >= AVERAGE_MIN && of_messages >= AVERAGE_MIN);
}
