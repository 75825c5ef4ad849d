//! What people wrote, checked: text in, rules and settings out, with *all* problems at once.
//!
//! No file is opened here; the caller brings the text, and functions that answer for the outside (secrets, files).
//! [`yaml`] turns text into nodes that know their place, [`report`] reads values from nodes and collects problems,
//! [`rules`], [`ruletest`], [`settings`] and [`scrape`] say what each file may hold, [`references`] checks what one file
//! says of another, and [`lint`] finds what loads and is probably not meant.

pub mod codes;
pub mod condition;
pub mod groups;
pub mod heal;
pub mod lint;
pub mod notify;
pub mod place;
pub mod receivers;
pub mod references;
pub mod report;
pub mod rules;
pub mod scrape;
pub mod ruletest;
pub mod settings;
pub mod yaml;

pub use lint::Lint;
pub use notify::{Notify, parse_notify};
pub use receivers::{Receiver, Way};
pub use references::check_references;
pub use rules::{FileRules, Reading, read_rules, read_rules_as, read_rules_every};
pub use ruletest::{RuleTests, read_tests};
pub use settings::{
    Durability, Scope, SecretRef, Settings, SmtpSettings, SmtpTls, Token, read_settings,
};

/// One file's text and its names.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the alerts folder, such as `county.yml`: part of its rules' identity.
    pub path: String,
    /// As the user named it: where problems point.
    pub shown: String,
    /// What it holds.
    pub text: String,
}

#[cfg(test)]
mod tests;
