//! Queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use serde_json::json;

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, raw, success};
use crate::api::prom::params::Params;
use crate::api::prom::{
    ASK_SERIES, QUERY_COPIED_MAX, QUERY_SAMPLES_MAX, QUERY_SERIES_MAX, written,
};
use crate::engine::promql::ast::{Expr, Type};
use crate::engine::promql::reads::reads;
use crate::engine::promql::settings::{ErrorKind, EvalError, Limits, Settings};
use crate::engine::promql::{Dialect, Query, parse, type_of};
use crate::engine::series::SeriesSet;
use crate::engine::series::part::Copied;

/// Sets its flag when it is dropped: a query that nobody waits for stops.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// When a query is evaluated, in milliseconds.
#[derive(Clone, Copy)]
enum Times {
    At(i64),
    Steps { start: i64, end: i64, step: i64 },
}

/// The expression of a parameter.
pub fn read(params: &Params, name: &str) -> Result<Expr, Failure> {
    let text = params.get(name);
    parse(text, Dialect::ALL).map_err(|e| Failure::param(name, e.located(text)))
}

/// `/query`.
pub async fn instant(State(site): State<Site>, params: Params) -> Answered {
    let at = params.time("time")?;
    let at = at.unwrap_or_else(|| site.handle.clock.now().ms());
    run(site, params, Times::At(at)).await
}

/// `/query_range`.
pub async fn range(State(site): State<Site>, params: Params) -> Answered {
    let time = |name: &str| {
        params
            .time(name)?
            .ok_or_else(|| Failure::param(name, "cannot parse \"\" to a valid timestamp"))
    };
    let (start, end) = (time("start")?, time("end")?);
    if end < start {
        return Err(Failure::param(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let step = params
        .length("step")?
        .ok_or_else(|| Failure::param("step", "cannot parse \"\" to a valid duration"))?;
    if step <= 0 {
        return Err(Failure::param(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if end.saturating_sub(start) / step > 11_000 {
        return Err(Failure::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    run(site, params, Times::Steps { start, end, step }).await
}

async fn run(site: Site, params: Params, times: Times) -> Answered {
    let expr = Arc::new(read(&params, "query")?);
    let (limit, timeout) = (params.limit()?, params.timeout()?);
    let mut settings = Settings {
        limits: Limits {
            samples: QUERY_SAMPLES_MAX,
            series: QUERY_SERIES_MAX,
            // One more than the greatest number of steps between start and end.
            steps: 11_001,
        },
        ..Settings::default()
    };
    if let Some(lookback) = params.length("lookback_delta")?.filter(|l| *l > 0) {
        settings.lookback_ms = lookback;
    }
    if let Times::Steps { .. } = times {
        let kind = type_of(&expr);
        if !matches!(kind, Type::Scalar | Type::Vector) {
            return Err(Failure::param(
                "query",
                format!(
                    "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                    kind.name()
                ),
            ));
        }
    }
    let late = || Failure::timeout("query timed out in expression evaluation");
    if timeout.is_zero() {
        return Err(late());
    }
    let flag = Arc::new(AtomicBool::new(false));
    settings.cancel = Some(flag.clone());
    let _cancel = Cancel(flag);
    let text = params.get("query").to_owned();
    let work = async move {
        let permit = site.queries.clone().acquire_owned().await;
        let copied = copy(&site, &expr, &settings, times).await?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            evaluate(copied.into_set(), expr, settings, text, times, limit)
        });
        task.await
            .map_err(|_| Failure::execution("the query failed: see the log of ops"))?
    };
    match tokio::time::timeout(timeout.std(), work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::timeout("query timed out in expression evaluation")),
    }
}

fn evaluate(
    set: SeriesSet,
    expr: Arc<Expr>,
    settings: Settings,
    text: String,
    times: Times,
    limit: usize,
) -> Answered {
    let query = Query::new(expr, settings).written(text);
    let (outcome, at) = match times {
        Times::At(at) => (query.instant(&set, at), at),
        Times::Steps { start, end, step } => (query.range(&set, start, end, step), end),
    };
    let outcome = outcome.map_err(failure)?;
    let (data, cut) = written::answer(&outcome.answer, at, limit);
    let mut warnings: Vec<String> = outcome.warnings.into_iter().collect();
    if cut {
        warnings.push("results truncated due to limit".to_owned());
    }
    let infos: Vec<String> = outcome.infos.into_iter().collect();
    Ok(raw(&data, &warnings, &infos))
}

fn failure(error: EvalError) -> Failure {
    match error.kind {
        ErrorKind::BadData => Failure::bad(error.text),
        ErrorKind::Execution | ErrorKind::Limit => Failure::execution(error.text),
        ErrorKind::Canceled => Failure::timeout(error.text),
    }
}

/// Copies what an expression reads, a bounded number of series at a time.
async fn copy(
    site: &Site,
    expr: &Expr,
    settings: &Settings,
    times: Times,
) -> Result<Copied, Failure> {
    let start = match times {
        Times::At(at) => at,
        Times::Steps { start, .. } => start,
    };
    let reads = reads(expr, settings);
    // A time that is fixed by `@` may lie before everything else.
    let fixed = expr.to_string().contains('@');
    let furthest = reads.iter().map(|r| r.back.ms()).max().unwrap_or(0);
    let back = i64::try_from(furthest).unwrap_or(i64::MAX);
    let after = if fixed {
        i64::MIN
    } else {
        start.saturating_sub(back).saturating_sub(1)
    };
    let mut copied = Copied::default();
    for read in reads {
        let matchers = Arc::new(read.matchers);
        let wanted = matchers.clone();
        let numbers = site
            .handle
            .ask(move |view| view.series.candidates(&wanted))
            .await
            .ok_or_else(Failure::stopped)?;
        for page in numbers.chunks(ASK_SERIES) {
            let (page, wanted) = (page.to_vec(), matchers.clone());
            let more = site
                .handle
                .ask(move |view| view.series.copy_part(&page, &wanted, after))
                .await
                .ok_or_else(Failure::stopped)?;
            copied.append(more);
            if copied.len() > QUERY_SERIES_MAX {
                return Err(Failure::execution(format!(
                    "the query reads more than {QUERY_SERIES_MAX} series: narrow its selectors"
                )));
            }
            if copied.plain > QUERY_COPIED_MAX {
                return Err(Failure::execution(
                    "query processing would load too many samples into memory in query execution",
                ));
            }
        }
    }
    Ok(copied)
}

/// `/format_query`.
pub async fn format(params: Params) -> Answered {
    success(&read(&params, "query")?.to_string())
}

/// `/parse_query`: that it can be read, and its type.
pub async fn parsed(params: Params) -> Answered {
    let expr = read(&params, "query")?;
    success(&json!({"type": type_of(&expr).name(), "text": expr.to_string()}))
}
