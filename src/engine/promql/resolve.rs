//! Expression → plan, over the series of a source.
//!
//! Everything that depends on labels and not on samples is done here, once: which series, which label sets a part can
//! have, which slots meet in an aggregation or an operator. What is left for evaluation are numbers.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::limits::SUBQUERY_DEPTH_MAX;
use crate::engine::promql::annotate::Origin;
use crate::engine::promql::ast::{Edges, Expr, Kind, Selector, Shift, Type};
use crate::engine::promql::part::{Input, Node, Scalar, Select, Subquery, What};
use crate::engine::promql::plan::{Index, NodeId, Root, Slot, Slots, Table, When};
use crate::engine::promql::resolve::forget::forget;
use crate::engine::promql::settings::{EvalError, Settings};
use crate::engine::promql::source::Source;
use crate::model::labels::Labels;

pub(super) mod aggregate;
mod binary;
mod call;
pub(super) mod classic;
mod forget;
mod info;
mod length;
mod relabel;

/// The lengths of a query that a duration may ask for; both 0 for an instant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    /// `range()`, milliseconds.
    pub range_ms: i64,
    /// `step()`, milliseconds.
    pub step_ms: i64,
}

/// What a resolve yields.
pub(super) struct Resolved {
    pub nodes: Vec<Node>,
    pub root: Root,
    pub rings: Vec<Option<i64>>,
    /// How many functions keep the growth of their series.
    pub growths: usize,
    pub tables: Vec<Table>,
}

/// One part, resolved.
pub(super) enum Part {
    Scalar(Scalar),
    Vector(NodeId),
    Matrix(Input),
    Text(Vec<u8>),
}

pub(super) struct Resolver<'s, S> {
    source: &'s S,
    settings: &'s Settings,
    frame: Frame,
    nodes: Vec<Node>,
    /// In which subquery we are, and how many there have been.
    scope: u32,
    scopes: u32,
    /// How many subqueries are around us.
    depth: usize,
    rings: Vec<Option<i64>>,
    growths: usize,
    /// Label sets of dynamic parts that earlier evaluations have seen, and how many of these parts have come by.
    tables: Vec<Table>,
    dynamic: usize,
    labels: Index<u32, Arc<Labels>>,
    /// How many functions around this part want only count and sum of a histogram, and how much around it wants all.
    stats: usize,
    whole: usize,
}

/// Resolves a whole expression; `tables` are what an earlier plan of the same expression has seen.
pub(super) fn resolve<S: Source>(
    expr: &Expr,
    source: &S,
    settings: &Settings,
    frame: Frame,
    tables: Vec<Table>,
) -> Result<Resolved, EvalError> {
    let mut resolver = Resolver {
        source,
        settings,
        frame,
        nodes: Vec::new(),
        scope: 0,
        scopes: 0,
        depth: 0,
        rings: Vec::new(),
        growths: 0,
        tables,
        dynamic: 0,
        labels: Index::default(),
        stats: 0,
        whole: 0,
    };
    let (part, _) = resolver.part(expr)?;
    let root = match part {
        Part::Scalar(scalar) => Root::Scalar(scalar),
        Part::Text(text) => Root::Text(text),
        Part::Vector(node) => {
            let slots = resolver.slots(node);
            let labels: Box<[Arc<Labels>]> = slots.iter().map(final_labels).collect();
            Root::Vector {
                node,
                clash: clashes(labels.iter().map(AsRef::as_ref)),
                labels,
            }
        }
        Part::Matrix(input) => {
            let slots = resolver.input_slots(&input);
            Root::Matrix {
                labels: slots.iter().map(final_labels).collect(),
                input: Box::new(input),
            }
        }
    };
    forget(&mut resolver.nodes);
    Ok(Resolved {
        nodes: resolver.nodes,
        root,
        rings: resolver.rings,
        growths: resolver.growths,
        tables: resolver.tables,
    })
}

/// Whether a label says what a metric is and not whose it is.
pub(super) fn is_metadata(label: &str) -> bool {
    matches!(label, "__name__" | "__type__" | "__unit__")
}

/// Labels without the metric's name, type and unit.
pub(super) fn nameless(labels: &Labels) -> Labels {
    labels.iter().filter(|(n, _)| !is_metadata(n)).collect()
}

fn final_labels(slot: &Slot) -> Arc<Labels> {
    if slot.dropped && slot.labels.iter().any(|(n, _)| is_metadata(n)) {
        Arc::new(nameless(&slot.labels))
    } else {
        slot.labels.clone()
    }
}

/// For each label set the first that is equal to it; `None` where all differ.
fn clashes<'a>(all: impl Iterator<Item = &'a Labels>) -> Option<Box<[u32]>> {
    let mut first: Index<&Labels, u32> = Index::default();
    let mut clash = false;
    let of: Box<[u32]> = (0_u32..)
        .zip(all)
        .map(|(i, labels)| {
            let f = *first.entry(labels).or_insert(i);
            clash |= f != i;
            f
        })
        .collect();
    clash.then_some(of)
}

/// An expression without the brackets around it.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match &expr.kind {
        Kind::Paren(inner) => bare(inner),
        _ => expr,
    }
}

impl<S: Source> Resolver<'_, S> {
    fn push(
        &mut self,
        what: What,
        slots: Slots,
        at: usize,
        fixed: bool,
    ) -> Result<NodeId, EvalError> {
        self.push_clashing(what, (slots, None), at, fixed)
    }
    fn push_clashing(
        &mut self,
        what: What,
        (slots, clash): (Slots, Option<Box<[u32]>>),
        at: usize,
        fixed: bool,
    ) -> Result<NodeId, EvalError> {
        if slots.len() > self.settings.limits.series {
            return Err(EvalError::series(self.settings.limits.series));
        }
        let id = self.nodes.len() as NodeId;
        let from = self.origin(at);
        self.nodes.push(Node {
            slots,
            from,
            fixed,
            scope: self.scope,
            clash,
            what,
        });
        Ok(id)
    }
    /// The place of a part that is resolved now.
    fn origin(&self, at: usize) -> Origin {
        Origin {
            order: self.nodes.len() as u32,
            at: at as u32,
        }
    }
    fn slots(&self, node: NodeId) -> Slots {
        match self.nodes.get(node as usize) {
            Some(n) => n.slots.clone(),
            None => Slots::from([]),
        }
    }
    /// The same label sets, from which the name is dropped.
    fn dropping(&self, slots: &Slots) -> (Slots, Option<Box<[u32]>>) {
        if self.settings.delayed_name_removal {
            if slots.iter().all(|s| s.dropped) {
                return (slots.clone(), None);
            }
            let dropped = |s: &Slot| Slot {
                labels: s.labels.clone(),
                dropped: true,
            };
            return (slots.iter().map(dropped).collect(), None);
        }
        let slots: Slots = slots
            .iter()
            .map(|s| Slot {
                labels: final_labels(&Slot {
                    labels: s.labels.clone(),
                    dropped: true,
                }),
                dropped: false,
            })
            .collect();
        let clash = clashes(slots.iter().map(|s| s.labels.as_ref()));
        (slots, clash)
    }
    /// The next part whose label sets only evaluation knows, with those it has seen.
    fn table(&mut self) -> (usize, Slots) {
        let number = self.dynamic;
        self.dynamic += 1;
        if self.tables.len() < self.dynamic {
            self.tables.push(Table::default());
        }
        let seen = self.tables.get(number).map_or(&[][..], |t| &t.slots);
        (number, Slots::from(seen))
    }

    /// Any part; with whether its value is the same at all times of a query.
    fn part(&mut self, expr: &Expr) -> Result<(Part, bool), EvalError> {
        let at = expr.span.start;
        match &expr.kind {
            Kind::Number(v) => Ok((Part::Scalar(Scalar::Number(*v)), true)),
            Kind::Text(text) => Ok((Part::Text(text.clone()), true)),
            Kind::Paren(inner) => self.part(inner),
            Kind::Vector(selector) => {
                let (select, slots) = self.select(selector)?;
                let fixed = select.when.at.is_some();
                let what = match selector.edges {
                    Edges::Smoothed => What::Smoothed(select),
                    Edges::Plain | Edges::Anchored => What::Newest(select),
                };
                Ok((Part::Vector(self.push(what, slots, at, fixed)?), fixed))
            }
            Kind::Matrix { .. } | Kind::Subquery { .. } => {
                let (input, _, fixed) = self.input(expr)?;
                Ok((Part::Matrix(input), fixed))
            }
            Kind::Unary { negate, expr: of } => self.unary(*negate, of, at),
            Kind::Binary { .. } => self.binary(expr),
            Kind::Aggregate { .. } => self.aggregate(expr),
            Kind::Call { function, args, .. } => self.call(function, args, expr),
        }
    }
    fn unary(&mut self, negate: bool, of: &Expr, at: usize) -> Result<(Part, bool), EvalError> {
        let (part, fixed) = self.part(of)?;
        if !negate {
            return Ok((part, fixed));
        }
        Ok(match part {
            Part::Scalar(s) => (Part::Scalar(Scalar::Negate(Box::new(s))), fixed),
            Part::Vector(node) => {
                let slots = self.dropping(&self.slots(node));
                let id = self.push_clashing(What::Negate(node), slots, at, fixed)?;
                (Part::Vector(id), fixed)
            }
            other => (other, fixed),
        })
    }
    fn vector(&mut self, expr: &Expr) -> Result<(NodeId, bool), EvalError> {
        match self.part(expr)? {
            (Part::Vector(node), fixed) => Ok((node, fixed)),
            (other, _) => Err(unexpected(Type::Vector, &other)),
        }
    }
    fn scalar(&mut self, expr: &Expr) -> Result<(Scalar, bool), EvalError> {
        match self.part(expr)? {
            (Part::Scalar(s), fixed) => Ok((s, fixed)),
            (other, _) => Err(unexpected(Type::Scalar, &other)),
        }
    }
    fn text(&mut self, expr: &Expr) -> Result<Vec<u8>, EvalError> {
        match &bare(expr).kind {
            Kind::Text(text) => Ok(text.clone()),
            _ => Err(EvalError::bad("expected a string literal")),
        }
    }
    /// The series of a selector.
    fn select(&mut self, selector: &Selector) -> Result<(Select, Slots), EvalError> {
        let when = self.when(&selector.shift)?;
        let series = self.source.select(&selector.matchers);
        if series.len() > self.settings.limits.series {
            return Err(EvalError::series(self.settings.limits.series));
        }
        let slots = series
            .iter()
            .map(|s| Slot {
                labels: self.labels_of(*s),
                dropped: false,
            })
            .collect();
        let select = Select {
            series: series.into_boxed_slice(),
            when,
            stats: self.stats > 0 && self.whole == 0,
        };
        Ok((select, slots))
    }
    fn labels_of(&mut self, series: u32) -> Arc<Labels> {
        let source = self.source;
        self.labels
            .entry(series)
            .or_insert_with(|| Arc::new(source.labels(series)))
            .clone()
    }
    fn when(&self, shift: &Shift) -> Result<When, EvalError> {
        let offset = match &shift.offset {
            Some(length) => length::offset(length, self.frame)?,
            None => 0,
        };
        Ok(When {
            offset,
            at: shift.at,
        })
    }
    /// What a function over time works on, its label sets, and whether it is the same at all times.
    fn input(&mut self, expr: &Expr) -> Result<(Input, Slots, bool), EvalError> {
        match &expr.kind {
            Kind::Paren(inner) => self.input(inner),
            Kind::Matrix { selector, range } => {
                let range = length::positive(range, self.frame)?;
                let (select, slots) = self.select(selector)?;
                let fixed = select.when.at.is_some();
                let edges = selector.edges;
                let input = Input::Series {
                    select,
                    range,
                    edges,
                };
                Ok((input, slots, fixed))
            }
            Kind::Subquery {
                expr: of,
                range,
                step,
                shift,
            } => {
                let when = self.when(shift)?;
                let step = match step {
                    Some(length) => length::positive(length, self.frame)?,
                    None => self.settings.subquery_step_ms.max(1),
                };
                let range = length::positive(range, self.frame)?;
                if self.depth == SUBQUERY_DEPTH_MAX {
                    return Err(EvalError::bad(format!(
                        "more than {SUBQUERY_DEPTH_MAX} subqueries lie in each other"
                    )));
                }
                self.scopes += 1;
                let (scope, first) = (self.scopes, self.nodes.len() as NodeId);
                let outside = std::mem::replace(&mut self.scope, scope);
                self.whole += 1;
                self.depth += 1;
                let inner = self.vector(of);
                self.depth -= 1;
                self.whole -= 1;
                self.scope = outside;
                let (inner, _) = inner?;
                let ring = self.rings.len();
                let ahead = length::ahead(of, self.settings.lookback_ms, self.frame);
                self.rings.push(ahead);
                let fixed = when.at.is_some();
                let input = Input::Steps(Subquery {
                    inner,
                    first,
                    scope,
                    range,
                    step,
                    when,
                    ring,
                });
                Ok((input, self.slots(inner), fixed))
            }
            _ => Err(EvalError::bad("expected a range vector")),
        }
    }
    fn input_slots(&mut self, input: &Input) -> Slots {
        match input {
            Input::Steps(subquery) => self.slots(subquery.inner),
            Input::Series { select, .. } => select
                .series
                .iter()
                .map(|s| Slot {
                    labels: self.labels_of(*s),
                    dropped: false,
                })
                .collect(),
        }
    }
}

fn unexpected(wanted: Type, found: &Part) -> EvalError {
    let found = match found {
        Part::Scalar(_) => Type::Scalar,
        Part::Vector(_) => Type::Vector,
        Part::Matrix(_) => Type::Matrix,
        Part::Text(_) => Type::Text,
    };
    EvalError::bad(format!(
        "expected type {}, got {}",
        wanted.name(),
        found.name()
    ))
}
