//! `and`, `or`, `unless`: which side has something in a match group.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::BinaryOp;
use crate::engine::promql::column::Column;
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::part::SetOp;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::engine::promql::workspace::Workspace;

impl<S: Source> Run<'_, S> {
    pub(super) fn set(&mut self, set: &SetOp, out: &mut Column) -> Result<(), EvalError> {
        let Workspace { columns, marks, .. } = &mut *self.ws;
        let (Some(left), Some(right)) = (
            columns.get(set.left as usize),
            columns.get(set.right as usize),
        ) else {
            return Ok(());
        };
        marks.clear();
        marks.resize(set.join.groups, 0);
        // For `or` it matters which groups the left side has, else which the right side has.
        let (marking, groups) = if set.op == BinaryOp::Or {
            (left, &set.join.left_group)
        } else {
            (right, &set.join.right_group)
        };
        for (slot, group) in groups.iter().enumerate() {
            if marking.has(slot)
                && let Some(mark) = marks.get_mut(*group as usize)
            {
                *mark = 1;
            }
        }
        let marked = |groups: &[u32], slot: usize| {
            groups
                .get(slot)
                .and_then(|g| marks.get(*g as usize))
                .is_some_and(|m| *m == 1)
        };
        if set.op != BinaryOp::Or {
            let wanted = set.op == BinaryOp::And;
            for (slot, sample) in left.samples() {
                if marked(&set.join.left_group, slot) == wanted {
                    out.put_sample(slot, sample);
                }
            }
            out.ordered_as(left);
            return Ok(());
        }
        let ordered = !left.order.is_empty() || !right.order.is_empty();
        for (slot, sample) in left.samples() {
            out.put_sample(slot, sample);
            if ordered {
                out.order.push(slot as u32);
            }
        }
        for (slot, sample) in right.samples() {
            if marked(&set.join.right_group, slot) {
                continue;
            }
            let Some(to) = set.right_out.get(slot) else {
                continue;
            };
            if out.has(*to as usize) {
                return Err(EvalError::same_labels());
            }
            out.put_sample(*to as usize, sample);
            if ordered {
                out.order.push(*to);
            }
        }
        Ok(())
    }
}
