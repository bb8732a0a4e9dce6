//! Reading as server-sent events (`text/event-stream`, WHATWG HTML section 9.2).
//!
//! A status refuses only what is wrong for good, because an `EventSource` never comes back from one. What is not possible now is a
//! stream that ends at once and says when to come back.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::{BufMut, BytesMut};
use hyper::body::Frame;
use meshgate_api::cursor::Cursor;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    Http,
    problem::Problem,
    query::{self, ReadQuery},
};
use crate::{
    deliver::{Delivered, Ended, Flow, From, Layout, OpenError, Reading},
    protocols::websocket,
    router::ChannelFilter,
    shutdown::Drain,
};

/// Answers `GET /channels/{filter}`.
pub(super) async fn read(http: &Arc<Http>, filter: ChannelFilter, request: &Parts) -> Result<Response, Problem> {
    if websocket::is_asked_for(request) {
        return websocket::accept(http, filter, request).await;
    }
    accepts_event_stream(&request.headers)?;
    let last_event_id = query::last_event_id(&request.headers)?;
    let query = query::read(&request.uri, last_event_id, &mut |_, _| Ok(false))?;
    let (channels, from, cursors) = (filter.clone(), query.from.clone(), query.resume);
    let reading = Reading { channels, from, cursors, group: None };
    match http.gateway.open(reading).await {
        Ok(flow) => {
            let sse = Sse::begin(http, flow, &query).map_err(|problem| Problem::bad_request(problem.to_string()))?;
            Ok(event_stream(Body::new(sse)))
        }
        Err(OpenError::NotNow(detail)) => Ok(event_stream(come_back(&filter, &query, &detail).into())),
        Err(refused) => Err(refusal(&filter, refused)),
    }
}

pub(in crate::protocols) fn refusal(filter: &ChannelFilter, refused: OpenError) -> Problem {
    match refused {
        OpenError::NoRoute => Problem::new(
            StatusCode::NOT_FOUND,
            format!("no route's channel pattern overlaps the filter `{}`", filter.as_str()),
        ),
        OpenError::Gone { cursor, detail } => {
            let detail = format!("{detail}; reading can go on from the problem's `cursor`");
            Problem::new(StatusCode::GONE, detail).with_cursor(cursor)
        }
        other => Problem::bad_request(other.to_string()),
    }
}

/// Only what this version serves: an event stream, to whoever wants one or does not say.
fn accepts_event_stream(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(header::ACCEPT) {
        return Ok(());
    }
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let mut pages = false;
    for range in ranges.flat_map(|accept| accept.split(',')) {
        let (range, parameters) = range.split_once(';').unwrap_or((range, ""));
        let refused =
            parameters.split(';').any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        match &*range.trim().to_ascii_lowercase() {
            _ if refused => {}
            "text/event-stream" | "text/*" | "*/*" => return Ok(()),
            "application/cloudevents-batch+json" => pages = true,
            _ => {}
        }
    }
    let detail = if pages {
        "pages (application/cloudevents-batch+json) are not built yet: accept text/event-stream"
    } else {
        "what `accept` names is not served: accept text/event-stream"
    };
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail))
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
fn come_back(filter: &ChannelFilter, query: &ReadQuery, detail: &str) -> Bytes {
    let cursor = match &query.from {
        From::Cursor(cursor) => Some(cursor.to_string()),
        From::Earliest => Some(Cursor::new(filter.as_str()).encode()), // names nothing: everything from its start
        From::Latest | From::Time(_) => None,
    };
    let mut text = BytesMut::new();
    if let Some(cursor) = cursor.filter(|_| query.resume) {
        put_id(&mut text, &cursor);
    }
    text.put_slice(format!("retry: {}\n", spread_retry().as_millis()).as_bytes());
    put_comment(&mut text, detail);
    text.freeze()
}

/// 1 to 5 s, so that many readers do not come back at once.
fn spread_retry() -> Duration {
    Duration::from_millis(rand::random_range(1000..=5000))
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
        match flow.stand()? {
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
        match self.flow.poll_event(cx) {
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
                self.flow.count(event);
                text
            }
            Err(end) => self.end(&end),
        }
    }

    /// With the channel and the cursor as attributes of the event, too.
    fn with_meta(&mut self, event: &Delivered) -> Result<Bytes, Ended> {
        let json = self.flow.text_with(event, &[], true)?;
        let mut text = BytesMut::with_capacity(2 * json.len());
        if let Some(cursor) = self.flow.stand()? {
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
        match self.flow.news() {
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
                if let Ok(Some(id)) = self.flow.stand() {
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
