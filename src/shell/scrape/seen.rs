//! What became of each target the last time, for whoever asks why `up` is 0.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::labels::Labels;
use crate::model::time::{Duration, Timestamp};

/// What makes a target the same after a change of settings: its job, its labels and its URL.
pub type Identity = (String, Labels, String);

/// A target that is asked.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The last round; `None` before the first.
    pub last: Option<Last>,
}

/// One round.
#[derive(Clone, Debug)]
pub struct Last {
    /// Its slot.
    pub at: Timestamp,
    /// How long the answer took, seconds.
    pub seconds: f64,
    /// Why it was not taken.
    pub error: Option<String>,
    /// What of it the engine's door refused: how many samples, and the first of them.
    pub refused: Option<String>,
}

/// All targets that are asked.
#[derive(Debug, Default)]
pub struct Targets(Mutex<BTreeMap<Identity, Seen>>);

impl Targets {
    /// Takes down what is known of a target now.
    pub fn note(&self, identity: &Identity, seen: Seen) {
        self.lock().insert(identity.clone(), seen);
    }
    /// It is asked no more.
    pub fn forget(&self, identity: &Identity) {
        self.lock().remove(identity);
    }
    /// All of them, in order.
    pub fn list(&self) -> Vec<(Identity, Seen)> {
        let all = self.lock();
        all.iter().map(|(i, s)| (i.clone(), s.clone())).collect()
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
