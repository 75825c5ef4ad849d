//! Entries of the event log as they become durable, for a reader that may be slow: what it misses live, it reads from
//! the log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::engine::event::Entry;
use crate::shell::drive::KIND_ENTRY;
use crate::shell::store::Pos;
use crate::shell::store::replay::replay;

/// A reader of entries.
pub struct Follow {
    live: Receiver<(Pos, Arc<Entry>)>,
    events: Arc<PathBuf>,
    /// The last entry that was given, or that there was before the first one.
    last: Pos,
    /// Entries read from the log that come before the live ones.
    missed: VecDeque<(Pos, Arc<Entry>)>,
}

impl Follow {
    /// A reader of what comes after `last`.
    pub(super) fn new(live: Receiver<(Pos, Arc<Entry>)>, events: Arc<PathBuf>, last: Pos) -> Self {
        Self {
            live,
            events,
            last,
            missed: VecDeque::new(),
        }
    }

    /// The next entry; `None` once the engine has stopped. May be dropped and called again without losing one.
    pub async fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            if let Some((pos, entry)) = self.missed.pop_front() {
                self.last = pos;
                return Some(entry);
            }
            match self.live.recv().await {
                // It was read from the log already.
                Ok((pos, _)) if pos <= self.last => {}
                Ok((pos, entry)) => {
                    if pos > self.last.next() {
                        self.catch_up(pos);
                    }
                    self.missed.push_back((pos, entry));
                }
                // The next one shows how many are missing.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads what came after the last entry that was given, up to `before`.
    fn catch_up(&mut self, before: Pos) {
        let missed = &mut self.missed;
        let read = replay(&self.events, self.last.next(), &mut |record| {
            if record.kind == KIND_ENTRY
                && record.pos < before
                && let Ok(entry) = serde_json::from_slice::<Entry>(record.payload)
            {
                missed.push_back((record.pos, Arc::new(entry)));
            }
        });
        if let Err(error) = read {
            tracing::warn!(%error, "Missed entries not read from the event log.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Event;
    use crate::model::time::Timestamp;
    use crate::shell::store::Log;
    use crate::shell::store::log::{Options, SegLog};
    use crate::shell::store::scratch::Scratch;

    #[test]
    fn a_reader_that_falls_behind_gets_every_entry_once() {
        let scratch = Scratch::new();
        let (mut log, _) = SegLog::open(scratch.path(), Options::default()).unwrap();
        let (send, live) = tokio::sync::broadcast::channel(4);
        let mut follow = Follow::new(live, Arc::new(scratch.path().to_owned()), Pos::START);
        let mut put = |n: i64| {
            let entry = Entry {
                at: Timestamp::from_ms(n),
                events: vec![Event::PageReleased { incident: 1 }],
            };
            let pos = log
                .append(KIND_ENTRY, &serde_json::to_vec(&entry).unwrap())
                .unwrap();
            log.commit().unwrap();
            send.send((pos, Arc::new(entry))).unwrap();
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut seen = Vec::new();
        for burst in [1_i64, 20, 3, 50] {
            let from = seen.len() as i64;
            (from..from + burst).for_each(&mut put);
            runtime.block_on(async {
                for _ in 0..burst {
                    seen.push(follow.next().await.unwrap().at.ms());
                }
            });
        }
        assert_eq!(seen, (0..74).collect::<Vec<i64>>());
        drop(send);
        assert!(runtime.block_on(follow.next()).is_none());
    }
}
