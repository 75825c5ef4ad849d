//! Selectors, and what moves or widens them: `name{…}[5m] anchored @ 100 offset 5m`, subqueries.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{At, BinaryOp, Edges, Kind, Length, Selector, Shift, Span};
use crate::engine::promql::lex::{Keyword, Token};
use crate::engine::promql::parse::error::experimental;
use crate::engine::promql::parse::{Grown, ParseError, Parser};
use crate::model::labels::{MatchOp, Matcher};

impl Parser<'_> {
    /// `name`, `name{…}` or `{…}`
    pub(super) fn selector(&mut self) -> Result<Grown, ParseError> {
        let start = self.here().start;
        let name = (self.peek() != Token::OpenBrace).then(|| {
            let span = self.take();
            self.written(&span).to_owned()
        });
        let mut matchers = Vec::new();
        if self.take_if(Token::OpenBrace).is_some() {
            self.matchers(&mut matchers)?;
        }
        let span = start..self.end();
        if let Some(name) = &name {
            matchers.push(matcher("__name__", MatchOp::Equal, name, &span)?);
        }
        let kind = Kind::Vector(Selector {
            matchers,
            name,
            shift: Shift::default(),
            edges: Edges::Plain,
        });
        self.grow(span, kind, 0)
    }

    /// What is between the braces, and the closing one.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        const CONTEXT: &str = "label matching";
        loop {
            if self.take_if(Token::CloseBrace).is_some() {
                return Ok(());
            }
            let start = self.here();
            let name = match self.peek() {
                Token::Name => {
                    let span = self.take();
                    self.written(&span).to_owned()
                }
                Token::Text => self.utf8()?,
                _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
            };
            let quoted = self.written(&start).starts_with(['"', '\'', '`']);
            let op = match self.peek() {
                Token::Equal => Some(MatchOp::Equal),
                Token::Operator(BinaryOp::NotEqual) => Some(MatchOp::NotEqual),
                Token::Regex => Some(MatchOp::Regex),
                Token::NotRegex => Some(MatchOp::NotRegex),
                _ if quoted => None,
                _ => return Err(self.unexpected(CONTEXT, "label matching operator")),
            };
            matchers.push(if let Some(op) = op {
                self.take();
                if self.peek() != Token::Text {
                    let error = self.unexpected(CONTEXT, "string");
                    return Err(error.hint("the value of a matcher stands in quotes"));
                }
                let value = self.utf8()?;
                matcher(&name, op, &value, &(start.start..self.end()))?
            } else {
                matcher("__name__", MatchOp::Equal, &name, &start)?
            });
            if self.peek() != Token::CloseBrace {
                self.expect(Token::Comma, CONTEXT, "\",\" or \"}\"")?;
            }
        }
    }

    /// A string that must be text: labels are.
    fn utf8(&mut self) -> Result<String, ParseError> {
        let (span, bytes) = self.string()?;
        String::from_utf8(bytes).map_err(|_| {
            ParseError::new(span, "a label's name or value must be UTF-8")
                .hint("no series has such a label, so nothing would be found")
        })
    }

    /// `[5m]` or `[1h:5m]`
    pub(super) fn bracket(&mut self, of: Grown) -> Result<Grown, ParseError> {
        const CONTEXT: &str = "subquery or range selector";
        let open = self.take();
        let range = self.range(CONTEXT)?;
        if self.take_if(Token::Colon).is_some() {
            let step = match self.peek() {
                Token::CloseBracket => None,
                _ => Some(self.range("subquery selector")?),
            };
            let close = self.expect(Token::CloseBracket, "subquery selector", "\"]\"")?;
            let span = of.expr.span.start..close.end;
            let kind = Kind::Subquery {
                expr: of.expr,
                range,
                step,
                shift: Shift::default(),
            };
            return self.grow(span, kind, of.depth);
        }
        let close = self.expect(Token::CloseBracket, "subquery or range", "\":\" or \"]\"")?;
        let brackets = open.start..close.end;
        let refuse =
            |what: &str, hint: &str| Err(ParseError::new(brackets.clone(), what).hint(hint));
        let Kind::Vector(selector) = of.expr.kind else {
            return refuse(
                "ranges only allowed for vector selectors",
                "a range over any other expression is a subquery: put a colon after the range, as in `[5m:]`",
            );
        };
        if selector.shift.offset.is_some() {
            return refuse(
                "no offset modifiers allowed before range",
                "write the range first: `name[5m] offset 1h`",
            );
        }
        if selector.shift.at.is_some() {
            return refuse(
                "no @ modifiers allowed before range",
                "write the range first: `name[5m] @ 1609746000`",
            );
        }
        let span = of.expr.span.start..close.end;
        self.grow(span, Kind::Matrix { selector, range }, 0)
    }

    /// `offset 5m`
    pub(super) fn offset(&mut self, of: Grown) -> Result<Grown, ParseError> {
        self.take();
        let offset = self.offset_length()?;
        let place = of.expr.span.clone();
        self.shifted(of, "offset", |shift| {
            if shift.offset.is_some() {
                let what = "offset may not be set multiple times";
                return Err(ParseError::new(place, what).hint("add the two up"));
            }
            if offset.value != Length::Ms(0) {
                shift.offset = Some(offset);
            }
            Ok(())
        })
    }

    /// `@ 1609746000`, `@ start()`, `@ end()`
    pub(super) fn at(&mut self, of: Grown) -> Result<Grown, ParseError> {
        self.take();
        let preprocessor = match self.peek() {
            Token::Keyword(Keyword::Start) => Some(At::Start),
            Token::Keyword(Keyword::End) => Some(At::End),
            _ => None,
        };
        let place = of.expr.span.clone();
        let at = if let Some(at) = preprocessor {
            self.take();
            self.expect(Token::OpenParen, "@", "\"(\"")?;
            self.expect(Token::CloseParen, "@", "\")\"")?;
            at
        } else {
            let negate = self.sign();
            if !matches!(self.peek(), Token::Number | Token::Duration) {
                return Err(self.unexpected("@", "timestamp"));
            }
            let (_, value) = self.number()?;
            let seconds = if negate { -value } else { value };
            let ms = (seconds * 1000.0).round();
            // 2^63 milliseconds is the first that does not fit.
            if !(-9.2e18..9.2e18).contains(&ms) {
                let what = format!("timestamp out of bounds for @ modifier: {seconds}");
                return Err(ParseError::new(place, what));
            }
            At::Ms(ms as i64)
        };
        self.shifted(of, "@", |shift| {
            if shift.at.is_some() {
                let what = "@ <timestamp> may not be set multiple times";
                return Err(ParseError::new(place, what));
            }
            shift.at = Some(at);
            Ok(())
        })
    }

    /// Changes the shift of a selector or subquery, which then reaches to here.
    fn shifted(
        &self,
        mut of: Grown,
        modifier: &str,
        change: impl FnOnce(&mut Shift) -> Result<(), ParseError>,
    ) -> Result<Grown, ParseError> {
        match &mut of.expr.kind {
            Kind::Vector(selector) | Kind::Matrix { selector, .. } => change(&mut selector.shift)?,
            Kind::Subquery { shift, .. } => change(shift)?,
            _ => {
                let name = if modifier == "@" {
                    "@ modifier"
                } else {
                    "offset modifier"
                };
                let what = format!(
                    "{name} must be preceded by an instant vector selector or range vector selector or a subquery"
                );
                return Err(ParseError::new(of.expr.span, what)
                    .hint("put it after the metric, inside of the function or the brackets"));
            }
        }
        of.expr.span.end = self.end();
        Ok(of)
    }

    /// `anchored` or `smoothed`
    pub(super) fn edges(&mut self, mut of: Grown) -> Result<Grown, ParseError> {
        let (word, edges) = match self.peek() {
            Token::Keyword(Keyword::Anchored) => ("anchored", Edges::Anchored),
            _ => ("smoothed", Edges::Smoothed),
        };
        let written = self.take();
        if !self.dialect.extended_selectors {
            let what = format!("{word} modifier is experimental and not enabled");
            return Err(experimental(of.expr.span, &what));
        }
        let selector = match &mut of.expr.kind {
            Kind::Vector(selector) | Kind::Matrix { selector, .. } => selector,
            Kind::Subquery { .. } => {
                let what = format!("{word} modifier is not supported for subqueries");
                return Err(ParseError::new(of.expr.span, what));
            }
            _ => {
                let what = format!("{word} modifier not implemented");
                return Err(
                    ParseError::new(of.expr.span, what).hint("it belongs right behind a selector")
                );
            }
        };
        if selector.edges != Edges::Plain && selector.edges != edges {
            let what = "anchored and smoothed modifiers cannot be used together";
            return Err(ParseError::new(of.expr.span, what));
        }
        selector.edges = edges;
        of.expr.span.end = written.end;
        Ok(of)
    }
}

fn matcher(name: &str, op: MatchOp, value: &str, span: &Span) -> Result<Matcher, ParseError> {
    Matcher::new(name, op, value).map_err(|error| {
        ParseError::new(
            span.clone(),
            format!("error parsing regexp: {}", error.what),
        )
        .hint("a character with a meaning of its own, like `(` or `*`, is escaped with `\\\\`")
    })
}
