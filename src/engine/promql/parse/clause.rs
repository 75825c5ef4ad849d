//! What stands beside operators and aggregations: lists of labels, `on`, `group_left`, `by`, `fill`.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{Aggregation, BinaryOp, Grouping, Kind, Matching, On, Side, Span};
use crate::engine::promql::lex::{Keyword, Token};
use crate::engine::promql::parse::error::experimental;
use crate::engine::promql::parse::{Arguments, Grown, ParseError, Parser};

impl Parser<'_> {
    /// `bool on (…) group_left (…) fill (…)` after an operator, each if it is there.
    pub(super) fn matching(&mut self) -> Result<(bool, Matching), ParseError> {
        let returns_bool = self.take_keyword(Keyword::Bool).is_some();
        let mut matching = Matching::default();
        if self.take_keyword(Keyword::On).is_some() {
            matching.on = Some(On::On(self.label_list()?));
        } else if self.take_keyword(Keyword::Ignoring).is_some() {
            matching.on = Some(On::Ignoring(self.label_list()?));
        }
        let side = match self.peek() {
            Token::Keyword(Keyword::GroupLeft) => Side::Left,
            Token::Keyword(Keyword::GroupRight) => Side::Right,
            _ => Side::One,
        };
        if side != Side::One {
            if matching.on.is_none() {
                let error = self.unexpected("", "`on (…)` or `ignoring (…)` before it");
                return Err(error.hint("say first which labels must be equal"));
            }
            self.take();
            matching.side = side;
            if self.peek() == Token::OpenParen {
                matching.include = self.label_list()?;
            }
        }
        if matching.side == Side::One && matching.on == Some(On::Ignoring(Vec::new())) {
            matching.on = None;
        }
        self.fill(&mut matching)?;
        Ok((returns_bool, matching))
    }

    fn fill(&mut self, matching: &mut Matching) -> Result<(), ParseError> {
        if self.take_keyword(Keyword::Fill).is_some() {
            let value = Some(self.fill_value()?);
            matching.fill_left = value;
            matching.fill_right = value;
        } else if self.take_keyword(Keyword::FillLeft).is_some() {
            matching.fill_left = Some(self.fill_value()?);
            if self.take_keyword(Keyword::FillRight).is_some() {
                matching.fill_right = Some(self.fill_value()?);
            }
        } else if self.take_keyword(Keyword::FillRight).is_some() {
            matching.fill_right = Some(self.fill_value()?);
            if self.take_keyword(Keyword::FillLeft).is_some() {
                matching.fill_left = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, ParseError> {
        self.expect(Token::OpenParen, "fill", "`(`")?;
        let negate = self.sign();
        if !matches!(self.peek(), Token::Number | Token::Duration) {
            return Err(self.unexpected("fill", "a number"));
        }
        let (_, value) = self.number()?;
        self.expect(Token::CloseParen, "fill", "`)`")?;
        Ok(if negate { -value } else { value })
    }

    /// Takes a sign if there is one; whether it is a minus.
    pub(super) fn sign(&mut self) -> bool {
        match self.peek() {
            Token::Operator(BinaryOp::Sub) => {
                self.take();
                true
            }
            Token::Operator(BinaryOp::Add) => {
                self.take();
                false
            }
            _ => false,
        }
    }

    /// `sum by (x) (…)`, `sum (…) by (x)`, `sum (…)`
    pub(super) fn aggregate(&mut self, op: Aggregation) -> Result<Grown, ParseError> {
        let start = self.take().start;
        let mut grouping = self.grouping()?;
        if self.peek() != Token::OpenParen {
            return Err(self.unexpected("aggregation", "`(`"));
        }
        let args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        self.aggregated(op, start..self.end(), grouping, args)
    }

    fn aggregated(
        &self,
        op: Aggregation,
        span: Span,
        grouping: Option<Grouping>,
        mut args: Arguments,
    ) -> Result<Grown, ParseError> {
        let name = op.name();
        let given = args.exprs.len();
        let Some(expr) = args.exprs.pop() else {
            let what = "no arguments for aggregate expression provided";
            return Err(
                ParseError::new(span, what).hint(format!("write what to aggregate: `{name}(up)`"))
            );
        };
        if !self.dialect.experimental_functions
            && matches!(op, Aggregation::LimitK | Aggregation::LimitRatio)
        {
            let what = format!(
                "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
            );
            return Err(experimental(span, &what));
        }
        let wanted = if op.param().is_some() { 2 } else { 1 };
        if given != wanted {
            let what = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
            );
            let form = match op.param() {
                Some(param) => format!("{name}({}, instant vector)", param.name()),
                None => format!("{name}(instant vector)"),
            };
            return Err(ParseError::new(span, what).hint(format!("it is written `{form}`")));
        }
        let kind = Kind::Aggregate {
            op,
            grouping: grouping.unwrap_or(Grouping::By(Vec::new())),
            param: args.exprs.pop().map(Box::new),
            expr: Box::new(expr),
        };
        self.grow(span, kind, args.depth)
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        if self.take_keyword(Keyword::By).is_some() {
            return Ok(Some(Grouping::By(self.label_list()?)));
        }
        if self.take_keyword(Keyword::Without).is_some() {
            return Ok(Some(Grouping::Without(self.label_list()?)));
        }
        Ok(None)
    }

    /// `(a, "b.c", sum)`: names of labels, among them most words of the language.
    fn label_list(&mut self) -> Result<Vec<String>, ParseError> {
        const CONTEXT: &str = "grouping opts";
        self.expect(Token::OpenParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            if self.take_if(Token::CloseParen).is_some() {
                return Ok(labels);
            }
            labels.push(self.label()?);
            if self.peek() != Token::CloseParen {
                self.expect(Token::Comma, CONTEXT, "\",\" or \")\"")?;
            }
        }
    }

    fn label(&mut self) -> Result<String, ParseError> {
        match self.peek() {
            Token::Text => {
                let (span, bytes) = self.string()?;
                match String::from_utf8(bytes) {
                    Ok(name) if !name.is_empty() => Ok(name),
                    _ => {
                        let word = self.written(&span);
                        let what = format!("invalid label name for grouping: {word}");
                        Err(ParseError::new(span, what))
                    }
                }
            }
            Token::Name
            | Token::MetricName
            | Token::Aggregation(_)
            | Token::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => {
                let span = self.take();
                Ok(self.written(&span).to_owned())
            }
            // Prometheus takes every word but this one.
            Token::Keyword(Keyword::Without) => {
                let error = self.unexpected("grouping opts", "label");
                Err(error.hint("a label of this name needs quotes: `\"without\"`"))
            }
            Token::Keyword(_) => {
                let span = self.take();
                Ok(self.written(&span).to_owned())
            }
            _ => Err(self.unexpected("grouping opts", "label")),
        }
    }
}
