//! Reading a request's body: capped by `max_body`, and accounted for in `limits.in_flight` before memory grows.

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header, request::Parts},
    response::Response,
};
use bytes::{BufMut, BytesMut};
use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::{Sleep, sleep};

use super::{Http, problem::Problem};
use crate::gateway::Gateway;

/// What a publish occupies besides its body, about: headers, event, record.
pub(in crate::protocols) const OVERHEAD: usize = 2 << 10;
/// A refused body that is not longer is read, so that the connection can go on.
const SHORT: u64 = 64 << 10;
/// How much of a refused body is read, and for how long.
const DISCARD_BYTES: usize = 8 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A body, and its share of `limits.in_flight` until its events have their outcomes.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    share: Share,
}

impl Taken {
    /// Accounts for the events that have come out of it.
    pub(super) fn grow(&mut self, events: usize) -> Result<(), Problem> {
        self.share.grow(OVERHEAD * events.saturating_sub(1))
    }
}

/// What is under way of `limits.in_flight`, in bytes. Clones share it.
#[derive(Clone)]
pub(in crate::protocols) struct Budget {
    /// What there is now: it changes with the configuration.
    limit: Arc<dyn Fn() -> usize + Send + Sync>,
    taken: Arc<AtomicUsize>,
}

/// Bytes taken from the budget, until they are dropped.
pub(in crate::protocols) struct Share {
    budget: Arc<Budget>,
    limit: usize,
    taken: usize,
}

/// Reads the whole body, no more than `max_body` bytes of it and no longer than `limits.body_timeout`. What a refused client still sends
/// is left to its connection.
pub(super) async fn take(http: &Http, head: &Parts, body: &mut Incoming) -> Result<Taken, Problem> {
    let limits = http.gateway.now().limits;
    let max_body = http.max_body();
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max_body) || body.size_hint().lower() > max_body as u64 {
        return Err(too_large(max_body));
    }
    refuse_encodings(&head.headers)?;
    let mut share = Share::none(&http.in_flight);
    let mut overhead = OVERHEAD;
    let mut patience = Patience { time: limits.body_timeout, alarm: None };
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = patience.next(body).await? {
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > max_body {
            return Err(too_large(max_body));
        }
        share.grow(std::mem::take(&mut overhead) + data.len())?; // not what is announced: who is slow holds no more than it has sent
        if first.is_empty() && whole.is_empty() {
            first = data; // mostly the only one: no copy
            continue;
        }
        if whole.is_empty() {
            whole.reserve(announced.unwrap_or(first.len() + data.len()));
            whole.put(std::mem::take(&mut first));
        }
        whole.put(data);
    }
    // hyper takes a stream of HTTP/2 that its client resets without an error for one that has ended.
    if head.version == Version::HTTP_2 && !body.is_end_stream() {
        return Err(Problem::bad_request("the body was not sent to its end: the stream was reset"));
    }
    share.grow(overhead)?;
    Ok(Taken { bytes: if whole.is_empty() { first } else { whole.freeze() }, share })
}

/// How long a body may still take. What has come with its head needs no timer.
struct Patience {
    time: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Frame<Bytes>>, Problem> {
        poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(frame.transpose().map_err(|problem| unreadable(&problem)));
            }
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.time)));
            ready!(alarm.as_mut().poll(cx));
            Poll::Ready(Err(too_slow(self.time)))
        })
        .await
    }
}

/// Sees to what is left of a refused body while its answer is on its way. HTTP/2 resets the stream of a body that nobody reads, and
/// there are clients that then forget the answer: it is discarded. So is a short one of HTTP/1.1, whose connection goes on; with a
/// longer one, and with one that is too slow, the connection ends, and the answer says so.
pub(super) fn leave(head: &Parts, mut body: Incoming, answer: &mut Response) {
    if body.is_end_stream() || matches!(body.frame().now_or_never(), Some(None)) {
        return;
    }
    let is_short =
        body.size_hint().upper().is_some_and(|left| left <= SHORT) && !head.headers.contains_key(header::EXPECT);
    let is_slow = answer.status() == StatusCode::REQUEST_TIMEOUT;
    if head.version == Version::HTTP_2 || is_short && !is_slow {
        tokio::spawn(discard(body));
    } else {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn discard(mut body: Incoming) {
    let mut left = DISCARD_BYTES;
    let discarding = async {
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    if tokio::time::timeout(DISCARD_TIME, discarding).await.is_err() {
        tracing::debug!("a refused body was still being sent");
    }
}

impl Budget {
    /// Of `limits.in_flight`. One of the largest events always fits, also if it is `swollen` so many times.
    pub(super) fn new(gateway: Arc<Gateway>, swollen: usize) -> Arc<Self> {
        let taken = gateway.in_flight.clone();
        let limit = move || {
            let limits = gateway.now().limits.connectors;
            limits.in_flight.max(swollen * (limits.max_body + OVERHEAD))
        };
        Arc::new(Self { limit: Arc::new(limit), taken })
    }

    /// Of so many bytes.
    #[cfg(test)]
    pub(in crate::protocols) fn of(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: Arc::new(move || limit), taken: Arc::default() })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Share {
    /// None yet.
    pub(super) fn none(budget: &Arc<Budget>) -> Self {
        Self { budget: budget.clone(), limit: (budget.limit)(), taken: 0 }
    }

    /// `None`: so much is not left.
    pub(in crate::protocols) fn of(budget: &Arc<Budget>, bytes: usize) -> Option<Self> {
        let mut share = Self::none(budget);
        share.grow(bytes).is_ok().then_some(share)
    }

    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes == 0 {
            return Ok(());
        }
        if self.taken + bytes > self.limit {
            let detail =
                "so many events at once are more than `limits.in_flight` allows: publish them in smaller batches";
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        // Who looks first has the line of memory fetched twice. One that is refused takes from others for a moment.
        if self.budget.taken.fetch_add(bytes, Relaxed) + bytes > self.limit {
            self.budget.taken.fetch_sub(bytes, Relaxed);
            let detail = "as much as `limits.in_flight` allows is being published already";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1));
        }
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.taken, Relaxed);
    }
}

/// The body ends too early or is not in chunks as it should be; the innermost error says which.
fn unreadable(problem: &dyn Error) -> Problem {
    let mut cause = problem;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Problem::bad_request(format!("the body could not be read: {cause}"))
}

fn too_slow(time: Duration) -> Problem {
    let detail = format!("the body did not arrive within `limits.body_timeout`, which is {time:?}");
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
}

fn too_large(max_body: usize) -> Problem {
    let detail = format!("the body is larger than `max_body`, which is {max_body} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn refuse_encodings(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let detail = format!("content-encoding {encoding:?} is not read: send the body as it is");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
        _ => Ok(()),
    }
}
