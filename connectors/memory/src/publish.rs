//! Storing: append under one lock, so that a batch stands together and in order.

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

use crate::Memory;

impl Memory {
    pub(crate) fn append(&self, batch: Batch) -> Outcomes {
        let own: Batch = batch.into_iter().map(own).collect();
        let mut log = self.log.appender();
        if !log.has_room(own.iter().map(footprint).sum()) {
            drop(log);
            self.groups.make_room();
            log = self.log.appender();
        }
        let now = SystemTime::now();
        own.into_iter().map(|outbound| self.append_one(&mut log, outbound, now)).collect()
    }

    fn append_one(&self, log: &mut Appender<'_>, outbound: Outbound, now: SystemTime) -> Outcome {
        let Outbound { message, topic, key, .. } = outbound;
        let known = log.topic(&topic);
        let is_new = known.is_none();
        let topic = match known {
            Some(known) => known, // one text for all records of a topic
            None if log.topics() < self.topics => topic,
            None => {
                let detail = format!("the connector has {} topics already, its limit is `limits.topics`", self.topics);
                return Outcome::unavailable(Unavailability::GatewayLimit, detail);
            }
        };
        let place = Place { generation: self.epoch, offset: log.next_sequence(), index: 0 };
        let position = Position { topic: Str::new(), partition: 0, place };
        let record = Record {
            message,
            topic,
            position: position.clone(),
            next: Place { offset: place.offset + 1, ..place },
            key: key.map(Str::into_bytes),
            time: now,
            note: OnceLock::new(),
        };
        if record.footprint() > self.capacity {
            let detail = format!("the event is larger than the connector's `capacity` of {} bytes", self.capacity);
            return Outcome::rejected(Rejection::TooLarge, detail);
        }
        if !log.has_room(record.footprint()) {
            let detail = "the connector is full of events that connected groups have not confirmed (`capacity`)";
            return Outcome::unavailable(Unavailability::GatewayLimit, detail);
        }
        if is_new {
            log.open(&record.topic, 0, Place { offset: 0, ..place }); // nothing of it is missing, wherever a cursor stands
        }
        log.append(Arc::new(record));
        Outcome::Stored(position)
    }
}

/// That of the record that it becomes.
fn footprint(outbound: &Outbound) -> usize {
    Record::footprint_of(&outbound.message, outbound.key.as_ref().map_or(0, |key| key.len()))
}

/// The log keeps the message for long: outside its lock, move its data out of the network's buffers.
fn own(mut outbound: Outbound) -> Outbound {
    Arc::make_mut(&mut outbound.message).own_data();
    outbound
}
