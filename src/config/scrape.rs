//! `scrape_configs`: whom to ask for metrics, how often and how. Prometheus's own keys and defaults, so that its file
//! pastes in; what nothing acts on yet is a warning, what does not exist an error.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod http;
mod relabel;
mod targets;

use std::collections::BTreeMap;

use crate::config::codes;
use crate::config::report::{Fields, Report};
use crate::config::settings::Secrets;
use crate::config::yaml::{Kind, Node};
use crate::model::relabel::Relabel;
use crate::model::scrape::{SampleTerms, ScrapeLimits};
use crate::model::time::Duration;

pub use http::{Auth, Credential, Http, Tls};
pub use targets::{FileTargets, Target, TargetGroup, read_target_file};

/// One job: targets that are asked in one way.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Its name; targets get it as `job`.
    pub job: String,
    /// How often each target is asked.
    pub interval: Duration,
    /// How long an answer may take, at most the interval.
    pub timeout: Duration,
    /// The path of the URL.
    pub path: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// How targets are asked.
    pub http: Http,
    /// Targets that are written out.
    pub groups: Vec<TargetGroup>,
    /// Files that name targets.
    pub files: Vec<FileTargets>,
    /// Steps that change a target's labels, or drop it.
    pub relabel: Vec<Relabel>,
    /// How samples are taken.
    pub samples: SampleTerms,
}

/// What `global` says for all jobs.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeDefaults {
    interval: Duration,
    timeout: Duration,
    limits: ScrapeLimits,
}

impl Default for ScrapeDefaults {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            timeout: Duration::from_secs(10),
            limits: ScrapeLimits::default(),
        }
    }
}

/// Prometheus's global keys that nothing acts on.
const GLOBAL_LATER: &[&str] = &[
    "rule_query_offset",
    "external_labels",
    "query_log_file",
    "scrape_failure_log_file",
    "scrape_protocols",
    "scrape_native_histograms",
    "keep_dropped_targets",
    "runtime",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "convert_classic_histograms_to_nhcb",
    "always_scrape_classic_histograms",
    "extra_scrape_metrics",
];

/// A job's keys that nothing acts on, apart from kinds of discovery.
const LATER: &[&str] = &[
    "scrape_protocols",
    "fallback_scrape_protocol",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "keep_dropped_targets",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "scrape_failure_log_file",
    "track_timestamps_staleness",
    "extra_scrape_metrics",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dns_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "http_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

/// Reads what `global` says of scraping.
pub fn read_defaults(report: &mut Report<'_>, fields: &mut Fields<'_>) -> ScrapeDefaults {
    let mut defaults = ScrapeDefaults::default();
    let interval = fields.take("scrape_interval");
    if let Some(interval) = interval.and_then(|n| report.duration_above_zero(n)) {
        defaults.interval = interval;
        defaults.timeout = defaults.timeout.min(interval);
    }
    if let Some(node) = fields.take("scrape_timeout")
        && let Some(timeout) = timeout(report, node, defaults.interval)
    {
        defaults.timeout = timeout;
    }
    limits(report, fields, &mut defaults.limits);
    fields.later(report, GLOBAL_LATER);
    defaults
}

/// Reads `scrape_configs`.
pub fn read(
    report: &mut Report<'_>,
    node: &Node,
    secrets: &Secrets<'_>,
    defaults: &ScrapeDefaults,
) -> Vec<Scrape> {
    let mut jobs: Vec<Scrape> = Vec::new();
    for item in report.list(node) {
        let Some(mut fields) = report.fields(item, "a scrape config") else {
            continue;
        };
        let name = fields.take("job_name");
        if name.is_none() {
            report.error(
                codes::SETTING_MISSING,
                &fields.head(),
                "this scrape config has no `job_name`",
                "",
            );
        }
        let job = name.and_then(|n| report.text(n)).unwrap_or_default();
        if let Some(node) = name
            && (job.is_empty() || jobs.iter().any(|j| j.job == job))
        {
            let message = match job {
                "" => "this job has no name".to_owned(),
                job => format!("a job `{job}` is already there"),
            };
            report.error(codes::DUPLICATE_NAME, &node.span, message, "");
        }
        jobs.push(one(report, fields, secrets, defaults, job.to_owned()));
    }
    jobs
}

fn one(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    secrets: &Secrets<'_>,
    defaults: &ScrapeDefaults,
    job: String,
) -> Scrape {
    let mut interval = defaults.interval;
    if let Some(node) = fields.take("scrape_interval")
        && let Some(read) = report.duration_above_zero(node)
    {
        interval = read;
    }
    let given = fields.take("scrape_timeout");
    let given = given.and_then(|n| timeout(report, n, interval));
    let schemes = [("http", "http"), ("https", "https")];
    let scheme = fields.take("scheme").and_then(|n| report.word(n, &schemes));
    let path = fields.take("metrics_path");
    let path = path.and_then(|n| secrets.text(report, n));
    let mut flag = |name, or: bool| {
        let written = fields.take(name).and_then(|n| report.boolean(n));
        written.unwrap_or(or)
    };
    let (honor_labels, honor_timestamps) =
        (flag("honor_labels", false), flag("honor_timestamps", true));
    let params = fields.take("params");
    let params = params.map_or_else(BTreeMap::new, |n| params_of(report, n));
    let http = http::read(report, &mut fields, secrets);
    let files = fields.take("file_sd_configs");
    let files = files.map_or_else(Vec::new, |n| targets::files(report, n));
    let [relabel, metric_relabel] = ["relabel_configs", "metric_relabel_configs"].map(|name| {
        let steps = fields.take(name);
        steps.map_or_else(Vec::new, |n| relabel::read(report, n))
    });
    let groups = fields.take("static_configs");
    let groups = groups.map_or_else(Vec::new, |n| {
        // What relabelling makes an address of may be anything before.
        targets::groups(report, n, relabel.is_empty())
    });
    let mut bounds = defaults.limits;
    limits(report, &mut fields, &mut bounds);
    fields.later(report, LATER);
    fields.finish(report);
    Scrape {
        job,
        interval,
        timeout: given.unwrap_or(defaults.timeout.min(interval)),
        path: path.unwrap_or_else(|| "/metrics".to_owned()),
        scheme: scheme.unwrap_or("http"),
        params,
        http,
        groups,
        files,
        relabel,
        samples: SampleTerms {
            honor_labels,
            honor_timestamps,
            relabel: metric_relabel,
            limits: bounds,
        },
    }
}

fn timeout(report: &mut Report<'_>, node: &Node, interval: Duration) -> Option<Duration> {
    let timeout = report.duration_above_zero(node)?;
    if timeout > interval {
        let message = format!("the timeout {timeout} is longer than the interval {interval}");
        report.error(codes::SETTING_VALUE, &node.span, message, "");
        return None;
    }
    Some(timeout)
}

fn params_of(report: &mut Report<'_>, node: &Node) -> BTreeMap<String, Vec<String>> {
    let mut params = BTreeMap::new();
    if report.fields(node, "`params`").is_none() {
        return params;
    }
    if let Kind::Map(entries) = &node.kind {
        for (key, values) in entries {
            let values = report.list(values);
            let values = values.iter().filter_map(|v| report.text(v));
            let values = values.map(str::to_owned).collect();
            params.insert(key.text.clone(), values);
        }
    }
    params
}

fn limits(report: &mut Report<'_>, fields: &mut Fields<'_>, limits: &mut ScrapeLimits) {
    if let Some(node) = fields.take("body_size_limit")
        && let Some(text) = report.text(node)
    {
        match size(text) {
            Some(bytes) => limits.body_bytes = (bytes > 0).then_some(bytes),
            None => {
                let message = format!("`{}` is no size", text.escape_debug());
                let hint = "a number with B, KB, MB or GB, such as `10MB`";
                report.error(codes::SETTING_VALUE, &node.span, message, hint);
            }
        }
    }
    for (name, slot) in [
        ("sample_limit", &mut limits.samples),
        ("label_limit", &mut limits.labels),
        ("label_name_length_limit", &mut limits.label_name_bytes),
        ("label_value_length_limit", &mut limits.label_value_bytes),
        ("target_limit", &mut limits.targets),
    ] {
        let Some(node) = fields.take(name) else {
            continue;
        };
        match report.text(node).map(|text| (text, text.parse::<usize>())) {
            // 0 is no limit, as in Prometheus.
            Some((_, Ok(count))) => *slot = (count > 0).then_some(count),
            Some((text, Err(_))) => {
                let message = format!("`{}` is not a whole number", text.escape_debug());
                report.error(codes::SETTING_VALUE, &node.span, message, "");
            }
            None => {}
        }
    }
}

/// Bytes, in units of 1,024 as Prometheus has them.
fn size(text: &str) -> Option<usize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
