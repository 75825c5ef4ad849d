//! What a board shows of one metric: its series, the threshold, and what happened meanwhile.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::api::Site;
use crate::api::auth::Reader;
use crate::api::incidents::word;
use crate::api::reply::{json, problem, stopped};
use crate::engine::View;
use crate::engine::event::Outcome;
use crate::engine::limits::BOARD_WINDOW;
use crate::engine::series::Window;
use crate::model::time::{Duration, Timestamp};

/// Series of one board; more are counted, not drawn.
pub const SERIES_SHOWN_MAX: usize = 20;
/// Points of one series; more are thinned to the least and the greatest of each stretch.
const POINTS_MAX: usize = 1_000;
/// Longest window of a board.
const WINDOW_MAX: Duration = Duration::from_hours(24 * 7);

/// Everything on a board.
#[derive(Clone, Debug, Serialize)]
pub struct Board {
    /// The metric.
    pub metric: String,
    /// Start, ms.
    pub from: i64,
    /// End, ms.
    pub to: i64,
    /// The lines.
    pub series: Vec<Line>,
    /// Series that are not shown.
    pub more: usize,
    /// The number that a rule compares with.
    pub threshold: Option<f64>,
    /// What happened.
    pub markers: Vec<Marker>,
}

/// One series.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// `metric{label="value"}`.
    pub key: String,
    /// Milliseconds and value.
    pub points: Vec<(i64, f64)>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Marker {
    /// When, ms.
    pub at: i64,
    /// fired, paged, heal, healed, resolved.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// The series of a metric by number, found once and again when there are more series.
#[derive(Clone, Debug, Default)]
pub struct Found {
    of: usize,
    numbers: Vec<u32>,
}

impl Found {
    fn find(&mut self, view: View<'_>, metric: &str) {
        if self.of != view.series.len() {
            let all = view
                .series
                .iter()
                .filter(|(_, s)| s.key().metric() == metric);
            (self.of, self.numbers) = (view.series.len(), all.map(|(n, _)| n).collect());
        }
    }
}

impl Board {
    /// Reads a board of the last `window`.
    pub fn of(
        view: View<'_>,
        now: Timestamp,
        metric: &str,
        window: Duration,
        found: &mut Found,
    ) -> Self {
        found.find(view, metric);
        let from = now - window;
        let mut series = Vec::new();
        let mut more = 0;
        for one in found.numbers.iter().filter_map(|n| view.series.get(*n)) {
            let seen = one.window(from, now);
            let points = thin(seen);
            if points.is_empty() {
                continue;
            }
            if series.len() == SERIES_SHOWN_MAX {
                more += 1;
                continue;
            }
            series.push(Line {
                key: one.key().to_string(),
                points,
            });
        }
        let mut rules = view.book.all().filter(|r| r.metric() == metric);
        let threshold = rules.find_map(|r| r.threshold());
        Self {
            metric: metric.to_owned(),
            from: from.ms(),
            to: now.ms(),
            series,
            more,
            threshold,
            markers: markers(view, metric, from),
        }
    }
}

fn thin(window: Window<'_>) -> Vec<(i64, f64)> {
    let mut points = Vec::new();
    window.each(|t, v| points.push((t, v)));
    if points.len() <= POINTS_MAX {
        return points;
    }
    let stretch = points.len().div_ceil(POINTS_MAX / 2);
    let mut kept = Vec::with_capacity(POINTS_MAX);
    for part in points.chunks(stretch) {
        let by_value = |a: &&(i64, f64), b: &&(i64, f64)| a.1.total_cmp(&b.1);
        let ends = (part.iter().min_by(by_value), part.iter().max_by(by_value));
        if let (Some(least), Some(greatest)) = ends {
            kept.push(*least.min_by_time(greatest));
            if least.0 != greatest.0 {
                kept.push(*least.max_by_time(greatest));
            }
        }
    }
    kept
}

/// Which of two points is earlier, and which later.
trait ByTime {
    fn min_by_time<'a>(&'a self, other: &'a Self) -> &'a Self;
    fn max_by_time<'a>(&'a self, other: &'a Self) -> &'a Self;
}

impl ByTime for (i64, f64) {
    fn min_by_time<'a>(&'a self, other: &'a Self) -> &'a Self {
        if self.0 <= other.0 { self } else { other }
    }
    fn max_by_time<'a>(&'a self, other: &'a Self) -> &'a Self {
        if self.0 <= other.0 { other } else { self }
    }
}

fn markers(view: View<'_>, metric: &str, from: Timestamp) -> Vec<Marker> {
    let mut markers = Vec::new();
    let mut mark = |at: Timestamp, kind, text| {
        if at >= from {
            markers.push(Marker {
                at: at.ms(),
                kind,
                text,
            });
        }
    };
    let about = |id: u64| {
        let incident = view.state.incidents.get(&id);
        incident.filter(|i| i.about.metric == metric)
    };
    for i in view
        .state
        .incidents
        .values()
        .filter(|i| i.about.metric == metric)
    {
        mark(
            i.opened_at,
            "fired",
            format!("{} (#{}) fired", i.about.name, i.id),
        );
        for (receiver, at) in &i.told {
            mark(*at, "paged", format!("{receiver} was told of #{}", i.id));
        }
        if let Some((at, _)) = i.closed {
            mark(at, "resolved", format!("#{} resolved", i.id));
        }
    }
    for heal in view
        .state
        .heals
        .values()
        .filter(|h| about(h.run.incident).is_some())
    {
        let run = &heal.run;
        mark(
            heal.claimed_at,
            "heal",
            format!("{} started for {}", run.script, run.target),
        );
        if let Some((at, outcome)) = heal.closed {
            let kind = if outcome == Outcome::Healed {
                "healed"
            } else {
                "heal"
            };
            let why = heal.why.iter().map(|why| format!("; {why}"));
            let why: String = why.collect();
            let words = word(&outcome).replace('_', " ");
            mark(at, kind, format!("{}: {words}{why}", run.script));
        }
    }
    markers.sort_by_key(|m| m.at);
    markers
}

/// What a board may be asked for.
#[derive(Deserialize)]
pub struct Asked {
    window: Option<String>,
}

impl Asked {
    /// The window; an hour if nothing is said.
    pub fn window(&self) -> Result<Duration, Box<Response>> {
        window_of(self.window.as_deref())
    }
}

/// Reads a window.
pub fn window_of(text: Option<&str>) -> Result<Duration, Box<Response>> {
    let Some(text) = text else {
        return Ok(BOARD_WINDOW);
    };
    match text.parse::<Duration>() {
        Ok(d) if !d.is_zero() && d <= WINDOW_MAX => Ok(d),
        Ok(_) => Err(format!("more than 0 and at most {WINDOW_MAX}")),
        Err(e) => Err(format!("{e}; an example: 1h")),
    }
    .map_err(|why| {
        Box::new(problem(
            StatusCode::BAD_REQUEST,
            "window",
            format!("`window`: {why}"),
        ))
    })
}

/// The data of a board.
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
    let board = site
        .handle
        .ask(move |view| Board::of(view, now, &metric, window, &mut Found::default()))
        .await;
    board.map_or_else(stopped, |board| json(StatusCode::OK, &board))
}
