//! Changing labels by steps, as Prometheus's `relabel_configs` do.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use regex::Regex;

use crate::model::labels::Labels;

/// One step.
#[derive(Clone, Debug)]
pub struct Relabel {
    /// Labels whose values are looked at, put together.
    pub source_labels: Vec<String>,
    /// What stands between them.
    pub separator: String,
    /// What they must match, from beginning to end; for the `label…` actions, what labels' names must match.
    pub regex: Regex,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Where the sources match, sets `target` to `replacement`; `$1` and `${name}` in both stand for what was matched.
    Replace {
        /// The label that is set; a pattern that gives no name sets nothing.
        target: String,
        /// Its new value; an empty one removes it.
        replacement: String,
    },
    /// Keeps only what matches.
    Keep,
    /// Drops what matches.
    Drop,
    /// Keeps only what has the sources' text in this label.
    KeepEqual(String),
    /// Drops what has the sources' text in this label.
    DropEqual(String),
    /// Sets this label to the sources' hash modulo a number above 0.
    HashMod(String, u64),
    /// Copies each label whose name matches to the name that this makes of it.
    LabelMap(String),
    /// Removes each label whose name matches.
    LabelDrop,
    /// Removes each label whose name does not match.
    LabelKeep,
    /// Sets this label to the sources' text in small letters.
    Lowercase(String),
    /// Sets this label to the sources' text in capitals.
    Uppercase(String),
}

/// Carries out all steps; `None`: a step dropped it.
pub fn relabel(steps: &[Relabel], mut labels: Labels) -> Option<Labels> {
    for step in steps {
        if !step.apply(&mut labels) {
            return None;
        }
    }
    Some(labels)
}

impl Relabel {
    /// Carries out this step; false: it is dropped.
    fn apply(&self, labels: &mut Labels) -> bool {
        let values: Vec<&str> = self.source_labels.iter().map(|n| labels.get(n)).collect();
        let text = values.join(&self.separator);
        match &self.action {
            Action::Keep => return self.regex.is_match(&text),
            Action::Drop => return !self.regex.is_match(&text),
            Action::KeepEqual(label) => return labels.get(label) == text,
            Action::DropEqual(label) => return labels.get(label) != text,
            Action::Replace {
                target,
                replacement,
            } => {
                if let Some(found) = self.regex.captures(&text) {
                    let (mut name, mut value) = (String::new(), String::new());
                    found.expand(target, &mut name);
                    found.expand(replacement, &mut value);
                    if !name.is_empty() {
                        labels.set(name, value);
                    }
                }
            }
            Action::HashMod(label, modulus) => {
                let hash = md5::compute(&text).0;
                if let [_, last] = hash.as_chunks().0 {
                    let shard = u64::from_be_bytes(*last) % modulus.max(&1);
                    labels.set(label, shard.to_string());
                }
            }
            Action::LabelMap(to) => {
                for (name, value) in owned(labels) {
                    if let Some(found) = self.regex.captures(&name) {
                        let mut name = String::new();
                        found.expand(to, &mut name);
                        if !name.is_empty() {
                            labels.set(name, value);
                        }
                    }
                }
            }
            Action::LabelDrop => self.remove(labels, true),
            Action::LabelKeep => self.remove(labels, false),
            Action::Lowercase(label) => labels.set(label, text.to_lowercase()),
            Action::Uppercase(label) => labels.set(label, text.to_uppercase()),
        }
        true
    }

    /// Removes the labels whose names match, or do not.
    fn remove(&self, labels: &mut Labels, matching: bool) {
        for (name, _) in owned(labels) {
            if self.regex.is_match(&name) == matching {
                labels.set(name, "");
            }
        }
    }
}

/// The labels as they are now, so that they can be changed meanwhile.
fn owned(labels: &Labels) -> Vec<(String, String)> {
    let pairs = labels.iter();
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pattern::anchored;

    fn step(sources: &[&str], regex: &str, action: Action) -> Relabel {
        Relabel {
            source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
            separator: ";".to_owned(),
            regex: anchored(regex).unwrap(),
            action,
        }
    }

    fn replace(target: &str, replacement: &str) -> Action {
        Action::Replace {
            target: target.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

    fn done(step: Relabel) -> String {
        let labels = Labels::new()
            .with("a", "foo")
            .with("b", "Bar")
            .with("__meta_x", "1");
        relabel(&[step], labels).map_or("dropped".to_owned(), |l| l.to_string())
    }

    #[test]
    fn each_action_does_as_in_prometheus() {
        let text = |t: &str| t.to_owned();
        let told = [
            done(step(&["a", "b"], "(f.*);(.*)", replace("c", "$2-${1}_$$"))),
            done(step(&["a"], "f(.*)", replace("$1", "x"))),
            done(step(&["a"], "f(?P<rest>.*)", replace("d", "${rest}"))),
            done(step(&["a"], "f(.)o", replace("d", "$1x"))),
            done(step(&["a"], "nothing", replace("b", "x"))),
            done(step(&["a"], ".*", replace("b", ""))),
            done(step(&[], "(.*)", replace("e", "fixed"))),
            done(step(&["a"], "fo", Action::Keep)),
            done(step(&["a"], "fo+", Action::Keep)),
            done(step(&["a", "missing"], "foo;", Action::Drop)),
            done(step(&["a"], "(.*)", Action::KeepEqual(text("b")))),
            done(step(&["a"], "(.*)", Action::DropEqual(text("b")))),
            done(step(&["a"], "(.*)", Action::HashMod(text("h"), 1_000))),
            done(step(&[], "__meta_(.*)", Action::LabelMap(text("m_$1")))),
            done(step(&[], "a|__.*", Action::LabelDrop)),
            done(step(&[], "a", Action::LabelKeep)),
            done(step(&["b"], "(.*)", Action::Lowercase(text("b")))),
            done(step(&["a", "b"], "(.*)", Action::Uppercase(text("c")))),
        ];
        expect_test::expect![[r#"
            {__meta_x="1",a="foo",b="Bar",c="Bar-foo_$"}
            {__meta_x="1",a="foo",b="Bar",oo="x"}
            {__meta_x="1",a="foo",b="Bar",d="oo"}
            {__meta_x="1",a="foo",b="Bar"}
            {__meta_x="1",a="foo",b="Bar"}
            {__meta_x="1",a="foo"}
            {__meta_x="1",a="foo",b="Bar",e="fixed"}
            dropped
            {__meta_x="1",a="foo",b="Bar"}
            dropped
            dropped
            {__meta_x="1",a="foo",b="Bar"}
            {__meta_x="1",a="foo",b="Bar",h="696"}
            {__meta_x="1",a="foo",b="Bar",m_x="1"}
            {b="Bar"}
            {a="foo"}
            {__meta_x="1",a="foo",b="bar"}
            {__meta_x="1",a="foo",b="Bar",c="FOO;BAR"}"#]]
        .assert_eq(&told.join("\n"));
    }
}
