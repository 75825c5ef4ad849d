//! Text → documents of [`Node`]s that know their place. The only file that knows the YAML library.
//!
//! Bounded: size, depth, and the number of nodes after aliases are followed, so that no text can take the memory.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::config::codes;

/// Bytes a file may have.
pub const BYTES_MAX: usize = 1 << 20;
/// How deep mappings and lists may nest, also through aliases: nodes are walked on the stack.
pub const DEPTH_MAX: usize = 48;
/// Nodes a file may have, aliases counted as what they stand for.
pub const NODES_MAX: usize = 100_000;
/// Bytes a rule file may have; generated ones are large.
pub const RULE_BYTES_MAX: usize = 8 << 20;
/// Nodes a rule file may have.
pub const RULE_NODES_MAX: usize = 1_000_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Byte range in the text.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing was written; only in rule groups and their tests, where it stands for what is left out.
    Null,
    /// A word, number or text.
    Scalar {
        /// After escapes.
        text: String,
        /// Written without quotes.
        plain: bool,
        /// Written as lines below `|` or `>`; its place begins with the first of them.
        block: bool,
    },
    /// A list.
    Seq(Vec<Node>),
    /// A mapping in the order written, no key twice; empty values only in rule groups and their tests.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The word.
    pub text: String,
    /// Written without quotes.
    pub plain: bool,
    /// Where it stands.
    pub span: Range<usize>,
}

/// Something wrong with the text as YAML.
#[derive(Clone, Debug)]
pub struct Fault {
    /// `OPS-Y…`
    pub code: &'static str,
    /// Where.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Fault {
    fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Fault {
            code,
            span,
            message: message.into(),
            hint: None,
        }
    }
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The documents of a text, without empty ones. After a syntax error, those before it.
pub fn documents(text: &str) -> (Vec<Node>, Vec<Fault>) {
    read(text, BYTES_MAX, NODES_MAX, Empty::Nowhere)
}

/// The documents of a rule file. In those that hold `groups`, empty values stand, as in Prometheus.
pub fn rule_documents(text: &str) -> (Vec<Node>, Vec<Fault>) {
    read(text, RULE_BYTES_MAX, RULE_NODES_MAX, Empty::InGroups)
}

/// The documents of a file with tests of rules. Empty values stand, as in Prometheus.
pub fn test_documents(text: &str) -> (Vec<Node>, Vec<Fault>) {
    read(text, RULE_BYTES_MAX, RULE_NODES_MAX, Empty::Everywhere)
}

/// Where a key or list item may have no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Empty {
    #[default]
    Nowhere,
    /// In documents with `groups`.
    InGroups,
    Everywhere,
}

fn read(text: &str, bytes_max: usize, nodes_max: usize, empty: Empty) -> (Vec<Node>, Vec<Fault>) {
    let mut build = Builder {
        nodes_max,
        empty,
        ..Builder::default()
    };
    if text.len() > bytes_max {
        let message = format!(
            "this file has {} bytes, at most {bytes_max} are read",
            text.len()
        );
        build
            .faults
            .push(Fault::new(codes::TOO_MUCH, 0..0, message));
        return (build.documents, build.faults);
    }
    for item in Parser::new_from_str(text) {
        let done = match item {
            Ok((event, span)) => build.event(event, &range(&span)),
            Err(error) => Err(syntax(&error, text)),
        };
        if let Err(fault) = done {
            build.faults.push(fault);
            break;
        }
    }
    (build.documents, build.faults)
}

fn range(span: &Span) -> Range<usize> {
    let start = span.start.byte_offset().unwrap_or(0);
    start..span.end.byte_offset().unwrap_or(start).max(start)
}

fn syntax(error: &ScanError, text: &str) -> Fault {
    let at = error.marker().byte_offset().unwrap_or_else(|| {
        let chars = error.marker().index();
        text.char_indices()
            .nth(chars)
            .map_or(text.len(), |(i, _)| i)
    });
    let fault = Fault::new(
        codes::SYNTAX,
        at..at,
        format!("this is not YAML: {}", error.info()),
    );
    let line = text.get(..at).and_then(|t| t.lines().last()).unwrap_or("");
    if line.trim_start().starts_with('\t') || text.get(at..).is_some_and(|t| t.starts_with('\t')) {
        fault.hint("indent with spaces, never with tabs")
    } else {
        fault.hint(
            "often a quote or bracket that is never closed, or indentation that does not line up",
        )
    }
}

/// A collection under construction.
struct Open {
    span: Range<usize>,
    anchor: usize,
    weight: Weight,
    kind: OpenKind,
}

/// What an alias costs each time.
#[derive(Clone, Copy)]
struct Weight {
    /// Nodes.
    size: usize,
    /// Mappings and lists in each other.
    depth: usize,
}

/// Of a single value.
const SCALAR: Weight = Weight { size: 1, depth: 0 };

enum OpenKind {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        seen: BTreeSet<String>,
        /// The key whose value comes next; `Some(None)`: a key that cannot be one, already reported.
        key: Option<Option<Key>>,
    },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    faults: Vec<Fault>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, Weight)>,
    nodes: usize,
    nodes_max: usize,
    /// Where an empty value is one, as Prometheus has it.
    empty: Empty,
    /// Faults before this document.
    faults_before: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Range<usize>) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.faults_before = self.faults.len();
            }
            Event::Alias(id) => {
                let Some((node, weight)) = self.anchors.get(&id).cloned() else {
                    let message = "this alias stands for something that contains it";
                    return Err(Fault::new(codes::SYNTAX, span.clone(), message));
                };
                self.count(weight.size, span)?;
                self.nest(weight.depth, span)?;
                self.place(
                    Node {
                        span: span.clone(),
                        kind: node.kind,
                    },
                    0,
                    weight,
                );
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, span)?;
                let plain = style == ScalarStyle::Plain;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                // `!!str ~` is a text.
                let bare = plain && tag.is_none();
                let kind = if bare && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null
                } else {
                    Kind::Scalar {
                        text: text.into_owned(),
                        plain,
                        block,
                    }
                };
                self.place(
                    Node {
                        span: span.clone(),
                        kind,
                    },
                    anchor,
                    SCALAR,
                );
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(span, anchor, OpenKind::Seq(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, seen) = (Vec::new(), BTreeSet::new());
                self.begin(
                    span,
                    anchor,
                    OpenKind::Map {
                        entries,
                        seen,
                        key: None,
                    },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, n: usize, span: &Range<usize>) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(n);
        if self.nodes <= self.nodes_max {
            return Ok(());
        }
        let message = format!("this file grows beyond {} values", self.nodes_max);
        Err(Fault::new(codes::TOO_MUCH, span.clone(), message)
            .hint("use fewer aliases (`*name`), or split the file"))
    }

    fn begin(&mut self, span: &Range<usize>, anchor: usize, kind: OpenKind) -> Result<(), Fault> {
        self.count(1, span)?;
        self.nest(1, span)?;
        self.open.push(Open {
            span: span.clone(),
            anchor,
            weight: Weight { size: 1, depth: 1 },
            kind,
        });
        Ok(())
    }

    /// Whether what is `depth` deep may stand here.
    fn nest(&self, depth: usize, span: &Range<usize>) -> Result<(), Fault> {
        if self.open.len() + depth <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("this is nested deeper than {DEPTH_MAX} levels");
        Err(Fault::new(codes::TOO_MUCH, span.clone(), message))
    }

    fn end(&mut self, span: &Range<usize>) {
        let Some(open) = self.open.pop() else { return };
        let (kind, last) = match open.kind {
            OpenKind::Seq(items) => {
                let last = items.last().map(|n| n.span.end);
                (Kind::Seq(items), last)
            }
            OpenKind::Map { entries, .. } => {
                let last = entries.last().map(|(_, n)| n.span.end);
                (Kind::Map(entries), last)
            }
        };
        // The end of a block is where the next thing begins; its last value is what a reader would point at.
        let end = if span.is_empty() {
            last.unwrap_or(span.end)
        } else {
            span.end
        };
        let whole = open.span.start..end.max(open.span.start);
        self.place(Node { span: whole, kind }, open.anchor, open.weight);
    }

    fn place(&mut self, node: Node, anchor: usize, weight: Weight) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(parent) = self.open.last_mut() else {
            if !matches!(node.kind, Kind::Null) {
                let node = self.finished(node);
                self.documents.push(node);
            }
            return;
        };
        let faults = &mut self.faults;
        parent.weight.size = parent.weight.size.saturating_add(weight.size);
        parent.weight.depth = parent.weight.depth.max(weight.depth + 1);
        match &mut parent.kind {
            OpenKind::Seq(items) => {
                if matches!(node.kind, Kind::Null) {
                    let message = "this list item is empty";
                    faults.push(
                        Fault::new(codes::EMPTY_VALUE, node.span.clone(), message)
                            .hint("write a value, or remove the item"),
                    );
                }
                items.push(node);
            }
            OpenKind::Map { entries, seen, key } => match key.take() {
                None => *key = Some(as_key(node, faults)),
                Some(None) => {}
                Some(Some(name)) => {
                    if matches!(node.kind, Kind::Null) {
                        let message = format!("`{}` has no value", name.text);
                        faults.push(
                            Fault::new(codes::EMPTY_VALUE, name.span.clone(), message)
                                .hint("write a value, or remove the key"),
                        );
                    }
                    if seen.insert(name.text.clone()) {
                        entries.push((name, node));
                    } else {
                        let message = format!("`{}` is written twice here", name.text);
                        faults.push(
                            Fault::new(codes::DUPLICATE_KEY, name.span, message)
                                .hint("keep one of the two"),
                        );
                    }
                }
            },
        }
    }
}

impl Builder {
    /// A whole document: with its empty values where they mean something, else without.
    fn finished(&mut self, mut node: Node) -> Node {
        let groups = match &node.kind {
            Kind::Map(entries) => entries.iter().any(|(k, _)| k.text == "groups"),
            Kind::Null | Kind::Scalar { .. } | Kind::Seq(_) => false,
        };
        if self.empty == Empty::Everywhere || self.empty == Empty::InGroups && groups {
            let mut place = 0;
            let before = self.faults_before;
            self.faults.retain(|f| {
                place += 1;
                place <= before || f.code != codes::EMPTY_VALUE
            });
        } else {
            strip(&mut node);
        }
        merge(&mut node, &mut self.faults);
        node
    }
}

/// Takes out what is empty. Depth is bounded by [`DEPTH_MAX`] and aliases.
fn strip(node: &mut Node) {
    match &mut node.kind {
        Kind::Null | Kind::Scalar { .. } => {}
        Kind::Seq(items) => {
            items.retain(|n| !matches!(n.kind, Kind::Null));
            items.iter_mut().for_each(strip);
        }
        Kind::Map(entries) => {
            entries.retain(|(_, n)| !matches!(n.kind, Kind::Null));
            entries.iter_mut().for_each(|(_, n)| strip(n));
        }
    }
}

/// Replaces `<<: *other` by what the other mapping holds; what is written beside it wins, then what comes first.
fn merge(node: &mut Node, faults: &mut Vec<Fault>) {
    let entries = match &mut node.kind {
        Kind::Null | Kind::Scalar { .. } => return,
        Kind::Seq(items) => return items.iter_mut().for_each(|n| merge(n, faults)),
        Kind::Map(entries) => entries,
    };
    entries.iter_mut().for_each(|(_, n)| merge(n, faults));
    let Some(at) = entries.iter().position(|(k, _)| k.plain && k.text == "<<") else {
        return;
    };
    let (key, other) = entries.remove(at);
    let others = match other.kind {
        Kind::Seq(items) => items,
        kind => vec![Node {
            span: other.span,
            kind,
        }],
    };
    for other in others {
        let Kind::Map(more) = other.kind else {
            let message = "`<<` takes in a mapping, or a list of mappings";
            faults
                .push(Fault::new(codes::SYNTAX, key.span.clone(), message).hint(
                    "an example: `<<: *defaults`, where `&defaults` stands before a mapping",
                ));
            continue;
        };
        for (key, value) in more {
            if !entries.iter().any(|(k, _)| k.text == key.text) {
                entries.push((key, value));
            }
        }
    }
}

fn as_key(node: Node, faults: &mut Vec<Fault>) -> Option<Key> {
    match node.kind {
        Kind::Scalar { text, plain, .. } => Some(Key {
            text,
            plain,
            span: node.span,
        }),
        Kind::Null => {
            faults.push(Fault::new(
                codes::EMPTY_VALUE,
                node.span,
                "this value has no key",
            ));
            None
        }
        Kind::Seq(_) | Kind::Map(_) => {
            faults.push(Fault::new(
                codes::KEY_SHAPE,
                node.span,
                "a key must be a plain word",
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes_of(text: &str) -> Vec<&'static str> {
        documents(text).1.iter().map(|f| f.code).collect()
    }

    #[test]
    fn a_node_knows_its_place() {
        let text = "a: 1\nlist:\n- x: 'y'\n--- \nb: é\n";
        let (docs, faults) = documents(text);
        assert!(faults.is_empty() && docs.len() == 2, "{faults:?}");
        let Kind::Map(entries) = &docs[1].kind else {
            panic!()
        };
        assert_eq!(&text[entries[0].1.span.clone()], "é");
        assert_eq!(&text[docs[0].span.clone()], "a: 1\nlist:\n- x: 'y'");
    }

    #[test]
    fn what_yaml_lets_pass_is_a_fault_here() {
        assert_eq!(codes_of("a: 1\na: 2\n"), [codes::DUPLICATE_KEY]);
        assert_eq!(codes_of("a:\nb: ~\n"), [codes::EMPTY_VALUE; 2]);
        assert_eq!(codes_of("[a]: 1\n"), [codes::KEY_SHAPE]);
        assert_eq!(codes_of("a: [1\n"), [codes::SYNTAX]);
        assert_eq!(codes_of("a: &x [*x]\n"), [codes::SYNTAX]);
        assert_eq!(
            codes_of(&("[".repeat(100) + &"]".repeat(100))),
            [codes::TOO_MUCH]
        );
        assert_eq!(codes_of(""), [""; 0]);
    }

    #[test]
    fn a_merge_key_fills_in_what_is_not_written() {
        let (docs, faults) =
            documents("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {x: 5, z: 4}]}\n");
        assert!(faults.is_empty(), "{faults:?}");
        let Kind::Map(entries) = &docs[0].kind else {
            panic!()
        };
        let shown = |node: &Node| match &node.kind {
            Kind::Map(entries) => entries
                .iter()
                .map(|(k, n)| match &n.kind {
                    Kind::Scalar { text, .. } => format!("{}{text}", k.text),
                    _ => panic!(),
                })
                .collect::<Vec<_>>()
                .join(" "),
            _ => panic!(),
        };
        assert_eq!(shown(&entries[1].1), "y3 x1");
        assert_eq!(shown(&entries[2].1), "x1 y2 z4");
        assert_eq!(codes_of("a: {<<: x}\n"), [codes::SYNTAX]);
        assert_eq!(codes_of("a: {'<<': x}\n"), [""; 0]);
    }

    /// Each alias is shallow where it stands; what they stand for is thousands deep, and would be walked on the stack.
    #[test]
    fn aliases_cannot_nest_without_bound() {
        let mut chain = String::from("a0: &a0 1\n");
        for i in 1..200 {
            let (open, close) = ("[".repeat(44), "]".repeat(44));
            chain += &format!("a{i}: &a{i} {open}*a{}{close}\n", i - 1);
        }
        for text in [chain.clone(), format!("groups: []\n{chain}")] {
            for (docs, faults) in [documents(&text), rule_documents(&text)] {
                assert_eq!(faults.len(), 1, "{faults:?}");
                assert!(faults[0].message.contains("nested") && docs.is_empty());
            }
        }
        assert_eq!(codes_of("a: &a [[1]]\nb: [[*a]]\n"), [""; 0]);
    }

    #[test]
    fn aliases_cannot_multiply_without_bound() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            let inner = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{inner}]\n"));
        }
        assert_eq!(codes_of(&bomb), [codes::TOO_MUCH]);
    }
}
