//! Answers to those who wait for a group of samples: its first waiter tells the others.
//!
//! The sampler's thread is not one of the runtime's: each task that it wakes goes through a queue that all workers share,
//! and may wake a worker. One that wakes the others from inside takes that off the thread that goes to the disk. Nobody
//! depends on the first waiter's patience: if it has gone, its message tells the others when it is dropped.

use tokio::sync::oneshot;

use crate::shell::drive::{PushFailure, Pushed};

/// What became of a batch.
pub type Outcome = Result<Pushed, PushFailure>;

/// Whom to tell.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Told>);

/// Who waits.
#[derive(Debug)]
pub struct Waiter(oneshot::Receiver<Told>);

#[derive(Debug)]
struct Told {
    outcome: Outcome,
    _others: Others,
}

/// Those whom a waiter tells; whatever becomes of it.
#[derive(Debug)]
struct Others(Vec<(Reply, Outcome)>);

impl Drop for Others {
    fn drop(&mut self) {
        for (reply, outcome) in self.0.drain(..) {
            reply.tell(outcome, Vec::new());
        }
    }
}

/// The two ends of an answer.
pub fn reply() -> (Reply, Waiter) {
    let (sender, receiver) = oneshot::channel();
    (Reply(sender), Waiter(receiver))
}

impl Reply {
    /// Tells this one, which tells the others.
    pub fn tell(self, outcome: Outcome, others: Vec<(Reply, Outcome)>) {
        let told = Told {
            outcome,
            _others: Others(others),
        };
        // Who has gone misses nothing; the others are told as the message is dropped here.
        let _ = self.0.send(told);
    }
}

impl Waiter {
    /// The answer; `None`: nobody is left to give one.
    pub async fn outcome(self) -> Option<Outcome> {
        self.0.await.ok().map(|told| told.outcome)
    }
}

/// Tells each its own.
pub fn tell_all(mut group: Vec<(Reply, Outcome)>) {
    if let Some((first, outcome)) = group.pop() {
        first.tell(outcome, group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(outcome: Option<Outcome>) -> usize {
        outcome.unwrap().unwrap().accepted
    }

    fn pushed(accepted: usize) -> Outcome {
        Ok(Pushed {
            accepted,
            ..Pushed::default()
        })
    }

    #[tokio::test]
    async fn everyone_is_told_its_own_whoever_has_gone() {
        for gone in [None, Some(0), Some(1), Some(2)] {
            let (mut group, mut waiters) = (Vec::new(), Vec::new());
            for accepted in 0..3 {
                let (reply, waiter) = reply();
                group.push((reply, pushed(accepted)));
                if gone != Some(accepted) {
                    waiters.push((accepted, waiter));
                }
            }
            tell_all(group);
            // The one that is told first asks first.
            for (expected, waiter) in waiters.into_iter().rev() {
                assert_eq!(accepted(waiter.outcome().await), expected);
            }
        }
    }

    #[tokio::test]
    async fn who_leaves_with_the_answer_unread_has_told_the_others() {
        let (first, patient) = (reply(), reply());
        tell_all(vec![(patient.0, pushed(1)), (first.0, pushed(2))]);
        drop(first.1);
        assert_eq!(accepted(patient.1.outcome().await), 1);
        let (unheard, waiter) = reply();
        drop(unheard);
        assert!(waiter.outcome().await.is_none());
    }
}
