//! What is read and what is refused: by hand, by the corpus, and by chance.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::engine::intake::Whose;
use crate::model::labels::SeriesKey;

/// Everything that a body says, a line each.
fn shown(body: &[u8], format: Format) -> String {
    let mut out = String::new();
    let mut reader = match Reader::new(body, format) {
        Ok(reader) => reader,
        Err(error) => return error.to_string(),
    };
    loop {
        match reader.read() {
            Ok(None) => return out,
            Ok(Some(Entry::Sample(s))) => {
                let labels: Vec<String> = reader
                    .labels()
                    .iter()
                    .map(|(n, v)| format!("{n}={v:?}"))
                    .collect();
                let ts = s.ts.map_or(String::new(), |t| format!(" @{}", t.ms()));
                out += &format!("{}{{{}}} {}{ts}\n", s.name, labels.join(","), s.value);
            }
            Ok(Some(other)) => out += &format!("{other:?}\n"),
            Err(error) => return out + &error.to_string(),
        }
    }
}

fn text(body: &str, expected: Expect) {
    expected.assert_eq(&shown(body.as_bytes(), Format::Text));
}

fn open(body: &str, expected: Expect) {
    expected.assert_eq(&shown(body.as_bytes(), Format::OpenMetrics));
}

#[test]
fn labels_of_one_sample_are_bounded() {
    let labels = |count: usize| format!("m{{{}}} 1\n", "a=\"\",".repeat(count));
    assert!(shown(labels(1_024).as_bytes(), Format::Text).ends_with(" 1\n"));
    text(
        &labels(1_025),
        expect!["line 1, column 5125: this sample has more than 1024 labels"],
    );
}

#[test]
fn text_is_read_with_all_its_freedoms() {
    text(
        concat!(
            "\n# a comment\n#\n# HELP requests Answered\\nrequests, \\\\ and \\\".\n",
            "#\tTYPE  requests\tcounter\n",
            "requests{code=\"200\",path=\"/a\\\"b\\\\c\\nd\"} 1027 1700000000123\n",
            "  requests { code = \"500\" , } -Inf\n",
            "up 1\nup{}2\nbare-3.5e2\n",
            "{\"temperature.celsius\", room=\"kitchen\",\"level.nr\"=\"2\"} 21.5\n",
            "{\"quoted name\"} NaN 5\n",
            "lines{a=\"x\ny\"} 1 2"
        ),
        expect![[r#"
            Help("requests", "Answered\nrequests, \\ and \\\".")
            Type("requests", Counter)
            requests{code="200",path="/a\"b\\c\nd"} 1027 @1700000000123
            requests{code="500"} -inf
            up{} 1
            up{} 2
            bare{} -350
            temperature.celsius{room="kitchen",level.nr="2"} 21.5
            quoted name{} NaN @5
            lines{a="x\ny"} 1 @2
        "#]],
    );
}

#[test]
fn open_metrics_is_read_and_exemplars_are_passed_over() {
    open(
        concat!(
            "# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\n# HELP latency_seconds How \\\"long\\\".\n",
            "latency_seconds_bucket{le=\"1\"} 5 # {trace_id=\"a,b}\"} 0.7 1700000000.5\n",
            "latency_seconds_bucket{le=\"+Inf\"} 6 1700000000.123 # {} 2\n",
            "latency_seconds_count 6\n{\"my.gauge\",a=\"b\"} 1e3\n# EOF"
        ),
        expect![[r#"
            Type("latency_seconds", Histogram)
            Unit("latency_seconds", "seconds")
            Help("latency_seconds", "How \"long\".")
            latency_seconds_bucket{le="1.0"} 5
            latency_seconds_bucket{le="+Inf"} 6 @1700000000123
            latency_seconds_count{} 6
            my.gauge{a="b"} 1000
        "#]],
    );
}

#[test]
fn an_error_names_its_place_and_what_was_expected() {
    let told: Vec<String> = [
        "up 1\nup{a=1} 2\n",
        "up{a=\"1\" 2\n",
        "up{a=\"1",
        "é 1",
        "up",
        "up one\n",
        "up 1e999\n",
        "up 0x1p3\n",
        "up +nan\n",
        "up 1 2 3\n",
        "up 1 99999999999999999999\n",
        "up 1\r\n",
        "up{\"a\"} 1\n",
        "{a=\"b\"} 1\n",
        "{\"a\",\"b\"} 1\n",
        "{a} 1\n",
        "# TYPE up\n",
        "# TYPE up countre\n",
        "# HELP \n",
    ]
    .iter()
    .map(|body| shown(body.as_bytes(), Format::Text).replace('\n', " | "))
    .collect();
    expect![[r#"
        up{} 1 | line 2, column 6: expected the label's value in double quotes, found '1'
        line 1, column 10: expected a label's name or `}`, found '2'
        line 1, column 6: this quoted text never ends
        line 1, column 1: expected a metric's name, found 'é'
        line 1, column 3: expected a value
        line 1, column 4: "one" is no number
        line 1, column 4: "1e999" is no number
        line 1, column 4: "0x1p3" is no number
        line 1, column 4: "+nan" is no number
        line 1, column 8: expected the end of the line, found '3'
        line 1, column 6: 99999999999999999999 is no time in milliseconds
        line 1, column 4: "1\r" is no number
        line 1, column 4: the metric has a name already: expected a label's name with `=` and a value
        line 1, column 1: this sample has no metric's name
        line 1, column 6: the metric has a name already: expected a label's name with `=` and a value
        line 1, column 3: expected `=` after the label's name, found '}'
        line 1, column 10: "" is not a kind of metric: counter, gauge, histogram, summary or untyped
        line 1, column 11: "countre" is not a kind of metric: counter, gauge, histogram, summary or untyped
        line 1, column 8: expected a metric's name, found the end of the line"#]]
    .assert_eq(&told.join("\n"));
    let told: Vec<String> = [
        "a 1\n",
        "a 1",
        "a 1\n# EOF\nb 2\n",
        "a 1\n\n# EOF\n",
        "# x\n# EOF\n",
        "# TYPE a countre\n# EOF\n",
        "# UNIT a_s m\n# EOF\n",
        "# HELP a\n# EOF\n",
        "a{b=\"1\" ,c=\"2\"} 1\n# EOF\n",
        "a{b=\"1\nx\"} 1\n# EOF\n",
        "a  1\n# EOF\n",
        "a 1 nan\n# EOF\n",
        "a 1 # {\"b\"} 1\n# EOF\n",
        "a 1 # {b=\"c\"}\n# EOF\n",
        "a 1 2 3\n# EOF\n",
    ]
    .iter()
    .map(|body| shown(body.as_bytes(), Format::OpenMetrics).replace('\n', " | "))
    .collect();
    expect![[r#"
        a{} 1 | line 2, column 1: the body does not end with `# EOF`: it is cut short
        line 1, column 4: expected the end of the line, found the end of the body
        a{} 1 | line 3, column 1: there is something after `# EOF`
        a{} 1 | line 2, column 1: expected a metric's name, found the end of the line
        line 1, column 1: expected `# HELP`, `# TYPE`, `# UNIT` or `# EOF`: there are no comments in OpenMetrics
        line 1, column 10: "countre" is not a kind of metric: counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown
        line 1, column 12: the unit "m" is not the last part of the metric's name "a_s"
        line 1, column 9: expected a blank and a text, found the end of the line
        line 1, column 8: expected `,` or `}` after a label, found ' '
        line 1, column 7: the line ends within a quoted text: close it with `"`, and write `\n` for a line break
        line 1, column 3: expected a value
        line 1, column 5: a time must be finite
        line 1, column 8: expected a label's name with `=` and a value
        line 1, column 14: expected a blank and the exemplar's value, found the end of the line
        line 1, column 6: expected the end of the line, found ' '"#]]
    .assert_eq(&told.join("\n"));
    expect!["line 2, column 2: this is not UTF-8"]
        .assert_eq(&shown(b"up 1\na\xff 2\n", Format::Text));
}

#[test]
fn a_body_becomes_a_batch_and_what_it_says_of_its_metrics() {
    let body = "# HELP up Whether.\n# TYPE up gauge\nup{b=\"2\",a=\"1\"} 1 5\nup{__name__=\"x\"} 1\nup NaN\n";
    let decoded = batch::decode(body.as_bytes(), Format::Text).unwrap();
    let items: Vec<String> = decoded
        .batch
        .items
        .iter()
        .map(|i| {
            let Whose::Key(key) = &i.whose else {
                panic!("no key")
            };
            let key = &decoded.batch.keys[key.start as usize..key.end as usize];
            let key = SeriesKey::from_canonical(key);
            format!(
                "{} {key} {:?} {}",
                i.index,
                i.ts.map(Timestamp::ms),
                i.value
            )
        })
        .collect();
    assert_eq!(items, ["0 up{a=\"1\",b=\"2\"} Some(5) 1", "2 up None NaN"]);
    assert_eq!(decoded.refused[0].index, 1);
    let up = decoded.metadata.get("up").unwrap();
    assert_eq!((up.kind, up.help.as_str()), (Kind::Gauge, "Whether."));
    assert!(decoded.batch.exact);
}

#[test]
fn content_types_name_the_format() {
    let of = |kind| Format::of_content_type(Some(kind));
    assert_eq!(
        of("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        Some(Format::OpenMetrics)
    );
    assert_eq!(of("text/plain; version=0.0.4"), Some(Format::Text));
    assert_eq!(of("Text/Plain"), Some(Format::Text));
    assert_eq!(of("application/vnd.google.protobuf; proto=x"), None);
    assert_eq!(Format::of_content_type(None), Some(Format::Text));
}

/// Reads a body to its end: how many samples, if it can be read.
fn count(body: &[u8], format: Format) -> Result<usize, ExpositionError> {
    let mut reader = Reader::new(body, format)?;
    let mut count = 0;
    while let Some(entry) = reader.read()? {
        count += usize::from(matches!(entry, Entry::Sample(_)));
    }
    Ok(count)
}

#[test]
fn the_corpus_is_judged_as_prometheus_judges_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/exposition");
    let mut judged = 0;
    // The folder, its format, the column with the verdict and the one with the count of samples.
    for (folder, format, verdict, samples) in [
        ("openmetrics", Format::OpenMetrics, 2, 3),
        ("openmetrics-samples", Format::OpenMetrics, 1, 2),
        ("prometheus-text", Format::Text, 1, 2),
    ] {
        let Ok(table) = std::fs::read(root.join(folder).join("EXPECTED.tsv")) else {
            // Past libtest, which keeps what a passing test prints to itself.
            let place = root.join(folder).display().to_string();
            let line = format!("\n*** SKIPPED, NOT TESTED: {place} is not there ***\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            continue;
        };
        for line in String::from_utf8(table).unwrap().lines().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            let body = std::fs::read(root.join(folder).join(cells[0])).unwrap();
            let read = count(&body, format);
            let accepted = cells[verdict] == "accepts";
            assert_eq!(read.is_ok(), accepted, "{folder}/{}: {read:?}", cells[0]);
            if let Ok(count) = read {
                assert_eq!(count.to_string(), cells[samples], "{folder}/{}", cells[0]);
            }
            judged += 1;
        }
    }
    assert!(judged == 0 || judged > 150, "{judged} files");
}

/// Bits of bodies, so that chance comes near to the grammar.
const PARTS: [&str; 31] = [
    "a",
    "up",
    "{",
    "}",
    "\"",
    "\\",
    "=",
    ",",
    " ",
    "\t",
    "\n",
    "\r",
    "#",
    "# ",
    "# EOF",
    "# TYPE ",
    "# HELP ",
    "# UNIT ",
    "counter",
    "histogram",
    "le",
    "1",
    "-",
    ".5",
    "NaN",
    "+Inf",
    "e9",
    "é",
    "\0",
    " # {",
    "_s s",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), open in any::<bool>()) {
        let format = if open { Format::OpenMetrics } else { Format::Text };
        let _ = batch::decode(&body, format);
    }

    #[test]
    fn no_text_panics_and_every_error_is_in_the_body(
        parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..40), open in any::<bool>(),
    ) {
        let body = parts.concat();
        let format = if open { Format::OpenMetrics } else { Format::Text };
        if let Err(error) = batch::decode(body.as_bytes(), format) {
            let lines: Vec<&str> = body.split('\n').collect();
            let line = lines.get(error.line - 1).copied();
            prop_assert!(line.is_some_and(|l| error.column <= l.chars().count() + 1), "{error} in {body:?}");
            prop_assert!(!error.what.is_empty());
        }
    }

    #[test]
    fn what_is_written_reads_back(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", quoted in any::<bool>(), open in any::<bool>(),
        labels in prop::collection::btree_map("[a-zé. ]{1,6}", "[ -~\\n\\\\\"é]{1,8}", 0..5),
        value in any::<f64>(), ms in 0_i64..4_000_000_000_000,
    ) {
        let escape = |t: &str| t.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut inside: Vec<String> = labels.iter().map(|(n, v)| format!("\"{}\"=\"{}\"", escape(n), escape(v))).collect();
        let mut line = name.clone();
        if quoted {
            line.clear();
            inside.insert(0, format!("\"{name}\""));
        }
        let format = if open { Format::OpenMetrics } else { Format::Text };
        let ms = if open { ms / 1_000 * 1_000 } else { ms };
        let time = if open { ms / 1_000 } else { ms };
        let end = if open { "# EOF\n" } else { "" };
        let body = format!("{line}{{{}}} {value:?} {time}\n{end}", inside.join(","));
        let mut reader = Reader::new(body.as_bytes(), format).unwrap();
        let Some(Entry::Sample(sample)) = reader.read().unwrap() else { panic!("no sample") };
        prop_assert_eq!(sample.name, name);
        prop_assert_eq!(sample.ts.map(Timestamp::ms), Some(ms));
        prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
        let read: Vec<(String, String)> = reader.labels().iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let wrote: Vec<(String, String)> = labels.into_iter().collect();
        prop_assert_eq!(read, wrote);
        prop_assert_eq!(reader.read(), Ok(None));
    }
}
