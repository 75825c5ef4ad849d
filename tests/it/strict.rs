//! A strict group beside a real Prometheus: the same rule file and the same samples at the same time, and then the same
//! alerts, with the same labels and states, for as long.

use std::collections::{BTreeMap, BTreeSet};

use ops::engine::promql::source::STALE_BITS;

use crate::differential::{Answer, When, ask, deliver};
use crate::ingest::now_ms;
use crate::ingest::sent::{body, series};
use crate::lab::{Lab, until};
use crate::peer::Peer;

/// The rule file; `strict` is a line of ours.
fn rules(strict: &str) -> String {
    let group = |name: &str, rest: &str| format!("- name: {name}\n  interval: 1s\n{strict}{rest}");
    let all = group(
        "all",
        "  rules:
  - record: seen
    expr: count(load)
  - alert: Slow
    expr: load > 10
    for: 2s
    labels: {severity: page}
  - alert: ByValue
    expr: load > 10
    labels: {v: '{{ $value }}', host: '', of: '{{ $labels.host }}'}
  - alert: Kept
    expr: load > 10
    keep_firing_for: 3s
  - record: slow:firing
    expr: count by (severity) (ALERTS{alertname=\"Slow\",alertstate=\"firing\"})
  - alert: Many
    expr: slow:firing > 1
  - alert: Recent
    expr: time() - ALERTS_FOR_STATE{alertname=\"Slow\"} < 60
",
    );
    let limited = group(
        "limited",
        "  limit: 1
  rules:
  - alert: One
    expr: load > 10
",
    );
    format!("groups:\n{all}{limited}")
}

/// Both, with what is sent to them.
struct Both {
    urls: [String; 2],
    client: reqwest::Client,
}

impl Both {
    /// Sends a value of each host, again and again, until an expression has a value of that many elements in both.
    async fn send(&self, loads: &[(&str, f64)], what: &str, count: usize) {
        let mut ended = BTreeSet::new();
        until(&format!("{what} has {count} elements"), async || {
            let now = now_ms();
            let all = loads.iter().filter_map(|(host, value)| {
                // A series ends once.
                let is_end = value.to_bits() == STALE_BITS;
                (!is_end || ended.insert(*host))
                    .then(|| series(&[("__name__", "load"), ("host", host)], &[(now, *value)]))
            });
            deliver(&self.client, &self.urls, body(all.collect())).await;
            let (ours, theirs) = (self.values(0, what).await, self.values(1, what).await);
            (ours.len(), theirs.len()) == (count, count)
        })
        .await;
    }

    async fn values(&self, which: usize, what: &str) -> BTreeMap<String, f64> {
        match ask(&self.client, &self.urls[which], what, When::At(now_ms())).await {
            Answer::Values(all) => all.into_iter().map(|(labels, v)| (labels, v[0])).collect(),
            other => panic!("{what}: {other:?}"),
        }
    }

    /// Compares the values of an expression; they may differ by so much.
    async fn compare(&self, what: &str, by: f64) -> BTreeMap<String, f64> {
        let (ours, theirs) = (self.values(0, what).await, self.values(1, what).await);
        let names = |all: &BTreeMap<String, f64>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs), "{what}");
        for (labels, value) in &ours {
            let other = theirs[labels];
            let near = (value - other).abs() <= by;
            assert!(near, "{what} of {labels}: ours {value}, theirs {other}");
        }
        ours
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_groups_alert_as_prometheus_does() {
    let mut lab = Lab::new("strict");
    lab.write("alerts/all.yml", &rules("  strict: true\n"));
    let theirs = lab.write("prometheus/all.yml", &rules(""));
    let settings = |_| format!("global: {{}}\nrule_files: [{}]\n", theirs.display());
    let flags = ["--web.enable-remote-write-receiver"];
    let Some(peer) = Peer::start(settings, &flags).await else {
        return;
    };
    lab.serve().await;
    let both = Both {
        urls: [lab.url(""), peer.url("")],
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    let fine = [("a", 5.0), ("b", 5.0)];
    both.send(&fine, "seen == 2", 1).await;
    let slow = [("a", 20.0), ("b", 20.0)];
    both.send(&slow, "slow:firing == 2", 1).await;
    both.send(&slow, "ALERTS{alertname=\"Many\"}", 1).await;
    let slower = [("a", 30.0), ("b", 20.0)];
    both.send(&slower, "ALERTS{alertname=\"ByValue\",v=\"30\"}", 1)
        .await;
    let gone = [("a", 30.0), ("b", f64::from_bits(STALE_BITS))];
    both.send(&gone, "ALERTS{alertname=\"Slow\"}", 1).await;
    // Of two there is one left, which is not too many.
    both.send(&gone, "ALERTS{alertname=\"One\"}", 1).await;
    both.send(&[("a", 5.0)], "ALERTS", 0).await;

    // Each evaluates at another moment of a second, and a busy machine may miss one.
    let times = both.compare("count_over_time(ALERTS[5m])", 2.0).await;
    assert_eq!(times.len(), 13, "{times:?}");
    both.compare("count_over_time(ALERTS_FOR_STATE[5m])", 3.0)
        .await;
    both.compare("max_over_time(ALERTS_FOR_STATE[5m])", 2.0)
        .await;
    both.compare("changes(ALERTS_FOR_STATE[5m])", 0.0).await;
    both.compare("max_over_time(slow:firing[5m])", 0.0).await;
}
