//! What Grafana and other clients of Prometheus get.

use reqwest::Method;

use crate::api::tests::world::{World, answer, value, world};

async fn form(w: &World, path: &str, body: &str) -> (u16, String) {
    let request = w.ask(Method::POST, path);
    let kind = "application/x-www-form-urlencoded";
    answer(request.header("content-type", kind).body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_gets_the_bytes_that_it_expects() {
    let w = world(Vec::new()).await;
    let (status, body) = form(&w, "/api/v1/query", "query=1%2B1&time=1.5").await;
    let fine = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#;
    assert_eq!((status, body.as_str()), (200, fine));

    let now = w.handle.clock.now().ms() / 1_000;
    let sample = format!(r#"{{"name":"api_ms","val":0.5,"ts":{now},"labels":{{"pod":"a"}}}}"#);
    assert_eq!(w.post("/metric", sample).await.0, 204);
    w.ticked().await;
    let (_, body) = form(&w, "/api/v1/query", &format!("query=api_ms&time={now}")).await;
    let vector = r#"{"metric":{"__name__":"api_ms","pod":"a"},"value":[NOW,"0.5"]}"#;
    let fine = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        vector.replace("NOW", &now.to_string())
    );
    assert_eq!(body, fine);
    let range = format!("query=api_ms*2&start={}&end={}&step=15", now - 15, now + 15);
    let (_, body) = form(&w, "/api/v1/query_range", &range).await;
    let fine = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"pod":"a"}},"values":[[{now},"1"],[{},"1"]]}}]}}}}"#,
        now + 15
    );
    assert_eq!(body, fine);
    let (_, body) = form(&w, "/api/v1/labels", "match%5B%5D=api_ms").await;
    assert_eq!(body, r#"{"status":"success","data":["__name__","pod"]}"#);
    let (_, body) = w.get("/api/v1/label/U______name____/values").await;
    assert!(body.contains("api_ms"), "{body}");
    let (_, body) = w.get("/api/v1/series?match[]=%7Bpod%3D%22a%22%7D").await;
    let fine = r#"{"status":"success","data":[{"__name__":"api_ms","pod":"a"}]}"#;
    assert_eq!(body, fine);
    let rules = value(&w.get("/api/v1/rules").await.1);
    let rule = &rules["data"]["groups"][0]["rules"][0];
    assert_eq!(
        (&rule["name"], &rule["type"]),
        (&"Slow".into(), &"alerting".into())
    );
    let (_, body) = w.get("/api/v1/rules?type=record").await;
    assert_eq!(body, r#"{"status":"success","data":{"groups":[]}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_says_why_in_the_envelope() {
    let w = world(Vec::new()).await;
    let cases = [
        ("query?query=sum(", 400, "bad_data", "parse error"),
        ("query?query=1&time=x", 400, "bad_data", "\"time\""),
        ("query?query=1&timeout=0", 503, "timeout", "timed out"),
        (
            "query_range?query=1&start=1&end=0&step=1",
            400,
            "bad_data",
            "before start",
        ),
        (
            "query_range?query=1&start=0&end=9&step=0",
            400,
            "bad_data",
            "zero or negative",
        ),
        (
            "query_range?query=1&start=0&end=11001&step=1",
            400,
            "bad_data",
            "11,000 points",
        ),
        ("series", 400, "bad_data", "no match[]"),
        ("rules?type=x", 400, "bad_data", "not supported"),
    ];
    for (path, status, kind, says) in cases {
        let (got, body) = w.get(&format!("/api/v1/{path}")).await;
        let error = value(&body);
        assert_eq!(
            (got, &error["errorType"]),
            (status, &kind.into()),
            "{path}: {body}"
        );
        assert!(error["error"].as_str().unwrap().contains(says), "{body}");
    }
    let longest = w
        .get("/api/v1/query_range?query=1&start=0&end=11000&step=1")
        .await;
    assert_eq!(longest.0, 200);
}
