//! What a group's coordinator at the broker says, kept for the thread that reads: librdkafka tells it from within a poll.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use meshgate_api::{
    Str,
    position::{Place, Position},
};
use parking_lot::Mutex;
use rdkafka::{
    Offset, TopicPartitionList,
    client::ClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::KafkaResult,
    types::RDKafkaRespErr,
};

use crate::places::Partitions;

/// What has been said and not been heard.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    /// Somebody carries out what is said; else it is carried out at once.
    is_heard: AtomicBool,
    moves: Mutex<VecDeque<Move>>,
}

/// To be carried out, also if it names nothing.
#[derive(Debug)]
pub(crate) enum Move {
    /// These are to be read here from now on.
    Here(Partitions),
    /// These are to be read elsewhere.
    Away(Partitions),
}

impl Coordinator {
    /// From now on what is said waits to be carried out, or no longer.
    pub(crate) fn hear(&self, is_heard: bool) {
        self.is_heard.store(is_heard, Relaxed);
    }

    pub(crate) fn next_move(&self) -> Option<Move> {
        self.moves.lock().pop_front()
    }

    pub(crate) fn moved<C: ClientContext + ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        code: RDKafkaRespErr,
        list: &TopicPartitionList,
    ) {
        let is_here = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.is_heard.load(Relaxed) {
            let all = list.elements();
            let partitions = all.iter().map(|at| (at.topic().into(), at.partition().unsigned_abs())).collect();
            self.moves.lock().push_back(if is_here { Move::Here(partitions) } else { Move::Away(partitions) });
            return;
        }
        let is_cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match (is_here, is_cooperative) {
            (true, true) => consumer.incremental_assign(list),
            (true, false) => consumer.assign(list),
            (false, true) => consumer.incremental_unassign(list),
            (false, false) => consumer.unassign(),
        };
        if let Err(problem) = done {
            tracing::debug!("librdkafka does not move partitions: {problem}");
        }
    }
}

/// Those that have an offset and no error.
pub(crate) fn positions(offsets: &TopicPartitionList) -> Vec<Position> {
    let positions = offsets.elements().into_iter().filter_map(|at| match (at.error(), at.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some(Position {
            topic: Str::from(at.topic()),
            partition: at.partition().unsigned_abs(),
            place: Place::offset(offset.unsigned_abs()),
        }),
        _ => None,
    });
    positions.collect()
}

/// For librdkafka.
pub(crate) fn list<'a>(positions: impl IntoIterator<Item = &'a Position>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for Position { topic, partition, place } in positions {
        list.add_partition_offset(topic, *partition as i32, Offset::Offset(place.offset as i64))?;
    }
    Ok(list)
}
