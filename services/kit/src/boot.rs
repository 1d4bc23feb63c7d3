//! The life of a process: reaching the log, running its tasks, and ending within a deadline.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::backoff::{Backoff, seed_of};
use crate::health::Health;

/// The dependency that stands for the log on `/readyz`.
pub const LOG: &str = "log";
/// First wait after a failed attempt to reach the log.
const CONNECT_BASE: Duration = Duration::from_millis(200);
/// Longest wait between attempts to reach the log; attempts go on until shutdown.
const CONNECT_CAP: Duration = Duration::from_secs(10);
/// How often a log that was reached is asked whether it still answers.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request to end: the first drains, the second ends at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM, as a service manager sends it.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::Terminate => "SIGTERM",
            Stop::Interrupt => "SIGINT",
        })
    }
}

/// The requests to end this process, from now on. Needs a runtime with signals.
pub fn shutdown_signal() -> io::Result<Pin<Box<dyn Stream<Item = Stop> + Send>>> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = stream::unfold(terminate, |mut it| async move {
        it.recv().await.map(|()| (Stop::Terminate, it))
    });
    let interrupt = stream::unfold(interrupt, |mut it| async move {
        it.recv().await.map(|()| (Stop::Interrupt, it))
    });
    Ok(Box::pin(stream::select(terminate, interrupt)))
}

/// The tasks of a process. They run until one fails or the process is asked to end; then all are told through
/// the shutdown token and awaited up to a deadline.
pub struct Drain {
    shutdown: CancellationToken,
    grace: Duration,
    tasks: JoinSet<Result<(), BoxError>>,
    names: Vec<(Id, &'static str)>,
}

/// Why a process did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// A task failed; the others were drained.
    #[error("{task} failed")]
    Failed {
        /// The task's name.
        task: &'static str,
        /// What it says.
        source: BoxError,
    },
    /// A task panicked; the others were drained.
    #[error("{task} panicked, this is a defect: please report it with the log lines before")]
    Panicked {
        /// The task's name.
        task: &'static str,
    },
    /// A task ended although nothing asked it to; the others were drained.
    #[error(
        "{task} ended although the process was not asked to, this is a defect: please report it"
    )]
    EndedEarly {
        /// The task's name.
        task: &'static str,
    },
    /// Tasks did not end in time and were abandoned.
    #[error("{} did not end within {} s and were abandoned", tasks.join(", "), grace.as_secs_f64())]
    Overdue {
        /// The names of the tasks.
        tasks: Vec<&'static str>,
        /// The time they had.
        grace: Duration,
    },
    /// A second request to end cut the drain short.
    #[error("ended at once by a second {stop}, {} had not ended", tasks.join(", "))]
    CutShort {
        /// The second request.
        stop: Stop,
        /// The names of the tasks that had not ended.
        tasks: Vec<&'static str>,
    },
}

impl Drain {
    /// No tasks yet. Once the process is to end they have `grace` to do so.
    pub fn new(shutdown: CancellationToken, grace: Duration) -> Self {
        Drain {
            shutdown,
            grace,
            tasks: JoinSet::new(),
            names: Vec::new(),
        }
    }

    /// Starts a task that runs until the shutdown token fires.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let task = async move { task.await.map_err(Into::into) };
        let handle = self.tasks.spawn(task);
        self.names.push((handle.id(), name));
    }

    /// Runs until every task has ended or the deadline has passed. The first error wins; later ones are logged.
    pub async fn run(mut self, stops: impl Stream<Item = Stop>) -> Result<(), DrainError> {
        let mut stops = std::pin::pin!(stops.fuse());
        let mut outcome = Ok(());
        while !self.names.is_empty() && !self.shutdown.is_cancelled() {
            tokio::select! {
                Some(stop) = stops.next() => {
                    tracing::info!(signal = %stop, grace_s = self.grace.as_secs_f64(), "draining");
                    self.shutdown.cancel();
                }
                () = self.shutdown.cancelled() => {}
                Some(ended) = self.tasks.join_next_with_id() => {
                    outcome = self.judge(ended, Phase::Running);
                    self.shutdown.cancel();
                }
            }
        }
        let deadline = Instant::now() + self.grace;
        while !self.names.is_empty() {
            tokio::select! {
                Some(stop) = stops.next() => {
                    return first(outcome, DrainError::CutShort { stop, tasks: self.unfinished() });
                }
                ended = timeout_at(deadline, self.tasks.join_next_with_id()) => match ended {
                    Ok(Some(ended)) => {
                        if let Err(error) = self.judge(ended, Phase::Draining) {
                            outcome = first(outcome, error);
                        }
                    }
                    Ok(None) => self.names.clear(),
                    Err(_) => {
                        let (tasks, grace) = (self.unfinished(), self.grace);
                        return first(outcome, DrainError::Overdue { tasks, grace });
                    }
                }
            }
        }
        outcome
    }

    fn judge(
        &mut self,
        ended: Result<(Id, Result<(), BoxError>), JoinError>,
        phase: Phase,
    ) -> Result<(), DrainError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let position = self.names.iter().position(|(known, _)| *known == id);
        let task = position.map_or("task", |at| self.names.swap_remove(at).1);
        match (ended, phase) {
            (Ok((_, Ok(()))), Phase::Draining) => Ok(()),
            (Ok((_, Ok(()))), Phase::Running) if self.shutdown.is_cancelled() => Ok(()),
            (Ok((_, Ok(()))), Phase::Running) => Err(DrainError::EndedEarly { task }),
            (Ok((_, Err(source))), _) => Err(DrainError::Failed { task, source }),
            (Err(_), _) => Err(DrainError::Panicked { task }),
        }
    }

    fn unfinished(&self) -> Vec<&'static str> {
        self.names.iter().map(|(_, name)| *name).collect()
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    Draining,
}

/// The first error is the cause; a later one is usually its consequence, so it is only logged.
fn first(outcome: Result<(), DrainError>, later: DrainError) -> Result<(), DrainError> {
    match outcome {
        Ok(()) => Err(later),
        Err(earlier) => {
            tracing::error!(error = %later, "while draining");
            Err(earlier)
        }
    }
}

/// Whether [`connect`] reached the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Connected {
    /// The topics are there.
    Yes,
    /// The process was asked to end before the log answered.
    ShutDown,
}

/// Creates the topics, trying until the log answers or the process is to end. The dependency [`LOG`] follows,
/// with one log line when it starts failing, one when the reason changes and one when it works.
pub async fn connect(
    bus: &bus::Bus,
    topics: &[bus::TopicSpec],
    health: &Health,
    shutdown: &CancellationToken,
) -> Connected {
    let log = health.dependency(LOG);
    let mut waits = Backoff::new(CONNECT_BASE, CONNECT_CAP, u64::from(std::process::id()));
    loop {
        let attempt = shutdown.run_until_cancelled(bus.ensure_topics(topics));
        match attempt.await {
            None => return Connected::ShutDown,
            Some(Ok(())) => {
                log.up();
                return Connected::Yes;
            }
            Some(Err(error)) => log.down(chain(&error)),
        }
        let wait = waits.next().unwrap_or(CONNECT_CAP);
        let slept = shutdown.run_until_cancelled(tokio::time::sleep(wait));
        if slept.await.is_none() {
            return Connected::ShutDown;
        }
    }
}

/// Keeps the dependency [`LOG`] in step with the log until the process is to end.
pub async fn watch(context: Context) -> Result<(), std::convert::Infallible> {
    let log = context.health.dependency(LOG);
    // Processes started together do not ask together.
    let mut wait = WATCH_INTERVAL.mul_f64((seed_of(&context.producer) % 1000) as f64 / 1000.0);
    let shutdown = &context.shutdown;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(wait))
        .await
        .is_some()
    {
        match shutdown.run_until_cancelled(context.bus.status()).await {
            None => break,
            Some(Ok(())) => log.up(),
            Some(Err(error)) => log.down(chain(&error)),
        }
        wait = WATCH_INTERVAL;
    }
    Ok(())
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
