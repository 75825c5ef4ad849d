//! A real mail server: tests/smtp_server.py, run for one test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::lab::lacks;

/// aiosmtpd in one of its modes; ends with this value.
pub(crate) struct Server {
    child: Child,
    _stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) port: u16,
    pub(crate) ca: Option<PathBuf>,
}

impl Server {
    /// None where the test tools are not installed; in CI that is a failure.
    pub(crate) fn start(mode: &str) -> Option<Server> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = std::env::var_os("OPS_TEST_TOOLS")
            .map_or_else(|| root.join("target/test-tools"), PathBuf::from);
        let python = root.join(tools).join("python/bin/python");
        if !python.exists() {
            lacks(&python.display().to_string());
            return None;
        }
        let mut child = Command::new(python)
            .arg(root.join("tests/smtp_server.py"))
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let hello = read_json(&mut stdout);
        Some(Server {
            child,
            _stdin: stdin,
            stdout,
            port: hello["port"].as_u64().expect("a port") as u16,
            ca: hello["ca"].as_str().map(PathBuf::from),
        })
    }

    /// The next mail it accepted, as Python's own parser read it.
    pub(crate) fn received(&mut self) -> Value {
        read_json(&mut self.stdout)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_json(from: &mut impl BufRead) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("JSON")
}
