//! Accepting connections, and speaking HTTP/1.1 and h2c on them, each on one of the [`Workers`].

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::{self, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use super::{socket::Socket, timer::HeadTimer};
use crate::{
    shutdown::Drain,
    workers::{Load, Workers},
};

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
/// After `accept` failed (mostly: no file descriptors left), wait so long for something to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// While no more connections are accepted, the bounds are asked so often whether there may be more now.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Between two lines that say that no more connections are accepted.
const FULL_AGAIN: Duration = Duration::from_secs(60);

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

/// What clients may take of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections: beyond them none is accepted.
    pub connections: usize,
    /// Within it a request's head has arrived.
    pub header_timeout: Duration,
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

    /// Serves until the drain begins; then accepts no more and returns when every connection has finished what it was doing. `bounds` is
    /// asked before each connection, which then gets its own `service`, on one of the `workers`.
    pub async fn serve<S: Service>(
        self,
        workers: &Workers,
        service: impl Fn() -> S,
        mut drain: Drain,
        bounds: impl Fn() -> Bounds,
        count: Gauge,
    ) {
        let builder = builder();
        let (open_until, mut all_closed) = mpsc::channel::<Infallible>(1);
        let mut places = Places::default();
        loop {
            let Bounds { connections, header_timeout } = bounds();
            places.resize(connections);
            let accepted = tokio::select! {
                () = drain.begun() => break,
                accepted = self.accept(&mut places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => continue,
                Err(problem) => {
                    tracing::warn!(%problem, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let worker = workers.idlest();
            let open = Open::count(&count, place, open_until.clone(), worker.load());
            let mut builder = builder.clone();
            let timer = HeadTimer::new(header_timeout);
            builder.http1().header_read_timeout(header_timeout).timer(timer.clone());
            let (service, drain) = (service(), drain.clone());
            worker.serve(async move {
                if let Err(problem) = serve_connection(builder, stream, timer, open, service, drain).await {
                    tracing::debug!(%problem, "a connection ended early");
                }
            });
        }
        drop((self.listener, open_until));
        all_closed.recv().await; // `None`, when every connection has dropped its sender
    }

    /// The next connection, which belongs to no runtime yet; `None` if there is still no place for it. Cancel-safe.
    async fn accept(&self, places: &mut Places) -> io::Result<Option<(net::TcpStream, OwnedSemaphorePermit)>> {
        let Ok(place) = timeout(FULL_PAUSE, places.take()).await else { return Ok(None) };
        let place = place?;
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Some((stream.into_std()?, place)))
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

/// One for each open connection.
struct Places {
    free: Arc<Semaphore>,
    /// The free and the taken ones.
    all: usize,
    /// When it was last said that there are none left.
    said_full: Option<Instant>,
}

impl Default for Places {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(0)), all: 0, said_full: None }
    }
}

impl Places {
    /// There are to be so many. Those that are taken are given up only when they are free.
    fn resize(&mut self, all: usize) {
        if all > self.all {
            self.free.add_permits(all - self.all);
            self.all = all;
        } else {
            self.all -= self.free.forget_permits(self.all - all);
        }
    }

    async fn take(&mut self) -> io::Result<OwnedSemaphorePermit> {
        if self.free.available_permits() == 0 && self.said_full.is_none_or(|said| said.elapsed() >= FULL_AGAIN) {
            self.said_full = Some(Instant::now());
            tracing::warn!("as many connections are open as `limits.connections` allows: further clients wait");
        }
        self.free.clone().acquire_owned().await.map_err(io::Error::other)
    }
}

async fn serve_connection<S: Service>(
    builder: auto::Builder<TokioExecutor>,
    stream: net::TcpStream,
    timer: HeadTimer,
    open: Open,
    service: S,
    mut drain: Drain,
) -> Result<(), BoxError> {
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

/// Counts a connection while it lives, whichever protocol it has come to speak.
pub(super) struct Open {
    count: Gauge,
    _place: OwnedSemaphorePermit,
    _load: Load,
    /// The end of the listener waits for it.
    _until: mpsc::Sender<Infallible>,
}

impl Open {
    fn count(count: &Gauge, place: OwnedSemaphorePermit, until: mpsc::Sender<Infallible>, load: Load) -> Self {
        count.inc();
        Self { count: count.clone(), _place: place, _load: load, _until: until }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.dec();
    }
}
