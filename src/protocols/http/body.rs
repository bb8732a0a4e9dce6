//! Reading a request's body: capped by `max_body`, and accounted for in `limits.in_flight` before memory grows.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
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
use hyper::body::{Body as _, Incoming};

use super::problem::Problem;

/// What a publish occupies besides its body, about: headers, event, record.
pub(in crate::protocols) const OVERHEAD: usize = 2 << 10;
/// A refused body that is not longer is read, so that the connection can go on.
const SHORT: u64 = 64 << 10;
/// How much of a refused body is read, and for how long.
const DISCARD_BYTES: usize = 8 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A body, and its share of `limits.in_flight` until the answer.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// What is left of `limits.in_flight`, in bytes.
#[derive(Debug)]
pub(in crate::protocols) struct Budget(AtomicUsize);

/// Bytes taken from the budget, until they are dropped.
pub(in crate::protocols) struct Share {
    budget: Arc<Budget>,
    taken: usize,
}

/// Reads the whole body, no more than `max_body` bytes of it. What a refused client still sends is left to its connection.
pub(super) async fn take(
    headers: &HeaderMap,
    body: &mut Incoming,
    max_body: usize,
    budget: &Arc<Budget>,
) -> Result<Taken, Problem> {
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max_body) || body.size_hint().lower() > max_body as u64 {
        return Err(too_large(max_body));
    }
    refuse_encodings(headers)?;
    let mut share = Share { budget: budget.clone(), taken: 0 };
    share.grow(OVERHEAD + announced.unwrap_or(0))?;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|problem| unreadable(&problem))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > max_body {
            return Err(too_large(max_body));
        }
        if announced.is_none() {
            share.grow(data.len())?;
        }
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
    Ok(Taken { bytes: if whole.is_empty() { first } else { whole.freeze() }, _share: share })
}

/// Sees to what is left of a refused body while its answer is on its way. HTTP/2 resets the stream of a body that nobody reads, and
/// there are clients that then forget the answer: it is discarded. So is a short one of HTTP/1.1, whose connection goes on; with a
/// longer one the connection ends, and the answer says so.
pub(super) fn leave(head: &Parts, mut body: Incoming, answer: &mut Response) {
    if body.is_end_stream() || matches!(body.frame().now_or_never(), Some(None)) {
        return;
    }
    let is_short =
        body.size_hint().upper().is_some_and(|left| left <= SHORT) && !head.headers.contains_key(header::EXPECT);
    if head.version == Version::HTTP_2 || is_short {
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
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }
}

impl Share {
    /// `None`: so much is not left.
    pub(in crate::protocols) fn of(budget: &Arc<Budget>, bytes: usize) -> Option<Self> {
        let mut share = Self { budget: budget.clone(), taken: 0 };
        share.grow(bytes).is_ok().then_some(share)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if self.budget.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_err() {
            let detail = "as much as `limits.in_flight` allows is being published already";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1));
        }
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.taken, Relaxed);
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
