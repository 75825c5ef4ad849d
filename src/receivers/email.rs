//! E-mail: what a woken person needs at three in the morning, and one thread per incident.
//!
//! ```text
//! opened   Message-ID: <incident-7-1763913903000@opm.gov>
//! repeat   Message-ID: <page-…@opm.gov>   In-Reply-To, References: <incident-7-1763913903000@opm.gov>
//! ```
//! A page's Message-ID depends on nothing but the page, so a repeated delivery can be recognised.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::page::{Page, PageAlert, PageKind, Verdict};
use crate::model::time::Timestamp;
use crate::receivers::{ended, excerpt, join_url, runbook_url};

/// Alerts that are written out in one mail; the rest is counted and stands on the board.
pub const MAIL_ALERTS_MAX: usize = 20;

/// The annotation that says what to do; it stands above the alerts.
const ADVICE: &str = "what_to_do";

/// How mail to one receiver is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailTerms {
    /// The sender: `ops@opm.gov` or `Mission control <ops@opm.gov>`.
    pub from: String,
    /// The recipients, in the same form; at least one.
    pub to: Vec<String>,
    /// The part of a Message-ID behind the `@`; must never change while an incident is open.
    pub domain: String,
    /// Our own address as people reach it; links begin with it.
    pub external_url: String,
}

/// One mail, ready to be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// With its angle brackets; unique to the page and the same in every attempt.
    pub message_id: String,
    /// The thread's first message; none in that message itself.
    pub in_reply_to: Option<String>,
    /// The thread's first message; none in that message itself.
    pub references: Option<String>,
    /// The plain text.
    pub text: String,
    /// The same for clients that show HTML.
    pub html: String,
}

/// The mail that tells this page.
pub fn render(page: &Page, terms: &EmailTerms) -> Mail {
    let root = format!(
        "<incident-{}-{}@{}>",
        page.incident,
        page.opened_at.ms(),
        terms.domain
    );
    let (message_id, parent) = match page.kind {
        // A fallback's copy must not look like the first one to a server that drops repeated mail.
        PageKind::Opened if !page.key.ends_with("-fallback") => (root, None),
        PageKind::Opened
        | PageKind::Joined
        | PageKind::Repeat
        | PageKind::Silent
        | PageKind::HealFailed
        | PageKind::Closed => {
            let hash = xxh3_128(page.key.as_bytes());
            (format!("<page-{hash:032x}@{}>", terms.domain), Some(root))
        }
    };
    let facts = facts(page, &terms.external_url);
    Mail {
        from: terms.from.clone(),
        to: terms.to.clone(),
        subject: excerpt(&page.title()),
        message_id,
        in_reply_to: parent.clone(),
        references: parent,
        text: text(page, &facts),
        html: html(page, &facts),
    }
}

/// The first sentence: what is the matter, in figures.
fn headline(page: &Page) -> String {
    if page.metric.is_empty() {
        return headline_of_ours(page);
    }
    let value = page
        .alerts
        .first()
        .map_or_else(|| "unknown".to_owned(), |a| number(a.value));
    let metric = &page.metric;
    match page.kind {
        PageKind::Closed if page.over == "recovered" => {
            format!("It is over: {metric} is back at {value}.")
        }
        PageKind::Closed => {
            format!("Closed: {}. {metric} was last {value}.", page.over)
        }
        PageKind::HealFailed => {
            format!("{metric} is {value} and the heal did not help. A person is needed.")
        }
        PageKind::Silent => {
            format!("{metric} was {value} and fires, but nothing is heard of it any more.")
        }
        PageKind::Joined => format!("{metric} is {value}, and more alerts joined the incident."),
        PageKind::Repeat => {
            format!("{metric} is still {value}, and nobody has acknowledged it.")
        }
        PageKind::Opened => format!("{metric} is {value}."),
    }
}

/// What is the matter with ourselves is a sentence already.
fn headline_of_ours(page: &Page) -> String {
    let said = summary(page);
    match page.kind {
        PageKind::Closed if page.over == "recovered" => format!("It is over. It was: {said}"),
        PageKind::Closed => format!("Closed: {}. It was: {said}", page.over),
        PageKind::Repeat => format!("Still so, and nobody has acknowledged it: {said}"),
        PageKind::Joined => format!("More of the same: {said}"),
        PageKind::Opened | PageKind::Silent | PageKind::HealFailed => said.to_owned(),
    }
}

/// The `summary` of the first alert.
fn summary(page: &Page) -> &str {
    page.alerts
        .first()
        .map_or("", |a| a.annotations.get("summary"))
}

/// The sentence below the headline: what the rule's author wrote, where it is one for all alerts.
fn lead(page: &Page) -> Option<&str> {
    let said = summary(page);
    let mut all = page.alerts.iter().map(|a| a.annotations.get("summary"));
    let told_already = page.metric.is_empty() || page.kind == PageKind::Closed;
    let one = !said.is_empty() && all.all(|s| s == said);
    (one && !told_already).then_some(said)
}

/// Name and value of every line below the headline, in the order a reader needs them.
fn facts(page: &Page, external_url: &str) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Condition", page.condition.clone())];
    let advice = page.alerts.first().map(|a| a.annotations.get(ADVICE));
    if let Some(advice) = advice.filter(|a| !a.is_empty() && page.kind != PageKind::Closed) {
        facts.push(("Do", advice.to_owned()));
    }
    if let Some(threshold) = page.threshold {
        facts.push(("Threshold", number(threshold)));
    }
    if let Some(first) = page.alerts.iter().map(|a| a.since).min() {
        let lasted = page.at.since(first).human();
        let since = match page.kind {
            PageKind::Closed => format!("{}, for {lasted}", utc(first)),
            _ => format!("{} ({lasted} ago)", utc(first)),
        };
        facts.push(("Since", since));
    }
    facts.push(("Opened", utc(page.opened_at)));
    if page.kind == PageKind::Closed {
        facts.push(("Closed", utc(page.at)));
    }
    if !page.heal.is_empty() {
        facts.push(("Heal", page.heal.clone()));
    }
    if let Some(runbook) = runbook_url(page, external_url) {
        facts.push(("Runbook", runbook));
    }
    if !page.metric.is_empty() {
        facts.push(("Board", join_url(external_url, &page.board)));
    }
    facts.push((
        "Incident",
        join_url(external_url, &format!("incidents/{}", page.incident)),
    ));
    if page.kind != PageKind::Closed {
        facts.push(("Ack", format!("ops ack {}", page.incident)));
    }
    facts
}

fn text(page: &Page, facts: &[(&str, String)]) -> String {
    let mut out = format!("{}\n", headline(page));
    if let Some(lead) = lead(page) {
        let _ = writeln!(out, "{lead}");
    }
    out.push('\n');
    for (name, value) in facts {
        let _ = writeln!(out, "{name:<10} {value}");
    }
    let _ = writeln!(out, "\n{}", count(page));
    for alert in page.alerts.iter().take(MAIL_ALERTS_MAX) {
        let _ = writeln!(out, "\n* {}", alert_line(page, alert));
        for (name, value) in alert.labels.iter() {
            let _ = writeln!(out, "    {name} = {value}");
        }
        for (name, value) in alert.annotations.iter().filter(|(n, _)| *n != ADVICE) {
            let _ = writeln!(out, "    {name}: {}", value.replace('\n', "\n      "));
        }
    }
    if let Some(more) = more(page) {
        let _ = writeln!(out, "\n{more}");
    }
    out
}

fn html(page: &Page, facts: &[(&str, String)]) -> String {
    let mut out = format!(
        "<!doctype html><html><body style=\"font-family:sans-serif\"><h2>{}</h2><p><b>{}</b></p>",
        escaped(&page.title()),
        escaped(&headline(page))
    );
    if let Some(lead) = lead(page) {
        let _ = write!(out, "<p>{}</p>", escaped(lead));
    }
    out.push_str("<table>");
    for (name, value) in facts {
        let shown = if value.starts_with("https://") || value.starts_with("http://") {
            format!("<a href=\"{0}\">{0}</a>", escaped(value))
        } else {
            escaped(value)
        };
        let _ = write!(
            out,
            "\n<tr><td style=\"color:#666\">{name}</td><td>{shown}</td></tr>"
        );
    }
    let _ = write!(out, "\n</table><p>{}</p><ul>", escaped(&count(page)));
    for alert in page.alerts.iter().take(MAIL_ALERTS_MAX) {
        let _ = write!(out, "\n<li>{}", escaped(&alert_line(page, alert)));
        for (name, value) in alert.labels.iter() {
            let _ = write!(
                out,
                "<br><code>{} = {}</code>",
                escaped(name),
                escaped(value)
            );
        }
        for (name, value) in alert.annotations.iter().filter(|(n, _)| *n != ADVICE) {
            let value = escaped(value).replace('\n', "<br>");
            let _ = write!(out, "<br>{}: {value}", escaped(name));
        }
        out.push_str("</li>");
    }
    out.push_str("\n</ul>");
    if let Some(more) = more(page) {
        let _ = write!(out, "<p>{}</p>", escaped(&more));
    }
    out.push_str("</body></html>\n");
    out
}

fn count(page: &Page) -> String {
    let resolved = page
        .alerts
        .iter()
        .filter(|a| ended(page, a).is_some())
        .count();
    let firing = page.alerts.len() - resolved;
    if page.more > 0 {
        return format!("{} alerts, among them:", page.alerts.len() + page.more);
    }
    match (firing, resolved) {
        (f, 0) => format!("{f} firing:"),
        (0, r) => format!("{r} resolved:"),
        (f, r) => format!("{f} firing, {r} resolved:"),
    }
}

fn alert_line(page: &Page, alert: &PageAlert) -> String {
    let since = utc(alert.since);
    let value = match page.metric.as_str() {
        "" => page.rule.clone(),
        _ => number(alert.value),
    };
    match ended(page, alert) {
        None => format!("{value}, since {since}"),
        Some(end) => format!("{value}, from {since} to {}", utc(end)),
    }
}

fn more(page: &Page) -> Option<String> {
    let rest = page.alerts.len().saturating_sub(MAIL_ALERTS_MAX) + page.more;
    (rest > 0).then(|| format!("and {rest} more: see the board."))
}

fn number(value: f64) -> String {
    if value.is_finite() && value.abs() >= 1e-3 && value.abs() < 1e15 {
        let short = format!("{value:.3}");
        return short.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    value.to_string()
}

fn utc(at: Timestamp) -> String {
    let rfc3339 = at.rfc3339();
    match rfc3339.split_once('T') {
        Some((day, _)) => format!("{day} {} UTC", at.clock()),
        None => rfc3339,
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// What a mail server's final answer means.
pub fn judge_smtp(code: u16, text: &str) -> Verdict {
    let why = match excerpt(text) {
        said if said.is_empty() => format!("answered {code}"),
        said => format!("answered {code}: {said}"),
    };
    match code {
        200..=299 => Verdict::Done,
        500..=599 => Verdict::Refused { why },
        _ => Verdict::Retry { why, after: None },
    }
}

#[cfg(test)]
mod tests;
