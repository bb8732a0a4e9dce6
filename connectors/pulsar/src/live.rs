//! Live reading: one feed for each partition that is read, however many readers there are.
//!
//! What the feeds read goes into a [`Log`], whose followers are the readers. A partition is *open* while a feed reads it: the log then
//! holds everything from the lane's floor on. Partitions are opened at their end for the first reader who wants them ([`Live::open`]);
//! one that appears while a reader stands ([`Live::stand`]) is opened at its start. Topics that nobody reads are closed after a while.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use meshgate_api::{
    Str,
    log::Log,
    position::{Place, Positions},
    topic::{Interests, TopicSet},
};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    client::Client,
    feed::{Feed, Lane},
    metadata::{lanes, list},
};

/// Between two looks which topics there are.
const PACE: Duration = Duration::from_secs(1);
/// How long a topic that nobody reads stays open.
const LINGER: Duration = Duration::from_secs(30);

/// The live reading of one connector. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) log: Arc<Log>,
    client: Arc<Client>,
    state: Mutex<State>,
    renewals: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<Lane, Open>,
    /// What readers stand for.
    standing: Interests,
}

/// An open partition.
#[derive(Debug)]
struct Open {
    feed: JoinHandle<()>,
    /// When the last reader left.
    unread_since: Option<Instant>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

impl Live {
    /// Nothing is read until there is a reader.
    pub(crate) fn start(client: Arc<Client>) -> Arc<Self> {
        let log = Arc::new(Log::new(client.limits.ring));
        let live = Arc::new(Self { log, client, state: Mutex::default(), renewals: Arc::default() });
        let weak = Arc::downgrade(&live);
        live.client.spawn(async move {
            while let Some(live) = weak.upgrade() {
                live.close_unread();
                live.open_what_appeared().await;
                drop(live);
                sleep(PACE).await;
            }
        });
        live
    }

    /// Opens each of the partitions that is not open yet, at its end.
    pub(crate) fn open(&self, lanes: &[Lane], ends: &Positions) {
        let mut state = self.state.lock();
        for lane in lanes {
            // One that a standing reader does not know yet is opened at its start.
            if !state.open.contains_key(lane) && !state.standing.contain(&lane.topic) {
                let end = ends.get(&lane.topic, lane.number()).unwrap_or_default();
                self.open_one(&mut state, lane.clone(), end);
            }
        }
    }

    fn open_one(&self, state: &mut State, lane: Lane, at: Place) {
        self.log.appender().open(&lane.topic, lane.number(), at);
        let (log, mut feed) = (self.log.clone(), Feed::new(self.client.clone(), &lane, at, self.renewals.clone()));
        let feed = self.client.spawn(async move {
            loop {
                let record = feed.next().await;
                log.appender().append(record);
            }
        });
        state.open.insert(lane, Open { feed, unread_since: None });
    }

    /// Whether every one of the partitions is open.
    pub(crate) fn has_opened(&self, lanes: &[Lane]) -> bool {
        let state = self.state.lock();
        lanes.iter().all(|lane| state.open.contains_key(lane))
    }

    /// From now on, and as long as the answer lives, topics and partitions that join `topics` are opened at their start.
    pub(crate) fn stand(self: &Arc<Self>, topics: TopicSet) -> Standing {
        let mut state = self.state.lock();
        state.standing.add(&topics);
        Standing { topics, live: self.clone() }
    }

    /// What standing readers want and is not open has appeared since they stand.
    pub(crate) async fn open_what_appeared(&self) {
        let wanted = self.state.lock().standing.all();
        if wanted == TopicSet::default() || !self.client.link.is_up() {
            return;
        }
        let Ok(listing) = list(&self.client, &wanted).await else { return }; // it is asked again soon
        let mut state = self.state.lock();
        for lane in lanes(&listing) {
            if !state.open.contains_key(&lane) && state.standing.contain(&lane.topic) {
                self.open_one(&mut state, lane, Place::default());
            }
        }
    }

    fn close_unread(&self) {
        let mut state = self.state.lock();
        let State { open, standing } = &mut *state;
        let mut unread: Vec<Str> = Vec::new();
        for (lane, open) in open.iter_mut() {
            if standing.contain(&lane.topic) {
                open.unread_since = None;
            } else if open.unread_since.get_or_insert_with(Instant::now).elapsed() >= LINGER {
                unread.push(lane.topic.clone());
            }
        }
        for topic in unread {
            open.retain(|lane, _| lane.topic != topic);
            self.log.remove(&topic);
        }
    }

    /// Ends all reading.
    pub(crate) fn close(&self) {
        *self.state.lock() = State::default();
    }

    /// Live buffer bytes and records, open partitions, readers made anew.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 4] {
        let (bytes, records) = self.log.usage();
        [
            ("live_buffer_bytes", bytes as u64),
            ("live_buffer_records", records as u64),
            ("live_partitions", self.state.lock().open.len() as u64),
            ("live_renewals", self.renewals.load(Relaxed)),
        ]
    }
}

/// A reader's interest in the topics of its set.
#[derive(Debug)]
pub(crate) struct Standing {
    topics: TopicSet,
    live: Arc<Live>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut state = self.live.state.lock();
        state.standing.remove(&self.topics);
    }
}
