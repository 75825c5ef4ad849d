//! `ops dashboard`: the URL of a metric's board.

use crate::cli::Answer;
use crate::cli::client::encoded;
use crate::cli::flags::{self, Flags, above_zero, options};
use crate::model::labels::Selector;
use crate::model::time::Duration;

/// Which board.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A metric's name or a selector
    pub metric: String,
    /// How far back it looks
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = above_zero)]
    pub window: Duration,
}

/// The URL: below OPS_URL, else below `external_url` of the settings, else below the address the engine listens on.
pub fn run(flags: &Flags, args: &Args) -> Answer {
    let _: Selector = args
        .metric
        .parse()
        .map_err(|e| format!("`{}` is not a metric: {e}", args.metric))?;
    let (settings, ..) = flags.settings()?;
    let base = match (flags::text(&flags.url), &settings.external_url) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(url)) => url.clone(),
        (None, None) => format!("http://{}", reachable(&options(flags, &settings).listen)),
    };
    Ok(format!(
        "{base}/board/{}?window={}",
        encoded(&args.metric),
        args.window
    ))
}

/// An address that listens on all interfaces is reached by name.
fn reachable(listen: &str) -> String {
    for all in ["0.0.0.0:", "[::]:"] {
        if let Some(port) = listen.strip_prefix(all) {
            return format!("localhost:{port}");
        }
    }
    listen.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_has_a_url() {
        let flags = Flags {
            config: Some("Cargo.toml.none".into()),
            ..Flags::default()
        };
        let args = Args {
            metric: "up{job=\"a b\"}".into(),
            window: Duration::from_hours(1),
        };
        assert!(run(&flags, &args).is_err());
        let flags = Flags {
            url: Some("https://ops.gov/".into()),
            ..Flags::default()
        };
        assert_eq!(
            run(&flags, &args).unwrap(),
            "https://ops.gov/board/up%7Bjob%3D%22a%20b%22%7D?window=1h"
        );
        assert_eq!(reachable("0.0.0.0:1"), "localhost:1");
    }
}
