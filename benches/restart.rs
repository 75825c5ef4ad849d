//! How long a restart takes: from the sample log alone, and from an image of the windows with the samples behind it.
//! The floor is reading the same sample log and checking its sums, without filing a sample.
//!
//! `cargo bench --bench restart`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration as Wall, Instant, SystemTime, UNIX_EPOCH};

use ops::journal::samples::{Encoder, Sample};
use ops::model::labels::{Labels, SeriesKey};
use ops::model::time::{Duration, Timestamp};
use ops::shell::drive::KIND_SAMPLES;
use ops::shell::drive::start::Start;
use ops::shell::store::log::{Options, SegLog};
use ops::shell::store::replay::replay;
use ops::shell::store::{Log, Pos};
use table::{Row, Table, figure};

mod table;

const SERIES: u32 = 20_000;
const BATCH: usize = 10_000;

fn start(data: &Path) -> Start<'_> {
    Start {
        data,
        policy: Arc::default(),
        tick: Duration::from_secs(1),
        retention: Duration::from_hours(24),
        snapshot_interval: Duration::from_hours(24),
        sync_every: None,
    }
}

/// Appends `rounds` samples of every series to the sample log, a second apart.
fn write(data: &Path, keys: &[SeriesKey], rounds: u32, session: u64, from_ms: i64) {
    let options = Options {
        preallocate: true,
        ..Options::default()
    };
    let (mut log, _) = SegLog::open(&data.join("samples"), options).expect("open the log");
    let mut encoder = Encoder::new(session);
    for round in 0..rounds {
        let ts = from_ms + i64::from(round) * 1_000;
        let all: Vec<Sample> = (0..SERIES)
            .map(|series| Sample {
                series,
                ts,
                value: f64::from(series % 900) + f64::from(round) / 7.0,
            })
            .collect();
        for part in all.chunks(BATCH) {
            let segment = log.reserve(64 + part.len() * 24).expect("reserve");
            let mut payload = Vec::new();
            let key = |n: u32| keys.get(n as usize).map_or(&[][..], SeriesKey::bytes);
            encoder.encode(
                segment,
                Timestamp::from_ms(ts),
                &[],
                part,
                key,
                &mut payload,
            );
            log.append(KIND_SAMPLES, &payload).expect("append");
        }
        log.commit().expect("commit");
    }
}

/// Opens the data folder as a start does; stops at once or after an image was written.
fn open(data: &Path, image: bool) -> Wall {
    let started = Instant::now();
    let ready = start(data).open().expect("open the data folder");
    let took = started.elapsed();
    if image {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let handle = ready.handle();
        let thread = ready.go(|_| {});
        runtime.block_on(handle.stop());
        drop(handle);
        thread.join().expect("the engine's thread");
    }
    took
}

fn main() {
    let mut table = Table::open("restart", &[]);
    let data: PathBuf =
        std::env::temp_dir().join(format!("ops-bench-restart-{}", std::process::id()));
    std::fs::create_dir_all(&data).expect("a folder");
    let keys: Vec<SeriesKey> = (0..SERIES)
        .map(|i| {
            let labels = Labels::new()
                .with("region", "east")
                .with("instance", &format!("api-{i}:9100"));
            SeriesKey::new("county_api_ms", &labels)
        })
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    let now = i64::try_from(now).unwrap_or_default();
    println!("{SERIES} series, windows of 1 h for the board");
    let mut total = 0;
    for (history, session) in [(300_u32, 1_u64), (900, 2), (2_400, 3)] {
        let history = table.size(history, history / 20);
        write(
            &data,
            &keys,
            history,
            session,
            now - 3_600_000 + i64::from(total) * 1_000,
        );
        total += history;
        let _ = std::fs::remove_dir_all(data.join("windows"));
        let floor = {
            let started = Instant::now();
            let report =
                replay(&data.join("samples"), Pos::new(1), &mut |_| {}).expect("read the log");
            assert!(report.damaged.is_empty());
            started.elapsed()
        };
        let from_log = open(&data, true);
        let from_image = open(&data, false);
        println!(
            "{:>10} samples in the log: read only {:>6.0} ms, restart from the log {:>6.0} ms ({:.1}), from an image {:>6.0} ms ({:.1})",
            total * SERIES,
            ms(floor),
            ms(from_log),
            from_log.as_secs_f64() / floor.as_secs_f64(),
            ms(from_image),
            from_image.as_secs_f64() / floor.as_secs_f64(),
        );
        for (from, took) in [("the log", from_log), ("an image", from_image)] {
            table.row(Row {
                case: format!(
                    "{} samples in the log: restart from {from}",
                    figure(f64::from(total * SERIES))
                ),
                unit: "ms",
                ours: vec![ms(took)],
                beside: "the log read and its sums checked",
                theirs: vec![ms(floor)],
                ..Row::default()
            });
        }
    }
    std::fs::remove_dir_all(&data).expect("clean up");
    table.write();
}

fn ms(wall: Wall) -> f64 {
    wall.as_secs_f64() * 1_000.0
}
