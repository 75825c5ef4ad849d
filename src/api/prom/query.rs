//! Queries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use tokio::time::{Instant, timeout_at};

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, TRUNCATED, begin, end, success};
use crate::api::prom::params::Params;
use crate::api::prom::{
    ASK_WEIGHT, QUERY_CELLS_MAX, QUERY_COPIED_BYTES_MAX, QUERY_SAMPLES_MAX, QUERY_SERIES_MAX,
    QUERY_STEPS_MAX, RESULT_BYTES_MAX, RESULT_POINTS_MAX, tree, written,
};
use crate::engine::promql::ast::{Expr, Type};
use crate::engine::promql::reads::{parts, reads};
use crate::engine::promql::settings::{ErrorKind, EvalError, Limits, Settings};
use crate::engine::promql::{Dialect, Query, parse, type_of};
use crate::engine::series::SeriesSet;
use crate::engine::series::part::Copied;
use crate::model::labels::Matcher;

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

/// A query that can be run.
struct Asked {
    text: String,
    expr: Arc<Expr>,
    times: Times,
    settings: Settings,
    /// Series of the result, at most; 0: all.
    limit: usize,
    deadline: Instant,
}

/// The expression of a parameter.
fn read(params: &Params, name: &str) -> Result<Expr, Failure> {
    let text = params.get(name);
    parse(text, Dialect::ALL).map_err(|e| Failure::param(name, e.located(text)))
}

/// `/query`.
pub async fn instant(State(site): State<Site>, params: Params) -> Answered {
    let limit = params.limit()?;
    let at = params.time("time")?;
    let at = at.unwrap_or_else(|| site.handle.clock.now().ms());
    let asked = asked(&params, Times::At(at), limit)?;
    asked.answer(&site).await
}

/// `/query_range`.
pub async fn range(State(site): State<Site>, params: Params) -> Answered {
    let limit = params.limit()?;
    let (start, end) = (params.must("start")?, params.must("end")?);
    if end < start {
        let why = "end timestamp must not be before start time";
        return Err(Failure::param("end", why));
    }
    let step = params
        .length("step")?
        .ok_or_else(|| Failure::param("step", "cannot parse \"\" to a valid duration"))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Failure::param("step", why));
    }
    if end.saturating_sub(start) / step > QUERY_STEPS_MAX {
        return Err(Failure::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let asked = asked(&params, Times::Steps { start, end, step }, limit)?;
    let kind = type_of(&asked.expr);
    if !matches!(kind, Type::Scalar | Type::Vector) {
        let why = format!(
            "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
            kind.name()
        );
        return Err(Failure::param("query", why));
    }
    asked.answer(&site).await
}

fn asked(params: &Params, times: Times, limit: usize) -> Result<Asked, Failure> {
    let deadline = params.deadline()?;
    let lookback = params.length("lookback_delta")?.filter(|l| *l > 0);
    let expr = read(params, "query")?;
    let limits = Limits {
        samples: QUERY_SAMPLES_MAX,
        series: QUERY_SERIES_MAX.min(QUERY_CELLS_MAX / parts(&expr).max(1)),
        // With the first.
        steps: usize::try_from(QUERY_STEPS_MAX + 1).unwrap_or(usize::MAX),
        points: RESULT_POINTS_MAX,
    };
    let mut settings = Settings {
        limits,
        ..Settings::default()
    };
    if let Some(lookback) = lookback {
        settings.lookback_ms = lookback;
    }
    Ok(Asked {
        text: params.get("query").to_owned(),
        expr: Arc::new(expr),
        times,
        settings,
        limit,
        deadline,
    })
}

fn late() -> Failure {
    Failure::timeout("query timed out in expression evaluation")
}

impl Asked {
    async fn answer(mut self, site: &Site) -> Answered {
        if self.deadline <= Instant::now() {
            return Err(late());
        }
        let place = site.queries.take(self.deadline).await?;
        let copied = timeout_at(self.deadline, self.copy(site));
        let set = copied.await.map_err(|_| late())??.into_set();
        let flag = Arc::new(AtomicBool::new(false));
        self.settings.cancel = Some(flag.clone());
        let _cancel = Cancel(flag);
        let deadline = self.deadline;
        let task = tokio::task::spawn_blocking(move || {
            // The place is taken until the work has really stopped, whoever waits for it.
            let _place = place;
            self.evaluate(&set)
        });
        let done = timeout_at(deadline, task).await.map_err(|_| late())?;
        done.map_err(|_| Failure::execution("the query failed: see the log of ops"))?
    }

    fn evaluate(self, set: &SeriesSet) -> Answered {
        let query = Query::new(self.expr, self.settings).written(self.text);
        let (outcome, at) = match self.times {
            Times::At(at) => (query.instant(set, at), at),
            Times::Steps { start, end, step } => (query.range(set, start, end, step), end),
        };
        let outcome = outcome.map_err(failure)?;
        let limit = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let mut out = begin();
        let Some(cut) = written::answer(&mut out, &outcome.answer, at, limit) else {
            return Err(Failure::execution(format!(
                "the result is longer than {} MiB: ask for fewer series or a longer step",
                RESULT_BYTES_MAX >> 20
            )));
        };
        let mut warnings: Vec<String> = outcome.warnings.into_iter().collect();
        if cut {
            warnings.push(TRUNCATED.to_owned());
        }
        let infos: Vec<String> = outcome.infos.into_iter().collect();
        Ok(end(out, &warnings, &infos))
    }

    /// The time after which samples can matter, in milliseconds, and the matchers of each selector, each once.
    fn wanted(&self) -> (i64, Vec<Vec<Matcher>>) {
        let start = match self.times {
            Times::At(at) => at,
            Times::Steps { start, .. } => start,
        };
        let mut after = start;
        let mut selectors = BTreeMap::new();
        for read in reads(&self.expr, &self.settings) {
            after = after.min(if read.loose {
                i64::MIN
            } else {
                start.saturating_sub_unsigned(read.back.ms())
            });
            let text: String = read.matchers.iter().map(|m| format!("{m},")).collect();
            selectors.insert(text, read.matchers);
        }
        (after.saturating_sub(1), selectors.into_values().collect())
    }

    /// Copies what the expression reads, a bounded part at a time.
    async fn copy(&self, site: &Site) -> Result<Copied, Failure> {
        let (after, selectors) = self.wanted();
        let mut copied = Copied::default();
        for matchers in selectors {
            let matchers = Arc::new(matchers);
            let wanted = matchers.clone();
            let numbers = site
                .handle
                .ask(move |view| view.series.candidates(&wanted))
                .await;
            let numbers = Arc::new(numbers.ok_or_else(Failure::stopped)?);
            let mut from = 0;
            while from < numbers.len() {
                let (all, wanted) = (numbers.clone(), matchers.clone());
                let part = site.handle.ask(move |view| {
                    let rest = all.get(from..).unwrap_or_default();
                    view.series.copy_part(rest, &wanted, after, ASK_WEIGHT)
                });
                let (more, looked) = part.await.ok_or_else(Failure::stopped)?;
                from += looked.max(1);
                copied.append(more);
                within(&copied)?;
            }
        }
        Ok(copied)
    }
}

fn within(copied: &Copied) -> Result<(), Failure> {
    if copied.len() > QUERY_SERIES_MAX {
        return Err(Failure::execution(format!(
            "the query reads more than {QUERY_SERIES_MAX} series: narrow its selectors"
        )));
    }
    if copied.bytes > QUERY_COPIED_BYTES_MAX {
        return Err(Failure::execution(format!(
            "query processing would load too many samples into memory in query execution: the limit is {} MiB",
            QUERY_COPIED_BYTES_MAX >> 20
        )));
    }
    Ok(())
}

fn failure(error: EvalError) -> Failure {
    match error.kind {
        ErrorKind::BadData => Failure::bad(error.text),
        ErrorKind::Execution | ErrorKind::Limit => Failure::execution(error.text),
        ErrorKind::Canceled => Failure::canceled(error.text),
    }
}

/// `/query_exemplars`: there are none, but the query must be one.
pub async fn exemplars(params: Params) -> Answered {
    read(&params, "query")?;
    success(&[(); 0])
}

/// `/format_query`.
pub async fn format(params: Params) -> Answered {
    success(&read(&params, "query")?.to_string())
}

/// `/parse_query`: the expression as a tree.
pub async fn parsed(params: Params) -> Answered {
    success(&tree::tree(&read(&params, "query")?))
}
