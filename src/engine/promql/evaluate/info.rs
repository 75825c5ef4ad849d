//! `info()`: the labels of the newest info series are added to those that it identifies.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::column::{Column, Sample};
use crate::engine::promql::evaluate::{Run, column};
use crate::engine::promql::number::shown;
use crate::engine::promql::part::Info;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::{Source, Value, is_stale};
use crate::model::labels::Labels;

impl<S: Source> Run<'_, S> {
    pub(super) fn info(&mut self, info: &Info, at: i64, out: &mut Column) -> Result<(), EvalError> {
        let newest = self.newest_info(info, at)?;
        let slots = self
            .plan
            .node(info.of)
            .map(|n| n.slots.clone())
            .unwrap_or_else(|| Arc::from([]));
        let of = column(self.ws, info.of).clone();
        for (slot, sample) in of.samples() {
            let (Some(base), Some(groups)) = (slots.get(slot), info.groups.get(slot)) else {
                continue;
            };
            let labels = match groups {
                None => base.labels.as_ref().clone(),
                Some(groups) => match enriched(info, &base.labels, groups, &newest)? {
                    Some(labels) => labels,
                    None => continue,
                },
            };
            self.put_info(info, labels, sample, out)?;
        }
        Ok(())
    }

    fn put_info(
        &mut self,
        info: &Info,
        labels: Labels,
        sample: Sample<'_>,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let Some(slot) = self.dynamic(info.table, labels) else {
            return Ok(());
        };
        if out.has(slot) {
            return Err(EvalError::same_labels());
        }
        out.put_sample(slot, sample);
        Ok(())
    }

    /// For each group of info series the newest one that there is, with its labels.
    fn newest_info(&mut self, info: &Info, at: i64) -> Result<Vec<Option<Arc<Labels>>>, EvalError> {
        let upto = info.when.time(at, self.period);
        let after = upto.saturating_sub(self.plan.settings.lookback_ms);
        let groups = info.group_of.iter().max().map_or(0, |g| *g as usize + 1);
        let mut newest: Vec<Option<(i64, Arc<Labels>)>> = vec![None; groups];
        self.ws.touched += info.series.len();
        let all = info.series.iter().zip(&info.labels).zip(&info.group_of);
        for ((series, labels), group) in all {
            let Some(point) = self.source.newest(*series, after, upto) else {
                continue;
            };
            match &point.value {
                Value::Float(v) if is_stale(*v) => continue,
                Value::Histogram(h) if is_stale(h.sum()) => continue,
                Value::Float(_) => {}
                Value::Histogram(_) => {
                    return Err(EvalError::execution(format!(
                        "this should be an info metric, with float samples: {}",
                        shown(labels)
                    )));
                }
            }
            let Some(place) = newest.get_mut(*group as usize) else {
                continue;
            };
            match place {
                Some((ts, known)) if *ts == point.ts => {
                    return Err(EvalError::execution(format!(
                        "found duplicate series for info metric: existing {} @ {ts}, new {} @ {}",
                        shown(known),
                        shown(labels),
                        point.ts
                    )));
                }
                Some((ts, _)) if *ts > point.ts => {}
                _ => *place = Some((point.ts, labels.clone())),
            }
        }
        Ok(newest.into_iter().map(|n| n.map(|(_, l)| l)).collect())
    }
}

/// The labels of a slot with those of its info series; `None` if it has none and must have one.
fn enriched(
    info: &Info,
    base: &Labels,
    groups: &[u32],
    newest: &[Option<Arc<Labels>>],
) -> Result<Option<Labels>, EvalError> {
    let mut added = Labels::new();
    let mut matched = false;
    for group in groups {
        let Some(Some(labels)) = newest.get(*group as usize) else {
            continue;
        };
        matched = true;
        for (name, value) in labels.iter() {
            let wanted = info.wanted.is_empty() || info.wanted.iter().any(|m| m.name == name);
            if name == "__name__" || !wanted {
                continue;
            }
            let known = added.get(name);
            if !known.is_empty() && known != value {
                return Err(EvalError::execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_empty() {
                added.set(name, value);
            }
        }
    }
    if !matched && info.wanted.iter().any(|m| !m.matches("")) {
        return Ok(None);
    }
    let mut labels = base.clone();
    for (name, value) in added.iter() {
        labels.set(name, value);
    }
    Ok(Some(labels))
}
