//! Accepting connections and speaking HTTP/1.1 and h2c on them.

use std::{convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::pin, time::Duration};

use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{net::TcpListener, sync::mpsc};

use super::{socket::Socket, timer::LazyTimer};
use crate::shutdown::Drain;

/// A client that has not sent its request's head by then is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client of HTTP/2 is asked so often whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// After `accept` failed (mostly: no file descriptors left), wait so long for something to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `address`.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the drain begins; then accepts no more and returns when every connection has finished what it was doing.
    pub async fn serve(self, service: impl Service, mut drain: Drain, connections: Gauge) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .max_header_list_size(MAX_HEAD as u32);
        let (open_until, mut all_closed) = mpsc::channel::<Infallible>(1);
        loop {
            let accepted = tokio::select! {
                () = drain.begun() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => stream,
                Err(problem) => {
                    tracing::warn!(%problem, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let mut builder = builder.clone();
            builder.http1().timer(LazyTimer::default());
            let open = Open::count(&connections, open_until.clone());
            let connection = serve_connection(builder, Socket::new(stream, open), service.clone(), drain.clone());
            tokio::spawn(async move {
                if let Err(problem) = connection.await {
                    tracing::debug!(%problem, "a connection ended early");
                }
            });
        }
        drop((self.listener, open_until));
        all_closed.recv().await; // `None`, when every connection has dropped its sender
    }
}

async fn serve_connection<S: Service>(
    builder: auto::Builder<TokioExecutor>,
    socket: Socket,
    service: S,
    mut drain: Drain,
) -> Result<(), BoxError> {
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

/// Counts a connection while it lives, whichever protocol it has come to speak.
pub(super) struct Open {
    count: Gauge,
    /// The end of the listener waits for it.
    _until: mpsc::Sender<Infallible>,
}

impl Open {
    fn count(connections: &Gauge, until: mpsc::Sender<Infallible>) -> Self {
        connections.inc();
        Self { count: connections.clone(), _until: until }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.dec();
    }
}
