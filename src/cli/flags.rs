//! Flags of all commands, and what they mean together with the environment and `ops.yaml`: flags beat environment beat
//! `ops.yaml` beat defaults.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::cli::Output;
use crate::config::{Settings, SourceFile, read_settings};
use crate::model::time::Duration;
use crate::model::written::Problem;
use crate::shell::load::files::read_lossy;
use crate::shell::load::resolve;

/// Where the engine listens if nobody says otherwise.
pub const LISTEN: &str = "127.0.0.1:9900";
/// The settings file if nobody says otherwise; it need not exist.
pub const CONFIG: &str = "ops.yaml";

/// The flags, as given.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Settings file [default: ops.yaml, if it is there]
    #[arg(
        short,
        long,
        global = true,
        env = "OPS_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:9900]
    #[arg(
        long,
        global = true,
        env = "OPS_LISTEN",
        value_name = "HOST:PORT",
        hide_env_values = true
    )]
    pub listen: Option<String>,
    /// Host to listen on, in place of the one in --listen
    #[arg(long, global = true, env = "OPS_HOST", hide_env_values = true)]
    pub host: Option<String>,
    /// Port to listen on, in place of the one in --listen
    #[arg(long, global = true, env = "OPS_PORT", hide_env_values = true)]
    pub port: Option<Port>,
    /// Data folder [default: data]
    #[arg(
        long,
        global = true,
        env = "OPS_DATA",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub data: Option<PathBuf>,
    /// Folder of rule files [default: alerts]
    #[arg(
        long,
        global = true,
        env = "OPS_ALERTS",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub alerts: Option<PathBuf>,
    /// Folder of scripts [default: scripts]
    #[arg(
        long,
        global = true,
        env = "OPS_SCRIPTS",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub scripts: Option<PathBuf>,
    /// Folder of runbooks [default: runbooks]
    #[arg(
        long,
        global = true,
        env = "OPS_RUNBOOKS",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub runbooks: Option<PathBuf>,
    /// How often rules are evaluated [default: 1s]
    #[arg(long, global = true, env = "OPS_TICK", value_name = "DURATION", value_parser = above_zero, hide_env_values = true)]
    pub tick: Option<Duration>,
    /// How logs are written [default: text]
    #[arg(long, global = true, env = "OPS_LOG_FORMAT", hide_env_values = true)]
    pub log_format: Option<LogFormat>,
    /// Where this runs [default: development]
    #[arg(long, global = true, env = "OPS_ENVIRONMENT", hide_env_values = true)]
    pub environment: Option<Environment>,
    /// Engine that client commands talk to [default: http://127.0.0.1:9900]
    #[arg(long, global = true, env = "OPS_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// How results are printed [default: text]
    #[arg(short, long, global = true, env = "OPS_OUTPUT", hide_env_values = true)]
    pub output: Option<Output>,
}

/// A port. Beside a service called `ops`, Kubernetes sets `OPS_PORT=tcp://10.0.0.1:9900`; that is not meant for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub Option<u16>);

impl FromStr for Port {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with("tcp://") {
            return Ok(Self(None));
        }
        text.parse()
            .map(|port| Self(Some(port)))
            .map_err(|_| format!("`{text}` is not a port"))
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Where the engine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// On somebody's desk.
    #[default]
    Development,
    /// Where releases are tried.
    Staging,
    /// Where it counts.
    Production,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The settings file.
    pub config: PathBuf,
    /// The project folder: where the settings file lies.
    pub root: PathBuf,
    /// `HOST:PORT`; an IPv6 host stands in brackets.
    pub listen: String,
    /// The data folder.
    pub data: PathBuf,
    /// The folder of rule files.
    pub alerts: PathBuf,
    /// The folder of scripts.
    pub scripts: PathBuf,
    /// The folder of runbooks.
    pub runbooks: PathBuf,
    /// How often rules are evaluated.
    pub tick: Duration,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Where the engine runs.
    pub environment: Environment,
}

impl Flags {
    /// The settings file that is meant.
    pub fn config_path(&self) -> PathBuf {
        given(&self.config).unwrap_or_else(|| PathBuf::from(CONFIG))
    }

    /// The project folder: where the settings file lies.
    pub fn root(&self) -> PathBuf {
        match self.config_path().parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// The settings, their problems and the text that shows them. Without a settings file all are defaults.
    ///
    /// # Errors
    /// The file was named but cannot be read, or is there but cannot be read.
    pub fn settings(&self) -> Result<(Settings, Vec<Problem>, String), String> {
        let path = self.config_path();
        let text = match read_lossy(&path) {
            Ok(text) => text,
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && given(&self.config).is_none() =>
            {
                return Ok((Settings::default(), Vec::new(), String::new()));
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let root = self.root();
        let file = SourceFile {
            path: CONFIG.to_owned(),
            shown: path.display().to_string(),
            text,
        };
        let (settings, problems) = read_settings(&file, &|secret| resolve(&root, secret));
        Ok((settings, problems, file.text))
    }
}

/// Flags and environment over `settings` over defaults. Paths in `ops.yaml`, and the default ones, are named from the
/// project folder; those in flags and environment from where the command runs.
pub fn options(flags: &Flags, settings: &Settings) -> Options {
    let root = flags.root();
    let folder = |flag: &Option<PathBuf>, set: &Option<String>, default: &str| {
        given(flag).unwrap_or_else(|| below(&root, set.as_deref().unwrap_or(default)))
    };
    Options {
        config: flags.config_path(),
        listen: listen(flags, settings),
        data: folder(&flags.data, &settings.data, "data"),
        alerts: folder(&flags.alerts, &settings.alerts, "alerts"),
        scripts: folder(&flags.scripts, &settings.scripts, "scripts"),
        runbooks: folder(&flags.runbooks, &settings.runbooks, "runbooks"),
        tick: flags
            .tick
            .or(settings.tick)
            .unwrap_or(Duration::from_secs(1)),
        log_format: flags.log_format.unwrap_or_default(),
        environment: flags.environment.unwrap_or_default(),
        root,
    }
}

fn listen(flags: &Flags, settings: &Settings) -> String {
    let listen = text(&flags.listen)
        .or(settings.listen.as_deref())
        .unwrap_or(LISTEN);
    // `:9900` and `9900` are what people write when any host, or the usual host, will do.
    let (host, port) = match listen.rsplit_once(':') {
        Some(("", port)) => ("0.0.0.0", port),
        Some((host, port)) if !port.ends_with(']') => (host, port),
        Some(_) => (listen, "9900"),
        None if listen.parse::<u16>().is_ok() => ("127.0.0.1", listen),
        None => (listen, "9900"),
    };
    let host = text(&flags.host).unwrap_or(host);
    let port = match flags.port {
        Some(Port(Some(port))) => port.to_string(),
        Some(Port(None)) | None => port.to_owned(),
    };
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// An empty variable in the environment is as good as none.
fn given(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|p| !p.as_os_str().is_empty())
}

/// The same for text.
pub fn text(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|t| !t.is_empty())
}

fn below(root: &Path, path: &str) -> PathBuf {
    if root == Path::new(".") {
        PathBuf::from(path)
    } else {
        root.join(path)
    }
}

/// A duration that is not zero.
///
/// # Errors
/// What is wrong with it.
pub fn above_zero(text: &str) -> Result<Duration, String> {
    let duration: Duration = text.parse().map_err(|e| format!("{e}"))?;
    if duration == Duration::ZERO {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_beat_settings_beat_defaults() {
        let mut settings = Settings::default();
        let mut flags = Flags::default();
        let bare = options(&flags, &settings);
        assert_eq!(bare.listen, LISTEN);
        assert_eq!(bare.alerts, Path::new("alerts"));
        assert_eq!(bare.tick, Duration::from_secs(1));
        settings.listen = Some("10.0.0.1:80".into());
        settings.alerts = Some("rules".into());
        settings.tick = Some(Duration::from_secs(5));
        flags.config = Some("/etc/ops/ops.yaml".into());
        let set = options(&flags, &settings);
        assert_eq!(set.listen, "10.0.0.1:80");
        assert_eq!(set.alerts, Path::new("/etc/ops/rules"));
        assert_eq!(set.data, Path::new("/etc/ops/data"));
        assert_eq!(set.tick, Duration::from_secs(5));
        flags.alerts = Some("mine".into());
        flags.port = Some(Port(Some(81)));
        flags.tick = Some(Duration::from_secs(2));
        let flagged = options(&flags, &settings);
        assert_eq!(flagged.listen, "10.0.0.1:81");
        assert_eq!(flagged.alerts, Path::new("mine"));
        assert_eq!(flagged.tick, Duration::from_secs(2));
    }

    #[test]
    fn hosts_and_ports_in_all_spellings() {
        for (listen, host, port, want) in [
            ("[::1]:9900", None, None, "[::1]:9900"),
            ("[::1]", None, None, "[::1]:9900"),
            (":80", None, None, "0.0.0.0:80"),
            ("81", None, None, "127.0.0.1:81"),
            ("localhost", None, Some(82), "localhost:82"),
            ("", Some("::"), None, "[::]:9900"),
        ] {
            let flags = Flags {
                listen: Some(listen.to_owned()),
                host: host.map(str::to_owned),
                port: port.map(|p| Port(Some(p))),
                ..Flags::default()
            };
            assert_eq!(options(&flags, &Settings::default()).listen, want);
        }
        assert_eq!("tcp://10.0.0.1:9900".parse(), Ok(Port(None)));
        assert!("no".parse::<Port>().is_err());
    }
}
