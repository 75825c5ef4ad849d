use expect_test::{Expect, expect};

use super::*;
use crate::engine::promql::source::is_stale;
use crate::model::labels::SeriesKey;
use crate::model::pattern::anchored;
use crate::model::relabel::{Action, Relabel};
use crate::model::scrape::ScrapeLimits;

fn target() -> Labels {
    Labels::new().with("job", "node").with("instance", "a:1")
}

/// What a batch holds, a line each, the report on one line at the end.
fn shown(round: &Round) -> String {
    let mut out = String::new();
    let mut report = Vec::new();
    for item in &round.batch.items {
        let Whose::Key(key) = &item.whose else {
            panic!("no key")
        };
        let key = &round.batch.keys[key.start as usize..key.end as usize];
        let key = SeriesKey::from_canonical(key);
        let value = match item.value {
            v if is_stale(v) => "stale".to_owned(),
            v => v.to_string(),
        };
        if REPORT.contains(&key.metric()) {
            report.push(value);
        } else {
            out += &format!("{key} {value} @{}\n", item.ts.unwrap().ms());
        }
    }
    out += &report.join(" ");
    match &round.error {
        Some(error) => format!("{out} ({error})"),
        None => out,
    }
}

fn ask(memory: &mut Memory, at: i64, body: &str, terms: &SampleTerms) -> String {
    let answer = Answer {
        body: body.as_bytes(),
        format: Format::Text,
    };
    let at = Timestamp::from_ms(at);
    shown(&memory.round(at, Ok(answer), 0.5, &target(), terms))
}

fn check(body: &str, terms: &SampleTerms, expected: Expect) {
    expected.assert_eq(&ask(&mut Memory::default(), 1_000, body, terms));
}

fn step(sources: &[&str], regex: &str, action: Action) -> Relabel {
    Relabel {
        source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
        separator: ";".to_owned(),
        regex: anchored(regex).unwrap(),
        action,
    }
}

#[test]
fn series_that_are_gone_end_and_come_back() {
    let terms = SampleTerms::default();
    let mut memory = Memory::default();
    let told = [
        ask(&mut memory, 1_000, "a 1\nb{x=\"1\"} 2\n", &terms),
        ask(&mut memory, 2_000, "a 1\nc 3\n", &terms),
        ask(&mut memory, 3_000, "a 1\nc{ 3\n", &terms),
        ask(&mut memory, 4_000, "a 4\n", &terms),
        shown(&memory.round(
            Timestamp::from_ms(5_000),
            Err("connection refused".to_owned()),
            0.25,
            &target(),
            &terms,
        )),
        ask(&mut memory, 6_000, "a 6\n", &terms),
    ];
    expect![[r#"
        a{instance="a:1",job="node"} 1 @1000
        b{instance="a:1",job="node",x="1"} 2 @1000
        1 0.5 2 2 2
        a{instance="a:1",job="node"} 1 @2000
        c{instance="a:1",job="node"} 3 @2000
        b{instance="a:1",job="node",x="1"} stale @2000
        1 0.5 2 2 1
        a{instance="a:1",job="node"} stale @3000
        c{instance="a:1",job="node"} stale @3000
        0 0.5 1 1 0 (line 2, column 4: expected a label's name or `}`, found '3')
        a{instance="a:1",job="node"} 4 @4000
        1 0.5 1 1 1
        a{instance="a:1",job="node"} stale @5000
        0 0.25 0 0 0 (connection refused)
        a{instance="a:1",job="node"} 6 @6000
        1 0.5 1 1 1"#]]
    .assert_eq(&told.join("\n"));
    let end = Round {
        batch: memory.end(Timestamp::from_ms(7_000), &target()),
        metadata: Metadata::default(),
        error: None,
    };
    expect![[r#"
        a{instance="a:1",job="node"} stale @7000
        stale stale stale stale stale"#]]
    .assert_eq(&shown(&end));
    assert!(
        memory
            .end(Timestamp::from_ms(8_000), &target())
            .items
            .is_empty()
    );
}

#[test]
fn what_has_ended_ends_again_if_it_was_not_stored() {
    let terms = SampleTerms::default();
    let mut memory = Memory::default();
    let mut told = vec![ask(&mut memory, 1_000, "a 1\nb 2\nc 3\n", &terms)];
    told.push(ask(&mut memory, 2_000, "a 1\n", &terms));
    memory.not_stored();
    told.push(ask(&mut memory, 3_000, "a 1\nc 3\n", &terms));
    told.push(ask(&mut memory, 4_000, "a 1\nc 3\n", &terms));
    let mut end = |at: i64| {
        shown(&Round {
            batch: memory.end(Timestamp::from_ms(at), &target()),
            metadata: Metadata::default(),
            error: None,
        })
    };
    told.push(end(5_000));
    memory.not_stored();
    let mut end = |at: i64| memory.end(Timestamp::from_ms(at), &target()).items.len();
    assert_eq!((end(6_000), end(7_000)), (7, 0));
    expect![[r#"
        a{instance="a:1",job="node"} 1 @1000
        b{instance="a:1",job="node"} 2 @1000
        c{instance="a:1",job="node"} 3 @1000
        1 0.5 3 3 3
        a{instance="a:1",job="node"} 1 @2000
        b{instance="a:1",job="node"} stale @2000
        c{instance="a:1",job="node"} stale @2000
        1 0.5 1 1 0
        a{instance="a:1",job="node"} 1 @3000
        c{instance="a:1",job="node"} 3 @3000
        b{instance="a:1",job="node"} stale @3000
        1 0.5 2 2 0
        a{instance="a:1",job="node"} 1 @4000
        c{instance="a:1",job="node"} 3 @4000
        1 0.5 2 2 0
        a{instance="a:1",job="node"} stale @5000
        c{instance="a:1",job="node"} stale @5000
        stale stale stale stale stale"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn the_report_is_about_the_target() {
    let mut memory = Memory::default();
    let round = memory.round(
        Timestamp::from_ms(1),
        Err("no".to_owned()),
        0.5,
        &target(),
        &SampleTerms::default(),
    );
    assert!(round.batch.exact);
    let names: Vec<String> = round
        .batch
        .items
        .iter()
        .map(|i| {
            let Whose::Key(key) = &i.whose else {
                panic!("no key")
            };
            let key = &round.batch.keys[key.start as usize..key.end as usize];
            SeriesKey::from_canonical(key).to_string()
        })
        .collect();
    assert_eq!(names[0], "up{instance=\"a:1\",job=\"node\"}");
    assert_eq!(names.len(), 5);
}

#[test]
fn whose_label_counts() {
    let body = "m{job=\"x\",exported_job=\"y\",instance=\"\",zone=\"b\"} 1\n";
    let mut terms = SampleTerms::default();
    check(
        body,
        &terms,
        expect![[r#"
        m{exported_exported_job="x",exported_job="y",instance="a:1",job="node",zone="b"} 1 @1000
        1 0.5 1 1 1"#]],
    );
    terms.honor_labels = true;
    check(
        body,
        &terms,
        expect![[r#"
        m{exported_job="y",job="x",zone="b"} 1 @1000
        1 0.5 1 1 1"#]],
    );
}

#[test]
fn times_count_if_they_are_honoured_and_such_series_do_not_end() {
    let mut terms = SampleTerms {
        honor_timestamps: true,
        ..SampleTerms::default()
    };
    let mut memory = Memory::default();
    let told = [
        ask(&mut memory, 1_000, "a 1 500\nb 2\n", &terms),
        ask(&mut memory, 2_000, "", &terms),
    ];
    expect![[r#"
        a{instance="a:1",job="node"} 1 @500
        b{instance="a:1",job="node"} 2 @1000
        1 0.5 2 2 1
        b{instance="a:1",job="node"} stale @2000
        1 0.5 0 0 0"#]]
    .assert_eq(&told.join("\n"));
    terms.honor_timestamps = false;
    check(
        "a 1 500\n",
        &terms,
        expect![[r#"
        a{instance="a:1",job="node"} 1 @1000
        1 0.5 1 1 1"#]],
    );
}

#[test]
fn samples_are_relabelled_and_dropped() {
    let replace = |target: &str, replacement: &str| Action::Replace {
        target: target.to_owned(),
        replacement: replacement.to_owned(),
    };
    let terms = SampleTerms {
        relabel: vec![
            step(&["__name__"], "go_.*", Action::Drop),
            step(&["__name__"], "old_(.*)", replace("__name__", "new_$1")),
            step(&[], "secret", Action::LabelDrop),
        ],
        ..SampleTerms::default()
    };
    let body = "go_x 1\nold_y{secret=\"s\"} 2\nz 3\n";
    check(
        body,
        &terms,
        expect![[r#"
        new_y{instance="a:1",job="node"} 2 @1000
        z{instance="a:1",job="node"} 3 @1000
        1 0.5 3 2 2"#]],
    );
    let nameless = SampleTerms {
        relabel: vec![step(&[], "__name__", Action::LabelDrop)],
        ..SampleTerms::default()
    };
    check(
        "z 3\n",
        &nameless,
        expect!["0 0.5 1 0 0 (sample 1 of z: this series has no metric's name)"],
    );
}

#[test]
fn an_answer_beyond_a_limit_is_not_taken_at_all() {
    let limited = |limits| SampleTerms {
        limits,
        ..SampleTerms::default()
    };
    let none = ScrapeLimits::default;
    let body = "a 1\nb{name=\"value\"} 2\n";
    let told: Vec<String> = [
        ScrapeLimits {
            samples: Some(1),
            ..none()
        },
        ScrapeLimits {
            samples: Some(2),
            labels: Some(4),
            ..none()
        },
        ScrapeLimits {
            labels: Some(3),
            ..none()
        },
        ScrapeLimits {
            label_name_bytes: Some(7),
            ..none()
        },
        ScrapeLimits {
            label_value_bytes: Some(4),
            ..none()
        },
    ]
    .into_iter()
    .map(|limits| ask(&mut Memory::default(), 1_000, body, &limited(limits)))
    .collect();
    expect![[r#"
        0 0.5 2 2 0 (2 samples; the limit (`sample_limit`) is 1)
        a{instance="a:1",job="node"} 1 @1000
        b{instance="a:1",job="node",name="value"} 2 @1000
        1 0.5 2 2 2
        0 0.5 2 1 0 (sample 2 of b: labels: 4; the limit (`label_limit`) is 3)
        0 0.5 1 0 0 (sample 1 of a: bytes of a label's name: 8; the limit (`label_name_length_limit`) is 7)
        0 0.5 2 1 0 (sample 2 of b: bytes of "name": 5; the limit (`label_value_length_limit`) is 4)"#]].assert_eq(&told.join("\n"));
    let twice = "b{x=\"1\",x=\"2\"} 2\n";
    check(
        twice,
        &SampleTerms::default(),
        expect![[r#"0 0.5 1 0 0 (sample 1 of b: "x" is given twice)"#]],
    );
}
