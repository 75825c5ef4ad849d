//! Pages for people: all of it works without scripts, and nothing is loaded from elsewhere.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Component;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag};

use crate::api::Site;
use crate::api::auth::Reader;
use crate::api::board::{Asked, Board, Found};
use crate::api::chart::{colour, marker_colour, number, svg};
use crate::api::reply::{Id, escape, html, stopped};
use crate::api::story::Story;
use crate::model::time::Timestamp;

/// Largest runbook.
const RUNBOOK_BYTES_MAX: u64 = 1 << 20;
/// Alerts listed on the first page.
const ALERTS_SHOWN_MAX: usize = 200;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--ink:#1c2026;--ground:#fff;--soft:#667}
@media (prefers-color-scheme:dark){:root{--ink:#e4e7ec;--ground:#14171c;--soft:#9aa3b0}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:62rem;margin:1.5rem auto;padding:0 1rem}
a{color:inherit}h1{font-size:1.35rem}h2{font-size:1.05rem;margin-top:1.6rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
svg{max-width:100%;height:auto}svg text{fill:var(--soft)}code,pre{font-family:ui-monospace,monospace}pre{overflow:auto}
.soft{color:var(--soft)}.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.4em}
#state{float:right;font-size:.85rem;color:var(--soft)}#state.stale{color:#d33;font-weight:600}
";

/// A whole page around a body that is HTML already.
fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · ops</title><style>{STYLE}</style></head><body><nav><a href=\"/\">ops</a></nav>{body}</body></html>"
    )
}

fn missing(what: &str) -> Response {
    let body = format!("<h1>Not found</h1><p>{}</p>", escape(what));
    html(StatusCode::NOT_FOUND, false, page("Not found", &body))
}

/// Bytes that may stand in a path or a query as they are.
pub fn url(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// The link to a metric's board; nothing where `ops` tells something about itself.
fn board_link(metric: &str) -> String {
    if metric.is_empty() {
        return String::new();
    }
    format!("<a href=\"/board/{}\">{}</a>", url(metric), escape(metric))
}

/// The first page: what is open, what fires, where the boards are.
pub async fn index(_: Reader, State(site): State<Site>) -> Response {
    let read = site.handle.ask(|view| {
        let (mut open, mut alerts) = (String::new(), String::new());
        for i in view.state.incidents.values().rev().filter(|i| i.closed.is_none()) {
            let who = i.acked.as_ref().map_or("", |a| a.by.as_str());
            let _ = write!(
                open,
                "<tr><td><a href=\"/incidents/{0}\">#{0}</a></td><td>{1}</td><td>{2}</td><td>{3}</td><td>{4}</td></tr>",
                i.id, escape(&i.about.name), board_link(&i.about.metric), i.opened_at.rfc3339(), escape(who)
            );
        }
        for (key, a) in view.state.alerts.iter().take(ALERTS_SHOWN_MAX) {
            let phase = if a.is_firing() { "firing" } else { "pending" };
            let _ = write!(
                alerts,
                "<tr><td>{phase}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&key.series), number(a.value), a.since.rfc3339()
            );
        }
        let metrics: BTreeSet<String> =
            view.book.all().map(|r| r.metric().to_owned()).collect();
        let mut blind = String::new();
        for rule in view.state.blind.values().take(ALERTS_SHOWN_MAX) {
            let (name, selector) = (escape(&rule.name), escape(&rule.selector));
            let _ = write!(blind, "<tr><td>{name}</td><td><code>{selector}</code></td></tr>");
        }
        let blind = (blind, view.state.blind.len());
        (open, alerts, blind, metrics, view.book.all().count(), view.state.alerts.len())
    });
    let Some((open, alerts, blind, metrics, rules, alert_count)) = read.await else {
        return stopped();
    };
    let errors = site.loaded().problems.error_count();
    let mut body = String::from("<h1>Open incidents</h1>");
    if open.is_empty() {
        body.push_str("<p>None.</p>");
    } else {
        let _ = write!(
            body,
            "<table><tr><th>#</th><th>rule</th><th>metric</th><th>opened</th><th>who has it</th></tr>{open}</table>"
        );
    }
    let _ = write!(body, "<h2>Active alerts: {alert_count}</h2>");
    if !alerts.is_empty() {
        let _ = write!(
            body,
            "<table><tr><th>phase</th><th>series</th><th>value</th><th>since</th></tr>{alerts}</table>"
        );
    }
    if let (rows, count @ 1..) = blind {
        let _ = write!(
            body,
            "<h2>Blind rules: {count}</h2><p>They cannot fire: nothing like this was heard for 10 minutes.</p>\
             <table><tr><th>rule</th><th>looks for</th></tr>{rows}</table>"
        );
    }
    let boards: Vec<String> = metrics.iter().map(|m| board_link(m)).collect();
    let _ = write!(
        body,
        "<h2>Rules: {rules}</h2><p>Problems in files: <a href=\"/api/ops/v1/problems\">{errors}</a></p><h2>Boards</h2><p>{}</p>",
        boards.join(" · ")
    );
    html(StatusCode::OK, false, page("Incidents", &body))
}

/// One incident in words.
pub async fn incident(_: Reader, State(site): State<Site>, Id(id): Id) -> Response {
    let story = match site.handle.ask(move |view| Story::of(view, id)).await {
        None => return stopped(),
        Some(None) => return missing(&format!("There is no incident {id}.")),
        Some(Some(story)) => story,
    };
    let about = &story.incident.about;
    let mut body = format!("<h1>#{id} {}</h1>", escape(&about.name));
    if !about.metric.is_empty() {
        let _ = write!(body, "<p>Board: {}</p>", board_link(&about.metric));
    }
    if let Some(runbook) = &about.runbook {
        let target = if runbook.starts_with("https://") || runbook.starts_with("http://") {
            escape(runbook)
        } else {
            let parts: Vec<String> = runbook
                .trim_start_matches("runbooks/")
                .split('/')
                .map(url)
                .collect();
            format!("/runbooks/{}", parts.join("/"))
        };
        let _ = write!(
            body,
            "<p>Runbook: <a href=\"{target}\">{}</a></p>",
            escape(runbook)
        );
    }
    body.push_str("<ul>");
    for line in story.lines() {
        let _ = write!(body, "<li>{}</li>", escape(&line));
    }
    body.push_str("</ul><h2>Alerts</h2><table><tr><th>series</th><th>value</th><th>since</th><th>resolved</th></tr>");
    for (series, m) in story.incident.alerts.iter().take(ALERTS_SHOWN_MAX) {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(series),
            number(m.alert.value),
            m.alert.since.rfc3339(),
            m.resolved_at.map_or(String::new(), Timestamp::rfc3339)
        );
    }
    body.push_str("</table>");
    html(
        StatusCode::OK,
        false,
        page(&format!("#{id} {}", about.name), &body),
    )
}

/// The latest value of each series, and what happened.
pub fn table(board: &Board) -> String {
    let mut out = String::from("<table><tr><th>series</th><th>latest</th><th>at</th></tr>");
    for (place, line) in board.series.iter().enumerate() {
        if let Some((at, value)) = line.points.last() {
            let _ = write!(
                out,
                "<tr><td><span class=\"dot\" style=\"background:{}\"></span>{}</td><td>{}</td><td>{}</td></tr>",
                colour(place),
                escape(&line.key),
                number(*value),
                Timestamp::from_ms(*at).clock()
            );
        }
    }
    out.push_str("</table>");
    if board.series.is_empty() {
        out.push_str("<p>No samples in this window.</p>");
    }
    if board.more > 0 {
        let _ = write!(
            out,
            "<p class=\"soft\">{} more series are not shown.</p>",
            board.more
        );
    }
    if !board.markers.is_empty() {
        out.push_str("<h2>What happened</h2><ul>");
        for m in board.markers.iter().rev() {
            let _ = write!(
                out,
                "<li><span class=\"dot\" style=\"background:{}\"></span>{} {}: {}</li>",
                marker_colour(m.kind),
                Timestamp::from_ms(m.at).clock(),
                m.kind,
                escape(&m.text)
            );
        }
        out.push_str("</ul>");
    }
    out
}

const LIVE: &str = "
(function(){
  var state=document.getElementById('state'),last=0;
  function open(){
    var q=document.body.querySelector('main').dataset.live;
    var ws=new WebSocket((location.protocol==='https:'?'wss://':'ws://')+location.host+'/live?'+q);
    ws.onmessage=function(e){
      var m=JSON.parse(e.data);
      if(m.svg!==undefined){
        last=Date.now();
        document.getElementById('chart').innerHTML=m.svg;
        document.getElementById('table').innerHTML=m.table;
      }
    };
    ws.onclose=function(){setTimeout(open,2000)};
  }
  setInterval(function(){
    var live=Date.now()-last<4000;
    state.textContent=live?'live':'stale: this page is not up to date';
    state.className=live?'':'stale';
  },1000);
  open();
})();
";

/// The board of a metric.
pub async fn board(
    _: Reader,
    State(site): State<Site>,
    Path(metric): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let window = match asked.window() {
        Ok(window) => window,
        Err(response) => return *response,
    };
    let now = site.handle.clock.now();
    let name = metric.clone();
    let read = site
        .handle
        .ask(move |view| Board::of(view, now, &name, window, &mut Found::default()))
        .await;
    let Some(board) = read else {
        return stopped();
    };
    let threshold = board
        .threshold
        .map_or(String::new(), |t| format!(" · threshold {}", number(t)));
    let body = format!(
        "<main data-live=\"metric={}&amp;window={window}\"><span id=\"state\"></span><h1>{}</h1>\
         <p class=\"soft\">last {window}{threshold} · times are UTC</p>\
         <div id=\"chart\">{}</div><div id=\"table\">{}</div></main><script>{LIVE}</script>",
        url(&metric),
        escape(&metric),
        svg(&board),
        table(&board)
    );
    html(StatusCode::OK, true, page(&metric, &body))
}

/// A runbook, from Markdown.
pub async fn runbook(_: Reader, State(site): State<Site>, Path(path): Path<String>) -> Response {
    let not_there = || missing(&format!("There is no runbook {path}."));
    // Rules may leave the ending out.
    let file = if path.ends_with(".md") {
        path.clone()
    } else {
        format!("{path}.md")
    };
    let relative = std::path::Path::new(&file);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if !plain {
        return not_there();
    }
    let folder = site.runbooks.clone();
    let full = folder.join(relative);
    let read = tokio::task::spawn_blocking(move || {
        // Links are followed first: the file itself must lie below the folder.
        let (full, folder) = (full.canonicalize().ok()?, folder.canonicalize().ok()?);
        let about = std::fs::metadata(&full).ok()?;
        let fine = full.starts_with(folder) && about.is_file() && about.len() <= RUNBOOK_BYTES_MAX;
        fine.then(|| std::fs::read(&full).ok()).flatten()
    });
    let Ok(Some(bytes)) = read.await else {
        return not_there();
    };
    let body = markdown(&String::from_utf8_lossy(&bytes));
    html(StatusCode::OK, false, page(&path, &body))
}

/// Markdown as HTML. Raw HTML in it is shown as text, and links lead only to the web, to mail, or to other pages here.
pub fn markdown(text: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_STRIKETHROUGH;
    let safe = Parser::new_ext(text, options).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: safe_link(dest_url),
            title,
            id,
        }),
        Event::Start(Tag::Image {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Image {
            link_type,
            dest_url: safe_link(dest_url),
            title,
            id,
        }),
        other => other,
    });
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, safe);
    out
}

fn safe_link(link: CowStr<'_>) -> CowStr<'_> {
    let lower = link.trim().to_ascii_lowercase();
    let known = ["https://", "http://", "mailto:", "#", "/"];
    let relative = !lower.contains(':');
    if relative || known.iter().any(|k| lower.starts_with(k)) {
        link
    } else {
        CowStr::Borrowed("#")
    }
}
