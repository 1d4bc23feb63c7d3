//! Reading a topic while others write to it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bus::{Bus, From, Record, Tail, Tailed};
use tokio::time::timeout;

/// Nothing for this long is the end for now.
const QUIET: Duration = Duration::from_millis(500);
/// A topic that never falls quiet is left after this long, to be read on by the next call.
const AT_MOST: Duration = Duration::from_secs(15);

/// A topic from its beginning.
pub struct Topic {
    name: String,
    tail: Tail,
}

impl Topic {
    /// Starts at the beginning. The topic must be there.
    pub async fn open(bus: &Bus, name: &str) -> Topic {
        let tail = bus.tail(name, From::Beginning).await.unwrap();
        Topic {
            name: name.to_owned(),
            tail,
        }
    }

    /// Shows every record that came since the last call, each partition in its order.
    pub async fn read(&mut self, mut show: impl FnMut(&Record)) {
        let all = |record: &Record| {
            show(record);
            ControlFlow::Continue(())
        };
        self.read_until(all).await;
    }

    /// The same, ending early where `show` says so: a topic that others keep writing to does not fall quiet.
    pub async fn read_until(&mut self, mut show: impl FnMut(&Record) -> ControlFlow<()>) {
        let began = Instant::now();
        while began.elapsed() < AT_MOST {
            match timeout(QUIET, self.tail.next()).await {
                Err(_elapsed) => return,
                Ok(Ok(Tailed::Record(record))) => {
                    if show(&record).is_break() {
                        return;
                    }
                }
                Ok(Ok(Tailed::CaughtUp)) => {}
                Ok(Err(error)) => panic!("cannot read {}: {error}", self.name),
            }
        }
    }
}
