//! Accepting connections for a listener, and giving each to one of the [`Workers`].

use std::{
    convert::Infallible,
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::{
    shutdown::Drain,
    workers::{Load, Workers},
};

/// After `accept` failed (mostly: no file descriptors left), wait so long for something to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// While no more connections are accepted, the bounds are asked so often whether there may be more now.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Between two lines that say that no more connections are accepted.
const FULL_AGAIN: Duration = Duration::from_secs(60);

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
}

/// A connection, which belongs to no runtime yet.
pub struct Accepted {
    /// The connection.
    pub stream: net::TcpStream,
    /// To be held as long as it is open.
    pub open: Open,
}

impl Acceptor {
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

    /// Accepts until the drain begins; then returns when every connection has ended. `serve` makes of a connection what is run on one of
    /// the `workers`.
    pub async fn accept<F>(
        self,
        workers: &Workers,
        places: &Places,
        mut drain: Drain,
        count: Gauge,
        serve: impl Fn(Accepted) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (open_until, mut all_closed) = mpsc::channel::<Infallible>(1);
        loop {
            let next = tokio::select! {
                () = drain.begun() => break,
                next = self.next(places) => next,
            };
            let (stream, place) = match next {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(problem) => {
                    tracing::warn!(%problem, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let worker = workers.idlest();
            let open = Open::count(&count, place, open_until.clone(), worker.load());
            worker.serve(serve(Accepted { stream, open }));
        }
        drop((self.listener, open_until));
        all_closed.recv().await; // `None`, when every connection has dropped its sender
    }

    /// The next connection; `None` if there is still no place for it. Cancel-safe.
    async fn next(&self, places: &Places) -> io::Result<Option<(net::TcpStream, OwnedSemaphorePermit)>> {
        let Ok(place) = timeout(FULL_PAUSE, places.take()).await else { return Ok(None) };
        let place = place?;
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Some((stream.into_std()?, place)))
    }
}

/// One for each connection that may be open, over all listeners that share them.
pub struct Places {
    /// How many there are to be, asked before each connection.
    wanted: Box<dyn Fn() -> usize + Send + Sync>,
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The free and the taken ones.
    all: usize,
    /// When it was last said that there are none left.
    said_full: Option<Instant>,
}

impl Places {
    /// As many as `wanted` says at each moment.
    pub fn new(wanted: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self { wanted: Box::new(wanted), free: Arc::new(Semaphore::new(0)), state: Mutex::default() }
    }

    async fn take(&self) -> io::Result<OwnedSemaphorePermit> {
        self.state.lock().resize(&self.free, (self.wanted)());
        self.free.clone().acquire_owned().await.map_err(io::Error::other)
    }
}

impl State {
    /// Those that are taken are given up only when they are free.
    fn resize(&mut self, free: &Semaphore, all: usize) {
        if all > self.all {
            free.add_permits(all - self.all);
            self.all = all;
        } else {
            self.all -= free.forget_permits(self.all - all);
        }
        if free.available_permits() == 0 && self.said_full.is_none_or(|said| said.elapsed() >= FULL_AGAIN) {
            self.said_full = Some(Instant::now());
            tracing::warn!("as many connections are open as `limits.connections` allows: further clients wait");
        }
    }
}

/// Counts a connection while it lives, whichever protocol it has come to speak.
pub struct Open {
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
