//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use units::Mode;

use crate::exit::Failure;
use crate::feedback::FeedbackVerb;
use crate::process::Role;
use crate::table::{Output, print};
use crate::{
    approve, ask, ask_incidents, config, demo, evaluate, explain, feedback, members, models, node,
    nodes, process, record, replay, score, simulate, templates, train, update, why_not,
};

const AFTER_HELP: &str = "\
Exit status: 0 done; 1 tried and failed; 2 wrong command line or configuration, nothing was done;
3 the console, or what it was asked for, is not there.

Settings come from the file of --config, then HOMEOSTAT__SECTION__KEY variables, then --set; `homeostat config show`
tells each with where it came from.";

/// Keeps containers on plain Docker hosts healthy and right-sized.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, about, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file (TOML).
    #[arg(
        long,
        short,
        global = true,
        env = "HOMEOSTAT_CONFIG",
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// One setting, such as `--set collector.interval=2s`; may be given again.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run every role in this process over the log on this machine's disk.
    Up(Up),
    /// Read this node's containers and write what they do to the log.
    Collector,
    /// Find what is out of the ordinary and say why.
    Analytics,
    /// Decide what to do about it.
    Controller,
    /// Carry decisions out on this node's engine.
    Actuator,
    /// Tell people.
    Notifier,
    /// Serve the page and the API that the verbs below ask.
    Console,
    /// The fleet at a glance.
    Status(Ask),
    /// Every node: what room it has, whether it may be lost, and which moves would be worth it. Nothing is moved.
    Nodes(Ask),
    /// Cordon a node, drain it, or open it again.
    #[command(subcommand)]
    Node(node::Node),
    /// Every service: what is allowed, what runs, its load.
    Services(Ask),
    /// Which containers serve a service, in which state, and where each is reached.
    Members(members::Members),
    /// What is out of the ordinary now; and what you say of it.
    Signals(Signals),
    /// Signals that belong together, each incident with its probable causes.
    Incidents(Incidents),
    /// What was done or suggested, why, and whether it helped; and what you let be done.
    Actions(Actions),
    /// Roll another image out to a service: one replica first, the others while all goes well, and back by itself where it does not.
    Update(update::To),
    /// Roll the image out again that a service ran before its last update.
    Rollback(update::Back),
    /// What was ordered with the two verbs above, and how far it has come.
    Updates(Ask),
    /// Why nothing more is done about a service: every lock, wait and budget before an action.
    WhyNot(WhyNot),
    /// One signal in full: evidence, what was done, and what came of its like.
    Explain(Explain),
    /// Look at log files.
    #[command(subcommand)]
    Logs(LogsVerb),
    /// Score series in files with the detector for arbitrary series, to measure it.
    Score(score::Options),
    /// Train the model of a service on its history.
    Train(train::Options),
    /// The trained models that are in the log.
    Models(models::Options),
    /// Write what the log holds of a time to one file.
    Record(record::Options),
    /// Try a policy on what was recorded: what it would have decided, beside what happened.
    Replay(replay::Options),
    /// What a policy would have made of a recorded load, beside its rivals.
    #[command(subcommand)]
    Simulate(simulate::Simulate),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print the completion script of a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Say how good a detector's scores are on a labelled set.
    Evaluate(evaluate::Options),
    /// Run the demonstration on a stack of containers made for it.
    Demo(demo::Options),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The most that is done, whatever max_mode is configured; labels may allow less, never more.
    #[arg(long, value_enum, default_value_t = ModeArg::Observe)]
    mode: ModeArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    /// Touch nothing, show signals.
    Observe,
    /// Say what would be done.
    Suggest,
    /// Do it.
    Act,
}

impl ModeArg {
    fn mode(self) -> Mode {
        match self {
            ModeArg::Observe => Mode::Observe,
            ModeArg::Suggest => Mode::Suggest,
            ModeArg::Act => Mode::Act,
        }
    }
}

/// How to ask the console.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Where the console is.
    #[arg(
        long,
        env = "HOMEOSTAT_CONSOLE",
        default_value = "http://127.0.0.1:8600",
        value_name = "URL"
    )]
    pub(crate) console: String,
    /// For people or for programs.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Signals {
    #[command(subcommand)]
    verb: Option<FeedbackVerb>,
    /// Those that are over too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Incidents {
    #[command(subcommand)]
    verb: Option<IncidentsVerb>,
    /// Those that are over too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum IncidentsVerb {
    /// One incident in full: every cause with its evidence, its signals, what was done.
    Show {
        /// The incident's id or that of one of its signals, or enough of its beginning to tell it from others.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
}

impl Incidents {
    fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            Some(IncidentsVerb::Show { id, ask }) => ask_incidents::one(ask, id),
            None if self.all => ask_incidents::list(&self.ask, ask::Which::All),
            None => ask_incidents::list(&self.ask, ask::Which::Open),
        }
    }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Actions {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    verb: Option<approve::ActionsVerb>,
}

#[derive(Debug, Args)]
pub(crate) struct WhyNot {
    /// The service's name, as `homeostat services` lists it.
    service: String,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The signal's id, or enough of its beginning to tell it from others.
    signal: String,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Report every error with where it is and what to write.
    Check,
    /// Every setting with where it came from; secrets are masked.
    Show {
        /// For people or for programs.
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
enum LogsVerb {
    /// Print which template each line belongs to: one line for each, its template's id, a tab, and the template with `<*>` where
    /// values stand. All files are read before the first is printed.
    Templates {
        /// Log files, plain or gzipped; `-` is standard input.
        #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
        input: Vec<PathBuf>,
    },
}

/// Carries out what the command line asks for.
pub(crate) fn dispatch(cli: Cli) -> Result<(), Failure> {
    let sources = config::Sources {
        file: cli.config,
        flags: cli.set,
    };
    match cli.verb {
        Verb::Up(up) => process::up(config::load_up(sources, up.mode.mode())?),
        Verb::Collector => process::run(Role::Collector, config::load(sources)?),
        Verb::Analytics => process::run(Role::Analytics, config::load(sources)?),
        Verb::Controller => process::run(Role::Controller, config::load(sources)?),
        Verb::Actuator => process::run(Role::Actuator, config::load(sources)?),
        Verb::Notifier => process::run(Role::Notifier, config::load(sources)?),
        Verb::Console => process::run(Role::Console, config::load(sources)?),
        Verb::Status(asked) => ask::status(&asked),
        Verb::Nodes(asked) => nodes::nodes(&asked),
        Verb::Node(order) => node::order(&order),
        Verb::Services(asked) => ask::services(&asked),
        Verb::Members(asked) => members::members(&asked),
        Verb::Signals(asked) => signals(asked),
        Verb::Incidents(asked) => asked.run(),
        Verb::Actions(asked) => match asked.verb {
            Some(approve::ActionsVerb::Approve(of)) => approve::approve(&of),
            None => ask::actions(&asked.ask),
        },
        Verb::Update(to) => update::update(&to),
        Verb::Rollback(back) => update::go_back(&back),
        Verb::Updates(asked) => update::list(&asked),
        Verb::WhyNot(asked) => why_not::why_not(&asked.ask, &asked.service),
        Verb::Explain(asked) => explain::explain(&asked.ask, &asked.signal),
        Verb::Logs(LogsVerb::Templates { input }) => templates::templates(&input),
        Verb::Score(options) => score::run(&options),
        Verb::Train(options) => train::run(&options, sources),
        Verb::Models(options) => models::run(&options, sources),
        Verb::Record(options) => record::run(&options, sources),
        Verb::Replay(options) => replay::run(&options, sources),
        Verb::Simulate(simulate) => simulate.run(),
        Verb::Config(ConfigVerb::Check) => config::check(sources),
        Verb::Config(ConfigVerb::Show { output }) => config::show(sources, output),
        Verb::Completion { shell } => completion(shell),
        Verb::Evaluate(options) => evaluate::run(&options),
        Verb::Demo(options) => demo::run(sources, options),
    }
}

fn signals(asked: Signals) -> Result<(), Failure> {
    match (asked.verb, asked.all) {
        (Some(verb), _) => feedback::run(verb),
        (None, true) => ask::signals(&asked.ask, ask::Which::All),
        (None, false) => ask::signals(&asked.ask, ask::Which::Open),
    }
}

/// Written to memory first: the generator panics where its reader has gone, as in `| head`.
fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "homeostat", &mut script);
    print(String::from_utf8(script)?.trim_end())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        format!("{text:?} has no '='; write KEY=VALUE as in collector.interval=2s")
    })?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Signals, clap::Error> {
        let words = ["homeostat", "signals"]
            .into_iter()
            .chain(words.split_whitespace());
        match Cli::try_parse_from(words)?.verb {
            Verb::Signals(signals) => Ok(signals),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn actions_lists_unless_it_is_given_a_verb() {
        let parsed = |words: &str| -> Result<Actions, clap::Error> {
            let words = ["homeostat", "actions"]
                .into_iter()
                .chain(words.split_whitespace());
            match Cli::try_parse_from(words)?.verb {
                Verb::Actions(actions) => Ok(actions),
                other => panic!("{other:?}"),
            }
        };
        assert!(parsed("-o json").unwrap().verb.is_none());
        for words in ["approve web-restart-1", "approve web --by ada -o json"] {
            assert!(parsed(words).unwrap().verb.is_some(), "{words}");
        }
        assert!(parsed("approve").is_err());
    }

    #[test]
    fn an_update_names_a_service_and_an_image() {
        for (words, is_right) in [
            ("update web --image web:4", true),
            (
                "update shop/web --image web:4 --by ada --wait -o json",
                true,
            ),
            ("rollback web --wait", true),
            ("updates -o json", true),
            ("update web", false),
            ("update --image web:4", false),
            ("rollback", false),
        ] {
            let words = ["homeostat"].into_iter().chain(words.split_whitespace());
            let parsed = Cli::try_parse_from(words.clone());
            assert_eq!(parsed.is_ok(), is_right, "{:?}", words.collect::<Vec<_>>());
        }
    }

    #[test]
    fn signals_lists_unless_it_is_given_a_verb() {
        assert!(parsed("").unwrap().verb.is_none());
        let all = parsed("--all --console http://c:1 -o json").unwrap();
        assert!(all.verb.is_none() && all.all);
        for words in [
            "ack 0a1b",
            "dismiss 0a1b --because backup",
            "dismiss 0a1b --console http://c:1",
            "feedback -o json",
        ] {
            assert!(parsed(words).unwrap().verb.is_some(), "{words}");
        }
        for wrong in [
            "ack",
            "--all ack 0a1b",
            "--console http://c:1 feedback",
            "nod 0a1b",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
