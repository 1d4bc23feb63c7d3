//! What must not stand in a text.

use crate::source::{all, none};

/// In pieces, so that this file does not find itself.
const BANNED: [(&str, &str); 5] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("#[ign", "ore"), "a test that is not run"),
    (
        concat!("TO", "DO"),
        "work that is not done: do it, or say in prose what is not there",
    ),
    (
        concat!("FIX", "ME"),
        "work that is not done: do it, or say in prose what is not there",
    ),
    (concat!("unimple", "mented!"), "a stub"),
];

#[test]
fn nothing_banned_stands_anywhere() {
    let mut complaints = Vec::new();
    for source in all() {
        if source.path == "Cargo.lock" {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            for (text, why) in BANNED {
                if line.contains(text) {
                    complaints.push(format!("{}:{}: {text:?} is {why}", source.path, index + 1));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_crate_says_what_it_does() {
    let complaints: Vec<_> = all()
        .iter()
        .filter(|source| {
            source.path.ends_with("src/lib.rs") || source.path.ends_with("src/main.rs")
        })
        .filter(|source| {
            source
                .text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .count()
                < 2
        })
        .map(|source| {
            format!(
                "{}: opens without saying what the crate does and does not",
                source.path
            )
        })
        .collect();
    none(&complaints);
}

#[test]
fn scripts_stop_at_the_first_error() {
    let complaints: Vec<_> = all()
        .iter()
        .filter(|source| source.text.starts_with("#!") && source.text.contains("bash"))
        .filter(|source| !source.text.contains("set -euo pipefail"))
        .map(|source| format!("{}: lacks `set -euo pipefail`", source.path))
        .collect();
    none(&complaints);
}
