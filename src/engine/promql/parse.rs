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
mod error;
mod length;
mod selector;
#[cfg(test)]
mod tests;

use crate::engine::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};
use crate::engine::promql::ast::{BinaryOp, Expr, Kind, Matching, Span};
use crate::engine::promql::check;
use crate::engine::promql::lex::{Keyword, Lexed, Token, lex};
use crate::engine::promql::literal;
use crate::engine::promql::parse::error::{experimental, too_deep, unknown_function};
use crate::engine::promql::signature::signature;

pub use crate::engine::promql::parse::error::{ParseError, Place};

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
    let mut expr = *parser.expression()?.expr;
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

/// A part of an expression, and how many parts lie in each other in it. Boxed, because a deep expression is read on
/// the stack and every level holds some of these.
struct Grown<T = Expr> {
    expr: Box<T>,
    depth: usize,
}

/// What stands in the brackets of a call, and how deep the deepest of it is.
struct Arguments {
    exprs: Vec<Expr>,
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
        let error = ParseError::new(span, message);
        if token == Token::Equal && context.is_empty() {
            return error.hint("`=` belongs in braces; numbers are compared with `==`");
        }
        error
    }

    /// Puts parts together, unless that makes the tree too deep to walk.
    fn grow(&self, span: Span, kind: Kind, deepest_part: usize) -> Result<Grown, ParseError> {
        let depth = self.deeper(&span, deepest_part)?;
        Ok(Grown {
            expr: Box::new(Expr { span, kind }),
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
            if Binding::of(op) < loosest {
                break;
            }
            lhs = self.operator(op, lhs)?;
        }
        Ok(lhs)
    }

    /// An operator and what is on its right.
    fn operator(&mut self, op: BinaryOp, lhs: Grown) -> Result<Grown, ParseError> {
        let op_span = self.take();
        let clause = Box::new(self.matching()?);
        let rhs = self.nest(|p| p.binary(Binding::of(op).of_rhs()))?;
        self.joined(op, op_span, lhs, *clause, rhs)
    }

    fn joined(
        &self,
        op: BinaryOp,
        op_span: Span,
        lhs: Grown,
        (returns_bool, matching): (bool, Matching),
        rhs: Grown,
    ) -> Result<Grown, ParseError> {
        let span = lhs.expr.span.start..rhs.expr.span.end;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.dialect.fill {
            let what = "binop fill modifiers are experimental and not enabled";
            return Err(experimental(span, what));
        }
        let kind = Kind::Binary {
            op,
            op_span,
            lhs: lhs.expr,
            rhs: rhs.expr,
            returns_bool,
            matching,
        };
        self.grow(span, kind, lhs.depth.max(rhs.depth))
    }

    /// An operand with or without a sign.
    fn signed(&mut self) -> Result<Grown, ParseError> {
        match self.peek() {
            Token::Operator(BinaryOp::Sub) => self.sign_of(true),
            Token::Operator(BinaryOp::Add) => self.sign_of(false),
            _ => self.operand(),
        }
    }

    /// A sign is looser than `^`, and before a number it is part of it.
    fn sign_of(&mut self, negate: bool) -> Result<Grown, ParseError> {
        let start = self.take().start;
        let mut of = self.nest(|p| p.binary(Binding::Pow))?;
        let span = start..of.expr.span.end;
        if let Kind::Number(value) = &mut of.expr.kind {
            *value = if negate { -*value } else { *value };
            of.expr.span = span;
            return Ok(of);
        }
        let kind = Kind::Unary {
            negate,
            expr: of.expr,
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
            Token::Number | Token::Duration => self.number_literal(),
            Token::Text => self.string_literal(),
            Token::OpenParen => self.paren(),
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

    fn number_literal(&mut self) -> Result<Grown, ParseError> {
        let (span, value) = self.number()?;
        self.grow(span, Kind::Number(value), 0)
    }
    fn string_literal(&mut self) -> Result<Grown, ParseError> {
        let (span, bytes) = self.string()?;
        self.grow(span, Kind::Text(bytes), 0)
    }
    fn paren(&mut self) -> Result<Grown, ParseError> {
        let open = self.take();
        let inner = self.nest(Self::expression)?;
        let close = self.expect(Token::CloseParen, "", "an operator or `)`")?;
        let kind = Kind::Paren(inner.expr);
        self.grow(open.start..close.end, kind, inner.depth)
    }

    fn call(&mut self) -> Result<Grown, ParseError> {
        let name = self.take();
        let args = self.arguments()?;
        self.called(name, args)
    }

    fn called(&self, name_span: Span, args: Arguments) -> Result<Grown, ParseError> {
        let name = self.written(&name_span);
        let Some(known) = signature(name) else {
            return Err(unknown_function(name, name_span));
        };
        if known.experimental && !self.dialect.experimental_functions {
            let what = format!("function {name:?} is not enabled");
            return Err(experimental(name_span, &what));
        }
        let span = name_span.start..self.end();
        let kind = Kind::Call {
            function: known.name,
            name_span,
            args: args.exprs,
        };
        self.grow(span, kind, args.depth)
    }

    fn arguments(&mut self) -> Result<Arguments, ParseError> {
        self.expect(Token::OpenParen, "", "`(`")?;
        let mut args = Arguments {
            exprs: Vec::new(),
            depth: 0,
        };
        let mut more = self.take_if(Token::CloseParen).is_none();
        while more {
            let arg = self.nest(Self::expression)?;
            args.depth = args.depth.max(arg.depth);
            args.exprs.push(*arg.expr);
            more = self.more_arguments()?;
        }
        Ok(args)
    }

    /// Whether a comma follows, and not the closing bracket.
    fn more_arguments(&mut self) -> Result<bool, ParseError> {
        if self.take_if(Token::CloseParen).is_some() {
            return Ok(false);
        }
        let comma = self.expect(Token::Comma, "", "an operator, `,` or `)`")?;
        if self.peek() == Token::CloseParen {
            let what = "trailing commas not allowed in function call args";
            return Err(ParseError::new(comma, what).hint("leave the last comma out"));
        }
        Ok(true)
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
