//! Loading: read, overlay, deserialise, validate; and every problem on the way.

use std::path::Path as FilePath;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::de::{De, Findings};
use super::fault::{Fault, What};
use super::problem::{Origin, Problem, Problems};
use super::secret::{self, MASK};
use super::show::{Loaded, Origins, names_a_secret};
use super::tree::{Node, Path, Step, parse, same_line};
use super::{ENV_PREFIX, Sources, Validate};

/// Names less alike than this (from 0 to 1) are not suggested for each other, unless they are one slip apart.
const LIKE_ENOUGH: f64 = 0.75;
/// Where no name is alike, up to this many are listed.
const MAX_LISTED: usize = 12;

const UNKNOWN_KEY: &str = "unknown key";
const DID_YOU_MEAN: &str = "did you mean ";

/// Loads a configuration, or says everything that is wrong with it.
pub fn load<T>(sources: &Sources) -> Result<Loaded<T>, Problems>
where
    T: Serialize + DeserializeOwned + Default + Validate,
{
    let (root, mut problems) = read(sources);
    let broken: Vec<Origin> = problems.iter().map(|it| it.origin.clone()).collect();
    // A secret on the command line could be seen by every user of the host, so flags are not among these.
    let literals = overlaid(sources)
        .filter(|(origin, _, _)| matches!(origin, Origin::Env(_)))
        .map(|(_, _, text)| text.to_owned());
    let findings = Findings::default();
    let value = secret::surrounded(literals.collect(), sources.env.clone(), || {
        deserialise::<T>(&root, &findings, &mut problems)
    });
    if let Some(value) = &value {
        problems.extend(invalid(value, &root, &findings));
    }
    // What a half-written line turned into is not worth a second message.
    let (of_text, of_values) = problems.split_at(broken.len());
    let worth = |it: &&Problem| !broken.iter().any(|line| same_line(line, &it.origin));
    let problems: Vec<Problem> = of_text
        .iter()
        .chain(of_values.iter().filter(worth))
        .cloned()
        .collect();
    if let Some(value) = value
        && problems.is_empty()
    {
        return Ok(Loaded::new(value, Origins::of(&root)));
    }
    Err(Problems::new(problems))
}

/// The tree of all sources.
fn read(sources: &Sources) -> (Node, Vec<Problem>) {
    let (mut root, mut problems) = match &sources.file {
        None => (Node::table(Origin::Default), Vec::new()),
        Some(path) => read_file(path),
    };
    for (origin, path, text) in overlaid(sources) {
        if root.overlay(path.steps(), text, &origin).is_err() {
            problems.push(Problem {
                message: "cannot be set here: a key on the way to it is set to a value, or names an array element that is not there".to_owned(),
                suggestion: None,
                key: path.to_string(),
                origin,
            });
        }
    }
    (root, problems)
}

fn read_file(path: &FilePath) -> (Node, Vec<Problem>) {
    let refuse = |message: String, suggestion: &str| {
        let problem = Problem {
            origin: Origin::WholeFile(path.to_owned()),
            key: String::new(),
            message,
            suggestion: Some(suggestion.to_owned()),
        };
        (Node::table(Origin::Default), vec![problem])
    };
    match std::fs::read(path) {
        Err(error) => refuse(
            format!("cannot be read: {error}"),
            "name a file that exists and that this user may read",
        ),
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => parse(path, text),
            Err(error) => refuse(
                format!("is not UTF-8 text, from byte {} on", error.valid_up_to()),
                "save the file as UTF-8",
            ),
        },
    }
}

/// What variables and flags set, in the order in which they win.
fn overlaid(sources: &Sources) -> impl Iterator<Item = (Origin, Path, &str)> {
    let env = sources.env.iter().filter_map(|(name, text)| {
        let key = name.strip_prefix(ENV_PREFIX)?;
        let mut path = Path::default();
        for step in key.split("__") {
            path = path.key(&step.to_lowercase());
        }
        Some((Origin::Env(name.clone()), path, text.as_str()))
    });
    let mut env: Vec<_> = env.collect();
    env.sort_by(|a, b| a.0.cmp(&b.0));
    let flags = sources.flags.iter();
    let flags =
        flags.map(|(key, text)| (Origin::Flag(key.clone()), Path::parse(key), text.as_str()));
    env.into_iter().chain(flags)
}

/// Tries again without what is wrong until the rest can be read. Ends because each attempt leaves out at least
/// one value more, and gives up when nothing is left to leave out.
fn deserialise<T: DeserializeOwned>(
    root: &Node,
    findings: &Findings,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    loop {
        let attempt = T::deserialize(De {
            node: root,
            path: Path::default(),
            findings,
        });
        for (path, keys) in findings.take_unknown() {
            problems.push(unknown_key(root, &path, keys));
        }
        let fault = match attempt {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let buried = report(root, findings, fault, problems);
        if buried.steps().is_empty() || findings.is_dead(&buried) {
            return None;
        }
        findings.bury(buried);
    }
}

/// Notes what serde could not read, and says which value to leave out.
fn report(root: &Node, findings: &Findings, fault: Fault, problems: &mut Vec<Problem>) -> Path {
    let at = fault.at.clone().unwrap_or_default();
    let (key, message, suggestion) = match &fault.what {
        What::UnknownKey(key, keys) => {
            let path = at.key(key);
            problems.push(unknown_key(root, &path, keys));
            // A key that is not in the file stands in a variable's text, which is left out as a whole.
            return if root.find(&path).is_some() { path } else { at };
        }
        // Its cause was reported: something it was made of was left out.
        What::MissingKey(key) if findings.is_dead(&at.key(key)) => return at,
        What::MissingKey(key) if is_suggested(problems, &at.key(key)) => return at,
        What::WrongValue(..) | What::WrongLength(_) | What::Other(_) if findings.touches(&at) => {
            return at;
        }
        What::MissingKey(key) => {
            let message = "is missing and has no default".to_owned();
            (at.key(key), message, None)
        }
        What::UnknownChoice(choice, choices) => {
            let message = format!("unknown value {choice}");
            let given = choice.trim_matches('"');
            (
                at.clone(),
                message,
                Some(offer(given, choices, |it| format!("\"{it}\""))),
            )
        }
        What::WrongValue(want, have) => {
            let have = if names_a_secret(&at) { MASK } else { have };
            (at.clone(), format!("expected {want}, found {have}"), None)
        }
        What::WrongLength(message) => (at.clone(), message.clone(), None),
        What::Other(message) => {
            let help = (message == secret::LITERAL).then(|| secret::HELP.to_owned());
            (at.clone(), message.clone(), help)
        }
    };
    problems.push(Problem {
        origin: Origins::of(root).get(&at),
        key: key.to_string(),
        message,
        suggestion,
    });
    at
}

/// True when the key is there under a misspelt name that was reported.
fn is_suggested(problems: &[Problem], path: &Path) -> bool {
    let quoted = format!("`{path}`");
    problems.iter().any(|it| {
        it.message == UNKNOWN_KEY
            && it
                .suggestion
                .as_ref()
                .is_some_and(|it| it.starts_with(DID_YOU_MEAN) && it.contains(&quoted))
    })
}

fn unknown_key(root: &Node, path: &Path, keys: &'static [&'static str]) -> Problem {
    // A table within a variable's text has no place of its own but the variable's.
    let found = root.find(path).map(|it| it.1.clone());
    let origin = found.unwrap_or_else(|| Origins::of(root).get(path));
    let parent = path.parent().unwrap_or_default();
    let last = match path.steps().last() {
        Some(Step::Key(key)) => key.as_str(),
        Some(Step::Index(_)) | None => "",
    };
    let suggestion = offer(last, keys, |key| match &origin {
        Origin::Env(_) => format!("`{}`", variable(&parent.key(key))),
        Origin::File { .. } | Origin::WholeFile(_) | Origin::Flag(_) | Origin::Default => {
            format!("`{}`", parent.key(key))
        }
    });
    Problem {
        key: path.to_string(),
        message: UNKNOWN_KEY.to_owned(),
        suggestion: Some(suggestion),
        origin,
    }
}

/// The variable that sets a key.
fn variable(path: &Path) -> String {
    let steps = path.steps().iter().map(|step| match step {
        Step::Key(key) => key.to_uppercase(),
        Step::Index(index) => index.to_string(),
    });
    format!("{ENV_PREFIX}{}", steps.collect::<Vec<_>>().join("__"))
}

/// The nearest of the names there are, else the names.
fn offer(given: &str, names: &[&str], show: impl Fn(&str) -> String) -> String {
    let given = given.to_lowercase();
    // Jaro-Winkler knows abbreviations, Damerau-Levenshtein slips of the hand.
    let likeness = |name: &str| {
        strsim::jaro_winkler(&given, name).max(strsim::normalized_damerau_levenshtein(&given, name))
    };
    let is_like = |name: &str| {
        likeness(name) >= LIKE_ENOUGH || strsim::damerau_levenshtein(&given, name) <= 1
    };
    let nearest = names
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(name) if is_like(name) => format!("{DID_YOU_MEAN}{}?", show(name)),
        Some(_) => {
            let listed: Vec<String> = names.iter().take(MAX_LISTED).map(|it| show(it)).collect();
            let more = if names.len() > MAX_LISTED {
                ", ..."
            } else {
                ""
            };
            format!("use one of {}{more}", listed.join(", "))
        }
        None => "remove it".to_owned(),
    }
}

/// What the type's own checks find, but for values that stand for others already reported.
fn invalid(value: &impl Validate, root: &Node, findings: &Findings) -> Vec<Problem> {
    let origins = Origins::of(root);
    let mut problems = Vec::new();
    for found in value.problems() {
        let path = Path::parse(&found.key);
        if findings.touches(&path) {
            continue;
        }
        problems.push(Problem {
            origin: origins.get(&path),
            key: path.to_string(),
            message: found.message,
            suggestion: Some(found.suggestion).filter(|it| !it.is_empty()),
        });
    }
    problems
}
