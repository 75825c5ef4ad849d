//! Functions of one number and of a few scalars beside it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::BinaryOp;
use crate::engine::promql::functions::date;
use crate::engine::promql::number::{max, min};

/// A function that makes a number of a number, wherever it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::promql) enum Map {
    Abs,
    Ceil,
    Floor,
    Exp,
    Sqrt,
    Ln,
    Log2,
    Log10,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Rad,
    Deg,
    Sgn,
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Date(date::Part),
}

impl Map {
    /// By the name of the function.
    pub(in crate::engine::promql) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Map::Abs,
            "ceil" => Map::Ceil,
            "floor" => Map::Floor,
            "exp" => Map::Exp,
            "sqrt" => Map::Sqrt,
            "ln" => Map::Ln,
            "log2" => Map::Log2,
            "log10" => Map::Log10,
            "sin" => Map::Sin,
            "cos" => Map::Cos,
            "tan" => Map::Tan,
            "asin" => Map::Asin,
            "acos" => Map::Acos,
            "atan" => Map::Atan,
            "sinh" => Map::Sinh,
            "cosh" => Map::Cosh,
            "tanh" => Map::Tanh,
            "asinh" => Map::Asinh,
            "acosh" => Map::Acosh,
            "atanh" => Map::Atanh,
            "rad" => Map::Rad,
            "deg" => Map::Deg,
            "sgn" => Map::Sgn,
            "round" => Map::Round,
            "clamp" => Map::Clamp,
            "clamp_min" => Map::ClampMin,
            "clamp_max" => Map::ClampMax,
            _ => Map::Date(date::Part::named(name)?),
        })
    }
    /// Applies it; `a` and `b` are the scalars beside the vector, in their order.
    #[inline(always)]
    pub(in crate::engine::promql) fn apply(self, v: f64, a: f64, b: f64) -> f64 {
        match self {
            Map::Abs => v.abs(),
            Map::Ceil => v.ceil(),
            Map::Floor => v.floor(),
            Map::Exp => v.exp(),
            Map::Sqrt => v.sqrt(),
            Map::Ln => v.ln(),
            Map::Log2 => v.log2(),
            Map::Log10 => v.log10(),
            Map::Sin => v.sin(),
            Map::Cos => v.cos(),
            Map::Tan => v.tan(),
            Map::Asin => v.asin(),
            Map::Acos => v.acos(),
            Map::Atan => v.atan(),
            Map::Sinh => v.sinh(),
            Map::Cosh => v.cosh(),
            Map::Tanh => v.tanh(),
            Map::Asinh => v.asinh(),
            Map::Acosh => v.acosh(),
            Map::Atanh => v.atanh(),
            Map::Rad => v * std::f64::consts::PI / 180.0,
            Map::Deg => v * 180.0 / std::f64::consts::PI,
            Map::Sgn if v < 0.0 => -1.0,
            Map::Sgn if v > 0.0 => 1.0,
            Map::Sgn => v,
            // The inverse costs less accuracy than the division: 0.1 is not a tenth.
            Map::Round => {
                let inverse = 1.0 / a;
                (v * inverse + 0.5).floor() / inverse
            }
            Map::Clamp => max(a, min(b, v)),
            Map::ClampMin => max(a, min(f64::INFINITY, v)),
            Map::ClampMax => max(f64::NEG_INFINITY, min(a, v)),
            Map::Date(part) => part.of(v as i64),
        }
    }
}

/// What an operator makes of two numbers, where it makes a number of them.
#[inline(always)]
pub(in crate::engine::promql) fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => power(a, b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterEqual => f64::from(u8::from(compare(op, a, b))),
        // The parser lets none of these between scalars, and vectors do not come here with them.
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => f64::NAN,
    }
}

fn power(a: f64, b: f64) -> f64 {
    // Go: Pow(-1, ±Inf) = 1, as here; both follow C99 otherwise.
    a.powf(b)
}

/// What a comparison says of two numbers.
#[inline(always)]
pub(in crate::engine::promql) fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEqual => a >= b,
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::Atan2
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => false,
    }
}

/// Whether the result of an operator is of another kind than its operands, so that their name does not fit it.
pub(in crate::engine::promql) fn renames(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}
