//! One consumer that is told which partitions to read and from which offset.
//!
//! Each partition has a queue of its own, split off *before* it is assigned: so it is known which partition an end or an error belongs to
//! (rdkafka does not tell), and what is not taken out of a queue holds back that partition alone. librdkafka says when a queue has
//! something; nobody polls.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use meshgate_api::{Str, connector::Record};
use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use crate::{
    client::{Clients, Listening, serve},
    decode::{Origin, decode},
    native,
};

/// Names a lane, for as long as its bell exists.
pub(crate) type LaneId = u64;

/// Partitions whose queues have something, and other reasons to wake the thread that reads.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
    heard: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    lanes: VecDeque<LaneId>,
    /// Something else is to be done.
    anyway: bool,
    issued: LaneId,
}

impl Bell {
    /// Wakes the thread that reads.
    pub(crate) fn ring(&self) {
        self.rung.lock().anyway = true;
        self.heard.notify_one();
    }

    pub(crate) fn ring_for(&self, lane: LaneId) {
        self.rung.lock().lanes.push_back(lane);
        self.heard.notify_one();
    }

    /// The next lane that has something; `None` after `time`, or when there is something else to do.
    pub(crate) fn wait(&self, time: Duration) -> Option<LaneId> {
        let mut rung = self.rung.lock();
        if rung.lanes.is_empty() && !rung.anyway {
            self.heard.wait_for(&mut rung, time);
        }
        rung.anyway = false;
        rung.lanes.pop_front()
    }

    fn new_lane(&self) -> LaneId {
        let mut rung = self.rung.lock();
        rung.issued += 1;
        rung.issued
    }
}

/// A consumer and its partitions.
pub(crate) struct Feed {
    lanes: HashMap<LaneId, Lane>,
    names: HashMap<(Str, u32), LaneId>,
    bell: Arc<Bell>,
    connector: Str,
    consumer: Arc<BaseConsumer<Listening>>,
}

struct Lane {
    origin: Origin,
    partition: u32,
    queue: PartitionQueue<Listening>,
}

/// What comes out of a partition's queue.
pub(crate) enum Seen {
    /// The next record.
    Record(Arc<Record>),
    /// All that was committed when the broker was asked has come out: [`Feed::passed`] says up to where.
    End,
    /// What is to be read next is not there: deleted by retention, or the topic was made anew. Reading has stopped.
    Lost,
    /// The broker has said something else about the partition; reading goes on, or is tried again, by itself.
    Fault(Code),
}

/// The consumer cannot go on: it must be made anew.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Feed {
    pub(crate) fn open(clients: &Clients, config: &ClientConfig, bell: Arc<Bell>) -> Result<Self, Broken> {
        let consumer = BaseConsumer::from_config_and_context(config, Listening::new(clients))?;
        Ok(Self {
            lanes: HashMap::new(),
            names: HashMap::new(),
            bell,
            connector: clients.connector.clone(),
            consumer: Arc::new(consumer),
        })
    }

    /// Begins to read partitions that are not read yet, each from an offset.
    pub(crate) fn assign(&mut self, partitions: &[(Str, u32, u64)]) -> Result<(), Broken> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition, offset) in partitions {
            let number = *partition as i32;
            let queue = self.consumer.split_partition_queue(topic, number);
            let mut queue = queue.ok_or_else(|| Broken(format!("no queue for {topic} {partition}")))?;
            let id = self.bell.new_lane();
            let bell = self.bell.clone();
            queue.set_nonempty_callback(move || bell.ring_for(id));
            self.bell.ring_for(id); // for what the queue holds already
            self.names.insert((topic.clone(), *partition), id);
            let origin = Origin::new(&self.connector, topic.clone());
            self.lanes.insert(id, Lane { origin, partition: *partition, queue });
            list.add_partition_offset(topic, number, Offset::Offset(*offset as i64))?;
        }
        Ok(self.consumer.incremental_assign(&list)?)
    }

    /// The consumer, for what concerns a group.
    pub(crate) fn consumer(&self) -> &Arc<BaseConsumer<Listening>> {
        &self.consumer
    }

    /// Ends reading these partitions.
    pub(crate) fn unassign_partitions(&mut self, partitions: &[(Str, u32)]) -> Result<(), Broken> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for name in partitions {
            list.add_partition(&name.0, name.1 as i32);
            if let Some(lane) = self.names.remove(name) {
                self.lanes.remove(&lane);
            }
        }
        Ok(self.consumer.incremental_unassign(&list)?)
    }

    /// Ends reading a topic.
    pub(crate) fn unassign(&mut self, topic: &str) -> Result<(), Broken> {
        let mut list = TopicPartitionList::new();
        for ((name, partition), id) in self.names.extract_if(|(name, _), _| name == topic) {
            list.add_partition(&name, partition as i32);
            self.lanes.remove(&id);
        }
        if list.count() == 0 {
            return Ok(());
        }
        Ok(self.consumer.incremental_unassign(&list)?)
    }

    /// The topic and partition of a lane, if it is still read.
    pub(crate) fn name(&self, lane: LaneId) -> Option<(&Str, u32)> {
        self.lanes.get(&lane).map(|lane| (&lane.origin.topic, lane.partition))
    }

    /// Takes the next thing out of a lane's queue; `None` if there is nothing now.
    pub(crate) fn take(&self, lane: LaneId) -> Result<Option<Seen>, Broken> {
        let Some(Lane { origin, queue, .. }) = self.lanes.get(&lane) else { return Ok(None) };
        match queue.poll(Duration::ZERO) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(Seen::Record(decode(origin, &message)))),
            Some(Err(problem)) => seen(problem).map(Some),
        }
    }

    /// Up to where all of a lane has come out, records and markers of transactions alike. Asked when its end is [seen](Seen::End); `None`
    /// for a lane out of which nothing has come.
    ///
    /// librdkafka moves this place only with what is taken out of the queue, markers too, though it keeps them to itself
    /// (`rd_kafka_op_handle_std`): what still waits there, and open transactions, of which nothing enters it, are not covered. Before an
    /// end it might still be an earlier assignment's, which is forgotten when that stops.
    pub(crate) fn passed(&self, lane: LaneId) -> Option<u64> {
        let Lane { origin, partition, .. } = self.lanes.get(&lane)?;
        native::position(&self.consumer, &origin.topic, *partition)
    }

    /// Serves what concerns no partition, the log above all: after it everything is heard that was logged before the last record that
    /// was taken had come.
    pub(crate) fn serve(&self) -> Result<(), Broken> {
        serve(&self.consumer, |event| match event {
            Ok(_) => Err(Broken("a record came outside its partition's queue".into())),
            Err(problem) => seen(problem).map(drop),
        })
    }

    /// The same, and waits a little for more.
    pub(crate) fn serve_for(&self, time: Duration) -> Result<(), Broken> {
        match self.consumer.poll(time) {
            Some(Ok(_)) => return Err(Broken("a record came outside its partition's queue".into())),
            Some(Err(problem)) => drop(seen(problem)?),
            None => {}
        }
        self.serve()
    }

    /// Looks at every lane again, in case a bell was not heard.
    pub(crate) fn ring_all(&self) {
        self.lanes.keys().for_each(|lane| self.bell.ring_for(*lane));
    }
}

/// What the consumer is told while it closes is carried out at once.
impl Drop for Feed {
    fn drop(&mut self) {
        self.consumer.context().coordinator().hear(false);
    }
}

fn seen(problem: KafkaError) -> Result<Seen, Broken> {
    match problem {
        KafkaError::PartitionEOF(_) => Ok(Seen::End),
        KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Ok(Seen::Lost),
        KafkaError::MessageConsumption(code) => Ok(Seen::Fault(code)),
        other => Err(other.into()),
    }
}

impl From<KafkaError> for Broken {
    fn from(problem: KafkaError) -> Self {
        Self(problem.to_string())
    }
}
