//! A stream of server-sent events (`text/event-stream`, WHATWG HTML section 9.2).
//!
//! A status refuses only what is wrong for good, because an `EventSource` never comes back from one. What is not possible now is a
//! stream that ends at once and says when to come back.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::{BufMut, BytesMut};
use hyper::body::Frame;
use meshgate_api::cursor::Cursor;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{ended, reading, refusal, spread_retry};
use crate::{
    deliver::{Begin, Delivered, Ended, Flow, Layout, OpenError},
    protocols::http::{
        Http,
        problem::Problem,
        query::{self, ReadQuery},
    },
    router::ChannelFilter,
    shutdown::Drain,
};

/// Answers with events for as long as the reader stays.
pub(super) async fn stream(http: &Http, filter: ChannelFilter, request: &Parts) -> Result<Response, Problem> {
    let last_event_id = query::last_event_id(&request.headers)?;
    let query = query::read(&request.uri, last_event_id, Begin::Latest, (&[], &mut |_, _| Ok(())))?;
    match http.gateway.open(reading(&filter, &query)).await {
        Ok(flow) => Ok(event_stream(Body::new(Sse::begin(http, flow, &query).map_err(ended)?))),
        Err(OpenError::Busy(detail) | OpenError::NotNow(detail)) => Ok(come_back(&filter, &query, &detail)),
        Err(refused) => Err(refusal(&filter, refused)),
    }
}

fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

/// A stream that ends at once, with the position to come back with and when.
fn come_back(filter: &ChannelFilter, query: &ReadQuery, detail: &str) -> Response {
    let cursor = match &query.from {
        Begin::Cursor(cursor) => Some(cursor.to_string()),
        Begin::After(cursor) => Some(cursor.encode()),
        Begin::Earliest => Some(Cursor::new(filter.as_str()).encode()), // names nothing: everything from its start
        Begin::Latest | Begin::Time(_) => None,
    };
    let mut text = BytesMut::new();
    if let Some(cursor) = cursor.filter(|_| query.resume) {
        put_id(&mut text, &cursor);
    }
    text.put_slice(format!("retry: {}\n", spread_retry().as_millis()).as_bytes());
    put_comment(&mut text, detail);
    event_stream(text.freeze().into())
}

/// How an event is written.
static LAYOUT: Layout = Layout { cursor: ["id: ", "\n"], json: ["data: ", "\n\n"] };

/// One subscriber's stream.
struct Sse {
    flow: Flow,
    drain: Drain,
    heartbeat: Interval,
    /// Events that may still be written.
    left: u64,
    meta: bool,
    /// To be written first.
    first: Option<Bytes>,
    ended: bool,
}

impl hyper::body::Body for Sse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_text(cx).map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}

impl Sse {
    fn begin(http: &Http, mut flow: Flow, query: &ReadQuery) -> Result<Self, Ended> {
        let mut first = BytesMut::new();
        match flow.cursor()? {
            Some(id) => put_id(&mut first, &id),
            None => put_comment(&mut first, ""),
        }
        let mut heartbeat = interval_at(Instant::now() + http.heartbeat, http.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            flow,
            drain: http.drain.clone(),
            heartbeat,
            left: query.limit.unwrap_or(u64::MAX),
            meta: query.meta,
            first: Some(first.freeze()),
            ended: false,
        })
    }

    /// The next bytes of the stream; `None` at its end.
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.ended || self.drain.has_begun() {
            return Poll::Ready(None);
        }
        match self.flow.poll_event(cx, self.left) {
            Poll::Ready(Ok(event)) => Poll::Ready(Some(self.write(&event))),
            Poll::Ready(Err(end)) => Poll::Ready(Some(self.end(&end))),
            Poll::Pending if self.heartbeat.poll_tick(cx).is_ready() => Poll::Ready(Some(self.beat())),
            Poll::Pending => self.drain.poll_begun(cx).map(|()| None),
        }
    }

    fn write(&mut self, event: &Delivered) -> Bytes {
        self.left -= 1;
        self.ended = self.left == 0;
        let written = if self.meta { self.with_meta(event) } else { self.flow.text(event, &LAYOUT) };
        match written {
            Ok(text) => {
                event.count();
                text
            }
            Err(end) => self.end(&end),
        }
    }

    /// With the channel and the cursor as attributes of the event, too.
    fn with_meta(&mut self, event: &Delivered) -> Result<Bytes, Ended> {
        let json = self.flow.text_with(event, &[], true)?;
        let mut text = BytesMut::with_capacity(2 * json.len());
        if let Some(cursor) = self.flow.cursor()? {
            put(&mut text, &["id: ", &cursor, "\n"]);
        }
        text.put_slice(b"data: ");
        text.put_slice(&json);
        text.put_slice(b"\n\n");
        Ok(text.freeze())
    }

    /// A sign of life, with the cursor if it has moved past events that did not match.
    fn beat(&mut self) -> Bytes {
        let mut text = BytesMut::new();
        put_comment(&mut text, "");
        match self.flow.changed_cursor() {
            Ok(Some(id)) => put_id(&mut text, &id),
            Ok(None) => {}
            Err(end) => text.put_slice(&self.end(&end)),
        }
        text.freeze()
    }

    fn end(&mut self, end: &Ended) -> Bytes {
        self.ended = true;
        let mut text = BytesMut::new();
        match end {
            Ended::Interrupted(_) => {
                text.put_slice(format!("retry: {}\n", spread_retry().as_millis()).as_bytes());
            }
            // With this the reader who comes back is told so, even if its last cursor would be good again by then.
            Ended::Gone { .. } => {
                if let Ok(Some(id)) = self.flow.cursor() {
                    put_id(&mut text, &id);
                }
            }
            Ended::CursorTooLong => {}
        }
        put_comment(&mut text, &end.to_string());
        text.freeze()
    }
}

fn put(text: &mut impl BufMut, parts: &[&str]) {
    parts.iter().for_each(|part| text.put_slice(part.as_bytes()));
}

fn put_id(text: &mut impl BufMut, id: &str) {
    put(text, &["id: ", id, "\n\n"]);
}

fn put_comment(text: &mut impl BufMut, comment: &str) {
    put(text, &[": ", &comment.replace(['\r', '\n'], " "), "\n\n"]);
}
