//! `homeostat replay`: what the present policy and another would have decided, over a recording. The replaying itself is
//! `controller::replay`; this is where it comes from, and the showing.

mod shown;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bus::Bus;
use bus::recording::{Ending, Gathered, RecordingError, RecordingReader, Span, gather};
use clap::Args;
use controller::replay::{Report, replay};
use serde::Serialize;
use units::Timestamp;

use crate::config::{self, Config, Sources};
use crate::exit::{Failure, complain};
use crate::models::log;
use crate::record;
use crate::table::{Output, print, print_json};
use crate::when::When;

/// The environment variable that names the configuration in force.
const CONFIG: &str = "HOMEOSTAT_CONFIG";
/// Settings of the policy; the others say where the log is.
const POLICY: &str = "controller.";
const LOG: &str = "log";

/// Options of `homeostat replay`.
///
/// The candidate is the file of --config with every --set. The present configuration is that of --present, else of HOMEOSTAT_CONFIG,
/// else the default one, with those --set that are not about the controller. Environment variables go for both.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A file that `homeostat record` made, or `log`: the log itself.
    #[arg(long, value_name = "FILE|log")]
    from: PathBuf,
    /// With `--from log`: since when, as a time or how long ago.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: When,
    /// The configuration in force.
    #[arg(long, value_name = "FILE")]
    present: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Where a recording came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Recording {
    /// The file, or `log`.
    source: String,
    /// Program and version that made it.
    made_by: Option<String>,
    /// Why it is not whole, when it is not.
    torn: Option<&'static str>,
    /// Frames of versions this homeostat does not know; they are left out.
    unknown_frames: u64,
    /// Where the present configuration comes from.
    present: String,
    /// Where the candidate comes from, when there is one.
    candidate: Option<String>,
}

/// All that is shown.
#[derive(Debug, Serialize)]
struct Shown {
    recording: Recording,
    #[serde(flatten)]
    report: Report,
}

/// The two configurations.
struct Configs {
    present: Config,
    candidate: Option<Config>,
    names: (String, Option<String>),
}

/// Replays, and shows what came of it.
pub(crate) fn run(options: &Options, given: Sources) -> Result<(), Failure> {
    let in_force = options
        .present
        .clone()
        .or_else(|| std::env::var_os(CONFIG).map(PathBuf::from));
    let configs = configs(given, in_force)?;
    let (mut recording, report) = match options.from == Path::new(LOG) {
        true => from_log(options, &configs)?,
        false => from_file(&options.from, &configs)?,
    };
    (recording.present, recording.candidate) = configs.names;
    let Some(report) = report else {
        return Err(Failure::Unreachable(nothing(&recording)));
    };
    if let Some(torn) = recording.torn {
        complain(&format!(
            "warning: {} is torn: {torn}; all before that is used",
            recording.source
        ));
    }
    let shown = Shown { recording, report };
    match options.output {
        Output::Json => print_json(&shown),
        Output::Table => print(&shown::text(&shown)),
    }
}

fn nothing(recording: &Recording) -> String {
    let torn = recording
        .torn
        .map_or_else(String::new, |why| format!(" (it is torn: {why})"));
    format!(
        "{} holds nothing of the time it is about{torn}; record a time in which collectors wrote: `homeostat record --output FILE --from TIME`",
        recording.source
    )
}

fn configs(given: Sources, in_force: Option<PathBuf>) -> Result<Configs, Failure> {
    let name = |file: &Option<PathBuf>| {
        let name = file.as_ref().map(|file| file.display().to_string());
        name.unwrap_or_else(|| "the default configuration".to_owned())
    };
    let (policy, others): (Vec<_>, Vec<_>) = given
        .flags
        .iter()
        .cloned()
        .partition(|(key, _)| key.starts_with(POLICY));
    let other_file = given.file.is_some() && given.file != in_force;
    let file = given.file.or_else(|| in_force.clone());
    let candidate = match other_file || !policy.is_empty() {
        true => {
            let set: Vec<String> = policy
                .iter()
                .map(|(key, value)| format!(" with {key}={value}"))
                .collect();
            let name = format!("{}{}", name(&file), set.concat());
            let flags = given.flags;
            Some((config::load(Sources { file, flags })?, name))
        }
        false => None,
    };
    let present_name = name(&in_force);
    let present = config::load(Sources {
        file: in_force,
        flags: others,
    })?;
    let (candidate, candidate_name) = candidate.unzip();
    Ok(Configs {
        present,
        candidate,
        names: (present_name, candidate_name),
    })
}

impl Configs {
    fn replay<E, I>(
        &self,
        open: impl Fn() -> Result<I, E>,
        from: Timestamp,
    ) -> Result<Option<Report>, E>
    where
        I: Iterator<Item = Result<bus::Record, E>>,
    {
        let candidate = self.candidate.as_ref().map(|config| &config.controller);
        replay(open, from, &self.present.controller, candidate)
    }
}

fn from_file(file: &Path, configs: &Configs) -> Result<(Recording, Option<Report>), Failure> {
    let description = RecordingReader::open(file)?.description().clone();
    let end: Rc<RefCell<(Option<Ending>, u64)>> = Rc::default();
    let open = || -> Result<_, RecordingError> {
        let mut reader = RecordingReader::open(file)?;
        let end = Rc::clone(&end);
        Ok(std::iter::from_fn(move || {
            let read = reader.read().transpose();
            if read.is_none() {
                *end.borrow_mut() = (reader.ending().cloned(), reader.unknown());
            }
            read
        }))
    };
    let report = configs.replay(open, Timestamp::from_millis(description.from_ms))?;
    let (ending, unknown_frames) = end.borrow().clone();
    let recording = Recording {
        source: file.display().to_string(),
        made_by: Some(description.made_by),
        torn: match ending {
            Some(Ending::Torn { why }) => Some(why),
            Some(Ending::Whole) | None => None,
        },
        unknown_frames,
        present: String::new(),
        candidate: None,
    };
    Ok((recording, report))
}

fn from_log(options: &Options, configs: &Configs) -> Result<(Recording, Option<Report>), Failure> {
    let now = kit::now();
    let from = options.since.resolve(now);
    let span = Span {
        from_ms: from.as_millis(),
        to_ms: now.as_millis(),
    };
    let wants = record::for_replay(&configs.present.controller);
    let gathered: Gathered = log::reading(&configs.present, async |bus: &Bus| {
        Ok(gather(bus, &wants, span, &std::env::temp_dir()).await?)
    })?;
    let open = || -> Result<_, RecordingError> {
        let mut merged = gathered.read()?;
        Ok(std::iter::from_fn(move || merged.read().transpose()))
    };
    let report = configs.replay(open, from)?;
    let recording = Recording {
        source: LOG.to_owned(),
        made_by: None,
        torn: None,
        unknown_frames: 0,
        present: String::new(),
        candidate: None,
    };
    Ok((recording, report))
}
