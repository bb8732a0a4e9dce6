//! Storing: append under one lock, so that a batch stands together and in order. Whatever can be done before the lock is.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use meshgate_api::{
    Str,
    connector::{Batch, Outbound, Record},
    log::Appender,
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
    position::{Place, Position},
};
use smallvec::SmallVec;

use crate::Memory;

/// A record that has no place in the log yet.
struct Unplaced {
    record: Arc<Record>,
    footprint: usize,
}

impl Memory {
    pub(crate) fn append(&self, batch: Batch) -> Outcomes {
        let now = SystemTime::now();
        let mut unplaced = SmallVec::<[Unplaced; 1]>::new();
        unplaced.extend(batch.into_iter().map(|outbound| Unplaced::new(outbound, now)));
        let needed = unplaced.iter().map(|unplaced| unplaced.footprint).sum();
        let mut log = self.log.appender();
        if !log.has_room(needed) {
            drop(log);
            self.groups.make_room();
            log = self.log.appender();
        }
        unplaced.into_iter().map(|unplaced| self.place(&mut log, unplaced)).collect()
    }

    fn place(&self, log: &mut Appender<'_>, unplaced: Unplaced) -> Outcome {
        let Unplaced { mut record, footprint } = unplaced;
        if footprint > self.capacity {
            let detail = format!("the event is larger than the connector's `capacity` of {} bytes", self.capacity);
            return Outcome::rejected(Rejection::TooLarge, detail);
        }
        if !log.has_room(footprint) {
            let detail = "the connector is full of events that connected groups have not confirmed (`capacity`)";
            return Outcome::unavailable(Unavailability::GatewayLimit, detail);
        }
        let known = log.topic(&record.topic);
        if known.is_none() && log.topics() >= self.topics {
            let detail = format!("the connector has {} topics already, its limit is `limits.topics`", self.topics);
            return Outcome::unavailable(Unavailability::GatewayLimit, detail);
        }
        let place = Place { generation: self.epoch, offset: log.next_sequence(), index: 0 };
        let own = Arc::get_mut(&mut record).expect("nobody else has it before it is in the log");
        own.position.place = place;
        own.next = Place { offset: place.offset + 1, ..place };
        match known {
            Some(known) => own.topic = known, // one text for all records of a topic
            // Nothing of it is missing, wherever a cursor stands.
            None => log.open(&own.topic, 0, Place { offset: 0, ..place }),
        }
        let stored = Outcome::Stored(own.position.clone());
        log.append_measured(record, footprint);
        stored
    }
}

impl Unplaced {
    /// The log keeps the message for long: moves its data out of the network's buffers.
    fn new(outbound: Outbound, time: SystemTime) -> Self {
        let Outbound { message, topic, key, .. } = outbound;
        let mut message = Arc::unwrap_or_clone(message);
        message.own_data();
        let record = Record {
            message,
            topic,
            position: Position { topic: Str::new(), partition: 0, place: Place::default() },
            next: Place::default(),
            key: key.map(Str::into_bytes),
            time,
            note: OnceLock::new(),
        };
        Self { footprint: record.footprint(), record: Arc::new(record) }
    }
}
