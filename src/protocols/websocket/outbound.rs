//! What a client is sent: the events of its subscription, in a group each with a tag by which it is settled.

use std::{
    collections::HashMap,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use meshgate_api::connector::Settlement;

use super::{close::End, query::Query};
use crate::{
    codec::websocket::{Settling, Verdict},
    deliver::{Confirmation, Delivered, Ended, Flow, Layout},
};

/// An event is written as it is.
static LAYOUT: Layout = Layout { cursor: ["", ""], json: ["", ""] };

pub(super) struct Outbound {
    flow: Flow,
    /// Events that may still be sent.
    left: u64,
    meta: bool,
    /// In a group.
    confirmations: Option<Confirmations>,
}

/// The deliveries of a group that are not settled.
struct Confirmations {
    /// No more than so many are open at once.
    most: usize,
    open: HashMap<u64, Confirmation>,
    last_tag: u64,
    /// Those that are confirmed as soon as they are written.
    auto: Option<Vec<Confirmation>>,
}

impl Outbound {
    pub(super) fn new(flow: Flow, query: &Query, most: usize) -> Self {
        let confirmations = query.group.is_some().then(|| Confirmations {
            most,
            open: HashMap::new(),
            last_tag: 0,
            auto: query.auto_ack.then(Vec::new),
        });
        Self { flow, left: query.read.limit.unwrap_or(u64::MAX), meta: query.read.meta, confirmations }
    }

    /// The next event's text. Not ready while as many as may be are not settled.
    pub(super) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        if self.left == 0 {
            let all_settled = self.confirmations.as_ref().is_none_or(|confirmations| confirmations.open.is_empty());
            return if all_settled { Poll::Ready(Err(End::complete())) } else { Poll::Pending };
        }
        let room = self.confirmations.as_ref().map_or(u64::MAX, Confirmations::room);
        if room == 0 {
            return Poll::Pending;
        }
        let event = match ready!(self.flow.poll_event(cx, room.min(self.left))) {
            Ok(event) => event,
            Err(ended) => return Poll::Ready(Err(End::from(&ended))),
        };
        self.left -= 1;
        Poll::Ready(self.text(event).map_err(|ended| End::from(&ended)))
    }

    fn text(&mut self, mut event: Delivered) -> Result<Bytes, Ended> {
        let tag = self.confirmations.as_mut().and_then(|confirmations| confirmations.enter(event.confirmation()));
        let text = match tag.map(|tag| tag.to_string()) {
            Some(tag) => self.flow.text_with(&event, &[("deliverytag", &tag)], self.meta)?,
            None if self.meta => self.flow.text_with(&event, &[], true)?,
            None => self.flow.text(&event, &LAYOUT)?,
        };
        event.count();
        Ok(text)
    }

    /// All that was sent is written. Whether there is room again for which [`poll_text`](Self::poll_text) was not ready.
    pub(super) fn written(&mut self) -> bool {
        let Some(confirmations) = &mut self.confirmations else { return false };
        let was_full = confirmations.room() == 0;
        let written = confirmations.auto.iter_mut().flat_map(|written| written.drain(..));
        written.for_each(|confirmation| confirmation.settle(&Settlement::Ack));
        was_full && confirmations.room() > 0
    }

    /// Settles deliveries as the client says. The error names those that are not open; the others are settled all the same.
    pub(super) fn settle(&mut self, Settling { tags, verdict, .. }: Settling) -> Result<(), String> {
        let confirmations = self.confirmations.as_mut().filter(|confirmations| confirmations.auto.is_none());
        let confirmations =
            confirmations.ok_or("nothing is to be confirmed here: that is for a `group=` without `ack=auto`")?;
        let settlement = match verdict {
            Verdict::Ack => Settlement::Ack,
            Verdict::Nack(after) => Settlement::Retry { after },
            Verdict::Reject(reason) => Settlement::Reject { reason },
        };
        let mut unknown = Vec::new();
        for tag in tags {
            match confirmations.open.remove(&tag) {
                Some(confirmation) => confirmation.settle(&settlement),
                None => unknown.push(tag.to_string()),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        Err(format!("no delivery with tag {} is open on this connection", unknown.join(", ")))
    }
}

impl Confirmations {
    /// How many more may be open.
    fn room(&self) -> u64 {
        let open = self.open.len() + self.auto.as_ref().map_or(0, Vec::len);
        self.most.saturating_sub(open) as u64
    }

    /// The tag of a delivery that the client is to settle.
    fn enter(&mut self, confirmation: Option<Confirmation>) -> Option<u64> {
        let confirmation = confirmation?;
        match &mut self.auto {
            Some(written) => {
                written.push(confirmation);
                None
            }
            None => {
                self.last_tag += 1;
                self.open.insert(self.last_tag, confirmation);
                Some(self.last_tag)
            }
        }
    }
}
