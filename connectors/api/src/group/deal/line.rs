//! Where each lane stands in line, and who is called for it.

use std::{hash::BuildHasher, time::Instant};

use super::{Deal, LaneId, MemberId, Mood};
use crate::group::lane::{Lane, Queue};

impl Deal {
    /// Puts a lane where it belongs now, and calls who is to have it.
    pub(super) fn line_up(&mut self, id: LaneId, now: Instant) {
        self.unqueue(id);
        let Some(lane) = self.lanes.get(&id) else { return };
        let Some((number, entry)) = lane.waiting.front().and_then(|number| Some((*number, self.entries.get(number)?)))
        else {
            if lane.in_flight == 0 {
                self.lane_names.remove(&lane.name);
                self.lanes.remove(&id);
            }
            return;
        };
        let queue = if let Some(due) = entry.due.filter(|due| *due > now) {
            self.parked.insert((due, id));
            Queue::Parked(due)
        } else if lane.returned > 0 && !entry.was_delivered {
            Queue::None
        } else if lane.in_flight > 0 {
            Queue::Bound(lane.holder, number)
        } else {
            self.favourite(lane).map_or(Queue::Orphaned, |member| Queue::Free(member, number))
        };
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.queue = queue;
        }
        match queue {
            Queue::None => {}
            Queue::Parked(due) => {
                // Who waits knows only of what was parked before, and its own member may be gone by then.
                if self.parked.first() == Some(&(due, id))
                    && let Some(member) = self.hungry.first().copied()
                {
                    self.call(member, now);
                }
            }
            Queue::Orphaned => drop(self.orphans.insert(id)),
            Queue::Bound(member, number) => {
                if let Some(seat) = self.seats.get_mut(&member) {
                    seat.bound.insert(number, id);
                }
                self.call(member, now);
            }
            Queue::Free(member, number) => {
                let mut is_busy = false;
                if let Some(seat) = self.seats.get_mut(&member) {
                    seat.free.insert(number, id);
                    is_busy = matches!(seat.mood, Mood::Busy);
                }
                let called = self.hungry.first().copied().filter(|_| is_busy).unwrap_or(member);
                self.call(called, now);
            }
        }
    }

    pub(super) fn unqueue(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match std::mem::replace(&mut lane.queue, Queue::None) {
            Queue::None => {}
            Queue::Orphaned => drop(self.orphans.remove(&id)),
            Queue::Parked(due) => drop(self.parked.remove(&(due, id))),
            Queue::Bound(member, number) => {
                if let Some(seat) = self.seats.get_mut(&member) {
                    seat.bound.remove(&number);
                }
            }
            Queue::Free(member, number) => {
                if let Some(seat) = self.seats.get_mut(&member) {
                    seat.free.remove(&number);
                }
            }
        }
    }

    /// Who is asked first whether it takes the lane.
    fn favourite(&self, lane: &Lane) -> Option<MemberId> {
        let members = self.seats.len() as u64;
        let hash = if members > 1 { self.hasher.hash_one(&lane.name) % members } else { 0 };
        self.seats.keys().nth(hash as usize).copied()
    }

    pub(super) fn call(&mut self, member: MemberId, now: Instant) {
        self.hungry.remove(&member);
        if let Some(seat) = self.seats.get_mut(&member)
            && matches!(seat.mood, Mood::Hungry(_))
            && let Mood::Hungry(waker) = std::mem::replace(&mut seat.mood, Mood::Called(now))
        {
            self.calls.push(waker);
        }
    }

    pub(super) fn unpark(&mut self, now: Instant) {
        while let Some((due, lane)) = self.parked.first().copied().filter(|(due, _)| *due <= now) {
            self.parked.remove(&(due, lane));
            self.line_up(lane, now);
        }
    }
}
