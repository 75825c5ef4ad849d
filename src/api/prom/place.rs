//! Places for queries: a few run, some more wait, the rest are refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::api::prom::envelope::Failure;
use crate::api::prom::{QUERIES_MAX, QUERIES_WAITING_MAX};

/// All places.
pub struct Places {
    running: Arc<Semaphore>,
    known: Arc<Semaphore>,
}

/// A place of a query that runs; free again when it is dropped.
pub struct Place {
    _running: OwnedSemaphorePermit,
    _known: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(QUERIES_MAX)),
            known: Arc::new(Semaphore::new(QUERIES_MAX + QUERIES_WAITING_MAX)),
        }
    }
}

impl Places {
    /// A place, before `deadline`.
    pub async fn take(&self, deadline: Instant) -> Result<Place, Failure> {
        let Ok(known) = self.known.clone().try_acquire_owned() else {
            return Err(Failure::busy(format!(
                "{QUERIES_MAX} queries run and {QUERIES_WAITING_MAX} wait: try again"
            )));
        };
        let late = || Failure::timeout("query timed out in query queue");
        let running = timeout_at(deadline, self.running.clone().acquire_owned()).await;
        Ok(Place {
            _running: running.map_err(|_| late())?.map_err(|_| late())?,
            _known: known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn some_run_some_wait_and_the_rest_are_refused() {
        let places = Arc::new(Places::default());
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let mut running = Vec::new();
        for _ in 0..QUERIES_MAX {
            running.push(places.take(deadline).await.unwrap());
        }
        let waiting: Vec<_> = (0..QUERIES_WAITING_MAX)
            .map(|_| {
                let places = places.clone();
                tokio::spawn(async move { places.take(deadline).await.err() })
            })
            .collect();
        tokio::task::yield_now().await;
        let refused = places.take(deadline).await.err().unwrap();
        assert!(format!("{refused:?}").contains("60 wait"), "{refused:?}");
        running.pop();
        let mut late = 0;
        for task in waiting {
            late += usize::from(task.await.unwrap().is_some());
        }
        assert_eq!(late, 0, "each goes on when the one before it is done");
        drop(running);
        let _one = places.take(deadline).await.unwrap();
    }
}
