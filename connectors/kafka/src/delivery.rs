//! What became of one event that was handed to librdkafka.
//!
//! Each event has a [`Ticket`]: librdkafka carries it and gives it back with the delivery report, on its own thread; who published waits
//! for it. It costs one allocation and one wake-up, and nobody has to receive it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use meshgate_api::{
    Str,
    connector::Outbound,
    link::Link,
    outcome::{Outcome, Rejection, Unavailability},
    position::{Place, Position},
};
use rdkafka::{
    ClientContext, Message, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{DeliveryResult, ProducerContext},
};
use tracing::{debug, error};

use crate::{
    bootstrap::Bootstrap,
    client::{code, log_line},
    native::never_left,
    trouble::Trouble,
};

/// The offset of a record that is certainly stored where the broker did not say: after a repeated, and then recognised, request.
pub(crate) const SOMEWHERE: u64 = u64::MAX;

/// One event's way through librdkafka.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// How many refusals there had been when it was handed over.
    refusals: u64,
    report: OnceLock<Report>,
    waker: AtomicWaker,
}

/// What librdkafka says of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// On all in-sync replicas.
    Stored { partition: u32, offset: u64 },
    Failed {
        code: Code,
        /// It is certain that no broker has it.
        never_stored: bool,
    },
}

/// What librdkafka logs of a produce request that a broker has answered, but not with success.
const REFUSED: &str = "ProduceRequest failed: Broker: ";
/// Of the answers after which librdkafka sends again, the one that a broker gives only before it appends (`NOT_ENOUGH_REPLICAS`).
const REFUSED_BEFORE_APPENDING: &str = "failed: Broker: Not enough in-sync replicas";

/// How many times brokers have refused to store what they were sent, all topics together.
///
/// librdkafka sends again what was refused for a passing reason, and takes it for *not persisted*. It may be: a broker that has appended
/// a record and then ceases to lead its partition answers `NOT_LEADER_OR_FOLLOWER`. If the time is up before the answer to the
/// repetition has come, nothing in the report tells it from an event that was never sent. But librdkafka's log tells of each refusal,
/// before that report.
#[derive(Debug, Default)]
pub(crate) struct Refusals(AtomicU64);

impl Refusals {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Takes in a line of librdkafka's log.
    fn overhear(&self, facility: &str, line: &str) {
        if facility == "REQERR" && line.contains(REFUSED) && !line.contains(REFUSED_BEFORE_APPENDING) {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

impl Ticket {
    /// For an event that is about to be handed over.
    pub(crate) fn new(refusals: &Refusals) -> Self {
        Self { refusals: refusals.count(), report: OnceLock::new(), waker: AtomicWaker::new() }
    }

    fn settle(&self, report: Report) {
        if self.report.set(report).is_ok() {
            self.waker.wake();
        }
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Report> {
        if let Some(report) = self.report.get() {
            return Poll::Ready(*report);
        }
        self.waker.register(context.waker());
        self.report.get().map_or(Poll::Pending, |report| Poll::Ready(*report))
    }
}

impl Report {
    /// The broker refused the whole batch that the event was in, and the fault may have been another one's.
    pub(crate) fn blames_the_batch(self) -> bool {
        matches!(self, Self::Failed { code, never_stored: true } if is_about_content(code))
    }

    /// `outbound`'s outcome, if it was alone in its batch.
    pub(crate) fn outcome(self, outbound: &Outbound) -> Outcome {
        let topic = &outbound.topic;
        let (code, never_stored) = match self {
            Self::Stored { partition, offset } => {
                return Outcome::Stored(Position { topic: topic.clone(), partition, place: Place::offset(offset) });
            }
            Self::Failed { code, never_stored } => (code, never_stored),
        };
        match code {
            _ if !never_stored => Outcome::unknown(format!(
                "Kafka topic {topic}: the broker did not confirm the event, which may be stored [{code}]"
            )),
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => Outcome::rejected(
                Rejection::TooLarge,
                format!("Kafka topic {topic} takes no record of this size: {code}; raise its max.message.bytes"),
            ),
            _ if is_about_content(code) => Outcome::rejected(
                Rejection::BadEvent,
                format!(
                    "Kafka topic {topic} refuses the record: {code}; a compacted topic takes only events with a key"
                ),
            ),
            Code::UnknownTopic | Code::UnknownTopicOrPartition => missing(topic),
            _ => {
                let in_time = if code == Code::MessageTimedOut { " in time" } else { "" };
                let detail = format!(
                    "Kafka topic {topic}: the broker did not take the event{in_time}, it is not stored [{code}]"
                );
                Outcome::unavailable(Unavailability::Down, detail)
            }
        }
    }
}

/// The topic does not exist.
pub(crate) fn missing(topic: &Str) -> Outcome {
    let detail = format!("the Kafka topic {topic} does not exist, and the gateway creates none: create it");
    Outcome::unavailable(Unavailability::Missing, detail)
}

/// Not an answer to the last time that the event was sent, if it ever was.
fn is_librdkafkas_own(code: Code) -> bool {
    (code as i32) <= Code::End as i32
}

/// Errors that a broker raises over what a record batch holds.
fn is_about_content(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedCompressionType
    )
}

/// The producer's context: receives what librdkafka has to say, on its thread. A panic there would end the thread without a word.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) link: Arc<Link>,
    pub(crate) connector: Str,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) bootstrap: Bootstrap,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.refusals.overhear(facility, line);
        log_line(&self.connector, level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    /// Called twice for each error.
    fn error(&self, error: KafkaError, reason: &str) {
        match code(&error) {
            Some(Code::AllBrokersDown) => {
                self.bootstrap.all_are_down();
                self.link.lost("no broker can be reached");
            }
            Some(Code::Fatal) => self.trouble.is_fatal(reason),
            _ => debug!(connector = %self.connector, "{error}: {reason}"),
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Arc<Ticket>) {
        let settled = catch_unwind(AssertUnwindSafe(|| ticket.settle(self.report(result, ticket.refusals))));
        if settled.is_err() {
            error!(connector = %self.connector, "a delivery report was lost: its event stays unanswered");
        }
    }
}

impl Reports {
    fn report(&self, result: &DeliveryResult<'_>, refusals: u64) -> Report {
        match result {
            Ok(message) => {
                self.trouble.stored(message.topic());
                Report::Stored {
                    partition: message.partition().unsigned_abs(),
                    offset: u64::try_from(message.offset()).unwrap_or(SOMEWHERE),
                }
            }
            Err((error, message)) => {
                let code = code(error).unwrap_or(Code::Unknown);
                if code == Code::MessageTimedOut {
                    self.trouble.timed_out(message.topic());
                }
                let may_have_been_refused = is_librdkafkas_own(code) && self.refusals.count() != refusals;
                Report::Failed { code, never_stored: never_left(message) && !may_have_been_refused }
            }
        }
    }
}

#[cfg(test)]
mod tests;
