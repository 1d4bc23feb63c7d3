//! What the engine says it did, with its own times.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// The engine's events of the containers of one stack, from now on.
pub(crate) struct Events {
    reader: Child,
    lines: Receiver<Value>,
}

impl Events {
    pub(crate) fn of(stack: &str) -> Events {
        let label = format!("label=io.homeostat.demo={stack}");
        Events::that(&[&label, "event=start", "event=kill", "event=destroy"])
    }

    /// Those that pass the engine's filters.
    pub(crate) fn that(filters: &[&str]) -> Events {
        let mut reader = Command::new("docker")
            .args(["events", "--format", "{{json .}}"])
            .args(filters.iter().flat_map(|filter| ["--filter", filter]))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(reader.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The receiver is gone when the measurement is over.
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Events { reader, lines }
    }

    /// Those that came until now, as the engine wrote them.
    pub(crate) fn so_far(&self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }

    /// Seconds from `began` to the first event that `wanted` takes; panics after `deadline`.
    pub(crate) fn first(
        &self,
        began: f64,
        deadline: Duration,
        wanted: impl Fn(&Event<'_>) -> bool,
    ) -> f64 {
        let end = Instant::now() + deadline;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(value) => {
                    let event = Event(&value);
                    if event.at() >= began && wanted(&event) {
                        return event.at() - began;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no reaction within {} s", deadline.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => panic!("docker events ended"),
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.reader.kill();
        let _ = self.reader.wait();
    }
}

/// One event.
pub(crate) struct Event<'a>(pub(crate) &'a Value);

impl Event<'_> {
    /// When, in seconds since the Unix epoch by the engine's clock.
    pub(crate) fn at(&self) -> f64 {
        self.0["timeNano"].as_f64().unwrap() / 1e9
    }

    pub(crate) fn is(&self, action: &str) -> bool {
        self.0["Action"] == action
    }

    pub(crate) fn container(&self) -> &str {
        self.0["Actor"]["Attributes"]["name"]
            .as_str()
            .unwrap_or_default()
    }

    /// The engine's id of the container.
    pub(crate) fn id(&self) -> &str {
        self.0["Actor"]["ID"].as_str().unwrap_or_default()
    }

    /// Made by Homeostat from another container.
    pub(crate) fn is_replica(&self) -> bool {
        self.0["Actor"]["Attributes"]["io.homeostat.replica-of"].is_string()
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}
