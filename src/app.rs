//! The running gateway: configuration → connectors → routes → listeners; then the drain.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use meshgate_api::settings::Problem;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::{sleep, timeout_at},
};

use crate::{
    admin::{self, Admin},
    assembly::Assembly,
    config::{Config, Shutdown},
    gateway::Gateway,
    reload::{Leaving, Outcome, Reload, Reloading, Source},
    shutdown::drain,
    subscriptions::Subscriptions,
    telemetry::{Metrics, Traces},
    workers::Workers,
};

mod listeners;
use listeners::Listeners;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("`{key}`: cannot listen on {problem}")]
    Bind {
        /// What says where it listens.
        key: &'static str,
        /// The address, and why not.
        problem: String,
    },
    /// A connector refuses to be made.
    #[error("{0}")]
    Config(Problem),
    /// The environment asks for trace spans in a way that cannot be.
    #[error("{0}")]
    Traces(String),
    /// The system gives no threads.
    #[error("cannot start a thread: {0}")]
    Threads(std::io::Error),
    /// The system does not let signals be caught.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Serves `config` until a signal has ended it in order, and goes over to what its `source` becomes. `greet` is told where it listens.
pub async fn serve(
    config: Config,
    source: Option<Source>,
    greet: impl FnOnce(&[(&'static str, String)]),
) -> Result<(), StartError> {
    let started = Instant::now();
    let metrics = Arc::new(Metrics::default());
    let traces = Traces::from_environment(metrics.spans_dropped.clone()).map_err(StartError::Traces)?;
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let (admin, mqtt) = (config.admin.clone(), config.mqtt.clone());
    let bound = Listeners::bind(&config).await?;
    let workers = Arc::new(Workers::start().map_err(StartError::Threads)?);
    let (assembly, snapshot) = Assembly::start(config, metrics.clone()).map_err(StartError::Config)?;
    let gateway = Arc::new(Gateway::new(snapshot, metrics).with_traces(traces));
    let state = bound.state(&gateway).await?;
    let (unready, not_ready) = drain();
    let (stop, stopping) = drain();
    let mut listeners = bound.addresses();
    let reloaded = Outcome::default();
    let subscriptions = Subscriptions::start(gateway.clone());
    let shown = Admin {
        gateway: gateway.clone(),
        drain: not_ready,
        listeners: listeners.clone(),
        started,
        reloaded: reloaded.clone(),
        subscriptions: subscriptions.clone(),
        state: state.clone(),
        mqtt,
    };
    let shown_at =
        admin::serve(shown, admin.address).await.map_err(|problem| unbound("listeners.admin.address", problem))?;
    listeners.push(("admin", shown_at.to_string()));
    let serving = bound.serve(gateway.clone(), workers.clone(), state, stopping);
    let leaving = Leaving::default();
    let reloading = source.map(|source| Reload::new(gateway.clone(), source, assembly, reloaded, leaving.clone()));
    let reloading = reloading.map(start_reloading).transpose().map_err(StartError::Signals)?;
    greet(&listeners);
    signals.first().await;
    if let Some(reloading) = reloading {
        reloading.stop();
    }
    unready.begin();
    let ending = end(&gateway, &subscriptions, &leaving, || stop.begin(), serving);
    tokio::select! {
        () = ending => {}
        () = signals.first() => tracing::warn!("a second signal: stopping at once"),
    }
    drop(workers); // not before: they also send what no client waits for
    Ok(())
}

fn unbound(key: &'static str, problem: String) -> StartError {
    StartError::Bind { key, problem }
}

/// From now on SIGHUP does not end the process.
fn start_reloading(reload: Reload) -> std::io::Result<Reloading> {
    Ok(reload.start(signal(SignalKind::hangup())?))
}

/// Waits `delay`, stops accepting, lets what is in flight finish, closes the connectors and sends the last spans; all within `grace`.
async fn end(
    gateway: &Gateway,
    subscriptions: &Subscriptions,
    leaving: &Leaving,
    stop: impl FnOnce(),
    serving: JoinHandle<()>,
) {
    let Shutdown { delay, grace } = gateway.now().shutdown;
    let deadline = tokio::time::Instant::now() + grace;
    tracing::info!("draining");
    sleep(delay.min(grace)).await;
    stop();
    // Connectors need some of the time to send what is queued.
    let for_connectors = (grace / 5).min(Duration::from_secs(5));
    let until = deadline - for_connectors;
    match tokio::join!(timeout_at(until, serving), subscriptions.drain(until)).0 {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::error!(%problem, "the listeners failed: what they had in flight is unknown"),
        Err(_) => tracing::warn!("`shutdown.grace` is over: connections that were still busy are closed"),
    }
    let snapshot = gateway.now();
    let closing = join_all(snapshot.connectors.iter().map(|named| named.close(deadline)));
    tokio::join!(closing, leaving.close_all(deadline));
    gateway.traces.close(deadline).await;
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
