//! Whether an expression makes sense: types, numbers of arguments, which clauses go together.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{
    Aggregation, Edges, Expr, Kind, Matching, On, Selector, Side, Span, Type,
};
use crate::engine::promql::parse::ParseError;
use crate::engine::promql::signature::{Signature, signature};

/// What an expression yields. A function that is not in the table yields a vector; the parser lets none through.
pub fn type_of(expr: &Expr) -> Type {
    match &expr.kind {
        Kind::Number(_) => Type::Scalar,
        Kind::Text(_) => Type::Text,
        Kind::Vector(_) | Kind::Aggregate { .. } => Type::Vector,
        Kind::Matrix { .. } | Kind::Subquery { .. } => Type::Matrix,
        Kind::Call { function, .. } => signature(function).map_or(Type::Vector, |s| s.yields),
        Kind::Binary { lhs, rhs, .. } => {
            if type_of(lhs) == Type::Scalar && type_of(rhs) == Type::Scalar {
                Type::Scalar
            } else {
                Type::Vector
            }
        }
        Kind::Unary { expr, .. } | Kind::Paren(expr) => type_of(expr),
    }
}

/// Checks an expression, and forgets how vectors are matched where there are none to match.
///
/// It walks on the stack, so what it keeps there while it looks at a part is little: each form has its own function.
pub(super) fn check(expr: &mut Expr) -> Result<Type, ParseError> {
    let span = &expr.span;
    match &mut expr.kind {
        Kind::Number(_) => Ok(Type::Scalar),
        Kind::Text(_) => Ok(Type::Text),
        Kind::Vector(selector) => check_selector(selector, span, Type::Vector),
        Kind::Matrix { selector, .. } => check_selector(selector, span, Type::Matrix),
        Kind::Subquery { expr, .. } => check_subquery(expr, span),
        Kind::Call { function, args, .. } => check_call(function, args, span),
        Kind::Aggregate {
            op, param, expr, ..
        } => check_aggregate(*op, param.as_deref_mut(), expr),
        Kind::Binary { .. } => check_binary(&mut expr.kind, span),
        Kind::Unary { expr, .. } => check_unary(expr, span),
        Kind::Paren(expr) => check(expr),
    }
}

fn check_subquery(expr: &mut Expr, span: &Span) -> Result<Type, ParseError> {
    match check(expr)? {
        Type::Vector => Ok(Type::Matrix),
        got => Err(no_subquery(span, got)),
    }
}

fn no_subquery(span: &Span, got: Type) -> ParseError {
    let got = match got {
        Type::Matrix => "matrix",
        other => other.name(),
    };
    let what = format!("subquery is only allowed on instant vector, got {got} instead");
    ParseError::new(span.clone(), what)
}

fn check_aggregate(
    op: Aggregation,
    param: Option<&mut Expr>,
    expr: &mut Expr,
) -> Result<Type, ParseError> {
    expect(expr, Type::Vector, "aggregation expression")?;
    if let (Some(param), Some(wanted)) = (param, op.param()) {
        expect(param, wanted, "aggregation parameter")?;
    }
    Ok(Type::Vector)
}

fn check_binary(kind: &mut Kind, span: &Span) -> Result<Type, ParseError> {
    let Kind::Binary { lhs, rhs, .. } = kind else {
        return Ok(Type::Vector);
    };
    let types = (check(lhs)?, check(rhs)?);
    check_operator(kind, types)?;
    check_matching(kind, types, span)?;
    Ok(match types {
        (Type::Scalar, Type::Scalar) => Type::Scalar,
        _ => Type::Vector,
    })
}

fn check_unary(expr: &mut Expr, span: &Span) -> Result<Type, ParseError> {
    match check(expr)? {
        got @ (Type::Scalar | Type::Vector) => Ok(got),
        got => Err(no_sign(span, got)),
    }
}

fn no_sign(span: &Span, got: Type) -> ParseError {
    let what = format!(
        "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
        got.name()
    );
    ParseError::new(span.clone(), what)
}

fn expect(expr: &mut Expr, wanted: Type, context: &str) -> Result<(), ParseError> {
    let got = check(expr)?;
    if got == wanted {
        return Ok(());
    }
    Err(wrong_type(expr.span.clone(), wanted, context, got))
}

fn wrong_type(span: Span, wanted: Type, context: &str, got: Type) -> ParseError {
    let what = format!(
        "expected type {} in {context}, got {}",
        wanted.name(),
        got.name()
    );
    let error = ParseError::new(span, what);
    match (wanted, got) {
        (Type::Matrix, Type::Vector) => {
            error.hint("give it a window: `name[5m]`, or `(expression)[5m:]`")
        }
        (Type::Vector, Type::Matrix) => {
            error.hint("a window is read by a function such as `rate` or `avg_over_time`")
        }
        (Type::Vector, Type::Scalar) => error.hint("`vector(…)` makes a vector of a number"),
        (Type::Scalar, Type::Vector) => {
            error.hint("`scalar(…)` makes a number of a vector with one element")
        }
        (Type::Text, _) => error.hint("write it in quotes"),
        _ => error,
    }
}

fn check_call(function: &str, args: &mut [Expr], span: &Span) -> Result<Type, ParseError> {
    let Some(signature) = signature(function) else {
        return Err(ParseError::new(span.clone(), "unknown function"));
    };
    check_count(signature, args.len(), span)?;
    let info = signature.name == "info";
    if let Some(chosen) = args.get(1).filter(|_| info) {
        check_info(chosen)?;
    }
    for (index, arg) in args.iter_mut().enumerate() {
        // A selector of labels for `info` may match anything.
        if info && index == 1 {
            continue;
        }
        let got = check(arg)?;
        check_arg(signature, index, arg, got)?;
    }
    Ok(signature.yields)
}

fn check_arg(signature: &Signature, index: usize, arg: &Expr, got: Type) -> Result<(), ParseError> {
    match signature.arg(index) {
        Some(wanted) if wanted != got => {
            let context = format!("call to function {:?}", signature.name);
            Err(wrong_type(arg.span.clone(), wanted, &context, got))
        }
        _ => check_edges(arg, signature.name),
    }
}

fn check_count(signature: &Signature, given: usize, span: &Span) -> Result<(), ParseError> {
    let name = signature.name;
    let (min, max) = (signature.args_min(), signature.args_max());
    let bound = if Some(min) == max && given != min {
        Some(format!("{min}"))
    } else if given < min {
        Some(format!("at least {min}"))
    } else {
        max.filter(|max| given > *max)
            .map(|max| format!("at most {max}"))
    };
    if let Some(bound) = bound {
        let what = format!("expected {bound} argument(s) in call to {name:?}, got {given}");
        return Err(ParseError::new(span.clone(), what).hint(form(signature)));
    }
    Ok(())
}

/// How a function is called, for people.
fn form(signature: &Signature) -> String {
    let mut args: Vec<String> = signature.args.iter().map(|t| t.name().to_owned()).collect();
    if Some(args.len()) != signature.args_max() || args.len() != signature.args_min() {
        let last = args.pop().unwrap_or_default();
        let more = match signature.args_max() {
            Some(max) if max == args.len() + 1 => format!("[{last}]"),
            _ => format!("[{last}, …]"),
        };
        args.push(more);
    }
    format!("it is called as `{}({})`", signature.name, args.join(", "))
}

fn check_info(chosen: &Expr) -> Result<(), ParseError> {
    let span = chosen.span.clone();
    let got = type_of(chosen);
    if got != Type::Vector {
        return Err(wrong_type(
            span,
            Type::Vector,
            "call to function \"info\"",
            got,
        ));
    }
    let Kind::Vector(selector) = &chosen.kind else {
        return Err(ParseError::new(span, "expected label selectors only")
            .hint("the second argument names labels, as in `info(up, {version=~\".+\"})`"));
    };
    if selector.name.is_none() {
        return Ok(());
    }
    let what = "expected label selectors only, got vector selector instead";
    Err(ParseError::new(span, what)
        .hint("leave the name out: `{version=~\".+\"}`; another info metric is `{__name__=\"…\"}`"))
}

/// Which functions know what to do at the ends of a window.
fn check_edges(arg: &Expr, function: &str) -> Result<(), ParseError> {
    let Kind::Matrix { selector, .. } = &arg.kind else {
        return Ok(());
    };
    let (word, known): (_, &[&str]) = match selector.edges {
        Edges::Plain => return Ok(()),
        Edges::Anchored => (
            "anchored",
            &["changes", "delta", "increase", "rate", "resets"],
        ),
        Edges::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
    };
    if known.contains(&function) {
        return Ok(());
    }
    let what = format!(
        "{word} modifier can only be used with: {} - not with {function}",
        known.join(", ")
    );
    Err(ParseError::new(arg.span.clone(), what))
}

fn check_operator(kind: &Kind, types: (Type, Type)) -> Result<(), ParseError> {
    let Kind::Binary {
        op,
        op_span,
        returns_bool,
        ..
    } = kind
    else {
        return Ok(());
    };
    if *returns_bool && !op.is_comparison() {
        let what = "bool modifier can only be used on comparison operators";
        return Err(ParseError::new(op_span.clone(), what).hint("leave `bool` out"));
    }
    if op.is_comparison() && !returns_bool && types == (Type::Scalar, Type::Scalar) {
        let what = "comparisons between scalars must use BOOL modifier";
        return Err(ParseError::new(op_span.clone(), what).hint(format!(
            "two numbers have nothing to filter: `{} bool` gives 0 or 1",
            op.sign()
        )));
    }
    Ok(())
}

fn check_matching(kind: &mut Kind, types: (Type, Type), span: &Span) -> Result<(), ParseError> {
    let Kind::Binary {
        op,
        op_span,
        lhs,
        rhs,
        matching,
        ..
    } = kind
    else {
        return Ok(());
    };
    if let Some(On::On(labels)) = &matching.on
        && let Some(twice) = labels.iter().find(|l| matching.include.contains(l))
    {
        let what = format!("label {twice:?} must not occur in ON and GROUP clause at once");
        return Err(ParseError::new(op_span.clone(), what)
            .hint("a label that must be equal on both sides need not be copied"));
    }
    for (got, side) in [(types.0, &lhs.span), (types.1, &rhs.span)] {
        if !matches!(got, Type::Scalar | Type::Vector) {
            let what = "binary expression must contain only scalar and instant vector types";
            return Err(ParseError::new(side.clone(), what).hint(match got {
                Type::Matrix => "a window is read by a function such as `rate` or `avg_over_time`",
                _ => "a string can only be an argument",
            }));
        }
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    let refuse = |what: &str| Err(ParseError::new(span.clone(), what));
    if types != (Type::Vector, Type::Vector) {
        let labels = match &matching.on {
            Some(On::On(labels) | On::Ignoring(labels)) => !labels.is_empty(),
            None => false,
        };
        if labels {
            return refuse("vector matching only allowed between instant vectors");
        }
        if fills {
            return refuse("filling in missing series only allowed between instant vectors");
        }
        *matching = Matching::default();
        if op.is_set() {
            let what = format!(
                "set operator {:?} not allowed in binary scalar expression",
                op.sign()
            );
            return Err(
                ParseError::new(span.clone(), what).hint("`vector(…)` makes a vector of a number")
            );
        }
        return Ok(());
    }
    if op.is_set() {
        if matching.side != Side::One {
            let what = format!("no grouping allowed for {:?} operation", op.sign());
            return refuse(&what);
        }
        if fills {
            return refuse("filling in missing series not allowed for set operators");
        }
    }
    Ok(())
}

fn check_selector(selector: &Selector, span: &Span, yields: Type) -> Result<Type, ParseError> {
    check_name(selector, span)?;
    check_not_empty(selector, span)?;
    Ok(yields)
}

fn check_name(selector: &Selector, span: &Span) -> Result<(), ParseError> {
    let Some(name) = &selector.name else {
        return Ok(());
    };
    let others = selector.matchers.split_last().map_or(&[][..], |(_, o)| o);
    let Some(twice) = others.iter().find(|m| m.name == "__name__") else {
        return Ok(());
    };
    let what = format!(
        "metric name must not be set twice: {name:?} or {:?}",
        twice.value
    );
    Err(ParseError::new(span.clone(), what)
        .hint("leave the name before the braces out, or the matcher in them"))
}

fn check_not_empty(selector: &Selector, span: &Span) -> Result<(), ParseError> {
    if selector.matchers.iter().any(|m| !m.matches("")) {
        return Ok(());
    }
    let what = "vector selector must contain at least one non-empty matcher";
    Err(ParseError::new(span.clone(), what)
        .hint("name a metric, or a label that must be there: `{job=~\".+\"}`"))
}
