//! Targets that speak TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::serving;
use crate::lab::{free_port, lacks, until};

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TLS server with a certificate of its own, by Python; `None` where Python or openssl is missing.
fn tls_target(dir: &Path) -> Option<(Ended, u16)> {
    std::fs::create_dir_all(dir).unwrap();
    let path = |name: &str| dir.join(name);
    let (conf, key, cert) = (path("conf"), path("key.pem"), path("cert.pem"));
    // Who is a certificate authority may not be a server.
    let text = "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=localhost\n\
                [ext]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n";
    std::fs::write(&conf, text).unwrap();
    let kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let made = Command::new("openssl")
        .args(kind.split(' '))
        .args([Path::new("-config"), &conf, Path::new("-keyout"), &key])
        .args([Path::new("-out"), &cert])
        .stderr(Stdio::null())
        .status();
    let program = "import http.server,ssl,sys\n\
        class H(http.server.BaseHTTPRequestHandler):\n\
        \x20def do_GET(self):\n\
        \x20 self.send_response(200);self.send_header('content-length','6');self.end_headers();self.wfile.write(b'tls 1\\n')\n\
        \x20def log_message(self,*a):pass\n\
        s=http.server.ThreadingHTTPServer(('127.0.0.1',int(sys.argv[1])),H)\n\
        c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER);c.load_cert_chain(sys.argv[2],sys.argv[3])\n\
        s.socket=c.wrap_socket(s.socket,server_side=True);s.serve_forever()\n";
    let port = free_port();
    let server = Command::new("python3")
        .args(["-c", program, &port.to_string()])
        .args([&cert, &key])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match (made, server) {
        (Ok(made), Ok(server)) if made.success() => Some((Ended(server), port)),
        _ => {
            lacks("python3 or openssl");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_speak_tls_if_it_is_trusted() {
    let dir = std::env::temp_dir().join(format!("ops-ingest-tls-{}", std::process::id()));
    let Some((_server, port)) = tls_target(&dir) else {
        return;
    };
    let cert = dir.join("cert.pem").display().to_string();
    let mut settings = "global: {scrape_interval: 500ms}\nscrape_configs:\n".to_owned();
    for (name, tls) in [
        ("trusted", format!("{{ca_file: {cert}}}")),
        ("careless", "{insecure_skip_verify: true}".to_owned()),
        ("stranger", "{insecure_skip_verify: false}".to_owned()),
    ] {
        settings += &format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {tls}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n"
        );
    }
    let lab = serving(&settings).await;
    until("those who trust it reach it", async || {
        lab.last("up", "trusted").await == Some(1.0)
            && lab.last("up", "careless").await == Some(1.0)
    })
    .await;
    until("the stranger has tried", async || {
        lab.last("up", "stranger").await.is_some()
    })
    .await;
    assert_eq!(lab.last("up", "stranger").await, Some(0.0));
    let _ = std::fs::remove_dir_all(&dir);
}
