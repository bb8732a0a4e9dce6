//! Hot reload (specification, section 11): on SIGHUP, and when the configuration file or a `${file:}` that it reads has changed.
//!
//! A new configuration is read, checked and compiled in the background, then takes the place of the old one at once; with any problem it
//! changes nothing. What was begun under the old one ends under it: connectors that are gone are closed when nobody uses them any more.
//! That files have changed is told by the system, and in case it tells nothing they are looked at every two seconds.

use std::{env, fmt, path::PathBuf, sync::Arc, time::SystemTime};

use meshgate_api::{Str, event::timestamp};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    signal::unix::Signal,
    task::AbortHandle,
    time::{Duration, Instant, Interval, MissedTickBehavior, interval, sleep},
};

use crate::{
    assembly::Assembly,
    config::{self, Config, Files, Issue},
    gateway::{Gateway, NamedConnector, Snapshot},
    registry,
};

mod background;
mod leaving;
mod watch;

use background::in_background;
pub use leaving::Leaving;
use watch::Watch;

/// How often the files are looked at, whatever the system tells.
const POLL: Duration = Duration::from_secs(2);
/// After a first change others follow: so long nothing is read.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// How long new connectors may take until they are connected; then they are served as they are.
const CONNECTING: Duration = Duration::from_secs(5);
/// How often they are asked.
const ASKING: Duration = Duration::from_millis(20);

/// The file that is served.
#[derive(Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What was read when it was read last.
    pub files: Files,
}

/// What became of the last reload.
#[derive(Clone, Debug)]
pub struct LastReload {
    /// When, as RFC 3339 has it.
    pub time: Option<Str>,
    /// Why it was refused; empty: it is served.
    pub problems: Vec<String>,
}

/// What the last reload came to; `None` before the first.
pub type Outcome = Arc<Mutex<Option<LastReload>>>;

/// Watches the configuration and goes over to it.
pub struct Reload {
    gateway: Arc<Gateway>,
    /// What changes together while the configuration is read in the background.
    state: Arc<Mutex<State>>,
    watch: Watch,
    poll: Interval,
    outcome: Outcome,
    leaving: Leaving,
    is_over: Arc<Mutex<bool>>,
}

/// The reloads of a running gateway.
#[derive(Debug)]
pub struct Reloading {
    task: AbortHandle,
    /// Locked while one configuration takes the place of another.
    is_over: Arc<Mutex<bool>>,
}

struct State {
    source: Source,
    assembly: Assembly,
}

impl Reload {
    /// Of what `assembly` has made of `source`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, source: Source, assembly: Assembly, outcome: Outcome, leaving: Leaving) -> Self {
        let watch = Watch::of(&source.files);
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = Arc::new(Mutex::new(State { source, assembly }));
        Self { gateway, state, watch, poll, outcome, leaving, is_over: Arc::default() }
    }

    /// Watches from now on.
    pub fn start(self, hangups: Signal) -> Reloading {
        let is_over = self.is_over.clone();
        Reloading { task: tokio::spawn(self.run(hangups)).abort_handle(), is_over }
    }

    async fn run(mut self, mut hangups: Signal) {
        loop {
            let asked_for = tokio::select! {
                Some(()) = hangups.recv() => true,
                () = self.watch.touched() => {
                    sleep(DEBOUNCE).await;
                    false
                }
                _ = self.poll.tick() => {
                    if !self.state.lock().source.files.were_touched() {
                        continue;
                    }
                    false
                }
            };
            let state = self.state.clone();
            let changed = in_background(move || state.lock().source.files.have_changed()).await;
            if asked_for || changed.unwrap_or(false) {
                self.reload().await;
            }
        }
    }

    async fn reload(&mut self) {
        let (state, gateway, runtime) = (self.state.clone(), self.gateway.clone(), Handle::current());
        let (outcome, leaving, is_over) = (self.outcome.clone(), self.leaving.clone(), self.is_over.clone());
        let reloaded = in_background(move || {
            let _entered = runtime.enter();
            let next = state.lock().next()?;
            runtime.block_on(until_up(&next, &gateway.now()));
            let is_over = is_over.lock();
            if !*is_over {
                LastReload::note(&outcome, Vec::new());
                leaving.let_go(gateway.replace(next), &gateway);
            }
            Ok::<_, Vec<Issue>>(())
        });
        let problems = match reloaded.await {
            Some(Ok(())) => {
                tracing::info!(edition = self.gateway.now().edition, "the configuration is taken over");
                Vec::new()
            }
            Some(Err(issues)) => issues.iter().map(Issue::to_string).collect(),
            None => vec!["reading the configuration failed: a bug".to_owned()],
        };
        for problem in &problems {
            tracing::error!("the configuration is not taken over: {problem}");
        }
        if !problems.is_empty() {
            LastReload::note(&self.outcome, problems);
        }
        self.watch = Watch::of(&self.state.lock().source.files);
    }
}

impl Reloading {
    /// From now on nothing is taken over, not even what is being read: what is served now is what the gateway's end closes.
    pub fn stop(&self) {
        *self.is_over.lock() = true;
        self.task.abort();
    }
}

/// Waits for the connectors that are new, so that the first who need them find them connected; but not for ever.
async fn until_up(next: &Snapshot, now: &Snapshot) {
    let is_new = |named: &&NamedConnector| !now.connectors.iter().any(|known| known.is_same(named));
    let is_up = |named: &NamedConnector| named.connector.health().up;
    let until = Instant::now() + CONNECTING;
    while !next.connectors.iter().filter(is_new).all(is_up) && Instant::now() < until {
        sleep(ASKING).await;
    }
}

impl LastReload {
    fn note(outcome: &Outcome, problems: Vec<String>) {
        *outcome.lock() = Some(Self { time: timestamp(SystemTime::now()), problems });
    }
}

impl State {
    /// What the file makes of the gateway now.
    fn next(&mut self) -> Result<Snapshot, Vec<Issue>> {
        let Self { source, assembly } = self;
        let config = source.read()?;
        let issues = |problems: Vec<_>| problems.into_iter().map(|problem| Issue::new(&source.path, problem)).collect();
        assembly.go_over(config).map_err(issues)
    }
}

impl Source {
    /// Reads the file at `path` for the first time.
    pub fn open(path: PathBuf) -> (Self, Result<Config, Vec<Issue>>) {
        let mut source = Self { path, files: Files::default() };
        let config = source.read();
        (source, config)
    }

    fn read(&mut self) -> Result<Config, Vec<Issue>> {
        let (files, config) = config::read(&self.path, &registry::kinds(), &|name| env::var_os(name));
        self.files = files;
        for warning in config.iter().flat_map(|config| &config.warnings) {
            tracing::warn!("{}", Issue::new(&self.path, warning.clone()));
        }
        config
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
