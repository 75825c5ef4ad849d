//! More in one body than fits into one record of the log.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use crate::lab::{Lab, until};

const ITEMS: usize = 1_200;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_longer_than_a_record_is_taken_whole_and_once() {
    let mut lab = Lab::new("large");
    lab.serve().await;
    let long = "x".repeat(2_000);
    let labels: Vec<String> = (0..8).map(|i| format!("\"l{i}\":\"{long}\"")).collect();
    let labels = labels.join(",");
    let items: Vec<String> = (0..ITEMS)
        .map(|i| {
            format!("{{\"name\":\"load\",\"val\":{i},\"id\":\"n{i}\",\"labels\":{{\"n\":\"{i}\",{labels}}}}}")
        })
        .collect();
    let body = items.join("\n");
    assert!(body.len() > 16 << 20);
    let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
    zip.write_all(body.as_bytes()).unwrap();
    let body = zip.finish().unwrap();
    let push = async |lab: &Lab| {
        let http = reqwest::Client::new();
        let request = http.post(lab.url("/metric")).body(body.clone());
        let answer = request.header("content-encoding", "gzip").send().await;
        answer.unwrap().status().as_u16()
    };
    assert_eq!(push(&lab).await, 204);
    lab.kill();
    lab.serve().await;
    assert_eq!(
        push(&lab).await,
        204,
        "sent again, as by one who missed the answer"
    );
    until("the windows have all of it", async || {
        let (_, series) = lab.get("/api/v1/query?query=count(load)").await;
        series["data"]["result"][0]["value"][1] == format!("{ITEMS}").as_str()
    })
    .await;
    lab.kill();
    let logged = lab.loads();
    assert_eq!(logged.len(), ITEMS);
    assert!(logged.values().all(|times| *times == 1), "each once");
}
