//! A client's connection, with what hyper leaves to its user:
//!
//! - who does not say in time which HTTP it speaks is closed (after that hyper watches over its heads, with [`HeadTimer`]);
//! - an answer is written in one piece, which hyper puts together: for what is small, the system call takes longer with several;
//! - it is written when the other connections that have something to be read had their turn: answers then leave together, and a client
//!   that waits for several is woken once. To wake it takes longer than all else about a small answer;
//! - what still comes after the last answer is read for a while: closing over unread bytes resets the connection, and a reset may
//!   overtake the answer.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::timer::HeadTimer;
use crate::protocols::accept::Open;

/// Bytes of the preface of HTTP/2, by which the two versions of HTTP are told apart.
const PREFACE: usize = 24;
/// After the last answer a client may send nothing for so long, and anything for so long in all.
const LINGERING_SILENCE: Duration = Duration::from_secs(1);
const LINGERING_TIME: Duration = Duration::from_secs(10);

type Timer = Pin<Box<Sleep>>;

/// The connection.
pub(super) struct Socket {
    stream: TcpStream,
    /// Until it is known which HTTP the client speaks: the bytes that are missing for it, and their deadline.
    opening: Option<(usize, Timer)>,
    /// Once its writing side is closed: the deadline of what still comes, and that of the next of it.
    lingering: Option<(Instant, Timer)>,
    timer: HeadTimer,
    /// Something was read since the last write, which is its answer: the next one.
    is_answer_next: bool,
    _open: Open,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, timer: HeadTimer, open: Open) -> Self {
        let opening = Some((PREFACE, Box::pin(sleep_until(timer.opening_deadline()))));
        Self { stream, opening, lingering: None, timer, is_answer_next: false, _open: open }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some((missing, deadline)) = &mut self.opening {
            if read.is_pending() {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            *missing = missing.saturating_sub(buf.filled().len() - before);
            if *missing == 0 {
                self.opening = None;
            }
        }
        read
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match self.opening {
            Some(_) => self.poll_open(cx, buf),
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        };
        let received = buf.filled().len() - before;
        self.timer.received(received);
        self.is_answer_next |= received > 0;
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if mem::take(&mut self.is_answer_next) {
            cx.waker().wake_by_ref(); // and go to the end of the queue
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, lingering, .. } = &mut *self;
        if lingering.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        let (end, silence) =
            lingering.get_or_insert_with(|| (Instant::now() + LINGERING_TIME, Box::pin(sleep(LINGERING_SILENCE))));
        let mut scratch = [0; 16 << 10];
        loop {
            let mut unread = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut unread) {
                Poll::Pending => return silence.as_mut().poll(cx).map(Ok),
                Poll::Ready(Ok(())) if !unread.filled().is_empty() && Instant::now() < *end => {
                    silence.as_mut().reset((Instant::now() + LINGERING_SILENCE).min(*end));
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())), // the client has closed too, or had its time
            }
        }
    }
}
