//! `ops demo`: a county API slows down in front of your eyes, people are paged, the rollback runs, and it is over.
//!
//! Nothing is pretended: the service pushes over HTTP, the mail goes through SMTP into a local inbox, the rollback is a
//! script that changes the file from which the service reads its rule version.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::flags::Flags;
use crate::cli::serve::Server;
use crate::model::time::Duration;
use crate::shell::inbox::{Arrival, Inbox};

const SCRIPT: &str = r#"#!/bin/sh
# Puts the previous docket rule back. The service reads its rule version from this file.
set -eu
sleep 0.4
echo previous > "$(dirname "$0")/../docket_rule"
echo '{"changed":true,"message":"docket rule put back"}' > "$OPS_RESULT"
"#;

const RULE: &str = r#"# The county API answers slowly: page, and put the docket rule back.
metric: county_api_ms
window: 15s
threshold: 1000
for: 5s
notify: ["oncall@opm.gov", pager_duty]
runbook: wiki/slow-county-api
action: "ROLLBACK:DOCKET_RULE"
heal:
  settle: 2s
  within: 30s
  hold: 4s
"#;

const RUNBOOK: &str = "# Slow county API\n\nThe county API answers in more than a second on average.\n\n- **Impact**: dockets are late.\n- **Tried already**: the docket rule was rolled back; the page says whether it helped.\n- **What to do**: look at the board, then at the county's status page.\n";

/// Runs the lab until Ctrl-C.
pub fn run(flags: Flags) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    else {
        eprintln!("error: no runtime");
        return ExitCode::FAILURE;
    };
    let scratch = std::env::temp_dir().join(format!("ops-demo-{}", std::process::id()));
    let code = runtime.block_on(async {
        match lab(&flags, &scratch).await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    });
    let _ = std::fs::remove_dir_all(&scratch);
    code
}

fn lay_out(scratch: &Path, inbox: &Inbox) -> std::io::Result<()> {
    for dir in ["alerts", "scripts", "runbooks/wiki"] {
        std::fs::create_dir_all(scratch.join(dir))?;
    }
    let settings = format!(
        "global:\n  smtp_smarthost: {}\n  smtp_from: ops@demo.example\n  smtp_require_tls: false\nreceivers:\n- name: pager_duty\n  webhook_configs:\n  - url: {}\n",
        inbox.smtp, inbox.webhook
    );
    std::fs::write(scratch.join("ops.yaml"), settings)?;
    std::fs::write(scratch.join("alerts/county_api.yml"), RULE)?;
    std::fs::write(scratch.join("runbooks/wiki/slow-county-api.md"), RUNBOOK)?;
    std::fs::write(scratch.join("docket_rule"), "previous\n")?;
    let script = scratch.join("scripts/rollback_docket_rule.sh");
    std::fs::write(&script, SCRIPT)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
}

async fn lab(flags: &Flags, scratch: &Path) -> Result<ExitCode, String> {
    let (inbox, mut arrivals) = Inbox::open()
        .await
        .map_err(|e| format!("the local inbox: {e}"))?;
    lay_out(scratch, &inbox)
        .map_err(|e| format!("the scratch folder {}: {e}", scratch.display()))?;
    let flags = Flags {
        config: Some(scratch.join("ops.yaml")),
        data: None,
        alerts: None,
        scripts: None,
        runbooks: None,
        ..flags.clone()
    };
    let server = Server::start(&flags).await?;
    let url = format!("http://{}", server.address);
    println!(
        "A county API reports how long it takes, four times a second. In 5 seconds a new docket rule makes it slow."
    );
    println!("board: {url}/board/county_api_ms\n");
    tokio::spawn(async move {
        while let Some(arrival) = arrivals.recv().await {
            match arrival {
                Arrival::Mail(mail) => println!(
                    "          inbox           mail to {}: {}",
                    mail.to.join(", "),
                    mail.subject
                ),
                Arrival::Webhook(body) => {
                    let (status, title) = (
                        body["status"].as_str().unwrap_or(""),
                        body["commonLabels"]["alertname"].as_str().unwrap_or(""),
                    );
                    println!("          inbox           webhook pager_duty: {status} {title}");
                }
            }
        }
    });
    tokio::spawn(service(url.clone(), scratch.join("docket_rule")));
    let code = server.until_stopped().await;
    drop(inbox);
    Ok(code)
}

/// The county API: quick with the previous docket rule, slow with the new one.
async fn service(url: String, rule: PathBuf) {
    let client = reqwest::Client::new();
    let mut beat = tokio::time::interval(Duration::from_ms(250).std());
    for n in 0_u64.. {
        beat.tick().await;
        if n == 20 {
            let _ = std::fs::write(&rule, "new\n");
        }
        let slow = std::fs::read_to_string(&rule).is_ok_and(|r| r.trim() == "new");
        let wobble = (n * 7_919 % 41) as f64 - 20.0;
        let val = if slow {
            1_580.0 + wobble
        } else {
            112.0 + wobble / 4.0
        };
        let body = format!(r#"{{"name":"county_api_ms","val":{val}}}"#);
        let _ = client.post(format!("{url}/metric")).body(body).send().await;
    }
}
