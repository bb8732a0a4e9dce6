//! HTTP/1.1 and h2c on the connections of the listener.

use std::{convert::Infallible, future::poll_fn, pin::pin, time::Duration};

use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;

use super::{socket::Socket, timer::HeadTimer};
use crate::{protocols::accept::Accepted, shutdown::Drain};

/// The largest request head, in bytes; also what is read of one ahead, and of an answer written to memory while the client does not
/// read.
const MAX_HEAD: usize = 64 << 10;
/// A client of HTTP/2 is asked so often whether it is still there, and must answer within the other.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);
/// Requests that a client of HTTP/2 may have under way at once.
const STREAMS: u32 = 200;
/// Bytes that a connection of HTTP/2 takes in of all its bodies before somebody reads them.
const WINDOW: u32 = 256 << 10;
/// Bytes of one answer that wait in memory for a client of HTTP/2.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that a client of HTTP/2 may reset before they were answered (CVE-2023-44487), and that it may have reset for its mistakes;
/// then the connection ends.
const EARLY_RESETS: usize = 20;
const FAULTY_RESETS: usize = 200;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What answers requests.
pub trait Service:
    tower::Service<Request<Incoming>, Response = Response<Self::Body>, Error = Infallible, Future = Self::Answer>
    + Clone
    + Send
    + 'static
{
    /// Of a response.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
    /// The coming response.
    type Answer: Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static;
}

impl<S, B> Service for S
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
    type Answer = S::Future;
}

/// What serves HTTP on a connection that was accepted.
#[derive(Clone)]
pub struct Server {
    builder: auto::Builder<TokioExecutor>,
}

impl Default for Server {
    fn default() -> Self {
        Self { builder: builder() }
    }
}

impl Server {
    /// Serves a connection until it ends; from the beginning of the drain on it finishes what it was doing. Within `header_timeout` each
    /// request's head has arrived.
    pub fn connection<S: Service>(
        &self,
        accepted: Accepted,
        header_timeout: Duration,
        service: S,
        drain: Drain,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let mut builder = self.builder.clone();
        let timer = HeadTimer::new(header_timeout);
        builder.http1().header_read_timeout(header_timeout).timer(timer.clone());
        async move {
            if let Err(problem) = serve_connection(builder, accepted, timer, service, drain).await {
                tracing::debug!(%problem, "a connection ended early");
            }
        }
    }
}

/// Both versions of HTTP, within their bounds.
fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIME)
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(EARLY_RESETS)
        .max_local_error_reset_streams(FAULTY_RESETS);
    builder
}

async fn serve_connection<S: Service>(
    builder: auto::Builder<TokioExecutor>,
    accepted: Accepted,
    timer: HeadTimer,
    service: S,
    mut drain: Drain,
) -> Result<(), BoxError> {
    let Accepted { stream, open } = accepted;
    let socket = Socket::new(TcpStream::from_std(stream)?, timer, open);
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let mut draining = false;
    poll_fn(|cx| {
        if !draining && drain.poll_begun(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
}
