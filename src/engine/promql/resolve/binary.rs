//! Operators: which slots of two vectors meet, and which labels their result has.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::ast::{BinaryOp, Expr, Kind, Matching, On, Side};
use crate::engine::promql::functions::math::renames;
use crate::engine::promql::part::{Binary, Join, Scalar, SetOp, What};
use crate::engine::promql::plan::{Index, NONE, NodeId, Slot, Slots};
use crate::engine::promql::resolve::aggregate::{Keys, Numbering, SlotNumbering};
use crate::engine::promql::resolve::{Part, Resolver, nameless};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::labels::Labels;

impl<S: Source> Resolver<'_, S> {
    pub(super) fn binary(&mut self, expr: &Expr) -> Result<(Part, bool), EvalError> {
        let Kind::Binary {
            op,
            lhs,
            rhs,
            returns_bool,
            matching,
            ..
        } = &expr.kind
        else {
            return Err(EvalError::bad("expected an operator"));
        };
        let at = expr.span.start;
        let trims = matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        self.whole += usize::from(trims);
        let sides = self.part(lhs).and_then(|l| Ok((l, self.part(rhs)?)));
        self.whole -= usize::from(trims);
        let ((left, left_fixed), (right, right_fixed)) = sides?;
        let fixed = left_fixed && right_fixed;
        let part = match (left, right) {
            (Part::Scalar(a), Part::Scalar(b)) => {
                Part::Scalar(Scalar::Binary(*op, Box::new(a), Box::new(b)))
            }
            (Part::Vector(of), Part::Scalar(scalar)) => {
                self.with_scalar(*op, of, scalar, false, *returns_bool, at, fixed)?
            }
            (Part::Scalar(scalar), Part::Vector(of)) => {
                self.with_scalar(*op, of, scalar, true, *returns_bool, at, fixed)?
            }
            (Part::Vector(left), Part::Vector(right)) => Part::Vector(match op {
                BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => {
                    self.set(*op, left, right, matching, at, fixed)?
                }
                _ => self.join(*op, left, right, *returns_bool, matching, at, fixed)?,
            }),
            _ => {
                return Err(EvalError::bad(
                    "binary expression must contain only scalar and instant vector types",
                ));
            }
        };
        Ok((part, fixed))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of one operator"
    )]
    fn with_scalar(
        &mut self,
        op: BinaryOp,
        of: NodeId,
        scalar: Scalar,
        scalar_left: bool,
        returns_bool: bool,
        at: usize,
        fixed: bool,
    ) -> Result<Part, EvalError> {
        let slots = self.slots(of);
        let slots = if renames(op) || returns_bool {
            self.dropping(&slots)
        } else {
            (slots, None)
        };
        let what = What::WithScalar {
            op,
            of,
            scalar,
            scalar_left,
            returns_bool,
        };
        Ok(Part::Vector(self.push_clashing(what, slots, at, fixed)?))
    }

    fn grouped(left: &Slots, right: &Slots, keys: &Keys) -> (Join, Numbering) {
        let mut groups = Numbering::default();
        let mut of = |slots: &Slots| -> Box<[u32]> {
            slots
                .iter()
                .map(|s| groups.number(keys.of(&s.labels)))
                .collect()
        };
        let (left_group, right_group) = (of(left), of(right));
        let join = Join {
            left_group,
            right_group,
            groups: groups.keys.len(),
        };
        (join, groups)
    }

    fn set(
        &mut self,
        op: BinaryOp,
        left: NodeId,
        right: NodeId,
        matching: &Matching,
        at: usize,
        fixed: bool,
    ) -> Result<NodeId, EvalError> {
        let (left_slots, right_slots) = (self.slots(left), self.slots(right));
        let keys = Keys::matching(matching.on.as_ref());
        let (join, _) = Self::grouped(&left_slots, &right_slots, &keys);
        let (slots, right_out) = if op == BinaryOp::Or {
            // Slots on the left keep their numbers, also where two of them are the same.
            let mut slots: Vec<Slot> = left_slots.to_vec();
            let mut known: Index<(Arc<Labels>, bool), u32> = Index::default();
            for (i, s) in (0_u32..).zip(left_slots.iter()) {
                known.entry((s.labels.clone(), s.dropped)).or_insert(i);
            }
            let out = right_slots
                .iter()
                .map(|s| {
                    *known
                        .entry((s.labels.clone(), s.dropped))
                        .or_insert_with(|| {
                            slots.push(s.clone());
                            slots.len() as u32 - 1
                        })
                })
                .collect();
            (slots.into(), out)
        } else {
            (left_slots, Box::default())
        };
        let what = What::Set(Box::new(SetOp {
            op,
            left,
            right,
            join,
            right_out,
        }));
        self.push(what, slots, at, fixed)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of one operator"
    )]
    fn join(
        &mut self,
        op: BinaryOp,
        left: NodeId,
        right: NodeId,
        returns_bool: bool,
        matching: &Matching,
        at: usize,
        fixed: bool,
    ) -> Result<NodeId, EvalError> {
        let (left_slots, right_slots) = (self.slots(left), self.slots(right));
        let keys = Keys::matching(matching.on.as_ref());
        let (join, groups) = Self::grouped(&left_slots, &right_slots, &keys);
        let one_is_left = matching.side == Side::Right;
        let (many_slots, many_group, one_slots, one_group) = if one_is_left {
            (
                &right_slots,
                &join.right_group,
                &left_slots,
                &join.left_group,
            )
        } else {
            (
                &left_slots,
                &join.left_group,
                &right_slots,
                &join.right_group,
            )
        };
        // Left and right here are many and one, also where the many stand on the right.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let labels = ResultLabels {
            renames: renames(op),
            drops_now: returns_bool && !self.settings.delayed_name_removal,
            dropped: returns_bool && self.settings.delayed_name_removal,
            matching,
        };

        // The classes of each group: what the one side gives to the labels of the result.
        let mut classes: Vec<Vec<Vec<String>>> = vec![Vec::new(); join.groups];
        let mut class = |group: u32, from: &Labels| -> u32 {
            let given: Vec<String> = matching
                .include
                .iter()
                .map(|n| from.get(n).to_owned())
                .collect();
            let Some(known) = classes.get_mut(group as usize) else {
                return 0;
            };
            match known.iter().position(|k| *k == given) {
                Some(i) => i as u32,
                None => {
                    known.push(given);
                    known.len() as u32 - 1
                }
            }
        };
        let one_class: Box<[u32]> = one_group
            .iter()
            .zip(one_slots.iter())
            .map(|(g, s)| class(*g, &s.labels))
            .collect();
        let filled_class: Box<[u32]> = match fill_one {
            None => Box::default(),
            Some(_) => (0_u32..)
                .zip(&groups.keys)
                .map(|(g, key)| class(g, key))
                .collect(),
        };

        let mut out = SlotNumbering::default();
        let mut results: Vec<u32> = Vec::new();
        let mut many_base = Vec::with_capacity(many_slots.len());
        for (slot, group) in many_slots.iter().zip(many_group) {
            let given = classes.get(*group as usize).map_or(&[][..], Vec::as_slice);
            many_base.push(results.len() as u32);
            for include in given {
                results.push(out.number(&labels.of(&slot.labels, include)));
            }
            if results.len() > self.settings.limits.series.saturating_mul(4) {
                return Err(EvalError::series(self.settings.limits.series));
            }
        }
        let many_filled: Box<[u32]> = match fill_many {
            None => Box::default(),
            Some(_) => one_slots
                .iter()
                .zip(one_group)
                .map(|(slot, group)| {
                    let Some(key) = groups.keys.get(*group as usize) else {
                        return NONE;
                    };
                    let include: Vec<String> = matching
                        .include
                        .iter()
                        .map(|n| slot.labels.get(n).to_owned())
                        .collect();
                    out.number(&labels.of(key, &include))
                })
                .collect(),
        };
        let what = What::Binary(Box::new(Binary {
            op,
            left,
            right,
            returns_bool,
            one_is_left,
            one_to_one: matching.side == Side::One,
            many_base: many_base.into_boxed_slice(),
            one_class,
            results: results.into_boxed_slice(),
            filled_class,
            many_filled,
            fill_one,
            fill_many,
            keys,
            join,
        }));
        self.push(what, out.finish(), at, fixed)
    }
}

/// The labels of a result.
struct ResultLabels<'a> {
    renames: bool,
    drops_now: bool,
    dropped: bool,
    matching: &'a Matching,
}

impl ResultLabels<'_> {
    /// From the labels of the many side and the values that the one side gives for the included labels.
    fn of(&self, many: &Labels, include: &[String]) -> Slot {
        let mut labels = if self.renames {
            nameless(many)
        } else {
            many.clone()
        };
        if self.matching.side == Side::One {
            match &self.matching.on {
                Some(On::On(names)) => {
                    labels = names.iter().map(|n| (n.as_str(), labels.get(n))).collect();
                }
                Some(On::Ignoring(names)) => {
                    for name in names {
                        labels.set(name.as_str(), "");
                    }
                }
                None => {}
            }
        }
        for (name, value) in self.matching.include.iter().zip(include) {
            labels.set(name.as_str(), value.as_str());
        }
        if self.drops_now {
            labels = nameless(&labels);
        }
        Slot {
            labels: Arc::new(labels),
            dropped: self.dropped,
        }
    }
}
