//! `ops serve`: the engine with everything around it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock, mpsc};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{self, Api};
use crate::cli::flags::{Flags, LogFormat, Options, options};
use crate::config::settings::Durability;
use crate::engine::Input;
use crate::engine::intake::Batch;
use crate::engine::state::State;
use crate::engine::transcript;
use crate::model::labels::{Labels, SeriesKey};
use crate::model::time::Duration;
use crate::shell::deliver::Deliver;
use crate::shell::drive::Handle;
use crate::shell::drive::start::Start;
use crate::shell::load::{Loaded, Loader, Places, watch};
use crate::shell::scrape;

/// Runs until SIGTERM or Ctrl-C.
pub fn run(flags: Flags) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(async {
            match Server::start(&flags).await {
                Ok(server) => server.until_stopped().await,
                Err(error) => {
                    eprintln!("error: {error}");
                    ExitCode::FAILURE
                }
            }
        }),
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long samples are kept where the settings do not say.
const RETENTION: Duration = Duration::from_hours(24);

/// How often an image of the windows is written where the settings do not say.
const SNAPSHOT_INTERVAL: Duration = Duration::from_mins(5);

/// Logs go to standard error; `RUST_LOG` chooses what.
fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("ops=info,warn"));
    let to = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call in one process (tests) keeps the first.
    let _ = match format {
        LogFormat::Json => to.json().try_init(),
        LogFormat::Text => to.with_ansi(false).with_target(false).try_init(),
    };
}

/// A running engine with its API.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The door to its threads.
    pub handle: Handle,
    listener: TcpListener,
    api: Api,
    reload: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Refuses to be reachable from elsewhere without tokens.
fn check_exposure(address: SocketAddr, loaded: &Loaded) -> Result<(), String> {
    if address.ip().is_loopback() || !loaded.settings.tokens.is_empty() {
        return Ok(());
    }
    Err(format!(
        "listening on {address} would let everyone on the network push metrics and run heals: set `auth.tokens` in ops.yaml, or listen on 127.0.0.1"
    ))
}

impl Server {
    /// Loads, folds the logs, starts the threads and binds the address.
    ///
    /// # Errors
    /// A sentence for the person who starts it.
    pub async fn start(flags: &Flags) -> Result<Server, String> {
        let (settings, ..) = flags.settings()?;
        let Options {
            config,
            root,
            listen,
            data,
            alerts,
            scripts,
            runbooks,
            tick,
            log_format,
            ..
        } = options(flags, &settings);
        log_to_stderr(log_format);
        std::fs::create_dir_all(&data)
            .map_err(|e| format!("the data folder {}: {e}", data.display()))?;
        // Scripts run elsewhere, so their place must not depend on where we are.
        let data = data
            .canonicalize()
            .map_err(|e| format!("the data folder {}: {e}", data.display()))?;
        let places = Places {
            config,
            root: root.clone(),
            scripts,
            runbooks: runbooks.clone(),
            alerts,
            data: data.clone(),
        };
        let mut loader = Loader::new(places.clone());
        let current: Arc<RwLock<Loaded>> = loader.current();
        let loaded = loader.load().unwrap_or_default();
        let retention = loaded.settings.retention.unwrap_or(RETENTION);
        report(&loaded);

        let address = listen
            .to_socket_addrs()
            .ok()
            .and_then(|mut a| a.next())
            .ok_or_else(|| format!("`{listen}` is no address to listen on: write host:port"))?;
        check_exposure(address, &loaded)?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| format!("cannot listen on {address}: {e}"))?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;

        let start = Start {
            data: &data,
            policy: loaded.policy.clone(),
            tick,
            retention,
            snapshot_interval: loaded
                .settings
                .snapshot_interval
                .unwrap_or(SNAPSHOT_INTERVAL),
            sync_every: match loaded.settings.durability {
                None | Some(Durability::Sync) => None,
                Some(Durability::Every(every)) => Some(every),
            },
        };
        let ready = start
            .open()
            .map_err(|e| format!("the data folder {}: {e}", data.display()))?;
        let handle = ready.handle();
        let deliver = Deliver {
            handle: handle.clone(),
            loaded: current.clone(),
            places,
            url: format!("http://{address}"),
            carrier: Arc::default(),
        };
        deliver.keep_reserve();
        let runtime = tokio::runtime::Handle::current();
        let thread = ready.go(move |effect| {
            let _inside = runtime.enter();
            deliver.carry(effect);
        });
        if log_format == LogFormat::Text {
            print_transcript(&handle).await;
        }
        let (reload, reloads) = mpsc::channel();
        let engine = handle.clone();
        watch(loader, reloads, reload.clone(), move |loaded| {
            report(&loaded);
            engine.tell(Input::Policy(loaded.policy.clone()));
        });
        tokio::spawn(push_own_series(handle.clone(), current.clone()));
        tokio::spawn(scrape::run(handle.clone(), current.clone(), root));
        let api = Api {
            handle: handle.clone(),
            loaded: current,
            reload: reload.clone(),
            data,
            runbooks,
            exposed: !address.ip().is_loopback(),
        };
        Ok(Server {
            address,
            handle,
            listener,
            api,
            reload,
            thread,
        })
    }

    /// Serves until SIGTERM or Ctrl-C, then stops in order: no new requests, commit, snapshot.
    pub async fn until_stopped(self) -> ExitCode {
        let (Ok(mut term), Ok(mut hup)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            eprintln!("error: signals cannot be caught");
            return ExitCode::FAILURE;
        };
        tracing::info!(address = %self.address, "Listening.");
        let reload = self.reload.clone();
        let shutdown = async move {
            loop {
                tokio::select! {
                    _ = term.recv() => return,
                    _ = tokio::signal::ctrl_c() => return,
                    _ = hup.recv() => drop(reload.send(()).is_ok()),
                }
            }
        };
        if let Err(error) = api::serve(self.listener, api::router(self.api), shutdown).await {
            tracing::error!(%error, "No longer listening.");
        }
        let stopping = self.handle.stop();
        if tokio::time::timeout(Duration::from_secs(10).std(), stopping)
            .await
            .is_err()
        {
            tracing::warn!("The engine did not stop in time; its logs are complete all the same.");
            return ExitCode::FAILURE;
        }
        let _ = self.thread.join();
        tracing::info!("Stopped.");
        ExitCode::SUCCESS
    }
}

/// Problems of one load that are written to the log; `ops check` shows all.
const PROBLEMS_LOGGED_MAX: usize = 20;

fn report(loaded: &Loaded) {
    for (problem, _) in loaded.problems.0.iter().take(PROBLEMS_LOGGED_MAX) {
        tracing::warn!(code = problem.code, "{}", problem.brief());
    }
    let more = loaded.problems.0.len().saturating_sub(PROBLEMS_LOGGED_MAX);
    if more > 0 {
        tracing::warn!(more, "More problems: see `ops check`.");
    }
    tracing::info!(
        rules = loaded.rule_count(),
        problems = loaded.problems.0.len(),
        "Rules loaded."
    );
}

/// What `ops` measures about itself, for boards and people's own rules. One of them every few seconds also shows whether
/// the sample log takes records, when nobody else pushes.
async fn push_own_series(handle: Handle, loaded: Arc<RwLock<Loaded>>) {
    let mut beat = tokio::time::interval(Duration::from_secs(5).std());
    loop {
        beat.tick().await;
        let status = &handle.status;
        let broken = {
            let loaded = loaded
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            loaded.policy.broken.len() as u64
        };
        let own = [
            ("ops_rule_files_broken", broken),
            (
                "ops_log_damaged_places",
                status.damaged_total.load(Ordering::Relaxed),
            ),
            (
                "ops_ticks_skipped_total",
                status.skipped_total.load(Ordering::Relaxed),
            ),
        ];
        let mut batch = Batch::default();
        for (name, value) in own {
            let key = SeriesKey::new(name, &Labels::new());
            batch.push(key.bytes(), None, value as f64);
        }
        if let Err(error) = handle.push(batch).await {
            tracing::debug!(%error, "Own series not stored.");
        }
    }
}

/// The story on standard output, one line for each thing that a person would want to know.
async fn print_transcript(handle: &Handle) {
    let mut entries = handle.entries();
    let mut state: State = handle
        .ask(|view| view.state.clone())
        .await
        .unwrap_or_default();
    tokio::spawn(async move {
        while let Some(entry) = entries.next().await {
            // The whole entry first: what was decided about an incident stands behind its opening.
            state.apply(&entry);
            for event in &entry.events {
                if let Some(line) = transcript::banner(event, &state) {
                    println!("{}  {line}", entry.at.clock());
                }
            }
        }
    });
}
