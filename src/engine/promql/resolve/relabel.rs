//! `label_replace`, `label_join`, sorting by labels: functions of label sets, done once.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cmp::Ordering;
use std::sync::Arc;

use crate::engine::promql::ast::Expr;
use crate::engine::promql::part::What;
use crate::engine::promql::plan::{NodeId, Slot};
use crate::engine::promql::resolve::aggregate::SlotNumbering;
use crate::engine::promql::resolve::{Part, Resolver};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::labels::Labels;

/// A label's name, if these bytes can be one.
fn label_name(bytes: &[u8]) -> Result<String, String> {
    match String::from_utf8(bytes.to_vec()) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(name) => Err(name),
        Err(e) => Err(String::from_utf8_lossy(e.as_bytes()).into_owned()),
    }
}

impl<S: Source> Resolver<'_, S> {
    pub(super) fn label_replace(
        &mut self,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let [of, to, template, from, pattern] = args else {
            return Err(EvalError::bad("label_replace takes 5 arguments"));
        };
        let (to, template) = (self.text(to)?, self.text(template)?);
        let (from, pattern) = (self.text(from)?, self.text(pattern)?);
        let pattern = String::from_utf8_lossy(&pattern);
        let regex = regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
            .size_limit(1 << 20)
            .build()
            .map_err(|_| {
                EvalError::execution(format!(
                    "invalid regular expression in label_replace(): {pattern}"
                ))
            })?;
        let to = label_name(&to).map_err(|name| {
            EvalError::execution(format!(
                "invalid destination label name in label_replace(): {name}"
            ))
        })?;
        let from = String::from_utf8_lossy(&from).into_owned();
        let template = String::from_utf8_lossy(&template).into_owned();
        let (of, fixed) = self.vector(of)?;
        self.relabel(of, at, fixed, |slot| {
            let found = regex.captures(slot.labels.get(&from))?;
            let mut value = String::new();
            found.expand(&template, &mut value);
            Some(with_label(slot, &to, &value))
        })
    }

    pub(super) fn label_join(
        &mut self,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let [of, to, separator, from @ ..] = args else {
            return Err(EvalError::bad("label_join takes at least 3 arguments"));
        };
        let (to, separator) = (self.text(to)?, self.text(separator)?);
        let separator = String::from_utf8_lossy(&separator).into_owned();
        let mut sources = Vec::with_capacity(from.len());
        for name in from {
            let name = self.text(name)?;
            sources.push(label_name(&name).map_err(|name| {
                EvalError::execution(format!("invalid source label name in label_join(): {name}"))
            })?);
        }
        let to = label_name(&to).map_err(|name| {
            EvalError::execution(format!(
                "invalid destination label name in label_join(): {name}"
            ))
        })?;
        let (of, fixed) = self.vector(of)?;
        self.relabel(of, at, fixed, |slot| {
            let values: Vec<&str> = sources.iter().map(|n| slot.labels.get(n)).collect();
            Some(with_label(slot, &to, &values.join(&separator)))
        })
    }

    fn relabel(
        &mut self,
        of: NodeId,
        at: usize,
        fixed: bool,
        rewrite: impl Fn(&Slot) -> Option<Slot>,
    ) -> Result<(Part, bool), EvalError> {
        let mut slots = SlotNumbering::default();
        let out = self
            .slots(of)
            .iter()
            .map(|slot| match rewrite(slot) {
                Some(new) => slots.number(&new),
                None => slots.number(slot),
            })
            .collect();
        let id = self.push(What::Relabel { of, out }, slots.finish(), at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }

    pub(super) fn sort_by_label(
        &mut self,
        args: &[Expr],
        descending: bool,
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let Some((of, names)) = args.split_first() else {
            return Err(EvalError::bad("sort_by_label takes a vector"));
        };
        let mut labels = Vec::with_capacity(names.len());
        for name in names {
            labels.push(String::from_utf8_lossy(&self.text(name)?).into_owned());
        }
        let (of, fixed) = self.vector(of)?;
        let slots = self.slots(of);
        let mut sorted: Vec<(u32, &Slot)> = (0_u32..).zip(slots.iter()).collect();
        sorted.sort_by(|(_, a), (_, b)| {
            let order = by_labels(&a.labels, &b.labels, &labels);
            if descending { order.reverse() } else { order }
        });
        let mut ranked: Vec<(u32, u32)> = sorted
            .iter()
            .zip(0_u32..)
            .map(|((slot, _), rank)| (*slot, rank))
            .collect();
        ranked.sort_unstable();
        let rank = ranked.into_iter().map(|(_, rank)| rank).collect();
        let id = self.push(What::SortByLabel { of, rank }, slots.clone(), at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }
}

fn with_label(slot: &Slot, name: &str, value: &str) -> Slot {
    let labels = slot.labels.as_ref().clone().with(name, value);
    Slot {
        labels: Arc::new(labels),
        dropped: slot.dropped && name != "__name__",
    }
}

fn by_labels(a: &Labels, b: &Labels, names: &[String]) -> Ordering {
    for name in names {
        let (x, y) = (a.get(name), b.get(name));
        if x != y {
            return if naturally_before(x, y) {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
    }
    a.cmp(b)
}

/// Digits and everything else, in turn.
fn chunks(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != digit)
            .unwrap_or(rest.len());
        let (chunk, tail) = rest.split_at(end);
        all.push(chunk);
        rest = tail;
    }
    all
}

/// Whether a text stands before another where numbers in it count as numbers.
fn naturally_before(a: &str, b: &str) -> bool {
    let (left, right) = (chunks(a), chunks(b));
    for (i, x) in left.iter().enumerate() {
        let Some(y) = right.get(i) else {
            return false;
        };
        let (n, m) = (x.parse::<i64>(), y.parse::<i64>());
        let equal = match (&n, &m) {
            (Ok(n), Ok(m)) if n != m => return n < m,
            (Ok(_), Ok(_)) => true,
            _ if x == y => true,
            _ => return x < y,
        };
        if equal && i + 1 == left.len() {
            return true;
        }
        if equal && i + 1 == right.len() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_numbers() {
        let mut all = ["cpu10", "cpu9", "cpu2", "disk", "cpu", "7"];
        all.sort_by(|a, b| {
            if naturally_before(a, b) {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        });
        assert_eq!(all, ["7", "cpu", "cpu2", "cpu9", "cpu10", "disk"]);
    }
}
