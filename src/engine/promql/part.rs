//! What a plan is made of: the parts of an expression, with the numbers by which the values of their parts meet.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::Origin;
use crate::engine::promql::ast::{Aggregation, BinaryOp, Edges};
use crate::engine::promql::functions::math::Map;
use crate::engine::promql::functions::{HistogramFn, RangeFn};
use crate::engine::promql::plan::{NodeId, Slots, When};
use crate::engine::promql::resolve;
use crate::model::labels::{Labels, Matcher};

/// A part of an expression that yields a vector.
#[derive(Debug)]
pub(super) struct Node {
    /// Its label sets.
    pub slots: Slots,
    /// Its place.
    pub from: Origin,
    /// Whether its value is the same at all times of a query.
    pub fixed: bool,
    /// In which subquery it lies; 0: in none.
    pub scope: u32,
    /// For each slot the first one with the same labels, where names are dropped at once and two are the same then.
    pub clash: Option<Box<[u32]>>,
    /// What it does.
    pub what: What,
}

/// Series and when to look at them.
#[derive(Debug)]
pub(super) struct Select {
    /// Their numbers, one for each slot.
    pub series: Box<[u32]>,
    /// When.
    pub when: When,
    /// Whether of a histogram only its count and its sum are wanted.
    pub stats: bool,
}

/// What a function over time works on.
#[derive(Debug)]
pub(super) enum Input {
    /// The samples of series.
    Series {
        /// Which.
        select: Select,
        /// How far back, in milliseconds.
        range: i64,
        /// What happens at the ends.
        edges: Edges,
    },
    /// The values of a part at its own steps.
    Steps(Subquery),
}

/// A part evaluated at steps of its own.
#[derive(Debug)]
pub(super) struct Subquery {
    /// Which part.
    pub inner: NodeId,
    /// What lies in it: its first part, and the number of its scope.
    pub first: NodeId,
    /// See `first`.
    pub scope: u32,
    /// How far back, in milliseconds.
    pub range: i64,
    /// The steps, in milliseconds; at multiples of this.
    pub step: i64,
    /// When.
    pub when: When,
    /// Which ring keeps its values.
    pub ring: usize,
}

/// A function over time.
#[derive(Debug)]
pub(super) struct OverTime {
    /// Which.
    pub function: RangeFn,
    /// Over what.
    pub input: Input,
    /// Whose samples these are.
    pub of: Slots,
    /// Its scalars, in their order.
    pub args: Vec<Scalar>,
    /// The place of its first argument.
    pub args_from: Origin,
    /// For `rate` and `increase`: metrics that are perhaps no counters, and which slot is of which.
    pub doubts: Option<Doubts>,
    /// For these of plain windows of series: the place of what is kept of them from one evaluation to the next.
    pub kept: Option<usize>,
}

/// Metrics that are perhaps no counters.
#[derive(Debug)]
pub(super) struct Doubts {
    /// Name and type of each.
    pub metrics: Vec<(String, String)>,
    /// For each slot the metric, or [`NONE`](crate::engine::promql::plan::NONE).
    pub of_slot: Box<[u32]>,
}

/// An aggregation with one value for each group.
#[derive(Debug)]
pub(super) struct Gather {
    /// Which.
    pub op: Aggregation,
    /// Of what.
    pub of: NodeId,
    /// The scalar of `quantile`.
    pub param: Scalar,
    /// The group of each slot of the part.
    pub group_of: Box<[u32]>,
    /// The place of the part.
    pub of_from: Origin,
    /// The place of the scalar.
    pub param_from: Origin,
}

/// An aggregation that chooses some of what it is given.
#[derive(Debug)]
pub(super) struct Choose {
    /// Which.
    pub op: Aggregation,
    /// Of what.
    pub of: NodeId,
    /// How many, or which share.
    pub param: Scalar,
    /// The group of each slot.
    pub group_of: Box<[u32]>,
    /// How many groups there are.
    pub groups: usize,
    /// For `limit_ratio`: where each slot's labels stand between 0 and 1.
    pub stands: Box<[f64]>,
    /// The place of the scalar.
    pub param_from: Origin,
}

/// `count_values`
#[derive(Debug)]
pub(super) struct CountValues {
    /// Of what.
    pub of: NodeId,
    /// The label that gets the value.
    pub label: String,
    /// The group labels.
    pub grouping: resolve::aggregate::Keys,
    /// Which table keeps its label sets.
    pub table: usize,
}

/// How two vectors meet.
#[derive(Debug)]
pub(super) struct Join {
    /// The match group of each slot on the left.
    pub left_group: Box<[u32]>,
    /// And on the right.
    pub right_group: Box<[u32]>,
    /// How many there are.
    pub groups: usize,
}

/// An operator between two vectors, but for set operators.
#[derive(Debug)]
pub(super) struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Left and right.
    pub left: NodeId,
    /// Right.
    pub right: NodeId,
    /// 0 and 1 instead of a filter.
    pub returns_bool: bool,
    /// How they meet.
    pub join: Join,
    /// Whether the left side is the one side (`group_right`).
    pub one_is_left: bool,
    /// Whether there is one on each side.
    pub one_to_one: bool,
    /// For each slot of the many side, where its results begin in `results`.
    pub many_base: Box<[u32]>,
    /// For each slot of the one side, which of those results is its: its class.
    pub one_class: Box<[u32]>,
    /// Numbers of slots of the result.
    pub results: Box<[u32]>,
    /// The class of a missing one side, for each group, in which it is filled.
    pub filled_class: Box<[u32]>,
    /// For each slot of the one side its result where the many side is filled.
    pub many_filled: Box<[u32]>,
    /// What stands for a missing one side.
    pub fill_one: Option<f64>,
    /// What stands for a missing many side.
    pub fill_many: Option<f64>,
    /// Which labels two sides must have in common, for messages.
    pub keys: resolve::aggregate::Keys,
}

/// `and`, `or`, `unless`
#[derive(Debug)]
pub(super) struct SetOp {
    /// Which.
    pub op: BinaryOp,
    /// Left.
    pub left: NodeId,
    /// Right.
    pub right: NodeId,
    /// How they meet.
    pub join: Join,
    /// For `or`: the slot of the result for each slot on the right.
    pub right_out: Box<[u32]>,
}

/// `histogram_quantile`, `histogram_quantiles`, `histogram_fraction`
#[derive(Debug)]
pub(super) struct Classic {
    /// Of what.
    pub of: NodeId,
    /// Which.
    pub function: ClassicFn,
    /// For each slot of the part: which classic histogram its bucket belongs to, or [`NONE`](crate::engine::promql::plan::NONE) (no bucket).
    pub group_of: Box<[u32]>,
    /// The bound of each slot's bucket.
    pub bound_of: Box<[f64]>,
    /// The slots of each classic histogram by bound, one histogram after the other.
    pub members: Box<[u32]>,
    /// Where each classic histogram's slots begin in `members`; one more at the end.
    pub starts: Box<[u32]>,
    /// For each slot of the part, the classic histogram of the same labels, if it holds a native one; or [`NONE`](crate::engine::promql::plan::NONE).
    pub rival_of: Box<[u32]>,
    /// Results of each classic histogram, for each question in turn: `turn × groups + group`.
    pub classic_out: Box<[u32]>,
    /// Results of each slot that holds a native histogram: `turn × slots + slot`.
    pub native_out: Box<[u32]>,
    /// Places of the vector and of each scalar.
    pub of_from: Origin,
    /// Place of each scalar.
    pub args_from: Vec<Origin>,
    /// Metric's name of each classic histogram, for remarks.
    pub metrics: Box<[Arc<Labels>]>,
}

/// What is asked of a histogram.
#[derive(Debug)]
pub(super) enum ClassicFn {
    /// One quantile.
    Quantile(Scalar),
    /// Several quantiles, each with a label of its own.
    Labelled {
        /// Which.
        quantiles: Vec<Quantile>,
        /// The label's name.
        label: String,
        /// The label's values for which there are results.
        values: Vec<String>,
        /// The table of the values that only evaluation knows, if there are any.
        table: Option<usize>,
    },
    /// The share between two values.
    Fraction(Scalar, Scalar),
}

/// A quantile of several.
#[derive(Debug)]
pub(super) struct Quantile {
    /// Which.
    pub scalar: Scalar,
    /// Which of the results are its, if it is a constant.
    pub turn: Option<usize>,
}

/// `info()`
#[derive(Debug)]
pub(super) struct Info {
    /// What is enriched.
    pub of: NodeId,
    /// When info series are looked at.
    pub when: When,
    /// Info series, in order.
    pub series: Box<[u32]>,
    /// Their labels.
    pub labels: Box<[Arc<Labels>]>,
    /// Which of them have the same name, instance and job.
    pub group_of: Box<[u32]>,
    /// For each slot of the part the groups that may enrich it; `None`: it is itself an info series.
    pub groups: Box<[Option<Box<[u32]>>]>,
    /// Labels that are taken over; empty: all.
    pub wanted: Vec<Matcher>,
    /// Which table keeps its label sets.
    pub table: usize,
}

/// What a part does.
#[derive(Debug)]
pub(super) enum What {
    /// The newest sample of each series.
    Newest(Select),
    /// The value of each series between two samples.
    Smoothed(Select),
    /// The time of the newest sample of each series, in seconds.
    Timestamp(Select),
    /// The start timestamp of the newest sample, in seconds.
    StartTimestamp(Select),
    /// `timestamp` of anything else: the time of the query.
    TimeOf(NodeId),
    /// `start_timestamp` of anything else: nothing.
    Nothing,
    /// A function over time.
    OverTime(Box<OverTime>),
    /// `absent_over_time`
    AbsentOverTime(Box<Input>),
    /// `absent`
    Absent(NodeId),
    /// A function of each number.
    Map {
        /// Of what.
        of: NodeId,
        /// Which.
        function: Map,
        /// Its scalars.
        args: [Scalar; 2],
    },
    /// A function of each histogram.
    OfHistogram {
        /// Of what.
        of: NodeId,
        /// Which.
        function: HistogramFn,
    },
    /// `-v`
    Negate(NodeId),
    /// A vector of one value without labels.
    Lift(Scalar),
    /// A part of the date of the query's time, as a vector of one.
    DateNow(Map),
    /// An operator between a vector and a scalar.
    WithScalar {
        /// Which.
        op: BinaryOp,
        /// The vector.
        of: NodeId,
        /// The scalar.
        scalar: Scalar,
        /// Whether the scalar stands on the left.
        scalar_left: bool,
        /// 0 and 1 instead of a filter.
        returns_bool: bool,
    },
    /// An operator between two vectors.
    Binary(Box<Binary>),
    /// A set operator.
    Set(Box<SetOp>),
    /// An aggregation.
    Gather(Box<Gather>),
    /// `topk` and its like.
    Choose(Box<Choose>),
    /// `count_values`
    CountValues(Box<CountValues>),
    /// `label_replace`, `label_join`: the slot of the result for each slot.
    Relabel {
        /// Of what.
        of: NodeId,
        /// Which becomes which.
        out: Box<[u32]>,
    },
    /// `sort`, `sort_desc`
    Sort {
        /// Of what.
        of: NodeId,
        /// Largest first.
        descending: bool,
    },
    /// `sort_by_label`, `sort_by_label_desc`
    SortByLabel {
        /// Of what.
        of: NodeId,
        /// For each slot its place among all.
        rank: Box<[u32]>,
    },
    /// `histogram_quantile` and its like.
    Classic(Box<Classic>),
    /// `info`
    Info(Box<Info>),
}

/// A part that yields one number.
#[derive(Clone, Debug)]
pub(super) enum Scalar {
    /// A constant.
    Number(f64),
    /// `time()`
    Time,
    /// `start()`
    Start,
    /// `end()`
    End,
    /// `scalar(v)`
    Of(NodeId),
    /// `-a`
    Negate(Box<Scalar>),
    /// `a + b`
    Binary(BinaryOp, Box<Scalar>, Box<Scalar>),
    /// `max_of(a, b)`
    Max(Box<Scalar>, Box<Scalar>),
    /// `min_of(a, b)`
    Min(Box<Scalar>, Box<Scalar>),
}
