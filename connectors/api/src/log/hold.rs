//! Reading a [`Log`] of which nothing may be forgotten that was not released.
//!
//! Where the reader has no room for more of one lane, that lane *stalls*: the others are read on, and it later goes on by itself until it
//! has caught up with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;

use super::{
    Entry, Inner, LaneId, LaneState, Log,
    follow::{Budget, Follower, Lanes, Records, take},
};
use crate::{Str, position::Place, topic::TopicSet};

/// A reader whose records stay in the log until they are released through its [`Hold`]. Dropping it releases all.
#[derive(Debug)]
pub struct Holder {
    follower: Follower,
    hold: Arc<Hold>,
    /// The lanes for which there was no room, and the sequence number from which on each was not looked at.
    stalled: BTreeMap<LaneId, u64>,
}

/// What a [`Holder`] has read and not released.
#[derive(Debug)]
pub struct Hold {
    log: Arc<Log>,
    /// Sequence numbers.
    unreleased: Mutex<BTreeSet<u64>>,
}

impl Log {
    /// Follows `topics`, each existing lane from where `start` says or, if that is forgotten, from its floor; later ones from where they
    /// are opened.
    pub fn hold(self: &Arc<Self>, topics: TopicSet, mut start: impl FnMut(LaneState<'_>) -> Place) -> Holder {
        let mut inner = self.inner.lock();
        inner.holders.push(topics.clone());
        let follower = Follower::place(self, &mut inner, topics, |lane| start(lane.state()).max(lane.floor));
        for (lane, from) in &follower.lanes {
            inner.lanes[*lane].holds += 1;
            let entries = inner.lanes[*lane].entries.clone();
            entries.into_iter().for_each(|sequence| inner.hold(sequence, *from));
        }
        drop(inner);
        let hold = Arc::new(Hold { log: self.clone(), unreleased: Mutex::default() });
        Holder { follower, hold, stalled: BTreeMap::new() }
    }

    /// How many records of the lane come before `place`, of all that it ever had; those before its floor that are held do not count
    /// if they are not before `place`.
    pub fn ordinal(&self, topic: &str, partition: u32, place: Place) -> u64 {
        let inner = self.inner.lock();
        let Some(id) = inner.lane(topic, partition) else { return 0 };
        let lane = &inner.lanes[id];
        let before = lane.entries.partition_point(|sequence| inner.entry(*sequence).record.position.place < place);
        let kept = inner.kept.values().filter(|entry| entry.lane == id && entry.record.position.place >= place);
        lane.forgotten + before as u64 - kept.count() as u64
    }

    /// The lane's floor, and how many records it had before that.
    pub fn floor(&self, topic: &str, partition: u32) -> Option<(Place, u64)> {
        let inner = self.inner.lock();
        let lane = &inner.lanes[inner.lane(topic, partition)?];
        Some((lane.floor, lane.forgotten))
    }
}

impl Hold {
    /// The record may make room for others.
    pub fn release(&self, sequence: u64) {
        if self.unreleased.lock().remove(&sequence) {
            self.log.inner.lock().release(sequence);
        }
    }
}

impl Holder {
    /// What it reads.
    #[must_use]
    pub fn topics(&self) -> &TopicSet {
        self.follower.topics()
    }

    /// To release what was read.
    #[must_use]
    pub fn hold(&self) -> Arc<Hold> {
        self.hold.clone()
    }

    /// Ready with at least one record, at most `max`, and of each partition no more than `room` says. It is to be polled again when there
    /// is room where there was none; otherwise the task is woken. Cancel-safe.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: NonZeroUsize,
        room: impl Fn(&Str, u32) -> usize,
    ) -> Poll<Records> {
        let mut records = Records::new();
        loop {
            let stirred = self.follower.poll_stirred(cx);
            if stirred.is_pending() && self.stalled.is_empty() {
                return Poll::Pending;
            }
            let is_at_end = self.read(max, &room, &mut records);
            self.follower.rest(is_at_end);
            if !records.is_empty() {
                return Poll::Ready(records);
            }
            ready!(stirred);
        }
    }

    /// Reads these topics from now on, those that were not read before from their floors. All of others is released.
    pub fn turn_to(&mut self, topics: TopicSet) {
        let log = self.hold.log.clone();
        let mut inner = log.inner.lock();
        self.follower.adopt_new_lanes(&mut inner);
        if let Some(held) = inner.holders.iter_mut().find(|held| *held == self.follower.topics()) {
            held.clone_from(&topics);
        }
        for (lane, from) in self.follower.leave_lanes(&mut inner, |lane| !lane.is_of(&topics)) {
            inner.lanes[lane].holds -= 1;
            let mut held = inner.sequences(lane, Place::default());
            let unread: BTreeSet<_> = inner.sequences(lane, from).into_iter().collect();
            let mut unreleased = self.hold.unreleased.lock();
            held.retain(|sequence| unreleased.remove(sequence) || unread.contains(sequence));
            held.into_iter().for_each(|sequence| inner.release(sequence));
        }
        self.stalled.retain(|stalled, _| self.follower.lanes.iter().any(|(lane, _)| lane == stalled));
        for (lane, from) in self.follower.enter_lanes(&mut inner, topics) {
            inner.lanes[lane].holds += 1;
            let entries = inner.lanes[lane].entries.clone();
            entries.into_iter().for_each(|sequence| inner.hold(sequence, from));
        }
    }

    /// Whether that was all, but for lanes that are stalled.
    fn read(&mut self, max: NonZeroUsize, room: &dyn Fn(&Str, u32) -> usize, records: &mut Records) -> bool {
        let log = self.hold.log.clone();
        let mut inner = log.inner.lock();
        self.follower.adopt_new_lanes(&mut inner);
        let mut unreleased = self.hold.unreleased.lock();
        let Follower { lanes, at, .. } = &mut self.follower;
        let (budget, rooms) = (Budget::new(max), BTreeMap::new());
        let mut reading = Reading { lanes, unreleased: &mut unreleased, records, budget, room, rooms };
        self.stalled.retain(|lane, from| {
            let stop = inner.between(*lane, *from, *at).find(|(sequence, entry)| !reading.takes(*sequence, entry));
            stop.map(|(sequence, _)| *from = sequence).is_some()
        });
        let end = inner.end();
        let kept = inner.kept.range(*at..).map(|(sequence, entry)| (*sequence, entry));
        let newer = (inner.first.max(*at)..end).map(|sequence| (sequence, inner.entry(sequence)));
        for (sequence, entry) in kept.chain(newer) {
            if reading.budget.is_spent() {
                *at = sequence;
                return false;
            }
            if !self.stalled.contains_key(&entry.lane) && !reading.takes(sequence, entry) {
                self.stalled.insert(entry.lane, sequence);
            }
        }
        *at = end;
        true
    }
}

/// One read under way.
struct Reading<'r> {
    lanes: &'r mut Lanes,
    unreleased: &'r mut BTreeSet<u64>,
    records: &'r mut Records,
    budget: Budget,
    room: &'r dyn Fn(&Str, u32) -> usize,
    /// What is left of the room, once it was asked for.
    rooms: BTreeMap<LaneId, usize>,
}

impl Reading<'_> {
    /// Takes the entry if it is one to be read; false if there is no room for it.
    fn takes(&mut self, sequence: u64, entry: &Entry) -> bool {
        let Ok(known) = self.lanes.binary_search_by_key(&entry.lane, |(lane, _)| *lane) else { return true };
        let place = &mut self.lanes[known].1;
        if entry.record.position.place < *place {
            return true;
        }
        let ask = || (self.room)(&entry.record.topic, entry.record.position.partition);
        let room = self.rooms.entry(entry.lane).or_insert_with(ask);
        if *room == 0 || self.budget.is_spent() {
            return false;
        }
        *room -= 1;
        take(entry, place, self.records, &mut self.budget);
        self.unreleased.insert(sequence);
        true
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let log = self.hold.log.clone();
        let mut inner = log.inner.lock();
        self.follower.adopt_new_lanes(&mut inner);
        let topics = self.follower.topics();
        if let Some(at) = inner.holders.iter().position(|held| held == topics) {
            inner.holders.swap_remove(at);
        }
        let mut held = std::mem::take(&mut *self.hold.unreleased.lock());
        for (lane, from) in &self.follower.lanes {
            inner.lanes[*lane].holds -= 1;
            held.extend(inner.sequences(*lane, *from));
        }
        held.into_iter().for_each(|sequence| inner.release(sequence));
    }
}

impl Inner {
    fn hold(&mut self, sequence: u64, from: Place) {
        let entry = &mut self.entries[(sequence - self.first) as usize];
        if entry.record.position.place >= from {
            entry.holds += 1;
            self.held_bytes += if entry.holds == 1 { entry.footprint } else { 0 };
        }
    }

    fn release(&mut self, sequence: u64) {
        let is_kept = sequence < self.first;
        let entry =
            if is_kept { self.kept.get_mut(&sequence) } else { self.entries.get_mut((sequence - self.first) as usize) };
        let Some(entry) = entry else { return };
        entry.holds -= 1;
        let (holds, footprint) = (entry.holds, entry.footprint);
        if holds == 0 {
            self.held_bytes -= footprint;
            if is_kept {
                self.bytes -= footprint;
                self.kept.remove(&sequence);
            }
        }
    }

    /// The lane's entries from one sequence number up to another, also those that are kept.
    fn between(&self, id: LaneId, from: u64, to: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let lane = &self.lanes[id];
        let kept = self.kept.range(from..to.max(from)).map(|(sequence, entry)| (*sequence, entry));
        let newer = lane.entries.range(lane.first_from(from)..).take_while(move |sequence| **sequence < to);
        kept.filter(move |(_, entry)| entry.lane == id).chain(newer.map(|sequence| (*sequence, self.entry(*sequence))))
    }

    /// The lane's records from a place on, also those that are kept.
    fn sequences(&self, lane: LaneId, from: Place) -> Vec<u64> {
        let kept = self.kept.iter().filter(|(_, entry)| entry.lane == lane).map(|(sequence, entry)| (*sequence, entry));
        let newer = self.lanes[lane].entries.iter().map(|sequence| (*sequence, self.entry(*sequence)));
        let all = kept.chain(newer).filter(|(_, entry)| entry.record.position.place >= from);
        all.map(|(sequence, _)| sequence).collect()
    }
}
