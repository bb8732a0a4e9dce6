//! The MQTT listener: 3.1.1 and 5.0 on one port. A topic name is a channel, a topic filter a channel filter, `$share/{group}/{filter}` a
//! group. PUBACK and PUBREC are the backing brokers' confirmation, and what a client has not confirmed is delivered again.
//!
//! A connection is one task on one worker. What outlives it is its [`Session`](session::Session), a small record: the log is the queue.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use meshgate_api::message::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    accept::Accepted,
    http::{Http, body::Budget},
};
use crate::{
    codec::mqtt::Framing,
    config::MqttListener,
    gateway::Gateway,
    shutdown::Drain,
    state::{Follow, State},
};

mod aliases;
mod connection;
mod farewell;
mod handshake;
mod inbound;
mod metered;
mod outbound;
mod outcome;
mod pending;
mod record;
mod recording;
mod retained;
mod session;
mod sessions;
pub(super) mod websocket;
mod will;
mod window;

use connection::{Connection, End};
use handshake::greet;
pub(crate) use inbound::event as published_event;
use metered::Metered;
pub(crate) use outcome::{Answer, answer};
use retained::Retained;
pub(crate) use retained::is_removal;
use sessions::Sessions;
pub(crate) use will::source;

/// QoS 1 and 2 publishes of one client that may be unanswered, and deliveries to it that may be unconfirmed.
const RECEIVE_MAXIMUM: u16 = 1024;
/// The highest topic alias that a client may use.
const TOPIC_ALIASES: u16 = 10;

/// What every connection works with.
#[derive(Clone)]
pub struct Mqtt {
    gateway: Arc<Gateway>,
    in_flight: Arc<Budget>,
    drain: Drain,
    sessions: Arc<Sessions>,
    retained: Arc<Retained>,
    settings: Arc<MqttListener>,
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Mqtt {
    /// The listener beside `http`, with which it shares what is bounded; what outlives its connections is kept in `state`. Must be called
    /// within a runtime, in which sessions expire and wills are published.
    #[must_use]
    pub fn new(http: &Http, settings: MqttListener, state: &Arc<dyn State>) -> Self {
        let (gateway, drain) = (http.gateway.clone(), http.drain.clone());
        let retained = Arc::new(Retained::new(state.clone()));
        let sessions = Sessions::start(gateway.clone(), retained.clone(), state.clone());
        state.begin(Arc::new(Records { sessions: Arc::downgrade(&sessions), retained: retained.clone() }));
        let (in_flight, settings) = (http.in_flight.clone(), Arc::new(settings));
        let shown = Arc::downgrade(&sessions);
        let figures = move || shown.upgrade().map(|sessions| sessions.figures()).unwrap_or_default();
        gateway.metrics.mqtt.show_sessions(figures);
        Self { gateway, in_flight, drain, sessions, retained, settings }
    }

    /// Serves a connection until it ends.
    pub fn connection(&self, accepted: Accepted) -> impl Future<Output = ()> + Send + use<> {
        let own = Self { in_flight: Arc::new(Budget::clone(&self.in_flight)), ..self.clone() };
        async move {
            let Accepted { stream, open } = accepted;
            match TcpStream::from_std(stream) {
                Ok(stream) => own.serve(stream).await,
                Err(problem) => tracing::warn!(%problem, "a connection belongs to no runtime"),
            }
            drop(open);
        }
    }

    /// All connections have ended, and none will come.
    pub async fn leave(&self) {
        self.sessions.leave().await;
    }

    /// Serves a client over `stream`, from its first byte until one side has ended it: what [`connection`](Self::connection) does with a
    /// socket, for any other way that bytes can come. The caller counts it among the open connections.
    pub async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin + Send>(&self, stream: S) {
        self.clone().serve(stream).await;
    }

    fn framing(&self) -> Framing {
        Framing { maximum: self.settings.max_packet }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(self, stream: S) {
        let mut stream = Metered { stream, counters: self.gateway.metrics.mqtt.clone() };
        let patience = self.gateway.now().limits.header_timeout;
        let greeting = Box::pin(greet(&self, &mut stream, patience)).await;
        let Some(greeting) = greeting else { return };
        let end = Connection::new(self, stream, greeting).serve().await;
        tracing::debug!("an MQTT connection ended: {end}");
    }
}

/// Who is told of the records of `state`.
struct Records {
    sessions: Weak<Sessions>,
    retained: Arc<Retained>,
}

impl Follow for Records {
    fn apply(&self, key: &str, record: Option<&Message>) {
        match (key.split_once('/'), self.sessions.upgrade()) {
            (Some(("retained", topic)), _) => self.retained.apply(topic, record),
            (Some(("session", client_id)), Some(sessions)) => sessions.apply(client_id, record),
            (Some(("replica", replica)), Some(sessions)) => sessions.hear(replica, record.is_some()),
            _ => tracing::debug!(key, "the state has a record that this version does not know"),
        }
    }
}

impl From<std::io::Error> for End {
    fn from(problem: std::io::Error) -> Self {
        Self::Lost(problem.to_string())
    }
}

#[cfg(test)]
mod tests;
