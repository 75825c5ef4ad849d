//! Tokens → [`Expr`], by hand: one function for each form of the language.
//!
//! Operators from loose to tight: `or`; `and`, `unless`; comparisons and trims; `+ -`; `* / % atan2`; signs; `^`,
//! which alone binds to the right. What follows a selector (`[5m]`, `offset`, `@`, `anchored`) binds tightest.
//!
//! Texts, nesting and chains are bounded, so nothing that walks an expression can exhaust the stack.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod clause;
mod length;
mod selector;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::engine::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};
use crate::engine::promql::ast::{BinaryOp, Expr, Kind, Span};
use crate::engine::promql::check;
use crate::engine::promql::lex::{Keyword, Lexed, Token, lex};
use crate::engine::promql::literal;
use crate::engine::promql::signature::{SIGNATURES, signature};
use crate::model::written::did_you_mean;

/// Which of the language's experiments are understood; each is a feature flag of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Functions and aggregations that are experimental: `info`, `limitk`, `mad_over_time` and the like.
    pub experimental_functions: bool,
    /// Arithmetic in durations: `[5m + 1m]`, `offset step()`.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_selectors: bool,
    /// `fill`, `fill_left` and `fill_right` of an operator.
    pub fill: bool,
}

impl Dialect {
    /// What Prometheus 3.x understands without flags.
    pub const PLAIN: Dialect = Dialect {
        experimental_functions: false,
        duration_expressions: false,
        extended_selectors: false,
        fill: false,
    };
    /// Everything.
    pub const ALL: Dialect = Dialect {
        experimental_functions: true,
        duration_expressions: true,
        extended_selectors: true,
        fill: true,
    };
}

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Where: bytes of the text, on boundaries of characters.
    pub span: Span,
    /// What is wrong; where Prometheus has words for it, with these words.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ParseError {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: None,
        }
    }
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// As Prometheus prints it: `1:7: parse error: …`.
    pub fn located(&self, text: &str) -> String {
        let place = Place::of(text, self.span.start);
        format!("{place}: parse error: {}", self.message)
    }
}

/// A place in a text; prints as `line:column`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1, as Prometheus counts.
    pub column: usize,
}

impl Place {
    /// Where the byte `at` of `text` stands; the end of the text if it has no such byte.
    pub fn of(text: &str, at: usize) -> Self {
        let before = text.as_bytes().split_at(at.min(text.len())).0;
        let lines = before.split(|b| *b == b'\n');
        let column = before.rsplit(|b| *b == b'\n').next().map_or(0, <[u8]>::len) + 1;
        Self {
            line: lines.count(),
            column,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Reads an expression and checks it: what comes back has types that fit and arguments in the right number.
///
/// # Errors
/// The first thing that is wrong, in the order in which Prometheus would tell it.
pub fn parse(text: &str, dialect: Dialect) -> Result<Expr, ParseError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let span = 0..0;
        let what = format!(
            "the expression has {} bytes; at most {EXPRESSION_BYTES_MAX} are read",
            text.len()
        );
        return Err(ParseError::new(span, what).hint("divide it with recording rules"));
    }
    let (tokens, bad) = lex(text);
    let mut parser = Parser {
        text,
        tokens,
        bad,
        at: 0,
        nested: 0,
        dialect,
    };
    if parser.peek() == Token::End && parser.bad.is_none() {
        return Err(ParseError::new(0..0, "no expression found in input")
            .hint("write for example `up == 0`"));
    }
    let mut expr = parser.expression()?.expr;
    if parser.peek() != Token::End || parser.bad.is_some() {
        return Err(parser.unexpected("", "an operator or the end of the expression"));
    }
    check::check(&mut expr)?;
    Ok(expr)
}

/// How tightly an operator binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Compare,
    Add,
    Mul,
    Pow,
}

impl Binding {
    fn of(op: BinaryOp) -> Self {
        use BinaryOp as B;
        match op {
            B::Or => Self::Or,
            B::And | B::Unless => Self::And,
            B::Equal | B::NotEqual | B::Less | B::LessEqual | B::Greater | B::GreaterEqual => {
                Self::Compare
            }
            B::TrimUpper | B::TrimLower => Self::Compare,
            B::Add | B::Sub => Self::Add,
            B::Mul | B::Div | B::Mod | B::Atan2 => Self::Mul,
            B::Pow => Self::Pow,
        }
    }
    /// The least that an operator to the right of this one must have to take the operand between them.
    fn of_rhs(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Compare,
            Self::Compare => Self::Add,
            Self::Add => Self::Mul,
            Self::Mul | Self::Pow => Self::Pow,
        }
    }
}

/// A part of an expression, and how many parts lie in each other in it.
struct Grown<T = Expr> {
    expr: T,
    depth: usize,
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Lexed>,
    /// What ended the tokens, if not the end of the text.
    bad: Option<ParseError>,
    at: usize,
    /// How many expressions are being read, each in the one before.
    nested: usize,
    dialect: Dialect,
}

impl Parser<'_> {
    fn lexed(&self) -> (Token, Span) {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or((Token::End, 0..0), |l| (l.token, l.span.clone()))
    }
    fn peek(&self) -> Token {
        self.lexed().0
    }
    fn here(&self) -> Span {
        self.lexed().1
    }
    fn after(&self) -> Token {
        self.tokens.get(self.at + 1).map_or(Token::End, |l| l.token)
    }
    /// Takes the token, whatever it is.
    fn take(&mut self) -> Span {
        let span = self.here();
        self.at += 1;
        span
    }
    fn take_if(&mut self, wanted: Token) -> Option<Span> {
        (self.peek() == wanted).then(|| self.take())
    }
    fn take_keyword(&mut self, wanted: Keyword) -> Option<Span> {
        self.take_if(Token::Keyword(wanted))
    }
    fn written(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or("")
    }
    /// Where the last token that was taken ends.
    fn end(&self) -> usize {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(0, |l| l.span.end)
    }
    fn expect(&mut self, wanted: Token, context: &str, expected: &str) -> Result<Span, ParseError> {
        self.take_if(wanted)
            .ok_or_else(|| self.unexpected(context, expected))
    }

    /// The token is not what may stand here; if it is none at all, then that is told.
    fn unexpected(&mut self, context: &str, expected: &str) -> ParseError {
        let (token, span) = self.lexed();
        if token == Token::End
            && let Some(bad) = self.bad.take()
        {
            return bad;
        }
        let word = self.written(&span);
        let shown = match token {
            Token::End => "end of input".to_owned(),
            Token::Name => format!("identifier {word:?}"),
            Token::MetricName => format!("metric identifier {word:?}"),
            Token::Number => format!("number {word:?}"),
            Token::Duration => format!("duration {word:?}"),
            Token::Text => format!("string {word}"),
            Token::Keyword(_) => format!("<{word}>"),
            Token::Aggregation(_) => format!("<aggr:{word}>"),
            Token::Operator(_) => format!("<op:{word}>"),
            _ => format!("{word:?}"),
        };
        let mut message = format!("unexpected {shown}");
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        ParseError::new(span, message)
    }

    /// Puts parts together, unless that makes the tree too deep to walk.
    fn grow(&self, span: Span, kind: Kind, deepest_part: usize) -> Result<Grown, ParseError> {
        let depth = self.deeper(&span, deepest_part)?;
        Ok(Grown {
            expr: Expr { span, kind },
            depth,
        })
    }
    fn deeper(&self, span: &Span, deepest_part: usize) -> Result<usize, ParseError> {
        if deepest_part >= EXPRESSION_DEPTH_MAX {
            return Err(too_deep(span.clone()));
        }
        Ok(deepest_part + 1)
    }
    /// Reads something that may lie in itself.
    fn nest<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.nested >= EXPRESSION_DEPTH_MAX {
            return Err(too_deep(self.here()));
        }
        self.nested += 1;
        let done = read(self);
        self.nested -= 1;
        done
    }

    fn expression(&mut self) -> Result<Grown, ParseError> {
        self.binary(Binding::Or)
    }

    /// Operands and operators that bind at least as tightly as `loosest`.
    fn binary(&mut self, loosest: Binding) -> Result<Grown, ParseError> {
        let mut lhs = self.signed()?;
        while let Token::Operator(op) = self.peek() {
            let binding = Binding::of(op);
            if binding < loosest {
                break;
            }
            let op_span = self.take();
            let (returns_bool, matching) = self.matching()?;
            let rhs = self.nest(|p| p.binary(binding.of_rhs()))?;
            let span = lhs.expr.span.start..rhs.expr.span.end;
            if !self.dialect.fill && (matching.fill_left.is_some() || matching.fill_right.is_some())
            {
                return Err(experimental(
                    span,
                    "binop fill modifiers are experimental and not enabled",
                ));
            }
            let depth = lhs.depth.max(rhs.depth);
            let kind = Kind::Binary {
                op,
                op_span,
                lhs: Box::new(lhs.expr),
                rhs: Box::new(rhs.expr),
                returns_bool,
                matching,
            };
            lhs = self.grow(span, kind, depth)?;
        }
        Ok(lhs)
    }

    /// An operand with or without a sign. A sign is looser than `^`, and before a number it is part of it.
    fn signed(&mut self) -> Result<Grown, ParseError> {
        let negate = match self.peek() {
            Token::Operator(BinaryOp::Sub) => true,
            Token::Operator(BinaryOp::Add) => false,
            _ => return self.operand(),
        };
        let sign = self.take();
        let of = self.nest(|p| p.binary(Binding::Pow))?;
        let span = sign.start..of.expr.span.end;
        if let Kind::Number(value) = of.expr.kind {
            return self.grow(span, Kind::Number(if negate { -value } else { value }), 0);
        }
        let kind = Kind::Unary {
            negate,
            expr: Box::new(of.expr),
        };
        self.grow(span, kind, of.depth)
    }

    /// An operand and all that is written after it: a range, an offset, a time.
    fn operand(&mut self) -> Result<Grown, ParseError> {
        let mut operand = self.primary()?;
        loop {
            operand = match self.peek() {
                Token::OpenBracket => self.bracket(operand)?,
                Token::Keyword(Keyword::Offset) => self.offset(operand)?,
                Token::At => self.at(operand)?,
                Token::Keyword(Keyword::Anchored | Keyword::Smoothed) => self.edges(operand)?,
                _ => return Ok(operand),
            };
        }
    }

    fn primary(&mut self) -> Result<Grown, ParseError> {
        match self.peek() {
            Token::Number | Token::Duration => {
                let (span, value) = self.number()?;
                self.grow(span, Kind::Number(value), 0)
            }
            Token::Text => {
                let (span, bytes) = self.string()?;
                self.grow(span, Kind::Text(bytes), 0)
            }
            Token::OpenParen => {
                let open = self.take();
                let inner = self.nest(Self::expression)?;
                let close = self.expect(Token::CloseParen, "", "an operator or `)`")?;
                let kind = Kind::Paren(Box::new(inner.expr));
                self.grow(open.start..close.end, kind, inner.depth)
            }
            Token::Aggregation(op)
                if matches!(
                    self.after(),
                    Token::OpenParen | Token::Keyword(Keyword::By | Keyword::Without)
                ) =>
            {
                self.aggregate(op)
            }
            Token::Name
            | Token::Keyword(
                Keyword::Start
                | Keyword::End
                | Keyword::Step
                | Keyword::Range
                | Keyword::MinOf
                | Keyword::MaxOf,
            ) if self.after() == Token::OpenParen => self.call(),
            Token::Name
            | Token::MetricName
            | Token::OpenBrace
            | Token::Aggregation(_)
            | Token::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
            | Token::Keyword(
                Keyword::By
                | Keyword::Without
                | Keyword::Offset
                | Keyword::Anchored
                | Keyword::Smoothed
                | Keyword::Fill
                | Keyword::FillLeft
                | Keyword::FillRight
                | Keyword::Start
                | Keyword::End
                | Keyword::Step
                | Keyword::Range
                | Keyword::MinOf
                | Keyword::MaxOf,
            ) => self.selector(),
            _ => Err(self.unexpected("", "a metric, a number, a function, an aggregation or `(`")),
        }
    }

    fn call(&mut self) -> Result<Grown, ParseError> {
        let name_span = self.take();
        let (args, depth) = self.arguments()?;
        let name = self.written(&name_span);
        let Some(known) = signature(name) else {
            return Err(unknown_function(name, name_span));
        };
        if known.experimental && !self.dialect.experimental_functions {
            let what = format!("function {name:?} is not enabled");
            return Err(experimental(name_span, &what));
        }
        let kind = Kind::Call {
            function: known.name,
            name_span: name_span.clone(),
            args,
        };
        self.grow(name_span.start..self.end(), kind, depth)
    }

    /// `(a, b)`: what is in it, and how deep the deepest of it is.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), ParseError> {
        self.expect(Token::OpenParen, "", "`(`")?;
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.take_if(Token::CloseParen).is_some() {
            return Ok((args, depth));
        }
        loop {
            let arg = self.nest(Self::expression)?;
            depth = depth.max(arg.depth);
            args.push(arg.expr);
            if self.take_if(Token::CloseParen).is_some() {
                return Ok((args, depth));
            }
            let comma = self.expect(Token::Comma, "", "an operator, `,` or `)`")?;
            if self.peek() == Token::CloseParen {
                let what = "trailing commas not allowed in function call args";
                return Err(ParseError::new(comma, what).hint("leave the last comma out"));
            }
        }
    }

    /// A number, or the seconds of a duration.
    fn number(&mut self) -> Result<(Span, f64), ParseError> {
        let (token, span) = self.lexed();
        let word = self.written(&span);
        let value = match token {
            Token::Number => literal::number(word),
            Token::Duration => literal::duration(word).map(|ms| ms as f64 / 1000.0),
            _ => return Err(self.unexpected("", "a number or a duration")),
        };
        let value = value.map_err(|what| ParseError::new(span.clone(), what))?;
        self.at += 1;
        Ok((span, value))
    }

    fn string(&mut self) -> Result<(Span, Vec<u8>), ParseError> {
        let span = self.expect(Token::Text, "", "a string")?;
        match literal::unquote(self.written(&span)) {
            Ok(bytes) => Ok((span, bytes)),
            Err((at, what)) => {
                let at = span.start + at;
                let rest = self.text.get(at..span.end).unwrap_or("");
                let wide = rest.chars().take(2).map(char::len_utf8).sum::<usize>();
                Err(ParseError::new(at..at + wide, what)
                    .hint("a backslash is written `\\\\`; in backticks it needs no second one"))
            }
        }
    }
}

fn too_deep(span: Span) -> ParseError {
    let what = format!("more than {EXPRESSION_DEPTH_MAX} expressions lie in each other here");
    ParseError::new(span, what).hint("divide the expression with recording rules")
}

fn experimental(span: Span, what: &str) -> ParseError {
    ParseError::new(span, what)
        .hint("this is experimental in Prometheus and is not switched on here")
}

fn unknown_function(name: &str, span: Span) -> ParseError {
    let error = ParseError::new(span, format!("unknown function with name {name:?}"));
    let aggregations = crate::engine::promql::ast::Aggregation::ALL;
    let names = SIGNATURES.iter().map(|s| s.name);
    let near = did_you_mean(
        &name.to_ascii_lowercase(),
        names.chain(aggregations.iter().map(|a| a.name())),
    );
    match (name, near) {
        ("holt_winters", _) => {
            error.hint("since Prometheus 3 it is called `double_exponential_smoothing`")
        }
        (_, Some(near)) => error.hint(format!("did you mean `{near}`?")),
        (_, None) => error,
    }
}
