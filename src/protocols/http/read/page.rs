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
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use meshgate_api::json;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use tokio::{
    task::coop::consume_budget,
    time::{Instant, sleep_until},
};

use super::{Form, ended};
use crate::{
    deliver::{Delivered, Ended, Flow},
    protocols::http::{
        Http,
        problem::Problem,
        query::{self, ReadQuery},
    },
    shutdown::Drain,
};

/// Bytes of the longest page; one event always fits.
const MAX_BYTES: usize = 4 << 20;
/// The longest time that reading may take while there is more to read.
const READING_TIME: Duration = Duration::from_secs(5);

const CURSOR: HeaderName = HeaderName::from_static("meshgate-cursor");
const END: HeaderName = HeaderName::from_static("meshgate-end");

/// What may not stand in a URL (RFC 3986), although requests have it.
const NO_URL: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Answers with the next page of `flow`, which `uri` asked for.
pub(super) async fn page(http: &Http, flow: Flow, query: &ReadQuery, uri: &Uri) -> Result<Response, Problem> {
    let mut page = Page {
        flow,
        drain: http.drain.clone(),
        meta: query.meta,
        room: query.limit,
        body: Vec::from(b"["),
        stand: None,
        is_cut: false,
    };
    match page.fill(Instant::now() + query.wait).await {
        // What has come is given out: the next page says why reading does not go on.
        Err(Ended::Gone { .. } | Ended::Interrupted(_)) if page.has_events() => {}
        Err(end) => return Err(ended(end)),
        Ok(()) => {}
    }
    page.answer(uri).map_err(ended)
}

struct Page {
    flow: Flow,
    drain: Drain,
    meta: bool,
    /// Events that it may still hold.
    room: u64,
    body: Vec<u8>,
    /// The cursor after its last event.
    stand: Option<String>,
    /// An event that had been taken did not fit.
    is_cut: bool,
}

impl Page {
    /// Takes what there is, and waits until `wait_until` if there is nothing.
    async fn fill(&mut self, wait_until: Instant) -> Result<(), Ended> {
        let mut read_until = Instant::now() + READING_TIME;
        loop {
            self.take()?;
            let is_waiting = self.flow.is_at_end();
            if self.room == 0 || !is_waiting && Instant::now() >= read_until {
                return Ok(());
            }
            consume_budget().await;
            if !self.arrival(read_until, wait_until).await? {
                return Ok(());
            }
            if is_waiting {
                read_until = Instant::now() + READING_TIME;
            }
        }
    }

    /// Takes of what has arrived as much as there is room for.
    fn take(&mut self) -> Result<(), Ended> {
        while self.room > 0 {
            self.stand = self.flow.stand()?;
            let Some(event) = self.flow.take() else { break };
            if self.put(&event)? {
                self.flow.count(&event);
                self.room -= 1;
            } else {
                self.is_cut = true;
                self.room = 0;
            }
        }
        Ok(())
    }

    /// Writes an event, unless the page would become too long by it.
    fn put(&mut self, event: &Delivered) -> Result<bool, Ended> {
        let before = self.body.len();
        if self.has_events() {
            self.body.push(b',');
        }
        let cursor = if self.meta { self.flow.stand()? } else { None };
        let cursor = cursor.as_deref().map(|cursor| ("meshgatecursor", cursor));
        let channel = self.meta.then(|| ("meshgatechannel", event.channel()));
        let extra: Vec<_> = cursor.into_iter().chain(channel).collect();
        json::encode_into(event.event(), &extra, &mut self.body);
        let fits = before == 1 || self.body.len() < MAX_BYTES;
        if !fits {
            self.body.truncate(before);
        }
        Ok(fits)
    }

    fn has_events(&self) -> bool {
        self.body.len() > 1
    }

    /// Waits for more; `false`: the page ends with what it has.
    async fn arrival(&mut self, read_until: Instant, wait_until: Instant) -> Result<bool, Ended> {
        let mut alarm = pin!(sleep_until(read_until));
        poll_fn(|cx| {
            if self.flow.poll_arrival(cx)?.is_ready() {
                return Poll::Ready(Ok(true));
            }
            let is_at_end = self.flow.is_at_end();
            if is_at_end && self.has_events() || self.drain.poll_begun(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            alarm.as_mut().reset(if is_at_end { wait_until } else { read_until });
            ready!(alarm.as_mut().poll(cx));
            Poll::Ready(Ok(false))
        })
        .await
    }

    fn answer(mut self, uri: &Uri) -> Result<Response, Ended> {
        let mut headers = HeaderMap::new();
        let (kind, subtype) = Form::Page.media_type();
        headers.insert(header::CONTENT_TYPE, text(format!("{kind}/{subtype}")));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !self.is_cut {
            self.stand = self.flow.stand()?;
            if self.flow.is_at_end() {
                headers.insert(END, HeaderValue::from_static("true"));
            }
        }
        if let Some(cursor) = self.stand {
            headers.insert(header::LINK, text(format!("<{}>; rel=\"next\"", next(uri, &cursor))));
            headers.insert(CURSOR, text(cursor));
        }
        self.body.push(b']');
        Ok((StatusCode::OK, headers, self.body).into_response())
    }
}

/// The same request for what comes after `cursor`.
fn next(uri: &Uri, cursor: &str) -> String {
    let asked = uri.query().unwrap_or_default();
    let others = asked.split('&').filter(|pair| !pair.is_empty() && !query::names(pair, "after"));
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
