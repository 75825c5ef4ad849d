//! How long it takes from the sample that breaches to `exec` of the script and to the first byte at the webhook: the real
//! program, 10,000 rules, and single-sample pushes at half the rate that it takes at most. The floor is one tick: a
//! breach waits for the next one, half a tick on average. The script's interpreter is this program, which notes when its
//! `main` begins: a shell would add its own start.
//!
//! `cargo bench --bench delay`

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use receiver::Receiver;
use table::{Row, Table};

#[expect(dead_code, reason = "shared with benches that send remote write")]
mod receiver;
#[expect(dead_code, reason = "shared with benches that send remote write")]
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;
mod table;

const RULES: usize = 10_000;
const TRIALS: usize = 300;
/// Every so manyth rule breaches once.
const STRIDE: usize = RULES / TRIALS;
const CONNECTIONS: usize = 16;
const TICK_MS: f64 = 1_000.0;

/// Wall clock, ns: the script's clock is another process's, so monotonic time cannot be compared.
fn now_ns() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos())
}

/// A webhook that notes when the first byte about each rule came.
fn webhook() -> (u16, Arc<Mutex<BTreeMap<String, u128>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let seen: Arc<Mutex<BTreeMap<String, u128>>> = Arc::default();
    let told = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = told.clone();
            std::thread::spawn(move || answer(stream, &told));
        }
    });
    (port, seen)
}

fn answer(mut stream: TcpStream, told: &Mutex<BTreeMap<String, u128>>) {
    let (mut text, mut buffer, mut at) = (Vec::new(), [0_u8; 16_384], 0);
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            return;
        }
        if text.is_empty() {
            at = now_ns();
        }
        text.extend_from_slice(&buffer[..n]);
        let whole = String::from_utf8_lossy(&text);
        let Some((head, body)) = whole.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|l| l.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, v)| v.parse::<usize>().ok());
        if length.is_none_or(|n| body.len() < n) {
            continue;
        }
        if let Some(name) = body
            .split("\"alertname\":\"")
            .nth(1)
            .and_then(|r| r.split('"').next())
        {
            told.lock()
                .expect("not poisoned")
                .entry(name.to_owned())
                .or_insert(at);
        }
        text.clear();
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .is_err()
        {
            return;
        }
    }
}

/// This program as what runs the script of a rule: the time at which it began, in a file of the rule's name.
fn as_script(rule: &OsStr, at: u128) {
    let script = std::env::args_os().nth(1).expect("the script");
    let dir = Path::new(&script).parent().and_then(Path::parent);
    let dir = dir.expect("two folders");
    std::fs::write(dir.join("started").join(rule), at.to_string()).expect("a file");
}

fn prepare(dir: &Path, hook: u16) {
    for sub in ["scripts", "started"] {
        std::fs::create_dir_all(dir.join(sub)).expect("a folder");
    }
    let mut rules = String::new();
    for i in 0..RULES {
        let _ = write!(
            rules,
            "---\nname: r{i}\nmetric: m{i}\nwindow: 3m\nthreshold: 1000\naggregate: last\nnotify: [hook]\nauto_heal: scripts/fix.sh\n"
        );
        if i % 2_000 == 1_999 {
            std::fs::write(dir.join(format!("alerts/part{i}.yml")), &rules).expect("rules");
            rules.clear();
        }
    }
    let own = std::env::current_exe().expect("this program");
    let script = dir.join("scripts/fix.sh");
    std::fs::write(&script, format!("#!{}\n", own.display())).expect("the script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("mode");
    let settings = format!(
        "receivers:\n- name: hook\n  webhook_configs:\n  - url: http://127.0.0.1:{hook}/\n"
    );
    std::fs::write(dir.join("ops.yaml"), settings).expect("settings");
}

/// One push, answered.
fn push(stream: &mut TcpStream, metric: &str, value: f64) {
    let body = format!("{{\"name\":\"{metric}\",\"val\":{value}}}");
    let head = format!(
        "POST /metric HTTP/1.1\r\nhost: ops\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("write");
    let (mut reply, mut buffer) = (Vec::new(), [0_u8; 1_024]);
    while !reply.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut buffer).expect("read");
        assert!(n > 0, "ops closed the connection");
        reply.extend_from_slice(&buffer[..n]);
    }
    assert!(
        reply.starts_with(b"HTTP/1.1 204"),
        "{}",
        String::from_utf8_lossy(&reply)
    );
}

/// Pushes on several connections until told to stop: each as fast as it can, or with a pause after each push.
fn load(
    port: u16,
    pause: Option<Duration>,
    stop: &Arc<AtomicBool>,
) -> (Arc<AtomicU64>, Vec<std::thread::JoinHandle<()>>) {
    let count: Arc<AtomicU64> = Arc::default();
    let threads = (0..CONNECTIONS).map(|lane| {
        let (count, stop) = (count.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
            stream.set_nodelay(true).expect("nodelay");
            let mut due = Instant::now();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // The rules that will breach are left alone: a good sample would calm them.
                let metric = (lane + n * CONNECTIONS) % RULES;
                let metric = metric + usize::from(metric.is_multiple_of(STRIDE));
                push(&mut stream, &format!("m{metric}"), 5.0);
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(pause) = pause {
                    due += pause;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
        })
    });
    let threads = threads.collect();
    (count, threads)
}

fn rate(port: u16, pause: Option<Duration>, lasts: Duration) -> f64 {
    let stop: Arc<AtomicBool> = Arc::default();
    let started = Instant::now();
    let (count, threads) = load(port, pause, &stop);
    std::thread::sleep(lasts);
    stop.store(true, Ordering::Relaxed);
    threads
        .into_iter()
        .for_each(|t| t.join().expect("a pusher"));
    count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = (sorted.len() as f64 * q).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

fn report(table: &mut Table, what: &str, mut delays: Vec<f64>, trials: usize) {
    delays.sort_by(f64::total_cmp);
    let [p50, p90, p99, most] = [0.5, 0.9, 0.99, 1.0].map(|q| quantile(&delays, q));
    println!(
        "breach → {what:<24} {:>4} of {trials}   p50 {p50:>5.0} ms   p90 {p90:>5.0} ms   p99 {p99:>5.0} ms   max {most:>5.0} ms   p99 in ticks {:.3}",
        delays.len(),
        p99 / TICK_MS,
    );
    let mut row = |case: String, ours: f64, unit, most| {
        table.row(Row {
            case: format!("from the breach to {what}: {case}"),
            unit,
            ours: vec![ours],
            most,
            ..Row::default()
        });
    };
    row("p50".to_owned(), p50, "ms", None);
    row("p99".to_owned(), p99, "ms", Some(TICK_MS + 20.0));
    let lost = trials.saturating_sub(delays.len());
    row(
        format!("lost, of {trials}"),
        lost as f64,
        "breaches",
        Some(0.0),
    );
}

fn main() {
    let begun = now_ns();
    if let Some(rule) = std::env::var_os("OPS_RULE") {
        return as_script(&rule, begun);
    }
    let mut table = Table::open("delay", &[]);
    let (hook, told) = webhook();
    let ops = Receiver::start("ops", env!("CARGO_BIN_EXE_ops"), "", |dir, port| {
        prepare(dir, hook);
        let listen = format!("127.0.0.1:{port}");
        ["serve", "--listen", &listen].map(str::to_owned).to_vec()
    });
    let ops = ops.expect("ops starts");
    let (port, dir) = (ops.port, &ops.folder);
    let trials = table.size(TRIALS, TRIALS / 10);
    rate(port, None, Duration::from_secs(1));
    let most = rate(port, None, Duration::from_secs(4));
    let pause = Duration::from_secs_f64(CONNECTIONS as f64 / (most / 2.0));

    let stop: Arc<AtomicBool> = Arc::default();
    let (count, threads) = load(port, Some(pause), &stop);
    let started = Instant::now();
    let mut breached = Vec::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for i in 0..trials {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_millis(50 + seed % 100));
        let name = i * STRIDE;
        let at = now_ns();
        push(&mut stream, &format!("m{name}"), 2_000.0);
        breached.push((format!("r{name}"), at));
    }
    let pushed = count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(3));
    stop.store(true, Ordering::Relaxed);
    threads
        .into_iter()
        .for_each(|t| t.join().expect("a pusher"));
    println!(
        "{RULES} rules, tick {TICK_MS} ms; at most {most:.0} pushes/s, {pushed:.0} while measured"
    );
    let told = told.lock().expect("not poisoned").clone();
    let since = |at: u128, then: u128| then.saturating_sub(at) as f64 / 1e6;
    let hooks = breached
        .iter()
        .filter_map(|(name, at)| Some(since(*at, *told.get(name)?)));
    let all: Vec<f64> = hooks.collect();
    report(&mut table, "the webhook's first byte", all, trials);
    let starts = breached.iter().filter_map(|(name, at)| {
        let text = std::fs::read_to_string(dir.join("started").join(name)).ok()?;
        Some(since(*at, text.parse().ok()?))
    });
    let all: Vec<f64> = starts.collect();
    report(&mut table, "the script's main", all, trials);
    drop(ops);
    table.write();
}
