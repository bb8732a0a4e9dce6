//! The client that everything of a connector shares: made in the background, asked every second whether its broker still answers.
//!
//! What has been begun with the crate's client is never dropped half-way: that can leave its connections waiting for one that nobody
//! makes any more. Who does not want to wait longer lets the rest go on in a task of its own ([`Client::begin`]).

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{Str, connector::Limits, link::Link};
use parking_lot::RwLock;
use pulsar::{
    Authentication, ConnectionRetryOptions, Error, OperationRetryOptions, Pulsar, TokioExecutor,
    error::{ConnectionError, ConsumerError, ProducerError, ServiceDiscoveryError},
    message::proto::ServerError,
};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::error;

use crate::config::PulsarConfig;

pub(crate) type Broker = Pulsar<TokioExecutor>;

/// Between two questions whether the broker answers, and how long an answer may take.
const PACE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// Any broker can say whether this topic has partitions, whether it exists or not.
const QUESTION: &str = "persistent://public/default/meshgate";
/// Requests of one connection that wait to be written. Who has one more waits for room.
pub(crate) const OUTBOUND: usize = 256;
/// The same of a connection over which nothing is published.
const UNUSED: usize = 1;

/// The shared client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connector: Str,
    pub(crate) limits: Limits,
    pub(crate) link: Link,
    /// Messages that came and could not be unpacked.
    pub(crate) unreadable: AtomicU64,
    config: PulsarConfig,
    runtime: Handle,
    broker: RwLock<Option<Shown>>,
}

/// The crate's client shows nothing of itself.
struct Shown(Broker);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
    }
}

impl Client {
    /// Begins to connect, for as long as the client lives. Must be called within a runtime, which stays the client's.
    pub(crate) fn start(connector: Str, limits: Limits, config: PulsarConfig) -> Arc<Self> {
        let link = Link::new(connector.clone());
        let runtime = Handle::current();
        let client = Arc::new(Self {
            connector,
            limits,
            link,
            unreadable: AtomicU64::new(0),
            config,
            runtime,
            broker: RwLock::new(None),
        });
        let weak = Arc::downgrade(&client);
        client.spawn(async move {
            while let Some(client) = weak.upgrade() {
                client.clone().look().await;
                drop(client);
                sleep(PACE).await;
            }
        });
        client
    }

    /// Where its tasks run.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts a task in the client's runtime.
    pub(crate) fn spawn<F: Future<Output: Send> + Send + 'static>(&self, task: F) -> JoinHandle<F::Output> {
        self.runtime.spawn(task)
    }

    /// Does something with the crate's client that goes on to its end, whoever waits for it.
    pub(crate) async fn begin<T, F>(&self, make: impl FnOnce(Broker) -> F) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let broker = self.broker().ok_or_else(|| self.link.detail())?;
        let done = self.spawn(make(broker)).await;
        done.map_err(|problem| problem.to_string())?.map_err(|problem| problem.to_string())
    }

    /// The same with a client of the crate that nothing else uses, for what consumes. Consumers of the crate that share a connection do not
    /// all learn that it has ended: one takes note for all, and another that wants more messages then asks for them again and again, without
    /// ever giving its thread away.
    pub(crate) async fn begin_apart<T, F>(
        self: &Arc<Self>,
        make: impl FnOnce(Broker) -> F + Send + 'static,
    ) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        if self.broker().is_none() {
            return Err(self.link.detail());
        }
        let client = self.clone();
        let done = self.spawn(async move { make(client.connect(UNUSED).await?).await }).await;
        done.map_err(|problem| problem.to_string())?.map_err(|problem| problem.to_string())
    }

    /// The crate's client, once there has been a connection.
    pub(crate) fn broker(&self) -> Option<Broker> {
        self.broker.read().as_ref().map(|shown| shown.0.clone())
    }

    /// Whether this says that one message cannot be unpacked, while its reader goes on: it is counted then, and left out.
    pub(crate) fn is_unreadable(&self, partition: &str, problem: &Error) -> bool {
        let Error::Consumer(ConsumerError::Io(problem)) = problem else { return false };
        let before = self.unreadable.fetch_add(1, Relaxed);
        // One line for each would be as many as there are messages.
        if before.is_multiple_of(1000) {
            let connector = &self.connector;
            error!(%connector, partition, "a message cannot be unpacked and is left out (`unreadable_messages` counts them): {problem}");
        }
        true
    }

    /// An outcome is known before this has passed; what the crate's client does takes a little less.
    fn operation_timeout(&self) -> Duration {
        self.limits.publish_timeout * 9 / 10
    }

    /// Asks the broker, and connects first if need be.
    async fn look(self: Arc<Self>) {
        let Some(broker) = self.broker() else {
            match self.connect(OUTBOUND).await {
                Ok(broker) => {
                    *self.broker.write() = Some(Shown(broker));
                    self.link.answered();
                }
                Err(problem) => self.link.lost(self.config.explain(&problem.to_string())),
            }
            return;
        };
        let mut asking = self.spawn(async move { Box::pin(broker.lookup_partitioned_topic_number(QUESTION)).await });
        let answer = match timeout(PATIENCE, &mut asking).await {
            Ok(answer) => answer,
            Err(_) => {
                self.link.lost(format!("no answer within {PATIENCE:?}"));
                asking.await
            }
        };
        match answer {
            Ok(Ok(_)) => self.link.answered(),
            Ok(Err(problem)) if server_error(&problem).is_some() => self.link.answered(),
            Ok(Err(problem)) => self.link.lost(problem.to_string()),
            Err(problem) => self.link.lost(problem.to_string()),
        }
    }

    /// A connection of its own, whose tasks run in the runtime that this is called in; so many publishes may wait to be written.
    pub(crate) async fn connect(&self, outbound: usize) -> Result<Broker, Error> {
        let connections = ConnectionRetryOptions {
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            max_retries: 2,
            connection_timeout: PATIENCE,
            keep_alive: Duration::from_secs(10),
            ..ConnectionRetryOptions::default()
        };
        let operations = OperationRetryOptions {
            operation_timeout: self.operation_timeout(),
            retry_delay: Duration::from_millis(500),
            max_retries: Some(4),
        };
        let mut builder = Pulsar::builder(&self.config.url, TokioExecutor)
            .with_connection_retry_options(connections)
            .with_operation_retry_options(operations)
            .with_outbound_channel_size(outbound);
        if let Some(token) = &self.config.token {
            builder = builder.with_auth(Authentication { name: "token".into(), data: token.clone().into_bytes() });
        }
        if let Some(ca) = &self.config.ca {
            builder = builder.with_certificate_chain(ca.clone());
        }
        // In a task, which goes on whoever waits for it.
        tokio::spawn(builder.build()).await.map_err(|_| Error::Executor)?
    }
}

/// What the broker itself has said, if it was the broker, and its words.
pub(crate) fn server_error(error: &Error) -> Option<(ServerError, String)> {
    let (kind, text) = match error {
        Error::Connection(ConnectionError::PulsarError(kind, text))
        | Error::Producer(ProducerError::Connection(ConnectionError::PulsarError(kind, text)))
        | Error::Consumer(ConsumerError::Connection(ConnectionError::PulsarError(kind, text)))
        | Error::ServiceDiscovery(
            ServiceDiscoveryError::Query(kind, text)
            | ServiceDiscoveryError::Connection(ConnectionError::PulsarError(kind, text)),
        ) => (kind, text),
        Error::Producer(ProducerError::Batch(inner)) => return server_error(inner),
        _ => return None,
    };
    Some((kind.unwrap_or(ServerError::UnknownError), text.clone().unwrap_or_default()))
}
