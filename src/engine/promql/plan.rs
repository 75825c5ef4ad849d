//! What an expression becomes over a set of series: parts with all label sets they can have, and with the numbers by
//! which their values meet.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use crate::engine::promql::ast::{At, Expr};
use crate::engine::promql::functions::rate::Kept;
use crate::engine::promql::part::{Input, Node, Scalar, What};
use crate::engine::promql::resolve::{self, Resolved};
use crate::engine::promql::settings::{EvalError, Settings};
use crate::engine::promql::source::Source;
use crate::model::labels::Labels;

/// The number of a part; the parts of a part have smaller ones.
pub(super) type NodeId = u32;

/// Label sets that only evaluation knows are forgotten beyond this many, when new ones come.
const TABLE_MAX: usize = 1_024;

/// No slot, no group.
pub(super) const NONE: u32 = u32::MAX;

/// A map that hashes alike in every run; its order is never looked at.
pub(super) type Index<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A label set that a part can have.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The labels, the metric's name still among them.
    pub labels: Arc<Labels>,
    /// Whether name, type and unit are dropped at the end of the query.
    pub dropped: bool,
}

/// All label sets of a part.
pub(super) type Slots = Arc<[Slot]>;

/// When a selector looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// That many milliseconds before.
    pub offset: i64,
    /// At this time instead of the query's.
    pub at: Option<At>,
}

/// The ends of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Period {
    /// Milliseconds.
    pub start: i64,
    /// Milliseconds.
    pub end: i64,
}

impl When {
    /// The time at which a selector looks when the query stands at `at`.
    #[inline(always)]
    pub fn time(&self, at: i64, period: Period) -> i64 {
        let base = match self.at {
            None => at,
            Some(At::Ms(ms)) => ms,
            Some(At::Start) => period.start,
            Some(At::End) => period.end,
        };
        base.saturating_sub(self.offset)
    }
}

/// The label sets of a part of which only evaluation knows them, as far as they have been seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// In order of their labels: which one is chosen among equals must not depend on what was seen when.
    pub slots: Vec<Slot>,
    numbers: Index<Arc<Labels>, usize>,
}

impl Table {
    fn add(&mut self, new: BTreeSet<Labels>) {
        self.slots.extend(new.into_iter().map(|labels| Slot {
            labels: Arc::new(labels),
            dropped: false,
        }));
        self.slots.sort_by(|a, b| a.labels.cmp(&b.labels));
        let slots = self.slots.iter().enumerate();
        self.numbers = slots.map(|(i, s)| (s.labels.clone(), i)).collect();
    }
    /// The slot of a label set.
    pub fn find(&self, labels: &Labels) -> Option<usize> {
        self.numbers.get(labels).copied()
    }
}

/// What the whole expression is.
#[derive(Debug)]
pub(super) enum Root {
    /// A number.
    Scalar(Scalar),
    /// A string.
    Text(Vec<u8>),
    /// A vector, with its label sets after all names are dropped, and for each the first slot with the same, where two
    /// are the same.
    Vector {
        /// The part.
        node: NodeId,
        /// Its label sets in the end.
        labels: Box<[Arc<Labels>]>,
        /// As [`Node::clash`].
        clash: Option<Box<[u32]>>,
    },
    /// Windows.
    Matrix {
        /// Of what.
        input: Box<Input>,
        /// Label sets.
        labels: Box<[Arc<Labels>]>,
    },
}

/// An expression over a set of series.
#[derive(Debug)]
pub struct Plan {
    pub(super) expr: Arc<Expr>,
    pub(super) settings: Settings,
    pub(super) frame: resolve::Frame,
    pub(super) nodes: Vec<Node>,
    /// Parts that look at samples.
    pub(super) readers: usize,
    pub(super) root: Root,
    /// For each subquery how far ahead of a step its value looks, in milliseconds; `None`: it may look anywhere.
    pub(super) rings: Vec<Option<i64>>,
    /// Of each function over plain windows that keeps it: the growth of each series.
    pub(super) growths: Vec<Vec<Kept>>,
    /// Label sets that only evaluation can know (`count_values`, `info`), as far as they have been seen.
    pub(super) tables: Vec<Table>,
    /// Tells plans apart.
    pub(super) token: Arc<()>,
}

fn readers(nodes: &[Node]) -> usize {
    let reads = |node: &&Node| matches!(node.what, What::Newest(_) | What::OverTime(_));
    nodes.iter().filter(reads).count()
}

impl Plan {
    /// Resolves an expression over the series of a source. For rules and instant queries; the plan holds for as long as
    /// the source has the same series.
    ///
    /// # Errors
    /// What can be judged without looking at a sample: durations, regular expressions, label names, bounds.
    pub fn new<S: Source>(
        expr: Arc<Expr>,
        source: &S,
        settings: &Settings,
    ) -> Result<Self, EvalError> {
        Self::within(expr, source, settings, resolve::Frame::default())
    }

    /// The same for a query whose `range()` and `step()` are known.
    pub(super) fn within<S: Source>(
        expr: Arc<Expr>,
        source: &S,
        settings: &Settings,
        frame: resolve::Frame,
    ) -> Result<Self, EvalError> {
        let Resolved {
            nodes,
            root,
            rings,
            growths,
            tables,
        } = resolve::resolve(&expr, source, settings, frame, Vec::new())?;
        Ok(Self {
            expr,
            settings: settings.clone(),
            frame,
            readers: readers(&nodes),
            nodes,
            root,
            rings,
            growths: vec![Vec::new(); growths],
            tables,
            token: Arc::new(()),
        })
    }

    /// Forgets label sets seen by earlier evaluations if there are many: those of this one come back.
    pub(super) fn forget_tables(&mut self) {
        for table in &mut self.tables {
            if table.slots.len() > TABLE_MAX {
                *table = Table::default();
            }
        }
    }

    /// Resolves anew after new label sets were seen.
    pub(super) fn grow<S: Source>(
        &mut self,
        source: &S,
        fresh: Vec<BTreeSet<Labels>>,
    ) -> Result<(), EvalError> {
        for (table, new) in self.tables.iter_mut().zip(fresh) {
            table.add(new);
            if table.slots.len() > self.settings.limits.series {
                return Err(EvalError::series(self.settings.limits.series));
            }
        }
        let known = std::mem::take(&mut self.tables);
        let resolved = resolve::resolve(&self.expr, source, &self.settings, self.frame, known)?;
        self.readers = readers(&resolved.nodes);
        self.nodes = resolved.nodes;
        self.root = resolved.root;
        self.rings = resolved.rings;
        self.growths = vec![Vec::new(); resolved.growths];
        self.tables = resolved.tables;
        self.token = Arc::new(());
        Ok(())
    }

    /// The label sets that the result can have, if it is a vector, as results name them.
    pub fn labels(&self) -> &[Arc<Labels>] {
        match &self.root {
            Root::Vector { labels, .. } | Root::Matrix { labels, .. } => labels,
            Root::Scalar(_) | Root::Text(_) => &[],
        }
    }

    /// Whether a workspace of its own lets it keep what it has computed (subqueries).
    pub fn keeps(&self) -> bool {
        !self.rings.is_empty()
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }
}
