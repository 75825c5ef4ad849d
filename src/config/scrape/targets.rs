//! Groups of targets, as written or as files name them, and what becomes of one: its labels and its URL.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::report::Report;
use crate::config::scrape::Scrape;
use crate::config::settings::DIALECT;
use crate::config::yaml::{Kind, Node, documents};
use crate::config::{SourceFile, codes};
use crate::model::labels::Labels;
use crate::model::relabel::relabel;
use crate::model::time::Duration;
use crate::model::written::Problem;

/// Targets that share labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// `host:port` of each.
    pub targets: Vec<String>,
    /// Labels of all of them; those that begin with `__` are for relabelling only.
    pub labels: Labels,
}

/// Files that name targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTargets {
    /// Paths; in the last part of one, `*` stands for anything.
    pub paths: Vec<String>,
    /// How often they are read at least.
    pub refresh: Duration,
}

/// Somebody to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The labels of its samples; `job` and `instance` among them.
    pub labels: Labels,
    /// Whom to ask.
    pub url: String,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Reads `static_configs`; `final_addresses`: nothing will change what is written.
pub(super) fn groups(
    report: &mut Report<'_>,
    node: &Node,
    final_addresses: bool,
) -> Vec<TargetGroup> {
    let mut groups = Vec::new();
    for item in report.list(node) {
        let Some(group) = group(report, item) else {
            continue;
        };
        for target in group.targets.iter().filter(|_| final_addresses) {
            if target.contains('/') || target.trim().is_empty() {
                let message = format!("the target `{}` is not HOST:PORT", target.escape_debug());
                let hint = "the path goes into `metrics_path`, https into `scheme`";
                report.error(codes::SETTING_VALUE, &item.span, message, hint);
            }
        }
        groups.push(group);
    }
    groups
}

fn group(report: &mut Report<'_>, node: &Node) -> Option<TargetGroup> {
    let mut fields = report.fields(node, "a group of targets")?;
    let targets = fields.take("targets");
    let targets = targets.map_or(&[][..], |n| report.list(n));
    let targets = targets.iter().filter_map(|n| report.text(n));
    let targets = targets.map(str::to_owned).collect();
    let mut labels = Labels::new();
    if let Some(node) = fields.take("labels")
        && report.fields(node, "labels").is_some()
        && let Kind::Map(entries) = &node.kind
    {
        for (key, value) in entries {
            if let Some(text) = report.text(value) {
                labels.set(&key.text, text);
            }
        }
    }
    fields.finish(report);
    Some(TargetGroup { targets, labels })
}

/// Reads `file_sd_configs`.
pub(super) fn files(report: &mut Report<'_>, node: &Node) -> Vec<FileTargets> {
    let mut all = Vec::new();
    for item in report.list(node) {
        let Some(mut fields) = report.fields(item, "a file_sd config") else {
            continue;
        };
        let files = fields.take("files").map_or(&[][..], |n| report.list(n));
        let mut paths = Vec::new();
        for file in files {
            let Some(path) = report.text(file) else {
                continue;
            };
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let known = ["json", "yml", "yaml"];
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            if folder.contains('*') || !known.contains(&ending) {
                let message = format!(
                    "`{path}` must end in .json, .yml or .yaml, with `*` in its last part only"
                );
                report.error(codes::SETTING_VALUE, &file.span, message, "");
            } else {
                paths.push(path.to_owned());
            }
        }
        if files.is_empty() {
            let message = "this file_sd config names no `files`";
            report.error(codes::SETTING_MISSING, &fields.head(), message, "");
        }
        let refresh = fields.take("refresh_interval");
        let refresh = refresh.and_then(|n| report.duration_above_zero(n));
        fields.finish(report);
        all.push(FileTargets {
            paths,
            refresh: refresh.unwrap_or(Duration::from_mins(5)),
        });
    }
    all
}

/// Reads a file that names targets, JSON or YAML: a list of groups.
pub fn read_target_file(file: &SourceFile) -> (Vec<TargetGroup>, Vec<Problem>) {
    let mut report = Report::new(file, DIALECT);
    let (docs, faults) = documents(&file.text);
    report.faults(faults);
    let mut groups = Vec::new();
    for doc in &docs {
        for item in report.list(doc) {
            groups.extend(group(&mut report, item));
        }
    }
    (groups, report.finish())
}

impl Scrape {
    /// What becomes of a target that some group names: `None` if it is dropped.
    ///
    /// # Errors
    /// Its labels make no target.
    pub fn target(&self, address: &str, group: &Labels) -> Result<Option<Target>, String> {
        let mut labels = group.clone();
        labels.set("__address__", address);
        let own = [
            ("job", self.job.clone()),
            ("__scrape_interval__", self.interval.to_string()),
            ("__scrape_timeout__", self.timeout.to_string()),
            ("__metrics_path__", self.path.clone()),
            ("__scheme__", self.scheme.to_owned()),
        ];
        for (name, value) in own {
            if labels.get(name).is_empty() {
                labels.set(name, value);
            }
        }
        for (name, values) in &self.params {
            if let Some(value) = values.first() {
                labels.set(format!("__param_{name}"), value);
            }
        }
        let Some(labels) = relabel(&self.relabel, labels) else {
            return Ok(None);
        };
        let address = labels.get("__address__");
        if address.is_empty() {
            return Err("it has no address left".to_owned());
        }
        if address.contains(['/', '?', '#', '@']) || address.contains(char::is_whitespace) {
            return Err(format!("`{address}` is not HOST:PORT"));
        }
        let duration = |name: &str| -> Result<Duration, String> {
            let text = labels.get(name);
            let read = text.parse::<Duration>().ok().filter(|d| !d.is_zero());
            read.ok_or(format!("`{name}` is no length of time: `{text}`"))
        };
        let interval = duration("__scrape_interval__")?;
        let timeout = duration("__scrape_timeout__")?.min(interval);
        let scheme = labels.get("__scheme__");
        if !matches!(scheme, "http" | "https") {
            return Err(format!("`__scheme__` is `{scheme}`, not http or https"));
        }
        let path = labels.get("__metrics_path__");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut url = format!("{scheme}://{address}{slash}{path}");
        push_params(&mut url, &self.params, &labels);
        let shown = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        let mut shown: Labels = shown.collect();
        if shown.get("instance").is_empty() {
            shown.set("instance", address);
        }
        Ok(Some(Target {
            labels: shown,
            url,
            interval,
            timeout,
        }))
    }
}

/// Appends the parameters; the first value of each is what its label says.
fn push_params(url: &mut String, params: &BTreeMap<String, Vec<String>>, labels: &Labels) {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in params {
        all.insert(name, values.iter().map(String::as_str).collect());
    }
    for (label, value) in labels.iter() {
        if let Some(name) = label.strip_prefix("__param_") {
            let values = all.entry(name).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }
    let mut sign = if url.contains('?') { '&' } else { '?' };
    for (name, values) in all {
        for value in values {
            url.push(sign);
            push_encoded(url, name);
            url.push('=');
            push_encoded(url, value);
            sign = '&';
        }
    }
}

fn push_encoded(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
}
