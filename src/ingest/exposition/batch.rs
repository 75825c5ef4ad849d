//! A whole body → a batch, as a push brings it: samples without a time get the time of their arrival.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::intake::{Batch, Item, Whose};
use crate::ingest::exposition::{Entry, ExpositionError, Format, Reader};
use crate::ingest::key::put_key;
use crate::ingest::metadata::{Metadata, bounded};
use crate::ingest::{Decoded, Refused, SAMPLES_COUNT_MAX, offset};

/// Decodes a body. Samples whose labels cannot be taken are named one by one; a body that cannot be read is refused as
/// a whole.
///
/// # Errors
/// [`ExpositionError`].
pub fn decode(body: &[u8], format: Format) -> Result<Decoded, ExpositionError> {
    let mut decoded = Decoded {
        batch: Batch {
            exact: true,
            ..Batch::default()
        },
        ..Decoded::default()
    };
    let mut reader = Reader::new(body, format)?;
    let mut index = 0_u32;
    while let Some(entry) = reader.read()? {
        let sample = match entry {
            Entry::Sample(sample) => sample,
            described => {
                note(&mut decoded.metadata, described);
                continue;
            }
        };
        let keys = &mut decoded.batch.keys;
        let start = keys.len();
        match put_key(sample.name.as_bytes(), reader.labels(), keys) {
            Ok(()) => {
                let key = offset(start)..offset(keys.len());
                decoded.batch.items.push(Item {
                    index,
                    whose: Whose::Key(key),
                    ts: sample.ts,
                    value: sample.value,
                    id: None,
                });
            }
            Err((field, reason)) => {
                keys.truncate(start);
                decoded.refused.push(Refused {
                    index,
                    field,
                    reason: reason.into(),
                });
            }
        }
        index += 1;
        if index as usize > SAMPLES_COUNT_MAX {
            let what = format!("more than {SAMPLES_COUNT_MAX} samples: send them in parts");
            return Err(reader.error(what));
        }
    }
    Ok(decoded)
}

/// Takes down what a body says of a metric.
pub fn note(metadata: &mut Metadata, entry: Entry<'_>) {
    match entry {
        Entry::Sample(_) => {}
        Entry::Type(metric, kind) => metadata.describe(&metric, |d| d.kind = kind),
        Entry::Help(metric, help) => metadata.describe(&metric, |d| d.help = bounded(&help)),
        Entry::Unit(metric, unit) => metadata.describe(&metric, |d| d.unit = bounded(unit)),
    }
}
