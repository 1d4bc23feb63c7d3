//! Following the topics, and the console's life.

use std::time::Duration;

use axum::Router;
use bus::{Bus, From, Record, Tailed};
use incidents::Event;
use kit::Context;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use units::{
    ContainerEvent, ContainerId, Feedback, Forecast, Heartbeat, JournalEntry, NodeId,
    NodeInventory, Outcome, Signal, StandingExport,
};
use wire::{DecodeError, DecodeProblem, topic};

use crate::capacity::Capacity;
use crate::discovery;
use crate::http::{self, Shared};
use crate::say::Desk;
use crate::trust::Listens;
use crate::{Config, Error};

/// How far back signals are read when the console starts: what is older and still open is told again by its updates.
const SIGNALS_BACK: Duration = Duration::from_secs(24 * 60 * 60);
/// Forecasts are told every second; what is older than removals and stops look back by this much says nothing more.
const FORECASTS_MORE: Duration = Duration::from_secs(60);
/// Plans are over within minutes, and the journal holds the outcomes of those that are.
const OUTCOMES_BACK: Duration = Duration::from_secs(2 * 60 * 60);
/// As far as signals, since it is them that events explain.
const EVENTS_BACK: Duration = SIGNALS_BACK;
/// Who talks to whom is told every few seconds; the last minutes are plenty.
const LINKS_BACK: Duration = Duration::from_secs(5 * 60);

/// Heartbeats come every second or two.
const BEATS_BACK: Duration = Duration::from_secs(60);

/// Runs the console until shutdown. `policy` is what the controllers decide by: it is asked why nothing is done.
///
/// # Errors
/// When its address cannot be had, or a topic cannot be followed any more.
pub async fn run(config: Config, policy: control::Config, context: Context) -> Result<(), Error> {
    let looked_back = policy.scale.down_window.max(policy.scale.idle_after);
    let forecasts_back = looked_back + FORECASTS_MORE;
    let view = Shared::new(policy);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen {
            address: config.listen,
            source,
        })?;
    let mut tasks = JoinSet::new();
    let now = kit::now();
    for (name, from) in [
        (topic::INVENTORY, From::Beginning),
        (topic::SIGNALS, From::Time((now - SIGNALS_BACK).as_millis())),
        (topic::JOURNAL, From::Beginning),
        (topic::FEEDBACK, From::Beginning),
        (
            topic::FORECASTS,
            From::Time((now - forecasts_back).as_millis()),
        ),
        (
            topic::OUTCOMES,
            From::Time((now - OUTCOMES_BACK).as_millis()),
        ),
        (topic::EVENTS, From::Time((now - EVENTS_BACK).as_millis())),
        (topic::EXPORTS, From::Beginning),
        (
            topic::HEARTBEATS,
            From::Time((now - BEATS_BACK).as_millis()),
        ),
        (topic::SAMPLES, From::Time((now - LINKS_BACK).as_millis())),
    ] {
        tasks.spawn(follow(
            context.bus.clone(),
            name,
            from,
            view.clone(),
            context.shutdown.clone(),
        ));
    }
    let desk = Desk::new(&context, view.clone(), Listens::at(config.listen));
    let capacity = Capacity::new(view.clone(), &context.metrics);
    tasks.spawn(capacity.clone().gauge(context.shutdown.clone()));
    let app = http::router(view.clone())
        .merge(discovery::router(view))
        .merge(desk.router())
        .merge(capacity.router());
    tasks.spawn(serve(listener, app, context.shutdown.clone()));
    tracing::info!(address = %config.listen, "console listens");
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or(Ok(()));
        if ended.is_err() {
            context.shutdown.cancel();
            result = result.and(ended);
        }
    }
    result
}

async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(Error::Serve)
}

async fn follow(
    bus: Bus,
    name: &'static str,
    from: From,
    view: Shared,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let failed = |source| Error::Follow {
        topic: name,
        source,
    };
    let mut tail = bus.tail(name, from).await.map_err(failed)?;
    loop {
        let next = tokio::select! {
            next = tail.next() => next.map_err(failed)?,
            () = shutdown.cancelled() => return Ok(()),
        };
        match next {
            Tailed::Record(record) => {
                if let Err(error) = apply(&view, &record) {
                    tracing::warn!(%error, "record passed over");
                }
            }
            Tailed::CaughtUp => {
                tracing::debug!(topic = name, "caught up");
                view.caught_up(name);
            }
        }
    }
}

fn apply(view: &Shared, record: &Record) -> Result<(), DecodeError> {
    match &*record.position.topic {
        topic::INVENTORY if wire::is_tombstone(record) => {
            if let Ok(node) = std::str::from_utf8(&record.key) {
                let node = NodeId::from(node);
                view.tell(Event::NodeRemoved(&node));
                view.hear(control::Event::NodeRemoved(node.clone()));
                view.change(|view| view.node_removed(&node));
            }
        }
        topic::INVENTORY => {
            let inventory: NodeInventory = wire::decode(record)?;
            view.tell(Event::Inventory(&inventory));
            view.hear(control::Event::Inventory(Box::new(inventory.clone())));
            view.change(|view| view.inventory(inventory));
        }
        topic::SIGNALS => {
            let signal: Signal = wire::decode(record)?;
            view.tell(Event::Signal(&signal));
            view.hear(control::Event::Signal(Box::new(signal.clone())));
            view.change(|view| view.signal(signal));
        }
        topic::JOURNAL => {
            let entry: JournalEntry = wire::decode(record)?;
            view.tell(Event::Journal(&entry));
            view.hear(control::Event::Journal(Box::new(entry.clone())));
            view.change(|view| view.journal(entry));
        }
        topic::FEEDBACK => {
            let feedback: Feedback = wire::decode(record)?;
            view.change(|view| view.feedback(feedback));
        }
        topic::FORECASTS => {
            let forecast: Forecast = wire::decode(record)?;
            view.hear(control::Event::Forecast(Box::new(forecast.clone())));
            view.change(|view| view.forecast(forecast));
        }
        topic::EVENTS => {
            let event: ContainerEvent = wire::decode(record)?;
            view.tell(Event::Container(&event));
            view.hear(control::Event::Container(Box::new(event)));
        }
        topic::OUTCOMES => {
            let outcome: Outcome = wire::decode(record)?;
            view.hear(control::Event::Outcome(Box::new(outcome)));
        }
        topic::HEARTBEATS | topic::EXPORTS => stand_by(view, record)?,
        topic::SAMPLES => match wire::decode_links(record) {
            Ok(links) => view.tell(Event::Links(&links)),
            // Links share the topic with samples and series, which are known by their header and not decoded.
            Err(error) if is_of_others(&error) => {}
            Err(error) => return Err(error),
        },
        other => tracing::debug!(topic = other, "not followed"),
    }
    Ok(())
}

/// What actuators tell in case a node is lost.
fn stand_by(view: &Shared, record: &Record) -> Result<(), DecodeError> {
    let event = if &*record.position.topic == topic::HEARTBEATS {
        let beat: Heartbeat = wire::decode(record)?;
        control::Event::Heartbeat(Box::new(beat))
    } else if wire::is_tombstone(record) {
        let key = String::from_utf8_lossy(&record.key);
        control::Event::ExportGone(ContainerId::from(key.as_ref()))
    } else {
        let export: StandingExport = wire::decode(record)?;
        // That it was told is all that is asked here.
        let sealed = String::new();
        control::Event::Export(Box::new(StandingExport { sealed, ..export }))
    };
    view.hear(event);
    Ok(())
}

/// The record is no batch of links, of whatever version.
fn is_of_others(error: &DecodeError) -> bool {
    match error.problem {
        DecodeProblem::UnknownVersion { .. } => !error.schema.starts_with("links/"),
        DecodeProblem::NoSchema | DecodeProblem::Malformed(_) => false,
    }
}
