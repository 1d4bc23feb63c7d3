//! The demonstration: a stack of containers made for it, the whole loop on it in act mode, and the story told with times.
//!
//! It asserts nothing of its own: every line it prints was read from the log, and it ends well only if every reaction it
//! expected stands there.

mod script;
mod stack;
mod story;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures::StreamExt;
use kit::boot::{self, Drain, Stop};
use kit::{Context, admin, telemetry};
use units::Mode;

use crate::config::{self, Config, Sources};
use crate::exit::Failure;
use crate::process::{self, Role};
use crate::table::print;
use script::Length;
use stack::Stack;
use story::Story;

/// The story needs this long from first to last reaction.
const SECONDS_MIN: u64 = 150;

/// Options of `homeostat demo`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The script that starts and removes the stack.
    #[arg(long, default_value = "deploy/demo/stack.sh", value_name = "FILE")]
    stack: PathBuf,
    /// End after this long, at least 150 seconds, with status 0 only if every expected reaction came; without it, go on until Ctrl-C.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(SECONDS_MIN..=86_400))]
    seconds: Option<u64>,
}

/// Runs the demonstration.
pub(crate) fn run(sources: Sources, options: Options) -> Result<(), Failure> {
    let state = StateDir::create()?;
    let config = configured(sources, state.path())?;
    let length = options.seconds.map_or(Length::UntilStopped, |seconds| {
        Length::Seconds(Duration::from_secs(seconds))
    });
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let telemetry = telemetry::init(&config.telemetry, "demo")?;
        let ended = perform(&options.stack, config, length).await;
        telemetry.shutdown();
        ended
    })
}

/// The product's own configuration, with patience cut to what a spectator has.
fn configured(mut sources: Sources, state_dir: &Path) -> Result<Config, Failure> {
    let state_dir = state_dir.display().to_string();
    let own = [
        ("state_dir", state_dir.as_str()),
        ("bus.backend", "local"),
        ("admin.listen", "127.0.0.1:0"),
        ("telemetry.log", "error"),
        ("controller.scale.down_window", "15s"),
        ("controller.scale.verdict_within", "20s"),
        ("controller.heal.verdict_within", "20s"),
    ];
    let given = std::mem::take(&mut sources.flags);
    sources.flags = own
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    sources.flags.extend(given);
    config::load_up(sources, Mode::Act)
}

async fn perform(script: &Path, config: Config, length: Length) -> Result<(), Failure> {
    let stops = boot::shutdown_signal()?;
    let stack = Stack::up(script).await?;
    let played = play(&stack, config, length, stops).await;
    let removed = stack.down().await;
    let story = played?;
    removed?;
    match length {
        Length::UntilStopped => Ok(()),
        Length::Seconds(_) => conclude(&story),
    }
}

/// Runs every role and the script beside them, until the script or the spectator ends it.
async fn play(
    stack: &Stack,
    config: Config,
    length: Length,
    stops: impl futures::Stream<Item = Stop>,
) -> Result<Story, Failure> {
    let bus = bus::Bus::open(&config.bus)?;
    let context = Context::new(bus.clone(), "demo", "demo");
    let story = Story::new();
    let mut drain = Drain::new(context.shutdown.clone(), config.drain_grace.get());
    let admin = admin::bind(&config.admin).await?;
    print(&format!(
        "console: http://{}/   metrics: http://{}/metrics",
        config.console.listen,
        admin.address()
    ))?;
    let (metrics, health) = (context.metrics.clone(), context.health.clone());
    drain.spawn(
        "admin",
        admin.run(metrics, health, context.shutdown.clone()),
    );
    process::spawn_roles(&mut drain, &Role::ALL, &config, &context)?;
    drain.spawn(
        "story",
        story::follow(context.clone(), config.partitions, story.clone()),
    );
    let ended = context.shutdown.child_token();
    drain.spawn(
        "script",
        script::play(
            stack.clone(),
            story.clone(),
            length,
            context.shutdown.clone(),
            ended.clone(),
        ),
    );
    let done = futures::stream::once(async move {
        ended.cancelled().await;
        Stop::Terminate
    });
    let result = drain
        .run(futures::stream::select(done, stops).boxed_local())
        .await;
    bus.close().await;
    result?;
    Ok(story)
}

fn conclude(story: &Story) -> Result<(), Failure> {
    print(&story.summary())?;
    let missing = story.missing();
    if missing.is_empty() {
        return print("every expected reaction came");
    }
    Err(Failure::Failed(anyhow::anyhow!(
        "these reactions did not come: {}; run it again with `--set telemetry.log=info` to see why",
        missing.join(", ")
    )))
}

/// The directory of the demonstration's log and ledger; gone when it ends.
struct StateDir(PathBuf);

impl StateDir {
    fn create() -> anyhow::Result<StateDir> {
        let path = std::env::temp_dir().join(format!("homeostat-demo-{}", std::process::id()));
        if path.exists() {
            bail!(
                "{} is there already; remove it and try again",
                path.display()
            );
        }
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(StateDir(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Nothing more can be done about a directory that cannot be removed; its name tells what it was.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
