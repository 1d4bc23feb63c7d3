//! Waiting for conditions, with deadlines generous enough for a busy machine.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const PERIOD: Duration = Duration::from_millis(100);

/// Waits until `look` returns something, and returns that. Panics after `deadline`, naming what was waited for.
pub async fn until<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            began.elapsed() < deadline,
            "{what}: not within {} s",
            deadline.as_secs()
        );
        tokio::time::sleep(PERIOD).await;
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    bus::testing::free_port().unwrap()
}
