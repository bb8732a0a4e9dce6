//! Records in a compacted topic, which every replica follows.
//!
//! A put is published with its key, and answered when the follower has read as far as it: so what it reads afterwards is no older than
//! the put. The topic may have any number of partitions, for all records of one key are in the same one.

use std::{collections::BTreeMap, fmt, future::poll_fn, num::NonZeroUsize, sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use meshgate_api::{
    Str,
    connector::{
        Compaction, Connector, ContentMode, Deliveries, Order, Outbound, ReadError, Start, SubscribeRequest,
        Subscription,
    },
    message::Message,
    outcome::Outcome,
    position::{Place, Position, Positions},
    topic::TopicSet,
};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{Follow, Standing, State, Unstored, is_removal};
use crate::gateway::Gateway;

/// Records taken at once.
const READ_RECORDS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Before a broker is tried again.
const REST: Duration = Duration::from_secs(1);
/// Bytes of a record: with its headers it must fit what brokers take by default (Kafka: 1 MiB with all around it).
const MOST: usize = 768 << 10;

/// The records of one topic.
#[derive(Clone)]
pub struct OfTopic(Arc<Shared>);

struct Shared {
    gateway: Arc<Gateway>,
    /// The name of the connector; which one that is may change with a reload.
    connector: Str,
    topic: Str,
    progress: Mutex<Progress>,
}

/// How far the follower is.
#[derive(Default)]
struct Progress {
    standing: Standing,
    after: Positions,
    /// Who waits until it has read as far as their puts.
    waiting: BTreeMap<(u32, Place), Vec<oneshot::Sender<()>>>,
}

impl OfTopic {
    /// The records in `topic`, as its broker names it, at the connector of this name.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, connector: Str, topic: Str) -> Self {
        let standing = Standing { is_read: false, detail: Some("it is being read".into()) };
        let progress = Mutex::new(Progress { standing, ..Progress::default() });
        Self(Arc::new(Shared { gateway, connector, topic, progress }))
    }
}

impl State for OfTopic {
    fn begin(&self, follower: Arc<dyn Follow>) {
        tokio::spawn(self.0.clone().follow(follower));
    }

    fn put(&self, key: Str, record: Message) -> BoxFuture<'static, Result<(), Unstored>> {
        self.0.clone().put(key, record).boxed()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn most(&self) -> usize {
        MOST
    }

    fn standing(&self) -> Standing {
        self.0.progress.lock().standing.clone()
    }
}

impl Shared {
    async fn put(self: Arc<Self>, key: Str, mut record: Message) -> Result<(), Unstored> {
        let patience = self.gateway.now().limits.connectors.publish_timeout;
        let connector = self.connector()?;
        record.channel.get_or_insert_with(|| key.clone());
        let outbound = Outbound {
            message: Arc::new(record),
            topic: self.topic.clone(),
            key: Some(key),
            order: Order::Kept,
            mode: ContentMode::Binary,
            options: None,
        };
        let outcomes = connector.publish(SmallVec::from_iter([outbound])).await.outcomes().await;
        let position = match outcomes.into_iter().next() {
            Some(Outcome::Stored(position)) => position,
            Some(other) => return Err(Unstored(other.detail().to_owned())),
            None => return Err(Unstored("the state's broker said nothing of the record".into())),
        };
        let Some(read) = self.until_read(&position) else { return Ok(()) };
        let is_read = timeout(patience, read).await.is_ok_and(|read| read.is_ok());
        if is_read { Ok(()) } else { Err(Unstored("the record is stored, and was not read back in time".into())) }
    }

    fn connector(&self) -> Result<Arc<dyn Connector>, Unstored> {
        let snapshot = self.gateway.now();
        let named = snapshot.connectors.iter().find(|named| named.name == self.connector);
        let gone = || Unstored(format!("the state's connector `{}` is gone", self.connector));
        named.map(|named| named.connector.clone()).ok_or_else(gone)
    }

    /// `None`: that far it has read already.
    fn until_read(&self, position: &Position) -> Option<oneshot::Receiver<()>> {
        let mut progress = self.progress.lock();
        let at = progress.after.get(&self.topic, position.partition).unwrap_or_default();
        if at > position.place {
            return None;
        }
        let (told, read) = oneshot::channel();
        progress.waiting.entry((position.partition, position.place)).or_default().push(told);
        Some(read)
    }

    /// Follows the topic as long as the process runs.
    async fn follow(self: Arc<Self>, follower: Arc<dyn Follow>) {
        loop {
            let detail = match self.read(&*follower).await {
                Err(problem) => problem,
                Ok(never) => match never {},
            };
            tracing::debug!(topic = %self.topic, "the state is not followed: {detail}");
            self.progress.lock().standing.detail = Some(detail);
            sleep(REST).await;
        }
    }

    /// Why it cannot go on.
    async fn read(&self, follower: &dyn Follow) -> Result<std::convert::Infallible, String> {
        let connector = self.connector().map_err(|Unstored(detail)| detail)?;
        let patience = self.gateway.now().limits.connectors.publish_timeout;
        let late = |_| format!("the connector `{}` does not answer", self.connector);
        let compaction = timeout(patience, connector.compaction(&self.topic)).await.map_err(late)?;
        if let Compaction::Not(how) = compaction.map_err(|problem| problem.to_string())? {
            return Err(not_compacted(&self.topic, &how));
        }
        let after = self.progress.lock().after.clone();
        let start = if after.is_empty() { Start::Earliest } else { Start::After(after) };
        let topics = TopicSet::one(self.topic.clone());
        let request = SubscribeRequest { topics, start, group: None, compacted: true };
        let opened = timeout(patience, connector.subscribe(request)).await.map_err(late)?;
        let mut subscription = opened.map_err(|problem| self.failed(&problem))?;
        self.progress.lock().standing.detail = None;
        loop {
            let next = self.next(&mut *subscription).await.map_err(|problem| self.failed(&problem))?;
            for delivery in next.deliveries {
                let record = &delivery.record;
                let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { continue };
                follower.apply(key, (!is_removal(&record.message)).then_some(&record.message));
            }
            self.have_read(&*subscription);
        }
    }

    /// What has come; meanwhile it is noted when all has that there was.
    async fn next(&self, subscription: &mut dyn Subscription) -> Result<Deliveries, ReadError> {
        poll_fn(|cx| {
            let next = subscription.poll_next(cx, READ_RECORDS);
            if next.is_pending() {
                self.have_read(subscription);
            }
            next
        })
        .await
    }

    fn have_read(&self, subscription: &dyn Subscription) {
        let mut progress = self.progress.lock();
        let Progress { standing, after, waiting } = &mut *progress;
        after.clone_from(subscription.positions());
        standing.is_read |= subscription.is_at_end();
        while let Some(first) = waiting.first_entry() {
            let (partition, place) = *first.key();
            if after.get(&self.topic, partition).unwrap_or_default() <= place {
                break;
            }
            for told in first.remove() {
                if told.send(()).is_err() {
                    tracing::trace!("who stored a record did not wait for it");
                }
            }
        }
    }

    /// A position that is gone is begun again from the oldest: so the topic was made anew.
    fn failed(&self, problem: &ReadError) -> String {
        if let ReadError::Gone { detail, .. } = problem {
            tracing::error!(topic = %self.topic, "the state is read from its start again: {detail}");
            self.progress.lock().after = Positions::default();
        }
        problem.to_string()
    }
}

/// What is to be done about a topic that does not keep the last record of each key.
#[must_use]
pub fn not_compacted(topic: &str, how: &str) -> String {
    format!("the topic `{topic}` is to keep the last record of each key: {how}")
}

impl fmt::Debug for OfTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfTopic")
            .field("connector", &self.0.connector)
            .field("topic", &self.0.topic)
            .finish_non_exhaustive()
    }
}
