//! What an expression says, with the place of every part in its text.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::ops::Range;

use crate::model::labels::Matcher;

/// Bytes of the expression's text.
pub type Span = Range<usize>;

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Where; a call's span goes from its name to its closing bracket.
    pub span: Span,
    /// What.
    pub kind: Kind,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A number; durations are numbers of seconds.
    Number(f64),
    /// A string literal. Bytes, because `"\xff"` is one byte.
    Text(Vec<u8>),
    /// `name{label="value"} offset 5m @ 100`: the newest sample of each series.
    Vector(Selector),
    /// `name{…}[5m]`: the samples of a window.
    Matrix {
        /// Which series.
        selector: Selector,
        /// How far back.
        range: Placed<Length>,
    },
    /// `expr[1h:5m]`: an expression evaluated at steps of a window.
    Subquery {
        /// What.
        expr: Box<Expr>,
        /// How far back.
        range: Placed<Length>,
        /// Every how much; the default step if it is not said.
        step: Option<Placed<Length>>,
        /// Moved in time.
        shift: Shift,
    },
    /// `rate(…)`
    Call {
        /// Which function, by its name in the table of functions.
        function: &'static str,
        /// Where the name stands.
        name_span: Span,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// `sum by (job) (…)`
    Aggregate {
        /// Which.
        op: Aggregation,
        /// By which labels.
        grouping: Grouping,
        /// The `5` of `topk(5, …)`.
        param: Option<Box<Expr>>,
        /// What is aggregated.
        expr: Box<Expr>,
    },
    /// `a + b`
    Binary {
        /// Which operator.
        op: BinaryOp,
        /// Where its sign stands.
        op_span: Span,
        /// Left.
        lhs: Box<Expr>,
        /// Right.
        rhs: Box<Expr>,
        /// `bool` after a comparison: 0 or 1 instead of a filter.
        returns_bool: bool,
        /// How two vectors are matched; the default if a side is a scalar.
        matching: Matching,
    },
    /// `-a`, `+a`
    Unary {
        /// Whether the sign is a minus.
        negate: bool,
        /// What.
        expr: Box<Expr>,
    },
    /// `(a)`
    Paren(Box<Expr>),
}

/// Something with a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed<T> {
    /// Where.
    pub span: Span,
    /// What.
    pub value: T,
}

/// A length of time as written: a constant, or (experimental) arithmetic that may ask for the query's step or range.
#[derive(Clone, Debug, PartialEq)]
pub enum Length {
    /// Milliseconds; negative only as an offset or inside arithmetic. A length that is a constant is always this one,
    /// also if it was written as a number of seconds, unless it is no whole number of milliseconds.
    Ms(i64),
    /// A number inside arithmetic, in seconds: kept apart because `%` and `^` work on it as on any number.
    Secs(f64),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `-a`, `+a`
    Sign {
        /// Whether the sign is a minus.
        negate: bool,
        /// Of what.
        of: Box<Placed<Length>>,
    },
    /// `a + b`, `- * / % ^`
    Arithmetic {
        /// Which operator.
        op: BinaryOp,
        /// Left.
        lhs: Box<Placed<Length>>,
        /// Right.
        rhs: Box<Placed<Length>>,
    },
    /// `min_of(a, b)`
    Min(Box<Placed<Length>>, Box<Placed<Length>>),
    /// `max_of(a, b)`
    Max(Box<Placed<Length>>, Box<Placed<Length>>),
}

/// How a selector's time is moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shift {
    /// `offset 5m`: that long before; an offset of nothing is `None`.
    pub offset: Option<Placed<Length>>,
    /// `@ …`: evaluated at that time, whatever the query's.
    pub at: Option<At>,
}

/// The time after `@`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since the epoch.
    Ms(i64),
    /// `start()` of the query.
    Start,
    /// `end()` of the query.
    End,
}

/// Which series, at which time.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// All must hold. The metric's name, if it was written before the braces or as a bare string, is the matcher
    /// `__name__="…"` among them.
    pub matchers: Vec<Matcher>,
    /// The name, if it was written before the braces; then it is the last of the matchers.
    pub name: Option<String>,
    /// Moved in time.
    pub shift: Shift,
    /// `anchored` or `smoothed` (experimental).
    pub edges: Edges,
}

/// What happens at the ends of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// Only samples inside count.
    #[default]
    Plain,
    /// The sample at or before the left end counts for it.
    Anchored,
    /// The values at both ends are interpolated.
    Smoothed,
}

/// By which labels values are gathered.
#[derive(Clone, Debug, PartialEq)]
pub enum Grouping {
    /// `by (…)`; without any grouping: by none.
    By(Vec<String>),
    /// `without (…)`
    Without(Vec<String>),
}

/// How two vectors are matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// `on (…)` or `ignoring (…)`; `None`: on all labels, also if it was written as `ignoring ()`.
    pub on: Option<On>,
    /// `group_left`, `group_right`.
    pub side: Side,
    /// Labels in their brackets: taken from the side of one.
    pub include: Vec<String>,
    /// `fill_left`: the value that stands for a missing left side.
    pub fill_left: Option<f64>,
    /// `fill_right`: the value that stands for a missing right side.
    pub fill_right: Option<f64>,
}

/// The labels of a matching.
#[derive(Clone, Debug, PartialEq)]
pub enum On {
    /// Only these.
    On(Vec<String>),
    /// All but these.
    Ignoring(Vec<String>),
}

/// How many may stand on each side of a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// One on each.
    #[default]
    One,
    /// `group_left`: many on the left.
    Left,
    /// `group_right`: many on the right.
    Right,
}

/// An aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the language's")]
pub enum Aggregation {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    CountValues,
    Quantile,
    LimitK,
    LimitRatio,
}

impl Aggregation {
    /// All of them.
    pub const ALL: [Aggregation; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::TopK,
        Self::BottomK,
        Self::CountValues,
        Self::Quantile,
        Self::LimitK,
        Self::LimitRatio,
    ];
    /// As the language spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::TopK => "topk",
            Self::BottomK => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::LimitK => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }
    /// The type of the parameter before the vector, if it takes one.
    pub fn param(self) -> Option<Type> {
        match self {
            Self::TopK | Self::BottomK | Self::Quantile | Self::LimitK | Self::LimitRatio => {
                Some(Type::Scalar)
            }
            Self::CountValues => Some(Type::Text),
            Self::Sum
            | Self::Avg
            | Self::Count
            | Self::Min
            | Self::Max
            | Self::Group
            | Self::Stddev
            | Self::Stdvar => None,
        }
    }
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
    /// `</`: keeps the observations below (experimental, native histograms).
    TrimUpper,
    /// `>/`: keeps the observations above (experimental, native histograms).
    TrimLower,
}

impl BinaryOp {
    /// As the language spells it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
        }
    }
    /// Whether it compares: `== != < <= > >=`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessEqual
                | Self::Greater
                | Self::GreaterEqual
        )
    }
    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// What an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the language's")]
pub enum Type {
    Scalar,
    Text,
    Vector,
    Matrix,
}

impl Type {
    /// As messages name it: `instant vector`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}
