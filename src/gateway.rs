//! What every listener works with: the routes, the connectors behind them, and the limits.

use std::{fmt, sync::Arc};

use meshgate_api::{
    Str,
    connector::{Connector, Limits},
};
use tokio::sync::Semaphore;

use crate::{router::Router, telemetry::Metrics};

/// Publishes of destinations that are not required, under way at once. They hold memory and nobody waits for them.
const OPTIONAL_IN_FLIGHT: usize = 10_000;

/// The gateway between listeners and connectors. `publish.rs` and `deliver.rs` are its two verbs.
pub struct Gateway {
    /// Where channels live.
    pub router: Router,
    /// The broker clients, numbered as the router numbers them.
    pub connectors: Vec<NamedConnector>,
    /// Limits that connectors keep too.
    pub limits: Limits,
    /// Limits of what clients read.
    pub reading: ReadingLimits,
    /// Counters that the admin listener shows.
    pub metrics: Arc<Metrics>,
    pub(crate) optional_in_flight: Arc<Semaphore>,
}

/// `limits.cursor` and `limits.max_in_flight`.
#[derive(Clone, Copy, Debug)]
pub struct ReadingLimits {
    /// The longest cursor, in bytes of its text.
    pub cursor: usize,
    /// Events that a member of a group may leave unconfirmed.
    pub unconfirmed: usize,
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
}

impl Listener {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Http, Self::WebSocket];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
        }
    }
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        router: Router,
        connectors: Vec<NamedConnector>,
        limits: Limits,
        reading: ReadingLimits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let optional_in_flight = Arc::new(Semaphore::new(OPTIONAL_IN_FLIGHT));
        Self { router, connectors, limits, reading, metrics, optional_in_flight }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("connectors", &self.connectors).finish_non_exhaustive()
    }
}
