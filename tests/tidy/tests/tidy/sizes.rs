//! Files and functions that one can take in.

use crate::source::{Source, all, none};

/// Lines of a file, without its tests.
const MAX_FILE_LINES: usize = 500;
/// Lines of a function, from `fn` to the brace that ends it.
const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn files_are_not_too_long() {
    let complaints: Vec<_> = all()
        .iter()
        .filter(|source| source.is_rust() && !source.is_test())
        .filter_map(|source| {
            let lines = source.code().count();
            (lines > MAX_FILE_LINES).then(|| {
                format!(
                    "{}: {lines} lines without tests are more than {MAX_FILE_LINES}",
                    source.path
                )
            })
        })
        .collect();
    none(&complaints);
}

#[test]
fn functions_fit_a_screen() {
    let sources = all();
    let sources = sources
        .iter()
        .filter(|source| source.is_rust() && !source.is_test());
    none(&sources.flat_map(long_functions).collect::<Vec<_>>());
}

/// Formatted code ends a function with a brace at the indentation of its `fn`.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.code().collect();
    let mut found = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if !begins_function(trimmed) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
        let length = lines[index..]
            .iter()
            .position(|(_, line)| *line == end)
            .map_or(1, |at| at + 1);
        let declared_only = lines[index..]
            .iter()
            .map(|(_, line)| line)
            .find_map(|line| {
                if line.contains('{') {
                    Some(false)
                } else {
                    line.ends_with(';').then_some(true)
                }
            });
        if length > MAX_FUNCTION_LINES && declared_only != Some(true) && !one_line(trimmed) {
            found.push(format!(
                "{}:{number}: a function of {length} lines is longer than {MAX_FUNCTION_LINES}",
                source.path
            ));
        }
    }
    found
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.any(|word| word == "fn")
        && line.split(" fn ").next().is_some_and(|before| {
            let before = before.trim_start_matches("fn ");
            before.split_whitespace().all(|word| {
                word.starts_with("pub")
                    || ["const", "async", "unsafe", "extern", "\"C\"", "in"].contains(&word)
                    || before.len() == line.len()
                    || line.starts_with("fn ")
            })
        })
}

fn one_line(line: &str) -> bool {
    line.contains('{') && line.ends_with('}')
}

#[test]
fn the_measure_works() {
    let body = "    x();\n".repeat(MAX_FUNCTION_LINES);
    let text =
        format!("pub(crate) async fn long(\n    a: u8,\n) {{\n{body}}}\n\nfn short() {{}}\n");
    let source = Source {
        path: "x.rs".to_owned(),
        text,
    };
    assert_eq!(
        long_functions(&source).len(),
        1,
        "{:?}",
        long_functions(&source)
    );
    let text = format!("trait T {{\n    fn declared(&self);\n}}\n{body}}}\n");
    let source = Source {
        path: "x.rs".to_owned(),
        text,
    };
    assert_eq!(long_functions(&source), [""; 0]);
}
