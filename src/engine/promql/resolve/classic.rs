//! Histograms for `histogram_quantile` and its like: which slots are the buckets of one classic histogram.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::Origin;
use crate::engine::promql::ast::Expr;
use crate::engine::promql::functions::math::arithmetic;
use crate::engine::promql::number::{max, min, open_metrics, parse};
use crate::engine::promql::part::{Classic, ClassicFn, Quantile, Scalar, What};
use crate::engine::promql::plan::{NONE, Slot};
use crate::engine::promql::resolve::aggregate::{Numbering, SlotNumbering};
use crate::engine::promql::resolve::{Part, Resolver, bare, final_labels};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::labels::Labels;

/// Results: a label that is added for each, and its value.
type Added = Option<(String, String)>;

impl<S: Source> Resolver<'_, S> {
    pub(super) fn classic(
        &mut self,
        function: &str,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let malformed =
            || EvalError::bad(format!("wrong number of arguments in call to {function}"));
        let place = |r: &Self, e: &Expr| r.origin(bare(e).span.start);
        match function {
            "histogram_quantile" => {
                let [q, of] = args else {
                    return Err(malformed());
                };
                let (q_from, of_from) = (place(self, q), place(self, of));
                let (q, q_fixed) = self.scalar(q)?;
                self.histograms(
                    of,
                    ClassicFn::Quantile(q),
                    &[None],
                    (of_from, vec![q_from]),
                    at,
                    q_fixed,
                )
            }
            "histogram_fraction" => {
                let [lower, upper, of] = args else {
                    return Err(malformed());
                };
                let of_from = place(self, of);
                let (lower, lower_fixed) = self.scalar(lower)?;
                let (upper, upper_fixed) = self.scalar(upper)?;
                self.histograms(
                    of,
                    ClassicFn::Fraction(lower, upper),
                    &[None],
                    (of_from, Vec::new()),
                    at,
                    lower_fixed && upper_fixed,
                )
            }
            _ => {
                let [of, label, qs @ ..] = args else {
                    return Err(malformed());
                };
                let of_from = place(self, of);
                let label = String::from_utf8_lossy(&self.text(label)?).into_owned();
                let (mut quantiles, mut from) = (Vec::new(), Vec::new());
                let mut values: Vec<String> = Vec::new();
                let mut fixed = true;
                for q in qs {
                    from.push(place(self, q));
                    let (scalar, scalar_fixed) = self.scalar(q)?;
                    fixed &= scalar_fixed;
                    let turn = constant(&scalar).map(|v| turn_of(&mut values, open_metrics(v)));
                    quantiles.push(Quantile { scalar, turn });
                }
                // What is no constant gets its results when its value has been seen.
                let table = if quantiles.iter().any(|q| q.turn.is_none()) {
                    let (table, seen) = self.table();
                    for slot in seen.iter() {
                        turn_of(&mut values, slot.labels.get(&label).to_owned());
                    }
                    Some(table)
                } else {
                    None
                };
                let added: Vec<Added> = values
                    .iter()
                    .map(|v| Some((label.clone(), v.clone())))
                    .collect();
                let function = ClassicFn::Labelled {
                    quantiles,
                    label,
                    values,
                    table,
                };
                self.histograms(of, function, &added, (of_from, from), at, fixed)
            }
        }
    }

    fn histograms(
        &mut self,
        of: &Expr,
        function: ClassicFn,
        added: &[Added],
        (of_from, args_from): (Origin, Vec<Origin>),
        at: usize,
        fixed: bool,
    ) -> Result<(Part, bool), EvalError> {
        let (of, of_fixed) = self.vector(of)?;
        let fixed = fixed && of_fixed;
        let slots = self.slots(of);
        let mut groups = Numbering::default();
        let mut dropped = Vec::new();
        let (mut group_of, mut bound_of) = (Vec::new(), Vec::new());
        for slot in slots.iter() {
            let bound = parse(slot.labels.get("le"));
            bound_of.push(bound.unwrap_or(f64::NAN));
            group_of.push(match bound {
                None => NONE,
                Some(_) => {
                    let key = slot.labels.as_ref().clone().with("le", "");
                    let group = groups.number(key);
                    if dropped.len() <= group as usize {
                        dropped.push(slot.dropped);
                    }
                    group
                }
            });
        }
        let (members, starts) = sorted_members(&group_of, &bound_of, groups.keys.len());
        let rival_of = slots
            .iter()
            .map(|slot| groups.find(&slot.labels).unwrap_or(NONE))
            .collect();
        let metrics: Box<[Arc<Labels>]> = groups.keys.iter().cloned().map(Arc::new).collect();

        let mut out = SlotNumbering::default();
        let delayed = self.settings.delayed_name_removal;
        let mut result = |labels: &Arc<Labels>, added: &Added| {
            let nameless = if delayed {
                labels.clone()
            } else {
                final_labels(&Slot {
                    labels: labels.clone(),
                    dropped: true,
                })
            };
            let labels = match added {
                None => nameless,
                Some((name, value)) => Arc::new(nameless.as_ref().clone().with(name, value)),
            };
            out.number(&Slot {
                labels,
                dropped: delayed,
            })
        };
        let (mut native_out, mut classic_out) = (Vec::new(), Vec::new());
        for a in added {
            native_out.extend(slots.iter().map(|s| result(&s.labels, a)));
            classic_out.extend(metrics.iter().map(|m| result(m, a)));
        }
        let what = What::Classic(Box::new(Classic {
            of,
            function,
            group_of: group_of.into_boxed_slice(),
            bound_of: bound_of.into_boxed_slice(),
            members,
            starts,
            rival_of,
            classic_out: classic_out.into_boxed_slice(),
            native_out: native_out.into_boxed_slice(),
            of_from,
            args_from,
            metrics,
        }));
        let id = self.push(what, out.finish(), at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }
}

/// The place of a value among the others; it is added if it is new.
fn turn_of(values: &mut Vec<String>, value: String) -> usize {
    values.iter().position(|v| *v == value).unwrap_or_else(|| {
        values.push(value);
        values.len() - 1
    })
}

/// The slots of each group by bound, and where each group's slots begin.
fn sorted_members(group_of: &[u32], bound_of: &[f64], groups: usize) -> (Box<[u32]>, Box<[u32]>) {
    let mut all: Vec<(u32, f64, u32)> = group_of
        .iter()
        .zip(bound_of)
        .zip(0_u32..)
        .filter(|((g, _), _)| **g != NONE)
        .map(|((g, bound), slot)| (*g, *bound, slot))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let starts = (0..=groups as u32)
        .map(|g| all.partition_point(|m| m.0 < g) as u32)
        .collect();
    (all.into_iter().map(|m| m.2).collect(), starts)
}

/// The value of a scalar that is the same whatever the query.
pub(in crate::engine::promql) fn constant(scalar: &Scalar) -> Option<f64> {
    Some(match scalar {
        Scalar::Number(v) => *v,
        Scalar::Negate(of) => -constant(of)?,
        Scalar::Binary(op, a, b) => arithmetic(*op, constant(a)?, constant(b)?),
        Scalar::Max(a, b) => max(constant(a)?, constant(b)?),
        Scalar::Min(a, b) => min(constant(a)?, constant(b)?),
        Scalar::Time | Scalar::Start | Scalar::End | Scalar::Of(_) => return None,
    })
}
