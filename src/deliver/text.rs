//! What is worked out about a record once, for all flows that read it: whose event it is, and its text.
//!
//! Subscribers of one filter who are up to date stand at the same place: what is written to them is the same to the byte. The text of
//! the first is kept, and whoever stands elsewhere or writes it in another way takes the JSON out of it.

use std::{ops::Range, sync::OnceLock};

use bytes::Bytes;
use meshgate_api::{
    connector::Record,
    cursor::Cursor,
    event::{CHANNEL_EXTENSION, CURSOR_EXTENSION, Event},
    json,
};
use smallvec::SmallVec;

use super::{Delivered, Ended, Flow};
use crate::{gateway::Snapshot, router::Owned, telemetry::DeliveryCounters};

/// How a protocol writes an event: what stands around the cursor, which may be missing, and around the event's JSON.
#[derive(Debug)]
pub struct Layout {
    /// Before and after the cursor.
    pub cursor: [&'static str; 2],
    /// Before and after the event as structured JSON on one line.
    pub json: [&'static str; 2],
}

/// What is worked out once about a record.
#[derive(Debug)]
pub(super) struct Note {
    /// Of the snapshot whose routes were asked.
    edition: u64,
    /// Whose event it is.
    pub(super) owned: Option<Owned>,
    /// Counts deliveries of that route.
    pub(super) delivered: Option<DeliveryCounters>,
    first: OnceLock<Text>,
}

/// The text that was written first, and for whom.
#[derive(Debug)]
struct Text {
    layout: &'static Layout,
    cursor: Option<Cursor>,
    bytes: Bytes,
    json: Range<usize>,
}

impl Flow {
    /// The event that was taken last as text, with the cursor after it. It is put together once for all who stand at the same place.
    pub fn text(&mut self, event: &Delivered, layout: &'static Layout) -> Result<Bytes, Ended> {
        self.is_reported = true;
        let (cursor, limit) = (self.cursor.as_ref(), self.snapshot.limits.cursor);
        event.note().text(event.event(), layout, cursor, limit).ok_or(Ended::CursorTooLong)
    }

    /// The event that was taken last as JSON with further extensions: `extra`, and if so asked where it stands.
    pub fn text_with(&mut self, event: &Delivered, extra: &[(&str, &str)], with_place: bool) -> Result<Bytes, Ended> {
        let cursor = if with_place { self.cursor()? } else { None };
        let mut extra = SmallVec::<[_; 3]>::from_slice(extra);
        if with_place {
            extra.extend(cursor.as_deref().map(|cursor| (CURSOR_EXTENSION, cursor)));
            extra.push((CHANNEL_EXTENSION, event.channel()));
        }
        let mut text = Vec::new();
        json::encode_into(event.event(), &extra, &mut text);
        Ok(text.into())
    }
}

impl Note {
    /// Sees to it that the record has a note. If it has one that asked the routes of another snapshot, here is one of this.
    pub(super) fn of(record: &Record, connector: usize, snapshot: &Snapshot) -> Option<Box<Self>> {
        record.note.get_or_init(|| Box::new(Self::new(record, connector, snapshot)));
        let is_stale = Self::written(record).edition != snapshot.edition;
        is_stale.then(|| Box::new(Self::new(record, connector, snapshot)))
    }

    fn new(record: &Record, connector: usize, snapshot: &Snapshot) -> Self {
        let owned = snapshot.router.owner(connector, record);
        let delivered = owned.as_ref().map(|owned| snapshot.counters.delivered(owned.route).clone());
        Self { edition: snapshot.edition, owned, delivered, first: OnceLock::new() }
    }

    /// The record's own note; it has one since a flow has looked at it, and only such are delivered.
    pub(super) fn written(record: &Record) -> &Self {
        let note = record.note.get().and_then(|note| note.downcast_ref());
        note.expect("only this module writes notes, and one is written before the record is delivered")
    }

    /// The event with the cursor after it, which may be missing; `None` if the cursor is longer than `limit`.
    pub(super) fn text(
        &self,
        event: &Event,
        layout: &'static Layout,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Option<Bytes> {
        let first = self.first.get();
        if let Some(text) = first
            && std::ptr::eq(text.layout, layout)
            && text.cursor.as_ref() == cursor
        {
            return Some(text.bytes.clone());
        }
        let cursor_text = cursor.map(Cursor::encode);
        if cursor_text.as_ref().is_some_and(|text| text.len() > limit) {
            return None;
        }
        let mut bytes = Vec::with_capacity(event.size() + 256);
        if let Some(text) = cursor_text {
            [layout.cursor[0], &text, layout.cursor[1]].iter().for_each(|part| bytes.extend(part.as_bytes()));
        }
        bytes.extend(layout.json[0].as_bytes());
        let start = bytes.len();
        match first {
            Some(text) => bytes.extend(&text.bytes[text.json.clone()]),
            None => json::encode_into(event, &[], &mut bytes),
        }
        let json = start..bytes.len();
        bytes.extend(layout.json[1].as_bytes());
        let bytes = Bytes::from(bytes);
        if first.is_none() {
            self.first.get_or_init(|| Text { layout, cursor: cursor.cloned(), bytes: bytes.clone(), json });
        }
        Some(bytes)
    }
}
