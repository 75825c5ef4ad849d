//! What stands beside `ops`: the programs of Debian's packages `prometheus` and `victoria-metrics`, each with a folder of
//! its own. `None` where they are not installed.

use std::path::Path;

use crate::receiver::Receiver;

/// Where all of them take remote write.
pub const PATH: &str = "/api/v1/write";

/// Prometheus, with this configuration file; an empty one is written by itself.
pub fn prometheus(prepare: impl Fn(&Path) -> &'static str) -> Option<Receiver> {
    Receiver::start("prometheus", "prometheus", PATH, |dir, port| {
        let config = dir.join(prepare(dir));
        vec![
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
        ]
    })
}

/// VictoriaMetrics; it answers with the newest samples, not with those of 30 s ago.
pub fn victoria() -> Option<Receiver> {
    Receiver::start("victoria-metrics", "victoria-metrics", PATH, |dir, port| {
        vec![
            format!("-storageDataPath={}", dir.join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
            "-search.latencyOffset=0s".to_owned(),
        ]
    })
}
