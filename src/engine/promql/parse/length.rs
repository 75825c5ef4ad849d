//! Lengths of time: constants, and (experimental) arithmetic on them.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{BinaryOp, Length, Placed, Span};
use crate::engine::promql::lex::{Keyword, Token};
use crate::engine::promql::literal;
use crate::engine::promql::parse::error::experimental;
use crate::engine::promql::parse::{Binding, Grown, ParseError, Parser};

type Part = Grown<Placed<Length>>;

/// The longest length: what fits 63 bits of nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036.854_775;

const EXPECTED: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// The length in a bracket: more than nothing.
    pub(super) fn range(&mut self, context: &str) -> Result<Placed<Length>, ParseError> {
        let length = settled(*self.arithmetic(Binding::Or, context)?.expr);
        let positive = match length.value {
            Length::Ms(ms) => ms > 0,
            Length::Secs(secs) => secs > 0.0,
            _ => true,
        };
        if positive {
            return Ok(length);
        }
        Err(ParseError::new(
            length.span,
            "duration must be greater than 0",
        ))
    }

    /// The length after `offset`. What follows a plain length is no longer part of it: `a offset 5m + 1` adds to `a`;
    /// but after an opening bracket everything is.
    pub(super) fn offset_length(&mut self) -> Result<Placed<Length>, ParseError> {
        const CONTEXT: &str = "offset";
        let (token, start) = self.lexed();
        if token == Token::OpenParen {
            return Ok(settled(*self.arithmetic(Binding::Or, CONTEXT)?.expr));
        }
        if !matches!(token, Token::Operator(BinaryOp::Add | BinaryOp::Sub)) {
            return Ok(settled(*self.length_operand(CONTEXT)?.expr));
        }
        self.take();
        let of = self.length_operand(CONTEXT)?;
        let sign = self.signed_length(token, start, of)?;
        Ok(settled(*sign.expr))
    }

    fn arithmetic(&mut self, loosest: Binding, context: &str) -> Result<Part, ParseError> {
        let mut lhs = self.nest(|p| p.length_with_sign(context))?;
        while let Token::Operator(op) = self.peek() {
            let binding = Binding::of(op);
            let arithmetic = matches!(binding, Binding::Add | Binding::Mul | Binding::Pow);
            if !arithmetic || op == BinaryOp::Atan2 || binding < loosest {
                break;
            }
            self.allow_arithmetic(&lhs.expr.span)?;
            let sign = self.take();
            let rhs = self.nest(|p| p.arithmetic(binding.of_rhs(), context))?;
            if matches!(rhs.expr.value, Length::Ms(0) | Length::Secs(0.0)) {
                if op == BinaryOp::Div {
                    return Err(ParseError::new(sign, "division by zero"));
                }
                if op == BinaryOp::Mod {
                    return Err(ParseError::new(sign, "modulo by zero"));
                }
            }
            let span = lhs.expr.span.start..rhs.expr.span.end;
            let depth = lhs.depth.max(rhs.depth);
            let value = Length::Arithmetic {
                op,
                lhs: lhs.expr,
                rhs: rhs.expr,
            };
            lhs = self.part(span, value, depth)?;
        }
        Ok(lhs)
    }

    /// A sign is looser than `^`, and before a constant it is part of it.
    fn length_with_sign(&mut self, context: &str) -> Result<Part, ParseError> {
        let (token, start) = self.lexed();
        if !matches!(token, Token::Operator(BinaryOp::Add | BinaryOp::Sub)) {
            return self.length_operand(context);
        }
        self.take();
        let of = self.nest(|p| p.arithmetic(Binding::Pow, context))?;
        self.signed_length(token, start, of)
    }

    fn signed_length(&self, sign: Token, start: Span, of: Part) -> Result<Part, ParseError> {
        let negate = sign == Token::Operator(BinaryOp::Sub);
        let span = start.start..of.expr.span.end;
        let value = match of.expr.value {
            Length::Ms(ms) => Length::Ms(if negate { -ms } else { ms }),
            Length::Secs(secs) => Length::Secs(if negate { -secs } else { secs }),
            _ => Length::Sign {
                negate,
                of: of.expr,
            },
        };
        self.part(span, value, of.depth)
    }

    fn length_operand(&mut self, context: &str) -> Result<Part, ParseError> {
        let (token, span) = self.lexed();
        match token {
            Token::Number => {
                let (span, secs) = self.number()?;
                if secs.is_nan() || secs.abs() > SECONDS_MAX {
                    return Err(ParseError::new(span, "duration out of range"));
                }
                self.part(span, Length::Secs(secs), 0)
            }
            Token::Duration => {
                let ms = literal::duration(self.written(&span))
                    .map_err(|what| ParseError::new(span.clone(), what))?;
                self.take();
                self.part(span, Length::Ms(ms), 0)
            }
            Token::Keyword(Keyword::Step | Keyword::Range) => {
                self.take();
                self.expect(Token::OpenParen, context, "\"(\"")?;
                let close = self.expect(Token::CloseParen, context, "\")\"")?;
                let whole = span.start..close.end;
                self.allow_arithmetic(&whole)?;
                let step = token == Token::Keyword(Keyword::Step);
                self.part(whole, if step { Length::Step } else { Length::Range }, 0)
            }
            Token::Keyword(Keyword::MinOf | Keyword::MaxOf) => {
                self.take();
                self.expect(Token::OpenParen, context, "\"(\"")?;
                let a = self.nest(|p| p.arithmetic(Binding::Or, context))?;
                self.expect(Token::Comma, context, "\",\"")?;
                let b = self.nest(|p| p.arithmetic(Binding::Or, context))?;
                let close = self.expect(Token::CloseParen, context, "\")\"")?;
                let whole = span.start..close.end;
                self.allow_arithmetic(&whole)?;
                let depth = a.depth.max(b.depth);
                let (a, b) = (a.expr, b.expr);
                let min = token == Token::Keyword(Keyword::MinOf);
                let value = if min {
                    Length::Min(a, b)
                } else {
                    Length::Max(a, b)
                };
                self.part(whole, value, depth)
            }
            Token::OpenParen => {
                self.take();
                let mut inner = self.nest(|p| p.arithmetic(Binding::Or, context))?;
                let close = self.expect(Token::CloseParen, context, "an operator or `)`")?;
                self.allow_arithmetic(&inner.expr.span)?;
                inner.expr.span = span.start..close.end;
                Ok(inner)
            }
            _ => Err(self.unexpected(context, EXPECTED)),
        }
    }

    fn part(&self, span: Span, value: Length, deepest_part: usize) -> Result<Part, ParseError> {
        let depth = self.deeper(&span, deepest_part)?;
        Ok(Grown {
            expr: Box::new(Placed { span, value }),
            depth,
        })
    }

    fn allow_arithmetic(&self, span: &Span) -> Result<(), ParseError> {
        if self.dialect.duration_expressions {
            return Ok(());
        }
        let what = "experimental duration expression is not enabled";
        Err(experimental(span.clone(), what))
    }
}

/// A constant number of seconds as the milliseconds that it is.
fn settled(length: Placed<Length>) -> Placed<Length> {
    let Length::Secs(secs) = length.value else {
        return length;
    };
    let ns = (secs * 1e9).round();
    let ms = ns / 1e6;
    if ms.fract() != 0.0 {
        return length;
    }
    Placed {
        span: length.span,
        value: Length::Ms(ms as i64),
    }
}
