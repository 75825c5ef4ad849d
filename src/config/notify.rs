//! Who is paged: one entry of a rule's `notify`.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::config::receivers::{WEBHOOK_TIMEOUT, Way};
use crate::model::secret::Secret;

/// What a `notify` entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notify {
    /// It says itself how to reach someone.
    Way(Way),
    /// The name of a receiver from the settings.
    Receiver(String),
    /// Well written, but of a kind that cannot be reached yet.
    Later {
        /// Such as `sms`.
        kind: &'static str,
    },
}

/// Kinds that entries may have in future.
const LATER: &[&str] = &["sms", "slack"];

/// Reads an entry: an e-mail address, a receiver's name, `webhook:https://…`, `sms:+1555…`, `slack:#channel`.
///
/// # Errors
/// What is wrong with it, as a sentence for its author.
pub fn parse_notify(entry: &str) -> Result<Notify, String> {
    if entry.is_empty() || entry.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "`{}` is empty or holds a space",
            entry.escape_debug()
        ));
    }
    if let Some((kind, rest)) = entry.split_once(':') {
        if let Some(kind) = LATER.iter().find(|k| **k == kind) {
            return if rest.is_empty() {
                Err(format!("`{kind}:` lacks whom to tell"))
            } else {
                Ok(Notify::Later { kind })
            };
        }
        return match kind {
            "webhook" => {
                check_url(rest)?;
                Ok(Notify::Way(Way::Webhook {
                    url: Secret::new(rest.to_owned()),
                    bearer: None,
                    hmac_secret: None,
                    send_resolved: true,
                    max_alerts: 0,
                    timeout: WEBHOOK_TIMEOUT,
                }))
            }
            "mailto" => address(rest),
            "http" | "https" => Err("a URL needs its kind: `webhook:https://…`".to_owned()),
            _ => Err(format!(
                "`{kind}:` is no kind of receiver; there are `webhook:`, `sms:` and `slack:`"
            )),
        };
    }
    if entry.contains('@') {
        return address(entry);
    }
    if entry
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
    {
        Ok(Notify::Receiver(entry.to_owned()))
    } else {
        Err(format!(
            "`{}` is neither an e-mail address nor a receiver's name",
            entry.escape_debug()
        ))
    }
}

fn address(text: &str) -> Result<Notify, String> {
    check_address(text)?;
    Ok(Notify::Way(Way::Email {
        to: text.to_owned(),
    }))
}

/// Whether a text can be an e-mail address; `Ann <ann@x.gov>` is not, `ann@x.gov` is.
///
/// # Errors
/// What is wrong with it.
pub fn check_address(text: &str) -> Result<(), String> {
    let bad = || format!("`{}` is not an e-mail address", text.escape_debug());
    let (local, domain) = text.rsplit_once('@').ok_or_else(bad)?;
    let local_fine = !local.is_empty()
        && local.len() <= 64
        && !local.contains(|c: char| {
            c.is_whitespace() || c.is_control() || "@<>()[],;:\\\"".contains(c)
        });
    let domain_fine = domain.len() <= 253
        && domain.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.chars().all(|c| c.is_alphanumeric() || c == '-')
        });
    if local_fine && domain_fine {
        Ok(())
    } else {
        Err(bad())
    }
}

/// Whether a text can be a webhook's URL.
///
/// # Errors
/// What is wrong with it, without showing it: URLs hold secrets.
pub fn check_url(text: &str) -> Result<(), String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or("a webhook's URL begins with `https://` or `http://`")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    if host.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("this URL has no host, or holds a space".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_apart() {
        assert_eq!(
            parse_notify("oncall@opm.gov"),
            Ok(Notify::Way(Way::Email {
                to: "oncall@opm.gov".into()
            }))
        );
        assert_eq!(
            parse_notify("pager_duty"),
            Ok(Notify::Receiver("pager_duty".into()))
        );
        assert_eq!(
            parse_notify("sms:+15551234"),
            Ok(Notify::Later { kind: "sms" })
        );
        assert!(matches!(
            parse_notify("webhook:https://x.gov/a?b#c"),
            Ok(Notify::Way(Way::Webhook { .. }))
        ));
        for bad in [
            "",
            "a b",
            "@x",
            "a@",
            "a@b..c",
            "https://x",
            "webhook:ftp://x",
            "webhook:https:///",
            "fax:1",
            "a@x\r\nBcc:b@y",
            "sms:",
        ] {
            assert!(parse_notify(bad).is_err(), "{bad}");
        }
    }
}
