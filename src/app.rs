//! The running gateway: configuration → connectors → routes → listeners; then the drain.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use meshgate_api::connector::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    admin::{self, Admin},
    config::{self, Config, Shutdown},
    gateway::{Gateway, Listener, NamedConnector, ReadingLimits},
    protocols::http::{
        Http,
        server::{Bounds, Server},
    },
    router::Router,
    shutdown::drain,
    telemetry::Metrics,
};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("cannot listen on {0}")]
    Bind(String),
    /// A connector refuses to be made.
    #[error("connector {name}: {problem}")]
    Connector {
        /// Its name.
        name: String,
        /// Why.
        problem: String,
    },
    /// The system does not let signals be caught.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Serves `config` until a signal has ended it in order. `greet` is told where it listens.
pub async fn serve(config: Config, greet: impl FnOnce(&[(&'static str, String)])) -> Result<(), StartError> {
    let started = Instant::now();
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let Config {
        http,
        admin,
        connectors,
        router,
        limits:
            config::Limits { connectors: limits, cursor, max_in_flight, connections, header_timeout, body_timeout, .. },
        shutdown,
    } = config;
    let server = Server::bind(&http.address)
        .await
        .map_err(|problem| StartError::Bind(format!("{}: {problem}", http.address)))?;
    let required = required_connectors(&router);
    let readers = Arc::new(Semaphore::new(limits.readers));
    let mut running = Vec::new();
    for (number, config::Connector { spec, kind, configured }) in connectors.into_iter().enumerate() {
        let context = Context { name: spec.name.as_str().into(), limits, readers: readers.clone() };
        let connector = configured
            .connect(context)
            .map_err(|problem| StartError::Connector { name: spec.name.clone(), problem })?;
        running.push(NamedConnector { name: spec.name.into(), kind, required: required.contains(&number), connector });
    }
    let reading = ReadingLimits { cursor, unconfirmed: max_in_flight };
    let route_names: Vec<_> = router.routes().iter().map(|route| route.name().to_string()).collect();
    let metrics = Arc::new(Metrics::new(&route_names));
    let gateway = Arc::new(Gateway::new(router, running, limits, reading, metrics));
    let (unready, not_ready) = drain();
    let (stop, stopping) = drain();
    let mut listeners = vec![("http", server.address().to_string())];
    let shown = Admin { gateway: gateway.clone(), drain: not_ready, listeners: listeners.clone(), started };
    let bound = admin::serve(shown, admin.address).await.map_err(StartError::Bind)?;
    listeners.push(("admin", bound.to_string()));
    let count = gateway.metrics.connections[Listener::Http as usize].clone();
    let http = Http::new(gateway.clone(), http, body_timeout, stopping.clone());
    let bounds = Bounds { connections: Arc::new(Semaphore::new(connections)), header_timeout };
    let serving = tokio::spawn(server.serve(http.service(), stopping, bounds, count));
    greet(&listeners);
    signals.first().await;
    unready.begin();
    let ending = end(&gateway, shutdown, || stop.begin(), serving);
    tokio::select! {
        () = ending => {}
        () = signals.first() => tracing::warn!("a second signal: stopping at once"),
    }
    Ok(())
}

/// The numbers of the connectors that a required destination needs.
fn required_connectors(router: &Router) -> HashSet<usize> {
    let destinations = router.routes().iter().flat_map(|route| route.destinations());
    destinations.filter(|destination| destination.required()).map(|destination| destination.connector()).collect()
}

/// Waits `delay`, stops accepting, lets what is in flight finish, and closes the connectors; all within `grace`.
async fn end(
    gateway: &Gateway,
    Shutdown { delay, grace }: Shutdown,
    stop: impl FnOnce(),
    serving: tokio::task::JoinHandle<()>,
) {
    let deadline = tokio::time::Instant::now() + grace;
    tracing::info!("draining");
    sleep(delay.min(grace)).await;
    stop();
    // Connectors need some of the time to send what is queued.
    let for_connectors = (grace / 5).min(Duration::from_secs(5));
    match timeout(deadline.saturating_duration_since(tokio::time::Instant::now() + for_connectors), serving).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::error!(%problem, "the HTTP listener failed: what it had in flight is unknown"),
        Err(_) => tracing::warn!("`shutdown.grace` is over: connections that were still busy are closed"),
    }
    let closing = gateway.connectors.iter().map(|named| async move {
        let left = named.connector.shutdown(deadline).await;
        if left > 0 {
            tracing::error!(
                connector = &*named.name,
                left,
                "events were still unanswered: their publishers were told `unknown`"
            );
        }
    });
    join_all(closing).await;
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
