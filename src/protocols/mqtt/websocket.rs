//! MQTT over WebSocket (MQTT 5.0, section 6): the bytes of binary frames are the connection's, wherever packets begin in them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{http::request::Parts, response::Response};
use bytes::{Buf, Bytes};
use futures::{Sink, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::Mqtt;
use crate::{
    gateway::Listener,
    protocols::{
        http::Problem,
        websocket::{handshake::Handshake, switching_protocols, upgrade},
    },
};

/// The subprotocol [MQTT-6.0.0-3].
const MQTT: &str = "mqtt";
/// Bytes read from a client at once: each connection has a buffer of this size.
const READ: usize = 4 << 10;
/// Bytes written to a client at once.
const WRITE: usize = 16 << 10;
/// Bytes of the largest frame that is written.
const FRAME: usize = 64 << 10;

/// Answers a request for a WebSocket that is to speak MQTT.
pub(in crate::protocols) fn accept(mqtt: &Arc<Mqtt>, request: &Parts) -> Result<Response, Problem> {
    let handshake = Handshake::read(request, MQTT)?;
    if !handshake.is_agreed() {
        return Err(Problem::bad_request("header `sec-websocket-protocol` must offer `mqtt`"));
    }
    let (on_upgrade, mqtt) = (upgrade(request)?, mqtt.clone());
    let largest = mqtt.settings.max_packet.max(FRAME);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(WRITE)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => {
                let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
                let open = mqtt.gateway.metrics.connections[Listener::Mqtt as usize].clone();
                open.inc();
                mqtt.serve_stream(Binary { socket, rest: Bytes::new() }).await;
                open.dec();
            }
            Err(problem) => tracing::debug!(%problem, "a client went away before it had its WebSocket"),
        }
    });
    Ok(switching_protocols(&handshake))
}

/// The bytes of a WebSocket's binary frames.
struct Binary {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// Of the last frame.
    rest: Bytes,
}

impl AsyncRead for Binary {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.socket.poll_next_unpin(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(_))) => {
                    // [MQTT-6.0.0-1]
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text frame")));
                }
                Some(Ok(_)) => {}
                Some(Err(problem)) => return Poll::Ready(Err(broken(problem))),
            }
        }
        let length = self.rest.len().min(to.remaining());
        to.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Binary {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_ready_unpin(cx)).map_err(broken)?;
        let frame = &bytes[..bytes.len().min(FRAME)];
        self.socket.start_send_unpin(Message::Binary(Bytes::copy_from_slice(frame))).map_err(broken)?;
        Poll::Ready(Ok(frame.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(broken)
    }
}

fn broken(problem: Error) -> io::Error {
    match problem {
        Error::Io(problem) => problem,
        other => io::Error::other(other),
    }
}
