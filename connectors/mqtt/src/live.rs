//! Live reading: one client for the whole connector, however many readers there are.
//!
//! What it receives goes into a [`Log`], whose followers are the readers; all topics of the broker, which may be any number, stand in one
//! lane, numbered in the order of arrival. A filter is subscribed at the broker while some reader wants it. Each reader has its filters
//! subscribed once more and waits for the answer: the broker gives it after all that was published before.
//!
//! The broker keeps the session while the client is away for a moment. If it has not, something may be missing: the lane is removed, and
//! its readers are told that their position is gone.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{Str, connector::ReadError, log::Log, position::Place};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{
    client::{Arrival, Opener, Purpose},
    config::Version,
    decode::decode,
    naming::covers,
    session,
};

mod work;
use work::Work;

/// How long a filter stays subscribed after its last reader has left.
const LINGER: Duration = Duration::from_secs(5);
/// How long the broker keeps what arrives while the client is away.
const SESSION: Duration = Duration::from_secs(60);
/// What the broker may send before it is confirmed; that is done at once.
const RECEIVE: u16 = 1000;

/// The live reading of one connector.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) shared: Arc<Shared>,
}

/// What readers and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    connector: Str,
    pub(crate) log: Arc<Log>,
    /// The lane's name, and that of positions: one numbering covers all topics.
    pub(crate) lane: Str,
    /// Random for each process: positions of another one mean nothing here.
    pub(crate) epoch: u64,
    wishes: Mutex<Wishes>,
    bell: Notify,
    ended: Notify,
    gaps: AtomicU64,
    unreadable: AtomicU64,
}

#[derive(Debug, Default)]
struct Wishes {
    filters: BTreeMap<String, Wish>,
    /// Numbers of subscriptions, from 1.
    issued: usize,
    closed: bool,
    over: bool,
}

/// A filter that somebody wants, or wanted a moment ago.
#[derive(Debug)]
struct Wish {
    /// Its number at the broker.
    id: usize,
    readers: usize,
    /// Since the last reader left.
    idle: Option<Instant>,
    /// Who waits for the next subscription of it.
    asking: Vec<Answer>,
    /// The broker has confirmed it once, in this session.
    stands: bool,
    /// It is to be subscribed.
    due: bool,
}

/// The broker's word on a subscription.
type Confirmation = Result<(), String>;
type Answer = oneshot::Sender<Confirmation>;

/// A reader's interest in its filters. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Interest {
    filters: Vec<String>,
    shared: Arc<Shared>,
}

impl Live {
    /// The task begins with the first reader.
    pub(crate) fn new(opener: Opener, connector: Str, client_id: String, ring: usize) -> Self {
        let shared = Arc::new(Shared {
            connector,
            log: Arc::new(Log::new(ring)),
            lane: Str::new(),
            epoch: rand::random(),
            wishes: Mutex::default(),
            bell: Notify::new(),
            ended: Notify::new(),
            gaps: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
        });
        shared.open_lane();
        // Sessions of MQTT 3.1.1 never end by themselves, and the name is one of this process.
        let session = (opener.config().version == Version::V5).then_some(SESSION);
        let purpose = Purpose { client_id, session, anew: true, receive: RECEIVE, will: false };
        let work = Work::new(opener, purpose, shared.clone());
        let own = shared.clone();
        tokio::spawn(async move {
            session::run(work, &own.bell).await;
            own.wishes.lock().over = true;
            own.ended.notify_waiters();
        });
        Self { shared }
    }

    /// Has the filters subscribed, and waits until the broker has confirmed all of them.
    pub(crate) async fn want(&self, filters: Vec<String>) -> Result<Interest, ReadError> {
        let (interest, answers) = self.shared.ask(filters)?;
        for answer in answers {
            match answer.await {
                Ok(Ok(())) => {}
                Ok(Err(detail)) => return Err(ReadError::Down { detail }),
                Err(_) => return Err(closing()),
            }
        }
        Ok(interest)
    }

    /// Ends the task.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.shared.close();
        loop {
            let ended = self.shared.ended.notified();
            if self.shared.wishes.lock().over || tokio::time::timeout_at(deadline, ended).await.is_err() {
                return;
            }
        }
    }

    /// Live buffer bytes and records, filters that are subscribed, sessions that the broker lost, packets that were none.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 5] {
        let (bytes, records) = self.shared.log.usage();
        [
            ("live_buffer_bytes", bytes as u64),
            ("live_buffer_records", records as u64),
            ("live_filters", self.shared.wishes.lock().filters.len() as u64),
            ("live_gaps", self.shared.gaps.load(Relaxed)),
            ("live_unreadable", self.shared.unreadable.load(Relaxed)),
        ]
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn closing() -> ReadError {
    ReadError::Down { detail: "the connector is closing".into() }
}

impl Shared {
    fn ask(
        self: &Arc<Self>,
        filters: Vec<String>,
    ) -> Result<(Interest, Vec<oneshot::Receiver<Confirmation>>), ReadError> {
        let mut wishes = self.wishes.lock();
        if wishes.closed {
            return Err(closing());
        }
        let mut answers = Vec::with_capacity(filters.len());
        for filter in &filters {
            let (answer, answered) = oneshot::channel();
            let wish = wishes.wish(filter);
            wish.readers += 1;
            (wish.idle, wish.due) = (None, true);
            wish.asking.push(answer);
            answers.push(answered);
        }
        drop(wishes);
        self.bell.notify_one();
        Ok((Interest { filters, shared: self.clone() }, answers))
    }

    fn close(&self) {
        self.wishes.lock().closed = true;
        self.bell.notify_one();
    }

    pub(crate) fn place(&self, sequence: u64) -> Place {
        Place { generation: self.epoch, offset: sequence, index: 0 }
    }

    fn open_lane(&self) {
        let mut log = self.log.appender();
        let next = log.next_sequence();
        log.open(&self.lane, 0, self.place(next));
    }

    /// Something may be missing.
    fn gap(&self) {
        self.gaps.fetch_add(1, Relaxed);
        self.log.remove(&self.lane);
        self.open_lane();
    }

    fn append(&self, arrival: Arrival) {
        let mut log = self.log.appender();
        let place = self.place(log.next_sequence());
        match decode(&self.connector, arrival, Some(&self.lane), place) {
            Some(record) => {
                let footprint = record.footprint();
                log.append_in(&self.lane, record, footprint);
            }
            None => {
                self.unreadable.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Wishes {
    fn wish(&mut self, filter: &str) -> &mut Wish {
        if !self.filters.contains_key(filter) {
            self.issued += 1;
        }
        let id = self.issued;
        self.filters.entry(filter.to_owned()).or_insert_with(|| Wish {
            id,
            readers: 0,
            idle: None,
            asking: Vec::new(),
            stands: false,
            due: true,
        })
    }

    fn is_wanted(&self) -> bool {
        self.filters.values().any(|wish| wish.readers > 0)
    }

    /// The number of the oldest subscription that a topic is read by: a broker sends a copy for each one that fits, and that of this one
    /// counts.
    fn owner(&self, topic: &str) -> Option<usize> {
        let slashes = topic.match_indices('/').map(|(at, _)| format!("{}#", &topic[..=at]));
        let fit = slashes.chain([topic.to_owned(), format!("{topic}/#"), "#".to_owned()]);
        let standing = fit.filter_map(|filter| self.filters.get(&filter)).filter(|wish| wish.stands);
        standing.map(|wish| wish.id).min()
    }

    /// A filter that nobody wants any more, and that no other one meets: while one does, this one may be what its topics are read by.
    fn is_to_end(&self, filter: &str, now: Instant) -> bool {
        let meets = |other: &String| other != filter && (covers(other, filter) || covers(filter, other));
        let is_old = |wish: &Wish| wish.idle.is_some_and(|since| now >= since + LINGER);
        let is_in_use = |(other, wish): (&String, &Wish)| wish.readers > 0 && meets(other);
        self.filters.get(filter).is_some_and(is_old) && !self.filters.iter().any(is_in_use)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut wishes = self.shared.wishes.lock();
        for filter in &self.filters {
            if let Some(wish) = wishes.filters.get_mut(filter) {
                wish.readers -= 1;
                wish.idle = (wish.readers == 0).then(Instant::now);
            }
        }
    }
}
