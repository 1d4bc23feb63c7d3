//! `homeostat record`: what the log holds of a time, into one file. The file's format is `bus::recording`'s.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bus::Bus;
use bus::recording::{Before, Description, Gathered, RecordingWriter, Span, Want, gather};
use clap::Args;
use controller::sources::{Back, sources};
use kit::config::HumanDuration;
use units::Timestamp;
use wire::topic;

use crate::config::{self, Sources};
use crate::exit::{Failure, complain};
use crate::models::log;
use crate::table::print;
use crate::when::When;

/// What begins each topic's name.
const PREFIX: &str = "homeostat.";
/// What is recorded unless told otherwise: all that decisions were made from, and the decisions.
const TOPICS: [&str; 8] = [
    topic::SIGNALS,
    topic::FORECASTS,
    topic::INVENTORY,
    topic::EVENTS,
    topic::OUTCOMES,
    topic::COMMANDS,
    topic::JOURNAL,
    topic::ELECTION,
];

/// Options of `homeostat record`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file to write. It must not exist; its directory needs room for it twice.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// When it begins: a time such as 2026-03-01T08:00:00Z, or how long ago, such as 7d. What a controller would have read from
    /// before is recorded too. The log keeps forecasts for a day, most other topics for a week.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    from: When,
    /// When it ends; now, unless told otherwise.
    #[arg(long, value_name = "TIME")]
    to: Option<When>,
    /// How long it is, instead of --to.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "to")]
    duration: Option<HumanDuration>,
    /// Topics, without `homeostat.`: by default all that a replay needs. `samples` and `logs` are large.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    topics: Vec<String>,
}

/// Records.
pub(crate) fn run(options: &Options, from: Sources) -> Result<(), Failure> {
    let config = config::load(from)?;
    let span = span(options, kit::now())?;
    let wants = wants(&options.topics, &config.controller)?;
    // The file is made last; whoever waits for the log should not learn then that it cannot be.
    if options.output.exists() {
        let path = options.output.clone();
        return Err(bus::recording::RecordingError::Exists { path }.into());
    }
    let directory = match options.output.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let told = log::reading(&config, async |bus: &Bus| {
        let gathered = gather(bus, &wants, span, &directory).await?;
        write(&gathered, span, &options.output)
    })?;
    print(&told)
}

/// All that a replay reads, out of the log.
pub(crate) fn for_replay(config: &controller::Config) -> Vec<Want> {
    let all = TOPICS.map(|topic| want(topic, config));
    all.into()
}

fn write(gathered: &Gathered, span: Span, output: &Path) -> Result<String, Failure> {
    let [from, to] = [span.from_ms, span.to_ms].map(Timestamp::from_millis);
    let total: u64 = gathered.records.values().sum();
    if total == 0 {
        return Err(Failure::Unreachable(format!(
            "the log holds nothing from {from} to {to}; `homeostat status` says whether collectors write, --from and --to choose another time"
        )));
    }
    for topic in &gathered.absent {
        complain(&format!(
            "warning: the log has no topic {topic}; it is left out"
        ));
    }
    let description = Description {
        from_ms: span.from_ms,
        to_ms: span.to_ms,
        made_by: format!("homeostat/{}", env!("CARGO_PKG_VERSION")),
    };
    let mut writer = RecordingWriter::create(output, &description)?;
    let mut merged = gathered.read()?;
    while let Some(record) = merged.read()? {
        writer.write(&record)?;
    }
    let written = writer.finish()?;
    let bytes = std::fs::metadata(output)
        .with_context(|| format!("cannot look at {}", output.display()))?
        .len();
    let by_topic: Vec<String> = gathered
        .records
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(topic, count)| format!("{} {count}", topic.trim_start_matches(PREFIX)))
        .collect();
    Ok(format!(
        "{}: {written} records from {from} to {to}, {bytes} bytes ({})",
        output.display(),
        by_topic.join(", ")
    ))
}

fn span(options: &Options, now: Timestamp) -> Result<Span, Failure> {
    let from = options.from.resolve(now);
    let to = match (options.to, options.duration) {
        (Some(to), _) => to.resolve(now),
        (None, Some(duration)) => from + duration.get(),
        (None, None) => now,
    };
    if to > now {
        return Err(Failure::Usage(format!(
            "the recording would end at {to}, and it is {now}: the log holds nothing of what is to come; record it afterwards, or give an earlier --from"
        )));
    }
    if to <= from {
        return Err(Failure::Usage(format!(
            "the recording would begin at {from} and end at {to}; give a --from before --to"
        )));
    }
    Ok(Span {
        from_ms: from.as_millis(),
        to_ms: to.as_millis(),
    })
}

fn wants(names: &[String], config: &controller::Config) -> Result<Vec<Want>, Failure> {
    if names.is_empty() {
        return Ok(for_replay(config));
    }
    let known: Vec<&str> = topic::all(1).iter().map(|spec| spec.name).collect();
    let mut wants: Vec<Want> = Vec::new();
    for name in names {
        let full = format!("{PREFIX}{}", name.trim_start_matches(PREFIX));
        if !known.contains(&full.as_str()) {
            let short: Vec<&str> = known
                .iter()
                .map(|it| it.trim_start_matches(PREFIX))
                .collect();
            return Err(Failure::Usage(format!(
                "there is no topic {name:?}; --topics takes {}",
                short.join(", ")
            )));
        }
        if wants.iter().all(|want| want.topic != full) {
            wants.push(want(&full, config));
        }
    }
    Ok(wants)
}

/// A topic, from as far back as a controller reads it; of those it does not read, nothing from before.
fn want(name: &str, config: &controller::Config) -> Want {
    let source = sources(config).into_iter().find(|it| it.topic == name);
    let before = match source.map(|source| source.back) {
        Some(Back::Everything) => Before::Newest,
        Some(Back::For(back)) => Before::For(back),
        None => Before::For(Duration::ZERO),
    };
    Want {
        topic: name.to_owned(),
        before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn options(from: &str, to: Option<&str>, duration: Option<&str>) -> Options {
        Options {
            output: PathBuf::from("a.rec"),
            from: from.parse().unwrap(),
            to: to.map(|to| to.parse().unwrap()),
            duration: duration.map(|duration| duration.parse().unwrap()),
            topics: Vec::new(),
        }
    }

    fn told(failure: Result<impl std::fmt::Debug, Failure>) -> String {
        match failure.unwrap_err() {
            Failure::Usage(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_recording_ends_now_or_when_it_is_told_and_never_before_it_begins() {
        let hours = |options: Options| {
            let span = span(&options, NOW).unwrap();
            [span.from_ms, span.to_ms].map(|ms| (NOW.as_millis() - ms) / 3_600_000)
        };
        assert_eq!(hours(options("24h", None, None)), [24, 0]);
        assert_eq!(hours(options("24h", Some("2h"), None)), [24, 2]);
        assert_eq!(hours(options("24h", None, Some("1h"))), [24, 23]);
        let ahead = told(span(&options("1h", None, Some("2h")), NOW));
        assert!(ahead.contains("record it afterwards"), "{ahead}");
        let turned = told(span(&options("1h", Some("2h"), None), NOW));
        assert!(turned.contains("--from before --to"), "{turned}");
    }

    #[test]
    fn topics_are_named_with_or_without_their_prefix() {
        let config = controller::Config::default();
        let names = ["samples", "homeostat.inventory", "samples"].map(str::to_owned);
        let wants = wants(&names, &config).unwrap();
        assert_eq!(wants.len(), 2);
        assert_eq!(wants[0].before, Before::For(Duration::ZERO));
        assert_eq!(wants[1].before, Before::Newest);
        let wrong = told(super::wants(&["smaples".to_owned()], &config));
        assert!(
            wrong.contains("samples, logs") && wrong.contains("smaples"),
            "{wrong}"
        );
    }
}
