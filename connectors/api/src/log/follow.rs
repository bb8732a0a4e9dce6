//! Reading a [`Log`] as it grows.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::Notify;

use super::{Inner, Lane, LaneId, LaneState, Log};
use crate::{
    Str,
    connector::{READ_BYTES, Record},
    position::Place,
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

/// A reader of a log. Dropping it ends the reading.
#[derive(Debug)]
pub struct Follower {
    log: Arc<Log>,
    topics: TopicSet,
    /// The lanes that it reads, ordered, and the place from which on.
    lanes: Vec<(LaneId, Place)>,
    /// How many of the log's lanes it has looked at.
    lanes_seen: usize,
    /// The sequence number of the next entry to look at.
    at: u64,
    wake: Arc<Notify>,
}

impl Log {
    /// Follows `topics`, each existing lane from where `start` says, later ones from where they are opened. [`Behind`] if the log does not
    /// hold everything from there.
    pub fn follow(
        self: &Arc<Self>,
        topics: TopicSet,
        mut start: impl FnMut(LaneState<'_>) -> Place,
    ) -> Result<Follower, Behind> {
        let wake = Arc::new(Notify::new());
        let mut inner = self.inner.lock();
        let mut lanes = Vec::new();
        for (id, lane) in inner.lanes.iter().enumerate().filter(|(_, lane)| lane.is_of(&topics)) {
            let place = start(lane.state());
            if place < lane.floor {
                return Err(lane.behind());
            }
            lanes.push((id, place));
        }
        let at = lanes.iter().map(|(id, place)| inner.first_at_or_after(*id, *place)).min();
        let at = at.unwrap_or(inner.first + inner.entries.len() as u64);
        for (id, _) in &lanes {
            Arc::make_mut(&mut inner.lanes[*id].followers).push(wake.clone());
        }
        Arc::make_mut(&mut inner.followers).push(wake.clone());
        let lanes_seen = inner.lanes.len();
        drop(inner);
        Ok(Follower { log: self.clone(), topics, lanes, lanes_seen, at, wake })
    }
}

impl Follower {
    /// Takes at most `max` records and about [`READ_BYTES`], in the order of appending; whether that was all. Does not wait.
    pub fn read(&mut self, max: NonZeroUsize, records: &mut Vec<Arc<Record>>) -> Result<bool, Behind> {
        let log = self.log.clone();
        let mut inner = log.inner.lock();
        self.adopt_new_lanes(&mut inner);
        if let Some((lane, _)) = self.lanes.iter().find(|(lane, place)| inner.lanes[*lane].is_behind(*place)) {
            return Err(inner.lanes[*lane].behind());
        }
        self.at = self.at.max(inner.first);
        let end = inner.first + inner.entries.len() as u64;
        let mut budget = Budget { records: max.get(), bytes: READ_BYTES };
        if let [(only, _)] = self.lanes[..] {
            let lane = &inner.lanes[only];
            let from = lane.entries.partition_point(|sequence| *sequence < self.at);
            for sequence in lane.entries.range(from..) {
                if budget.is_spent() {
                    self.at = *sequence;
                    return Ok(false);
                }
                self.take(&inner, *sequence, records, &mut budget);
            }
        } else {
            while self.at < end {
                if budget.is_spent() {
                    return Ok(false);
                }
                self.take(&inner, self.at, records, &mut budget);
                self.at += 1;
            }
        }
        self.at = end;
        Ok(true)
    }

    /// Waits until there may be something to read. Cancel-safe.
    pub async fn changed(&self) {
        self.wake.notified().await;
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

    /// Takes the entry if it is in one of the reader's lanes and not before the reader's place there.
    fn take(&mut self, inner: &Inner, sequence: u64, records: &mut Vec<Arc<Record>>, budget: &mut Budget) {
        let Some(entry) = inner.entries.get((sequence - inner.first) as usize) else { return };
        let Ok(at) = self.lanes.binary_search_by_key(&entry.lane, |(lane, _)| *lane) else { return };
        let place = &mut self.lanes[at].1;
        if entry.record.position.place >= *place {
            *place = entry.record.next;
            budget.records -= 1;
            budget.bytes = budget.bytes.saturating_sub(entry.footprint);
            records.push(entry.record.clone());
        }
    }

    fn adopt_new_lanes(&mut self, inner: &mut Inner) {
        for id in self.lanes_seen..inner.lanes.len() {
            let lane = &mut inner.lanes[id];
            if lane.is_of(&self.topics) {
                self.lanes.push((id, lane.opened));
                self.at = self.at.min(lane.entries.front().copied().unwrap_or(u64::MAX));
                Arc::make_mut(&mut lane.followers).push(self.wake.clone());
            }
        }
        self.lanes_seen = inner.lanes.len();
    }
}

/// What one read may still take.
struct Budget {
    records: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut inner = self.log.inner.lock();
        let others = |list: &mut Arc<Vec<Arc<Notify>>>| {
            Arc::make_mut(list).retain(|follower| !Arc::ptr_eq(follower, &self.wake));
        };
        for (lane, _) in &self.lanes {
            others(&mut inner.lanes[*lane].followers);
        }
        others(&mut inner.followers);
    }
}

impl Inner {
    fn first_at_or_after(&self, lane: LaneId, place: Place) -> u64 {
        let end = self.first + self.entries.len() as u64;
        let entries = &self.lanes[lane].entries;
        let before = |sequence: &u64| self.entries[(*sequence - self.first) as usize].record.position.place < place;
        entries.get(entries.partition_point(before)).copied().unwrap_or(end)
    }
}

impl Lane {
    fn is_behind(&self, place: Place) -> bool {
        self.removed || place < self.floor
    }

    fn behind(&self) -> Behind {
        Behind { topic: self.topic.clone(), partition: self.partition, floor: self.floor }
    }
}
