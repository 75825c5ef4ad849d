//! Aggregations: which slot goes into which group.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::ast::{Aggregation, Expr, Grouping, Kind, On};
use crate::engine::promql::functions::hash::stand;
use crate::engine::promql::number::quoted_bytes;
use crate::engine::promql::part::{Choose, CountValues, Gather, Scalar, What};
use crate::engine::promql::plan::{Index, Slot, Slots};
use crate::engine::promql::resolve::{Part, Resolver, bare};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::labels::Labels;

/// The labels by which values are gathered or matched.
#[derive(Clone, Debug)]
pub(in crate::engine::promql) enum Keys {
    /// These only.
    By(Vec<String>),
    /// All but these and the name.
    Without(Vec<String>),
}

impl Keys {
    pub(super) fn grouping(grouping: &Grouping) -> Self {
        match grouping {
            Grouping::By(names) => Keys::By(names.clone()),
            Grouping::Without(names) => Keys::Without(names.clone()),
        }
    }
    pub(super) fn matching(on: Option<&On>) -> Self {
        match on {
            Some(On::On(names)) => Keys::By(names.clone()),
            Some(On::Ignoring(names)) => Keys::Without(names.clone()),
            None => Keys::Without(Vec::new()),
        }
    }
    /// The key of a label set.
    pub(in crate::engine::promql) fn of(&self, labels: &Labels) -> Labels {
        match self {
            Keys::By(names) => names.iter().map(|n| (n.as_str(), labels.get(n))).collect(),
            Keys::Without(names) => labels
                .iter()
                .filter(|(n, _)| *n != "__name__" && !names.iter().any(|w| w == n))
                .collect(),
        }
    }
}

/// Numbers keys in order of first sight.
#[derive(Default)]
pub(super) struct Numbering {
    numbers: Index<Labels, u32>,
    pub(super) keys: Vec<Labels>,
}

impl Numbering {
    pub(super) fn number(&mut self, key: Labels) -> u32 {
        if let Some(n) = self.numbers.get(&key) {
            return *n;
        }
        let n = self.keys.len() as u32;
        self.keys.push(key.clone());
        self.numbers.insert(key, n);
        n
    }
    pub(super) fn find(&self, key: &Labels) -> Option<u32> {
        self.numbers.get(key).copied()
    }
}

/// Numbers slots: those with the same labels that keep or drop their name alike are one.
#[derive(Default)]
pub(super) struct SlotNumbering {
    numbers: Index<(Arc<Labels>, bool), u32>,
    pub(super) slots: Vec<Slot>,
}

impl SlotNumbering {
    pub(super) fn number(&mut self, slot: &Slot) -> u32 {
        let key = (slot.labels.clone(), slot.dropped);
        *self.numbers.entry(key).or_insert_with(|| {
            self.slots.push(slot.clone());
            self.slots.len() as u32 - 1
        })
    }
    pub(super) fn finish(self) -> Slots {
        self.slots.into()
    }
}

impl<S: Source> Resolver<'_, S> {
    pub(super) fn aggregate(&mut self, expr: &Expr) -> Result<(Part, bool), EvalError> {
        let Kind::Aggregate {
            op,
            grouping,
            param,
            expr: of,
        } = &expr.kind
        else {
            return Err(EvalError::bad("expected an aggregation"));
        };
        let at = expr.span.start;
        let keys = Keys::grouping(grouping);
        let of_expr = bare(of);
        if *op == Aggregation::CountValues {
            let label = match param {
                Some(p) => self.text(p)?,
                None => Vec::new(),
            };
            return self.count_values(keys, &label, of_expr, at);
        }
        let param_from = self.origin(param.as_ref().map_or(at, |p| bare(p).span.start));
        let param = match param {
            Some(p) => self.scalar(p)?.0,
            None => Scalar::Number(0.0),
        };
        let (of, fixed) = self.vector(of_expr)?;
        let of_from = self.origin(of_expr.span.start);
        let slots = self.slots(of);
        let mut groups = Numbering::default();
        let mut dropped: Vec<bool> = Vec::new();
        let group_of: Box<[u32]> = slots
            .iter()
            .map(|slot| {
                let group = groups.number(keys.of(&slot.labels));
                match dropped.get_mut(group as usize) {
                    Some(d) => *d |= slot.dropped,
                    None => dropped.push(slot.dropped),
                }
                group
            })
            .collect();
        let (what, slots) = match op {
            Aggregation::TopK
            | Aggregation::BottomK
            | Aggregation::LimitK
            | Aggregation::LimitRatio => {
                let stands = match op {
                    Aggregation::LimitRatio => slots.iter().map(|s| stand(&s.labels)).collect(),
                    _ => Box::default(),
                };
                let choose = Choose {
                    op: *op,
                    of,
                    param,
                    group_of,
                    groups: groups.keys.len(),
                    stands,
                    param_from,
                };
                (What::Choose(Box::new(choose)), slots)
            }
            _ => {
                let out = groups
                    .keys
                    .into_iter()
                    .zip(dropped)
                    .map(|(labels, dropped)| Slot {
                        labels: Arc::new(labels),
                        dropped,
                    })
                    .collect();
                let gather = Gather {
                    op: *op,
                    of,
                    param,
                    group_of,
                    of_from,
                    param_from,
                };
                (What::Gather(Box::new(gather)), out)
            }
        };
        Ok((Part::Vector(self.push(what, slots, at, fixed)?), fixed))
    }

    fn count_values(
        &mut self,
        keys: Keys,
        label: &[u8],
        of_expr: &Expr,
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let invalid =
            || EvalError::execution(format!("invalid label name {}", quoted_bytes(label)));
        let label = String::from_utf8(label.to_vec()).map_err(|_| invalid())?;
        if label.is_empty() {
            return Err(invalid());
        }
        let grouping = match keys {
            Keys::By(mut names) => {
                names.push(label.clone());
                Keys::By(names)
            }
            without @ Keys::Without(_) => without,
        };
        let (of, fixed) = self.vector(of_expr)?;
        let (table, seen) = self.table();
        let what = What::CountValues(Box::new(CountValues {
            of,
            label,
            grouping,
            table,
        }));
        Ok((Part::Vector(self.push(what, seen, at, fixed)?), fixed))
    }
}
