//! Which series, labels and values there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, limited};
use crate::api::prom::params::Params;
use crate::api::prom::{ASK_SERIES, QUERY_SERIES_MAX};
use crate::engine::promql::ast::{Kind, Selector};
use crate::engine::promql::source::Source;
use crate::engine::promql::{Dialect, parse};
use crate::model::labels::{Labels, Matcher};

/// The selectors of `match[]`.
pub fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    params
        .all("match[]")
        .map(|text| {
            let expr = parse(text, Dialect::ALL)
                .map_err(|e| Failure::param("match[]", e.located(text)))?;
            match expr.kind {
                Kind::Vector(Selector { matchers, .. }) => Ok(matchers),
                _ => Err(Failure::param("match[]", format!("{text} is no selector"))),
            }
        })
        .collect()
}

/// What `take` makes of the labels of each series that one of the selectors picks.
async fn collect<T: Ord + Send + 'static>(
    site: &Site,
    params: &Params,
    selectors: Vec<Vec<Matcher>>,
    take: impl Fn(Labels, &mut BTreeSet<T>) + Clone + Send + 'static,
) -> Result<BTreeSet<T>, Failure> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        return Err(Failure::param(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let after = start.map_or(i64::MIN, |s| s.saturating_sub(1));
    let upto = end.unwrap_or(i64::MAX);
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
            let more = site
                .handle
                .ask(move |view| {
                    let mut some = BTreeSet::new();
                    for number in page {
                        if view.series.is_match(number, &wanted)
                            && view
                                .series
                                .get(number)
                                .is_some_and(|s| s.touches(after, upto))
                        {
                            take(view.series.labels(number), &mut some);
                        }
                    }
                    some
                })
                .await
                .ok_or_else(Failure::stopped)?;
            found.extend(more);
            if found.len() > QUERY_SERIES_MAX {
                return Err(Failure::execution(format!(
                    "more than {QUERY_SERIES_MAX} found: narrow `match[]`"
                )));
            }
        }
    }
    Ok(found)
}

/// `/series`.
pub async fn series(State(site): State<Site>, params: Params) -> Answered {
    let wanted = selectors(&params)?;
    if wanted.is_empty() {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let limit = params.limit()?;
    let found = collect(&site, &params, wanted, |labels, found| {
        found.insert(labels);
    })
    .await?;
    let shown = found.iter().map(|labels| {
        let pairs = labels.iter().map(|(n, v)| (n.to_owned(), json!(v)));
        Value::Object(pairs.collect())
    });
    limited(shown.collect(), limit)
}

/// All selectors, or the one that picks everything.
fn or_all(wanted: Vec<Vec<Matcher>>) -> Vec<Vec<Matcher>> {
    if wanted.is_empty() {
        vec![Vec::new()]
    } else {
        wanted
    }
}

/// `/labels`.
pub async fn labels(State(site): State<Site>, params: Params) -> Answered {
    let wanted = or_all(selectors(&params)?);
    let limit = params.limit()?;
    let found = collect(&site, &params, wanted, |labels, found| {
        for (name, _) in labels.iter() {
            if !found.contains(name) {
                found.insert(name.to_owned());
            }
        }
    })
    .await?;
    limited(found.into_iter().map(Value::String).collect(), limit)
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
    let wanted = or_all(selectors(&params)?);
    let limit = params.limit()?;
    let found = collect(&site, &params, wanted, move |labels, found| {
        let value = labels.get(&name);
        if !value.is_empty() && !found.contains(value) {
            found.insert(value.to_owned());
        }
    })
    .await?;
    limited(found.into_iter().map(Value::String).collect(), limit)
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
