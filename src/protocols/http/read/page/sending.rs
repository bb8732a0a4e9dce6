//! A page on its way to a client who may be slow: it counts among the bytes of pages until it is written, and not for ever.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::sleep};

use crate::protocols::http::body::Share;

/// Bytes that are handed on at once. What is not longer is as good as written: a connection holds as much anyway.
const PIECE: usize = 64 << 10;

/// A long page that is being written.
struct Sending {
    rest: Arc<Mutex<Option<Rest>>>,
    /// Bytes of it.
    left: usize,
    /// Gives up the rest.
    timer: AbortHandle,
}

struct Rest {
    bytes: Bytes,
    _share: Share,
}

/// The body of an answer. After `time` what the client has not taken is given up, and its connection ends.
pub(super) fn body(page: Vec<u8>, share: Share, time: Duration) -> Body {
    if page.len() <= PIECE {
        return page.into();
    }
    let left = page.len();
    let bytes = Bytes::from(page.into_boxed_slice());
    let rest = Arc::new(Mutex::new(Some(Rest { bytes, _share: share })));
    let late = rest.clone();
    let timer = tokio::spawn(async move {
        sleep(time).await;
        drop(late.lock().take());
    });
    Body::new(Sending { rest, left, timer: timer.abort_handle() })
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.rest.lock().as_mut().map(|rest| rest.bytes.split_to(PIECE.min(rest.bytes.len())));
        let Some(piece) = piece else { return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))) };
        self.left -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.timer.abort();
        drop(self.rest.lock().take());
    }
}

#[cfg(test)]
mod tests;
