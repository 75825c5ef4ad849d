//! One target: wait for its slot, ask, hand over, and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::watch;
use xxhash_rust::xxh64::xxh64;

use crate::config::scrape::Target;
use crate::engine::intake::Batch;
use crate::ingest::scrape::{Answer, Memory};
use crate::model::time::{Duration, Timestamp};
use crate::shell::drive::{Handle, PushFailure, Pushed};
use crate::shell::scrape::Plan;
use crate::shell::scrape::seen::{Identity, Last, Seen};

/// First and longest wait before markers that were not stored are handed in again.
const END_WAIT: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];
/// How often they are handed in: for about half an hour.
const END_TRIES_MAX: u32 = 36;

/// Asks until the plan's sender is gone; then says that the target's series have ended.
pub(super) async fn ask_in_turn(handle: Handle, mut plan: watch::Receiver<Arc<Plan>>) {
    let mut memory = Memory::default();
    let (mut healthy, mut stores) = (None, true);
    let identity = plan.borrow().identity();
    note(&handle, &identity, &plan.borrow().target, None);
    loop {
        let now = plan.borrow_and_update().clone();
        let slot = next_slot(&now.target, handle.clock.now());
        let wait = slot.since(handle.clock.now());
        tokio::select! {
            () = tokio::time::sleep(wait.std()) => {}
            changed = plan.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
        }
        let last = ask(&handle, &now, slot, &mut memory, &mut stores).await;
        let (job, _, url) = &identity;
        match (&last.error, healthy) {
            (Some(error), None | Some(true)) => {
                tracing::warn!(%job, %url, %error, "Target does not answer as it should.");
            }
            (None, Some(false)) => tracing::info!(%job, %url, "Target answers again."),
            (Some(_), Some(false)) | (None, None | Some(true)) => {}
        }
        healthy = Some(last.error.is_none());
        note(&handle, &identity, &now.target, Some(last));
    }
    handle.targets.forget(&identity);
    let target = plan.borrow().target.clone();
    end(&handle, &identity, &target, memory).await;
}

/// Says that the series of a target have ended. Perhaps it has only become another one, by its path or its scheme: the
/// markers bear the time of its next round but are handed in after one more, when samples of the other one are there,
/// which the door does not let them end. A process that stops does not wait for this: after a restart all goes on.
async fn end(handle: &Handle, identity: &Identity, target: &Target, mut memory: Memory) {
    let at = next_slot(target, handle.clock.now());
    let interval = target.interval.ms();
    let after = at.shifted(i64::try_from(interval + interval / 10).unwrap_or(i64::MAX));
    tokio::time::sleep(after.since(handle.clock.now()).std()).await;
    let [mut wait, longest] = END_WAIT;
    let (job, _, url) = identity;
    for tried in 1..=END_TRIES_MAX {
        let ahead_ms = handle.clock.ahead_ms();
        let mut batch = memory.end(at.shifted(ahead_ms), &identity.1);
        batch.ahead_ms = Some(ahead_ms);
        let Err(error) = push(handle, batch).await else {
            return;
        };
        memory.not_stored();
        if tried == 1 {
            tracing::warn!(%job, %url, %error, "End of a target's series not stored; tried again.");
        }
        tokio::time::sleep(wait.std()).await;
        wait = Duration::from_ms(2 * wait.ms()).min(longest);
    }
    tracing::error!(%job, %url, "End of a target's series not stored; given up.");
}

fn note(handle: &Handle, identity: &Identity, target: &Target, last: Option<Last>) {
    let seen = Seen {
        interval: target.interval,
        timeout: target.timeout,
        last,
    };
    handle.targets.note(identity, seen);
}

/// One round.
async fn ask(
    handle: &Handle,
    plan: &Plan,
    slot: Timestamp,
    memory: &mut Memory,
    stores: &mut bool,
) -> Last {
    let (target, terms) = (&plan.target, &plan.job.scrape.samples);
    let at = time_of(slot, handle.clock.now(), target.interval);
    let begun = Instant::now();
    let fetched = match &plan.refused {
        Some(why) => Err(why.clone()),
        None => {
            let limit = terms.limits.body_bytes;
            let client = &plan.job.client;
            client.fetch(&target.url, target.timeout, limit).await
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let answer = match &fetched {
        Ok((body, format)) => Ok(Answer {
            body,
            format: *format,
        }),
        Err(why) => Err(why.clone()),
    };
    // Times that targets give are by the clock that everybody has. The door takes off again what is added here, and not
    // what the difference is a moment later.
    let ahead_ms = handle.clock.ahead_ms();
    let by_senders = at.shifted(ahead_ms);
    let mut round = memory.round(by_senders, answer, seconds, &target.labels, terms);
    round.batch.ahead_ms = Some(ahead_ms);
    drop(fetched);
    handle.describe(round.metadata);
    let [fine, failed, _] = &handle.status.scrapes_total;
    let counted = if round.error.is_none() { fine } else { failed };
    counted.fetch_add(1, Ordering::Relaxed);
    let pushed = push(handle, round.batch).await;
    let (job, url) = (&plan.job.scrape.job, &target.url);
    match &pushed {
        Ok(_) if !*stores => tracing::info!(%job, %url, "Scraped samples stored again."),
        Ok(_) => {}
        Err(error) => {
            memory.not_stored();
            if *stores {
                tracing::warn!(%job, %url, %error, "Scraped samples not stored.");
            }
        }
    }
    *stores = pushed.is_ok();
    Last {
        at,
        seconds,
        error: round.error,
        refused: match &pushed {
            Ok(pushed) => refused(pushed),
            Err(error) => Some(format!("the samples were not stored: {error}")),
        },
    }
}

/// Hands in a batch. What the door refuses is counted there.
async fn push(handle: &Handle, batch: Batch) -> Result<Pushed, PushFailure> {
    if batch.items.is_empty() {
        return Ok(Pushed::default());
    }
    let pushed = handle.push(batch).await;
    if pushed.is_err() {
        let [.., lost] = &handle.status.scrapes_total;
        lost.fetch_add(1, Ordering::Relaxed);
    }
    pushed
}

/// What the door refused, in words.
fn refused(pushed: &Pushed) -> Option<String> {
    let (_, why) = pushed.refused.first()?;
    let count = pushed.refused.len();
    let first = why.words(pushed.named.first(), true);
    Some(format!("{count} samples refused; {first}"))
}

/// The next time at which a target is asked. Each has a place of its own in the interval, always the same, so that not
/// all are asked at once and samples are evenly apart.
fn next_slot(target: &Target, now: Timestamp) -> Timestamp {
    let interval = i64::try_from(target.interval.ms())
        .unwrap_or(i64::MAX)
        .max(1);
    let place = xxh64(format!("{}{}", target.url, target.labels).as_bytes(), 0);
    let place = i64::try_from(place % interval.unsigned_abs()).unwrap_or(0);
    let since = (now.ms() - place).rem_euclid(interval);
    now.shifted(interval - since)
}

/// The time of a round's samples: its slot, unless it is noticeably late.
fn time_of(slot: Timestamp, now: Timestamp, interval: Duration) -> Timestamp {
    if now.since(slot).ms() * 100 <= interval.ms() {
        slot
    } else {
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::source::is_stale;
    use crate::model::labels::Labels;
    use crate::model::scrape::SampleTerms;
    use crate::shell::drive::tests::handle;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_is_told_after_two_rounds_with_the_time_of_the_first_until_it_is_stored() {
        let (handle, sampler) = handle(4);
        let target = Target {
            labels: Labels::new().with("instance", "a:1"),
            url: "http://a:1/metrics".to_owned(),
            interval: Duration::from_ms(100),
            timeout: Duration::from_ms(100),
        };
        let identity = ("j".to_owned(), target.labels.clone(), target.url.clone());
        let mut memory = Memory::default();
        let body = "load 1\n".as_bytes();
        let format = crate::ingest::exposition::Format::Text;
        let answer = Ok(Answer { body, format });
        let begun = handle.clock.now();
        memory.round(begun, answer, 0.1, &target.labels, &SampleTerms::default());
        let clock = handle.clock.clone();
        let ending = tokio::spawn(async move { end(&handle, &identity, &target, memory).await });
        let told = tokio::task::spawn_blocking(move || {
            let answers = [Err(PushFailure::Busy), Ok(Pushed::default())];
            answers.map(|answer| {
                let submit = sampler.recv().unwrap();
                submit.reply.unwrap().tell(answer, Vec::new());
                let items = submit.batch.items;
                let ts = items[0].ts.unwrap().shifted(-clock.ahead_ms());
                assert!(items.iter().all(|i| is_stale(i.value)));
                assert!(ts > begun && clock.now().since(ts) >= Duration::from_ms(110));
                (items.len(), ts)
            })
        });
        let [first, second] = told.await.unwrap();
        ending.await.unwrap();
        assert_eq!(first.0, 6);
        assert_eq!(first, second);
    }

    #[test]
    fn slots_are_an_interval_apart_and_targets_are_not_asked_at_once() {
        let target = |host: &str| Target {
            labels: Labels::new().with("instance", host),
            url: format!("http://{host}/metrics"),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        };
        let now = Timestamp::from_ms(1_700_000_001_234);
        let first = next_slot(&target("a:1"), now);
        assert!(first > now && first.since(now) <= Duration::from_secs(10));
        assert_eq!(
            next_slot(&target("a:1"), first),
            first + Duration::from_secs(10)
        );
        assert_eq!(next_slot(&target("a:1"), first.shifted(-1)), first);
        let places: std::collections::BTreeSet<i64> = (0..50)
            .map(|i| next_slot(&target(&format!("h{i}:9100")), now).ms() % 10_000)
            .collect();
        assert!(places.len() > 45, "{places:?}");
        assert_eq!(
            time_of(first, first.shifted(90), Duration::from_secs(10)),
            first
        );
        assert_ne!(
            time_of(first, first.shifted(200), Duration::from_secs(10)),
            first
        );
    }
}
