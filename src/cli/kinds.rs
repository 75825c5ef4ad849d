//! `ops receivers` and `ops actions`: the kinds that can be configured, each with an example that works as it stands.

use std::fmt::Write as _;

/// One kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// YAML that can be pasted: settings for receivers, a rule for actions.
    pub example: &'static str,
}

/// The kinds of receivers.
pub const RECEIVERS: &[Kind] = &[
    Kind {
        name: "email",
        about: "Mail to one or more addresses. A rule may also name an address directly: notify: [oncall@opm.gov].",
        example: "\
# ops.yaml
global:
  smtp_smarthost: mail.opm.gov:587
  smtp_from: ops@opm.gov
  smtp_auth_username: ops
  smtp_auth_password_file: /run/secrets/smtp_password
receivers:
- name: oncall
  email_configs:
  - to: oncall@opm.gov
",
    },
    Kind {
        name: "webhook",
        about: "A POST with Alertmanager's JSON, signed if it has an hmac_secret. A rule may also name a URL directly: notify: [\"webhook:https://…\"].",
        example: "\
# ops.yaml
receivers:
- name: pager_duty
  fallback: oncall        # told as well if this one refuses a page, or does not accept it …
  fallback_after: 2m      # … for so long
  webhook_configs:
  - url: https://pager.opm.gov/webhook
    hmac_secret_env: PAGER_HMAC_SECRET
    timeout: 10s
- name: oncall
  email_configs:
  - to: oncall@opm.gov
",
    },
];

/// The kinds of actions.
pub const ACTIONS: &[Kind] = &[Kind {
    name: "script",
    about: "A program below scripts/. It gets the incident as JSON on stdin, may write {\"changed\":true,\"message\":\"…\"} to $OPS_RESULT, and fails by its exit code. No shell is involved. Short forms: auto_heal: scripts/restart_vote_api.sh, or action: \"ROLLBACK:DOCKET_RULE\", which means scripts/rollback_docket_rule.sh.",
    example: "\
# alerts/vote_api.yml
metric: vote_api_ms
window: 3m
threshold: 1000
notify: [oncall@opm.gov]
heal:
  target: instance
  limit: 3 in 1h
  backoff: 30s..10m
  settle: 30s
  within: 5m
  hold: 1m
  page: after_heal
  steps:
  - run: [scripts/restart_vote_api.sh, $instance]
    timeout: 60s
",
}];

/// The receivers' text.
pub fn receivers() -> String {
    told(RECEIVERS)
}

/// The actions' text.
pub fn actions() -> String {
    told(ACTIONS)
}

fn told(kinds: &[Kind]) -> String {
    let mut out = String::new();
    for (i, kind) in kinds.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "{}\n  {}\n", kind.name, kind.about);
        for line in kind.example.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, read_rules, read_settings};
    use crate::model::written::Problem;

    fn source(kind: &Kind) -> SourceFile {
        SourceFile {
            path: kind.name.to_owned(),
            shown: kind.name.to_owned(),
            text: kind.example.to_owned(),
        }
    }

    fn none(problems: &[Problem]) {
        let told: Vec<String> = problems.iter().map(Problem::brief).collect();
        assert!(told.is_empty(), "{told:#?}");
    }

    #[test]
    fn every_receiver_example_works() {
        for kind in RECEIVERS {
            let (settings, problems) = read_settings(&source(kind), &|_| Ok("secret".to_owned()));
            none(&problems);
            assert!(!settings.receivers.is_empty(), "{}", kind.name);
        }
    }

    #[test]
    fn every_action_example_works() {
        for kind in ACTIONS {
            let (rules, problems) = read_rules(&source(kind));
            none(&problems);
            assert!(rules.alerting().all(|r| r.heal.is_some()) && rules.count() > 0);
        }
    }
}
