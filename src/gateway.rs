//! What every listener works with: the routes, the connectors behind them, and the limits.
//!
//! They come from one configuration and stand together in a [`Snapshot`], which a reload replaces as a whole. Numbers of routes and
//! connectors belong to the snapshot that they came from: whoever keeps such numbers keeps the snapshot with them.

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    time::SystemTime,
};

use arc_swap::{ArcSwap, Guard};
use meshgate_api::{Str, connector::Connector};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    config::{HttpListener, Limits, Shutdown, Subscription},
    router::Router,
    shutdown::{Drain, DrainSwitch, drain},
    telemetry::{Metrics, RouteCounters, Traces},
};

/// Publishes of destinations that are not required, under way at once. They hold memory and nobody waits for them.
const OPTIONAL_IN_FLIGHT: usize = 10_000;

/// The gateway between listeners and connectors. `publish.rs` and `deliver.rs` are its two verbs.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    /// Counters that the admin listener shows.
    pub metrics: Arc<Metrics>,
    /// Bytes of events that wait for their outcomes: what `limits.in_flight` bounds.
    pub in_flight: Arc<AtomicUsize>,
    pub(crate) optional_in_flight: Arc<Semaphore>,
    pub(crate) traces: Traces,
}

/// What one configuration has made of the gateway.
pub struct Snapshot {
    /// Of all snapshots of a gateway the first has 0, the next 1.
    pub edition: u64,
    /// Where channels live.
    pub router: Router,
    /// The broker clients, numbered as the router numbers them.
    pub connectors: Vec<NamedConnector>,
    /// `listeners.http`
    pub http: HttpListener,
    /// `limits`
    pub limits: Limits,
    /// `shutdown`
    pub shutdown: Shutdown,
    /// `subscriptions`
    pub subscriptions: Vec<Arc<Subscription>>,
    /// What became of events, by route.
    pub counters: Arc<RouteCounters>,
    /// Begins when another snapshot has taken this one's place.
    pub superseded: Drain,
    /// When that was: every event that was published by the other is received at that time or later.
    pub superseded_at: OnceLock<SystemTime>,
    successor: DrainSwitch,
}

/// A connector under its name in the configuration.
#[derive(Clone, Debug)]
pub struct NamedConnector {
    /// The name.
    pub name: Str,
    /// `kind` in the configuration.
    pub kind: &'static str,
    /// Some required destination needs it.
    pub required: bool,
    /// The connector.
    pub connector: Arc<dyn Connector>,
}

/// Which listener an event came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The HTTP listener.
    Http,
    /// WebSockets on the HTTP listener.
    WebSocket,
    /// The MQTT listener.
    Mqtt,
    /// No client's: a subscription of the configuration, whose sink is a channel.
    Subscription,
}

impl Listener {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Http, Self::WebSocket, Self::Mqtt, Self::Subscription];
    /// Those that have connections, in the same order.
    pub const OF_CLIENTS: [Self; 3] = [Self::Http, Self::WebSocket, Self::Mqtt];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Mqtt => "mqtt",
            Self::Subscription => "subscription",
        }
    }
}

impl NamedConnector {
    /// Whether both are the same running connector.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connector, &other.connector)
    }

    /// Whether what it stores can be read again: only then has it positions to go on from.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.connector.capabilities().replay
    }

    /// Closes the connector before `deadline`; what stays unanswered is logged.
    pub async fn close(&self, deadline: Instant) {
        let left = self.connector.shutdown(deadline).await;
        if left > 0 {
            tracing::error!(
                connector = &*self.name,
                left,
                "events were still unanswered: their publishers were told `unknown`"
            );
        }
    }
}

impl Gateway {
    /// Serves `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot, metrics: Arc<Metrics>) -> Self {
        let optional_in_flight = Arc::new(Semaphore::new(OPTIONAL_IN_FLIGHT));
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            metrics,
            in_flight: Arc::default(),
            optional_in_flight,
            traces: Traces::default(),
        }
    }

    /// The same, with spans of what is published.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// What is served now. To ask is cheap, and to keep it keeps its connectors from being closed.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Serves `next` from now on. Returns what was served before: some still work with it.
    pub fn replace(&self, next: Snapshot) -> Arc<Snapshot> {
        let edition = self.now().edition + 1;
        self.now().superseded_at.get_or_init(SystemTime::now);
        let previous = self.snapshot.swap(Arc::new(Snapshot { edition, ..next }));
        previous.successor.begin();
        previous
    }
}

impl Snapshot {
    /// Puts the parts together. The counters of its routes are those that the routes of these names have in `metrics`.
    #[must_use]
    pub fn new(
        router: Router,
        connectors: Vec<NamedConnector>,
        http: HttpListener,
        limits: Limits,
        shutdown: Shutdown,
        metrics: &Metrics,
    ) -> Self {
        let names: Vec<&str> = router.routes().iter().map(|route| &**route.name()).collect();
        let counters = Arc::new(metrics.of_routes(&names));
        let (successor, superseded) = drain();
        Self {
            edition: 0,
            router,
            connectors,
            http,
            limits,
            shutdown,
            subscriptions: Vec::new(),
            counters,
            superseded,
            superseded_at: OnceLock::new(),
            successor,
        }
    }
}

impl Snapshot {
    /// The same with subscriptions.
    #[must_use]
    pub fn with_subscriptions(self, subscriptions: Vec<Subscription>) -> Self {
        Self { subscriptions: subscriptions.into_iter().map(Arc::new).collect(), ..self }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("snapshot", &**self.now()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("edition", &self.edition)
            .field("connectors", &self.connectors)
            .finish_non_exhaustive()
    }
}
