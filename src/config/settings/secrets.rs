//! Where secrets come from: a file, the environment, or `${NAME}` inside a value. Their text never enters a problem.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::config::codes;
use crate::config::report::{Fields, Report};
use crate::config::yaml::Node;
use crate::model::secret::Secret;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// In a file, without the line break at its end.
    File(String),
    /// In an environment variable.
    Env(String),
}

/// Finds secrets by asking whoever may open files.
#[derive(Clone, Copy)]
pub struct Secrets<'s> {
    ask: &'s dyn Fn(&SecretRef) -> Result<String, String>,
}

impl<'s> Secrets<'s> {
    /// With `ask` as the one who knows.
    pub fn new(ask: &'s dyn Fn(&SecretRef) -> Result<String, String>) -> Self {
        Secrets { ask }
    }
    /// The secret that one of three keys gives: inline, `…_file`, `…_env`; and where it was given. It is one line.
    pub fn take<'n>(
        &self,
        report: &mut Report<'_>,
        fields: &mut Fields<'n>,
        keys: [&'static str; 3],
    ) -> Option<(Secret<String>, &'n Node)> {
        let (secret, node) = self.take_any(report, fields, keys)?;
        let text = self.one_line(report, node, secret.reveal().clone())?;
        Some((Secret::new(text), node))
    }
    /// The same for a secret that may have several lines, as passwords may.
    pub fn take_any<'n>(
        &self,
        report: &mut Report<'_>,
        fields: &mut Fields<'n>,
        keys: [&'static str; 3],
    ) -> Option<(Secret<String>, &'n Node)> {
        let [inline, file, env] = keys.map(|k| fields.take_entry(k));
        let mut given = [inline, file, env].into_iter().flatten();
        let first = given.next();
        if let (Some((a, _)), Some((b, _))) = (first, given.next()) {
            let message = format!("`{}` and `{}` both give this secret", a.text, b.text);
            report.error(codes::SECRET, &b.span, message, "keep one of them");
        }
        let (_, node) = first?;
        let text = match (inline, file) {
            (Some(_), _) => self.expand(report, node)?,
            (None, Some(_)) => {
                let path = report.text(node)?.to_owned();
                self.ask(report, node, SecretRef::File(path))?
            }
            (None, None) => {
                let name = report.text(node)?.to_owned();
                self.ask(report, node, SecretRef::Env(name))?
            }
        };
        Some((Secret::new(text), node))
    }
    /// A value's text, which is one line, with every `${NAME}` replaced; `$$` is a dollar sign.
    pub fn text(&self, report: &mut Report<'_>, node: &Node) -> Option<String> {
        let text = self.expand(report, node)?;
        self.one_line(report, node, text)
    }
    fn expand(&self, report: &mut Report<'_>, node: &Node) -> Option<String> {
        let mut rest = report.text(node)?;
        let mut out = String::new();
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(tail) = after.strip_prefix('$') {
                out.push('$');
                rest = tail;
            } else if let Some((name, tail)) =
                after.strip_prefix('{').and_then(|a| a.split_once('}'))
            {
                out.push_str(&self.ask(report, node, SecretRef::Env(name.to_owned()))?);
                rest = tail;
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Some(out)
    }
    /// These values go into mail and HTTP headers, where a line break would begin another header.
    fn one_line(&self, report: &mut Report<'_>, node: &Node, text: String) -> Option<String> {
        if text.contains(char::is_control) {
            let message = "this value holds a line break or another control character";
            report.error(codes::SETTING_VALUE, &node.span, message, "");
            return None;
        }
        Some(text)
    }
    fn ask(&self, report: &mut Report<'_>, node: &Node, secret: SecretRef) -> Option<String> {
        match (self.ask)(&secret) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(why) => {
                let what = match &secret {
                    SecretRef::File(path) => format!("the file `{path}`"),
                    SecretRef::Env(name) => format!("the environment variable `{name}`"),
                };
                report.error(
                    codes::SECRET,
                    &node.span,
                    format!("no secret in {what}: {why}"),
                    "",
                );
                None
            }
        }
    }
}
