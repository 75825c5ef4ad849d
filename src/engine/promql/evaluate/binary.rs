//! Operators between two vectors: the present slots of each match group meet.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::BinaryOp;
use crate::engine::promql::column::{Column, Sample};
use crate::engine::promql::evaluate::elementwise::{Operated, operate};
use crate::engine::promql::evaluate::{Run, filters};
use crate::engine::promql::functions::math::{arithmetic, compare};
use crate::engine::promql::number::shown;
use crate::engine::promql::part::{Binary, Node};
use crate::engine::promql::plan::{NONE, NodeId, Plan};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::engine::promql::workspace::Workspace;

impl<S: Source> Run<'_, S> {
    pub(super) fn binary(
        &mut self,
        node: &Node,
        binary: &Binary,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let (many_id, one_id) = if binary.one_is_left {
            (binary.right, binary.left)
        } else {
            (binary.left, binary.right)
        };
        let (many_group, one_group) = if binary.one_is_left {
            (&binary.join.right_group, &binary.join.left_group)
        } else {
            (&binary.join.left_group, &binary.join.right_group)
        };
        let plan = self.plan;
        let Workspace {
            columns,
            ones,
            marks,
            claims,
            notes,
            ..
        } = &mut *self.ws;
        let (Some(many), Some(one)) = (columns.get(many_id as usize), columns.get(one_id as usize))
        else {
            return Ok(());
        };
        let fills = binary.fill_one.is_some() || binary.fill_many.is_some();
        let (no_many, no_one) = (many.is_empty(), one.is_empty());
        if (no_many && no_one) || ((no_many || no_one) && !fills) {
            return Ok(());
        }

        // Which slot stands on the one side of each group.
        ones.clear();
        ones.resize(binary.join.groups, NONE);
        for slot in one.present() {
            let Some(place) = one_group.get(slot).and_then(|g| ones.get_mut(*g as usize)) else {
                continue;
            };
            if *place != NONE {
                return Err(not_one(plan, binary, one_id, (slot, *place as usize)));
            }
            *place = slot as u32;
        }

        let mut pair = Pair {
            binary,
            node,
            notes,
            out,
            matched: marks,
            claims,
            floats_only: !many.mixed && !one.mixed,
        };
        pair.matched.clear();
        pair.matched.resize(binary.join.groups, 0);
        if !binary.one_to_one {
            pair.claims.clear();
            pair.claims.resize(node.slots.len(), NONE);
        }
        let ordered = !many.order.is_empty();
        let mut order = Vec::new();
        for (slot, sample) in many.samples() {
            let (Some(group), Some(base)) = (many_group.get(slot), binary.many_base.get(slot))
            else {
                continue;
            };
            let met = ones.get(*group as usize).copied().unwrap_or(NONE);
            let (other, class) = if met != NONE {
                let class = binary.one_class.get(met as usize);
                (one.get(met as usize), class)
            } else {
                let filled = binary.fill_one.map(Sample::Float);
                (filled, binary.filled_class.get(*group as usize))
            };
            let (Some(other), Some(class)) = (other, class) else {
                continue;
            };
            let Some(result) = binary.results.get((*base + *class) as usize) else {
                continue;
            };
            if pair.meet(*group, sample, other, *result)? && ordered {
                order.push(*result);
            }
        }
        if let Some(fill) = binary.fill_many {
            for (group, slot) in (0_u32..).zip(ones.iter()) {
                let unmatched = pair.matched.get(group as usize) == Some(&0);
                let (true, Some(sample)) = (unmatched, one.get(*slot as usize)) else {
                    continue;
                };
                let Some(result) = binary.many_filled.get(*slot as usize) else {
                    continue;
                };
                if pair.meet(group, Sample::Float(fill), sample, *result)? && ordered {
                    order.push(*result);
                }
            }
        }
        pair.out.order = order;
        Ok(())
    }
}

/// Two series stand where one may.
#[cold]
fn not_one(plan: &Plan, binary: &Binary, id: NodeId, (second, first): (usize, usize)) -> EvalError {
    let labels = |slot: usize| {
        plan.node(id)
            .and_then(|n| n.slots.get(slot))
            .map(|s| s.labels.clone())
            .unwrap_or_default()
    };
    let side = if binary.one_is_left { "left" } else { "right" };
    let mut both = [labels(second), labels(first)];
    both.sort();
    let [a, b] = &both;
    EvalError::execution(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
        shown(&binary.keys.of(a)),
        shown(a),
        shown(b),
    ))
}

/// The results of a join as they are made.
struct Pair<'a> {
    binary: &'a Binary,
    node: &'a Node,
    notes: &'a mut crate::engine::promql::annotate::Notes,
    out: &'a mut Column,
    /// How often each group has met.
    matched: &'a mut Vec<u32>,
    /// For each slot of the result the group that has it, where many meet one.
    claims: &'a mut Vec<u32>,
    floats_only: bool,
}

impl Pair<'_> {
    /// Puts what two values yield into a slot; whether there is anything.
    #[inline(always)]
    fn meet(
        &mut self,
        group: u32,
        many: Sample<'_>,
        one: Sample<'_>,
        result: u32,
    ) -> Result<bool, EvalError> {
        let (left, right) = if self.binary.one_is_left {
            (one, many)
        } else {
            (many, one)
        };
        let (op, returns_bool) = (self.binary.op, self.binary.returns_bool);
        let slot = result as usize;
        if self.floats_only
            && let (Sample::Float(a), Sample::Float(b)) = (left, right)
            && !matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
        {
            self.once(group, slot)?;
            if filters(op, returns_bool) {
                if compare(op, a, b) {
                    self.out.put(slot, a);
                    return Ok(true);
                }
                return Ok(false);
            }
            self.out.put(slot, arithmetic(op, a, b));
            return Ok(true);
        }
        let Ok(done) = operate(op, left, right, self.node.from, self.notes) else {
            return Ok(false);
        };
        self.once(group, slot)?;
        if returns_bool {
            self.out.put(slot, f64::from(u8::from(done.keep)));
            return Ok(true);
        }
        if !done.keep {
            return Ok(false);
        }
        match done.value {
            Operated::Float(v) => self.out.put(slot, v),
            Operated::Histogram(h) => self.out.put_histogram(slot, h),
        }
        Ok(true)
    }

    /// A group meets once where there is one on each side, and never twice with the same result; also where the result
    /// is filtered out.
    #[inline(always)]
    fn once(&mut self, group: u32, slot: usize) -> Result<(), EvalError> {
        if self.binary.one_to_one {
            let Some(times) = self.matched.get_mut(group as usize) else {
                return Ok(());
            };
            *times += 1;
            if *times > 1 {
                return Err(EvalError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            return Ok(());
        }
        if let Some(times) = self.matched.get_mut(group as usize) {
            *times += 1;
        }
        let Some(claim) = self.claims.get_mut(slot) else {
            return Ok(());
        };
        let before = std::mem::replace(claim, group);
        if before == group {
            return Err(EvalError::execution(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        if before != NONE && self.out.has(slot) {
            return Err(EvalError::same_labels());
        }
        Ok(())
    }
}
