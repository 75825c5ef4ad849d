//! Debian's promtool asks the real binary.

use std::process::Command;

use crate::lab::{Lab, has};

fn promtool(args: &[&str]) -> String {
    let out = Command::new("promtool").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

#[tokio::test]
async fn promtool_asks_and_understands() {
    if !has("promtool") {
        return;
    }
    let mut lab = Lab::new("query");
    lab.serve().await;
    let sample = r#"{"name":"api_ms","val":7,"labels":{"pod":"a"}}"#;
    assert_eq!(lab.post("/metric", sample).await, 204);
    let url = lab.url("");
    let instant = promtool(&["query", "instant", &url, "api_ms"]);
    assert!(
        instant.starts_with("api_ms{pod=\"a\"} => 7 @["),
        "{instant}"
    );
    let range = promtool(&["query", "range", "--step=1s", &url, "api_ms + 1"]);
    assert!(range.contains("{pod=\"a\"} =>\n8 @["), "{range}");
    let series = promtool(&["query", "series", "--match=api_ms", &url]);
    assert_eq!(series.trim(), "{__name__=\"api_ms\", pod=\"a\"}");
    assert_eq!(promtool(&["query", "labels", &url, "pod"]).trim(), "a");
}
