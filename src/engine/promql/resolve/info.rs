//! `info()`: which info series may enrich which slot.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::promql::ast::{Expr, Kind, Shift};
use crate::engine::promql::part::{Info, What};
use crate::engine::promql::plan::{Slots, When};
use crate::engine::promql::resolve::aggregate::Numbering;
use crate::engine::promql::resolve::{Part, Resolver, bare};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::labels::{Labels, MatchOp, Matcher};

const NAME: &str = "__name__";
const DEFAULT: &str = "target_info";
/// The labels by which an info series is that of a slot.
const IDENTITY: [&str; 2] = ["instance", "job"];

impl<S: Source> Resolver<'_, S> {
    pub(super) fn info(&mut self, args: &[Expr], at: usize) -> Result<(Part, bool), EvalError> {
        let Some(base) = args.first() else {
            return Err(EvalError::bad("info takes an instant vector"));
        };
        let matchers: Vec<Matcher> = match args.get(1).map(|a| &bare(a).kind) {
            Some(Kind::Vector(selector)) => selector.matchers.clone(),
            Some(_) => return Err(EvalError::bad("info takes a label selector")),
            None => Vec::new(),
        };
        let when = self.info_time(base)?;
        let (of, fixed) = self.vector(base)?;
        let slots = self.slots(of);
        let named: Vec<&Matcher> = matchers.iter().filter(|m| m.name == NAME).collect();
        let asks = named
            .iter()
            .any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex));
        // Who does not name the info metrics means `target_info`; who only says which not, any other.
        let default = match (asks, named.is_empty()) {
            (true, _) => None,
            (false, true) => Some((MatchOp::Equal, DEFAULT)),
            (false, false) => Some((MatchOp::Regex, ".+_info")),
        };
        let default = match default {
            None => None,
            Some((op, name)) => {
                Some(Matcher::new(NAME, op, name).map_err(|e| EvalError::bad(e.to_string()))?)
            }
        };
        let mut wanted_series = matchers.clone();
        wanted_series.extend(default);
        let is_info = |name: &str| {
            let mut names = wanted_series.iter().filter(|m| m.name == NAME);
            names.all(|m| m.matches(name))
        };
        let ignored: Vec<bool> = slots.iter().map(|s| is_info(s.labels.get(NAME))).collect();
        let (series, labels) = self.info_series(&slots, &ignored, &wanted_series);

        let mut signatures = Numbering::default();
        let mut names: BTreeSet<String> = BTreeSet::new();
        let group_of = labels
            .iter()
            .map(|l| {
                names.insert(l.get(NAME).to_owned());
                signatures.number(signature(l, l.get(NAME)))
            })
            .collect();
        let groups = slots
            .iter()
            .zip(&ignored)
            .map(|(slot, ignored)| {
                (!ignored).then(|| {
                    names
                        .iter()
                        .filter_map(|n| signatures.find(&signature(&slot.labels, n)))
                        .collect()
                })
            })
            .collect();
        let (table, seen) = self.table();
        let what = What::Info(Box::new(Info {
            of,
            when,
            series: series.into_boxed_slice(),
            labels: labels.into_boxed_slice(),
            group_of,
            groups,
            wanted: matchers.into_iter().filter(|m| m.name != NAME).collect(),
            table,
        }));
        let id = self.push(what, seen, at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }

    /// The info series that could enrich one of the slots at all.
    fn info_series(
        &mut self,
        slots: &Slots,
        ignored: &[bool],
        matchers: &[Matcher],
    ) -> (Vec<u32>, Vec<Arc<Labels>>) {
        let mut values: [BTreeSet<&str>; 2] = Default::default();
        for (slot, _) in slots.iter().zip(ignored).filter(|(_, i)| !**i) {
            for (name, set) in IDENTITY.iter().zip(values.iter_mut()) {
                let value = slot.labels.get(name);
                if !value.is_empty() {
                    set.insert(value);
                }
            }
        }
        if values.iter().all(BTreeSet::is_empty) {
            return (Vec::new(), Vec::new());
        }
        let source = self.source;
        source
            .select(matchers)
            .into_iter()
            .map(|s| (s, self.labels_of(s)))
            .filter(|(_, labels)| {
                IDENTITY
                    .iter()
                    .zip(values.iter())
                    .all(|(name, set)| set.is_empty() || set.contains(labels.get(name)))
            })
            .unzip()
    }

    /// When info series are looked at: when the first selector of the base looks.
    fn info_time(&self, base: &Expr) -> Result<When, EvalError> {
        let mut when = When {
            offset: 0,
            at: None,
        };
        for shift in first_selector(base).unwrap_or_default() {
            let own = self.when(shift)?;
            if own.at.is_some() {
                when = own;
            } else {
                when.offset = when.offset.saturating_add(own.offset);
            }
        }
        Ok(when)
    }
}

fn signature(labels: &Labels, name: &str) -> Labels {
    IDENTITY
        .iter()
        .map(|n| (*n, labels.get(n)))
        .chain([(NAME, name)])
        .collect()
}

/// How time is moved on the way to the first selector of an expression.
fn first_selector(expr: &Expr) -> Option<Vec<&Shift>> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => None,
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => Some(vec![&selector.shift]),
        Kind::Subquery {
            expr: of, shift, ..
        } => {
            let mut path = vec![shift];
            path.extend(first_selector(of)?);
            Some(path)
        }
        Kind::Call { args, .. } => args.iter().find_map(first_selector),
        Kind::Aggregate {
            param, expr: of, ..
        } => first_selector(of).or_else(|| first_selector(param.as_ref()?)),
        Kind::Binary { lhs, rhs, .. } => first_selector(lhs).or_else(|| first_selector(rhs)),
        Kind::Unary { expr: of, .. } | Kind::Paren(of) => first_selector(of),
    }
}
