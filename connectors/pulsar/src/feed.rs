//! One partition, read from a place on: whatever happens to connections, each record comes once and in order.
//!
//! Underneath is the crate's reader, which goes on by itself after a broken connection, but where it once began: what came already is
//! left out here, and a reader that goes back further than that is made anew. One that falls silent is asked whether it still hears.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::StreamExt;
use meshgate_api::{Str, connector::Record, position::Place};
use pulsar::{
    ConsumerOptions, TokioExecutor, consumer::InitialPosition, message::proto::MessageIdData, reader::Reader,
};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::{
    client::Client,
    decode::{Origin, Raw, decode, place},
    naming::partition_name,
};

/// Messages that the crate holds for a reader, twice over.
const QUEUE: u32 = 64;
/// After so long without a record the broker is asked whether there is one.
const SILENCE: Duration = Duration::from_secs(3);
/// How long an answer to that may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a reader that could not be made is tried again.
const REST: Duration = Duration::from_millis(500);

type BrokerReader = Reader<Raw, TokioExecutor>;

/// What is to be read: a partition as listings have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) topic: Str,
    /// `None`: the topic has no partitions.
    pub(crate) partition: Option<u32>,
}

impl Lane {
    /// As positions number it.
    pub(crate) fn number(&self) -> u32 {
        self.partition.unwrap_or(0)
    }

    /// As the broker calls it.
    pub(crate) fn name(&self) -> String {
        partition_name(&self.topic, self.partition)
    }
}

/// A partition being read.
pub(crate) struct Feed {
    client: Arc<Client>,
    name: String,
    origin: Origin,
    /// What comes next is there or later.
    at: Place,
    reader: Option<BrokerReader>,
    /// Of what the broker has compacted the last message of each key will do.
    compacted: bool,
    /// There was a record that has not come.
    is_suspect: bool,
    renewals: Arc<AtomicU64>,
}

impl Feed {
    pub(crate) fn new(client: Arc<Client>, lane: &Lane, at: Place, renewals: Arc<AtomicU64>) -> Self {
        let origin = Origin::new(&client.connector, lane.topic.clone(), lane.number());
        Self { client, name: lane.name(), origin, at, reader: None, compacted: false, is_suspect: false, renewals }
    }

    /// The same, where the last message of each key will do of what the broker has compacted.
    pub(crate) fn compacted(self, compacted: bool) -> Self {
        Self { compacted, ..self }
    }

    /// The next record, however long that takes. May be dropped: nothing is lost.
    pub(crate) async fn next(&mut self) -> Arc<Record> {
        loop {
            let Some(reader) = &mut self.reader else {
                self.open().await;
                continue;
            };
            match timeout(SILENCE, reader.next()).await {
                Ok(Some(Ok(message))) => {
                    let place = place(message.message_id());
                    if (place.generation, place.offset) < (self.at.generation, self.at.offset) {
                        self.give_up("it has begun anew");
                    } else if place >= self.at {
                        let record = decode(&self.origin, message);
                        (self.at, self.is_suspect) = (record.next, false);
                        return record;
                    }
                }
                Ok(Some(Err(problem))) if self.client.is_unreadable(&self.name, &problem) => {}
                Ok(Some(Err(problem))) => self.give_up(&problem.to_string()),
                Ok(None) => self.give_up("it has ended"),
                Err(_) => self.ask().await,
            }
        }
    }

    /// Whether a reader that is silent has nothing to say.
    async fn ask(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        let last = match Box::pin(timeout(PATIENCE, reader.get_last_message_id())).await {
            Ok(Ok(last)) => last,
            Ok(Err(problem)) => return self.give_up(&problem.to_string()),
            Err(_) => return self.give_up("it does not answer"),
        };
        // What there is may just have been stored: only the second time it should have come.
        if end(&last) > self.at && std::mem::replace(&mut self.is_suspect, true) {
            self.give_up("it does not say what there is");
        }
    }

    fn give_up(&mut self, reason: &str) {
        debug!(connector = %self.client.connector, partition = self.name, "a Pulsar reader is made anew: {reason}");
        self.renewals.fetch_add(1, Relaxed);
        (self.reader, self.is_suspect) = (None, false);
    }

    async fn open(&mut self) {
        if !self.client.link.is_up() {
            sleep(REST).await;
            return;
        }
        let from = if self.compacted { From::Compacted(self.at) } else { From::At(self.at) };
        match open(&self.client, self.name.clone(), from, QUEUE).await {
            Ok(reader) => self.reader = Some(reader),
            Err(problem) => {
                info!(connector = %self.client.connector, partition = self.name, "cannot be read now: {problem}");
                sleep(REST).await;
            }
        }
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Earliest,
    Latest,
    /// At the message that stands there. [`Place::default`] is the earliest.
    At(Place),
    /// The same of a compacted topic, which has gaps.
    Compacted(Place),
}

/// Makes one of the crate's readers, which holds up to `queue` messages twice.
pub(crate) async fn open(client: &Arc<Client>, name: String, from: From, queue: u32) -> Result<BrokerReader, String> {
    let initial_position = if let From::Latest = from { InitialPosition::Latest } else { InitialPosition::Earliest };
    let start_message_id = match from {
        From::At(place) | From::Compacted(place) if place != Place::default() => Some(MessageIdData {
            ledger_id: place.generation,
            entry_id: place.offset,
            // With an index the broker begins with this entry, without with the next.
            batch_index: Some(0),
            ..MessageIdData::default()
        }),
        _ => None,
    };
    let options = ConsumerOptions {
        durable: Some(false),
        initial_position,
        start_message_id,
        receiver_queue_size: Some(queue),
        read_compacted: matches!(from, From::Compacted(_)).then_some(true),
        ..ConsumerOptions::default()
    };
    client
        .begin_apart(move |broker| async move {
            let builder = broker.reader().with_topic(name).with_options(options).with_batch_size(queue);
            Box::pin(builder.into_reader()).await
        })
        .await
}

/// The place after the last message of a partition.
pub(crate) fn end(last: &MessageIdData) -> Place {
    if last.ledger_id == u64::MAX || last.entry_id == u64::MAX {
        return Place::default(); // there has never been one
    }
    let place = place(last);
    Place { index: place.index + 1, ..place }
}
