//! Reading a log from a position on. It needs no lock and changes nothing, so a copied directory can be read as well.

use std::ops::ControlFlow;
use std::path::Path;

use crate::model::time::Timestamp;
use crate::shell::store::Damage;
use crate::shell::store::Pos;
use crate::shell::store::Record;
use crate::shell::store::StoreError;
use crate::shell::store::segments;

/// What a replay came upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// How many records it gave.
    pub records: u64,
    /// How many positions between `from` and the tail have no record: damaged, or in a segment that is gone.
    pub lost: u64,
    /// The last position of the log; [`Pos::START`] if there is none.
    pub tail: Pos,
    /// Bad bytes with good records after them, and places where records should be and are not.
    pub damaged: Vec<Damage>,
    /// Bytes of an unfinished write at the end.
    pub torn_bytes: u64,
}

/// Gives every record from `from` on to `each`.
///
/// A batch of samples needs the definitions before it in its segment; for those begin at [`segment_start`].
///
/// # Errors
/// [`StoreError::Io`]; [`StoreError::Version`] if a later program wrote a segment.
pub fn replay(
    dir: &Path,
    from: Pos,
    each: &mut dyn FnMut(Record<'_>),
) -> Result<ReplayReport, StoreError> {
    let all = segments::list(dir)?;
    let mut report = ReplayReport::default();
    let mut want = from.max(Pos::new(1));
    let mut guess = 1;
    for (i, segment) in all.iter().enumerate() {
        let next = all.get(i + 1);
        if next.is_some_and(|n| n.first <= want) {
            continue;
        }
        let absent = segment.first.number().saturating_sub(want.number());
        if absent > 0 && report.tail == Pos::START {
            report.damaged.push(Damage {
                file: segment.path.clone(),
                from: 0,
                to: 0,
                lost: absent,
            });
        }
        let mut on_record = |record: Record<'_>| {
            if record.pos >= want {
                report.lost += record.pos.number() - want.number();
                want = record.pos.next();
                report.records += 1;
                each(record);
            }
            ControlFlow::Continue(())
        };
        let Some(mut look) = segments::look(segment, guess, &mut on_record)? else {
            continue;
        };
        if let Some(next) = next {
            look = look.sealed(segment, next);
        }
        guess = look.segment_no.unwrap_or(guess).saturating_add(1);
        report.torn_bytes += look.torn_bytes;
        report.damaged.append(&mut look.damaged);
        report.tail = Pos::new(look.next.saturating_sub(1));
    }
    report.lost += report.tail.next().number().saturating_sub(want.number());
    Ok(report)
}

/// The first position of the segment that holds `pos`.
///
/// # Errors
/// [`StoreError::Io`].
pub fn segment_start(dir: &Path, pos: Pos) -> Result<Pos, StoreError> {
    let all = segments::list(dir)?;
    let before = all.iter().rev().find(|s| s.first <= pos);
    Ok(before.or(all.first()).map_or(pos, |s| s.first))
}

/// The first position of the first segment that was last written at `time` or later; past the end if there is none.
///
/// # Errors
/// [`StoreError::Io`].
pub fn written_since(dir: &Path, time: Timestamp) -> Result<Pos, StoreError> {
    let all = segments::list(dir)?;
    for segment in &all {
        if segment.written_ms()? >= time.ms() {
            return Ok(segment.first);
        }
    }
    Ok(Pos::new(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::store::Log;
    use crate::shell::store::log::Options;
    use crate::shell::store::log::SegLog;
    use crate::shell::store::scratch::Scratch;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn whatever_is_hit_the_rest_keeps_its_place_and_the_log_goes_on(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..40),
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..), 0..4),
        ) {
            let scratch = Scratch::new();
            let dir = scratch.path();
            let options = Options { segment_bytes_max: 600, preallocate: false };
            let (mut log, _) = SegLog::open(dir, options).unwrap();
            for payload in &payloads {
                log.append(1, payload).unwrap();
            }
            log.commit().unwrap();
            drop(log);
            let files = segments::list(dir).unwrap();
            for (file, at, flip) in &hits {
                let path = &file.get(&files).path;
                let mut bytes = std::fs::read(path).unwrap();
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
                std::fs::write(path, bytes).unwrap();
            }
            let (mut log, opened) = SegLog::open(dir, options).unwrap();
            let added = log.append(2, b"after").unwrap();
            log.commit().unwrap();
            let mut seen = 0;
            let mut last = Pos::START;
            let report = replay(dir, Pos::START, &mut |r| {
                assert!(r.pos > last);
                last = r.pos;
                if r.kind == 1 {
                    assert_eq!(r.payload, payloads[r.pos.number() as usize - 1]);
                    seen += 1;
                }
            }).unwrap();
            prop_assert_eq!((last, report.tail), (added, added));
            prop_assert_eq!(report.records + report.lost, added.number());
            prop_assert_eq!(report.torn_bytes, 0);
            let told: u64 = report.damaged.iter().map(|d| d.lost).sum();
            prop_assert!(told == report.lost || opened.torn_bytes > 0, "{:?}", report);
            prop_assert!(seen + hits.len() >= payloads.len(), "a hit costs at most one record");
            prop_assert!(seen == payloads.len() || opened.torn_bytes > 0 || !report.damaged.is_empty());
        }
    }
}
