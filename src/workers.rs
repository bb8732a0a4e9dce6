//! The threads that serve connections: one for each core, each with a runtime of its own.
//!
//! A connection stays on the worker where it began, and so do its requests and whatever it waits for. Nothing of it is passed from core
//! to core: no queue that idle threads are woken to steal from, no timer wheel and no readiness list that they share. It begins where
//! the fewest are.

use std::{convert::Infallible, future::Future, io, num::NonZeroUsize, sync::Arc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// Where connections are served. Dropping it ends them all.
#[derive(Debug)]
pub struct Workers {
    first: Worker,
    others: Vec<Worker>,
}

/// One thread.
#[derive(Debug)]
pub struct Worker {
    runtime: Handle,
    /// Each of its connections holds one.
    load: Load,
    /// Its thread ends when this is dropped.
    _until: Option<oneshot::Sender<Infallible>>,
}

/// A connection counts as long as it holds this.
pub type Load = Arc<()>;

impl Workers {
    /// One for each core that the process may use.
    pub fn start() -> io::Result<Self> {
        Self::start_some(thread::available_parallelism().map_or(1, NonZeroUsize::get))
    }

    /// So many, and at least one.
    fn start_some(count: usize) -> io::Result<Self> {
        let others = (1..count).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { first: Worker::start(0)?, others })
    }

    /// The runtime of the caller, who then serves what it accepts.
    #[must_use]
    pub fn here() -> Self {
        let first = Worker { runtime: Handle::current(), load: Load::default(), _until: None };
        Self { first, others: Vec::new() }
    }

    /// The one with the fewest connections.
    #[must_use]
    pub fn idlest(&self) -> &Worker {
        let idler = |a, b| if Worker::connections(b) < Worker::connections(a) { b } else { a };
        self.others.iter().fold(&self.first, idler)
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel::<Infallible>();
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            drop(runtime.block_on(ended)); // an error: nobody needs it any more
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, load: Load::default(), _until: Some(until) })
    }

    fn connections(&self) -> usize {
        Arc::strong_count(&self.load) - 1
    }

    /// Serves a connection here.
    pub fn serve(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(connection);
    }

    /// To be held by the connection.
    #[must_use]
    pub fn load(&self) -> Load {
        self.load.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::sync::mpsc;

    use super::*;

    /// The name of the thread that serves a connection of this worker.
    async fn place(worker: &Worker) -> String {
        let (told, mut told_place) = mpsc::channel(1);
        worker.serve(async move {
            tokio::task::yield_now().await;
            let name = thread::current().name().expect("workers have names").to_owned();
            told.send(name).await.expect("the test waits");
        });
        told_place.recv().await.expect("it is served")
    }

    #[tokio::test]
    async fn connections_are_spread_and_each_has_one_thread() {
        let workers = Workers::start_some(3).expect("threads");
        let (mut loads, mut places) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let worker = workers.idlest();
            loads.push(worker.load());
            places.push(place(worker).await);
        }
        assert_eq!(places.iter().collect::<HashSet<_>>().len(), 3);
        assert_eq!(places[..3].iter().collect::<HashSet<_>>().len(), 3, "{places:?}");
        let emptied = places[1].clone();
        loads.retain({
            let mut places = places.iter();
            move |_| places.next().is_some_and(|place| *place != emptied)
        });
        assert_eq!(place(workers.idlest()).await, places[1], "where the fewest are");
    }

    #[tokio::test]
    async fn connections_end_with_the_workers() {
        let workers = Workers::start_some(1).expect("a thread");
        let (held, mut waiting) = mpsc::channel::<Infallible>(1);
        workers.idlest().serve(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        drop(workers);
        assert_eq!(waiting.recv().await, None);
    }
}
