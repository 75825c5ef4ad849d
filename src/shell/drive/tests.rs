//! The door to the two threads, with nobody behind it but a test.

use std::sync::mpsc;

use super::*;
use crate::engine::intake::Item;

/// A handle, and what comes to the sampler, which holds so many batches. The engine is gone.
pub(crate) fn handle(batches: usize) -> (Handle, mpsc::Receiver<Submit>) {
    let (engine, _) = queue::queue();
    let (sampler, submits) = mpsc::sync_channel(batches);
    let handle = Handle {
        engine,
        sampler,
        entries: broadcast::channel(1).0,
        events: Arc::default(),
        durable: Arc::default(),
        spellings: Arc::default(),
        metadata: Arc::default(),
        targets: Arc::default(),
        clock: Clock::start(1_000, Timestamp::default()),
        status: Arc::default(),
    };
    (handle, submits)
}

#[tokio::test]
async fn batches_of_few_samples_and_long_keys_do_not_wait_beyond_a_bound() {
    let (handle, submits) = handle(8);
    let batch = |bytes: usize| {
        let mut batch = Batch::default();
        batch.push(&vec![b'x'; bytes], None, 1.0);
        batch
    };
    let half = sampler::WAITING_BYTES_MAX / 2;
    let push = |bytes: usize| {
        let (handle, batch) = (handle.clone(), batch(bytes));
        tokio::spawn(async move { handle.push(batch).await })
    };
    let waits = [push(half), push(half - 2 * size_of::<Item>())];
    while handle.status.waiting_samples.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let one_more = push(size_of::<Item>()).await.unwrap();
    assert!(matches!(one_more, Err(PushFailure::Busy)));
    assert_eq!(handle.status.waiting_samples.load(Ordering::Relaxed), 2);
    drop(submits);
    for wait in waits {
        assert!(matches!(
            wait.await.unwrap(),
            Err(PushFailure::Unavailable(_))
        ));
    }
}
