//! What the language does, each in a few lines.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use expect_test::{Expect, expect};

use super::{Data, Value, at, over};

const REQUESTS: &str = r#"
http_requests_total{job="api", instance="0"} 0+10x10
http_requests_total{job="api", instance="1"} 0+20x10
http_requests_total{job="app", instance="0"} 0+50x10
http_requests_total{job="app", instance="1"} 0+60x10
limit{job="api"} 120x10
"#;

fn check(expressions: &[&str], expected: Expect) {
    let data = Data::load(300_000, REQUESTS);
    let mut text = String::new();
    for e in expressions {
        text.push_str(&format!("> {e}\n{}", at(&data, 3_000, e)));
    }
    expected.assert_eq(&text);
}

#[test]
fn operators() {
    check(
        &[
            "1 + 2 * 3 ^ 2 % 4",
            "http_requests_total > 400",
            "http_requests_total{job='api'} * 2",
            "400 < bool http_requests_total",
            "sum by (job) (http_requests_total) / on (job) limit",
            "http_requests_total > on (job) group_left limit",
            "http_requests_total + http_requests_total{instance='0'}",
            "limit or http_requests_total{job='app'}",
            "http_requests_total and on (job) limit",
            "http_requests_total unless on (job) limit",
            "limit * on (job) http_requests_total",
            "-limit",
        ],
        expect![[r#"
            > 1 + 2 * 3 ^ 2 % 4
            3
            > http_requests_total > 400
            http_requests_total{instance="0",job="app"} 500
            http_requests_total{instance="1",job="app"} 600
            > http_requests_total{job='api'} * 2
            {instance="0",job="api"} 200
            {instance="1",job="api"} 400
            > 400 < bool http_requests_total
            {instance="0",job="api"} 0
            {instance="1",job="api"} 0
            {instance="0",job="app"} 1
            {instance="1",job="app"} 1
            > sum by (job) (http_requests_total) / on (job) limit
            {job="api"} 2.5
            > http_requests_total > on (job) group_left limit
            http_requests_total{instance="1",job="api"} 200
            > http_requests_total + http_requests_total{instance='0'}
            {instance="0",job="api"} 200
            {instance="0",job="app"} 1000
            > limit or http_requests_total{job='app'}
            limit{job="api"} 120
            http_requests_total{instance="0",job="app"} 500
            http_requests_total{instance="1",job="app"} 600
            > http_requests_total and on (job) limit
            http_requests_total{instance="0",job="api"} 100
            http_requests_total{instance="1",job="api"} 200
            > http_requests_total unless on (job) limit
            http_requests_total{instance="0",job="app"} 500
            http_requests_total{instance="1",job="app"} 600
            > limit * on (job) http_requests_total
            error: found duplicate series for the match group {job="api"} on the right hand-side of the operation: [{__name__="http_requests_total", instance="0", job="api"}, {__name__="http_requests_total", instance="1", job="api"}];many-to-many matching not allowed: matching labels must be unique on one side
            > -limit
            {job="api"} -120
        "#]],
    );
}

#[test]
fn aggregations() {
    check(
        &[
            "sum(http_requests_total)",
            "avg without (instance) (http_requests_total)",
            "min by (job) (http_requests_total)",
            "max(http_requests_total)",
            "count by (instance) (http_requests_total)",
            "group(limit)",
            "stddev(http_requests_total)",
            "topk(2, http_requests_total)",
            "bottomk by (job) (1, http_requests_total)",
            "quantile(0.25, http_requests_total)",
            "count_values('v', http_requests_total > bool 200)",
            "limitk(1, http_requests_total)",
            "quantile(2, limit)",
        ],
        expect![[r#"
            > sum(http_requests_total)
            {} 1400
            > avg without (instance) (http_requests_total)
            {job="api"} 150
            {job="app"} 550
            > min by (job) (http_requests_total)
            {job="api"} 100
            {job="app"} 500
            > max(http_requests_total)
            {} 600
            > count by (instance) (http_requests_total)
            {instance="0"} 2
            {instance="1"} 2
            > group(limit)
            {} 1
            > stddev(http_requests_total)
            {} 206.15528128088303
            > topk(2, http_requests_total)
            http_requests_total{instance="1",job="app"} 600
            http_requests_total{instance="0",job="app"} 500
            > bottomk by (job) (1, http_requests_total)
            http_requests_total{instance="0",job="api"} 100
            http_requests_total{instance="0",job="app"} 500
            > quantile(0.25, http_requests_total)
            {} 175
            > count_values('v', http_requests_total > bool 200)
            {v="0"} 2
            {v="1"} 2
            > limitk(1, http_requests_total)
            http_requests_total{instance="0",job="api"} 100
            > quantile(2, limit)
            {} +Inf
            PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)
        "#]],
    );
}

#[test]
fn functions() {
    check(
        &[
            "rate(http_requests_total[10m])",
            "increase(http_requests_total{instance='0'}[10m])",
            "rate(limit[10m])",
            "avg_over_time(limit[20m])",
            "deriv(http_requests_total{job='api'}[30m])",
            "absent(nothing{a='b', c=~'d'})",
            "absent(limit)",
            "label_replace(limit, 'x', '$1-y', 'job', '(.*)i')",
            "label_join(limit, 'x', '/', 'job', 'job')",
            "sort_desc(http_requests_total)",
            "time()",
            "hour()",
            "scalar(limit)",
            "vector(1)",
            "timestamp(limit offset 1m)",
            "max_over_time(sum(http_requests_total)[20m:5m])",
            "clamp_max(limit, 7)",
            "round(limit / 7, 0.1)",
        ],
        expect![[r#"
            > rate(http_requests_total[10m])
            {instance="0",job="api"} 0.03333333333333333
            {instance="1",job="api"} 0.06666666666666667
            {instance="0",job="app"} 0.16666666666666669
            {instance="1",job="app"} 0.2
            > increase(http_requests_total{instance='0'}[10m])
            {instance="0",job="api"} 20
            {instance="0",job="app"} 100
            > rate(limit[10m])
            {job="api"} 0
            PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "limit" (1:6)
            > avg_over_time(limit[20m])
            {job="api"} 120
            > deriv(http_requests_total{job='api'}[30m])
            {instance="0",job="api"} 0.03333333333333333
            {instance="1",job="api"} 0.06666666666666667
            > absent(nothing{a='b', c=~'d'})
            {a="b"} 1
            > absent(limit)
            > label_replace(limit, 'x', '$1-y', 'job', '(.*)i')
            limit{job="api",x="ap-y"} 120
            > label_join(limit, 'x', '/', 'job', 'job')
            limit{job="api",x="api/api"} 120
            > sort_desc(http_requests_total)
            http_requests_total{instance="1",job="app"} 600
            http_requests_total{instance="0",job="app"} 500
            http_requests_total{instance="1",job="api"} 200
            http_requests_total{instance="0",job="api"} 100
            > time()
            3000
            > hour()
            {} 0
            > scalar(limit)
            120
            > vector(1)
            {} 1
            > timestamp(limit offset 1m)
            {job="api"} 2700
            > max_over_time(sum(http_requests_total)[20m:5m])
            {} 1400
            > clamp_max(limit, 7)
            {job="api"} 7
            > round(limit / 7, 0.1)
            {job="api"} 17.1
        "#]],
    );
}

#[test]
fn ranges() {
    let data = Data::load(30_000, "m{i=\"a\"} 1 2 s _ 5\nm{i=\"b\"} _ _ 3 4");
    let mut text = String::new();
    for e in [
        "m",
        "sum(m)",
        "m @ 30",
        "count_values('v', m)",
        "sum_over_time(m[1m:30s])",
        "m > 2 or m",
        "sort(m)",
        "step() + range()",
    ] {
        text.push_str(&format!("> {e}\n{}", over(&data, 120, 30, e)));
    }
    expect![[r#"
        > m
        m{i="a"} 1@0 2@30 5@120
        m{i="b"} 3@60 4@90 4@120
        > sum(m)
        {} 1@0 2@30 3@60 4@90 9@120
        > m @ 30
        m{i="a"} 2@0 2@30 2@60 2@90 2@120
        > count_values('v', m)
        {v="1"} 1@0
        {v="2"} 1@30
        {v="3"} 1@60
        {v="4"} 1@90 1@120
        {v="5"} 1@120
        > sum_over_time(m[1m:30s])
        {i="a"} 1@0 3@30 2@60 5@120
        {i="b"} 3@60 7@90 8@120
        > m > 2 or m
        m{i="a"} 1@0 2@30 5@120
        m{i="b"} 3@60 4@90 4@120
        > sort(m)
        m{i="a"} 1@0 2@30 5@120
        m{i="b"} 3@60 4@90 4@120
        PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
        > step() + range()
        {} 150@0 150@30 150@60 150@90 150@120
    "#]].assert_eq(&text);
}

#[test]
fn what_goes_wrong() {
    let data = Data::load(
        30_000,
        "a{i=\"1\", x=\"1\"} 1\na{i=\"1\", x=\"2\"} 2\nb{i=\"1\"} 3",
    );
    let mut text = String::new();
    for e in [
        "b + on (i) a",
        "a + on (i) b",
        "a + on (i) group_left b",
        "label_replace(a, 'x', '', 'x', '.*')",
        "label_replace(a, '', '', 'x', '.*')",
        "topk(NaN, a)",
        "{i='1'} * 1",
        "double_exponential_smoothing(a[1m], 2, 0.5)",
        "histogram_quantile(0.5, a)",
    ] {
        text.push_str(&format!("> {e}\n{}", at(&data, 0, e)));
    }
    expect![[r#"
        > b + on (i) a
        error: found duplicate series for the match group {i="1"} on the right hand-side of the operation: [{__name__="a", i="1", x="1"}, {__name__="a", i="1", x="2"}];many-to-many matching not allowed: matching labels must be unique on one side
        > a + on (i) b
        error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)
        > a + on (i) group_left b
        {i="1",x="1"} 4
        {i="1",x="2"} 5
        > label_replace(a, 'x', '', 'x', '.*')
        error: vector cannot contain metrics with the same labelset
        > label_replace(a, '', '', 'x', '.*')
        error: invalid destination label name in label_replace(): 
        > topk(NaN, a)
        error: Parameter value is NaN
        > {i='1'} * 1
        {i="1",x="1"} 1
        {i="1",x="2"} 2
        {i="1"} 3
        > double_exponential_smoothing(a[1m], 2, 0.5)
        error: invalid smoothing factor. Expected: 0 < sf < 1, got: 2.000000
        > histogram_quantile(0.5, a)
        PromQL warning: bucket label "le" is missing or has a malformed value of "" (1:25)
    "#]].assert_eq(&text);
}

#[test]
fn classic_histograms() {
    let data = Data::load(
        60_000,
        r#"
        h_bucket{i="1", le="0.1"} 0+10x10
        h_bucket{i="1", le="1"} 0+40x10
        h_bucket{i="1", le="+Inf"} 0+50x10
        h_bucket{i="2", le="0.1"} 0+20x10
        h_bucket{i="2", le="1"} 0+40x10
        h_bucket{i="2", le="+Inf"} 0+40x10
        "#,
    );
    let mut text = String::new();
    for e in [
        "histogram_quantile(0.5, rate(h_bucket[5m]))",
        "histogram_quantile(0.95, sum by (le) (rate(h_bucket[5m])))",
        "histogram_fraction(0, 0.1, h_bucket)",
        "histogram_quantiles(h_bucket, 'q', 0.5, 0.9)",
        "histogram_quantiles(h_bucket{i='1'}, 'q', time() / 1000, 0.5)",
        "histogram_quantiles(h_bucket{i='1'}, 'q', 0.5, 0.5)",
    ] {
        text.push_str(&format!("> {e}\n{}", at(&data, 600, e)));
    }
    expect![[r#"
        > histogram_quantile(0.5, rate(h_bucket[5m]))
        {i="1"} 0.55
        {i="2"} 0.1
        > histogram_quantile(0.95, sum by (le) (rate(h_bucket[5m])))
        {} 1
        > histogram_fraction(0, 0.1, h_bucket)
        {i="1"} 0.2
        {i="2"} 0.5
        > histogram_quantiles(h_bucket, 'q', 0.5, 0.9)
        {i="1",q="0.5"} 0.55
        {i="2",q="0.5"} 0.1
        {i="1",q="0.9"} 1
        {i="2",q="0.9"} 0.8200000000000001
        > histogram_quantiles(h_bucket{i='1'}, 'q', time() / 1000, 0.5)
        {i="1",q="0.5"} 0.55
        {i="1",q="0.6"} 0.7
        > histogram_quantiles(h_bucket{i='1'}, 'q', 0.5, 0.5)
        error: vector cannot contain metrics with the same labelset
    "#]]
    .assert_eq(&text);
}

#[test]
fn info_is_not_added_to_itself() {
    let data = Data::load(
        60_000,
        "m{instance=\"i\", job=\"j\"} 1\n\
         target_info{instance=\"i\", job=\"j\", version=\"2\"} 1\n\
         build_info{instance=\"i\", job=\"j\", commit=\"c\"} 1",
    );
    let mut text = String::new();
    for e in [
        "info({job='j'})",
        "info({job='j'}, {version=~'.*'})",
        "info({job='j'}, {__name__='build_info'})",
        "info({job='j'}, {__name__!='target_info'})",
    ] {
        text.push_str(&format!("> {e}\n{}", at(&data, 0, e)));
    }
    expect![[r#"
        > info({job='j'})
        build_info{commit="c",instance="i",job="j",version="2"} 1
        m{instance="i",job="j",version="2"} 1
        target_info{instance="i",job="j",version="2"} 1
        > info({job='j'}, {version=~'.*'})
        build_info{commit="c",instance="i",job="j",version="2"} 1
        m{instance="i",job="j",version="2"} 1
        target_info{instance="i",job="j",version="2"} 1
        > info({job='j'}, {__name__='build_info'})
        build_info{commit="c",instance="i",job="j"} 1
        m{commit="c",instance="i",job="j"} 1
        target_info{commit="c",instance="i",job="j",version="2"} 1
        > info({job='j'}, {__name__!='target_info'})
        build_info{commit="c",instance="i",job="j"} 1
        m{commit="c",instance="i",job="j"} 1
        target_info{commit="c",instance="i",job="j",version="2"} 1
    "#]]
    .assert_eq(&text);
}

#[test]
fn windows_of_histograms_have_no_ends_between_samples() {
    let mut data = Data::load(60_000, "h 1");
    data.floats = false;
    data.series[0].1[0].value = Value::Histogram(Default::default());
    let mut text = String::new();
    for e in ["h[5m] anchored", "h[5m] smoothed", "count(h)"] {
        text.push_str(&format!("> {e}\n{}", at(&data, 0, e)));
    }
    expect![[r#"
        > h[5m] anchored
        error: anchored modifier is not supported with histograms
        > h[5m] smoothed
        error: smoothed modifier is not supported with histograms
        > count(h)
        {} 1
    "#]]
    .assert_eq(&text);
}
