//! A program that runs as a process of its own, ours or another: started in a scratch folder, asked for its processor
//! time and memory, and sent requests of remote write. It ends with the value that stands for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::sent::packed;

/// How long a start or an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program under test.
pub struct Receiver {
    pub name: &'static str,
    command: Command,
    child: Child,
    pub port: u16,
    pub path: &'static str,
    pub folder: PathBuf,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Receiver {
    /// Starts a program in a folder of its own and waits until it answers; `None` if it is not installed. It takes
    /// remote write at `path`, or none at all if that is empty.
    pub fn start(
        name: &'static str,
        program: &str,
        path: &'static str,
        args: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("ops-bench-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("alerts")).expect("scratch folder");
        std::fs::write(folder.join("empty.yml"), "{}\n").expect("scratch folder");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let mut command = Command::new(program);
        command
            .args(args(&folder, port))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("stderr")).expect("scratch folder"));
        let child = command.spawn().ok()?;
        let mut receiver = Self {
            name,
            command,
            child,
            port,
            path,
            folder,
        };
        receiver.listens();
        Some(receiver)
    }

    fn listens(&mut self) {
        let patience = Instant::now();
        while patience.elapsed() < PATIENCE {
            // Prometheus listens before it takes anything: only an empty request that is taken says that it is there.
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && (self.path.is_empty()
                    || Connection::to(self).post(self.path, &packed(b"")).status < 300)
            {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} has ended, {status}: {}", self.name, self.told());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not listen: {}", self.name, self.told());
    }

    /// The end of what it wrote to stderr.
    fn told(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
        let from = text.len().saturating_sub(2_000);
        String::from_utf8_lossy(text.as_bytes().get(from..).unwrap_or_default()).into_owned()
    }

    /// Processor time so far, seconds.
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .expect("the receiver runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        // utime and stime, counted from the field after the name; a tick is 10 ms.
        (fields[11].parse::<f64>().expect("ticks") + fields[12].parse::<f64>().expect("ticks"))
            / 100.0
    }

    /// A page of it.
    pub fn page(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // The old version of HTTP: the answer comes in one piece, to the end of the connection.
        let head = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        tcp.write_all(head.as_bytes()).expect("sent");
        let mut text = String::new();
        tcp.read_to_string(&mut text).expect("answered");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        assert!(head.contains(" 200 "), "{path}: {text}");
        body.to_owned()
    }

    /// A counter of it, all its series added up.
    pub fn counter(&self, name: &str) -> f64 {
        let page = self.page("/metrics");
        let lines = page.lines().filter(|l| l.starts_with(name));
        let values = lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// The number that an instant query answers; 0 if it answers nothing.
    pub fn asked(&self, query: &str) -> f64 {
        let page = self.page(&format!("/api/v1/query?query={query}"));
        let value: serde_json::Value = serde_json::from_str(&page).expect("JSON");
        let value = value["data"]["result"][0]["value"][1].as_str();
        value.map_or(0.0, |v| v.parse().expect("a number"))
    }

    /// kill -9, and the same program again in the same folder.
    pub fn die_and_start_again(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.child = self.command.spawn().expect("it starts again");
        self.listens();
    }

    /// Resident memory, MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the receiver runs");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS:"))
            .unwrap_or("");
        let kib: String = line.chars().filter(char::is_ascii_digit).collect();
        kib.parse::<u64>().unwrap_or(0) / 1_024
    }
}

/// The time, ms since the epoch.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_millis() as i64
}

/// What a receiver answered.
pub struct Answer {
    pub status: u16,
    /// Its headers, in small letters.
    pub head: String,
    pub body: String,
    pub took: Duration,
}

/// A connection that is kept.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn to(receiver: &Receiver) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", receiver.port)).expect("connected");
        tcp.set_nodelay(true).expect("a socket");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self(BufReader::new(tcp))
    }

    /// Sends a body of remote write.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n\
             x-prometheus-remote-write-version: 0.1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let begun = Instant::now();
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        self.0.get_mut().write_all(&message).expect("sent");
        let (mut status, mut head, mut length) = (String::new(), String::new(), 0);
        self.0.read_line(&mut status).expect("answered");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("answered");
            if line.trim().is_empty() {
                break;
            }
            line.make_ascii_lowercase();
            if let Some(n) = line.strip_prefix("content-length:") {
                length = n.trim().parse().expect("a length");
            }
            head += &line;
        }
        let mut rest = vec![0; length];
        self.0.read_exact(&mut rest).expect("answered");
        let status = status.split(' ').nth(1).and_then(|s| s.parse().ok());
        Answer {
            status: status.expect("a status"),
            head,
            body: String::from_utf8_lossy(&rest).into_owned(),
            took: begun.elapsed(),
        }
    }

    /// Sends a body of remote write that must be taken; how long that took.
    pub fn send(&mut self, receiver: &Receiver, body: &[u8]) -> Duration {
        let answer = self.post(receiver.path, body);
        assert!(answer.status < 300, "{}: {}", answer.status, answer.body);
        answer.took
    }
}
