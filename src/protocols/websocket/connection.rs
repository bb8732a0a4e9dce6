//! One connection: frames in, frames out, and whether somebody is still there.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, Utf8Bytes},
};

use super::{close::End, inbound::Inbound, outbound::Outbound};
use crate::{gateway::Listener, protocols::http::Http, shutdown::Drain};

/// A client is asked so often whether it is there; who says nothing until the next time is not.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long the client may take to answer a close.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// Frames of one turn; then other tasks have theirs.
const FRAMES: usize = 64;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

pub(super) struct Connection {
    socket: Socket,
    inbound: Inbound,
    outbound: Option<Outbound>,
    drain: Drain,
    pings: Interval,
    /// Something has come since the last ping.
    is_heard: bool,
    /// It ends as soon as everything is answered.
    ending: Option<End>,
    open: prometheus_client::metrics::gauge::Gauge,
}

impl Connection {
    pub(super) fn new(socket: Socket, inbound: Inbound, outbound: Option<Outbound>, http: &Http) -> Self {
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let open = http.gateway.metrics.connections[Listener::WebSocket as usize].clone();
        open.inc();
        let drain = http.drain.clone();
        Self { socket, inbound, outbound, drain, pings, is_heard: true, ending: None, open }
    }

    /// Serves until one side ends it; at once with `end`, if there is one.
    pub(super) async fn run(mut self, end: Option<End>) {
        let end = match end {
            Some(end) => end,
            None => poll_fn(|cx| self.poll_end(cx)).await,
        };
        tracing::debug!(?end, "a WebSocket ends");
        self.outbound = None; // what is not settled goes to others now
        match timeout(CLOSING_TIME, close(&mut self.socket, end)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => tracing::debug!(%problem, "a WebSocket broke while it was closed"),
            Err(_) => tracing::debug!("a WebSocket's client does not answer the close"),
        }
    }

    /// Moves frames both ways; ready when the connection is to be closed.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.ending.is_none() && self.drain.poll_begun(cx).is_ready() {
            self.ending = Some(End::draining());
        }
        while self.pings.poll_tick(cx).is_ready() {
            if !std::mem::take(&mut self.is_heard) {
                return Poll::Ready(End::Lost);
            }
            if let Err(end) = self.send(cx, Message::Ping(Bytes::new())) {
                return Poll::Ready(end);
            }
        }
        for _ in 0..FRAMES {
            let moved = self.write_one(cx).and_then(|written| Ok(self.read_one(cx)? || written));
            match moved {
                Err(end) => return Poll::Ready(end),
                Ok(true) => {}
                Ok(false) => return self.poll_flushed(cx),
            }
        }
        cx.waker().wake_by_ref();
        self.poll_flushed(cx)
    }

    /// Hands what was written to the system. Ready once the connection has ended and everything is out.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.socket.poll_flush_unpin(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(problem)) => return Poll::Ready(problem.into()),
            Poll::Ready(Ok(())) => {}
        }
        if self.outbound.as_mut().is_some_and(Outbound::written) {
            cx.waker().wake_by_ref();
        }
        match self.ending.take_if(|_| self.inbound.is_idle()) {
            Some(end) => Poll::Ready(end),
            None => Poll::Pending,
        }
    }

    /// Writes an answer or an event, if there is one and the client takes it.
    fn write_one(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        match self.socket.poll_ready_unpin(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(ready) => ready?,
        }
        if let Poll::Ready(answer) = self.inbound.poll_answer(cx) {
            self.socket.start_send_unpin(Message::Text(answer.into()))?;
            return Ok(true);
        }
        let Some(outbound) = self.outbound.as_mut().filter(|_| self.ending.is_none()) else { return Ok(false) };
        match outbound.poll_text(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(text)) => {
                let text = Utf8Bytes::try_from(text).map_err(|_| End::protocol_error("an event is not UTF-8"))?;
                self.socket.start_send_unpin(Message::Text(text))?;
                Ok(true)
            }
            Poll::Ready(Err(end)) => {
                self.ending = Some(end);
                Ok(true)
            }
        }
    }

    /// Reads a frame, if there is one and room for its answer.
    fn read_one(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.ending.is_some() || !self.inbound.has_room() {
            return Ok(false);
        }
        let frame = match self.socket.poll_next_unpin(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(None) => return Err(End::Lost),
            Poll::Ready(Some(frame)) => frame?,
        };
        self.is_heard = true;
        match frame {
            Message::Text(text) => self.inbound.take_text(cx, text.as_ref(), self.outbound.as_mut()),
            Message::Binary(bytes) => self.inbound.take_binary(cx, &bytes),
            Message::Close(_) => return Err(End::ByClient),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(true)
    }

    fn send(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), End> {
        // A client that takes nothing any more gets no ping either, and is found out by its silence.
        if self.socket.poll_ready_unpin(cx).is_ready() {
            self.socket.start_send_unpin(message)?;
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The closing handshake (RFC 6455, section 7.1.2): a close each way, then the gateway ends the connection. It reads what still comes
/// even if that makes no frames any more (one over `max_body` goes on after it was refused): closed with unread bytes, the connection
/// would be reset, and the client might never read why.
async fn close(socket: &mut Socket, end: End) -> Result<(), Error> {
    match end {
        End::Lost => return Ok(()),
        End::ByClient => socket.flush().await?,
        End::Close(frame) => socket.close(Some(frame)).await?,
    }
    while let Some(Ok(_)) = socket.next().await {}
    Ok(socket.get_mut().shutdown().await?)
}
