//! One consumer of one partition, and what becomes of what it reads.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use meshgate_api::{
    group::Resume,
    position::{Place, Position},
};
use pulsar::{
    Consumer, ConsumerOptions, SubType, TokioExecutor,
    consumer::{InitialPosition, Message},
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, warn};

use super::{Local, entries::Entries};
use crate::{
    decode::{Origin, Raw, decode, place},
    feed::Lane,
};

/// Messages that the crate holds, twice over.
const QUEUE: u32 = 256;
/// Between two questions whether the broker still has the consumer.
const CHECKS: Duration = Duration::from_secs(3);
/// How long an answer may take, and what is acknowledged last to be sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a consumer that could not be made is tried again.
const REST: Duration = Duration::from_millis(500);
/// Nothing more has been read by then.
const GLANCE: Duration = Duration::from_millis(10);

type BrokerConsumer = Consumer<Raw, TokioExecutor>;

/// A partition being read for a group.
pub(super) struct Reading {
    local: Arc<Local>,
    lane: Lane,
    origin: Origin,
    consumer: BrokerConsumer,
    entries: Entries,
    settled: mpsc::Receiver<Place>,
}

/// Why a consumer is given up.
struct Broken(String);

impl Reading {
    /// Subscribes. A subscription that is new begins at `from`.
    pub(super) async fn begin(local: Arc<Local>, lane: Lane, from: InitialPosition) -> Result<Self, String> {
        let consumer = subscribe(&local, &lane, from).await?;
        let origin = Origin::new(&local.keeper.client.connector, lane.topic.clone(), lane.number());
        let settled = open(&local, &lane);
        Ok(Self { local, lane, origin, consumer, entries: Entries::default(), settled })
    }

    /// Until the group is over, or its members do not want the topic any more.
    pub(super) async fn run(mut self, over: watch::Receiver<()>) -> Lane {
        while let Err(Broken(reason)) = self.read(over.clone()).await {
            let (connector, group, partition) =
                (&self.local.keeper.client.connector, &self.local.name, self.lane.name());
            warn!(%connector, %group, partition, "the Pulsar consumer is made anew: {reason}");
            // What members have stays theirs. Here it is left out when it comes again; elsewhere it may come as well.
            loop {
                sleep(REST).await;
                if !self.is_wanted() || over.has_changed().is_err() {
                    self.close();
                    return self.lane;
                }
                match subscribe(&self.local, &self.lane, InitialPosition::Earliest).await {
                    Ok(consumer) => break self.consumer = consumer,
                    Err(problem) => debug!("no Pulsar consumer: {problem}"),
                }
            }
        }
        self.close();
        let lane = self.lane.clone();
        self.send_last().await;
        lane
    }

    fn is_wanted(&self) -> bool {
        self.local.reads(&self.lane.topic)
    }

    fn close(&self) {
        let name = (self.lane.topic.clone(), self.lane.number());
        self.local.group.close(&name.0, name.1);
        self.local.keeper.settled.lock().remove(&name);
        self.local.keeper.backlogs.lock().remove(&self.lane);
    }

    async fn read(&mut self, mut over: watch::Receiver<()>) -> Result<(), Broken> {
        let mut changes = self.local.keeper.changes.subscribe();
        let mut checks = interval(CHECKS);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.is_wanted() {
            let group = &self.local.group;
            let has_room = group.has_room() && group.room_in(&self.lane.topic, self.lane.number()) > 0;
            tokio::select! {
                _ = over.changed() => return Ok(()),
                Some(place) = self.settled.recv() => self.acknowledge(place).await?,
                message = self.consumer.next(), if has_room => match message {
                    Some(Ok(message)) => self.take(message),
                    // Nobody has confirmed it: the broker keeps it for the group.
                    Some(Err(problem)) if self.local.keeper.client.is_unreadable(&self.lane.name(), &problem) => {}
                    Some(Err(problem)) => return Err(Broken(problem.to_string())),
                    None => return Err(Broken("it has ended".into())),
                },
                _ = changes.changed() => {}
                // The crate's side answers only as long as it is read.
                _ = checks.tick(), if has_room => self.check().await?,
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message<Raw>) {
        let (id, size) = (message.message_id(), message.message_id.batch_size.unwrap_or(1));
        let place = place(id);
        if self.entries.come(place, id, usize::try_from(size).unwrap_or(1).max(1)) {
            self.local.group.push([decode(&self.origin, message)]);
        }
    }

    async fn acknowledge(&mut self, place: Place) -> Result<(), Broken> {
        let Some(id) = self.entries.settle(place) else { return Ok(()) };
        let sent = self.consumer.ack_with_id(&self.lane.name(), id).await;
        sent.map_err(|problem| Broken(problem.to_string()))
    }

    /// Whether the broker still has the consumer, and how far the group is behind.
    async fn check(&mut self) -> Result<(), Broken> {
        let stats = Box::pin(timeout(PATIENCE, self.consumer.get_stats())).await;
        let stats = stats.map_err(|_| Broken("the broker does not answer".into()))?;
        let stats = stats.map_err(|problem| Broken(problem.to_string()))?;
        if let Some(refused) = stats.iter().find_map(|stats| stats.error_message.clone()) {
            return Err(Broken(refused));
        }
        let backlog = stats.iter().filter_map(|stats| stats.msg_backlog).sum();
        self.local.keeper.backlogs.lock().insert(self.lane.clone(), backlog);
        Ok(())
    }

    /// Acknowledges what was settled last, and waits until that is on its way.
    async fn send_last(mut self) {
        while let Ok(place) = self.settled.try_recv() {
            if self.acknowledge(place).await.is_err() {
                return;
            }
        }
        // The crate sends nothing while messages wait that nobody reads.
        while let Ok(Some(_)) = timeout(GLANCE, self.consumer.next()).await {}
        if !matches!(timeout(PATIENCE, self.consumer.check_connection()).await, Ok(Ok(()))) {
            debug!(group = %self.local.name, "what was confirmed last may come again");
        }
    }
}

/// Opens the partition in the group anew; where what is settled of it comes.
fn open(local: &Local, lane: &Lane) -> mpsc::Receiver<Place> {
    let (sender, settled) = mpsc::channel(2 * local.keeper.client.limits.settled_window);
    let at = Position { topic: lane.topic.clone(), partition: lane.number(), place: Place::default() };
    local.keeper.settled.lock().insert((lane.topic.clone(), lane.number()), sender);
    local.group.open(Resume::from(at));
    settled
}

async fn subscribe(local: &Local, lane: &Lane, from: InitialPosition) -> Result<BrokerConsumer, String> {
    let (name, group) = (lane.name(), local.name.to_string());
    let options = ConsumerOptions {
        durable: Some(true),
        initial_position: from,
        receiver_queue_size: Some(QUEUE),
        ..ConsumerOptions::default()
    };
    let subscribe = local.keeper.client.begin_apart(move |broker| async move {
        let consumer = broker.consumer().with_topic(name).with_subscription(group);
        let consumer = consumer.with_subscription_type(SubType::KeyShared).with_batch_size(QUEUE);
        consumer.with_options(options).build().await
    });
    subscribe.await
}
