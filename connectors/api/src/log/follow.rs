//! Reading a [`Log`] as it grows.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
};

use smallvec::SmallVec;

use super::{Alarm, Entry, Inner, Lane, LaneId, LaneState, Log};
use crate::{
    Str,
    connector::{READ_BYTES, Record},
    position::{Place, Position, Positions},
    topic::TopicSet,
};

/// The log no longer holds, or never held, all that the reader wants from this lane on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log begins at {floor:?} in partition {partition} of {topic}")]
pub struct Behind {
    /// The lane's topic.
    pub topic: Str,
    /// The partition.
    pub partition: u32,
    /// Where the log's knowledge of the lane begins.
    pub floor: Place,
}

/// What one read takes.
pub type Records = SmallVec<[Arc<Record>; 1]>;

/// The lanes that a reader reads, ordered, and the place from which on.
pub(super) type Lanes = SmallVec<[(LaneId, Place); 1]>;

/// A reader of a log. Dropping it ends the reading.
#[derive(Debug)]
pub struct Follower {
    log: Arc<Log>,
    topics: TopicSet,
    pub(super) lanes: Lanes,
    /// How many of the log's lanes it has looked at.
    lanes_seen: usize,
    /// The sequence number of the next entry to look at.
    pub(super) at: u64,
    wake: Arc<Alarm>,
    /// Had read all, the last time it looked.
    is_at_end: bool,
    /// Where it has gone on without a record, since that was asked last.
    passed: Positions,
}

impl Log {
    /// Follows `topics`, each existing lane from where `start` says, later ones from where they are opened. [`Behind`] if the log does not
    /// hold everything from there.
    pub fn follow(
        self: &Arc<Self>,
        topics: TopicSet,
        mut start: impl FnMut(LaneState<'_>) -> Place,
    ) -> Result<Follower, Behind> {
        let mut inner = self.inner.lock();
        let follower = Follower::place(self, &mut inner, topics, |lane| start(lane.state()));
        let behind = follower.behind(&inner);
        drop(inner);
        behind.map_or(Ok(follower), Err)
    }

    /// Follows `topics` from `positions` on, if the log holds all from there and each partition of `read` is open: one that is closed now
    /// may be opened anew further on.
    pub fn follow_on(self: &Arc<Self>, topics: &TopicSet, positions: &Positions, read: &Positions) -> Option<Follower> {
        let mut open = 0;
        let follower = self.follow(topics.clone(), |lane| {
            open += usize::from(read.get(lane.topic, lane.partition).is_some());
            positions.get(lane.topic, lane.partition).unwrap_or_default() // what is not named is read from its start
        });
        follower.ok().filter(|_| open == read.len())
    }
}

impl Follower {
    /// Stands each existing lane of its topics where `start` says.
    pub(super) fn place(
        log: &Arc<Log>,
        inner: &mut Inner,
        topics: TopicSet,
        mut start: impl FnMut(&Lane) -> Place,
    ) -> Self {
        let wake = Arc::<Alarm>::default();
        let own = inner.lanes.iter().enumerate().filter(|(_, lane)| lane.is_of(&topics));
        let lanes: Lanes = own.map(|(id, lane)| (id, start(lane))).collect();
        let at = lanes.iter().map(|(id, place)| inner.first_at_or_after(*id, *place)).min();
        let at = at.unwrap_or(inner.end());
        for (id, _) in &lanes {
            Arc::make_mut(&mut inner.lanes[*id].followers).push(wake.clone());
        }
        Arc::make_mut(&mut inner.followers).push(wake.clone());
        let lanes_seen = inner.lanes.len();
        Self { log: log.clone(), topics, lanes, lanes_seen, at, wake, is_at_end: false, passed: Positions::default() }
    }

    fn behind(&self, inner: &Inner) -> Option<Behind> {
        let behind = self.lanes.iter().find(|(lane, place)| inner.lanes[*lane].is_behind(*place));
        behind.map(|(lane, _)| inner.lanes[*lane].behind())
    }

    /// Takes at most `max` records and about [`READ_BYTES`], in the order of appending; whether that was all. Does not wait.
    pub fn read(&mut self, max: NonZeroUsize, records: &mut Records) -> Result<bool, Behind> {
        let log = self.log.clone();
        let mut inner = log.inner.lock();
        self.adopt_new_lanes(&mut inner);
        if let Some(behind) = self.behind(&inner) {
            return Err(behind);
        }
        let Self { lanes, at, passed, .. } = self;
        *at = (*at).max(inner.first);
        let end = inner.end();
        let mut budget = Budget::new(max);
        if let [(only, place)] = &mut lanes[..] {
            let lane = &inner.lanes[*only];
            for sequence in lane.entries.range(lane.first_from(*at)..) {
                if budget.is_spent() {
                    *at = *sequence;
                    return Ok(false);
                }
                take(inner.entry(*sequence), place, records, &mut budget);
            }
        } else {
            while *at < end {
                if budget.is_spent() {
                    return Ok(false);
                }
                let entry = inner.entry(*at);
                if let Ok(known) = lanes.binary_search_by_key(&entry.lane, |(lane, _)| *lane) {
                    take(entry, &mut lanes[known].1, records, &mut budget);
                }
                *at += 1;
            }
        }
        *at = end;
        for (lane, place) in lanes {
            inner.lanes[*lane].pass(place, passed);
        }
        Ok(true)
    }

    /// The same, ready once there is a record, it has passed something ([`take_passed`](Self::take_passed)), or the reader is behind. What
    /// has not changed since it was read to its end is not looked at again.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: NonZeroUsize,
        records: &mut Records,
    ) -> Poll<Result<bool, Behind>> {
        loop {
            ready!(self.poll_stirred(cx));
            self.is_at_end = self.read(max, records)?;
            if !(records.is_empty() && self.passed.is_empty()) {
                return Poll::Ready(Ok(self.is_at_end));
            }
        }
    }

    /// Where it goes on in lanes that have nothing more before these places ([`Appender::pass`](super::Appender::pass)), after all that it
    /// has read. Each is told once.
    pub fn take_passed(&mut self) -> Positions {
        std::mem::take(&mut self.passed)
    }

    /// Whether it had read all when it looked last.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Ready when there may be something to read.
    pub(super) fn poll_stirred(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let was_rung = self.wake.was_rung();
        if self.is_at_end && !was_rung {
            ready!(self.wake.poll_rung(cx));
        }
        self.is_at_end = false;
        Poll::Ready(())
    }

    /// Has read: if all, there is nothing more until something stirs.
    pub(super) fn rest(&mut self, is_at_end: bool) {
        self.is_at_end = is_at_end;
    }

    /// Reads those of the log's lanes that it has not looked at too, if they are of its topics.
    pub(super) fn adopt_new_lanes(&mut self, inner: &mut Inner) {
        let Self { topics, lanes, lanes_seen, at, wake, .. } = self;
        let Inner { lanes: all, kept, .. } = inner;
        for (id, lane) in all.iter_mut().enumerate().skip(*lanes_seen).filter(|(_, lane)| lane.is_of(topics)) {
            let kept = kept.iter().find(|(_, entry)| entry.lane == id).map(|(sequence, _)| *sequence);
            lanes.push((id, lane.opened));
            *at = (*at).min(kept.or(lane.entries.front().copied()).unwrap_or(u64::MAX));
            Arc::make_mut(&mut lane.followers).push(wake.clone());
        }
        *lanes_seen = all.len();
    }

    /// Ends following lanes; which they were, and where it stood in them.
    pub(super) fn leave_lanes(&mut self, inner: &mut Inner, is_left: impl Fn(&Lane) -> bool) -> Lanes {
        let (left, kept) = self.lanes.drain(..).partition::<Lanes, _>(|(lane, _)| is_left(&inner.lanes[*lane]));
        self.lanes = kept;
        for (lane, _) in &left {
            Arc::make_mut(&mut inner.lanes[*lane].followers).retain(|other| !Arc::ptr_eq(other, &self.wake));
        }
        left
    }

    /// Follows these topics from now on; the lanes that are new to it, from their floors.
    pub(super) fn enter_lanes(&mut self, inner: &mut Inner, topics: TopicSet) -> Lanes {
        let mut entered = Lanes::new();
        for (id, lane) in inner.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_of(&topics)) {
            if let Err(at) = self.lanes.binary_search_by_key(&id, |(lane, _)| *lane) {
                self.lanes.insert(at, (id, lane.floor));
                self.at = self.at.min(lane.entries.front().copied().unwrap_or(u64::MAX));
                Arc::make_mut(&mut lane.followers).push(self.wake.clone());
                entered.push((id, lane.floor));
            }
        }
        self.topics = topics;
        self.is_at_end = false;
        entered
    }

    /// The sequence number of the next record that it will look at.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.at
    }

    /// The topics that it follows.
    #[must_use]
    pub fn topics(&self) -> &TopicSet {
        &self.topics
    }
}

/// Takes the entry if it is not before the reader's place in its lane; whether it did.
pub(super) fn take(entry: &Entry, place: &mut Place, records: &mut Records, budget: &mut Budget) -> bool {
    let is_new = entry.record.position.place >= *place;
    if is_new {
        *place = entry.record.next;
        budget.records -= 1;
        budget.bytes = budget.bytes.saturating_sub(entry.footprint);
        records.push(entry.record.clone());
    }
    is_new
}

/// What one read may still take.
pub(super) struct Budget {
    records: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max: NonZeroUsize) -> Self {
        Self { records: max.get(), bytes: READ_BYTES }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut inner = self.log.inner.lock();
        let others = |list: &mut Arc<Vec<Arc<Alarm>>>| {
            Arc::make_mut(list).retain(|follower| !Arc::ptr_eq(follower, &self.wake));
        };
        for (lane, _) in &self.lanes {
            others(&mut inner.lanes[*lane].followers);
        }
        others(&mut inner.followers);
    }
}

impl Inner {
    pub(super) fn entry(&self, sequence: u64) -> &Entry {
        &self.entries[(sequence - self.first) as usize]
    }

    /// The sequence number after the last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn first_at_or_after(&self, lane: LaneId, place: Place) -> u64 {
        let end = self.end();
        let entries = &self.lanes[lane].entries;
        let before = |sequence: &u64| self.entry(*sequence).record.position.place < place;
        entries.get(entries.partition_point(before)).copied().unwrap_or(end)
    }
}

impl Lane {
    /// The index of the first entry with that sequence number or a later one. Most readers want the last one only.
    pub(super) fn first_from(&self, sequence: u64) -> usize {
        let count = self.entries.len();
        match count.checked_sub(2).map(|last_but_one| self.entries[last_but_one]) {
            Some(earlier) if earlier < sequence => count - usize::from(self.entries[count - 1] >= sequence),
            _ => self.entries.partition_point(|known| *known < sequence),
        }
    }

    fn is_behind(&self, place: Place) -> bool {
        self.removed || place < self.floor
    }

    /// Moves a reader that has read all of the lane to where that goes on.
    fn pass(&self, place: &mut Place, passed: &mut Positions) {
        if *place < self.passed {
            *place = self.passed;
            passed.set(Position { topic: self.topic.clone(), partition: self.partition, place: self.passed });
        }
    }

    fn behind(&self) -> Behind {
        Behind { topic: self.topic.clone(), partition: self.partition, floor: self.floor }
    }
}
