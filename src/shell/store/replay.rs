//! Reading a log from a position on. It needs no lock and changes nothing, so a copied directory can be read as well.

use std::ops::ControlFlow;
use std::path::Path;

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
    /// Bad bytes with good records after them.
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
        if next.is_some() {
            look = look.sealed(segment);
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
