//! Asking targets for their metrics. A task per target waits for its slot, asks, and hands what
//! [`ingest::scrape`](crate::ingest::scrape) makes of the answer to the engine's door; a target that hangs holds up
//! nobody else. This one looks who is to be asked, and begins and ends these tasks.

mod client;
mod discover;
pub mod seen;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::config::Settings;
use crate::config::scrape::{Scrape, Target};
use crate::model::time::Duration;
use crate::shell::drive::Handle;
use crate::shell::load::Loaded;
use crate::shell::scrape::client::Client;
use crate::shell::scrape::discover::Discovery;
use crate::shell::scrape::seen::Identity;

/// Time between two looks for what has changed: settings, and files that name targets.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Targets that are asked; more are left out, and it is said.
const TARGETS_COUNT_MAX: usize = 20_000;

/// A job and how its targets are asked.
struct Job {
    scrape: Scrape,
    client: Client,
}

/// What a target's task goes by.
struct Plan {
    job: Arc<Job>,
    target: Target,
    /// Why it is not even asked.
    refused: Option<String>,
}

impl Plan {
    fn identity(&self) -> Identity {
        let target = &self.target;
        let job = self.job.scrape.job.clone();
        (job, target.labels.clone(), target.url.clone())
    }
}

/// Asks until the process ends. Files are named from `root`.
pub async fn run(handle: Handle, loaded: Arc<RwLock<Loaded>>, root: PathBuf) {
    let mut settings: Option<Arc<Settings>> = None;
    let (mut jobs, mut discovery) = (Vec::new(), Discovery::new(root.clone()));
    let mut running: BTreeMap<Identity, watch::Sender<Arc<Plan>>> = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK_EVERY.std());
    loop {
        look.tick().await;
        let newest = loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .settings
            .clone();
        let same = settings.as_ref().is_some_and(|s| Arc::ptr_eq(s, &newest));
        if !same {
            jobs = newest.scrapes.iter().map(|s| job(s, &root)).collect();
            settings = Some(newest);
        }
        if !discovery.look(&jobs, !same, handle.clock.now()) {
            continue;
        }
        let wanted = plans(&jobs, &mut discovery);
        // A task whose sender is gone says that its series have ended.
        running.retain(|identity, _| wanted.contains_key(identity));
        for (identity, plan) in wanted {
            match running.get(&identity) {
                Some(task) => drop(task.send_replace(Arc::new(plan))),
                None => {
                    let (sender, plan) = watch::channel(Arc::new(plan));
                    tokio::spawn(target::ask_in_turn(handle.clone(), plan));
                    running.insert(identity, sender);
                }
            }
        }
    }
}

fn job(scrape: &Scrape, root: &std::path::Path) -> Arc<Job> {
    Arc::new(Job {
        scrape: scrape.clone(),
        client: Client::new(&scrape.http, root),
    })
}

/// Everybody who is to be asked now.
fn plans(jobs: &[Arc<Job>], discovery: &mut Discovery) -> BTreeMap<Identity, Plan> {
    let mut plans = BTreeMap::new();
    let mut left_out = 0_usize;
    for job in jobs {
        let name = &job.scrape.job;
        let mut found = BTreeMap::new();
        for group in discovery.groups(&job.scrape) {
            for address in &group.targets {
                match job.scrape.target(address, &group.labels) {
                    Ok(Some(target)) => {
                        found.insert((target.labels.clone(), target.url.clone()), target);
                    }
                    Ok(None) => {}
                    Err(why) => {
                        tracing::warn!(job = %name, %address, %why, "Target not asked.");
                    }
                }
            }
        }
        let limit = job.scrape.samples.limits.targets;
        let refused = limit.filter(|limit| found.len() > *limit).map(|limit| {
            format!(
                "the job has {} targets; the limit (`target_limit`) is {limit}",
                found.len()
            )
        });
        for target in found.into_values() {
            if plans.len() >= TARGETS_COUNT_MAX {
                left_out += 1;
                continue;
            }
            let plan = Plan {
                job: job.clone(),
                target,
                refused: refused.clone(),
            };
            plans.insert(plan.identity(), plan);
        }
    }
    if left_out > 0 {
        tracing::error!(
            left_out,
            limit = TARGETS_COUNT_MAX,
            "Too many targets; some are not asked."
        );
    }
    plans
}
