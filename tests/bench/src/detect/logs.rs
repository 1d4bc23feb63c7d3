//! Log lines a second through the template miner.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use logs::{Settings, TemplateMiner};
use units::{LogSeverity, Timestamp};

use super::per_second;

const TO_REACH: f64 = 300_000.0;
const MADE_LINES: u64 = 20_000;

pub(super) fn run() {
    let sets = match recorded() {
        sets if sets.is_empty() => vec![("made lines".to_owned(), made())],
        sets => sets,
    };
    for (name, lines) in sets {
        let mut miner = TemplateMiner::new(Settings::default());
        let rounds = per_second(|| {
            for line in &lines {
                miner.observe(Timestamp::EPOCH, LogSeverity::Unknown, line);
            }
        });
        let bytes: usize = lines.iter().map(String::len).sum();
        println!(
            "  {:<40} {:>10.0} {TO_REACH:>10}   lines/s; {} bytes a line, {} templates, {:.0} KiB",
            format!("templates of {name}"),
            rounds * lines.len() as f64,
            bytes / lines.len().max(1),
            miner.templates().count(),
            miner.memory_bytes() as f64 / 1024.0,
        );
    }
}

/// The lines of each system in the shared measuring data, and all of them together; none where it is absent.
fn recorded() -> Vec<(String, Vec<String>)> {
    let shared = std::env::var_os("HOMEOSTAT_SHARED").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = shared.unwrap_or_else(beside).join("data/logs/loghub2k");
    let Ok(entries) = folder.read_dir() else {
        println!(
            "  (no {}: lines are made; set HOMEOSTAT_SHARED to measure recorded ones)",
            folder.display()
        );
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut sets = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(system) = name.strip_suffix(".log.gz") {
            let mut bytes = Vec::new();
            GzDecoder::new(File::open(&path).unwrap())
                .read_to_end(&mut bytes)
                .unwrap();
            let text = String::from_utf8_lossy(&bytes);
            sets.push((system.to_owned(), text.lines().map(str::to_owned).collect()));
        }
    }
    let all = sets
        .iter()
        .flat_map(|(_, lines): &(String, Vec<String>)| lines.clone());
    sets.push(("all together".to_owned(), all.collect()));
    sets
}

/// Lines of a shop's service.
fn made() -> Vec<String> {
    let line = |n: u64| {
        let head = format!(
            "2026-01-02 03:04:{:02}.{:03} INFO [worker-{}]",
            n % 60,
            n % 1_000,
            n % 8
        );
        match n % 5 {
            0 => format!(
                "{head} shop.Cart: user {n} put {} items into cart {:x}",
                n % 9,
                n * 7_919
            ),
            1 => format!(
                "{head} shop.Http: 10.0.{}.7:{} GET /cart/{n} 200 in {} ms",
                n % 250,
                n % 60_000,
                n % 90
            ),
            2 => format!(
                "{head} shop.Store: read {} KB from /var/lib/shop/{n}.db, took {}.{} s",
                n % 512,
                n % 3,
                n % 10
            ),
            3 => format!(
                "{head} shop.Pay: payment of order={n} state=settled provider=bank-{}",
                n % 3
            ),
            _ => format!(
                "{head} shop.Job: job {n} finished, {} of {} steps done",
                n % 12,
                12
            ),
        }
    };
    (0..MADE_LINES).map(line).collect()
}
