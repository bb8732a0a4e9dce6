//! librdkafka clients: how each is configured, and what all of them do with its log lines.

use std::{
    ffi::{CStr, CString},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{Str, connector::Limits};
use rdkafka::{
    ClientConfig, ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    types::RDKafkaRespErr,
};
use tracing::{debug, info};

use crate::{bootstrap::Bootstrap, config::KafkaConfig, coordinator::Coordinator, identity::Identities};

/// How much larger a record may be than the body that it came in: base64, attributes as JSON, headers.
const RECORD_GROWTH: usize = 2;
const RECORD_OVERHEAD: usize = 1 << 20;
/// The largest that librdkafka allows.
const LARGEST_MESSAGE: usize = 1_000_000_000;
/// librdkafka's bound on what it reads from a broker at once; every record that a topic holds must be readable.
const LARGEST_RESPONSE: usize = 2_000_000_000;

/// The configurations of one connector's clients.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) connector: Str,
    config: KafkaConfig,
    /// Those of `config.brokers`, as librdkafka takes them.
    addresses: Arc<CStr>,
    limits: Limits,
    pub(crate) identities: Arc<Identities>,
}

impl Clients {
    /// An error: an address that librdkafka cannot be given.
    pub(crate) fn new(connector: Str, config: KafkaConfig, limits: Limits) -> Result<Self, String> {
        let addresses = CString::new(config.brokers.join(",")).map_err(|problem| format!("brokers: {problem}"))?;
        Ok(Self { connector, config, addresses: addresses.into(), limits, identities: Arc::default() })
    }

    /// Whether the broker may make topics of what is published.
    pub(crate) fn creates_topics(&self) -> bool {
        self.config.properties.iter().any(|(name, value)| name == "allow.auto.create.topics" && value == "true")
    }

    /// The producer of everything. Its acknowledgement means: on all in-sync replicas, once.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.base(&[
            ("linger.ms", "1"),
            ("topic.metadata.propagation.max.ms", "3000"),
            ("topic.metadata.refresh.interval.ms", "1000"), // until then it refuses to write to a new partition
        ]);
        let largest = self.limits.max_body.saturating_mul(RECORD_GROWTH).saturating_add(RECORD_OVERHEAD);
        hear(&mut config, "broker"); // for `Refusals`
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "5")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", self.message_timeout().as_millis().to_string())
            .set("message.max.bytes", largest.clamp(1_000_000, LARGEST_MESSAGE).to_string())
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", (self.limits.in_flight >> 10).clamp(1, 2_097_151).to_string());
        config
    }

    /// The producer of records that share their batch with no other.
    pub(crate) fn lone_producer(&self) -> ClientConfig {
        let mut config = self.producer();
        config.set("batch.num.messages", "1").set("linger.ms", "0");
        config
    }

    /// When librdkafka gives up on an event: early enough to say so within the publish timeout, though it says so late.
    pub(crate) fn message_timeout(&self) -> Duration {
        self.limits.publish_timeout / 2
    }

    /// A client that asks and reads nothing.
    pub(crate) fn inquirer(&self) -> ClientConfig {
        let mut config = self.base(&[]);
        config.set("isolation.level", "read_committed").set("allow.auto.create.topics", "false");
        config
    }

    /// A consumer that is told what to read and from where. It holds about `queue` bytes for each partition and asks for at most `fetch`
    /// bytes at once; a larger record comes nonetheless.
    ///
    /// librdkafka lets nobody read without a group's name. This one is never joined, and nothing is committed to it.
    pub(crate) fn reader(&self, queue: usize, fetch: usize) -> ClientConfig {
        let mut config = self.base(&[
            ("fetch.wait.max.ms", "500"),
            ("fetch.queue.backoff.ms", "20"),
            ("fetch.error.backoff.ms", "250"),
        ]);
        let kilobytes = (queue >> 10).clamp(16, 65_536);
        hear(&mut config, "metadata"); // for `Listening`
        config
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("group.id", format!("meshgate-{}-unused", self.connector))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", kilobytes.to_string())
            .set("fetch.message.max.bytes", (kilobytes << 10).to_string())
            .set("fetch.max.bytes", fetch.clamp(1_000_000, LARGEST_MESSAGE).to_string())
            .set("receive.message.max.bytes", LARGEST_RESPONSE.to_string());
        config
    }

    /// A member of the group `name` at the broker; otherwise as [`reader`](Self::reader).
    pub(crate) fn member(&self, name: &str, queue: usize, fetch: usize) -> ClientConfig {
        let mut config = self.reader(queue, fetch);
        config.set("group.id", name).set("group.protocol", "classic");
        config.set("partition.assignment.strategy", "cooperative-sticky"); // what stays is not interrupted by what moves
        let defaults = [
            ("session.timeout.ms", "10000"),   // after that a replica that died is replaced
            ("heartbeat.interval.ms", "1000"), // by that the others learn that something moves
            ("topic.metadata.refresh.interval.ms", "2000"), // by that the leader learns of new partitions
        ];
        for (name, value) in defaults {
            if self.config.properties.iter().all(|(set, _)| set != name) {
                config.set(name, value);
            }
        }
        config
    }

    /// What all have in common; `defaults` are what the configured properties may change.
    fn base(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "meshgate")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.nagle.disable", "true")
            .set("log.connection.close", "false")
            .set("allow.auto.create.topics", "false");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.config.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", self.config.brokers.join(","));
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// What a client needs to find the cluster again.
    pub(crate) fn bootstrap(&self) -> Bootstrap {
        Bootstrap::new(self.addresses.clone())
    }
}

/// Has the client log what belongs to `facilities` too, for its context to hear.
fn hear(config: &mut ClientConfig, facilities: &str) {
    let all = config.get("debug").map_or_else(|| facilities.to_owned(), |debug| format!("{debug},{facilities}"));
    config.set("debug", all).set_log_level(RDKafkaLogLevel::Debug);
}

/// The context of the clients that read and ask: their errors come out of the calls themselves.
#[derive(Debug)]
pub(crate) struct Quiet {
    connector: Str,
    lines: AtomicU64,
    bootstrap: Bootstrap,
}

impl Quiet {
    pub(crate) fn new(clients: &Clients) -> Self {
        Self { connector: clients.connector.clone(), lines: AtomicU64::new(0), bootstrap: clients.bootstrap() }
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.lines.fetch_add(1, Relaxed);
        log_line(&self.connector, level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if code(&error) == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.bootstrap.all_are_down();
        }
        debug!(connector = %self.connector, "{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// The context of the consumers: as [`Quiet`], but what the log says of topics' ids is heard.
#[derive(Debug)]
pub(crate) struct Listening {
    quiet: Quiet,
    identities: Arc<Identities>,
    coordinator: Coordinator,
}

impl Listening {
    pub(crate) fn new(clients: &Clients) -> Self {
        let coordinator = Coordinator::default();
        Self { quiet: Quiet::new(clients), identities: clients.identities.clone(), coordinator }
    }

    /// What the group's coordinator says.
    pub(crate) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }
}

impl ClientContext for Listening {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "METADATA" {
            self.identities.overhear(line);
        }
        self.quiet.log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.quiet.error(error, reason);
    }
}

/// The context of any client that is not a producer.
pub(crate) trait Tended: ConsumerContext + Sized + 'static {
    fn quiet(&self) -> &Quiet;
}

impl Tended for Quiet {
    fn quiet(&self) -> &Quiet {
        self
    }
}

impl Tended for Listening {
    fn quiet(&self) -> &Quiet {
        &self.quiet
    }
}

/// Takes out of the client's own queue all that concerns no partition, the log above all, which goes to its context: after it everything
/// is heard that was logged before. `each` is given the errors.
pub(crate) fn serve<C: Tended, E>(
    client: &BaseConsumer<C>,
    mut each: impl FnMut(KafkaResult<BorrowedMessage<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let quiet = client.context().quiet();
    quiet.bootstrap.tend(client.client());
    loop {
        let lines = quiet.lines.load(Relaxed);
        match client.poll(Duration::ZERO) {
            Some(event) => each(event)?,
            None if quiet.lines.load(Relaxed) == lines => return Ok(()),
            None => {} // it was a line of the log, and there may be more
        }
    }
}

impl ConsumerContext for Listening {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.coordinator.moved(consumer, code, partitions);
    }
}

/// librdkafka repeats itself while a broker is away; what it means for the connector is logged by the connector, once.
pub(crate) fn log_line(connector: &Str, level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            info!(%connector, facility, "librdkafka: {line}");
        }
        _ => debug!(%connector, facility, "librdkafka: {line}"),
    }
}

/// librdkafka's code of an error, if it has one.
pub(crate) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    error.rdkafka_error_code()
}
