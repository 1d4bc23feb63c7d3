//! `homeostat signals ack`, `dismiss` and `feedback`.

use clap::{Args, Subcommand};
use console::api::{BarStatus, Heard, Remark};

use crate::ask::{get, post, show, trimmed};
use crate::cli::Ask;
use crate::exit::Failure;
use crate::explain::demanded;
use crate::table::with_heading;

/// What to say of signals, and what was said.
#[derive(Debug, Subcommand)]
pub(crate) enum FeedbackVerb {
    /// Say that you have seen a signal and see to it. It changes nothing for signals to come.
    Ack(Of),
    /// Say that a signal should not have been told: its like must last longer and show more before it is told again. That wears
    /// off within days, and what is critical is always told.
    Dismiss {
        #[command(flatten)]
        of: Of,
        /// Why, in a sentence.
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
    },
    /// What was dismissed, how often, and what it must show now to be told again.
    Feedback(Ask),
}

/// Which signal.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The signal's id, or enough of its beginning to tell it from others.
    signal: String,
    #[command(flatten)]
    ask: Ask,
}

/// Says it, or shows what was said.
pub(crate) fn run(verb: FeedbackVerb) -> Result<(), Failure> {
    match verb {
        FeedbackVerb::Ack(of) => say(&of, "ack", &Remark::default()),
        FeedbackVerb::Dismiss { of, because } => say(&of, "dismiss", &Remark { because }),
        FeedbackVerb::Feedback(ask) => feedback(&ask),
    }
}

fn say(of: &Of, word: &str, remark: &Remark) -> Result<(), Failure> {
    let heard: Heard = post(&of.ask, &format!("signals/{}/{word}", of.signal), remark)?;
    show(&of.ask, &heard, told)
}

fn told(heard: &Heard) -> String {
    let signal = &heard.listed.signal;
    let said = heard.listed.said.as_ref();
    let said = said.map_or("heard", |said| said.opinion.as_str());
    let about = format!("{} of {} is {said}", signal.kind, signal.subject);
    match &heard.bar {
        Some(bar) => format!(
            "{about}; until {} its like is told only when {}",
            bar.until,
            demanded(bar)
        ),
        None => about,
    }
}

fn feedback(ask: &Ask) -> Result<(), Failure> {
    let bars: Vec<BarStatus> = get(ask, "feedback")?;
    show(ask, &bars, |bars| table(bars))
}

fn table(bars: &[BarStatus]) -> String {
    if bars.is_empty() {
        return "no bar is raised; `homeostat signals dismiss ID` raises one".to_owned();
    }
    let mut table = with_heading(&[
        "subject",
        "kind",
        "dismissed",
        "raised",
        "until",
        "told only when",
        "because",
    ]);
    for bar in bars {
        let service = bar.subject.service.as_ref();
        let last = bar.subject.to_string();
        let subject = match service.map(ToString::to_string) {
            Some(service) if service != last => format!("{service} ({last})"),
            Some(_) | None => last,
        };
        table.add_row([
            subject,
            bar.kind.to_string(),
            bar.dismissed.to_string(),
            format!("{:.1} of {:.0}", bar.height, bar.height_max),
            bar.until.to_string(),
            demanded(bar),
            bar.because.clone().unwrap_or_default(),
        ]);
    }
    trimmed(&table)
}

#[cfg(test)]
mod tests {
    use units::{ServiceId, SignalKind, Subject, Timestamp};

    use super::*;

    #[test]
    fn bars_are_listed_with_what_they_ask_for() {
        let bar = BarStatus {
            kind: SignalKind::CrashLoop,
            subject: Subject::service(ServiceId::from("web")),
            dismissed: 3,
            dismissed_at: Timestamp::EPOCH,
            because: Some("it is a test".to_owned()),
            height: 2.5,
            height_max: 4.0,
            more_readings: 13,
            beyond: None,
            until: Timestamp::from_millis(1_700_000_000_000),
        };
        let shown = table(&[bar]);
        for part in [
            "web",
            "crash_loop",
            "2.5 of 4",
            "at least 13 more readings confirm it",
            "it is a test",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("bound"), "{shown}");
        assert!(table(&[]).starts_with("no bar is raised"));
    }
}
