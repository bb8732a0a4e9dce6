//! Accepting connections and speaking HTTP/1.1 and h2c on them.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};

use super::socket::Socket;
use crate::shutdown::Drain;

/// A client that has not sent its request's head by then is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client of HTTP/2 is asked so often whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// After `accept` failed (mostly: no file descriptors left), wait so long for something to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    pub async fn serve(self, router: Router, mut drain: Drain, connections: Gauge) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .max_header_list_size(MAX_HEAD as u32);
        let graceful = GracefulShutdown::new();
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
            let connection = serve_connection(&builder, stream, &router, &graceful);
            let open = Open::count(&connections);
            tokio::spawn(async move {
                let _open = open;
                if let Err(problem) = connection.await {
                    tracing::debug!(%problem, "a connection ended early");
                }
            });
        }
        drop(self.listener);
        graceful.shutdown().await;
    }
}

fn serve_connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    router: &Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + use<> {
    let service = TowerToHyperService::new(router.clone());
    graceful.watch(builder.serve_connection(TokioIo::new(Socket::new(stream)), service).into_owned())
}

/// Counts a connection while it lives.
struct Open(Gauge);

impl Open {
    fn count(connections: &Gauge) -> Self {
        connections.inc();
        Self(connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
