//! Which series, labels and values there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use tokio::time::timeout_at;

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, limited};
use crate::api::prom::params::Params;
use crate::api::prom::{ASK_SERIES, QUERY_SERIES_MAX};
use crate::engine::promql::ast::{Kind, Selector};
use crate::engine::promql::{Dialect, parse};
use crate::model::labels::{Labels, Matcher, SeriesKey};

/// The label that is the metric's name.
const NAME: &str = "__name__";

/// The selectors of `match[]`.
pub fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    let read = |text| {
        let wrong = |why| Failure::param("match[]", why);
        let expr = parse(text, Dialect::ALL).map_err(|e| wrong(e.located(text)))?;
        match expr.kind {
            Kind::Vector(Selector { matchers, .. }) => Ok(matchers),
            _ => Err(wrong(format!("{text:?} is no selector"))),
        }
    };
    params.all("match[]").map(read).collect()
}

/// What `take` makes of the key of each series that one of the selectors picks, in the time that is asked for.
async fn collect<T: Ord + Send + 'static>(
    site: &Site,
    params: &Params,
    selectors: Vec<Vec<Matcher>>,
    take: impl Fn(&SeriesKey, &mut BTreeSet<T>) + Clone + Send + 'static,
) -> Result<BTreeSet<T>, Failure> {
    let (start, upto) = params.span()?;
    let after = start.saturating_sub(1);
    let deadline = params.deadline()?;
    let _place = site.queries.take(deadline).await?;
    let work = async {
        let mut found = BTreeSet::new();
        for matchers in selectors {
            let matchers = Arc::new(matchers);
            let wanted = matchers.clone();
            let numbers = site
                .handle
                .ask(move |view| view.series.candidates(&wanted))
                .await
                .ok_or_else(Failure::stopped)?;
            for page in numbers.chunks(ASK_SERIES) {
                let (page, wanted, take) = (page.to_vec(), matchers.clone(), take.clone());
                let some = site.handle.ask(move |view| {
                    let mut some = BTreeSet::new();
                    // What ended before samples are kept for queries is not there any more.
                    let after = after.max(view.series.oldest(view.now).ms());
                    for series in page.iter().filter_map(|n| view.series.get(*n)) {
                        if series.key().matches(&wanted) && series.touches(after, upto) {
                            take(series.key(), &mut some);
                        }
                    }
                    some
                });
                found.extend(some.await.ok_or_else(Failure::stopped)?);
                if found.len() > QUERY_SERIES_MAX {
                    return Err(Failure::execution(format!(
                        "more than {QUERY_SERIES_MAX} found: narrow `match[]`"
                    )));
                }
            }
        }
        Ok(found)
    };
    let late = |_| Failure::timeout("query timed out in expression evaluation");
    timeout_at(deadline, work).await.map_err(late)?
}

/// `/series`.
pub async fn series(State(site): State<Site>, params: Params) -> Answered {
    let limit = params.limit()?;
    let wanted = selectors(&params)?;
    if wanted.is_empty() {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let wanted = not_everything(wanted)?;
    let found = collect(&site, &params, wanted, |key, found| {
        found.insert(key.clone());
    });
    let found = found.await?;
    let all = found.iter().map(|k| k.labels().with(NAME, k.metric()));
    let mut all: Vec<Labels> = all.collect();
    all.sort();
    limited(all, limit)
}

/// Selectors each of which asks for something that must be there.
fn not_everything(selectors: Vec<Vec<Matcher>>) -> Result<Vec<Vec<Matcher>>, Failure> {
    let anything = |matchers: &Vec<Matcher>| matchers.iter().all(|m| m.matches(""));
    if selectors.iter().any(anything) {
        let why = "match[] must contain at least one non-empty matcher";
        return Err(Failure::param("match[]", why));
    }
    Ok(selectors)
}

/// The selectors of `match[]`, or the one that picks everything.
fn selectors_or_all(params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    match selectors(params)? {
        none if none.is_empty() => Ok(vec![Vec::new()]),
        some => not_everything(some),
    }
}

/// `/labels`.
pub async fn labels(State(site): State<Site>, params: Params) -> Answered {
    let limit = params.limit()?;
    let wanted = selectors_or_all(&params)?;
    let found = collect(
        &site,
        &params,
        wanted,
        |key, found: &mut BTreeSet<String>| {
            for (name, _) in key.pairs().chain([(NAME, "")]) {
                if !found.contains(name) {
                    found.insert(name.to_owned());
                }
            }
        },
    );
    limited(found.await?.into_iter().collect(), limit)
}

/// `/label/{name}/values`.
pub async fn values(
    State(site): State<Site>,
    Path(name): Path<String>,
    params: Params,
) -> Answered {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(Failure::bad(format!("invalid label name: {name:?}")));
    }
    let limit = params.limit()?;
    let wanted = selectors_or_all(&params)?;
    let found = collect(&site, &params, wanted, move |key, found| {
        let value = if name == NAME {
            Some(key.metric())
        } else {
            key.pairs().find(|(n, _)| *n == name).map(|(_, v)| v)
        };
        if let Some(value) = value
            && !found.contains(value)
        {
            found.insert(value.to_owned());
        }
    });
    limited(found.await?.into_iter().collect(), limit)
}

/// A name that was escaped with `U__`: `__` is `_`, `_2e_` the character of that number. Any other stays as it is.
fn unescape(name: &str) -> String {
    let whole = || name.to_owned();
    let Some(mut rest) = name.strip_prefix("U__") else {
        return whole();
    };
    let mut out = String::new();
    while let Some((plain, tail)) = rest.split_once('_') {
        out.push_str(plain);
        if let Some(tail) = tail.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let Some((digits, tail)) = tail.split_once('_') else {
            return whole();
        };
        match u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)
        {
            Some(c) => out.push(c),
            None => return whole(),
        }
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escaped_names_are_read() {
        assert_eq!(unescape("U__http_2e_status__code"), "http.status_code");
        assert_eq!(unescape("job"), "job");
        assert_eq!(unescape("U__a_zz_"), "U__a_zz_");
    }
}
