//! The labels of a scraped sample: its own, the target's, and what relabelling makes of them.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;

use crate::ingest::exposition::Label;
use crate::ingest::key::{NAME, put_key};
use crate::model::labels::Labels;
use crate::model::relabel::relabel;
use crate::model::scrape::{SampleTerms, ScrapeLimits};

/// Where a label of a sample goes that has the name of one of the target.
const EXPORTED: &str = "exported_";

/// Appends the key of a sample; false: a step dropped it, and nothing was appended.
///
/// # Errors
/// The labels make no series, or are beyond a limit.
pub(super) fn put<'a>(
    metric: &str,
    labels: &mut Vec<Label<'a>>,
    target: &'a Labels,
    terms: &SampleTerms,
    keys: &mut Vec<u8>,
) -> Result<bool, String> {
    join(labels, target, terms.honor_labels);
    let why = |(_, why)| why;
    if terms.relabel.is_empty() {
        check(labels.iter().map(|(n, v)| (&**n, &**v)), terms.limits)?;
        put_key(metric.as_bytes(), labels, keys).map_err(why)?;
        return Ok(true);
    }
    let mut all = Labels::new();
    for (name, value) in labels.drain(..) {
        all.set(name, value);
    }
    all.set(NAME, metric);
    let Some(all) = relabel(&terms.relabel, all) else {
        return Ok(false);
    };
    if all.is_empty() {
        return Ok(false);
    }
    let metric = all.get(NAME).as_bytes();
    let mut rest: Vec<(&str, &str)> = all.iter().filter(|(n, _)| *n != NAME).collect();
    check(rest.iter().copied(), terms.limits)?;
    put_key(metric, &mut rest, keys).map_err(why)?;
    Ok(true)
}

/// Adds the target's labels to a sample's.
fn join<'a>(labels: &mut Vec<Label<'a>>, target: &'a Labels, honor: bool) {
    for (name, value) in target.iter() {
        let own = labels.iter().position(|(n, _)| n == name);
        match own {
            Some(_) if honor => continue,
            Some(at) => {
                let (_, value) = labels.swap_remove(at);
                if !value.is_empty() {
                    let mut other = format!("{EXPORTED}{name}");
                    while labels.iter().any(|(n, _)| *n == other) || !target.get(&other).is_empty()
                    {
                        other.insert_str(0, EXPORTED);
                    }
                    labels.push((Cow::Owned(other), value));
                }
            }
            None => {}
        }
        labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
}

fn check<'l>(
    labels: impl Iterator<Item = (&'l str, &'l str)>,
    limits: ScrapeLimits,
) -> Result<(), String> {
    let beyond = |what: String, found: usize, key: &str, limit: Option<usize>| match limit {
        Some(limit) if found > limit => {
            Err(format!("{what} {found}; the limit (`{key}`) is {limit}"))
        }
        Some(_) | None => Ok(()),
    };
    // The metric's name is a label.
    let mut count = 1;
    for (name, value) in labels {
        count += 1;
        let (key, limit) = ("label_name_length_limit", limits.label_name_bytes);
        beyond(
            "bytes of a label's name:".to_owned(),
            name.len(),
            key,
            limit,
        )?;
        let (key, limit) = ("label_value_length_limit", limits.label_value_bytes);
        beyond(format!("bytes of {name:?}:"), value.len(), key, limit)?;
    }
    beyond("labels:".to_owned(), count, "label_limit", limits.labels)
}
