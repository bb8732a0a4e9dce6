//! A log of records in memory, bounded in bytes, that any number of readers follow.
//!
//! It is the store of the memory connector, and the live buffer of connectors whose broker keeps the real log. Records stand in
//! *lanes*, one for each partition of a topic. Appending never waits: the oldest records make room. Each lane has a *floor*: the log
//! holds everything in the lane from that place on. A [`Follower`] reads the lanes of its topics in the order of appending; when the
//! floor of one of its lanes has passed it, it is told so ([`Behind`]), never fed with a gap. What a [`Holder`] reads does not make room
//! until it is released.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use foldhash::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{Str, connector::Record, position::Place, topic::TopicSet};

mod ahead;
mod alarm;
mod follow;
mod hold;
mod relay;
use alarm::{Alarm, ring_all};
pub use follow::{Behind, Follower, Records};
pub use hold::{Hold, Holder};

/// The log. Share it by `Arc`.
#[derive(Debug)]
pub struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// In bytes, as [`Record::footprint`] counts.
    capacity: usize,
    bytes: usize,
    /// The sequence number of `entries[0]`; the next one appended gets `first + entries.len()`.
    first: u64,
    entries: VecDeque<Entry>,
    /// By sequence number: older ones that are held. Followers do not see them.
    kept: BTreeMap<u64, Entry>,
    /// Bytes of all that is held.
    held_bytes: usize,
    /// What holders want of lanes to come.
    holders: Vec<TopicSet>,
    /// Lanes are never renumbered; a removed one stays as a tombstone.
    lanes: Vec<Lane>,
    /// By topic and partition, those that are not removed.
    names: HashMap<Str, Vec<(u32, LaneId)>>,
    /// Woken when a lane appears.
    followers: Arc<Vec<Arc<Alarm>>>,
}

type LaneId = usize;

#[derive(Debug)]
struct Entry {
    lane: LaneId,
    footprint: usize,
    record: Arc<Record>,
    /// How many holders have not released it.
    holds: u32,
}

#[derive(Debug)]
struct Lane {
    topic: Str,
    partition: u32,
    /// Where the log's knowledge of it began.
    opened: Place,
    floor: Place,
    /// How many records it had that are before the floor.
    forgotten: u64,
    /// How many holders hold what is appended.
    holds: u32,
    /// Sequence numbers of its entries.
    entries: VecDeque<u64>,
    /// Nothing more will come before it, whatever comes last.
    passed: Place,
    removed: bool,
    followers: Arc<Vec<Arc<Alarm>>>,
}

/// What a reader may know of a lane before it follows it.
#[derive(Clone, Copy, Debug)]
pub struct LaneState<'a> {
    /// The lane's topic.
    pub topic: &'a Str,
    /// The partition.
    pub partition: u32,
    /// Everything in the lane from here on is in the log.
    pub floor: Place,
}

impl Log {
    /// An empty log that holds at most `capacity` bytes, and always the newest record.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let inner = Inner {
            capacity,
            bytes: 0,
            first: 0,
            entries: VecDeque::new(),
            kept: BTreeMap::new(),
            held_bytes: 0,
            holders: Vec::new(),
            lanes: Vec::new(),
            names: HashMap::default(),
            followers: Arc::default(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Starts to append: others wait, readers are woken when the appender is dropped.
    pub fn appender(&self) -> Appender<'_> {
        Appender { log: Some(self.inner.lock()), forgotten: SmallVec::new(), touched: Vec::new() }
    }

    /// Removes a topic's lanes: their followers are told that they are behind.
    pub fn remove(&self, topic: &str) {
        let mut inner = self.inner.lock();
        let removed = inner.names.remove(topic).unwrap_or_default();
        let mut wake = Vec::new();
        for (_, lane) in removed {
            inner.lanes[lane].removed = true;
            wake.push(inner.lanes[lane].followers.clone());
        }
        drop(inner);
        ring_all(wake.iter().flat_map(|list| list.iter()));
    }

    /// Bytes and records held.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.bytes, inner.entries.len() + inner.kept.len())
    }

    /// The topics among these of lanes that were opened after the first `seen` lanes, and how many there are by now.
    #[must_use]
    pub fn opened_since(&self, seen: usize, topics: &TopicSet) -> (usize, Vec<Str>) {
        let inner = self.inner.lock();
        let opened = inner.lanes.iter().skip(seen).filter(|lane| lane.is_of(topics));
        (inner.lanes.len(), opened.map(|lane| lane.topic.clone()).collect())
    }

    /// The sequence number of the oldest record for which `reached` holds, given that it holds for all later ones; otherwise of the
    /// next one to come.
    pub fn sequence_of(&self, mut reached: impl FnMut(&Record) -> bool) -> u64 {
        let inner = self.inner.lock();
        inner.first + inner.entries.partition_point(|entry| !reached(&entry.record)) as u64
    }
}

/// Exclusive access to the end of the log.
#[derive(Debug)]
pub struct Appender<'a> {
    log: Option<parking_lot::MutexGuard<'a, Inner>>,
    /// What made room, to be dropped when others need not wait for it.
    forgotten: SmallVec<[Entry; 2]>,
    touched: Vec<Arc<Vec<Arc<Alarm>>>>,
}

impl Appender<'_> {
    fn log(&mut self) -> &mut Inner {
        self.log.as_mut().expect("only drop takes the guard")
    }

    /// The sequence number that the next record gets: one more than the last one's.
    pub fn next_sequence(&mut self) -> u64 {
        self.log().end()
    }

    /// Whether a record of this footprint fits in beside all that is held.
    pub fn has_room(&mut self, footprint: usize) -> bool {
        let log = self.log();
        log.held_bytes + footprint <= log.capacity
    }

    /// How many topics have open lanes.
    pub fn topics(&mut self) -> usize {
        self.log().names.len()
    }

    /// Opens a lane whose first record will be at `floor` or later; nothing happens if it is open already.
    pub fn open(&mut self, topic: &Str, partition: u32, floor: Place) {
        if self.log().lane(topic, partition).is_none() {
            self.open_new(topic, partition, floor);
        }
    }

    fn open_new(&mut self, topic: &Str, partition: u32, floor: Place) -> LaneId {
        let log = self.log();
        let id = log.lanes.len();
        let holds = log.holders.iter().filter(|topics| topics.contains(topic)).count() as u32;
        log.names.entry(topic.clone()).or_default().push((partition, id));
        log.lanes.push(Lane {
            topic: topic.clone(),
            partition,
            opened: floor,
            floor,
            forgotten: 0,
            holds,
            entries: VecDeque::new(),
            passed: floor,
            removed: false,
            followers: Arc::default(),
        });
        let followers = log.followers.clone();
        self.touched.push(followers);
        id
    }

    /// The log's own text of a topic that has open lanes.
    pub fn topic(&mut self, topic: &str) -> Option<Str> {
        self.log().names.get_key_value(topic).map(|(known, _)| known.clone())
    }

    /// Appends a record to its lane, opening the lane at the record's place if need be; the oldest records make room.
    pub fn append(&mut self, record: Arc<Record>) {
        let footprint = record.footprint();
        self.append_measured(record, footprint);
    }

    /// The same, for who has worked out the record's [`footprint`](Record::footprint) before others had to wait.
    pub fn append_measured(&mut self, record: Arc<Record>, footprint: usize) {
        let topic = record.topic.clone();
        self.append_in(&topic, record, footprint);
    }

    /// The same, in the lane of another name than the record's topic: where all topics of a broker, which may be any number, stand in one.
    pub fn append_in(&mut self, topic: &Str, record: Arc<Record>, footprint: usize) {
        let partition = record.position.partition;
        let known = self.log().lane(topic, partition);
        let lane = known.unwrap_or_else(|| self.open_new(topic, partition, record.position.place));
        let sequence = self.next_sequence();
        let log = self.log();
        let holds = log.lanes[lane].holds;
        log.bytes += footprint;
        log.held_bytes += if holds > 0 { footprint } else { 0 };
        log.entries.push_back(Entry { lane, footprint, record, holds });
        log.lanes[lane].entries.push_back(sequence);
        while let Some(oldest) = self.log.as_mut().and_then(|log| log.make_room()) {
            self.forgotten.push(oldest);
        }
        if !self.forgotten.is_empty() {
            self.log().look_ahead();
        }
        self.touch(lane);
    }

    /// Nothing more will be appended before `place` in this lane: what lies between its last record and there is no record. Who has read
    /// all of it goes on there.
    pub fn pass(&mut self, topic: &str, partition: u32, place: Place) {
        let log = self.log();
        if let Some(id) = log.lane(topic, partition)
            && log.lanes[id].passed < place
        {
            log.lanes[id].passed = place;
            self.touch(id);
        }
    }

    /// Has the followers of this lane woken.
    fn touch(&mut self, lane: LaneId) {
        let followers = &self.log().lanes[lane].followers;
        if !followers.is_empty() {
            let followers = followers.clone();
            if !self.touched.iter().any(|touched| Arc::ptr_eq(touched, &followers)) {
                self.touched.push(followers);
            }
        }
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.log = None; // before the readers wake and want it
        if !self.touched.is_empty() {
            ring_all(self.touched.iter().flat_map(|list| list.iter()));
        }
    }
}

impl Inner {
    fn lane(&self, topic: &str, partition: u32) -> Option<LaneId> {
        let lanes = self.names.get(topic)?;
        lanes.iter().find(|(number, _)| *number == partition).map(|(_, lane)| *lane)
    }

    /// Gives up the oldest entry that is not held if there is too much.
    fn make_room(&mut self) -> Option<Entry> {
        while self.bytes > self.capacity && self.entries.len() > 1 {
            let (sequence, oldest) = (self.first, self.entries.pop_front()?);
            self.first += 1;
            let lane = &mut self.lanes[oldest.lane];
            lane.entries.pop_front();
            lane.floor = oldest.record.next;
            lane.forgotten += 1;
            if oldest.holds == 0 {
                self.bytes -= oldest.footprint;
                return Some(oldest);
            }
            self.kept.insert(sequence, oldest);
        }
        None
    }
}

impl Lane {
    fn is_of(&self, topics: &TopicSet) -> bool {
        !self.removed && topics.contains(&self.topic)
    }

    fn state(&self) -> LaneState<'_> {
        LaneState { topic: &self.topic, partition: self.partition, floor: self.floor }
    }
}

#[cfg(test)]
mod tests;
