//! `topk`, `bottomk`, `limitk`, `limit_ratio`, and sorting: some of the values, or all of them in another order.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cmp::Ordering;

use crate::engine::promql::ast::Aggregation;
use crate::engine::promql::column::{Column, Sample};
use crate::engine::promql::evaluate::{Run, column};
use crate::engine::promql::number::shortest;
use crate::engine::promql::part::{Choose, Node};
use crate::engine::promql::plan::NodeId;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;

/// A number and whose it is.
type Entry = (f64, u32);

impl<S: Source> Run<'_, S> {
    pub(super) fn choose(
        &mut self,
        node: &Node,
        choose: &Choose,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let param = self.scalar(&choose.param, at);
        if choose.op == Aggregation::LimitRatio {
            return self.limit_ratio(choose, param, out);
        }
        if param.is_nan() {
            return Err(EvalError::execution("Parameter value is NaN"));
        }
        if param < 1.0 {
            return Ok(());
        }
        if param >= (i64::MAX - 1_023) as f64 {
            return Err(EvalError::execution(format!(
                "Scalar value {} overflows int64",
                shortest(param)
            )));
        }
        let k = (param as i64 as usize).min(choose.group_of.len());
        if choose.op == Aggregation::LimitK {
            self.limitk(choose, k, out);
            return Ok(());
        }
        self.topk(node, choose, k, out);
        Ok(())
    }

    /// A heap of the k largest of each group, with the smallest of them on top; or the other way round.
    fn topk(&mut self, node: &Node, choose: &Choose, k: usize, out: &mut Column) {
        let largest = choose.op == Aggregation::TopK;
        let before = |a: f64, b: f64| {
            if largest {
                a.is_nan() || a < b
            } else {
                a.is_nan() || a > b
            }
        };
        let mut heaps: Vec<Vec<Entry>> = vec![Vec::new(); choose.groups];
        let mut met: Vec<u32> = Vec::new();
        let mut ignored = false;
        let of = column(self.ws, choose.of);
        for (slot, sample) in of.samples() {
            let Sample::Float(v) = sample else {
                ignored = true;
                continue;
            };
            let Some(group) = choose.group_of.get(slot) else {
                continue;
            };
            let Some(heap) = heaps.get_mut(*group as usize) else {
                continue;
            };
            if heap.is_empty() {
                met.push(*group);
            }
            if heap.len() < k {
                heap.push((v, slot as u32));
                rise(heap, &before);
            } else if let Some(top) = heap.first_mut() {
                let better = if largest { top.0 < v } else { top.0 > v };
                if better || (top.0.is_nan() && !v.is_nan()) {
                    *top = (v, slot as u32);
                    sink(heap, &before);
                }
            }
        }
        for group in met {
            let Some(heap) = heaps.get_mut(group as usize) else {
                continue;
            };
            sort(heap, |a, b| before(b, a));
            for (v, slot) in heap.iter() {
                out.put(*slot as usize, *v);
                if self.instant {
                    out.order.push(*slot);
                }
            }
        }
        if ignored {
            let name = choose.op.name();
            self.ws.notes.ignored_in_aggregation(node.from, name);
        }
    }

    fn limitk(&mut self, choose: &Choose, k: usize, out: &mut Column) {
        let mut taken = vec![0_usize; choose.groups];
        let of = column(self.ws, choose.of);
        for (slot, sample) in of.samples() {
            let Some(n) = choose
                .group_of
                .get(slot)
                .and_then(|g| taken.get_mut(*g as usize))
            else {
                continue;
            };
            if *n < k {
                *n += 1;
                out.put_sample(slot, sample);
            }
        }
        out.ordered_as(of);
    }

    fn limit_ratio(
        &mut self,
        choose: &Choose,
        param: f64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        if param.is_nan() {
            return Err(EvalError::execution("Ratio value is NaN"));
        }
        let ratio = param.clamp(-1.0, 1.0);
        self.ws.notes.ratio(choose.param_from, param);
        let of = column(self.ws, choose.of);
        for (slot, sample) in of.samples() {
            let Some(stand) = choose.stands.get(slot) else {
                continue;
            };
            let taken = if ratio >= 0.0 {
                *stand < ratio
            } else {
                *stand >= 1.0 + ratio
            };
            if taken {
                out.put_sample(slot, sample);
            }
        }
        out.ordered_as(of);
        Ok(())
    }

    pub(super) fn sort(&mut self, node: &Node, of: NodeId, descending: bool, out: &mut Column) {
        if !self.instant {
            self.ws.notes.sort_in_range(node.from);
        }
        let of = column(self.ws, of);
        let mut entries: Vec<Entry> = Vec::new();
        for (slot, sample) in of.samples() {
            if let Sample::Float(v) = sample {
                out.put(slot, v);
                entries.push((v, slot as u32));
            }
        }
        // NaN goes to the end in both directions.
        if descending {
            sort(&mut entries, |a, b| b.is_nan() || b < a);
        } else {
            sort(&mut entries, |a, b| b.is_nan() || b > a);
        }
        if self.instant {
            out.order.extend(entries.iter().map(|e| e.1));
        }
    }

    pub(super) fn sort_by_label(
        &mut self,
        node: &Node,
        of: NodeId,
        rank: &[u32],
        out: &mut Column,
    ) {
        if !self.instant {
            self.ws.notes.sort_in_range(node.from);
        }
        let of = column(self.ws, of);
        out.copy(of);
        out.order.clear();
        if self.instant {
            let mut slots: Vec<u32> = of.present().map(|s| s as u32).collect();
            slots.sort_by_key(|s| rank.get(*s as usize).copied());
            out.order = slots;
        }
    }
}

/// Sorts by "stands before", which need not be an order where there are NaNs: those are equal to each other here.
fn sort(entries: &mut [Entry], before: impl Fn(f64, f64) -> bool) {
    entries.sort_by(|a, b| match (before(a.0, b.0), before(b.0, a.0)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (true, true) | (false, false) => Ordering::Equal,
    });
}

/// The last entry of a heap finds its place.
fn rise(heap: &mut [Entry], before: &impl Fn(f64, f64) -> bool) {
    let Some(mut at) = heap.len().checked_sub(1) else {
        return;
    };
    while at > 0 {
        let parent = (at - 1) / 2;
        let (Some(p), Some(own)) = (heap.get(parent), heap.get(at)) else {
            return;
        };
        if !before(own.0, p.0) {
            return;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

/// The first entry of a heap finds its place.
fn sink(heap: &mut [Entry], before: &impl Fn(f64, f64) -> bool) {
    let mut at = 0;
    loop {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        let Some(l) = heap.get(left) else { return };
        let child = match heap.get(right) {
            Some(r) if before(r.0, l.0) => right,
            Some(_) | None => left,
        };
        let (Some(c), Some(own)) = (heap.get(child), heap.get(at)) else {
            return;
        };
        if !before(c.0, own.0) {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}
