//! The engine's inbox: messages in the order in which they were sent. Those that may wait do not wake the engine: they
//! are taken together with the next message that may not, or at the end of its wait. Waking a thread for each group of
//! samples cost more than filing them, and held up the acknowledgements behind it.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What may wait weighs at most this much; beyond it the receiver is woken all the same.
const WAITING_WEIGHT_MAX: usize = 4_096;

/// A queue without a bound, from many senders to one receiver.
pub fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            messages: VecDeque::new(),
            weight: 0,
            rung: false,
            senders: 1,
            receives: true,
        }),
        bell: Condvar::new(),
    });
    let receiver = Receiver {
        shared: shared.clone(),
        taken: VecDeque::new(),
    };
    (Sender(shared), receiver)
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    bell: Condvar,
}

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<T>,
    /// Of the messages that may wait.
    weight: usize,
    /// Whether the receiver is to wake.
    rung: bool,
    senders: usize,
    receives: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl<T> Sender<T> {
    /// Sends a message and wakes the receiver.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send(&self, message: T) -> Result<(), Gone> {
        self.put(message, WAITING_WEIGHT_MAX)
    }

    /// Sends a message that may wait for others, until they weigh too much together.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send_waiting(&self, message: T, weight: usize) -> Result<(), Gone> {
        self.put(message, weight)
    }

    fn put(&self, message: T, weight: usize) -> Result<(), Gone> {
        let mut state = self.0.lock();
        if !state.receives {
            return Err(Gone);
        }
        state.messages.push_back(message);
        state.weight = state.weight.saturating_add(weight);
        let rings = !state.rung && state.weight >= WAITING_WEIGHT_MAX;
        state.rung |= rings;
        drop(state);
        if rings {
            self.0.bell.notify_one();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.bell.notify_one();
    }
}

/// Receives.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Taken from the queue, all at once.
    taken: VecDeque<T>,
}

impl<T> Receiver<T> {
    /// The next message that is there.
    pub fn try_recv(&mut self) -> Option<T> {
        if self.taken.is_empty() {
            let mut state = self.shared.lock();
            std::mem::swap(&mut state.messages, &mut self.taken);
            (state.weight, state.rung) = (0, false);
        }
        self.taken.pop_front()
    }

    /// The next message; waits at most so long for one that may not wait.
    ///
    /// # Errors
    /// There is none, or there will be none any more.
    pub fn recv_timeout(&mut self, wait: Duration) -> Result<T, RecvTimeoutError> {
        if self.taken.is_empty() {
            let state = self.shared.lock();
            let sleeps = |s: &mut State<T>| !s.rung && s.senders > 0;
            let waited = self.shared.bell.wait_timeout_while(state, wait, sleeps);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        self.try_recv()
            .ok_or_else(|| match self.shared.lock().senders {
                0 => RecvTimeoutError::Disconnected,
                _ => RecvTimeoutError::Timeout,
            })
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.receives = false;
        let left = std::mem::take(&mut state.messages);
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    /// Who was woken is back long before: at the end of its wait it would take the message without a bell.
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn messages_come_in_order_and_those_that_may_wait_come_with_the_next() {
        let (sender, mut receiver) = queue();
        sender.send_waiting(1, 10).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(1));
        sender.send_waiting(2, 10).unwrap();
        sender.send(3).unwrap();
        sender.send_waiting(4, 10).unwrap();
        let begun = Instant::now();
        assert_eq!(receiver.recv_timeout(LONG), Ok(2));
        assert!(begun.elapsed() < SOON, "nobody rang");
        assert_eq!(receiver.try_recv(), Some(3));
        assert_eq!(receiver.try_recv(), Some(4));
        assert_eq!(receiver.try_recv(), None);
        assert_eq!(
            receiver.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        );
    }

    #[test]
    fn a_sleeper_is_woken_by_what_may_not_wait_and_by_too_much_of_what_may() {
        for weight in [None, Some(WAITING_WEIGHT_MAX)] {
            let (sender, mut receiver) = queue();
            let begun = Instant::now();
            let sleeper = std::thread::spawn(move || receiver.recv_timeout(LONG));
            match weight {
                None => sender.send(1).unwrap(),
                Some(weight) => sender.send_waiting(1, weight).unwrap(),
            }
            assert_eq!(sleeper.join().unwrap(), Ok(1));
            assert!(begun.elapsed() < SOON, "{weight:?}: nobody rang");
        }
    }

    #[test]
    fn either_end_hears_that_the_other_is_gone() {
        let (sender, mut receiver) = queue::<u8>();
        let other = sender.clone();
        sender.send_waiting(1, 1).unwrap();
        drop(sender);
        let begun = Instant::now();
        let sleeper = std::thread::spawn(move || {
            let first = receiver.recv_timeout(Duration::ZERO);
            (first, receiver.recv_timeout(LONG))
        });
        drop(other);
        assert_eq!(
            sleeper.join().unwrap(),
            (Ok(1), Err(RecvTimeoutError::Disconnected))
        );
        assert!(begun.elapsed() < SOON, "nobody rang");
        let (sender, receiver) = queue();
        drop(receiver);
        assert_eq!(sender.send(1), Err(Gone));
    }
}
