//! Live reading: one consumer for the whole connector, on its own thread, however many readers there are.
//!
//! What it reads goes into a [`Log`], whose followers are the readers. A partition is *open* while the consumer reads it: the log then
//! holds everything from the lane's floor on. Partitions are opened at their end for the first reader who wants them ([`Live::open`]);
//! one that appears while a reader stands ([`Live::stand`]) is opened at its start. Topics that nobody reads are closed after a while.

use std::{sync::Arc, time::Duration};

use meshgate_api::{
    Str,
    log::Log,
    position::Positions,
    topic::{Interests, TopicSet},
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time};

use crate::{client::Clients, feed::Bell, metadata::Metadata};

mod thread;

/// How long a reader waits for its partitions to be opened before it looks again which ones there are.
const OPENING: Duration = Duration::from_secs(5);

/// The live reading of one connector. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) log: Arc<Log>,
    shared: Arc<Shared>,
}

/// What readers and the thread tell each other.
#[derive(Debug)]
struct Shared {
    bell: Arc<Bell>,
    wishes: Mutex<Wishes>,
    figures: Mutex<Figures>,
}

#[derive(Debug, Default)]
struct Wishes {
    /// Readers that wait for partitions to be opened.
    openings: Vec<Opening>,
    /// What readers stand for.
    standing: Interests,
    /// Changes with `standing`.
    edition: u64,
    closed: bool,
}

#[derive(Debug)]
struct Opening {
    /// Where each partition is to be opened, if it is not open.
    ends: Positions,
    opened: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    partitions: u64,
    renewals: u64,
    faults: u64,
}

impl Live {
    /// Starts the thread; the consumer itself comes with the first reader.
    pub(crate) fn start(clients: Clients, metadata: Arc<Metadata>, ring: usize) -> Result<Self, String> {
        let log = Arc::new(Log::new(ring));
        let shared = Arc::new(Shared { bell: Arc::default(), wishes: Mutex::default(), figures: Mutex::default() });
        thread::start(clients, metadata, log.clone(), shared.clone(), ring)?;
        Ok(Self { log, shared })
    }

    /// Has every partition of `ends` that is not open yet opened, there. False if it took too long: there may be others by now.
    pub(crate) async fn open(&self, ends: Positions) -> bool {
        let (opened, waiting) = oneshot::channel();
        self.shared.wishes.lock().openings.push(Opening { ends, opened });
        self.shared.bell.ring();
        matches!(time::timeout(OPENING, waiting).await, Ok(Ok(())))
    }

    /// From now on, and as long as the answer lives, topics and partitions that join `topics` are opened at their start.
    pub(crate) fn stand(&self, topics: TopicSet) -> Standing {
        let mut wishes = self.shared.wishes.lock();
        wishes.edition += 1;
        wishes.standing.add(&topics);
        Standing { topics, shared: self.shared.clone() }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.shared.wishes.lock().closed = true;
        self.shared.bell.ring();
    }

    /// Live buffer bytes and records, open partitions, consumers made anew, faults that the broker told of.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 5] {
        let (bytes, records) = self.log.usage();
        let figures = *self.shared.figures.lock();
        [
            ("live_buffer_bytes", bytes as u64),
            ("live_buffer_records", records as u64),
            ("live_partitions", figures.partitions),
            ("live_renewals", figures.renewals),
            ("live_faults", figures.faults),
        ]
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}

/// A reader's interest in the topics of its set.
#[derive(Debug)]
pub(crate) struct Standing {
    topics: TopicSet,
    shared: Arc<Shared>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut wishes = self.shared.wishes.lock();
        wishes.edition += 1;
        wishes.standing.remove(&self.topics);
    }
}

/// Where partitions are to be opened.
type Openings = Vec<(Str, u32, u64)>;
