//! One event on its way to a subscriber, and in a group what is to be said of it.

use std::sync::Arc;

use meshgate_api::{
    connector::{Record, Settlement, Settler},
    event::Event,
    message::Message,
};

use super::text::Note;
use crate::telemetry::DeliveryCounters;

/// One event for the subscriber.
#[derive(Debug)]
pub struct Delivered {
    pub(super) record: Arc<Record>,
    /// The number of the connector that it is from; `None`: of one that a reload has left.
    pub(super) connector: Option<usize>,
    /// Where the record's own note is of another time.
    pub(super) note: Option<Box<Note>>,
    pub(super) settler: Option<Settler>,
}

/// In a group the duty to say what became of an event. Dropped unused, the event is delivered again.
pub struct Confirmation {
    settler: Settler,
    deliveries: Option<DeliveryCounters>,
}

impl Confirmation {
    /// Says how the delivery ended, and counts it unless the event had been taken back before: then it comes again.
    pub fn settle(self, settlement: &Settlement) {
        let Self { settler, deliveries } = self;
        if settler.settle(settlement.clone())
            && let Some(deliveries) = deliveries
        {
            deliveries.settled(settlement);
        }
    }
}

impl Delivered {
    /// Counts it as written to its subscriber.
    pub fn count(&self) {
        if let Some(deliveries) = &self.note().delivered {
            deliveries.written();
        }
    }

    /// In a group: what is to be said of it.
    pub fn confirmation(&mut self) -> Option<Confirmation> {
        let settler = self.settler.take()?;
        Some(Confirmation { settler, deliveries: self.note().delivered.clone() })
    }

    pub(super) fn note(&self) -> &Note {
        self.note.as_deref().unwrap_or_else(|| Note::written(&self.record))
    }

    /// The channel that the event was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.note().owned.as_ref().map_or("", |owned| &owned.channel)
    }

    /// The event with its transport headers.
    #[must_use]
    pub fn message(&self) -> &Message {
        let wrapped = self.note().owned.as_ref().and_then(|owned| owned.wrapped.as_deref());
        wrapped.unwrap_or(&self.record.message)
    }

    /// The record that it came in.
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        self.note().owned.as_ref().map_or(&self.record.message.event, |owned| owned.event(&self.record))
    }
}
