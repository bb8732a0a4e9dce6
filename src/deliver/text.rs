//! What is worked out about a record once, for all flows that read it: whose event it is, and its text.
//!
//! Subscribers of one filter who are up to date stand at the same place: what is written to them is the same to the byte. The text of
//! the first is kept, and whoever stands elsewhere or writes it in another way takes the JSON out of it.

use std::{ops::Range, sync::OnceLock};

use bytes::Bytes;
use meshgate_api::{connector::Record, cursor::Cursor, event::Event, json};

use crate::router::Owned;

/// How a protocol writes an event: what stands around the cursor, which may be missing, and around the event's JSON.
#[derive(Debug)]
pub struct Layout {
    /// Before and after the cursor.
    pub cursor: [&'static str; 2],
    /// Before and after the event as structured JSON on one line.
    pub json: [&'static str; 2],
}

/// What is worked out once about a record.
pub(super) struct Note {
    /// Whose event it is.
    pub(super) owned: Option<Owned>,
    first: OnceLock<Text>,
}

/// The text that was written first, and for whom.
struct Text {
    layout: &'static Layout,
    cursor: Option<Cursor>,
    bytes: Bytes,
    json: Range<usize>,
}

impl Note {
    /// The record's note, which `owner` begins if there is none yet.
    pub(super) fn of(record: &Record, owner: impl FnOnce() -> Option<Owned>) -> &Self {
        record.note.get_or_init(|| Box::new(Self { owned: owner(), first: OnceLock::new() }));
        Self::written(record)
    }

    /// The note of a record that a flow has looked at; only such are delivered.
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
