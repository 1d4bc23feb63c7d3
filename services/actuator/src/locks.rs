//! One command at a time for each container.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use units::ContainerId;

/// A lock for each container that a command waits for or works on; the others have none.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<HashMap<ContainerId, Arc<AsyncMutex<()>>>>);

impl Locks {
    /// Waits until no other command works on this container. Those that wait get it in the order they asked.
    pub(crate) async fn acquire(&self, container: &ContainerId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(container.clone()).or_default())
        };
        lock.lock_owned().await
    }

    /// The same, unless another command works on it or waits to.
    pub(crate) fn acquire_at_once(&self, container: &ContainerId) -> Option<OwnedMutexGuard<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        let lock = Arc::clone(locks.entry(container.clone()).or_default());
        lock.try_lock_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_a_container_and_nothing_is_kept() {
        let locks = Locks::default();
        let (a, b) = (ContainerId::from("a"), ContainerId::from("b"));
        let held = locks.acquire(&a).await;
        let _other = locks.acquire(&b).await;
        {
            let waiting = locks.acquire(&a);
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            assert!(locks.acquire_at_once(&a).is_none());
            drop(held);
            waiting.await;
        }
        let _third = locks.acquire_at_once(&ContainerId::from("c")).unwrap();
        assert_eq!(locks.0.lock().unwrap().len(), 2, "a is free and forgotten");
    }
}
