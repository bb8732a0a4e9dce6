//! One page of events (`application/cloudevents-batch+json`), with the cursor after it.
//!
//! A page ends when it is full, when all that is stored has been read, or when reading has taken its time. An empty one waits for the
//! first event if the reader asks it to.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use meshgate_api::settings::duration;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use tokio::time::{Instant, sleep_until};

use super::{Form, ended, not_now, reading, refusal};
use crate::{
    deliver::{Begin, Delivered, Ended, Flow},
    protocols::http::{
        Http,
        body::Share,
        problem::Problem,
        query::{self, ReadQuery},
    },
    router::ChannelFilter,
    shutdown::Drain,
};

mod sending;

/// Bytes of the longest page; one event always fits.
const MAX_BYTES: usize = 4 << 20;
/// The longest time that reading may take while there is more to read.
const READING_TIME: Duration = Duration::from_secs(5);

const CURSOR: HeaderName = HeaderName::from_static("meshgate-cursor");
const END: HeaderName = HeaderName::from_static("meshgate-end");

/// What may not stand in a URL (RFC 3986), although requests have it.
const NO_URL: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Events of a page: unless the query says otherwise, and at most.
const EVENTS: u64 = 100;
const MAX_EVENTS: u64 = 1000;
/// What an empty page may wait for an event.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Answers with the events that there are, from where the query says.
pub(super) async fn page(http: &Http, filter: &ChannelFilter, request: &Parts) -> Result<Response, Problem> {
    let (query, wait) = read_query(request)?;
    let flow = http.gateway.open(reading(filter, &query)).await.map_err(|error| refusal(filter, error))?;
    let mut page = Page {
        flow,
        drain: http.drain.clone(),
        meta: query.meta,
        room: query.limit.unwrap_or(EVENTS),
        body: Vec::from(b"["),
        share: Share::none(&http.pages),
        cursor: None,
        is_cut: false,
    };
    match page.fill(Instant::now() + wait).await {
        // What has come is given out: the next page says why reading does not go on.
        Err(Ended::Gone { .. } | Ended::Interrupted(_)) if page.has_events() => {}
        Err(end) => return Err(ended(end)),
        Ok(()) if page.is_cut && !page.has_events() => return Err(too_many()),
        Ok(()) => {}
    }
    page.answer(&request.uri, http.body_timeout()).map_err(ended)
}

fn too_many() -> Problem {
    let detail = "pages that others have not read yet take as much as `limits.in_flight` allows";
    not_now(StatusCode::TOO_MANY_REQUESTS, detail.into())
}

/// The queries of a page: those of every read, and how long it may wait.
fn read_query(request: &Parts) -> Result<(ReadQuery, Duration), Problem> {
    let mut wait = Duration::ZERO;
    let last_event_id = query::last_event_id(&request.headers)?;
    let mut own = |_: &str, value: &str| {
        wait = read_wait(value)?;
        Ok(())
    };
    let query = query::read(&request.uri, last_event_id, Begin::Earliest, (&["wait"], &mut own))?;
    if let Some(limit) = query.limit.filter(|limit| *limit > MAX_EVENTS) {
        return Err(Problem::bad_request(format!("`limit={limit}`: a page has at most {MAX_EVENTS} events")));
    }
    Ok((query, wait))
}

/// Seconds, as in RFC 7240, or a time with its unit.
fn read_wait(value: &str) -> Result<Duration, Problem> {
    let wait = value.parse().map(Duration::from_secs).ok().or_else(|| duration(value));
    wait.filter(|wait| *wait <= MAX_WAIT)
        .ok_or_else(|| Problem::bad_request(format!("`wait={value}`: use a time such as 500ms or 30s, at most 60s")))
}

struct Page {
    flow: Flow,
    drain: Drain,
    meta: bool,
    /// Events that it may still hold.
    room: u64,
    body: Vec<u8>,
    share: Share,
    /// The cursor after its last event.
    cursor: Option<String>,
    /// An event that had been taken did not fit.
    is_cut: bool,
}

impl Page {
    /// Takes what there is, and waits until `wait_until` if there is nothing.
    async fn fill(&mut self, wait_until: Instant) -> Result<(), Ended> {
        let mut read_until = Instant::now() + READING_TIME;
        while self.room > 0 {
            self.cursor = self.flow.cursor()?;
            let Some(event) = self.next(&mut read_until, wait_until).await? else { break };
            let fits = self.put(&event)?;
            if !fits {
                self.is_cut = true;
                break;
            }
            event.count();
            self.room -= 1;
            if Instant::now() >= read_until {
                break;
            }
        }
        Ok(())
    }

    /// The next event; `None`: the page ends with what it has. The time for reading counts while there is more to read.
    async fn next(&mut self, read_until: &mut Instant, wait_until: Instant) -> Result<Option<Delivered>, Ended> {
        let mut alarm = pin!(sleep_until(*read_until));
        poll_fn(|cx| {
            if let Poll::Ready(event) = self.flow.poll_event(cx, self.room) {
                return Poll::Ready(event.map(Some));
            }
            let is_at_end = self.flow.is_at_end();
            if is_at_end && self.has_events() || self.drain.poll_begun(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            if is_at_end {
                *read_until = Instant::now() + READING_TIME;
            }
            alarm.as_mut().reset(if is_at_end { wait_until } else { *read_until });
            ready!(alarm.as_mut().poll(cx));
            Poll::Ready(Ok(None))
        })
        .await
    }

    /// Writes an event, unless the page, or all of them together, would become too long by it.
    fn put(&mut self, event: &Delivered) -> Result<bool, Ended> {
        let json = self.flow.text_with(event, &[], self.meta)?;
        let is_too_long = self.has_events() && self.body.len() + json.len() + ",]".len() > MAX_BYTES;
        if is_too_long || self.share.grow(json.len() + 1).is_err() {
            return Ok(false);
        }
        if self.has_events() {
            self.body.push(b',');
        }
        self.body.extend(json);
        Ok(true)
    }

    fn has_events(&self) -> bool {
        self.body.len() > 1
    }

    fn answer(mut self, uri: &Uri, time: Duration) -> Result<Response, Ended> {
        let mut headers = HeaderMap::new();
        let (kind, subtype) = Form::Page.media_type();
        headers.insert(header::CONTENT_TYPE, text(format!("{kind}/{subtype}")));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !self.is_cut {
            self.cursor = self.flow.cursor()?;
            if self.flow.is_at_end() {
                headers.insert(END, HeaderValue::from_static("true"));
            }
        }
        if let Some(cursor) = self.cursor {
            headers.insert(header::LINK, text(format!("<{}>; rel=\"next\"", next(uri, &cursor))));
            headers.insert(CURSOR, text(cursor));
        }
        self.body.push(b']');
        Ok((StatusCode::OK, headers, sending::body(self.body, self.share, time)).into_response())
    }
}

/// The same request for what comes after `cursor`.
fn next(uri: &Uri, cursor: &str) -> String {
    let asked = uri.query().unwrap_or_default();
    let others = asked.split('&').filter(|pair| !pair.is_empty() && !query::has_key(pair, "after"));
    let mut url = format!("{}?", uri.path());
    others.for_each(|pair| url.extend([pair, "&"]));
    url.extend(["after=", cursor]);
    percent_encode(url.as_bytes(), NO_URL).to_string()
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("media types, cursors and percent-encoded URLs are printable ASCII")
}

#[cfg(test)]
mod tests;
