//! Text → tokens.
//!
//! The language has three moods: in braces every word is a label's name, in brackets a word ends before a colon
//! (`[1h:step()]`), everywhere else a colon is part of a metric's name and some words are keywords, in any case.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{Aggregation, BinaryOp, Span};
use crate::engine::promql::parse::ParseError;

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The end of the text, or of what could be read of it.
    End,
    /// A name without a colon: a metric's, a label's, a function's.
    Name,
    /// A name with a colon: only a metric's.
    MetricName,
    /// A word of the language.
    Keyword(Keyword),
    /// `sum` and the like.
    Aggregation(Aggregation),
    /// An operator; in braces also `!=`.
    Operator(BinaryOp),
    /// `1`, `0x1f`, `1e3`, `Inf`.
    Number,
    /// `1h30m`
    Duration,
    /// A string with its quotes.
    Text,
    /// `(`
    OpenParen,
    /// `)`
    CloseParen,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `,`
    Comma,
    /// `:` in brackets
    Colon,
    /// `@`
    At,
    /// `=`
    Equal,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// A word of the language that is neither an operator nor an aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Anchored,
    Smoothed,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Lexed {
    pub(super) token: Token,
    pub(super) span: Span,
}

/// The tokens up to the end or to the first thing that is none, which is told as well: whoever reads the tokens may
/// stumble earlier, and the earlier problem is the one to tell. The last token is always [`Token::End`].
pub(super) fn lex(text: &str) -> (Vec<Lexed>, Option<ParseError>) {
    let mut lexer = Lexer {
        text,
        at: 0,
        parens: Vec::new(),
        in_braces: None,
        in_brackets: None,
    };
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        match lexer.next() {
            Ok(lexed) => {
                let end = lexed.token == Token::End;
                tokens.push(lexed);
                if end {
                    return (tokens, None);
                }
            }
            Err(error) => {
                let span = error.span.start..error.span.start;
                tokens.push(Lexed {
                    token: Token::End,
                    span,
                });
                return (tokens, Some(error));
            }
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Where brackets that are still open began.
    parens: Vec<usize>,
    in_braces: Option<usize>,
    in_brackets: Option<usize>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Lexed, ParseError> {
        self.skip_blank();
        let start = self.at;
        let Some(c) = self.peek() else {
            return self.end();
        };
        let token = match c {
            '"' | '\'' => self.quoted(c)?,
            '`' => self.raw()?,
            _ if self.in_braces.is_some() => self.brace_token(c)?,
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            ':' if self.in_brackets.is_none() => self.word(),
            '0'..='9' => self.number()?,
            '.' if self
                .rest()
                .as_bytes()
                .get(1)
                .is_some_and(u8::is_ascii_digit) =>
            {
                self.number()?
            }
            _ => self.sign(c)?,
        };
        Ok(Lexed {
            token,
            span: start..self.at,
        })
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }
    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }
    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }
    /// Goes on while `wanted` holds.
    fn run(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn skip_blank(&mut self) {
        loop {
            self.run(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            if !self.rest().starts_with('#') {
                return;
            }
            self.run(|c| !matches!(c, '\n' | '\r'));
        }
    }

    fn end(&self) -> Result<Lexed, ParseError> {
        let open = |at: usize, what: &str, close: char| {
            Err(ParseError::new(at..at + 1, what).hint(format!("close it with `{close}`")))
        };
        if let Some(at) = self.in_braces {
            return open(at, "unexpected end of input inside braces", '}');
        }
        if let Some(at) = self.in_brackets {
            return open(at, "unclosed left bracket", ']');
        }
        if let Some(at) = self.parens.last() {
            return open(*at, "unclosed left parenthesis", ')');
        }
        Ok(Lexed {
            token: Token::End,
            span: self.at..self.at,
        })
    }

    fn brace_token(&mut self, c: char) -> Result<Token, ParseError> {
        let start = self.at;
        if c.is_ascii_alphabetic() || c == '_' {
            self.run(is_word);
            return Ok(Token::Name);
        }
        self.at += c.len_utf8();
        Ok(match c {
            ',' => Token::Comma,
            '=' if self.take("~") => Token::Regex,
            '=' => Token::Equal,
            '!' if self.take("~") => Token::NotRegex,
            '!' if self.take("=") => Token::Operator(BinaryOp::NotEqual),
            '!' => {
                return Err(self.fail(
                    start,
                    "unexpected character after '!' inside braces",
                    "the operators of a matcher that begin so are `!=` and `!~`",
                ));
            }
            '{' => {
                return Err(self.fail(
                    start,
                    "unexpected left brace '{'",
                    "the selector's own `{` is still open: close it with `}`",
                ));
            }
            '}' => {
                self.in_braces = None;
                Token::CloseBrace
            }
            _ => {
                let what = format!("unexpected character inside braces: {c:?}");
                return Err(self.fail(start, &what, "a matcher is written `label=\"value\"`; a label's name with other characters than letters, digits and `_` needs quotes"));
            }
        })
    }

    fn sign(&mut self, c: char) -> Result<Token, ParseError> {
        let start = self.at;
        self.at += c.len_utf8();
        Ok(match c {
            ',' => Token::Comma,
            ':' => Token::Colon,
            '@' => Token::At,
            '*' => Token::Operator(BinaryOp::Mul),
            '/' => Token::Operator(BinaryOp::Div),
            '%' => Token::Operator(BinaryOp::Mod),
            '+' => Token::Operator(BinaryOp::Add),
            '-' => Token::Operator(BinaryOp::Sub),
            '^' => Token::Operator(BinaryOp::Pow),
            '=' if self.take("=") => Token::Operator(BinaryOp::Equal),
            '=' if self.rest().starts_with('~') => {
                return Err(self.fail(
                    start,
                    "unexpected character after '=': '~'",
                    "`=~` stands between a label and a value inside braces; numbers are compared with `==`",
                ));
            }
            '=' => Token::Equal,
            '!' if self.take("=") => Token::Operator(BinaryOp::NotEqual),
            '!' => {
                return Err(self.fail(
                    start,
                    "unexpected character after '!'",
                    "the operator is `!=`; a condition is turned round with `unless`",
                ));
            }
            '<' if self.take("=") => Token::Operator(BinaryOp::LessEqual),
            '<' if self.take("/") => Token::Operator(BinaryOp::TrimUpper),
            '<' => Token::Operator(BinaryOp::Less),
            '>' if self.take("=") => Token::Operator(BinaryOp::GreaterEqual),
            '>' if self.take("/") => Token::Operator(BinaryOp::TrimLower),
            '>' => Token::Operator(BinaryOp::Greater),
            '(' => {
                self.parens.push(start);
                Token::OpenParen
            }
            ')' => {
                if self.parens.pop().is_none() {
                    return Err(self.fail(
                        start,
                        "unexpected right parenthesis ')'",
                        "there is no `(` open that it could close",
                    ));
                }
                Token::CloseParen
            }
            '[' => {
                if self.in_brackets.is_some() {
                    return Err(self.fail(
                        start,
                        "unexpected left bracket '['",
                        "a range is open already: close it with `]`",
                    ));
                }
                self.in_brackets = Some(start);
                Token::OpenBracket
            }
            ']' => {
                if self.in_brackets.take().is_none() {
                    return Err(self.fail(
                        start,
                        "unexpected right bracket ']'",
                        "there is no `[` open that it could close",
                    ));
                }
                Token::CloseBracket
            }
            '{' => {
                self.in_braces = Some(start);
                Token::OpenBrace
            }
            '}' => {
                return Err(self.fail(
                    start,
                    "unexpected character: '}'",
                    "there is no `{` open that it could close",
                ));
            }
            '&' | '|' => {
                let what = format!("unexpected character: {c:?}");
                return Err(self.fail(
                    start,
                    &what,
                    "the operators are the words `and`, `or` and `unless`",
                ));
            }
            _ => {
                let what = format!("unexpected character: {c:?}");
                return Err(self.fail(
                    start,
                    &what,
                    "a metric's name with other characters than letters, digits, `_` and `:` is written `{\"the.name\"}`",
                ));
            }
        })
    }

    fn fail(&self, start: usize, what: &str, hint: &str) -> ParseError {
        ParseError::new(start..self.at, what).hint(hint)
    }

    /// A keyword or a name.
    fn word(&mut self) -> Token {
        let start = self.at;
        let in_brackets = self.in_brackets.is_some();
        self.run(|c| is_word(c) || (c == ':' && !in_brackets));
        let word = self.text.get(start..self.at).unwrap_or("");
        match keyword(&word.to_ascii_lowercase()) {
            // These three came late; metrics of that name live on.
            Some(Token::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self
                    .rest()
                    .trim_start_matches([' ', '\t', '\n', '\r'])
                    .starts_with('(') =>
            {
                Token::Name
            }
            Some(token) => token,
            None if word.contains(':') => Token::MetricName,
            None => Token::Name,
        }
    }

    /// A number, or a duration if a unit follows the digits.
    fn number(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        if self.take("0x") || self.take("0X") {
            self.run(|c| c.is_ascii_hexdigit() || c == '_');
        } else {
            let digits = |c: char| c.is_ascii_digit() || c == '_';
            self.run(digits);
            if self.take(".") {
                self.run(digits);
            }
            let mantissa = self.at;
            if self.take("e") || self.take("E") {
                let _ = self.take("+") || self.take("-");
                let exponent = self.at;
                self.run(digits);
                if exponent == self.at {
                    self.at = mantissa;
                }
            }
        }
        if !self.peek().is_some_and(is_word) {
            return Ok(Token::Number);
        }
        self.run(|c| is_word(c) || c == '.');
        let word = self.text.get(start..self.at).unwrap_or("");
        let units = word
            .bytes()
            .all(|b| b.is_ascii_digit() || b"smhdwy".contains(&b));
        if units {
            return Ok(Token::Duration);
        }
        let what = format!("bad number or duration syntax: {word:?}");
        Err(self.fail(
            start,
            &what,
            "numbers look like 1.5, 1e6 or 0x1f; durations like 90s, 5m or 1h30m, with the units ms, s, m, h, d, w, y",
        ))
    }

    /// A string in `'` or `"`, whose escapes are checked when it is read.
    fn quoted(&mut self, quote: char) -> Result<Token, ParseError> {
        let start = self.at;
        self.at += quote.len_utf8();
        while let Some(c) = self.peek() {
            if c == '\n' {
                break;
            }
            self.at += c.len_utf8();
            if c == quote {
                return Ok(Token::Text);
            }
            if c == '\\' {
                self.at += self.peek().map_or(0, char::len_utf8);
            }
        }
        Err(self.fail(
            start,
            "unterminated quoted string",
            "end it with the same quote on the same line; a string over several lines stands in backticks",
        ))
    }

    /// A string in backticks: no escapes, may have several lines.
    fn raw(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        self.at += 1;
        self.run(|c| c != '`');
        if self.take("`") {
            return Ok(Token::Text);
        }
        Err(self.fail(start, "unterminated raw string", "end it with a backtick"))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn keyword(word: &str) -> Option<Token> {
    use Keyword as K;
    Some(match word {
        "and" => Token::Operator(BinaryOp::And),
        "or" => Token::Operator(BinaryOp::Or),
        "unless" => Token::Operator(BinaryOp::Unless),
        "atan2" => Token::Operator(BinaryOp::Atan2),
        "inf" | "nan" => Token::Number,
        "offset" => Token::Keyword(K::Offset),
        "anchored" => Token::Keyword(K::Anchored),
        "smoothed" => Token::Keyword(K::Smoothed),
        "by" => Token::Keyword(K::By),
        "without" => Token::Keyword(K::Without),
        "on" => Token::Keyword(K::On),
        "ignoring" => Token::Keyword(K::Ignoring),
        "group_left" => Token::Keyword(K::GroupLeft),
        "group_right" => Token::Keyword(K::GroupRight),
        "fill" => Token::Keyword(K::Fill),
        "fill_left" => Token::Keyword(K::FillLeft),
        "fill_right" => Token::Keyword(K::FillRight),
        "bool" => Token::Keyword(K::Bool),
        "start" => Token::Keyword(K::Start),
        "end" => Token::Keyword(K::End),
        "step" => Token::Keyword(K::Step),
        "range" => Token::Keyword(K::Range),
        "min_of" => Token::Keyword(K::MinOf),
        "max_of" => Token::Keyword(K::MaxOf),
        _ => {
            let named = Aggregation::ALL.iter().find(|a| a.name() == word)?;
            Token::Aggregation(*named)
        }
    })
}
