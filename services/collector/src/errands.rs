//! Slow questions to the engine, asked one at a time beside everything else: sizes of writable layers, and what the engine
//! itself holds.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use units::{ContainerId, ContainerState, NodeId, NodeMetric, Point};

use crate::containers::Containers;
use crate::docker::{Client, DockerError, EngineState};
use crate::host::Page;

/// The engine walks a layer's files to tell its size: between two of them it has this long for everybody else.
const LAYER_SPACING: Duration = Duration::from_secs(1);
/// How often the engine is asked what it holds.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

/// When what is to be asked.
#[derive(Debug)]
pub(crate) struct Errands {
    /// Time between two measurements of one layer; `None` when they are not measured.
    layer_interval: Option<Duration>,
    layers_due: BTreeMap<ContainerId, Instant>,
    next_layer: Instant,
    state_due: Instant,
    busy: Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    Yes,
    No,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The size of a container's writable layer.
    Layer(ContainerId),
    /// What the engine holds.
    State,
}

/// Its answer.
#[derive(Debug)]
pub(crate) enum Brought {
    /// The size in bytes; absent when the container is gone.
    Layer(ContainerId, Result<Option<u64>, DockerError>),
    /// What the engine holds.
    State(Box<Result<EngineState, DockerError>>),
}

impl Errands {
    pub(crate) fn new(layer_interval: Option<Duration>) -> Errands {
        let now = Instant::now();
        Errands {
            layer_interval,
            layers_due: BTreeMap::new(),
            next_layer: now + LAYER_SPACING,
            state_due: now,
            busy: Busy::No,
        }
    }

    /// The question whose time has come, while none is out.
    pub(crate) fn start(&mut self, containers: &Containers) -> Option<Errand> {
        let now = Instant::now();
        if self.busy == Busy::Yes {
            return None;
        }
        if self.state_due <= now {
            self.state_due = now + STATE_INTERVAL;
            self.busy = Busy::Yes;
            return Some(Errand::State);
        }
        let interval = self.layer_interval?;
        if self.next_layer > now {
            return None;
        }
        self.layers_due.retain(|id, _| containers.get(id).is_some());
        for details in containers.iter() {
            let id = &details.record.id;
            if !self.layers_due.contains_key(id) {
                // New ones take their turn as soon as those before them have had theirs.
                self.layers_due.insert(id.clone(), now);
            }
        }
        let (id, due) = self.layers_due.iter_mut().min_by_key(|(_, due)| **due)?;
        if *due > now {
            return None;
        }
        *due = now + interval;
        self.next_layer = now + LAYER_SPACING;
        self.busy = Busy::Yes;
        Some(Errand::Layer(id.clone()))
    }

    /// The answer is there, or the connection is gone.
    pub(crate) fn done(&mut self) {
        self.busy = Busy::No;
    }
}

/// Goes and asks.
pub(crate) async fn run(client: &Client, errand: Errand) -> Brought {
    match errand {
        Errand::Layer(id) => {
            let size = client.layer_bytes(&id).await;
            Brought::Layer(id, size)
        }
        Errand::State => Brought::State(Box::new(client.state().await)),
    }
}

/// The engine's state as the node's series.
pub(crate) fn points(node: NodeId, state: &EngineState, containers: &Containers) -> Vec<Point> {
    let mut page = Page::new(node);
    page.put(
        NodeMetric::EngineAnswer,
        &[],
        Some(state.answer.as_secs_f64()),
    );
    let count = |value: Option<u64>| value.map(|it| it as f64);
    page.put(NodeMetric::EngineImages, &[], count(state.images));
    page.put(NodeMetric::EngineImageBytes, &[], count(state.image_bytes));
    page.put(NodeMetric::EngineVolumes, &[], count(state.volumes));
    for of in ContainerState::ALL {
        let there = containers.iter().filter(|it| it.record.state == of).count();
        page.put(
            NodeMetric::EngineContainers,
            &[("state", of.as_str())],
            Some(there as f64),
        );
    }
    page.points
}
