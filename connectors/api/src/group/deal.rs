//! Who gets what: the records of a group's partitions, its lanes, its members in this process.
//!
//! A lane (records that keep their order) belongs to the member that has unsettled records of it, and to nobody when all of it is
//! settled; then a hash of it says who is asked first, and whoever asks while that one is busy may have it. A member gets the records
//! that wait for it in the order in which they were read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::RandomState,
    num::NonZeroUsize,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    Bounds, Resume,
    lane::{Lane, LaneName},
    window::Window,
};
use crate::{
    Str,
    connector::{READ_BYTES, Record},
    position::{Place, Position},
};

mod line;
mod room;

pub(super) type MemberId = u64;
pub(super) type PartitionId = u64;
pub(super) type LaneId = u64;

/// Records that wait for members before no more are read for members that ask for none.
const READ_AHEAD: usize = 1024;
/// How long a member that was called has before what is meant for it first is offered to others.
const COURTESY: Duration = Duration::from_millis(100);
/// A delivery that is put off for longer than clocks count.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A record that is not settled.
#[derive(Debug)]
struct Entry {
    record: Arc<Record>,
    bytes: usize,
    partition: PartitionId,
    lane: LaneId,
    was_delivered: bool,
    /// A member said that it is to be delivered again.
    is_returned: bool,
    /// Not before.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Partition {
    topic: Str,
    number: u32,
    window: Window,
    /// Of its records that are not settled.
    records: usize,
    bytes: usize,
}

/// A member's place at the table.
#[derive(Debug)]
struct Seat {
    mood: Mood,
    bound: BTreeMap<u64, LaneId>,
    free: BTreeMap<u64, LaneId>,
    deliveries: BTreeSet<u64>,
}

#[derive(Debug)]
enum Mood {
    /// Waits for more.
    Hungry(Waker),
    /// Was woken, and will ask.
    Called(Instant),
    /// Does something else.
    Busy,
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The record needs never be delivered again.
    Settled,
    /// Its holder wants it again, after a while.
    Returned { after: Option<Duration> },
    /// Its holder let go of it without a word.
    Abandoned,
}

/// The state of a group.
#[derive(Debug)]
pub(super) struct Deal {
    bounds: Bounds,
    hasher: RandomState,
    issued: u64,
    partitions: BTreeMap<PartitionId, Partition>,
    names: HashMap<(Str, u32), PartitionId>,
    entries: HashMap<u64, Entry>,
    bytes: usize,
    lanes: HashMap<LaneId, Lane>,
    lane_names: HashMap<LaneName, LaneId>,
    parked: BTreeSet<(Instant, LaneId)>,
    orphans: HashSet<LaneId>,
    seats: BTreeMap<MemberId, Seat>,
    hungry: BTreeSet<MemberId>,
    /// To whom each delivery went, and of what.
    deliveries: HashMap<u64, (MemberId, u64)>,
    /// Members to be woken once the state is unlocked.
    pub(super) calls: Vec<Waker>,
}

impl Deal {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: RandomState::new(),
            issued: 0,
            partitions: BTreeMap::new(),
            names: HashMap::new(),
            entries: HashMap::new(),
            bytes: 0,
            lanes: HashMap::new(),
            lane_names: HashMap::new(),
            parked: BTreeSet::new(),
            orphans: HashSet::new(),
            seats: BTreeMap::new(),
            hungry: BTreeSet::new(),
            deliveries: HashMap::new(),
            calls: Vec::new(),
        }
    }

    fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.issued
    }

    pub(super) fn members(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn unsettled(&self) -> usize {
        self.entries.len()
    }

    /// Records that no member has.
    pub(super) fn waiting(&self) -> usize {
        self.entries.len() - self.deliveries.len()
    }

    // Partitions.

    pub(super) fn open(&mut self, resume: Resume) {
        let Resume { at: Position { topic, partition: number, place }, settled } = resume;
        self.close(&topic, number);
        let id = self.issue();
        self.names.insert((topic.clone(), number), id);
        let window = Window::open(place, settled);
        self.partitions.insert(id, Partition { topic, number, window, records: 0, bytes: 0 });
    }

    /// Forgets a partition; where somebody else goes on in it.
    pub(super) fn close(&mut self, topic: &Str, number: u32) -> Option<Resume> {
        let id = self.names.remove(&(topic.clone(), number))?;
        let partition = self.partitions.remove(&id)?;
        self.bytes -= partition.bytes;
        let gone = partition.window.unsettled().filter_map(|number| self.entries.remove(&number));
        let emptied: BTreeSet<_> = gone.map(|entry| entry.lane).collect();
        for lane in emptied {
            self.unqueue(lane);
            if let Some(lane) = self.lanes.remove(&lane) {
                self.lane_names.remove(&lane.name);
            }
        }
        let Self { deliveries, entries, seats, .. } = self;
        deliveries.retain(|delivery, (member, number)| {
            let is_kept = entries.contains_key(number);
            if let Some(seat) = seats.get_mut(member).filter(|_| !is_kept) {
                seat.deliveries.remove(delivery);
            }
            is_kept
        });
        Some(partition.resume())
    }

    pub(super) fn is_open(&self, topic: &Str, number: u32) -> bool {
        self.names.contains_key(&(topic.clone(), number))
    }

    pub(super) fn resumes(&self) -> impl Iterator<Item = Resume> {
        self.partitions.values().map(Partition::resume)
    }

    /// Where each partition is to be gone on with if all else is forgotten.
    pub(super) fn lows(&self) -> impl Iterator<Item = Position> {
        self.partitions.values().map(Partition::low)
    }

    /// Takes in the next record of an open partition; false if it needs no delivery.
    pub(super) fn push(&mut self, record: Arc<Record>, now: Instant) -> bool {
        let number = self.issue();
        let name = (record.topic.clone(), record.position.partition);
        let Some(id) = self.names.get(&name).copied() else { return false };
        let Some(partition) = self.partitions.get_mut(&id) else { return false };
        if !partition.window.push(number, record.position.place, record.next) {
            return false;
        }
        let bytes = record.footprint();
        partition.records += 1;
        partition.bytes += bytes;
        self.bytes += bytes;
        let lane_name = LaneName::of(id, &record);
        let known = self.lane_names.get(&lane_name).copied();
        let lane_id = known.unwrap_or_else(|| {
            let id = self.issue();
            self.lane_names.insert(lane_name.clone(), id);
            self.lanes.insert(id, Lane::new(lane_name));
            id
        });
        let entry =
            Entry { record, bytes, partition: id, lane: lane_id, was_delivered: false, is_returned: false, due: None };
        self.entries.insert(number, entry);
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.waiting.push_back(number);
            if lane.waiting.len() == 1 {
                self.line_up(lane_id, now);
            }
        }
        true
    }

    /// The next record of an open partition comes at `place` or later.
    pub(super) fn pass(&mut self, topic: &Str, number: u32, place: Place) {
        let id = self.names.get(&(topic.clone(), number));
        if let Some(partition) = id.and_then(|id| self.partitions.get_mut(id)) {
            partition.window.pass(place);
        }
    }

    // Members.

    pub(super) fn join(&mut self, now: Instant) -> MemberId {
        let id = self.issue();
        let seat =
            Seat { mood: Mood::Busy, bound: BTreeMap::new(), free: BTreeMap::new(), deliveries: BTreeSet::new() };
        self.seats.insert(id, seat);
        for lane in std::mem::take(&mut self.orphans) {
            self.line_up(lane, now);
        }
        id
    }

    /// What the member has not settled goes to others.
    pub(super) fn leave(&mut self, member: MemberId, now: Instant) {
        self.hungry.remove(&member);
        let Some(seat) = self.seats.remove(&member) else { return };
        let mut lanes: BTreeSet<_> = seat.bound.into_values().chain(seat.free.into_values()).collect();
        for delivery in seat.deliveries {
            let Some((_, number)) = self.deliveries.remove(&delivery) else { continue };
            lanes.extend(self.give_back(number));
        }
        lanes.into_iter().for_each(|lane| self.line_up(lane, now));
    }

    /// A delivery of this record has ended without settling it; its lane.
    fn give_back(&mut self, number: u64) -> Option<LaneId> {
        let lane_id = self.entries.get(&number)?.lane;
        let lane = self.lanes.get_mut(&lane_id)?;
        lane.in_flight -= 1;
        lane.wait(number);
        Some(lane_id)
    }

    /// Deals to a member that asks.
    pub(super) fn take(&mut self, member: MemberId, max: NonZeroUsize, now: Instant) -> Vec<(u64, Arc<Record>)> {
        self.unpark(now);
        self.hungry.remove(&member);
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.mood = Mood::Busy;
        }
        let (mut taken, mut room) = (Vec::new(), READ_BYTES);
        while taken.len() < max.get() && room > 0 {
            let Some(lane) = self.next_lane(member) else { break };
            let Some((delivery, record, bytes)) = self.deliver(lane, member, now) else { break };
            room = room.saturating_sub(bytes);
            taken.push((delivery, record));
        }
        taken
    }

    /// The lane whose record is the member's next.
    fn next_lane(&self, member: MemberId) -> Option<LaneId> {
        let seat = self.seats.get(&member)?;
        let own = [seat.bound.first_key_value(), seat.free.first_key_value()];
        if let Some((_, lane)) = own.into_iter().flatten().min() {
            return Some(*lane);
        }
        let busy = self.seats.values().filter(|other| matches!(other.mood, Mood::Busy));
        busy.filter_map(|other| other.free.first_key_value()).min().map(|(_, lane)| *lane)
    }

    fn deliver(&mut self, lane_id: LaneId, member: MemberId, now: Instant) -> Option<(u64, Arc<Record>, usize)> {
        self.unqueue(lane_id);
        let delivery = self.issue();
        let lane = self.lanes.get_mut(&lane_id)?;
        let number = lane.waiting.pop_front()?;
        lane.in_flight += 1;
        lane.holder = member;
        self.deliveries.insert(delivery, (member, number));
        self.seats.get_mut(&member)?.deliveries.insert(delivery);
        let entry = self.entries.get_mut(&number)?;
        (entry.was_delivered, entry.due) = (true, None);
        let (record, bytes) = (entry.record.clone(), entry.bytes);
        self.line_up(lane_id, now);
        Some((delivery, record, bytes))
    }

    /// The member waits for more; when it should ask again even if it is not woken.
    pub(super) fn wait(&mut self, member: MemberId, waker: Waker) -> Option<Instant> {
        self.seats.get_mut(&member)?.mood = Mood::Hungry(waker);
        self.hungry.insert(member);
        self.parked.first().map(|(due, _)| *due)
    }

    /// The member asks for no more.
    pub(super) fn retire(&mut self, member: MemberId, now: Instant) {
        self.hungry.remove(&member);
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.mood = Mood::Busy;
            let free: Vec<_> = seat.free.values().copied().collect();
            free.into_iter().for_each(|lane| self.line_up(lane, now));
        }
    }

    /// Offers what has become due, and to others what members that were called have not fetched.
    pub(super) fn remind(&mut self, now: Instant) {
        self.unpark(now);
        let is_late = |seat: &Seat| matches!(seat.mood, Mood::Called(since) if now >= since + COURTESY);
        let late: Vec<_> = self.seats.iter().filter(|(_, seat)| is_late(seat)).map(|(member, _)| *member).collect();
        late.into_iter().for_each(|member| self.retire(member, now));
    }

    /// Wakes all who wait.
    pub(super) fn call_all(&mut self, now: Instant) {
        std::mem::take(&mut self.hungry).into_iter().for_each(|member| self.call(member, now));
    }

    /// Whether somebody has the delivery.
    pub(super) fn is_under_way(&self, delivery: u64) -> bool {
        self.deliveries.contains_key(&delivery)
    }

    /// Ends a delivery; the record, if that settles it.
    pub(super) fn settle(&mut self, delivery: u64, end: End, now: Instant) -> Option<Arc<Record>> {
        let (member, number) = self.deliveries.remove(&delivery)?;
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.deliveries.remove(&delivery);
        }
        match end {
            End::Settled => return self.finish(number, now),
            End::Returned { after } => {
                let entry = self.entries.get_mut(&number)?;
                entry.due = after.map(|after| now.checked_add(after).unwrap_or(now + NEVER));
                let is_first = !std::mem::replace(&mut entry.is_returned, true);
                self.lanes.get_mut(&entry.lane)?.returned += usize::from(is_first);
            }
            End::Abandoned => {}
        }
        let lane = self.give_back(number)?;
        self.line_up(lane, now);
        None
    }

    fn finish(&mut self, number: u64, now: Instant) -> Option<Arc<Record>> {
        let entry = self.entries.remove(&number)?;
        self.bytes -= entry.bytes;
        let partition = self.partitions.get_mut(&entry.partition)?;
        partition.window.settle(number);
        partition.records -= 1;
        partition.bytes -= entry.bytes;
        let lane = self.lanes.get_mut(&entry.lane)?;
        lane.in_flight -= 1;
        lane.returned -= usize::from(entry.is_returned);
        self.line_up(entry.lane, now);
        Some(entry.record)
    }
}

impl Partition {
    fn low(&self) -> Position {
        Position { topic: self.topic.clone(), partition: self.number, place: self.window.low() }
    }

    fn resume(&self) -> Resume {
        Resume { at: self.low(), settled: self.window.settled() }
    }
}

#[cfg(test)]
mod tests;
