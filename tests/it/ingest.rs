//! How samples of Prometheus's kind come in, on the real binary: remote write through kills, real scrapes, text pushes,
//! and Prometheus itself as a sender.

mod native;
mod prometheus;
mod push;
mod scrape;
mod tls;

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::lab::Lab;

#[path = "../../src/ingest/remote_write/sent.rs"]
pub(crate) mod sent;
#[path = "../../src/ingest/remote_write/whole.rs"]
mod whole;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

/// A program that runs with these settings.
async fn serving(settings: &str) -> Lab {
    let mut lab = Lab::new("ingest");
    lab.write("ops.yaml", settings);
    lab.serve().await;
    lab
}

impl Lab {
    /// What the board shows of a metric: the points of each series.
    async fn board(&self, metric: &str) -> BTreeMap<String, Vec<(i64, Option<f64>)>> {
        let path = format!("/api/ops/v1/board/{metric}?window=10m");
        let (status, shown) = self.get(&path).await;
        if status != 200 {
            return BTreeMap::new();
        }
        let mut found = BTreeMap::new();
        for series in shown["series"].as_array().unwrap() {
            let points = series["points"].as_array().unwrap().iter();
            let points = points.map(|p| (p[0].as_i64().unwrap(), p[1].as_f64()));
            let key = series["key"].as_str().unwrap();
            found.insert(key.to_owned(), points.collect());
        }
        found
    }

    /// The newest value of the one series of a metric whose name holds a text.
    async fn last(&self, metric: &str, part: &str) -> Option<f64> {
        let board = self.board(metric).await;
        let (_, points) = board.iter().find(|(labels, _)| labels.contains(part))?;
        points.last()?.1
    }
}
