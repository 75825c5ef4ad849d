//! The same random samples in a real Prometheus and in ours, over the same remote-write bodies, and then every
//! expression of the rule corpus asked of both: the answers must be the same.
//!
//! `OPS_SEED` says which samples are made, `OPS_AT` for which time (milliseconds since 1970): a run prints both, and with
//! both it can be repeated, for as long as samples may come late. Debian's Prometheus is of the 2.x series. Where 3.x differs from it, the samples
//! keep away from the difference: none lies on the edge of a window, and no counter is near 0, where 3.x extrapolates less.

use std::collections::{BTreeMap, BTreeSet};

use ops::engine::promql::ast::{Expr, Grouping, Kind, On};
use ops::engine::promql::reads::reads;
use ops::engine::promql::settings::Settings;
use ops::engine::promql::source::STALE_BITS;
use ops::engine::promql::{Dialect, parse};
use ops::model::labels::{MatchOp, Matcher};
use serde_json::Value;

use crate::ingest::sent::{body, series};
use crate::lab::Lab;
use crate::peer::Peer;
use crate::promql::rules;

/// Series made for one selector, one after the other.
const SERIES: u64 = 4;
/// Samples of a series, each 15 s: as far back as samples may come.
const SAMPLES: i64 = 33;
const EVERY_MS: i64 = 15_000;
/// Buckets of a histogram.
const BOUNDS: [&str; 5] = ["0.1", "0.5", "1", "5", "+Inf"];

/// Questions to which both answer with an error: the samples were made for one of several sides of an expression.
/// Between 138 and 144 were seen, of five seeds.
const FAIL_MAX: usize = 150;

/// Numbers that look random and are the same for the same seed and place.
fn random(seed: u64, place: u64) -> u64 {
    let mut x = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(7, |sum, b| random(sum, b.into()))
}

/// Labels by which an expression gathers and matches.
fn grouped(expr: &Expr, found: &mut BTreeSet<String>) {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => {}
        Kind::Subquery { expr, .. } | Kind::Unary { expr, .. } | Kind::Paren(expr) => {
            grouped(expr, found);
        }
        Kind::Call { args, .. } => args.iter().for_each(|a| grouped(a, found)),
        Kind::Aggregate {
            grouping,
            param,
            expr,
            ..
        } => {
            let (Grouping::By(labels) | Grouping::Without(labels)) = grouping;
            found.extend(labels.iter().cloned());
            param.iter().for_each(|p| grouped(p, found));
            grouped(expr, found);
        }
        Kind::Binary {
            lhs, rhs, matching, ..
        } => {
            if let Some(On::On(labels) | On::Ignoring(labels)) = &matching.on {
                found.extend(labels.iter().cloned());
            }
            found.extend(matching.include.iter().cloned());
            grouped(lhs, found);
            grouped(rhs, found);
        }
    }
}

/// Metrics that are taken for counters: functions that know about counters are applied to them.
fn counters(expr: &Expr, found: &mut BTreeSet<String>) {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => {}
        Kind::Subquery { expr, .. } | Kind::Unary { expr, .. } | Kind::Paren(expr) => {
            counters(expr, found);
        }
        Kind::Call { function, args, .. } => {
            if ["rate", "increase"].contains(function) {
                let read = args.iter().flat_map(|a| reads(a, &Settings::default()));
                found.extend(read.filter_map(|r| r.metric().map(str::to_owned)));
            }
            args.iter().for_each(|a| counters(a, found));
        }
        Kind::Aggregate { expr, .. } => counters(expr, found),
        Kind::Binary { lhs, rhs, .. } => {
            counters(lhs, found);
            counters(rhs, found);
        }
    }
}

/// Values that a matcher may accept, the likeliest first.
fn candidates(matcher: &Matcher) -> Vec<String> {
    if matcher.op == MatchOp::Equal {
        return vec![matcher.value.clone()];
    }
    let mut found: Vec<String> = Vec::new();
    if matcher.op == MatchOp::Regex {
        let inside = matcher.value.trim_matches(['(', ')', '^', '$']);
        for word in inside.split('|') {
            let mut plain = word.to_owned();
            for (from, to) in [
                (".*", "x"),
                (".+", "x"),
                ("\\.", "."),
                ("[0-9]", "5"),
                ("\\d", "5"),
                ("[^/]", "x"),
                ("..", "00"),
                (".", "0"),
                ("?", ""),
                ("+", ""),
                ("*", ""),
                ("(", ""),
                (")", ""),
                ("^", ""),
                ("$", ""),
            ] {
                plain = plain.replace(from, to);
            }
            found.extend([word.to_owned(), plain]);
        }
    }
    found.extend(["a", "b", "x", "sda", "500", "/", "1", ""].map(str::to_owned));
    found.retain(|value| matcher.matches(value));
    found.dedup();
    found
}

/// Labels of one series that a selector finds, if one can be thought of.
fn labels(
    matchers: &[Matcher],
    free: &BTreeSet<String>,
    number: u64,
) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for matcher in matchers {
        let values: Vec<String> = candidates(matcher)
            .into_iter()
            .filter(|value| {
                matchers
                    .iter()
                    .all(|m| m.name != matcher.name || m.matches(value))
            })
            .collect();
        let at = usize::try_from(number).unwrap() % values.len().max(1);
        found.insert(matcher.name.clone(), values.get(at)?.clone());
    }
    for label in free {
        // Some labels tell all series apart, some only halves of them.
        let value = number >> (hash(label) % 2);
        let value = ["a", "b", "c", "d"][usize::try_from(value).unwrap()];
        found
            .entry(label.clone())
            .or_insert_with(|| value.to_owned());
    }
    found.retain(|_, value| !value.is_empty());
    found.contains_key("__name__").then_some(found)
}

/// The samples of a series: counters that now and then begin anew, gauges that wander, gaps, and ends.
fn samples(
    labels: &BTreeMap<String, String>,
    counts: bool,
    seed: u64,
    newest_ms: i64,
) -> Vec<(i64, f64)> {
    // Buckets of one histogram grow together: the higher the bound, the more.
    let bucket = labels
        .get("le")
        .and_then(|le| BOUNDS.iter().position(|b| b == le));
    let identity: String = labels
        .iter()
        .filter(|(k, _)| *k != "le")
        .map(|(k, v)| format!("{k}={v};"))
        .collect();
    let seed = random(seed, hash(&identity));
    let scale = [0.25, 1.0, 4.0, 64.0, 1_024.0][usize::try_from(seed % 5).unwrap()];
    // Far from 0, and no two series the same: in which order equal values stand is nobody's promise.
    let mut value = 4_194_304.0 + (seed % 4_096) as f64 / 16.0;
    // A reset beside a gap is where the two versions extrapolate differently.
    let begins_anew = counts && (seed >> 12).is_multiple_of(2);
    let mut made = Vec::new();
    for n in 0..SAMPLES {
        let dice = random(seed, n.unsigned_abs());
        let step = (dice % 65_536) as f64 / 4_096.0 * scale;
        if counts {
            value += if begins_anew && dice.is_multiple_of(41) {
                -8.0 * step
            } else {
                step
            };
        } else {
            value = step;
        }
        let ts =
            newest_ms - (SAMPLES - 1 - n) * EVERY_MS + 2 * i64::try_from(dice >> 8 & 511).unwrap();
        let dice = random(dice, 1);
        if !begins_anew && dice.is_multiple_of(17) {
            continue;
        }
        made.push((ts, value * bucket.map_or(1.0, |b| (b + 1) as f64)));
        if n > SAMPLES / 2 && dice.is_multiple_of(131) {
            made.push((ts + 2_000, f64::from_bits(STALE_BITS)));
            break;
        }
    }
    made
}

/// An answer as far as it is compared: by labels, the values; or the kind of error.
#[derive(Debug)]
pub enum Answer {
    Values(BTreeMap<String, Vec<f64>>),
    Text(String),
    Error(String),
}

/// What is asked: an expression at a time, or at every step of some minutes.
#[derive(Clone, Copy, Debug)]
pub enum When {
    At(i64),
    Steps(i64),
}

/// Sends a body of remote write to each of them.
pub async fn deliver(client: &reqwest::Client, urls: &[String], body: Vec<u8>) {
    for url in urls {
        let sent = client
            .post(format!("{url}/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body.clone());
        let answer = sent.send().await.unwrap();
        let taken = answer.status().is_success();
        assert!(taken, "{}", answer.text().await.unwrap());
    }
}

/// Asks one of them.
pub async fn ask(client: &reqwest::Client, url: &str, query: &str, when: When) -> Answer {
    let secs = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let mut form = reqwest::Url::parse("http://form").unwrap();
    form.query_pairs_mut().append_pair("query", query);
    let path = match when {
        When::At(ms) => {
            form.query_pairs_mut().append_pair("time", &secs(ms));
            "query"
        }
        When::Steps(end_ms) => {
            form.query_pairs_mut()
                .append_pair("start", &secs(end_ms - 240_000))
                .append_pair("end", &secs(end_ms))
                .append_pair("step", "30");
            "query_range"
        }
    };
    let answer = client
        .post(format!("{url}/api/v1/{path}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.query().unwrap().to_owned())
        .send();
    let answer = answer.await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    if answer["status"] != "success" {
        return Answer::Error(answer["error"].as_str().unwrap_or_default().to_owned());
    }
    let number = |v: &Value| match v[1].as_str().unwrap() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap(),
    };
    let data = &answer["data"];
    match data["resultType"].as_str().unwrap() {
        "string" => Answer::Text(data["result"].to_string()),
        "scalar" => Answer::Values([(String::new(), vec![number(&data["result"])])].into()),
        _ => {
            let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for element in data["result"].as_array().unwrap() {
                let of = values.entry(element["metric"].to_string()).or_default();
                match element["values"].as_array() {
                    Some(all) => of.extend(
                        all.iter()
                            .flat_map(|point| [point[0].as_f64().unwrap(), number(point)]),
                    ),
                    None => of.push(number(&element["value"])),
                }
            }
            Answer::Values(values)
        }
    }
}

/// The same but for the order in which a computer adds.
fn close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
}

/// Where two answers differ; `None` if they do not.
fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    match (ours, theirs) {
        (Answer::Values(a), Answer::Values(b)) => {
            let labels: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let mut different = labels.into_iter().filter_map(|of| {
                let (x, y) = (
                    a.get(of).map_or(&[][..], |v| v),
                    b.get(of).map_or(&[][..], |v| v),
                );
                let same = x.len() == y.len() && x.iter().zip(y).all(|(x, y)| close(*x, *y));
                (!same).then(|| format!("  {of}\n    ours   {x:?}\n    theirs {y:?}"))
            });
            different.next()
        }
        (Answer::Text(a), Answer::Text(b)) if a == b => None,
        _ => Some(format!("    ours   {ours:?}\n    theirs {theirs:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_and_ops_answer_the_same() {
    let Some(all) = rules("rules") else { return };
    let flags = [
        "--web.enable-remote-write-receiver",
        "--enable-feature=promql-at-modifier,promql-negative-offset",
    ];
    let Some(peer) = Peer::start(|_| "global: {}\n".to_owned(), &flags).await else {
        return;
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = i64::try_from(now.unwrap().as_millis()).unwrap();
    let number = |name: &str, default: i64| {
        std::env::var(name).map_or(default, |text| text.parse().expect(name))
    };
    let seed = number("OPS_SEED", 2_157).unsigned_abs();
    // Neither a window nor a step of a subquery begins at the very time of a sample.
    let at_ms = number("OPS_AT", now_ms / 60_000 * 60_000 - 22_863);
    let newest_ms = at_ms - 1_901;
    let again = format!("OPS_SEED={seed} OPS_AT={at_ms}");
    println!("{again}");
    let asked: BTreeSet<String> = all.into_iter().collect();
    let mut wanted: BTreeSet<BTreeMap<String, String>> = BTreeSet::new();
    let mut counting = BTreeSet::new();
    for text in &asked {
        let expr = parse(text, Dialect::ALL).unwrap();
        counters(&expr, &mut counting);
        let mut free = BTreeSet::new();
        grouped(&expr, &mut free);
        free.insert("instance".to_owned());
        for read in reads(&expr, &Settings::default()) {
            for number in 0..SERIES {
                let Some(labels) = labels(&read.matchers, &free, number) else {
                    continue;
                };
                if !labels["__name__"].ends_with("_bucket") {
                    wanted.insert(labels);
                    continue;
                }
                wanted.extend(BOUNDS.iter().map(|bound| {
                    let mut labels = labels.clone();
                    labels.insert("le".to_owned(), (*bound).to_owned());
                    labels
                }));
            }
        }
    }
    let mut lab = Lab::new("differential");
    lab.serve().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let wanted: Vec<BTreeMap<String, String>> = wanted.into_iter().collect();
    let mut count = 0;
    for some in wanted.chunks(2_000) {
        let all = some.iter().map(|labels| {
            let pairs: Vec<(&str, &str)> = labels
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            let samples = samples(
                labels,
                counting.contains(&labels["__name__"]),
                seed,
                newest_ms,
            );
            count += samples.len();
            series(&pairs, &samples)
        });
        deliver(&client, &[peer.url(""), lab.url("")], body(all.collect())).await;
    }
    let (mut same, mut empty, mut different) = (0, 0, Vec::new());
    let mut fail = Vec::new();
    let (ours_url, peer_url) = (lab.url(""), peer.url(""));
    let questions = asked
        .iter()
        .flat_map(|text| [When::At(at_ms), When::Steps(at_ms)].map(|when| (text, when)));
    for (text, when) in questions {
        let (ours, theirs) = tokio::join!(
            ask(&client, &ours_url, text, when),
            ask(&client, &peer_url, text, when)
        );
        match (&ours, &theirs) {
            // The rest names labels, of which there are several to name.
            (Answer::Error(a), Answer::Error(b)) if a.split('{').next() == b.split('{').next() => {
                fail.push(format!(
                    "{text}\n  {when:?}\n    ours   {a}\n    theirs {b}"
                ));
            }
            _ => match difference(&ours, &theirs) {
                Some(what) => different.push(format!("{text}\n  {when:?}\n{what}")),
                None => {
                    same += 1;
                    empty += usize::from(matches!(&theirs, Answer::Values(v) if v.is_empty()));
                }
            },
        }
    }
    println!(
        "{} series, {count} samples; {} expressions, asked at a time and at nine steps: {same} answers the same ({empty} of them empty), \
         {} fail in both, {} different",
        wanted.len(),
        asked.len(),
        fail.len(),
        different.len()
    );
    let some = |all: &[String]| all.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        different.is_empty(),
        "{} answers to {} expressions differ ({again}):\n{}",
        different.len(),
        asked.len(),
        some(&different)
    );
    // An error beside an error compares nothing, and so there may not be many.
    assert!(
        fail.len() <= FAIL_MAX,
        "{} fail in both ({again}):\n{}",
        fail.len(),
        some(&fail)
    );
    assert!(empty < asked.len(), "most answers say nothing");
}
