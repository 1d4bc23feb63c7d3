//! A console over a log in memory, and what is asked of it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)] // Each test binary uses its part.

use std::net::SocketAddr;
use std::time::Duration;

use bus::{Bus, From, Tailed};
use console::api::Problem;
use kit::Context;
use reqwest::{Client, Response};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use wire::{Json, Meta, topic};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// A console. It ends when this is dropped.
pub struct Rig {
    pub bus: Bus,
    pub client: Client,
    pub address: SocketAddr,
    shutdown: CancellationToken,
}

impl Rig {
    /// One over an empty log.
    pub async fn start() -> Rig {
        Rig::start_with(control::Config::default()).await
    }

    /// One to which a node that told something is silent only after half an hour, however slow this machine is.
    pub async fn start_patient() -> Rig {
        Rig::start_with(control::Config {
            telemetry_stale: Duration::from_secs(1_800),
            ..control::Config::default()
        })
        .await
    }

    async fn start_with(policy: control::Config) -> Rig {
        let bus = Bus::memory();
        bus.ensure_topics(&topic::all(1)).await.unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let context = Context::new(bus.clone(), "console", "node-a");
        let shutdown = context.shutdown.clone();
        let config = console::Config { listen: address };
        tokio::spawn(console::run(config, policy, context));
        Rig {
            bus,
            client: Client::new(),
            address,
            shutdown,
        }
    }

    /// Writes records into the log.
    pub async fn tell<T: Json>(&self, values: &[T]) {
        for value in values {
            let record = wire::encode(value, &Meta::new("test"));
            self.bus.produce(record).await.unwrap();
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.address)
    }

    /// Asks until the answer is as wanted.
    pub async fn until<T: DeserializeOwned>(&self, path: &str, holds: impl Fn(&T) -> bool) -> T {
        let asked = async {
            loop {
                if let Ok(answer) = self.client.get(self.url(path)).send().await
                    && let Ok(told) = answer.json().await
                    && holds(&told)
                {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &str) -> Response {
        let request = self.client.post(self.url(path)).body(body.to_owned());
        let request = request.header("content-type", "application/json");
        request.send().await.unwrap()
    }

    /// The answer to what is taken.
    pub async fn taken<T: DeserializeOwned>(&self, path: &str, body: &str) -> T {
        let text = self.post(path, body).await.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
    }

    pub async fn refused(&self, path: &str, body: &str) -> (u16, String) {
        told(self.post(path, body).await).await
    }

    /// The newest of a key in a topic; none where it was taken back.
    pub async fn last<T: Json>(&self, key: &str) -> Option<T> {
        let mut tail = self.bus.tail(T::TOPIC, From::Beginning).await.unwrap();
        let mut last = None;
        while let Tailed::Record(record) = tail.next().await.unwrap() {
            if record.key == key.as_bytes() {
                let is_gone = wire::is_tombstone(&record);
                last = (!is_gone).then(|| wire::decode(&record).unwrap());
            }
        }
        last
    }

    /// Everything in a topic, each with its key.
    pub async fn read<T: Json>(&self) -> Vec<(Vec<u8>, T)> {
        let mut tail = self.bus.tail(T::TOPIC, From::Beginning).await.unwrap();
        let mut read = Vec::new();
        while let Tailed::Record(record) = tail.next().await.unwrap() {
            read.push((record.key.to_vec(), wire::decode(&record).unwrap()));
        }
        read
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A refusal: its status, and what it says.
pub async fn told(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Problem = answer.json().await.unwrap();
    (status, problem.error)
}
