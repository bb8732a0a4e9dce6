//! Groups: what a connector's side of a group has in common, whatever the broker.
//!
//! The connector's own part (its *keeper*) reads the broker once for all members of the group in this process: it opens partitions,
//! pushes their records while there is room, and stores the positions of [`Group::lows`]. The members are [`Subscription`]s, each record
//! going to one of them; what a member does not confirm is delivered again.
//!
//! - *Order.* Records of one key (without a key, of one channel) are delivered in order, and all that are unsettled are with one member.
//! - *Settling* is out of order. What a member asks to have again is parked with its key: what follows in the key and was never
//!   delivered waits until it is settled; other keys go on.
//! - *Bounds.* At most [`Bounds::window`] records of a partition run ahead of its lowest unsettled one, at most [`Bounds::bytes`] are
//!   held (and where those are full, one record of each partition), and members that ask for nothing get little read ahead.

use std::{
    collections::BTreeSet,
    fmt,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::{
    Str,
    connector::{Deliveries, Delivery, Ledger, ReadError, Record, Settlement, Settler, Subscription},
    position::{Place, Position, Positions},
};

mod deal;
mod lane;
pub mod served;
mod window;
use deal::{Deal, End, MemberId};

/// How much of a group is held in this process.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records of a partition that may run ahead of the lowest one that is not settled.
    pub window: usize,
    /// Bytes of records that are not settled, in the measure of [`Record::footprint`], of which no partition gets more than are left to the
    /// others; a read under way may go over it. [`usize::MAX`] where the keeper holds the records in any case.
    pub bytes: usize,
}

/// Where to go on in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The lowest place that is not settled.
    pub at: Position,
    /// What is settled above it, where that is known.
    pub settled: BTreeSet<Place>,
}

impl From<Position> for Resume {
    fn from(at: Position) -> Self {
        Self { at, settled: BTreeSet::new() }
    }
}

/// The broker's side of a group. It is called by members, and must not wait.
pub trait Keeper: Send + Sync {
    /// There is room for more records, or a member has joined or left.
    fn attend(&self);

    /// The record needs never be delivered again.
    fn settled(&self, _record: &Record) {}
}

/// A group in this process.
pub struct Group {
    state: Mutex<State>,
    keeper: Arc<dyn Keeper>,
    /// The keeper has found no room.
    is_awaited: AtomicBool,
    rejected: AtomicU64,
}

struct State {
    deal: Deal,
    ended: Option<ReadError>,
}

impl Group {
    /// A group without members and partitions.
    pub fn new(bounds: Bounds, keeper: Arc<dyn Keeper>) -> Arc<Self> {
        let state = Mutex::new(State { deal: Deal::new(bounds), ended: None });
        Arc::new(Self { state, keeper, is_awaited: AtomicBool::new(false), rejected: AtomicU64::new(0) })
    }

    /// A new member.
    pub fn join(self: &Arc<Self>) -> Member {
        let id = self.with(|state| state.deal.join(Instant::now()));
        self.keeper.attend();
        Member { group: self.clone(), id, timer: None, is_draining: false, positions: Positions::default() }
    }

    /// Opens a partition: what is pushed next in it is the record at the place, or the first after it.
    pub fn open(&self, resume: Resume) {
        self.with(|state| state.deal.open(resume));
    }

    /// Forgets a partition that is read elsewhere from now on; where to go on in it. What members settle of it later says nothing any more.
    pub fn close(&self, topic: &Str, partition: u32) -> Option<Resume> {
        self.with(|state| state.deal.close(topic, partition))
    }

    /// Whether a partition is open.
    pub fn is_open(&self, topic: &Str, partition: u32) -> bool {
        self.state.lock().deal.is_open(topic, partition)
    }

    /// Takes in records of open partitions, in their order. Those of others are left out, and so are those that were settled before.
    pub fn push(&self, records: impl IntoIterator<Item = Arc<Record>>) {
        let now = Instant::now();
        let mut settled = Vec::new();
        self.with(|state| {
            for record in records {
                if !state.deal.push(record.clone(), now) {
                    settled.push(record);
                }
            }
        });
        settled.iter().for_each(|record| self.keeper.settled(record));
    }

    /// Nothing more will be pushed before `place` in an open partition: what lies between its last record and there needs no settling.
    pub fn pass(&self, topic: &Str, partition: u32, place: Place) {
        self.with(|state| state.deal.pass(topic, partition, place));
    }

    /// Whether records may be pushed now, as far as all partitions together go. If not, the keeper is told when that changes.
    pub fn has_room(&self) -> bool {
        let state = self.state.lock();
        let has_room = state.deal.has_room();
        self.is_awaited.fetch_or(!has_room, Relaxed);
        has_room
    }

    /// How many records of this partition may be pushed, as far as it alone goes; of one that is not open, how many it may hold. If none,
    /// the keeper is told when that may have changed.
    pub fn room_in(&self, topic: &Str, partition: u32) -> usize {
        let state = self.state.lock();
        let room = state.deal.room_in(topic, partition);
        self.is_awaited.fetch_or(room == 0, Relaxed);
        room
    }

    /// Where each partition is to be gone on with: all before it is settled.
    pub fn lows(&self) -> Positions {
        self.with(|state| state.deal.lows().collect())
    }

    /// Offers what has become due, and to others what members that were woken have not fetched. The keeper calls it about every second.
    pub fn remind(&self) {
        self.with(|state| state.deal.remind(Instant::now()));
    }

    /// Where each partition is to be gone on with, and what is settled above that.
    pub fn resumes(&self) -> Vec<Resume> {
        self.with(|state| state.deal.resumes().collect())
    }

    /// Ends the group: its members are told why.
    pub fn end(&self, reason: ReadError) {
        self.with(|state| {
            state.ended = Some(reason);
            state.deal.call_all(Instant::now());
        });
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.state.lock().deal.members()
    }

    /// Records that are read and not settled.
    pub fn unsettled(&self) -> usize {
        self.state.lock().deal.unsettled()
    }

    /// How often a record was set aside.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let calls = std::mem::take(&mut state.deal.calls);
        let is_to_attend = self.is_awaited.load(Relaxed) && state.deal.has_ample_room();
        if is_to_attend {
            self.is_awaited.store(false, Relaxed);
        }
        drop(state);
        calls.into_iter().for_each(std::task::Waker::wake);
        if is_to_attend {
            self.keeper.attend();
        }
        result
    }

    /// False if the delivery is not known.
    fn end_delivery(&self, delivery: u64, end: End) -> bool {
        let (is_known, settled) =
            self.with(|state| (state.deal.is_under_way(delivery), state.deal.settle(delivery, end, Instant::now())));
        settled.iter().for_each(|record| self.keeper.settled(record));
        is_known
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("members", &self.members()).finish_non_exhaustive()
    }
}

impl Ledger for Group {
    fn settle(&self, delivery: u64, settlement: Settlement) -> bool {
        match settlement {
            Settlement::Ack => self.end_delivery(delivery, End::Settled),
            Settlement::Retry { after } => self.end_delivery(delivery, End::Returned { after }),
            Settlement::Reject { .. } => {
                let is_known = self.end_delivery(delivery, End::Settled);
                self.rejected.fetch_add(u64::from(is_known), Relaxed);
                is_known
            }
        }
    }

    fn abandon(&self, delivery: u64) {
        self.end_delivery(delivery, End::Abandoned);
    }
}

/// A member of a group. Dropping it gives what it has not settled to others; what it settles after that says nothing any more.
pub struct Member {
    group: Arc<Group>,
    id: MemberId,
    /// When something that is parked may be delivered.
    timer: Option<Pin<Box<Sleep>>>,
    is_draining: bool,
    /// A group's positions are the broker's, not the member's.
    positions: Positions,
}

impl Member {
    fn deliver(&self, delivery: u64, record: Arc<Record>) -> Delivery {
        Delivery { record, settler: Some(Settler::new(self.group.clone(), delivery)) }
    }
}

impl Subscription for Member {
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>> {
        if self.is_draining {
            return Poll::Pending;
        }
        loop {
            let (id, waker) = (self.id, cx.waker());
            let (taken, at_end, again) = self.group.with(|state| {
                if let Some(reason) = &state.ended {
                    return Err(reason.clone());
                }
                let taken = state.deal.take(id, max, Instant::now());
                let again = if taken.is_empty() { state.deal.wait(id, waker.clone()) } else { None };
                Ok((taken, state.deal.waiting() == 0, again))
            })?;
            if !taken.is_empty() {
                let deliveries = taken.into_iter().map(|(delivery, record)| self.deliver(delivery, record)).collect();
                return Poll::Ready(Ok(Deliveries { deliveries, at_end }));
            }
            let Some(again) = again else {
                self.timer = None;
                return Poll::Pending;
            };
            let timer = self.timer.insert(Box::pin(tokio::time::sleep_until(again.into())));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Nothing that was read waits for a member.
    fn is_at_end(&self) -> bool {
        self.group.with(|state| state.deal.waiting() == 0)
    }

    fn drain(&mut self) {
        self.is_draining = true;
        self.group.with(|state| state.deal.retire(self.id, Instant::now()));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.group.with(|state| state.deal.leave(self.id, Instant::now()));
        self.group.keeper.attend();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id).finish_non_exhaustive()
    }
}
